/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The second half of a flow: what the browser brings back, through our callback or pasted by hand.
 *
 * The state parameter is the only handle, it works once, and everything it is worth was written down before the
 * browser left: issuer, redirect address, verifier, the beginning uid. A callback that names another issuer ends the
 * flow without a word from that issuer being shown (RFC 9207 section 2.4). On a loopback callback the kernel says who owns the other
 * end of the TCP connection, and that must be the uid that began (O4). Whatever fails after tokens were received revokes them. */

#include <stdio.h>

#include "identity/tcp-peer.h"
#include "oauth/oauth-internal.h"
#include "util/encode.h"
#include "util/log.h"

static int callback_find(Oauth *o, const char *state, FlowWay way, Flow **ret, Failure *failure) {
        _cleanup_(flow_freep) Flow *flow = NULL;
        uint8_t digest[32];
        int r;

        if (isempty(state))
                return failure_set(failure, FAILURE_FLOW, "Run: vaultctl connect",
                                "the answer carries no state; it does not belong to a connection of this "
                                "host");
        sha256(state, strlen(state), digest);
        r = flow_record_read(o->store, o->keyring, digest, &flow);
        if (r < 0 && r != -ENOENT)
                return r;
        if (!flow || flow->way != way || flow_is_expired(flow))
                return failure_set(failure, FAILURE_FLOW, "Run: vaultctl connect",
                                "this answer belongs to no connection that is waiting for one; it may have "
                                "expired");
        if (flow->state != (way == FLOW_WAY_PAGE ? FLOW_CONTINUED : FLOW_PENDING))
                return failure_set(failure, FAILURE_FLOW, "Run: vaultctl connect",
                                "this answer was used already, or its connection did not start at our page");
        *ret = TAKE_PTR(flow);
        return 0;
}

/* What the answer claims about where it comes from. */
static int callback_check_origin(Oauth *o, const Flow *f, const CallbackAnswer *a, Failure *failure) {
        _cleanup_(freep) char *digest = issuer_digest(f->authority.issuer);
        uid_t owner;
        int r;

        if (!digest)
                return -ENOMEM;
        if (!streq_ptr(a->path, digest) || (a->iss && !streq(a->iss, f->authority.issuer)) ||
                        (!a->iss && f->authority.iss_supported))
                return failure_set(failure, FAILURE_FLOW, NULL,
                                "the answer came from another authorization server than the one that was "
                                "asked; nothing was stored");
        if (f->way == FLOW_WAY_PASTE || o->config->external_url)
                return 0;
        if (!a->local || !a->peer)
                return failure_set(failure, FAILURE_FLOW, NULL,
                                "it is not known which user's browser brought this answer; nothing was "
                                "stored");
        r = tcp_peer_uid(a->local, a->peer, &owner);
        if (r < 0 || owner != f->uid)
                return failure_set(failure, FAILURE_FLOW, NULL,
                                "the browser belongs to another user of this host than %s, who began; "
                                "nothing was stored",
                                f->user);
        return 0;
}

static int callback_check_answer(Oauth *o, const Flow *f, const CallbackAnswer *a, Failure *failure) {
        if (a->error) {
                _cleanup_(freep) char *error = printable(a->error, 100),
                                      *text = printable(a->error_description ?: "", 200);

                if (!error || !text)
                        return -ENOMEM;
                return failure_set(failure, FAILURE_FLOW, NULL, "%s refused: %s%s%s", flow_title(o, f),
                                error, *text ? ", " : "", text);
        }
        if (isempty(a->code) || strlen(a->code) > 4096)
                return failure_set(failure, FAILURE_FLOW, NULL, "%s sent no usable code", flow_title(o, f));
        return 0;
}

/* For tokens that no record holds. */
static void callback_revoke(Oauth *o, const ServiceProfile *p, Flow *f) {
        Failure ignored = {};

        if (token_revoke(o, p->title, &f->authority, f->client_secret, f->access_token, f->refresh_token,
                            &ignored) != 0)
                log_warning("%s: tokens of a connection that failed could not be revoked: %s", p->title,
                                ignored.message ?: "out of memory");
        failure_done(&ignored);
        f->access_token = secret_free(f->access_token);
        f->refresh_token = secret_free(f->refresh_token);
}

