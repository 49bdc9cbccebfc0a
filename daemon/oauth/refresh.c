/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Exactly one refresh for a grant, whatever the number of callers (O6, T20, T21).
 *
 * Whoever needs a good token comes here with the credential it has read. When that has little time left, one fiber refreshes the grant
 * (refresh-step.c) and everybody who wants the same one waits for it: what makes it the same is the uid, the vault, service, label and the
 * credential's own id, so nobody ever waits for, or hears of, somebody else's. No token passes from the refresh to those who wait: each
 * reads its own record again, from its own vault, once the new one is durable.
 *
 * Waiting is cheap to give up: a caller that is cancelled, or whose credentials are taken out of use, goes at once, and the
 * refresh comes to its end without it, because an answer that nobody takes would cost the grant. While the old token is good, callers wait
 * for its first two seconds at most and go on with that.
 *
 * Invariants: at most one Refresh of a grant; a waiter is on the stack of its own fiber, and in the list as long as it waits.
 *
 * Who may call: api, on fibers. */

#include "oauth/refresh-internal.h"
#include "util/clock.h"

/* How long a caller waits who has a token that is good. */
#define PATIENCE_USEC (2 * USEC_PER_SEC)
/* More than two requests take. */
#define WAIT_MAX_USEC (90 * USEC_PER_SEC)

typedef struct Waiter {
        struct Waiter *next;
        Fiber *fiber;
        bool is_told;
        int result;
        Failure *failure;
} Waiter;

struct Refresh {
        Refresh *next;
        Oauth *oauth;
        RefreshJob job;
        Waiter *waiters;
        Failure failure;
        uint64_t begun_usec; /* CLOCK_MONOTONIC */
        int told; /* what who comes later is told at once: tokens are held that cannot be stored; 0 */
};

static void key_done(GrantKey *k) {
        free(k->vault_id);
        free(k->service);
        free(k->label);
        free(k->credential_id);
        *k = (GrantKey){};
}

static int key_init(GrantKey *ret, const Vault *v, const Credential *c) {
        *ret = (GrantKey){ .uid = c->uid,
                .vault_id = strdup(v->id),
                .service = strdup(c->service),
                .label = strdup(c->label),
                .credential_id = strdup(c->id) };
        if (ret->vault_id && ret->service && ret->label && ret->credential_id)
                return 0;
        key_done(ret);
        return -ENOMEM;
}

static bool key_is_of(const GrantKey *k, const Vault *v, const Credential *c) {
        return k->uid == c->uid && streq(k->credential_id, c->id) && streq(k->vault_id, v->id) &&
               streq(k->service, c->service) && streq(k->label, c->label);
}

static void waiter_tell(Waiter *w, int result, const Failure *failure) {
        if (w->is_told)
                return;
        w->is_told = true;
        w->result = result;
        if (result == FAILED) {
                w->result = failure_set(w->failure, failure->kind, failure->hint, "%s",
                                failure->message ?: "out of memory");
                w->failure->service = failure->service ? strdup(failure->service) : NULL;
                w->failure->title = failure->title ? strdup(failure->title) : NULL;
        }
        fiber_resume(w->fiber, 0);
}

/* The job's word to those who wait, while it goes on. */
static void refresh_tell(int result, void *userdata) {
        Refresh *f = userdata;

        f->told = result;
        for (Waiter *w = f->waiters; w; w = w->next)
                waiter_tell(w, result, NULL);
}

static int refresh_fiber(void *userdata) {
        Refresh *f = userdata;

        return refresh_run(f->oauth, &f->job, &f->failure);
}

