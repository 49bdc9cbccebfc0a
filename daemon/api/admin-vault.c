/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Admin, the part about one vault: what is known about it, and its end.
 *
 * Showing counts and dates gives root nothing that the files do not; services and accounts are the user's affair and are not told.
 *
 * Destroying is erasing a key (crypto-shredding). All records go in one commit, so a crash leaves the whole vault or none; then
 * the store's file is gone through, since LMDB's free pages still hold what was deleted. A vault that does not open can
 * be destroyed like any other. What belongs to the vault elsewhere stays there: grants at services, the vault at the
 * Claude Platform; to revoke them the records would be needed that are destroyed here, so that comes first or never.
 *
 * Who may call: root, by the gate. */

#include "api/admin.h"
#include "store/scrub.h"
#include "util/log.h"

typedef struct VaultParameters {
        int64_t uid;
        const char *user;
        bool is_aside;
} VaultParameters;

typedef struct Facts {
        uint64_t n_records, n_bytes, n_credentials, n_flows, n_sessions, n_accounts, n_aside;
} Facts;

static int facts_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        Facts *f = userdata;

        f->n_records++;
        f->n_bytes += size + key->id_size;
        switch (key->kind) {
        case RECORD_CREDENTIAL:
                f->n_credentials++;
                break;
        case RECORD_FLOW:
                f->n_flows++;
                break;
        case RECORD_AGENT_SESSION:
                f->n_sessions++;
                break;
        case RECORD_ACCOUNT:
                f->n_accounts++;
                break;
        case RECORD_ASIDE:
                f->n_aside++;
                break;
        default:
                break;
        }
        return 0;
}

/* One that does not open is counted by facts_visit() alone. */
static int count_unusable(Manager *m, const Vault *v, uint64_t *ret) {
        Credential **list = NULL;
        size_t n = 0;
        int r;

        *ret = 0;
        r = credential_record_list(m->store, v, NULL, &list, &n);
        for (size_t i = 0; i < n; i++)
                *ret += list[i]->state == CREDENTIAL_NEEDS_RECONNECT;
        credential_list_free(list, n);
        return r == -EBADMSG ? 0 : r;
}

static int show_vault(Manager *m, const VaultParameters *p, json_object **ret, Failure *failure) {
        _cleanup_(vault_freep) Vault *v = NULL;
        Facts facts = {}, aside = {};
        uint64_t n_unusable = 0;
        uid_t uid = UID_INVALID;
        json_object *o;
        int r;

        r = admin_find_uid(m, p->uid, p->user, &uid, failure);
        if (r == 0)
                r = admin_find_vault(m, uid, NULL, &v, failure);
        if (r == 0)
                r = vault_records_foreach(m->store, uid, v->id, facts_visit, &facts);
        if (r == 0)
                r = store_foreach(m->store, RECORD_ASIDE, uid, facts_visit, &aside);
        if (r == 0)
                r = count_unusable(m, v, &n_unusable);
        if (r != 0)
                return r;
        o = json_build("vault", 'o', admin_vault_to_json(v, NULL), "created", 'i', (int64_t)v->created_usec,
                        "keyCreated", 'i', (int64_t)(v->key_usec ?: v->created_usec), "platformVault", 's',
                        v->platform_vault_id, "credentials", 'i', (int64_t)facts.n_credentials,
                        "needsReconnect", 'i', (int64_t)n_unusable, "flows", 'i', (int64_t)facts.n_flows,
                        "agentSessions", 'i', (int64_t)facts.n_sessions, "accounts", 'i',
                        (int64_t)facts.n_accounts, "records", 'i', (int64_t)facts.n_records, "bytes", 'i',
                        (int64_t)facts.n_bytes, "setAside", 'i', (int64_t)aside.n_aside, NULL);
        if (!o)
                return -ENOMEM;
        *ret = o;
        return 0;
}

typedef struct Destroying {
        Manager *manager;
        uid_t uid;
        bool is_aside;
        uint64_t n;
        char id[64], user[256]; /* as far as they can be read */
} Destroying;

static int destroy_build(StoreBatch *batch, void *userdata) {
        Destroying *d = userdata;
        VaultSummary summary = {};
        int r;

        if (d->is_aside)
                return vault_destroy_aside(d->manager->store, batch, d->uid, &d->n);
        /* The clear part is enough, and may be all that there is. */
        r = vault_record_peek(d->manager->store, d->uid, &summary);
        if (r < 0 && r != -EBADMSG)
                return r;
        memcpy(d->id, summary.id, sizeof(d->id));
        memcpy(d->user, summary.user, sizeof(d->user));
        return vault_destroy(d->manager->store, batch, d->uid, d->id, &d->n);
}

static int destroy_vault(
                Manager *m, Call *call, const VaultParameters *p, json_object **ret, Failure *failure) {
        Destroying d = { .manager = m, .is_aside = p->is_aside };
        int r, erased;

        r = admin_find_uid(m, p->uid, p->user, &d.uid, failure);
        if (r == 0)
                r = store_commit_exclusive(m->store, destroy_build, &d);
        if (r == -ENOENT || (r == 0 && d.n == 0))
                return failure_set(failure, FAILURE_NOT_FOUND, "Run: vaultctl admin users",
                                p->is_aside ? "nothing was set aside for uid %u" : "uid %u has no vault",
                                (unsigned)d.uid);
        if (r != 0)
                return r;
        const Vault gone = {
                .uid = d.uid, .user = isempty(d.user) ? NULL : d.user, .id = isempty(d.id) ? NULL : d.id
        };
        admin_record(call, AUDIT_VAULT_DESTROYED, &gone, NULL, p->is_aside ? "what was set aside" : NULL);
        erased = store_scrub(m->store, m->event);
        if (erased < 0)
                log_warning("the vault of uid %u is destroyed, but the store's file could not be gone "
                            "through to erase what is left: %s",
                                (unsigned)d.uid, strerror(-erased));
        *ret = json_build("uid", 'i', (int64_t)d.uid, "user", 's', isempty(d.user) ? NULL : d.user,
                        "records", 'i', (int64_t)d.n, "erased", 'b', erased >= 0, NULL);
        return *ret ? 0 : -ENOMEM;
}

static int reply(Call *call, int r, json_object *answer, Failure *failure) {
        r = r == 0 ? call_reply(call, answer) : manager_reply_outcome(call, r, failure);
        failure_done(failure);
        return r;
}

int admin_show_vault(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { ADMIN_SUBJECT_FIELDS(VaultParameters), {} };
        VaultParameters p = { .uid = -1 };
        json_object *answer = NULL;
        Failure failure = {};
        const char *bad = NULL;
        int r;

        if (json_dispatch(parameters, fields, &p, &bad) < 0 || (bad = admin_check_subject(p.uid, p.user)))
                return call_invalid_parameter(call, bad);
        r = show_vault(userdata, &p, &answer, &failure);
        return reply(call, r, answer, &failure);
}

int admin_destroy_vault(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { ADMIN_SUBJECT_FIELDS(VaultParameters),
                { "setAside", JSON_FIELD_BOOL, offsetof(VaultParameters, is_aside), false }, {} };
        VaultParameters p = { .uid = -1 };
        json_object *answer = NULL;
        Failure failure = {};
        const char *bad = NULL;
        int r;

        if (json_dispatch(parameters, fields, &p, &bad) < 0 || (bad = admin_check_subject(p.uid, p.user)))
                return call_invalid_parameter(call, bad);
        r = destroy_vault(userdata, call, &p, &answer, &failure);
        return reply(call, r, answer, &failure);
}