int grant_park(Oauth *o, const Vault *vault, const ServiceProfile *p, Flow **flow, TokenAnswer *tokens,
                char **ret_claim_code, Failure *failure) {
        int r;

        r = flow_keep_tokens(o, vault, flow, tokens);
        if (r != 0)
                callback_revoke(o, p, *flow);
        if (r == FLOW_MOVED)
                r = failure_set(failure, FAILURE_FLOW, NULL,
                                "the connection was given up or replaced meanwhile; nothing was stored");
        if (r == 0)
                r = account_ask(o, p, *flow, (*flow)->access_token, &(*flow)->account_id,
                                &(*flow)->account_name, failure);
        if (r == 0)
                r = flow_check_account(o, *flow, p, failure);
        return r == 0 ? flow_quarantine(o, vault, flow, ret_claim_code, failure) : r;
}

/* Code → tokens → account → quarantine. */
static int callback_redeem(Oauth *o, const Vault *vault, Flow **flow, const char *code,
                char **ret_claim_code, Failure *failure) {
        const ServiceProfile *p = config_find_service(o->config, (*flow)->service);
        TokenAnswer tokens = {};
        int r;

        if (!p || !streq(p->url, (*flow)->upstream))
                return failure_set(failure, FAILURE_FLOW, NULL,
                                "%s was taken off this host, or moved, meanwhile", (*flow)->service);
        r = token_redeem(o, *flow, p->title, code, &tokens, failure);
        if (r == 0)
                r = grant_park(o, vault, p, flow, &tokens, ret_claim_code, failure);
        token_answer_done(&tokens);
        return r;
}

/* Success parks a grant. */
static int callback_work(
                Oauth *o, Flow **flow, const CallbackAnswer *a, char **ret_claim_code, Failure *failure) {
        _cleanup_(vault_freep) Vault *vault = NULL;
        int r;

        r = vault_record_read(o->store, o->keyring, (*flow)->uid, &vault);
        if (r < 0)
                return r;
        if (vault->state != VAULT_ACTIVE)
                return failure_set(failure, FAILURE_VAULT_CLOSED, NULL, "the vault of %s is closed",
                                (*flow)->user);
        r = callback_check_origin(o, *flow, a, failure);
        if (r == 0)
                r = callback_check_answer(o, *flow, a, failure);
        if (r != 0)
                return r;
        (*flow)->state = FLOW_EXCHANGING;
        r = flow_advance(o, vault, flow,
                        failure); /* of two with this state one loses here, and then ends nothing: it moved */
        return r == 0 ? callback_redeem(o, vault, flow, a->code, ret_claim_code, failure) : r;
}

/* From here on the state is used up: what does not park a grant ends the flow, so that nobody waits for it. A shutdown leaves it to the
 * next start. */
static int callback_finish(Oauth *o, Flow *taken, const CallbackAnswer *a, Flow **ret, char **ret_claim_code,
                Failure *failure) {
        _cleanup_(flow_freep) Flow *flow = taken;
        Failure fault = {};
        int r;

        r = callback_work(o, &flow, a, ret_claim_code, failure);
        if (r == 0) {
                *ret = TAKE_PTR(flow);
                return 0;
        }
        if (r < 0 && r != -ECANCELED)
                (void)failure_set(&fault, FAILURE_FLOW, "Run: vaultctl connect", "%s",
                                r == -ENOSPC ? "vaultd cannot store more: its disk or its map is full"
                                             : "vaultd failed; its journal says more");
        if (r != -ECANCELED)
                (void)flow_end(o, TAKE_PTR(flow), r < 0 ? &fault : failure);
        failure_done(&fault);
        return r;
}

