/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading a backup: file bytes in, in whatever pieces, items out.
 *
 * Nothing of a chunk is looked at before it has authenticated, and nothing of the file counts before its last chunk has:
 * callbacks build something that is thrown away when the reading fails. What has authenticated is still not believed, since
 * anybody who knows the public key can make a file: every size is checked, items follow each other in the one order that
 * the writer makes, and what the records say is the callbacks' to judge.
 *
 * At most one chunk and one item are in memory. It knows no file descriptor and is what the fuzzer drives.
 *
 * Who may call: restore.c; any one thread. */

#include "store/backup-chunk.h"
#include "store/internal.h"

struct BackupReader {
        const BackupVisitor *visitor;
        void *userdata;
        Secret *private;
        BackupCipher cipher;
        bool has_header, has_keys, has_last, has_end;
        Buffer input; /* a header or chunk that is not whole yet */
        Buffer plain; /* an item that is not whole yet */
        uint8_t *chunk;
        uint64_t n_records;
        size_t last_key_size;
        uint8_t last_key[STORE_KEY_MAX];
};

BackupReader *backup_reader_free(BackupReader *r) {
        if (!r)
                return NULL;
        (void)secret_free(r->private);
        backup_cipher_done(&r->cipher);
        buffer_done(&r->input);
        buffer_done(&r->plain);
        free(r->chunk);
        free(r);
        return NULL;
}

int backup_reader_new(
                const Secret *private, const BackupVisitor *visitor, void *userdata, BackupReader **ret) {
        _cleanup_(backup_reader_freep) BackupReader *r = calloc(1, sizeof(BackupReader));
        int k;

        if (!r)
                return -ENOMEM;
        r->visitor = visitor;
        r->userdata = userdata;
        r->chunk = malloc(BACKUP_CHUNK_MAX);
        if (!r->chunk)
                return -ENOMEM;
        k = secret_new(private->bytes, private->size, &r->private);
        if (k < 0)
                return k;
        *ret = TAKE_PTR(r);
        return 0;
}

static int take_header(BackupReader *r, const uint8_t *bytes) {
        _cleanup_(secret_freep) Secret *key = NULL;
        uint8_t public[RECOVERY_KEY_SIZE], recipient[8];
        BackupHeader header;
        int k;

        k = backup_header_decode(bytes, &header);
        if (k >= 0)
                k = r->visitor->header(&header, r->userdata);
        if (k >= 0)
                k = recovery_public(r->private, public);
        if (k < 0)
                return k;
        backup_recipient(public, recipient);
        if (memcmp(recipient, header.recipient, sizeof(recipient)) != 0)
                return -EKEYREJECTED;
        k = recovery_decapsulate(r->private, header.ephemeral, &key);
        if (k >= 0)
                k = backup_cipher_init(&r->cipher, key, bytes);
        r->has_header = k >= 0;
        return k;
}

/* The first chunk: the keys and nothing else, opened into secure memory. */
static int take_keys(BackupReader *r, const uint8_t *sealed, size_t size, bool is_last) {
        _cleanup_(secret_freep) Secret *item = NULL, *keys = NULL;
        int k;

        if (is_last || size < BACKUP_ITEM_HEAD)
                return -EBADMSG;
        k = secret_new(sealed, size, &item);
        if (k >= 0)
                k = backup_chunk_open(&r->cipher, sealed, size, false, item->bytes);
        if (k < 0)
                return k;
        if (item->bytes[0] != BACKUP_KEYS || backup_get(item->bytes + 1, 4) != size - BACKUP_ITEM_HEAD)
                return -EBADMSG;
        k = secret_new(item->bytes + BACKUP_ITEM_HEAD, size - BACKUP_ITEM_HEAD, &keys);
        if (k < 0)
                return k;
        r->has_keys = true;
        return r->visitor->keys(keys, r->userdata);
}

/* memcmp() order, the shorter first: LMDB's. */
static bool is_behind(const BackupReader *r, const uint8_t *key, size_t size) {
        int order = memcmp(key, r->last_key, MIN(size, r->last_key_size));

        return order > 0 || (order == 0 && size > r->last_key_size);
}

