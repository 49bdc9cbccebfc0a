/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A refresh from the record to the request and back, with each step durable before it is acted on (O6, T21, T27).
 *
 *     attempt 0  →  attempt 1  →  request  →  done:   new tokens, attempt 0           → callers may have them
 *                   (durable)                 dead:   needs-reconnect                 → callers are told so
 *                                             later:  attempt 0 again                 → another time
 *                                             lost:   attempt 2, request once more    → the same, but lost twice is the end
 *
 * What a crash leaves is decided by the record: an attempt that is written down was perhaps sent, so the token may go out once
 * more and never a third time, since a server may take a token that comes back for a stolen one and end the whole grant. We alone own the grant
 * (custody host or mirror), or no request is made at all.
 *
 * Others may change the record meanwhile. Each write expects the record that was read; when it has moved, it is read again. If it is the
 * same credential, in use, with the token that was sent (its vault's key was changed, a platform id was noted), the
 * result goes there. A vault that was locked keeps its tokens fresh: nobody can use them, and whoever revokes them later has
 * the right ones. If it is gone or another one, what the server gave is revoked: no refresh brings anything back.
 *
 * Who may call: refresh.c, on the fiber that is the grant's only one. */

#include <stdio.h>

#include "audit/audit.h"
#include "oauth/refresh-internal.h"
#include "util/clock.h"
#include "util/encode.h"
#include "util/log.h"

/* Others change a record a few times at most while one of ours is under way. */
#define ROUNDS_MAX 64U
/* How long tokens that do not fit on the disk are held, in the hope that somebody makes room. */
#define FULL_WAIT_USEC (1 * USEC_PER_SEC)
#define FULL_TRIES_MAX 600U

/* The records as they stand. */
typedef struct Standing {
        Vault *vault;
        Credential *credential;
} Standing;

static void standing_done(Standing *s) {
        s->credential = credential_free(s->credential);
        s->vault = vault_free(s->vault);
}

/* -ENOENT: the credential is not there any more, whatever took its place. */
static int standing_read(Oauth *o, const GrantKey *k, Standing *ret) {
        _cleanup_(standing_done) Standing s = {};
        int r;

        r = vault_record_read(o->store, o->keyring, k->uid, &s.vault);
        if (r >= 0 && !streq(s.vault->id, k->vault_id))
                return -ENOENT;
        if (r >= 0)
                r = credential_record_read(o->store, s.vault, k->service, k->label, &s.credential);
        if (r < 0)
                return r;
        if (!streq(s.credential->id, k->credential_id))
                return -ENOENT;
        standing_done(ret);
        *ret = s;
        s = (Standing){};
        return 0;
}

/* As store_commit(). */
static int standing_commit(Oauth *o, const Standing *s) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = credential_record_put(batch, s->vault, s->credential);
        return r < 0 ? r : store_commit(o->store, TAKE_PTR(batch));
}

static int failure_gone(Oauth *o, const GrantKey *k, Failure *failure) {
        const ServiceProfile *p = config_find_service(o->config, k->service);

        return refresh_failure_reconnect(
                        failure, p ? p->title : k->service, k->service, k->label, "not connected any more");
}

static void record(const Standing *s, AuditKind kind, const char *verdict, const char *reason) {
        audit_record(&(AuditEvent){ .kind = kind,
                        .uid = s->vault->uid,
                        .user = s->vault->user,
                        .verdict = verdict,
                        .reason = reason,
                        .service = s->credential->service,
                        .account = s->credential->account_name,
                        .object = s->credential->id });
}

/* Changes the record as apply says until that is durable. Only the credential of the key is touched, and only while it has this refresh token and is in
 * use. -ENOENT: it is not so any more. */
typedef int (*StandingApply)(Credential *c, void *userdata);
static int standing_change(Oauth *o, const GrantKey *k, const Secret *token, StandingApply apply,
                void *userdata, Standing *s) {
        int r = STORE_CONFLICT;

        for (unsigned i = 0; i < ROUNDS_MAX && r == STORE_CONFLICT; i++) {
                r = standing_read(o, k, s);
                if (r >= 0 && (s->credential->state != CREDENTIAL_ACTIVE || !s->credential->refresh_token ||
                                              !secret_equal(s->credential->refresh_token, token->bytes,
                                                              token->size)))
                        r = -ENOENT;
                if (r >= 0)
                        r = apply(s->credential, userdata);
                if (r >= 0)
                        r = standing_commit(o, s);
        }
        return r == STORE_CONFLICT ? -EAGAIN : r;
}