/* One of few at once; whoever is refused here has not used up the state and may come again. */
static int callback_in_turn(Oauth *o, Flow *taken, const CallbackAnswer *a, Flow **ret,
                char **ret_claim_code, Failure *failure) {
        _cleanup_(flow_freep) Flow *flow = taken;
        Work work;
        int r;

        r = work_enter(o, &work, WORK_EXCHANGE, flow->uid, failure);
        if (r != 0)
                return r;
        r = callback_finish(o, TAKE_PTR(flow), a, ret, ret_claim_code, failure);
        work_leave(o, &work);
        return r;
}

int oauth_callback(Oauth *o, const CallbackAnswer *a, Flow **ret, char **ret_claim_code, Failure *failure) {
        Flow *flow = NULL;
        int r;

        r = callback_find(o, a->state, FLOW_WAY_PAGE, &flow, failure);
        if (r != 0)
                return r;
        return callback_in_turn(o, flow, a, ret, ret_claim_code, failure);
}

/* The parameters of a pasted redirect URL; whoever repeats one has two answers and gets none. */
typedef struct PastedAnswer {
        char *state, *code, *iss, *error, *error_description;
} PastedAnswer;

static void pasted_answer_done(PastedAnswer *p) {
        if (p->code)
                explicit_bzero(p->code, strlen(p->code));
        free(p->state);
        free(p->code);
        free(p->iss);
        free(p->error);
        free(p->error_description);
        *p = (PastedAnswer){};
}

static int pasted_answer_parse(const char *query, PastedAnswer *ret) {
        PastedAnswer p = {};
        int r = 0;

        while (*query && r >= 0) {
                size_t n = strcspn(query, "&"), name = strcspn(query, "=&");
                char **field = name == 5 && memcmp(query, "state", 5) == 0   ? &p.state
                               : name == 4 && memcmp(query, "code", 4) == 0  ? &p.code
                               : name == 3 && memcmp(query, "iss", 3) == 0   ? &p.iss
                               : name == 5 && memcmp(query, "error", 5) == 0 ? &p.error
                               : name == 17 && memcmp(query, "error_description", 17) == 0
                                               ? &p.error_description
                                               : NULL;
                if (field && *field)
                        r = -EBADMSG;
                else if (field)
                        r = percent_decode(query + MIN(name + 1, n), n - MIN(name + 1, n), true, field);
                query += n;
                query += *query == '&';
        }
        if (r < 0) {
                pasted_answer_done(&p);
                return r;
        }
        *ret = p;
        return 0;
}

int oauth_paste(Oauth *o, uid_t uid, const char *flow_id, const char *url, Flow **ret, Failure *failure) {
        _cleanup_(flow_freep) Flow *flow = NULL;
        _cleanup_(freep) char *digest = NULL, *claim_code = NULL;
        PastedAnswer pasted = {};
        int r;

        r = flow_find_own(o, uid, flow_id, &flow, failure);
        if (r != 0)
                return r;
        if (flow->way != FLOW_WAY_PASTE || flow->state != FLOW_PENDING || flow_is_expired(flow))
                return failure_set(failure, FAILURE_FLOW, "Run: vaultctl connect",
                                "this connection does not wait for a pasted address");

        const char *query = startswith(url, flow->redirect_uri);
        if (!query || *query != '?' || pasted_answer_parse(query + 1, &pasted) < 0)
                return failure_set(failure, FAILURE_FLOW, NULL,
                                "that is not the address the browser ended at; it begins with %s?",
                                flow->redirect_uri);
        if (!pasted.state || !secret_equal(flow->state_text, pasted.state, strlen(pasted.state)))
                r = failure_set(failure, FAILURE_FLOW, NULL, "that address belongs to another connection");
        else {
                digest = issuer_digest(flow->authority.issuer);
                const CallbackAnswer answer = { .path = digest,
                        .state = pasted.state,
                        .code = pasted.code,
                        .iss = pasted.iss,
                        .error = pasted.error,
                        .error_description = pasted.error_description };
                r = digest ? callback_in_turn(o, TAKE_PTR(flow), &answer, ret, &claim_code, failure)
                           : -ENOMEM;
        }
        pasted_answer_done(&pasted);
        return r;
}
