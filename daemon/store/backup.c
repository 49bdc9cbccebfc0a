/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A backup: what of a snapshot goes into the file, and in which order.
 *
 * All records but two kinds: META, which the restoring host makes itself (the chain's end is in the header), and flows,
 * since a connection that was under way is begun anew. A record goes in as it is stored, sealed under its vault's key; the
 * keys that wrap those go in as the first item. So making a backup opens no secret.
 *
 * Records of a vault lie before the vault's own in key order ("c" < "v"), but whoever reads needs the vault first; so it is
 * put in front of the first record that needs it, once more.
 *
 * Who may call: see backup.h. */

#include "store/backup.h"
#include "store/body-lmdb.h"
#include "store/snapshot.h"
#include "util/clock.h"

#define ENOUGH_BYTES   BACKUP_CHUNK_MAX
#define ENOUGH_RECORDS 4096U /* also of those that are left out */

struct Backup {
        StoreSnapshot *snapshot;
        BackupWriter *writer;
        BackupHeader header;
        uint8_t public[RECOVERY_KEY_SIZE];
        Secret *keys;
        uid_t in_advance; /* whose vault was put in front last */
        uint64_t n_written;
};

Backup *backup_free(Backup *b) {
        if (!b)
                return NULL;
        (void)backup_writer_free(b->writer);
        (void)store_snapshot_free(b->snapshot);
        (void)secret_free(b->keys);
        free(b);
        return NULL;
}

int backup_new(Store *s, Keyring *k, const char *host, Backup **ret) {
        _cleanup_(backup_freep) Backup *b = calloc(1, sizeof(Backup));
        int r;

        if (!b)
                return -ENOMEM;
        b->in_advance = UID_INVALID;
        r = recovery_record_read(s, k, b->public, NULL);
        if (r >= 0)
                r = store_snapshot_new(s, &b->snapshot);
        if (r >= 0)
                r = keyring_export(k, &b->keys);
        if (r < 0)
                return r;
        b->header.schema = STORE_SCHEMA_VERSION;
        b->header.created_usec = now_realtime();
        b->header.chain = *store_snapshot_chain(b->snapshot);
        memcpy(b->header.host, host, strnlen(host, BACKUP_HOST_SIZE));
        *ret = TAKE_PTR(b);
        return 0;
}

const BackupHeader *backup_header(const Backup *b) {
        return &b->header;
}

uint64_t backup_total(const Backup *b) {
        return store_snapshot_records(b->snapshot);
}

uint64_t backup_written(const Backup *b) {
        return b->n_written;
}

bool backup_is_too_dear(Backup *b) {
        return store_snapshot_is_too_dear(b->snapshot);
}

static int add_vault_in_advance(Backup *b, uid_t uid, Buffer *ret) {
        const uint8_t *value;
        StoreKey key;
        size_t size;
        int r;

        if (uid == b->in_advance)
                return 0;
        b->in_advance = uid;
        r = store_key_init(&key, RECORD_VAULT, uid, NULL, 0);
        if (r >= 0)
                r = store_snapshot_get(b->snapshot, &key, &value, &size);
        /* Without its vault nobody opens it; it is what it was. */
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        return backup_writer_add_in_advance(b->writer, &key, value, size, ret);
}

static int add_record(Backup *b, const StoreKey *key, const uint8_t *value, size_t size, Buffer *ret) {
        int r = 0;

        if (key->kind == RECORD_META || key->kind == RECORD_FLOW)
                return 0;
        if (key->kind == RECORD_CREDENTIAL)
                r = add_vault_in_advance(b, key->uid, ret);
        if (r >= 0)
                r = backup_writer_add(b->writer, key, value, size, ret);
        if (r >= 0)
                b->n_written++;
        return r;
}

static int next(Backup *b, Buffer *ret_bytes) {
        size_t before = ret_bytes->size;
        const uint8_t *value;
        StoreKey key;
        size_t size;
        int r = 0;

        if (!b->writer) {
                r = backup_writer_new(b->public, &b->header, b->keys, ret_bytes, &b->writer);
                b->keys = secret_free(b->keys);
        }
        if (r >= 0 && store_snapshot_is_too_dear(b->snapshot))
                r = -EDQUOT;
        for (unsigned n = 0; r >= 0; n++) {
                if (n == ENOUGH_RECORDS || ret_bytes->size - before >= ENOUGH_BYTES)
                        return 1;
                r = store_snapshot_next(b->snapshot, &key, &value, &size);
                if (r == 0)
                        return backup_writer_finish(b->writer, ret_bytes);
                if (r > 0)
                        r = add_record(b, &key, value, size, ret_bytes);
        }
        return r;
}

int backup_next(Backup *b, Buffer *ret_bytes) {
        int r;

        fault_enter(); /* values lie in LMDB's map */
        r = next(b, ret_bytes);
        fault_leave();
        return r;
}
