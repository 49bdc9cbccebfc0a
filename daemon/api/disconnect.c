/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Connect.Disconnect: a user gives a connection up (O9).
 *
 * The credential leaves use in the commit that writes down that it is to be revoked, the same one as of an administrator's revocation.
 * From then on it is revocation.c that tells the service and the Claude Platform and then erases it: here the answer is only waited for.
 * So whatever comes between, a provider that is away, a crash (T27), a client that leaves, the rest is done without anybody, and a start
 * finds what is left without a walk through everybody's credentials. The place is free at once.
 *
 * To keep the credential in its place as "disconnecting" until the service had answered was rejected: after a crash nobody but the user
 * could go on with it, and meanwhile the place was taken. Records in that state, of before, leave it by the same way.
 *
 * A revocation that is pending is held for a month, so a user has a bounded number of them (T26).
 *
 * Who may call: the caller whose vault it is. */

#include <stdio.h>

#include "api/choice.h"
#include "api/revocation.h"
#include "audit/audit.h"
#include "util/clock.h"

/* How long the answer waits for the service, which may take as long as it likes. */
#define WAIT_USEC   (20 * USEC_PER_SEC)
#define ROUNDS_MAX  64U
#define PENDING_MAX 64U /* of a user */

typedef struct DisconnectParameters {
        const char *service, *label;
} DisconnectParameters;

static const JsonField disconnect_fields[] = {
        { "service", JSON_FIELD_STRING, offsetof(DisconnectParameters, service), true, 64 },
        { "label", JSON_FIELD_STRING, offsetof(DisconnectParameters, label), false, 64 },
        {},
};

/* The credential in whatever state. Without a label it is the only one there is. */
static int disconnect_find(Manager *m, const Vault *vault, const ServiceProfile *profile, const char *label,
                Credential **ret, Failure *failure) {
        _cleanup_(freep) char *hint = NULL;
        Credential **list = NULL;
        size_t n = 0;
        int r;

        if (label) {
                r = credential_record_read(m->store, vault, profile->name, label, ret);
                return r == -ENOENT ? failure_not_connected(failure, profile) : r;
        }
        r = credential_record_list(m->store, vault, profile->name, &list, &n);
        if (r < 0)
                return r;
        if (n == 0)
                r = failure_not_connected(failure, profile);
        else if (n == 1)
                *ret = TAKE_PTR(list[0]);
        else if (asprintf(&hint, "Say which one: vaultctl disconnect %s --as LABEL", profile->name) < 0) {
                hint = NULL;
                r = -ENOMEM;
        } else
                r = failure_set(failure, FAILURE_NOT_ALLOWED, hint, "you have %zu accounts connected for %s",
                                n, profile->title);
        credential_list_free(list, n);
        return r;
}

/* STORE_CONFLICT: it, or the vault's key, was changed meanwhile. */
static int move_once(Manager *m, const Vault *vault, Credential *c) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = revocation_record_move(batch, vault, c);
        return r < 0 ? r : store_commit(m->store, TAKE_PTR(batch));
}

/* As it is now, under the key that the vault has now. -ENOENT: it is another one, or none. */
static int read_again(Manager *m, Vault **vault, Credential **c) {
        _cleanup_(credential_freep) Credential *fresh = NULL;
        _cleanup_(vault_freep) Vault *v = NULL;
        int r;

        r = vault_record_read(m->store, m->keyring, (*c)->uid, &v);
        if (r >= 0)
                r = credential_record_read(m->store, v, (*c)->service, (*c)->label, &fresh);
        if (r < 0)
                return r;
        if (!streq(fresh->id, (*c)->id))
                return -ENOENT;
        (void)vault_free(*vault);
        (void)credential_free(*c);
        *vault = TAKE_PTR(v);
        *c = TAKE_PTR(fresh);
        return 0;
}

/* A refresh or a push to the platform may write the record at any moment, and is no reason to refuse. */
static int take_out_of_use(Manager *m, Vault **vault, Credential **c, Failure *failure) {
        int r;

        if (revocations_count(m->revocations, (*vault)->uid) >= PENDING_MAX)
                return failure_set(failure, FAILURE_LIMIT, "Wait until their services have answered",
                                "%u connections that you have given up are still to be revoked",
                                PENDING_MAX);
        r = move_once(m, *vault, *c);
        for (unsigned i = 1; i < ROUNDS_MAX && r == STORE_CONFLICT; i++) {
                r = read_again(m, vault, c);
                if (r >= 0)
                        r = move_once(m, *vault, *c);
        }
        return r == STORE_CONFLICT || r == -ENOENT
                               ? failure_set(failure, FAILURE_FLOW, "Run: vaultctl status",
                                                 "this connection was changed meanwhile")
                               : r;
}

/* What a client says whose credential is not revoked; NULL: it is. */
static int notice_of(const RevokedGrant *g, char **ret) {
        int r = 0;

        if (!g || g->outcome == UPSTREAM_PENDING)
                r = asprintf(ret,
                                "It cannot be used here any more. What is left is done as soon as possible: "
                                "%s",
                                g && g->why ? g->why : "no answer yet");
        else if (g->outcome == UPSTREAM_IMPOSSIBLE)
                r = asprintf(ret, "Erased here, but not revoked upstream: %s",
                                g->why ?: "the service offers no way");
        if (r < 0)
                *ret = NULL;
        return r < 0 ? -ENOMEM : 0;
}

static int disconnect_reply(Manager *m, Call *call, const Credential *c) {
        const ServiceProfile *profile = config_find_service(m->config, c->service);
        _cleanup_(freep) char *notice = NULL;
        RevokedGrant *list = NULL, *grant;
        size_t n = 0;
        int r;

        r = revocations_run(m->revocations, c->uid, NULL, c->id, WAIT_USEC, &list, &n);
        if (r < 0)
                return r;
        grant = n > 0 ? list : NULL;
        r = notice_of(grant, &notice);
        if (r >= 0)
                r = call_reply(call, json_build("service", 's', c->service, "title", 's',
                                                     profile ? profile->title : c->service, "revoked", 'b',
                                                     grant && grant->outcome == UPSTREAM_REVOKED, "pending",
                                                     'b', !grant || grant->outcome == UPSTREAM_PENDING,
                                                     "notice", 's', notice, NULL));
        revoked_grants_free(list, n);
        return r;
}

int connect_disconnect(
                Manager *m, Call *call, const char *user, Vault **vault, Credential **c, Failure *failure) {
        int r;

        r = take_out_of_use(m, vault, c, failure);
        if (r != 0)
                return r;
        manager_audit(m, call,
                        (AuditEvent){ .kind = AUDIT_DISCONNECTED,
                                        .user = user,
                                        .verdict = "done",
                                        .service = (*c)->service,
                                        .account = (*c)->account_name,
                                        .object = (*c)->id });
        return disconnect_reply(m, call, *c);
}

int method_connect_disconnect(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(credential_freep) Credential *c = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;
        const ServiceProfile *profile = NULL;
        _cleanup_(freep) char *user = NULL;
        DisconnectParameters p = {};
        Manager *m = userdata;
        Failure failure = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, disconnect_fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (p.label && !label_is_valid(p.label))
                return call_invalid_parameter(call, "label");
        r = manager_service(m, p.service, &profile, &failure);
        if (r == 0)
                r = manager_caller(m, call, &user, &vault, &failure);
        if (r == 0)
                r = disconnect_find(m, vault, profile, p.label, &c, &failure);
        if (r == 0)
                r = connect_disconnect(m, call, user, &vault, &c, &failure);
        r = manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}
