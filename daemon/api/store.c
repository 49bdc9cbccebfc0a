/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Store: backup, restore (transfer.c), and what to do about an older database.
 *
 * Accepting one has three steps, each durable: the note that it is older (history.c) has been in the store since the start;
 * then each credential becomes needs-reconnect, vault by vault; then the note goes and the chain is raised behind the newest that is
 * known, in one commit. A crash in between leaves the note, and the command is given again. Afterwards the process
 * starts anew, since the engines were not started on a store that nobody vouched for.
 *
 * Who may call: root, at the control socket. */

#include "api/history.h"
#include "api/transfer.h"
#include "util/log.h"

static const char description[] =
#include "daemon/api/io.vaultd.Store.inc"
                ;

#define REASON "An older database was put in place of the newest, so it may be out of date"

typedef struct Marked {
        int64_t n_credentials, n_damaged;
} Marked;

/* One of a vault's; 0 also when it is no longer as it was listed: then it was changed by a call, which none is let through for. */
static int mark_credential(StoreBatch *batch, const Vault *v, Credential *c, Marked *marked) {
        int r;

        if (c->state != CREDENTIAL_ACTIVE)
                return 0;
        c->state = CREDENTIAL_NEEDS_RECONNECT;
        free(c->state_reason);
        c->state_reason = strdup(REASON);
        if (!c->state_reason)
                return -ENOMEM;
        r = credential_record_put(batch, v, c);
        if (r >= 0)
                marked->n_credentials++;
        return r;
}

typedef struct VaultWalk {
        Manager *manager;
        const Vault *vault;
        StoreBatch *batch;
        Marked *marked;
} VaultWalk;

static int mark_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(credential_freep) Credential *c = NULL;
        char id[STORE_ID_MAX + 1] = {}, *slash;
        VaultWalk *walk = userdata;
        int r;

        memcpy(id, key->id, key->id_size);
        slash = strchr(id, '/');
        if (!slash)
                return 0;
        *slash = 0;
        r = credential_record_read(walk->manager->store, walk->vault, id, slash + 1, &c);
        /* It opens for nobody; that must not keep the others as they are. */
        if (r == -EBADMSG) {
                walk->marked->n_damaged++;
                return 0;
        }
        return r < 0 ? r : mark_credential(walk->batch, walk->vault, c, walk->marked);
}

/* On a fiber. Damage is counted and stays. */
static int mark_vault(Manager *m, uid_t uid, Marked *marked) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        _cleanup_(vault_freep) Vault *v = NULL;
        int64_t before = marked->n_credentials;
        int r;

        r = vault_record_read(m->store, m->keyring, uid, &v);
        if (r == -EBADMSG || r == -ENOENT) {
                marked->n_damaged += r == -EBADMSG;
                return 0;
        }
        if (r >= 0)
                r = store_batch_new(&batch);
        if (r >= 0)
                r = store_foreach(m->store, RECORD_CREDENTIAL, uid, mark_visit,
                                &(VaultWalk){ m, v, batch, marked });
        if (r < 0 || marked->n_credentials == before)
                return r;
        return store_commit(m->store, TAKE_PTR(batch));
}

static int accept_end(Manager *m, const StoreChain *newest) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        StoreChain chain;
        int r;

        r = store_chain(m->store, &chain);
        if (r >= 0)
                r = store_batch_new(&batch);
        if (r >= 0)
                r = store_batch_end_behind(batch, chain, newest);
        return r < 0 ? r : store_commit(m->store, TAKE_PTR(batch));
}

static int method_accept(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { {} };
        _cleanup_(freep) uid_t *uids = NULL;
        Manager *m = userdata;
        StoreChain newest;
        Marked marked = {};
        Failure failure = {};
        const char *bad;
        size_t n = 0;
        int r;

        if (json_dispatch(parameters, fields, &(char){ 0 }, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (!history_is_behind(m->history, &newest)) {
                r = failure_set(&failure, FAILURE_NOT_ALLOWED, NULL,
                                "there is nothing to accept: the store is not older than what the journal "
                                "knows of it");
                r = manager_reply_outcome(call, r, &failure);
                failure_done(&failure);
                return r;
        }
        r = vault_record_uids(m->store, &uids, &n);
        for (size_t i = 0; i < n && r == 0; i++)
                r = mark_vault(m, uids[i], &marked);
        if (r == 0)
                r = accept_end(m, &newest);
        if (r != 0)
                return r < 0 ? r : -EAGAIN;
        manager_audit(m, call,
                        (AuditEvent){ .kind = AUDIT_STORE_ACCEPTED,
                                        .verdict = "done",
                                        .reason = "credentials start as needs-reconnect" });
        r = call_reply(call, json_build("credentials", 'i', marked.n_credentials, "damaged", 'i',
                                             marked.n_damaged, NULL));
        manager_restart(m);
        return r;
}

static const Method methods[] = {
        { "Backup", METHOD_ROOT, transfer_method_backup, .is_upgrade = true },
        { "Restore", METHOD_ROOT, transfer_method_restore, .is_upgrade = true },
        { "Accept", METHOD_ROOT, method_accept, .is_fiber = true },
        {},
};

const Interface interface_store = { "io.vaultd.Store", description, DOOR_CONTROL, methods };
