/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The part of a rekeying that seals records anew: a vault, what was set aside, the host's registrations.
 *
 * Each vault is one batch: its own record with a new data key, and everything that is sealed under that. What is read for it and what is
 * written is the same state, since this runs in store_exclusive(). A vault is done when the key in force wraps its data
 * key, so all of this may be broken off anywhere and begun again.
 *
 * A flow that has just sent its code to a token endpoint is waited for: its tokens are to find the record as it was. A record that does not
 * open stops the run, since after the end nothing could mend it; flows alone are passed over, which end with their time.
 *
 * A kind of record that is new and sealed under a vault's key has a line in vault_rekey(), and one in rekey-check.c.
 *
 * Who may call: rekey.c, inside store_exclusive(). */

#include "store/record.h"
#include "store/rekey-internal.h"

/* One vault of it. */
typedef struct VaultWork {
        RekeyChunk *chunk;
        StoreBatch *batch;
        RecordSeal from, to;
        bool is_deferred;
} VaultWork;

static int reseal(VaultWork *work, const StoreKey *key, const uint8_t *value, size_t size) {
        _cleanup_(buffer_done) Buffer fresh = {};
        int r;

        r = record_reseal(key, &work->from, &work->to, value, size, &fresh);
        if (r >= 0)
                r = store_batch_expect(work->batch, key, value, size);
        return r < 0 ? r : store_batch_put(work->batch, key, fresh.bytes, fresh.size);
}

static int credential_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        return reseal(userdata, key, value, size);
}

/* Flows lie under the digest of their state; the vault is named in their clear part. */
static int flow_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(flow_freep) Flow *flow = record_new(&flow_type);
        VaultWork *work = userdata;
        int r;

        if (!flow)
                return -ENOMEM;
        r = record_decode_clear(&flow_type, value, size, flow);
        if (r < 0) /* whose it is cannot be told; it ends with its time */
                return r == -EBADMSG ? 0 : r;
        if (flow->uid != work->from.uid || !streq(flow->vault_id, work->from.vault_id))
                return 0;
        if (flow->state == FLOW_EXCHANGING && work->chunk->may_defer) {
                work->is_deferred = true;
                return 1;
        }
        r = reseal(work, key, value, size);
        return r == -EBADMSG ? 0 : r;
}

static int vault_rekey(RekeyChunk *chunk, uid_t uid) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        _cleanup_(secret_freep) Secret *old = NULL;
        _cleanup_(vault_freep) Vault *v = NULL;
        int r;

        r = vault_record_read(chunk->store, chunk->keyring, uid, &v);
        if (r == -ENOENT) /* destroyed meanwhile */
                return 0;
        if (r >= 0)
                r = keyring_wraps(chunk->keyring, uid, v->id, v->wrapped.bytes, v->wrapped.size);
        if (r != 0)
                return r < 0 ? r : 0;
        r = secret_new(v->key->bytes, v->key->size, &old);
        if (r >= 0)
                r = vault_new_key(chunk->keyring, v);
        if (r >= 0)
                r = store_batch_new(&batch);
        if (r >= 0)
                r = vault_record_put(batch, chunk->keyring, v);
        if (r < 0)
                return r;

        VaultWork work = { chunk, batch, { old, uid, v->id, NULL }, { v->key, uid, v->id, NULL }, false };
        r = store_foreach(chunk->store, RECORD_CREDENTIAL, uid, credential_visit, &work);
        if (r >= 0)
                r = store_foreach(chunk->store, RECORD_REVOCATION, uid, credential_visit, &work);
        if (r >= 0 && chunk->has_flows)
                r = store_foreach(chunk->store, RECORD_FLOW, UID_INVALID, flow_visit, &work);
        if (work.is_deferred) {
                chunk->n_deferred++;
                return 0;
        }
        if (r < 0)
                return r;
        chunk->n_changed++;
        return rekey_pending_commit(chunk->store, &chunk->pending, TAKE_PTR(batch));
}

static int any_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        return 1;
}

