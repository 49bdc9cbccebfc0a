/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Tokens that a service hands out by hand: bearers for its MCP server, and values of environment variables (V5).
 *
 * There is no flow: the token came over the caller's own socket, so it is the caller's to give, and no consent of somebody else
 * can be planted in it (T14). What is left is whose token it is. The service is asked before anything is kept, the account is
 * shown by vaultctl, and the second call names the account that was shown: it is asked for again and has to be that one, so
 * between the question and the yes nothing can be exchanged. It is pinned like an OAuth account (O7). Where the profile names
 * nobody to ask, the account stays unknown, is not pinned, and nobody claims to know it.
 *
 * Between the two calls nothing is stored, in memory neither. The token is bound to the profile's address (V8) or, as a
 * variable, to its hosts.
 *
 * Who may call: api, on fibers; token_is_legal() anybody. */

#include <stdio.h>

#include "oauth/oauth-internal.h"
#include "util/clock.h"

bool token_is_legal(const ServiceProfile *p, const char *token) {
        size_t n = strlen(token);
        /* RFC 6750 section 2.1 has less; what could end a header line or split a word is never part of one. */
        uint8_t least = p->auth == SERVICE_AUTH_ENVIRONMENT ? 0x20 : 0x21;

        if (n == 0 || n > TOKEN_SIZE_MAX || token[0] == ' ' || token[n - 1] == ' ')
                return false;
        for (size_t i = 0; i < n; i++) {
                uint8_t c = (uint8_t)token[i];

                if (c < least || c == 0x7f || (c > 0x7f && p->auth != SERVICE_AUTH_ENVIRONMENT))
                        return false;
        }
        return true;
}

static int identify_in_turn(Oauth *o, uid_t uid, const ServiceProfile *p, const Secret *token, char **ret_id,
                char **ret_name, Failure *failure) {
        Work work;
        int r;

        if (!p->account_tool && !p->account_url)
                return 0; /* nobody is asked */
        r = work_enter(o, &work, WORK_EXCHANGE, uid, failure);
        if (r != 0)
                return r;
        /* Asking makes the service do work in this host's name, like the beginning of a flow. */
        r = pace_beginning(o, uid, failure);
        if (r == 0)
                r = account_ask_for_token(o, p, token, ret_id, ret_name, failure);
        work_leave(o, &work);
        return r;
}

int oauth_identify_token(Oauth *o, uid_t uid, const ServiceProfile *p, const Secret *token, char **ret_id,
                char **ret_name, Failure *failure) {
        if (p->auth == SERVICE_AUTH_OAUTH || !token_is_legal(p, secret_text(token)))
                return -EINVAL;
        return identify_in_turn(o, uid, p, token, ret_id, ret_name, failure);
}

static int hosts_copy(char *const *hosts, char ***ret) {
        size_t n = 0;

        while (hosts[n])
                n++;
        *ret = calloc(n + 1, sizeof(char *));
        for (size_t i = 0; *ret && i < n; i++)
                if (!((*ret)[i] = strdup(hosts[i])))
                        return -ENOMEM;
        return *ret ? 0 : -ENOMEM;
}

/* id and name NULL: not known. */
static int credential_from_token(uid_t uid, const ServiceProfile *p, const char *label, const Secret *token,
                const char *id, const char *name, Custody custody, Credential **ret) {
        _cleanup_(credential_freep) Credential *c = calloc(1, sizeof(Credential));
        bool is_variable = p->auth == SERVICE_AUTH_ENVIRONMENT;
        int r;

        if (!c)
                return -ENOMEM;
        c->uid = uid;
        c->id = credential_id_new();
        c->service = strdup(p->name);
        c->label = strdup(label);
        c->upstream = strdup(p->url);
        c->account_id = strdup(id ?: "");
        c->account_name = strdup(name ?: "");
        c->variable = is_variable ? strdup(p->variable) : NULL;
        if (!c->id || !c->service || !c->label || !c->upstream || !c->account_id || !c->account_name ||
                        (is_variable && !c->variable))
                return -ENOMEM;
        r = is_variable ? hosts_copy(p->allowed_hosts, &c->allowed_hosts) : 0;
        if (r >= 0)
                r = secret_new(token->bytes, token->size, &c->access_token);
        if (r < 0)
                return r;
        c->kind = is_variable ? CREDENTIAL_ENVIRONMENT : CREDENTIAL_STATIC_BEARER;
        c->level = CREDENTIAL_USER; /* what a person gives is that person's alone (V7) */
        c->state = CREDENTIAL_ACTIVE;
        c->created_usec = now_realtime();
        c->custody = (int)custody;
        *ret = TAKE_PTR(c);
        return 0;
}