static int take_record(BackupReader *r, const uint8_t *bytes, size_t size, bool is_in_advance) {
        size_t n = size > 0 ? bytes[0] : 0;
        StoreKey key = {};

        if (n < STORE_KEY_HEAD || n > STORE_KEY_MAX || size < 1 + n ||
                        store_key_decode(bytes + 1, n, &key) < 0 || key.uid == UID_INVALID)
                return -EBADMSG;
        if (!is_in_advance) {
                if (!is_behind(r, bytes + 1, n))
                        return -EBADMSG;
                memcpy(r->last_key, bytes + 1, n);
                r->last_key_size = n;
                r->n_records++;
        }
        return r->visitor->record(&key, bytes + 1 + n, size - 1 - n, is_in_advance, r->userdata);
}

static int take_item(BackupReader *r, uint8_t type, const uint8_t *bytes, size_t size) {
        switch (type) {
        case BACKUP_IN_ADVANCE:
        case BACKUP_RECORD:
                return take_record(r, bytes, size, type == BACKUP_IN_ADVANCE);
        case BACKUP_END:
                if (size != 8 || backup_get(bytes, 8) != r->n_records)
                        return -EBADMSG;
                r->has_end = true;
                return 0;
        default:
                return -EBADMSG;
        }
}

/* The items that are whole. */
static int take_items(BackupReader *r) {
        size_t done = 0;
        int k = 0;

        while (k >= 0 && r->plain.size - done >= BACKUP_ITEM_HEAD) {
                const uint8_t *item = r->plain.bytes + done;
                size_t size = (size_t)backup_get(item + 1, 4);

                if (size > BACKUP_ITEM_MAX || r->has_end)
                        return -EBADMSG;
                if (r->plain.size - done - BACKUP_ITEM_HEAD < size)
                        break;
                k = take_item(r, item[0], item + BACKUP_ITEM_HEAD, size);
                done += BACKUP_ITEM_HEAD + size;
        }
        buffer_consume(&r->plain, done);
        return k;
}

static int take_chunk(BackupReader *r, const uint8_t *sealed, size_t size, bool is_last) {
        int k;

        if (!r->has_keys)
                return take_keys(r, sealed, size, is_last);
        k = backup_chunk_open(&r->cipher, sealed, size, is_last, r->chunk);
        if (k >= 0)
                k = buffer_append(&r->plain, r->chunk, size);
        if (k >= 0)
                k = take_items(r);
        if (k < 0 || !is_last)
                return k;
        r->has_last = true;
        return r->has_end && r->plain.size == 0 ? 0 : -EBADMSG;
}

int backup_reader_feed(BackupReader *r, const uint8_t *bytes, size_t n) {
        size_t done = 0;
        int k;

        k = buffer_append(&r->input, bytes, n);
        while (k >= 0) {
                const uint8_t *p = r->input.bytes + done;
                size_t left = r->input.size - done, size;

                if (left == 0)
                        break;
                if (r->has_last)
                        return -EBADMSG;
                if (!r->has_header) {
                        /* A file that is none should not be read to the end of a header first. */
                        if (memcmp(p, BACKUP_MAGIC, MIN(left, (size_t)8)) != 0)
                                return -EINVAL;
                        if (left < BACKUP_HEADER_SIZE)
                                break;
                        k = take_header(r, p);
                        done += BACKUP_HEADER_SIZE;
                        continue;
                }
                if (left < BACKUP_CHUNK_HEAD)
                        break;
                uint32_t head = (uint32_t)backup_get(p, 4);
                size = head & ~BACKUP_CHUNK_LAST;
                if (size == 0 || size > BACKUP_CHUNK_MAX)
                        return -EBADMSG;
                if (left < BACKUP_CHUNK_HEAD + size + BACKUP_CHUNK_TAG)
                        break;
                k = take_chunk(r, p + BACKUP_CHUNK_HEAD, size, head & BACKUP_CHUNK_LAST);
                done += BACKUP_CHUNK_HEAD + size + BACKUP_CHUNK_TAG;
        }
        buffer_consume(&r->input, done);
        return k;
}

int backup_reader_finish(BackupReader *r) {
        if (!r->has_header)
                return -EINVAL;
        return r->has_last ? 0 : -EBADMSG;
}
