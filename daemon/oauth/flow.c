/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The flow as a record: its states, the way from one to the next, its end.
 *
 *   pending → continued → exchanging → quarantined → (claimed: erased, a credential stands) or revoking → erased
 *
 * Each step is durable before it is acted on. A step is a commit that expects the record as it was read, so of two
 * callbacks with the same state one wins and the other is told so. Tokens are in the record before anything is done with
 * them, also while it is still exchanging: whoever ends a flow, be it the caller, the sweeper or the next start,
 * finds them there and revokes them. What a crash leaves is decided by the record alone (sweep.c). */

#include <stdio.h>

#include "oauth/oauth-internal.h"
#include "util/clock.h"
#include "util/encode.h"

#define CLAIM_CODE_SIZE 8U /* characters of base32: 40 bits (O4) */
#define CLAIM_TRIES     3U

bool flow_is_expired(const Flow *f) {
        return f->expires_usec <= now_realtime();
}

const char *flow_title(Oauth *o, const Flow *f) {
        const ServiceProfile *p = config_find_service(o->config, f->service);

        return p ? p->title : f->service;
}

/* A distinct callback path per issuer is the second defence against mixed-up servers (RFC 9700 section 4.4). */
char *issuer_digest(const char *issuer) {
        uint8_t digest[32];

        sha256(issuer, strlen(issuer), digest);
        return hex_encode(digest, 8);
}

int flow_commit(Oauth *o, const Vault *vault, Flow **flow) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        Flow *fresh = NULL;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = flow_record_put(batch, vault, *flow);
        if (r >= 0)
                r = store_commit(o->store, TAKE_PTR(batch));
        if (r < 0)
                return r;
        if (r == STORE_CONFLICT)
                return FLOW_MOVED;
        r = flow_record_read(o->store, o->keyring, (*flow)->state_digest, &fresh);
        if (r < 0)
                return r;
        (void)flow_free(*flow);
        *flow = fresh;
        return 0;
}

int flow_advance(Oauth *o, const Vault *vault, Flow **flow, Failure *failure) {
        int r = flow_commit(o, vault, flow);

        if (r == FLOW_MOVED)
                return failure_set(failure, FAILURE_FLOW, NULL,
                                "this connection was continued or given up elsewhere");
        return r;
}

int flow_find_own(Oauth *o, uid_t uid, const char *flow_id, Flow **ret, Failure *failure) {
        Flow **list = NULL;
        size_t n = 0;
        int r;

        r = flow_record_list(o->store, o->keyring, uid, &list, &n);
        if (r < 0)
                return r;
        *ret = NULL;
        for (size_t i = 0; i < n && !*ret; i++)
                if (list[i]->uid == uid && streq(list[i]->id, flow_id) && list[i]->state != FLOW_REVOKING)
                        *ret = TAKE_PTR(list[i]);
        for (size_t i = 0; i < n; i++)
                (void)flow_free(list[i]);
        free(list);
        if (!*ret)
                return failure_set(failure, FAILURE_NOT_FOUND, "Run: vaultctl status",
                                "there is no such unfinished connection");
        return 0;
}

static int flow_owner(Oauth *o,
                int (*look_up)(Store *s, Keyring *k, const uint8_t digest[static 32], Flow **ret),
                const char *text, uid_t *ret) {
        _cleanup_(flow_freep) Flow *flow = NULL;
        uint8_t digest[32];
        int r;

        sha256(text, strlen(text), digest);
        r = look_up(o->store, o->keyring, digest, &flow);
        if (r < 0)
                return r;
        *ret = flow->uid;
        return 0;
}

int oauth_ticket_owner(Oauth *o, const char *ticket, uid_t *ret) {
        return flow_owner(o, flow_record_find_ticket, ticket, ret);
}

int oauth_state_owner(Oauth *o, const char *state, uid_t *ret) {
        return flow_owner(o, flow_record_read, state, ret);
}

bool flow_has_tokens(const Flow *f) {
        return f->access_token || f->refresh_token;
}

