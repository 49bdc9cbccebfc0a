/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From a parked grant to a credential: only the uid that began can do it, over its own socket, with the code that the
 * page showed after consent (O4, T14). Only the code's keyed digest is stored; three wrong tries revoke the grant. */

#include <stdio.h>

#include "oauth/oauth-internal.h"
#include "util/clock.h"
#include "util/encode.h"

/* The try is counted durably before its caller hears of it; FLOW_MOVED when it could not be, since others tried meanwhile. */
static int claim_rejected(
                Oauth *o, const Vault *vault, Flow *taken, bool is_naming_account, Failure *failure) {
        _cleanup_(flow_freep) Flow *flow = taken;
        unsigned left = flow->tries_left > 0 ? flow->tries_left - 1 : 0;
        int r;

        if (left == 0) {
                r = failure_set(failure, FAILURE_CLAIM, NULL,
                                "that was the third wrong code: the grant is revoked, nothing was stored");
                if (r == FAILED && flow_end(o, TAKE_PTR(flow), failure) == FLOW_MOVED)
                        return FLOW_MOVED;
        } else {
                flow->tries_left = left;
                r = flow_commit(o, vault, &flow);
                if (r != 0)
                        return r;
                r = failure_set(failure, FAILURE_CLAIM, NULL,
                                "that is not the code%s the page showed; %u %s left",
                                is_naming_account ? " and the account that" : "", left,
                                left == 1 ? "try" : "tries");
        }
        if (r == FAILED)
                failure->tries_left = left;
        return r;
}

/* The account is no longer one that may be the caller's: nobody can claim this grant any more, so it goes back. */
static int claim_refused(Oauth *o, Flow *flow, const Failure *why) {
        int r;

        r = flow_end(o, flow, why);
        return r == 0 ? FAILED : r;
}

/* text: as normalised. What cannot be computed does not match. */
static bool claim_code_matches(Oauth *o, const Flow *f, const char *text) {
        return keyring_mac_matches(o->keyring, "claim", text, strlen(text), f->claim_mac) > 0;
}

/* What the caller says of the grant that is meant. */
typedef struct Claim {
        const char *flow_id; /* NULL: the one that the code opens, or the only one; without a code the one with this account */
        bool has_code;
        char text[16];          /* the code as normalised */
        const char *account_id; /* NULL: any */
} Claim;

static bool claim_is_about(const Claim *c, const Flow *f) {
        if (f->state != FLOW_QUARANTINED || flow_is_expired(f))
                return false;
        if (c->flow_id)
                return streq(c->flow_id, f->id);
        return c->has_code || (f->way != FLOW_WAY_PAGE && streq_ptr(c->account_id, f->account_id));
}

/* The caller's parked grant that is meant. Two that an account alone could mean are none. */
static int claim_find(Oauth *o, uid_t uid, const Claim *c, Flow **ret, Failure *failure) {
        Flow **list = NULL;
        size_t n = 0, n_parked = 0;
        int r;

        r = flow_record_list(o->store, o->keyring, uid, &list, &n);
        if (r < 0)
                return r;
        *ret = NULL;
        size_t chosen = n;
        for (size_t i = 0; i < n; i++) {
                Flow *f = list[i];

                if (f->uid != uid || !claim_is_about(c, f))
                        continue;
                n_parked++;
                if (chosen == n || claim_code_matches(o, f, c->text))
                        chosen = i;
        }
        bool is_ambiguous = n_parked > 1 && !c->has_code;
        if (chosen < n && !is_ambiguous)
                *ret = TAKE_PTR(list[chosen]);
        for (size_t i = 0; i < n; i++)
                (void)flow_free(list[i]);
        free(list);
        if (is_ambiguous)
                return failure_set(failure, FAILURE_NOT_ALLOWED, "Run: vaultctl connect",
                                "you have several unfinished connections with that account");
        if (n_parked == 0)
                return failure_set(failure, FAILURE_NOT_FOUND, "Run: vaultctl status",
                                "there is no such unfinished connection");
        return 0;
}