static int apply_attempt(Credential *c, void *userdata) {
        c->refresh_attempt = *(unsigned *)userdata;
        return 0;
}

/* The request did not happen, so the token is as unused as before. Should this not be written, one try less is left. */
static void attempt_take_back(Oauth *o, const GrantKey *k, const Credential *sent) {
        _cleanup_(standing_done) Standing s = {};
        unsigned attempt = sent->refresh_attempt - 1;
        int r = standing_change(o, k, sent->refresh_token, apply_attempt, &attempt, &s);

        if (r < 0 && r != -ENOENT)
                log_warning("that a refresh at %s did not happen could not be noted: %s", k->service,
                                strerror(-r));
}

static int apply_dead(Credential *c, void *userdata) {
        char *reason = strdup(userdata);

        if (!reason)
                return -ENOMEM;
        free(c->state_reason);
        c->state_reason = reason;
        c->state = CREDENTIAL_NEEDS_RECONNECT;
        c->refresh_attempt = 0;
        return 0;
}

/* Durable before anybody hears of it. Always FAILED or negative. */
static int grant_is_dead(
                Oauth *o, const GrantKey *k, const Credential *c, const char *reason, Failure *failure) {
        const ServiceProfile *p = config_find_service(o->config, k->service);
        _cleanup_(standing_done) Standing s = {};
        int r;

        r = standing_change(o, k, c->refresh_token, apply_dead, (void *)(uintptr_t)reason, &s);
        if (r == -ENOENT)
                return failure_gone(o, k, failure);
        if (r < 0)
                return r;
        record(&s, AUDIT_NEEDS_RECONNECT, "failed", reason);
        return refresh_failure_reconnect(failure, p ? p->title : k->service, k->service, k->label, reason);
}

/* No longer anybody's: revoked as far as the service allows it. */
static void tokens_revoke(Oauth *o, const Credential *c, const TokenAnswer *t) {
        const ServiceProfile *p = config_find_service(o->config, c->service);
        Failure why = {};
        int r;

        r = token_revoke(o, p ? p->title : c->service, &c->authority, c->client_secret, t->access_token,
                        t->refresh_token, &why);
        if (r != 0)
                log_warning("%s: tokens of a connection that ended during its refresh could not be "
                            "revoked: %s",
                                p ? p->title : c->service, why.message ?: strerror(-r));
        failure_done(&why);
}

/* Whether the place went to a new grant of the same account: some services take all of them back with one (claim.c). */
static bool is_succeeded_by_same_account(Oauth *o, const GrantKey *k, const Credential *c) {
        _cleanup_(credential_freep) Credential *there = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;

        return vault_record_read(o->store, o->keyring, k->uid, &vault) >= 0 &&
               streq(vault->id, k->vault_id) &&
               credential_record_read(o->store, vault, k->service, k->label, &there) >= 0 &&
               !streq(there->id, k->credential_id) && there->state != CREDENTIAL_DISCONNECTING &&
               streq_ptr(there->account_id, c->account_id);
}

static int secret_copy(const Secret *s, Secret **ret) {
        Secret *copy = NULL;
        int r = secret_new(s->bytes, s->size, &copy);

        if (r < 0)
                return r;
        (void)secret_free(*ret);
        *ret = copy;
        return 0;
}

/* An answer without a refresh token leaves the one that was sent in force (RFC 6749 section 6). */
static int apply_tokens(Credential *c, void *userdata) {
        const TokenAnswer *t = userdata;
        int r;

        r = secret_copy(t->access_token, &c->access_token);
        if (r >= 0 && t->refresh_token)
                r = secret_copy(t->refresh_token, &c->refresh_token);
        if (r >= 0 && t->scope) {
                char *scope = strdup(t->scope);

                if (!scope)
                        return -ENOMEM;
                free(c->scope);
                c->scope = scope;
        }
        c->expires_usec = t->expires_usec;
        c->obtained_usec = now_realtime();
        c->refresh_attempt = 0;
        return r;
}

/* The new tokens become the record's. On a full disk they are held, for the ones that were sent may be worth nothing by now; callers do not wait for
 * that. */
