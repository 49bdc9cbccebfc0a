/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Connect, the part for tokens that a service hands out by hand: Identify and Keep.
 *
 * Both are authority (I10): a token that somebody else slips in would make the caller's agents act on somebody else's account.
 * The account is asked for and shown before anything is kept, and named again with the yes (oauth/static-token.c). The
 * token stands in the message as json-c holds it; it is overwritten there as soon as it was copied into a Secret. It never
 * gets into a failure, a record or the log. */

#include <stdio.h>

#include "api/choice.h"

typedef struct TokenParameters {
        const char *service, *label, *token, *account;
        bool replace_account;
} TokenParameters;

static const JsonField identify_fields[] = {
        { "service", JSON_FIELD_STRING, offsetof(TokenParameters, service), true, 64 },
        { "token", JSON_FIELD_STRING, offsetof(TokenParameters, token), true, TOKEN_SIZE_MAX },
        {},
};

static const JsonField keep_fields[] = {
        { "service", JSON_FIELD_STRING, offsetof(TokenParameters, service), true, 64 },
        { "label", JSON_FIELD_STRING, offsetof(TokenParameters, label), false, 64 },
        { "token", JSON_FIELD_STRING, offsetof(TokenParameters, token), true, TOKEN_SIZE_MAX },
        { "account", JSON_FIELD_STRING, offsetof(TokenParameters, account), false, 256 },
        { "replaceAccount", JSON_FIELD_BOOL, offsetof(TokenParameters, replace_account), false },
        {},
};

static int failure_takes_none(Failure *failure, const ServiceProfile *profile) {
        char hint[96];

        (void)snprintf(hint, sizeof(hint), "Run: vaultctl connect %s", profile->name);
        return failure_set(failure, FAILURE_NOT_ALLOWED, hint,
                        "%s is connected in the browser, not with a token", profile->title);
}

/* Moves the token out of the message, which keeps zeros. 1: it is none, and the caller was told so. */
static int token_take(Call *call, const ServiceProfile *profile, const TokenParameters *p, Secret **ret) {
        bool is_legal = token_is_legal(profile, p->token);
        int r;

        r = is_legal ? secret_new_text(p->token, ret) : call_invalid_parameter(call, "token");
        erase((char *)(uintptr_t)p->token, strlen(p->token));
        return r < 0 ? r : !is_legal;
}

/* What both begin with. 1: answered. */
static int begin(Manager *m, Call *call, const TokenParameters *p, const ServiceProfile **ret_profile,
                Secret **ret_token, char **ret_user, Vault **ret_vault, Failure *failure) {
        const ServiceProfile *profile;
        int r;

        r = manager_service(m, p->service, &profile, failure);
        if (r == 0 && profile->auth == SERVICE_AUTH_OAUTH)
                r = failure_takes_none(failure, profile);
        if (r == 0)
                r = manager_caller(m, call, ret_user, ret_vault, failure);
        if (r != 0) {
                erase((char *)(uintptr_t)p->token, strlen(p->token));
                r = manager_reply_outcome(call, r, failure);
                return r < 0 ? r : 1;
        }
        *ret_profile = profile;
        return token_take(call, profile, p, ret_token);
}

/* id NULL: nobody said whose it is. */
static int identify_reply(Call *call, const ServiceProfile *profile, const char *id, const char *name) {
        bool is_variable = profile->auth == SERVICE_AUTH_ENVIRONMENT;
        _cleanup_(json_putp) json_object *reply =
                        json_build("service", 's', profile->name, "title", 's', profile->title, "kind", 's',
                                        credential_kind_to_string(is_variable ? CREDENTIAL_ENVIRONMENT
                                                                              : CREDENTIAL_STATIC_BEARER),
                                        NULL);

        if (!reply || (id && json_add(reply, "account", account_to_json(id, name)) < 0))
                return -ENOMEM;
        return call_reply(call, TAKE_PTR(reply));
}

int method_connect_identify(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(freep) char *user = NULL, *id = NULL, *name = NULL;
        _cleanup_(secret_freep) Secret *token = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;
        const ServiceProfile *profile = NULL;
        TokenParameters p = {};
        Manager *m = userdata;
        Failure failure = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, identify_fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        r = begin(m, call, &p, &profile, &token, &user, &vault, &failure);
        if (r == 0) {
                r = oauth_identify_token(m->oauth, vault->uid, profile, token, &id, &name, &failure);
                r = r == 0 ? identify_reply(call, profile, id, name)
                           : manager_reply_outcome(call, r, &failure);
        }
        failure_done(&failure);
        return MIN(r, 0);
}

int method_connect_keep(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(credential_freep) Credential *c = NULL;
        _cleanup_(secret_freep) Secret *token = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;
        _cleanup_(freep) char *user = NULL;
        const ServiceProfile *profile = NULL;
        TokenParameters p = {};
        Manager *m = userdata;
        Failure failure = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, keep_fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (p.label && !label_is_valid(p.label))
                return call_invalid_parameter(call, "label");
        r = begin(m, call, &p, &profile, &token, &user, &vault, &failure);
        if (r == 0) {
                r = oauth_keep_token(m->oauth, vault, profile, p.label ?: LABEL_DEFAULT, token, p.account,
                                p.replace_account, m->platform != NULL, &c, &failure);
                if (r == FAILED)
                        manager_audit(m, call,
                                        (AuditEvent){ .kind = AUDIT_TOKEN_KEPT,
                                                        .user = user,
                                                        .verdict = "refused",
                                                        .reason = failure.message,
                                                        .service = profile->name });
                r = r == 0 ? connect_reply(m, call, AUDIT_TOKEN_KEPT, user, &vault, &c)
                           : manager_reply_outcome(call, r, &failure);
        }
        failure_done(&failure);
        return MIN(r, 0);
}