/* A former credential of the place makes way; what the platform holds of it is kept in view. Of two who keep one at once one wins. */
static int token_commit(
                Oauth *o, const Vault *vault, Credential *fresh, Credential **ret_former, Failure *failure) {
        _cleanup_(credential_freep) Credential *former = NULL;
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        int r;

        r = credential_record_read(o->store, vault, fresh->service, fresh->label, &former);
        if (r < 0 && r != -ENOENT)
                return r;
        if (former) {
                fresh->stored = former->stored;
                former->stored = (Buffer){};
                fresh->platform_credential_id = TAKE_PTR(former->platform_credential_id);
        }
        r = store_batch_new(&batch);
        if (r >= 0)
                r = credential_record_put(batch, vault, fresh);
        if (r >= 0 && *fresh->account_id)
                r = credential_pin(o, fresh->uid, fresh->service, fresh->label, fresh->account_id,
                                fresh->account_name, batch);
        if (r >= 0)
                r = store_commit(o->store, TAKE_PTR(batch));
        if (r == STORE_CONFLICT)
                return failure_set(failure, FAILURE_FLOW, "Run: vaultctl status",
                                "this connection was changed meanwhile; nothing was stored");
        if (r == 0)
                *ret_former = TAKE_PTR(former);
        return r;
}

/* A grant in whose place a token came is of no use to anybody. */
static void revoke_former(Oauth *o, const Credential *former) {
        Failure ignored = {};

        if (former && former->kind == CREDENTIAL_OAUTH)
                (void)oauth_revoke_credential(o, former, &ignored);
        failure_done(&ignored);
}

static int check_account(Oauth *o, uid_t uid, const char *user, const ServiceProfile *p, const char *label,
                const char *id, const char *name, const char *shown_id, bool is_replacing_account, Failure *failure) {
        int r;

        if (!streq_ptr(id, shown_id))
                return failure_set(failure, FAILURE_FLOW, NULL,
                                "%s says now that the token is %s's; nothing was stored", p->title,
                                name ?: "nobody");
        r = account_check_match(o, uid, user, p, id, name, failure);
        if (r != 0 || !id || is_replacing_account)
                return r;
        r = account_check_pin(o, uid, p, label, id, name, NULL, failure);
        if (r != FAILED || failure->kind != FAILURE_ACCOUNT_CHANGED)
                return r;
        _cleanup_(freep) char *hint = TAKE_PTR(failure->hint);
        if (asprintf(&failure->hint, "%s --token-stdin", hint) < 0)
                failure->hint = NULL;
        return failure->hint ? FAILED : -ENOMEM;
}

int oauth_keep_token(Oauth *o, const Vault *vault, const ServiceProfile *p, const char *label,
                const Secret *token, const char *account_id, bool is_replacing_account,
                bool has_workspace_key, Credential **ret, Failure *failure) {
        _cleanup_(credential_freep) Credential *fresh = NULL, *former = NULL;
        _cleanup_(freep) char *id = NULL, *name = NULL;
        int r;

        r = oauth_identify_token(o, vault->uid, p, token, &id, &name, failure);
        if (r == 0)
                r = check_account(o, vault->uid, vault->user, p, label, id, name, account_id, is_replacing_account,
                                failure);
        if (r == 0)
                r = credential_from_token(vault->uid, p, label, token, id, name,
                                oauth_custody(p, has_workspace_key), &fresh);
        if (r == 0)
                r = token_commit(o, vault, fresh, &former, failure);
        if (r != 0)
                return r;
        revoke_former(o, former);
        return credential_record_read(o->store, vault, p->name, label, ret);
}
