/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Token: the one method that lets a secret out of the vault (V6).
 *
 * To use a service needs none of this: whatever vaultd can send itself never comes here. Whoever reads a token can take it
 * anywhere, and so can every program that runs as that user; so it is an authority method (I10), off for everybody, and policy
 * names the users who may (TokenReaders=). Each read leaves one record, written before the answer, with the account and where
 * the caller comes from; a refused one too. What the Claude Platform owns is not read here: the copy that this host had may be
 * an old one (V4).
 *
 * git and shells call this again and again, so it is answered in the loop, without a fiber, whenever nothing has to be waited
 * for: the caller's name was looked up a moment ago and its vault is open. Every other case (first call, closed vault, name that
 * changed, a token in its last minute) takes the way of all methods. The vault and the credential are read and opened each time;
 * nothing is kept between two calls, least of all across users (T20).
 *
 * The answer is written by hand and not through json-c: its copies of the token would stay behind in the heap. */

#include <stdio.h>

#include "api/choice.h"
#include "audit/audit.h"
#include "json/write.h"
#include "util/clock.h"
#include "util/fiber.h"

static const char description[] =
#include "daemon/api/io.vaultd.Token.inc"
                ;

/* For so long a name counts without being asked for again (users.h). */
#define NAME_FOR_USEC (5 * USEC_PER_SEC)

typedef struct ReadParameters {
        const char *service, *label;
} ReadParameters;

static const JsonField read_fields[] = {
        { "service", JSON_FIELD_STRING, offsetof(ReadParameters, service), true, 64 },
        { "label", JSON_FIELD_STRING, offsetof(ReadParameters, label), false, 64 },
        {},
};

/* ,"name":"text" */
static int add_text(Buffer *b, const char *name, const char *text) {
        int r = buffer_append_text(b, ",\"");

        if (r >= 0)
                r = buffer_append_text(b, name);
        if (r >= 0)
                r = buffer_append_text(b, "\":");
        return r < 0 ? r : json_write_string(b, text);
}

static int add_hosts(Buffer *b, char *const *hosts) {
        int r = buffer_append_text(b, ",\"allowedHosts\":[");

        for (size_t i = 0; hosts[i] && r >= 0; i++) {
                r = i > 0 ? buffer_append_text(b, ",") : 0;
                if (r >= 0)
                        r = json_write_string(b, hosts[i]);
        }
        return r < 0 ? r : buffer_append_text(b, "]");
}

/* -EILSEQ: a token that is not UTF-8. */
static int answer_write(const ServiceProfile *p, const Credential *c, Buffer *b) {
        int r;

        /* Room for all of it at once in the usual case. */
        r = buffer_reserve(b, c->access_token->size + 512);
        if (r >= 0)
                r = buffer_append_text(b, "{\"token\":");
        if (r >= 0)
                r = json_write_string(b, secret_text(c->access_token));
        if (r >= 0)
                r = add_text(b, "kind", credential_kind_to_string(c->kind));
        if (r >= 0)
                r = add_text(b, "service", p->name);
        if (r >= 0)
                r = add_text(b, "title", p->title);
        if (r >= 0)
                r = add_text(b, "label", c->label);
        if (r >= 0)
                r = buffer_append_text(b, ",\"account\":{\"id\":");
        if (r >= 0)
                r = json_write_string(b, c->account_id ?: "");
        if (r >= 0)
                r = add_text(b, "name", c->account_name ?: "");
        if (r >= 0)
                r = buffer_append_text(b, "}");
        if (r >= 0 && c->expires_usec > 0 && c->expires_usec <= INT64_MAX)
                r = buffer_printf(b, ",\"expires\":%llu", (unsigned long long)c->expires_usec);
        if (r >= 0 && c->variable)
                r = add_text(b, "variable", c->variable);
        if (r >= 0 && c->allowed_hosts)
                r = add_hosts(b, c->allowed_hosts);
        return r < 0 ? r : buffer_append_text(b, "}");
}

static int check_reader(Manager *m, const ServiceProfile *p, const char *user, Failure *failure) {
        _cleanup_(freep) char *hint = NULL;

        if (server_policy_may_read_token(config_find_server(m->config, p->name), user))
                return 0;
        if (asprintf(&hint,
                            "An administrator can allow it: TokenReaders=user:%s in [Server %s] of a file "
                            "in /etc/vaultd/policy.d",
                            user, p->name) < 0) {
                hint = NULL;
                return -ENOMEM;
        }
        return failure_set(failure, FAILURE_NOT_ALLOWED, hint, "%s may not read tokens of %s on this host",
                        user, p->title);
}

/* Whether what the record holds is a token that works. */
static int check_readable(const ServiceProfile *p, const Credential *c, Failure *failure) {
        if (c->custody == CUSTODY_PLATFORM)
                return failure_set(failure, FAILURE_NOT_ALLOWED, NULL,
                                "the Claude Platform keeps your %s credentials (Custody=platform), so their "
                                "token cannot be read here",
                                p->title);
        if (!c->access_token)
                return failure_reconnect(failure, p, c->label, "have no token");
        if (!credential_token_is_good(c))
                return failure_reconnect(failure, p, c->label, "have expired");
        return 0;
}