/* A page's grant opens by its code, and by the account too where the caller names one; which of the two was wrong is not told. What was pasted over the
 * caller's own socket, or approved with a device code, opens by a yes to its account. */
static bool claim_is_proved(Oauth *o, const Flow *f, const Claim *c) {
        bool is_account = c->account_id && streq_ptr(c->account_id, f->account_id);

        if (f->way == FLOW_WAY_PAGE)
                return c->has_code && claim_code_matches(o, f, c->text) && (!c->account_id || is_account);
        return is_account;
}

char *credential_id_new(void) {
        uint8_t bytes[16];
        char *id;

        random_bytes(bytes, sizeof(bytes));
        _cleanup_(freep) char *hex = hex_encode(bytes, sizeof(bytes));
        return hex && asprintf(&id, "c-%s", hex) >= 0 ? id : NULL;
}

static int credential_from_flow(Flow *f, Custody custody, Credential **ret) {
        _cleanup_(credential_freep) Credential *c = calloc(1, sizeof(Credential));
        int r;

        if (!c)
                return -ENOMEM;
        c->uid = f->uid;
        c->id = credential_id_new();
        c->service = strdup(f->service);
        c->label = strdup(f->label);
        c->upstream = strdup(f->upstream);
        c->resource = strdup(f->resource);
        c->scope = f->scope ? strdup(f->scope) : NULL;
        c->asked_scope = f->asked_scope ? strdup(f->asked_scope) : NULL;
        c->account_id = strdup(f->account_id);
        c->account_name = strdup(f->account_name);
        if (!c->id || !c->service || !c->label || !c->upstream || !c->resource || !c->account_id ||
                        !c->account_name || (f->scope && !c->scope) || (f->asked_scope && !c->asked_scope))
                return -ENOMEM;
        r = authority_copy(&f->authority, &c->authority);
        if (r < 0)
                return r;
        c->created_usec = now_realtime();
        c->expires_usec = f->token_expires_usec;
        c->custody = (int)custody;
        c->state = CREDENTIAL_ACTIVE;
        c->access_token = TAKE_PTR(f->access_token);
        c->refresh_token = TAKE_PTR(f->refresh_token);
        c->client_secret = TAKE_PTR(f->client_secret);
        *ret = TAKE_PTR(c);
        return 0;
}

int credential_pin(Oauth *o, uid_t uid, const char *service, const char *label, const char *account_id,
                const char *account_name, StoreBatch *batch) {
        _cleanup_(pinned_account_freep) PinnedAccount *pin = NULL;
        int r;

        r = pinned_account_record_read(o->store, uid, service, label, &pin);
        if (r == -ENOENT) {
                pin = calloc(1, sizeof(PinnedAccount));
                if (!pin)
                        return -ENOMEM;
                pin->uid = uid;
                pin->service = strdup(service);
                pin->label = strdup(label);
        } else if (r < 0)
                return r;
        free(pin->account_id);
        free(pin->account_name);
        pin->account_id = strdup(account_id);
        pin->account_name = strdup(account_name);
        if (!pin->service || !pin->label || !pin->account_id || !pin->account_name)
                return -ENOMEM;
        return pinned_account_record_put(batch, pin);
}