static int tokens_keep(Oauth *o, RefreshJob *job, const Credential *sent, TokenAnswer *t, Failure *failure) {
        _cleanup_(standing_done) Standing s = {};
        int r;

        r = standing_change(o, &job->key, sent->refresh_token, apply_tokens, t, &s);
        for (unsigned i = 0; i < FULL_TRIES_MAX && r == -ENOSPC; i++) {
                if (job->tell)
                        job->tell(r, job->userdata);
                r = fiber_sleep(FULL_WAIT_USEC);
                if (r >= 0)
                        r = standing_change(o, &job->key, sent->refresh_token, apply_tokens, t, &s);
                else
                        return r;
        }
        if (r == 0) {
                record(&s, AUDIT_TOKEN_REFRESHED, "done", NULL);
                return 0;
        }
        if (r != -ENOENT || !is_succeeded_by_same_account(o, &job->key, sent))
                tokens_revoke(o, sent, t);
        return r == -ENOENT ? failure_gone(o, &job->key, failure) : r;
}

/* There is nothing to do: it was refreshed by now. */
static bool is_settled(const RefreshJob *job, const Credential *c) {
        uint8_t digest[32];

        if (c->refresh_attempt > 0)
                return false;
        if (!job->is_forced)
                return !refresh_is_due(c, now_realtime(), job->least_usec);
        sha256(c->access_token->bytes, c->access_token->size, digest);
        return memcmp(digest, job->refused, sizeof(digest)) != 0;
}

/* The answer was lost, and the token may go out once more. Beside FAILED, which is 1. */
#define STEP_AGAIN 2

/* One request, whose attempt is durable. */
static int step_ask(Oauth *o, RefreshJob *job, const Credential *c, Failure *failure) {
        const ServiceProfile *p = config_find_service(o->config, c->service);
        _cleanup_(refresh_answer_done) RefreshAnswer answer = {};
        _cleanup_(freep) char *reason = NULL;
        int r;

        r = refresh_ask(o, c, &answer, failure);
        if (r < 0 && answer.verdict != REFRESH_LATER)
                return r; /* cancelled, or no memory: the attempt that is written stands */
        switch (answer.verdict) {
        case REFRESH_DONE:
                return tokens_keep(o, job, c, &answer.tokens, failure);
        case REFRESH_DEAD:
                if (asprintf(&reason, "%s says that the access has ended (%s)", p ? p->title : c->service,
                                    answer.error) < 0) {
                        reason = NULL;
                        return -ENOMEM;
                }
                return grant_is_dead(o, &job->key, c, reason, failure);
        case REFRESH_LATER:
                attempt_take_back(o, &job->key, c);
                job->retry_usec = answer.retry_usec;
                return r < 0 ? r : FAILED;
        case REFRESH_LOST:
                break;
        }
        if (c->refresh_attempt < REFRESH_ATTEMPTS_MAX)
                return STEP_AGAIN;
        return job->is_forced || !credential_token_is_good(c)
                               ? grant_is_dead(o, &job->key, c, REFRESH_REASON_LOST, failure)
                               : FAILED;
}

/* One attempt, or none where none is due or allowed. */
static int step(Oauth *o, RefreshJob *job, Failure *failure) {
        _cleanup_(standing_done) Standing s = {};
        const GrantKey *k = &job->key;
        unsigned attempt;
        int r;

        r = standing_read(o, k, &s);
        if (r == -ENOENT || (r >= 0 && (s.credential->state != CREDENTIAL_ACTIVE ||
                                                       !refresh_is_possible(s.credential))))
                return failure_gone(o, k, failure);
        if (r < 0)
                return r;
        if (s.vault->state != VAULT_ACTIVE)
                return -EKEYREVOKED; /* closed meanwhile: nobody is to use it */
        if (is_settled(job, s.credential))
                return 0;
        attempt = s.credential->refresh_attempt + 1;
        if (attempt > REFRESH_ATTEMPTS_MAX)
                return grant_is_dead(o, k, s.credential, REFRESH_REASON_LOST, failure);

        _cleanup_(standing_done) Standing begun = {};
        r = standing_change(o, k, s.credential->refresh_token, apply_attempt, &attempt, &begun);
        if (r == -ENOENT)
                return failure_gone(o, k, failure);
        return r < 0 ? r : step_ask(o, job, begun.credential, failure);
}

int refresh_run(Oauth *o, RefreshJob *job, Failure *failure) {
        int r;

        do
                r = step(o, job, failure);
        while (r == STEP_AGAIN);
        return r;
}