/* The token has to be refreshed first, which takes a fiber. Beside FAILED, which is 1. */
#define READ_WAITS 2

/* The credential whose token the caller gets. Without a fiber READ_WAITS when it is to be refreshed before that. */
static int read_find(Manager *m, const char *user, Vault **vault, const ReadParameters *q,
                const ServiceProfile **ret_profile, Credential **ret, Failure *failure) {
        char say[128];
        int r;

        r = manager_service(m, q->service, ret_profile, failure);
        if (r == 0)
                r = check_reader(m, *ret_profile, user, failure);
        if (r != 0)
                return r;
        (void)snprintf(say, sizeof(say), "vaultctl token %s:LABEL", (*ret_profile)->name);
        r = manager_choose_credential(m, *vault, *ret_profile, q->label, say, ret, failure);
        if (r == 0 && oauth_token_is_due(m->oauth, *ret))
                r = fiber_current() ? oauth_fresh_token(m->oauth, vault, ret, 0, failure) : READ_WAITS;
        return r == 0 ? check_readable(*ret_profile, *ret, failure) : r;
}

/* Answers, unless READ_WAITS; the record is on its way before the token is. */
static int read_answer(Manager *m, Call *call, const char *user, Vault **vault, const ReadParameters *q) {
        _cleanup_(credential_freep) Credential *c = NULL;
        _cleanup_(buffer_done) Buffer text = {};
        const ServiceProfile *profile = NULL;
        Failure failure = {};
        int r;

        r = read_find(m, user, vault, q, &profile, &c, &failure);
        if (r == READ_WAITS)
                return r;
        if (r == 0)
                r = answer_write(profile, c, &text);
        if (r >= 0)
                manager_audit(m, call,
                                (AuditEvent){ .kind = AUDIT_TOKEN_READ,
                                                .user = user,
                                                .verdict = r == 0 ? "done" : "refused",
                                                .reason = failure.message,
                                                .service = profile ? profile->name : NULL,
                                                .account = c ? c->account_name : NULL,
                                                .object = c ? c->id : NULL });
        if (r == 0)
                r = call_reply_text(call, (const char *)text.bytes, text.size);
        else
                r = manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

/* 1: answered; 0: it has to wait. */
static int read_at_once(Manager *m, Call *call, const ReadParameters *q) {
        _cleanup_(vault_freep) Vault *vault = NULL;
        uid_t uid = call_principal(call)->uid;
        const char *name = users_name_within(m->users, uid, now_monotonic(), NAME_FOR_USEC);
        int r;

        if (!name || uid < m->config->uid_min || uid > m->config->uid_max)
                return 0;
        r = vault_record_read(m->store, m->keyring, uid, &vault);
        if (r < 0 || vault->state != VAULT_ACTIVE || !streq(vault->user, name))
                return 0;
        r = read_answer(m, call, name, &vault, q);
        return r < 0 ? r : r != READ_WAITS;
}

/* A read that has to wait: for NSS, for a vault to be made, or for a token to be refreshed. The parameters are the message's, which lives as
 * long as the call. */
typedef struct ReadWait {
        Manager *manager;
        Call *call;
        ReadParameters parameters;
} ReadWait;

static int read_fiber(void *userdata) {
        ReadWait *wait = userdata;
        _cleanup_(vault_freep) Vault *vault = NULL;
        _cleanup_(freep) char *user = NULL;
        Failure failure = {};
        int r;

        r = manager_caller(wait->manager, wait->call, &user, &vault, &failure);
        if (r == 0)
                r = read_answer(wait->manager, wait->call, user, &vault, &wait->parameters);
        else {
                if (r == FAILED)
                        manager_audit(wait->manager, wait->call,
                                        (AuditEvent){ .kind = AUDIT_TOKEN_READ,
                                                        .user = user,
                                                        .verdict = "refused",
                                                        .reason = failure.message });
                r = manager_reply_outcome(wait->call, r, &failure);
        }
        failure_done(&failure);
        return r;
}

static void read_done(int result, void *userdata) {
        ReadWait *wait = userdata;

        if (result < 0 && !call_is_answered(wait->call))
                manager_fault(wait->call, result, wait->manager);
        (void)call_unref(wait->call);
        free(wait);
}

static int method_read(Call *call, json_object *parameters, void *userdata) {
        ReadParameters q = {};
        const char *bad;
        ReadWait *wait;
        int r;

        if (json_dispatch(parameters, read_fields, &q, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (q.label && !label_is_valid(q.label))
                return call_invalid_parameter(call, "label");
        r = read_at_once(userdata, call, &q);
        if (r != 0)
                return MIN(r, 0);
        wait = calloc(1, sizeof(ReadWait));
        if (!wait)
                return -ENOMEM;
        *wait = (ReadWait){ .manager = userdata, .call = call, .parameters = q };
        r = fiber_spawn(wait->manager->event, read_fiber, read_done, wait, NULL);
        if (r < 0) {
                free(wait);
                return r;
        }
        (void)call_ref(call);
        return 0;
}

static const Method methods[] = {
        { "Read", METHOD_AUTHORITY, method_read, .is_quick = true, .records_itself = true },
        {},
};

const Interface interface_token = { "io.vaultd.Token", description, DOOR_PUBLIC, methods };