/* The credential, the pin and the flow's end are one commit. A former credential of the place makes way; what the platform holds of it is kept in view. */
static int claim_commit(Oauth *o, const Vault *vault, Flow *f, Custody custody, Credential **ret) {
        _cleanup_(credential_freep) Credential *former = NULL, *fresh = NULL;
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        int r;

        r = credential_record_read(o->store, vault, f->service, f->label, &former);
        if (r < 0 && r != -ENOENT)
                return r;
        r = credential_from_flow(f, custody, &fresh);
        if (r < 0)
                return r;
        if (former) {
                fresh->stored = former->stored;
                former->stored = (Buffer){};
                fresh->platform_credential_id = TAKE_PTR(former->platform_credential_id);
        }
        if ((r = store_batch_new(&batch)) < 0 || (r = credential_record_put(batch, vault, fresh)) < 0 ||
                        (*f->account_id && (r = credential_pin(o, f->uid, f->service, f->label,
                                                            f->account_id, f->account_name, batch)) < 0) ||
                        (r = flow_record_delete(batch, f)) < 0)
                return r;
        r = store_commit(o->store, TAKE_PTR(batch));
        if (r < 0)
                return r;
        if (r == STORE_CONFLICT)
                return FLOW_MOVED;

        if (former && !streq_ptr(former->account_id, fresh->account_id)) {
                /* Another account takes the place: the former grant is of no use to anybody. With the same account it is left alone,
                 * since some services revoke the new grant along with the old. */
                Failure ignored = {};

                (void)oauth_revoke_credential(o, former, &ignored);
                failure_done(&ignored);
        }
        return credential_record_read(o->store, vault, f->service, f->label, ret);
}

Custody oauth_custody(const ServiceProfile *profile, bool has_workspace_key) {
        if (profile->custody != CUSTODY_AUTO)
                return profile->custody;
        return has_workspace_key ? CUSTODY_MIRROR : CUSTODY_HOST;
}

/* One look at the records; FLOW_MOVED when they changed under it. */
static int claim_once(Oauth *o, const Vault *vault, const Claim *c, bool has_workspace_key, Credential **ret,
                Failure *failure) {
        _cleanup_(flow_freep) Flow *flow = NULL;
        int r;

        r = claim_find(o, vault->uid, c, &flow, failure);
        if (r != 0)
                return r;
        if (!claim_is_proved(o, flow, c))
                return claim_rejected(o, vault, TAKE_PTR(flow), c->account_id, failure);

        const ServiceProfile *profile = config_find_service(o->config, flow->service);
        if (!profile)
                return failure_set(failure, FAILURE_FLOW, NULL, "%s was taken off this host meanwhile",
                                flow->service);
        r = flow_check_account(o, flow, profile, failure);
        if (r == FAILED)
                return claim_refused(o, TAKE_PTR(flow), failure);
        if (r < 0)
                return r;
        return claim_commit(o, vault, flow, oauth_custody(profile, has_workspace_key), ret);
}

int oauth_claim(Oauth *o, const Vault *vault, const char *flow_id, const char *code, const char *account_id,
                bool has_workspace_key, Credential **ret, Failure *failure) {
        Claim c = { .flow_id = flow_id, .has_code = code, .account_id = account_id };
        _cleanup_(vault_freep) Vault *fresh = NULL;
        int r;

        if (code && base32_read(code, c.text, sizeof(c.text)) < 0)
                c.text[0] = 0; /* too long to be a code: a wrong one */
        /* Each turn that does not end this was somebody else's success, and a grant takes few of those: tries sent at once get the
         * same three as tries one after the other, and no answer that tells a right one from a wrong one for free. */
        r = claim_once(o, vault, &c, has_workspace_key, ret, failure);
        while (r == FLOW_MOVED) {
                /* What was changed may be the vault's key. */
                fresh = vault_free(fresh);
                r = vault_record_read(o->store, o->keyring, vault->uid, &fresh);
                if (r >= 0)
                        r = claim_once(o, fresh, &c, has_workspace_key, ret, failure);
        }
        explicit_bzero(c.text, sizeof(c.text));
        return r;
}

int oauth_cancel(Oauth *o, uid_t uid, const char *flow_id, Failure *failure) {
        Failure why = {};
        int r;

        (void)failure_set(&why, FAILURE_FLOW, NULL, "the connection was given up");
        do {
                Flow *flow;

                r = flow_find_own(o, uid, flow_id, &flow, failure);
                if (r == 0)
                        r = flow_end(o, flow, &why);
        } while (r == FLOW_MOVED);
        failure_done(&why);
        return r;
}
