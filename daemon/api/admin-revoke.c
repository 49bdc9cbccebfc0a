/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Admin.Revoke: the kill switch (V10, T22).
 *
 * In this order, each step durable before it is acted on: the user's unfinished connections are ended, so that none becomes a credential
 * any more; the credentials leave use, in the commit that writes down that they are to be revoked; whatever works with them on this host
 * is ended. All that asks nobody, and is over before the first provider is called. Then the services are told, and the answer says of
 * each grant what became of it there; what is pending goes on without anybody waiting (revocation.c).
 *
 * It keeps nobody from connecting anew: closing the vault is Lock. A vault that is locked or sealed is revoked all the same. */

#include <stdio.h>

#include "api/admin.h"
#include "api/revocation.h"
#include "util/clock.h"

/* How long the answer waits for the services, each of which may take as long as it likes. */
#define WAIT_USEC  (20 * USEC_PER_SEC)
#define ROUNDS_MAX 64U

typedef struct RevokeParameters {
        int64_t uid;
        const char *user, *service;
} RevokeParameters;

typedef struct Revoked {
        size_t n_grants, n_damaged;
        unsigned n_flows;
        EndedUses uses;
        uint64_t local_usec; /* how long all that took */
} Revoked;

/* STORE_CONFLICT: one of them, or the vault's key, was changed meanwhile. */
static int move_once(Manager *m, uid_t uid, const char *service, Revoked *done) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;
        Credential **list = NULL;
        int r;

        r = vault_record_read(m->store, m->keyring, uid, &vault);
        if (r >= 0)
                r = store_batch_new(&batch);
        if (r >= 0)
                r = revocation_record_begin(
                                m->store, batch, vault, service, &list, &done->n_grants, &done->n_damaged);
        if (r < 0)
                return r;
        credential_list_free(list, done->n_grants);
        return done->n_grants > 0 ? store_commit(m->store, TAKE_PTR(batch)) : 0;
}

static int revoke_here(Manager *m, uid_t uid, const char *service, Revoked *done) {
        uint64_t begin = now_monotonic();
        Failure why = {};
        int r;

        (void)failure_set(&why, FAILURE_FLOW, NULL, "an administrator has revoked your connections");
        r = oauth_end_flows(m->oauth, uid, service, &why, &done->n_flows);
        failure_done(&why);
        if (r < 0)
                return r;
        r = STORE_CONFLICT;
        for (unsigned i = 0; i < ROUNDS_MAX && r == STORE_CONFLICT; i++)
                r = move_once(m, uid, service, done);
        /* Also after a failure: whatever could not be written down, nothing goes on with it. */
        done->uses = manager_end_uses(m, uid, service);
        done->local_usec = now_monotonic() - begin;
        return r == STORE_CONFLICT ? -EAGAIN : r;
}

static void revoke_record(Call *call, const Vault *v, const char *service, const Revoked *done) {
        char reason[128];

        (void)snprintf(reason, sizeof(reason), "%zu grants, %u unfinished connections, %u streams, %u calls",
                        done->n_grants, done->n_flows, done->uses.n_streams, done->uses.n_calls);
        admin_record(call, AUDIT_REVOKED, v, service, reason);
}

static json_object *grant_to_json(Manager *m, const RevokedGrant *g) {
        static const char *const outcomes[] = { [UPSTREAM_PENDING] = "pending",
                [UPSTREAM_REVOKED] = "revoked",
                [UPSTREAM_IMPOSSIBLE] = "impossible" };
        const ServiceProfile *p = config_find_service(m->config, g->service);

        return json_build("service", 's', g->service, "title", 's', p ? p->title : g->service, "label", 's',
                        g->label, "account", 'o', account_to_json(g->account_id, g->account_name),
                        "upstream", 's', outcomes[g->outcome], "why", 's',
                        !g->why && g->outcome == UPSTREAM_PENDING ? "no answer yet" : g->why, NULL);
}

static int revoke_reply(Manager *m, Call *call, const Vault *v, const Revoked *done,
                const RevokedGrant *list, size_t n) {
        _cleanup_(json_putp) json_object *grants = json_object_new_array();

        for (size_t i = 0; grants && i < n; i++)
                if (json_object_array_add(grants, grant_to_json(m, &list[i])) < 0)
                        return -ENOMEM;
        if (!grants)
                return -ENOMEM;
        return call_reply(call, json_build("vault", 'o', admin_vault_to_json(v, NULL), "grants", 'o',
                                                TAKE_PTR(grants), "flows", 'i', (int64_t)done->n_flows,
                                                "streams", 'i', (int64_t)done->uses.n_streams, "calls", 'i',
                                                (int64_t)done->uses.n_calls, "damaged", 'i',
                                                (int64_t)done->n_damaged, "took", 'i',
                                                (int64_t)done->local_usec, NULL));
}

/* A service that nobody knows is a slip of the pen, and whoever made it believes that something was revoked. */
static int check_service(
                Manager *m, const RevokeParameters *p, const Revoked *done, size_t n, Failure *failure) {
        const ServiceProfile *profile;

        if (!p->service || n > 0 || done->n_flows > 0 || done->n_damaged > 0)
                return 0;
        return manager_service(m, p->service, &profile, failure);
}

static int revoke_vault(Manager *m, Call *call, const RevokeParameters *p, Failure *failure) {
        _cleanup_(vault_freep) Vault *vault = NULL;
        RevokedGrant *list = NULL;
        Revoked done = {};
        size_t n = 0;
        int r;

        r = admin_find_vault(m, p->uid, p->user, &vault, failure);
        if (r == 0)
                r = revoke_here(m, vault->uid, p->service, &done);
        if (r == -EAGAIN)
                return failure_set(failure, FAILURE_LIMIT,
                                "Try again, or lock the vault first: vaultctl admin lock --help",
                                "the credentials of uid %u are being changed all the time",
                                (unsigned)vault->uid);
        if (r != 0)
                return r;
        revoke_record(call, vault, p->service, &done);
        r = revocations_run(m->revocations, vault->uid, p->service, NULL, WAIT_USEC, &list, &n);
        if (r == 0)
                r = check_service(m, p, &done, n, failure);
        if (r == 0)
                r = revoke_reply(m, call, vault, &done, list, n);
        revoked_grants_free(list, n);
        return r;
}

int admin_method_revoke(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { ADMIN_SUBJECT_FIELDS(RevokeParameters),
                { "service", JSON_FIELD_STRING, offsetof(RevokeParameters, service), false, 64 }, {} };
        RevokeParameters p = { .uid = -1 };
        Failure failure = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        bad = admin_check_subject(p.uid, p.user);
        if (!bad && p.service && isempty(p.service))
                bad = "service";
        if (bad)
                return call_invalid_parameter(call, bad);
        r = manager_reply_outcome(call, revoke_vault(userdata, call, &p, &failure), &failure);
        failure_done(&failure);
        return r;
}