static void refresh_done(int result, void *userdata) {
        Refresh *f = userdata;
        Oauth *o = f->oauth;
        int r = 0;

        for (Refresh **link = &o->refreshes; *link; link = &(*link)->next)
                if (*link == f) {
                        *link = f->next;
                        break;
                }
        if (result == 0)
                refresh_pace_succeeded(o, f->job.key.credential_id);
        else if (result != -ECANCELED && (result != FAILED || f->failure.kind == FAILURE_UPSTREAM))
                r = refresh_pace_failed(o, f->job.key.credential_id, f->job.retry_usec,
                                result == FAILED && f->failure.message ? f->failure.message
                                                                       : "this host failed");
        for (Waiter *w = f->waiters; w; w = w->next)
                waiter_tell(w, r < 0 ? r : result, &f->failure);
        key_done(&f->job.key);
        failure_done(&f->failure);
        free(f);
}

/* The refresh of this grant that is under way, or a new one. */
static int refresh_join(Oauth *o, const Vault *v, const Credential *c, bool is_forced, uint64_t least_usec,
                Refresh **ret) {
        Refresh *f = o->refreshes;
        int r;

        while (f && !key_is_of(&f->job.key, v, c))
                f = f->next;
        if (f) {
                *ret = f;
                return 0;
        }
        f = calloc(1, sizeof(Refresh));
        if (!f)
                return -ENOMEM;
        *f = (Refresh){ .oauth = o,
                .begun_usec = now_monotonic(),
                .job = { .is_forced = is_forced,
                                .least_usec = least_usec,
                                .tell = refresh_tell,
                                .userdata = f } };
        sha256(c->access_token->bytes, c->access_token->size, f->job.refused);
        r = key_init(&f->job.key, v, c);
        if (r >= 0)
                r = fiber_spawn(o->event, refresh_fiber, refresh_done, f, NULL);
        if (r < 0) {
                key_done(&f->job.key);
                free(f);
                return r;
        }
        f->next = o->refreshes;
        o->refreshes = f;
        *ret = f;
        return 0;
}

/* For who has a token that is good: all of those together wait no longer than one, or a server that hangs would hold up each use. */
static uint64_t patience(const Refresh *f) {
        uint64_t age = now_monotonic() - f->begun_usec;

        return age < PATIENCE_USEC ? PATIENCE_USEC - age : 0;
}

/* Waits for its end, or that long. -ETIMEDOUT. */
static int refresh_wait(Refresh *f, uint64_t wait_usec, Failure *failure) {
        Waiter w = { .next = f->waiters, .fiber = fiber_current(), .failure = failure };
        uint64_t until = now_monotonic() + wait_usec, now;
        Oauth *o = f->oauth;
        int r = 0;

        if (f->told != 0)
                return f->told;
        f->waiters = &w;
        while (r >= 0 && !w.is_told && (now = now_monotonic()) < until)
                r = fiber_sleep(until - now);
        /* The refresh may be gone by now, and took this waiter's place with it. */
        for (Refresh *each = o->refreshes; each; each = each->next)
                for (Waiter **link = &each->waiters; *link; link = &(*link)->next)
                        if (*link == &w) {
                                *link = w.next;
                                break;
                        }
        return r < 0 ? r : w.is_told ? w.result : -ETIMEDOUT;
}

/* Vault and credential as they are now, in place of those in hand. It must be the same one, in use. */
static int reread(Oauth *o, Vault **vault, Credential **credential, Failure *failure) {
        _cleanup_(credential_freep) Credential *c = NULL;
        _cleanup_(vault_freep) Vault *v = NULL;
        const ServiceProfile *p = config_find_service(o->config, (*credential)->service);
        int r;

        r = vault_record_read(o->store, o->keyring, (*credential)->uid, &v);
        if (r >= 0 && (!streq(v->id, (*vault)->id) || v->state != VAULT_ACTIVE))
                return -EKEYREVOKED;
        if (r >= 0)
                r = credential_record_read(o->store, v, (*credential)->service, (*credential)->label, &c);
        if (r < 0 && r != -ENOENT)
                return r;
        if (r == -ENOENT || !streq(c->id, (*credential)->id) || c->state != CREDENTIAL_ACTIVE)
                return refresh_failure_reconnect(failure, p ? p->title : (*credential)->service,
                                (*credential)->service, (*credential)->label,
                                c && c->state_reason ? c->state_reason : "not connected any more");
        (void)vault_free(*vault);
        *vault = TAKE_PTR(v);
        (void)credential_free(*credential);
        *credential = TAKE_PTR(c);
        return 0;
}

