/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Writing a backup: items in, file bytes out.
 *
 * The keys are a chunk of their own, the first, and are sealed straight from secure memory; what is gathered for later
 * chunks holds records as they are in the store, so it may lie in ordinary memory. A chunk is sealed when it is full; the
 * last one when all is told, since only then it is known to be the last.
 *
 * Who may call: backup.c; any one thread. */

#include "store/backup-chunk.h"
#include "store/internal.h"

struct BackupWriter {
        BackupCipher cipher;
        Buffer plain;
        uint64_t n_records;
};

BackupWriter *backup_writer_free(BackupWriter *w) {
        if (!w)
                return NULL;
        backup_cipher_done(&w->cipher);
        buffer_done(&w->plain);
        free(w);
        return NULL;
}

static int write_keys(BackupWriter *w, const Secret *keys, Buffer *ret) {
        _cleanup_(secret_freep) Secret *item = NULL;
        int r;

        r = secret_new_random(BACKUP_ITEM_HEAD + keys->size, &item);
        if (r < 0)
                return r;
        item->bytes[0] = BACKUP_KEYS;
        memcpy(backup_put(item->bytes + 1, keys->size, 4), keys->bytes, keys->size);
        return backup_chunk_seal(&w->cipher, item->bytes, item->size, false, ret);
}

int backup_writer_new(const uint8_t public[static RECOVERY_KEY_SIZE], const BackupHeader *header,
                const Secret *keys, Buffer *ret_bytes, BackupWriter **ret) {
        _cleanup_(backup_writer_freep) BackupWriter *w = calloc(1, sizeof(BackupWriter));
        _cleanup_(secret_freep) Secret *key = NULL;
        uint8_t bytes[BACKUP_HEADER_SIZE];
        BackupHeader h = *header;
        int r;

        if (!w)
                return -ENOMEM;
        r = recovery_encapsulate(public, h.ephemeral, &key);
        if (r < 0)
                return r;
        backup_recipient(public, h.recipient);
        backup_header_encode(&h, bytes);
        r = backup_cipher_init(&w->cipher, key, bytes);
        if (r >= 0)
                r = buffer_append(ret_bytes, bytes, sizeof(bytes));
        if (r >= 0)
                r = write_keys(w, keys, ret_bytes);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(w);
        return 0;
}

/* Seals what is full. */
static int write_full(BackupWriter *w, Buffer *ret) {
        size_t done = 0;
        int r = 0;

        /* Not the very last bytes: the end item follows always. */
        for (; w->plain.size - done >= BACKUP_CHUNK_MAX && r >= 0; done += BACKUP_CHUNK_MAX)
                r = backup_chunk_seal(&w->cipher, w->plain.bytes + done, BACKUP_CHUNK_MAX, false, ret);
        if (r >= 0)
                buffer_consume(&w->plain, done);
        return r;
}

static int write_item(BackupWriter *w, BackupItem type, const StoreKey *key, const uint8_t *value,
                size_t size, Buffer *ret) {
        uint8_t bytes[BACKUP_ITEM_HEAD + 1 + STORE_KEY_MAX] = { (uint8_t)type };
        size_t n = store_key_encode(key, bytes + BACKUP_ITEM_HEAD + 1), total;
        int r;

        if (__builtin_add_overflow(1 + n, size, &total) || total > BACKUP_ITEM_MAX)
                return -E2BIG;
        backup_put(bytes + 1, total, 4);
        bytes[BACKUP_ITEM_HEAD] = (uint8_t)n;
        r = buffer_append(&w->plain, bytes, BACKUP_ITEM_HEAD + 1 + n);
        if (r >= 0)
                r = buffer_append(&w->plain, value, size);
        return r < 0 ? r : write_full(w, ret);
}

int backup_writer_add(
                BackupWriter *w, const StoreKey *key, const uint8_t *value, size_t size, Buffer *ret_bytes) {
        w->n_records++;
        return write_item(w, BACKUP_RECORD, key, value, size, ret_bytes);
}

int backup_writer_add_in_advance(
                BackupWriter *w, const StoreKey *key, const uint8_t *value, size_t size, Buffer *ret_bytes) {
        return write_item(w, BACKUP_IN_ADVANCE, key, value, size, ret_bytes);
}

int backup_writer_finish(BackupWriter *w, Buffer *ret_bytes) {
        uint8_t bytes[BACKUP_ITEM_HEAD + 8] = { BACKUP_END };
        int r;

        backup_put(backup_put(bytes + 1, 8, 4), w->n_records, 8);
        r = buffer_append(&w->plain, bytes, sizeof(bytes));
        /* The end may have filled a chunk and begun another, or filled one exactly, which is the last then. */
        while (r >= 0 && w->plain.size > BACKUP_CHUNK_MAX) {
                r = backup_chunk_seal(&w->cipher, w->plain.bytes, BACKUP_CHUNK_MAX, false, ret_bytes);
                if (r >= 0)
                        buffer_consume(&w->plain, BACKUP_CHUNK_MAX);
        }
        return r < 0 ? r : backup_chunk_seal(&w->cipher, w->plain.bytes, w->plain.size, true, ret_bytes);
}
