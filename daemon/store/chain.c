/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The chain: a number and a digest that every commit moves on, so that an old database can be told from the newest (T8).
 *
 *     changes = SHA-256 over the group's changes in order: {type u8 | size u32 LE | key | size u32 LE | value}…
 *     head(n) = SHA-256(head(n - 1) ‖ n as u64 LE ‖ changes)
 *
 * It is written in the transaction whose changes it covers, therefore is there exactly when they are, and no two different
 * histories of the same length have the same head. It is no seal: who can write the file can compute it. What it is good for is
 * comparison with a copy that lies elsewhere (the journal, a backup). A database from before there was a chain, and a new one,
 * begin at 0 with a head of zeros.
 *
 * The record is encoded like the others, so damage in it is found by its own digest; then nothing is written any more, since
 * to begin a new chain would hide what happened.
 *
 * Who may call: the bodies of the store, on the writer's thread; store_chain() from the loop. */

#include <gcrypt.h>

#include "store/internal.h"
#include "store/record.h"

#define CHAIN_ID  "chain"
#define BEHIND_ID "behind"

typedef struct ChainRecord {
        StoreChain chain;
        Buffer stored;
} ChainRecord;

static const Field chain_fields[] = {
        FIELD_OF(2, FIELD_NUMBER, ChainRecord, chain.sequence, .max = UINT64_MAX, .is_required = true),
        FIELD_OF(3, FIELD_BYTES, ChainRecord, chain.head, .is_required = true),
};
static const RecordType chain_type = RECORD_TYPE(ChainRecord, chain_fields, false);

int chain_key(StoreKey *ret) {
        return store_key_init(ret, RECORD_META, 0, CHAIN_ID, strlen(CHAIN_ID));
}

static int decode_at(const StoreKey *key, const uint8_t *value, size_t size, StoreChain *ret) {
        ChainRecord record = {};
        int r;

        r = record_decode(&chain_type, key, NULL, value, size, &record);
        buffer_done(&record.stored);
        if (r < 0)
                return r;
        *ret = record.chain;
        return 0;
}

int chain_decode(const uint8_t *value, size_t size, StoreChain *ret) {
        StoreKey key;
        int r;

        r = chain_key(&key);
        return r < 0 ? r : decode_at(&key, value, size, ret);
}

int chain_encode(const StoreChain *chain, Buffer *ret) {
        ChainRecord record = { .chain = *chain };
        StoreKey key;
        int r;

        r = chain_key(&key);
        return r < 0 ? r : record_encode(&chain_type, &key, NULL, &record, ret);
}

static void md_write_sized(gcry_md_hd_t md, const uint8_t *bytes, size_t size) {
        const uint8_t n[] = { (uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16),
                (uint8_t)(size >> 24) };

        gcry_md_write(md, n, sizeof(n));
        if (size > 0)
                gcry_md_write(md, bytes, size);
}

int chain_advance(StoreChain *chain, const StoreBatch *first, const StoreBatch *end) {
        uint8_t link[32 + 8 + 32];
        gcry_md_hd_t md;
        gcry_error_t e;

        e = gcry_md_open(&md, GCRY_MD_SHA256, 0);
        if (e)
                return gcry_err_code(e) == GPG_ERR_ENOMEM ? -ENOMEM : -ENOTSUP;
        for (const StoreBatch *b = first; b != end; b = b->next) {
                if (b->result != 0)
                        continue;
                for (const BatchOperation *c = b->changes; c; c = c->next) {
                        gcry_md_putc(md, (uint8_t)(c->type == BATCH_PUT));
                        md_write_sized(md, c->key, c->key_size);
                        md_write_sized(md, c->value, c->size);
                }
        }

        chain->sequence++;
        memcpy(link, chain->head, 32);
        for (unsigned i = 0; i < 8; i++)
                link[32 + i] = (uint8_t)(chain->sequence >> (8 * i));
        memcpy(link + 40, gcry_md_read(md, GCRY_MD_SHA256), 32);
        gcry_md_close(md);
        sha256(link, sizeof(link), chain->head);
        return 0;
}

int chain_link(const uint8_t *stored, size_t size, const StoreBatch *first, const StoreBatch *end,
                Buffer *ret) {
        StoreChain chain = {};
        int r = 0;

        if (stored)
                r = chain_decode(stored, size, &chain);
        if (r >= 0)
                r = chain_advance(&chain, first, end);
        return r < 0 ? r : chain_encode(&chain, ret);
}

static int raise_chain(StoreBatch *b, StoreChain chain, uint64_t least_sequence) {
        _cleanup_(buffer_done) Buffer value = {};
        StoreKey key;
        int r;

        /* The writer links on from what it finds, which is this. */
        chain.sequence = MAX(chain.sequence, least_sequence);
        r = chain_encode(&chain, &value);
        if (r >= 0)
                r = chain_key(&key);
        return r < 0 ? r : store_batch_put(b, &key, value.bytes, value.size);
}

int store_chain(Store *s, StoreChain *ret) {
        _cleanup_(buffer_done) Buffer value = {};
        StoreKey key;
        int r;

        r = chain_key(&key);
        if (r >= 0)
                r = store_get(s, &key, &value);
        if (r == -ENOENT) {
                *ret = (StoreChain){};
                return 0;
        }
        return r < 0 ? r : chain_decode(value.bytes, value.size, ret);
}

static int behind_key(StoreKey *ret) {
        return store_key_init(ret, RECORD_META, 0, BEHIND_ID, strlen(BEHIND_ID));
}

int behind_decode(const uint8_t *value, size_t size, StoreChain *ret) {
        StoreKey key;
        int r;

        r = behind_key(&key);
        return r < 0 ? r : decode_at(&key, value, size, ret);
}

int store_behind(Store *s, StoreChain *ret) {
        _cleanup_(buffer_done) Buffer value = {};
        StoreKey key;
        int r;

        r = behind_key(&key);
        if (r >= 0)
                r = store_get(s, &key, &value);
        return r < 0 ? r : behind_decode(value.bytes, value.size, ret);
}

int store_batch_put_behind(StoreBatch *b, const StoreChain *newest) {
        ChainRecord record = { .chain = *newest };
        _cleanup_(buffer_done) Buffer value = {};
        StoreKey key;
        int r;

        r = behind_key(&key);
        if (r >= 0)
                r = record_encode(&chain_type, &key, NULL, &record, &value);
        return r < 0 ? r : store_batch_put(b, &key, value.bytes, value.size);
}

int store_batch_end_behind(StoreBatch *b, StoreChain chain, const StoreChain *newest) {
        StoreKey key;
        int r;

        r = behind_key(&key);
        if (r >= 0)
                r = store_batch_delete(b, &key);
        return r < 0 ? r : raise_chain(b, chain, newest->sequence);
}