static int failure_paused(Oauth *o, const Credential *c, const RefreshPace *pace, Failure *failure) {
        const ServiceProfile *p = config_find_service(o->config, c->service);
        int r;

        r = failure_set(failure, FAILURE_UPSTREAM, "Try again later",
                        "%s could not renew the access; it is tried again in %llu s: %s",
                        p ? p->title : c->service, (unsigned long long)refresh_pace_seconds(pace),
                        refresh_pace_why(pace));
        if (r == FAILED)
                failure->title = strdup(p ? p->title : c->service);
        return r;
}

int oauth_fresh_token(Oauth *o, Vault **vault, Credential **c, uint64_t least_usec, Failure *failure) {
        const RefreshPace *pace = refresh_pace_find(o, (*c)->id);
        bool is_good = credential_token_is_good(*c);
        Refresh *f;
        int r;

        if (!refresh_is_due(*c, now_realtime(), least_usec) || (pace && is_good))
                return 0;
        if (pace && (*c)->refresh_attempt < REFRESH_ATTEMPTS_MAX)
                return failure_paused(o, *c, pace, failure);
        r = refresh_join(o, *vault, *c, false, least_usec, &f);
        if (r >= 0)
                r = refresh_wait(f, is_good ? patience(f) : WAIT_MAX_USEC, failure);
        if (r == -ECANCELED || r == -EKEYREVOKED)
                return r;
        /* What was good is used to its end, whatever kept us from a new one but the end of the grant. */
        if (r == FAILED && failure->kind == FAILURE_NOT_CONNECTED)
                return r;
        if (r != 0 && !credential_token_is_good(*c))
                return r;
        failure_done(failure);
        return reread(o, vault, c, failure);
}

int oauth_token_refused(Oauth *o, Vault **vault, Credential **c, Failure *failure) {
        const ServiceProfile *p = config_find_service(o->config, (*c)->service);
        const char *title = p ? p->title : (*c)->service;
        _cleanup_(secret_freep) Secret *refused = NULL;
        Refresh *f;
        int r;

        r = secret_new((*c)->access_token->bytes, (*c)->access_token->size, &refused);
        if (r >= 0)
                r = reread(o, vault, c, failure);
        if (r != 0)
                return r;
        if ((*c)->access_token && !secret_equal((*c)->access_token, refused->bytes, refused->size))
                return 0; /* somebody was quicker */
        if (!refresh_is_possible(*c))
                return refresh_failure_reconnect(failure, title, (*c)->service, (*c)->label,
                                "the service does not accept the token any more");
        if (oauth_token_is_new(*c) || refresh_pace_find(o, (*c)->id) ||
                        !refresh_pace_admits_refusal(o, (*c)->id))
                return failure_set(failure, FAILURE_UPSTREAM, "Try again later",
                                "%s does not accept the token, although it was renewed, or tried to be, "
                                "within the last minute",
                                title);
        r = refresh_join(o, *vault, *c, true, 0, &f);
        if (r >= 0)
                r = refresh_wait(f, WAIT_MAX_USEC, failure);
        if (r == 0)
                r = reread(o, vault, c, failure);
        /* A refresh that was under way for another reason may have found nothing to do. */
        if (r == 0 && secret_equal((*c)->access_token, refused->bytes, refused->size))
                return failure_set(failure, FAILURE_UPSTREAM, "Try again later",
                                "%s does not accept the token", title);
        return r;
}

void oauth_end_refresh_waits(Oauth *o, uid_t uid, const char *service) {
        for (Refresh *f = o->refreshes; f; f = f->next)
                if (f->job.key.uid == uid && (!service || streq(f->job.key.service, service)))
                        for (Waiter *w = f->waiters; w; w = w->next)
                                waiter_tell(w, -EKEYREVOKED, NULL);
}