int rekey_vaults_now(void *userdata) {
        RekeyChunk *chunk = userdata;
        int r;

        r = store_foreach(chunk->store, RECORD_FLOW, UID_INVALID, any_visit, NULL);
        chunk->has_flows = r > 0;
        for (size_t i = 0; i < chunk->n_uids && r >= 0; i++) {
                r = vault_rekey(chunk, chunk->uids[i]);
                if (r == -EBADMSG)
                        chunk->failed_uid = chunk->uids[i];
        }
        return r < 0 ? r : 0;
}

/* A vault that was set aside: its records lie under other keys and belong where they came from (vault-aside.c). */
typedef struct AsideWork {
        VaultWork vault;
        Keyring *keyring;
        Vault *found; /* the next one that is not done yet */
        bool is_done; /* of `found`: this record is of it */
} AsideWork;

static int aside_find_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(vault_freep) Vault *v = NULL;
        AsideWork *work = userdata;
        StoreKey inner;
        size_t head;
        int r;

        r = vault_aside_decode(key, value, size, &inner, &head);
        if (r < 0 || inner.kind != RECORD_VAULT)
                return r;
        r = vault_decode(work->keyring, &inner, value + head, size - head, &v);
        if (r >= 0)
                r = keyring_wraps(work->keyring, v->uid, v->id, v->wrapped.bytes, v->wrapped.size);
        if (r != 0)
                return r < 0 ? r : 0;
        work->found = TAKE_PTR(v);
        return 1;
}

static int aside_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(buffer_done) Buffer fresh = {};
        AsideWork *work = userdata;
        Vault *v = work->found;
        StoreKey inner;
        size_t head;
        int r;

        r = vault_aside_decode(key, value, size, &inner, &head);
        if (r < 0)
                return r;
        if (!vault_aside_is_of(key, v))
                return 0;
        r = buffer_append(&fresh, value, head);
        if (r < 0)
                return r;
        if (inner.kind == RECORD_VAULT)
                r = record_encode(&vault_type, &inner, &(RecordSeal){ v->key, v->uid, v->id, &v->wrapped },
                                v, &fresh);
        else if (record_is_sealed(value + head, size - head) == 0)
                return 0;
        else
                r = record_reseal(&inner, &work->vault.from, &work->vault.to, value + head, size - head,
                                &fresh);
        if (r >= 0)
                r = store_batch_expect(work->vault.batch, key, value, size);
        return r < 0 ? r : store_batch_put(work->vault.batch, key, fresh.bytes, fresh.size);
}

/* The next vault that was set aside and is not done. */
int rekey_aside_now(void *userdata) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        _cleanup_(secret_freep) Secret *old = NULL;
        _cleanup_(vault_freep) Vault *v = NULL;
        RekeyChunk *chunk = userdata;
        AsideWork work = { .keyring = chunk->keyring };
        int r;

        r = store_foreach(chunk->store, RECORD_ASIDE, UID_INVALID, aside_find_visit, &work);
        if (r <= 0)
                return r;
        v = work.found;
        r = secret_new(v->key->bytes, v->key->size, &old);
        if (r >= 0)
                r = vault_new_key(chunk->keyring, v);
        if (r >= 0)
                r = store_batch_new(&batch);
        if (r < 0)
                return r;
        work.vault = (VaultWork){ chunk, batch, { old, v->uid, v->id, NULL },
                { v->key, v->uid, v->id, NULL }, false };
        r = store_foreach(chunk->store, RECORD_ASIDE, v->uid, aside_visit, &work);
        if (r < 0)
                return r;
        chunk->n_changed++;
        return rekey_pending_commit(chunk->store, &chunk->pending, TAKE_PTR(batch));
}

/* The host's registrations, all at once: there is one for each authorization server. */
int rekey_clients_now(void *userdata) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        RekeyChunk *chunk = userdata;
        size_t n = 0;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = client_record_rekey(chunk->store, chunk->keyring, batch, &n);
        if (r < 0 || n == 0)
                return r;
        chunk->n_changed += n;
        return rekey_pending_commit(chunk->store, &chunk->pending, TAKE_PTR(batch));
}