/* From here on nobody can claim the tokens, and the sweeper goes on with them should we not come to the end. */
static int flow_begin_revoking(Oauth *o, Flow **flow) {
        _cleanup_(vault_freep) Vault *vault = NULL;
        int r;

        if ((*flow)->state == FLOW_REVOKING)
                return 0;
        r = vault_record_read(o->store, o->keyring, (*flow)->uid, &vault);
        if (r < 0)
                return r;
        (*flow)->state = FLOW_REVOKING;
        (*flow)->expires_usec = now_realtime() + UINT64_C(3600) * USEC_PER_SEC;
        return flow_commit(o, vault, flow);
}

/* What cannot be revoked now is tried again by the sweeper until the record's time is up: -EAGAIN. */
static int flow_revoke(Oauth *o, Flow *f) {
        Failure ignored = {};
        int r;

        r = token_revoke(o, flow_title(o, f), &f->authority, f->client_secret, f->access_token,
                        f->refresh_token, &ignored);
        failure_done(&ignored);
        if (r == FAILED)
                return f->authority.revocation_endpoint && !flow_is_expired(f) ? -EAGAIN : 0;
        return r;
}

static int flow_erase(Oauth *o, Flow *f) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = flow_record_delete(batch, f);
        if (r >= 0)
                r = store_commit(o->store, TAKE_PTR(batch));
        return r == STORE_CONFLICT ? FLOW_MOVED : r;
}

/* Durably ended, and who waits told. */
static int flow_stop(Oauth *o, Flow **flow, const Failure *why) {
        int r;

        /* Whoever waits hears of it once it is certain, and before the server does, which may take its time. Not from us when
         * the flow went on without us: it may be about to succeed. */
        r = flow_has_tokens(*flow) ? flow_begin_revoking(o, flow) : flow_erase(o, *flow);
        if (r != FLOW_MOVED)
                watch_notify(o, (*flow)->id, why);
        return r;
}

int flow_end(Oauth *o, Flow *taken, const Failure *why) {
        _cleanup_(flow_freep) Flow *flow = taken;
        int r;

        r = flow_stop(o, &flow, why);
        if (r == 0 && flow_has_tokens(flow))
                sweep_soon(o, &flow);
        return r;
}

int flow_end_and_revoke(Oauth *o, Flow *taken, const Failure *why) {
        _cleanup_(flow_freep) Flow *flow = taken;
        int r;

        r = flow_stop(o, &flow, why);
        if (r != 0 || !flow_has_tokens(flow))
                return r;
        r = flow_revoke(o, flow);
        return r == 0 ? flow_erase(o, flow) : r;
}

int flow_keep_tokens(Oauth *o, const Vault *vault, Flow **flow, TokenAnswer *tokens) {
        (*flow)->token_expires_usec = tokens->expires_usec;
        (*flow)->access_token = TAKE_PTR(tokens->access_token);
        (*flow)->refresh_token = TAKE_PTR(tokens->refresh_token);
        if (tokens->scope) {
                free((*flow)->scope);
                (*flow)->scope = TAKE_PTR(tokens->scope);
        }
        if (tokens->account_id) {
                (*flow)->account_id = TAKE_PTR(tokens->account_id);
                (*flow)->account_name = TAKE_PTR(tokens->account_name);
        }
        return flow_commit(o, vault, flow);
}

int flow_quarantine(Oauth *o, const Vault *vault, Flow **flow, char **ret_claim_code, Failure *failure) {
        _cleanup_(freep) char *shown = NULL;
        char code[CLAIM_CODE_SIZE + 1];
        int r;

        base32_random(code, CLAIM_CODE_SIZE);
        r = keyring_mac(o->keyring, "claim", code, CLAIM_CODE_SIZE, (*flow)->claim_mac);
        if (r < 0)
                return r;
        if (asprintf(&shown, "%.4s-%.4s", code, code + 4) < 0)
                return -ENOMEM;
        explicit_bzero(code, sizeof(code));

        (*flow)->state = FLOW_QUARANTINED;
        (*flow)->tries_left = CLAIM_TRIES;
        (*flow)->expires_usec = now_realtime() + o->config->flow_lifetime_usec;
        r = flow_advance(o, vault, flow, failure);
        if (r != 0)
                return r;
        watch_notify(o, (*flow)->id, NULL);
        *ret_claim_code = TAKE_PTR(shown);
        return 0;
}
