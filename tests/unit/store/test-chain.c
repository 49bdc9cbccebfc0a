/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The chain moves on with each commit, over exactly what was committed, and is never there without it (T8). */

#include <gcrypt.h>

#include "support.h"

static StoreChain chain_of(Fixture *f) {
        StoreChain chain;

        assert_int_equal(store_chain(f->store, &chain), 0);
        return chain;
}

static void hash_u32(gcry_md_hd_t md, size_t n) {
        for (int i = 0; i < 4; i++)
                gcry_md_putc(md, (uint8_t)(n >> (8 * i)));
}

/* The formula once more, from the words in chain.c. */
typedef struct Expected {
        StoreChain chain;
        gcry_md_hd_t changes;
} Expected;

static void expected_begin(Expected *e) {
        assert_int_equal(gcry_md_open(&e->changes, GCRY_MD_SHA256, 0), 0);
}

static void expected_change(Expected *e, const StoreKey *key, const char *value) {
        uint8_t bytes[STORE_KEY_MAX];
        size_t size = store_key_encode(key, bytes);

        gcry_md_putc(e->changes, value ? 1 : 0);
        hash_u32(e->changes, size);
        gcry_md_write(e->changes, bytes, size);
        hash_u32(e->changes, value ? strlen(value) : 0);
        if (value)
                gcry_md_write(e->changes, value, strlen(value));
}

static void expected_end(Expected *e) {
        gcry_md_hd_t head;

        e->chain.sequence++;
        assert_int_equal(gcry_md_open(&head, GCRY_MD_SHA256, 0), 0);
        gcry_md_write(head, e->chain.head, 32);
        hash_u32(head, e->chain.sequence & UINT32_MAX);
        hash_u32(head, e->chain.sequence >> 32);
        gcry_md_write(head, gcry_md_read(e->changes, GCRY_MD_SHA256), 32);
        memcpy(e->chain.head, gcry_md_read(head, GCRY_MD_SHA256), 32);
        gcry_md_close(head);
        gcry_md_close(e->changes);
}

static void assert_chain(Fixture *f, const StoreChain *expected) {
        StoreChain chain = chain_of(f);

        assert_int_equal(chain.sequence, expected->sequence);
        assert_memory_equal(chain.head, expected->head, 32);
}

static void new_store_begins_at_zero(void **state) {
        assert_chain(*state, &(StoreChain){});
}

static void each_commit_is_one_link_over_its_changes(void **state) {
        Fixture *f = *state;
        StoreKey a = key_of(RECORD_AGENT, 1, "a"), b = key_of(RECORD_AGENT, 1, "b");
        Expected expected = {};
        StoreBatch *batch;

        assert_int_equal(put_text(f, 1, "a", "one"), 0);
        expected_begin(&expected);
        expected_change(&expected, &a, "one");
        expected_end(&expected);
        assert_chain(f, &expected.chain);

        batch = batch_put(&b, "", 0);
        assert_int_equal(store_batch_delete(batch, &a), 0);
        assert_int_equal(store_batch_expect(batch, &a, "one", 3), 0);
        assert_int_equal(commit(f, batch), 0);
        expected_begin(&expected);
        expected_change(&expected, &b, "");
        expected_change(&expected, &a, NULL);
        expected_end(&expected);
        assert_chain(f, &expected.chain);

        fixture_reopen(f, f->map_size);
        assert_chain(f, &expected.chain);
        assert_int_equal(put_text(f, 1, "a", "one"), 0);
        expected_begin(&expected);
        expected_change(&expected, &a, "one");
        expected_end(&expected);
        assert_chain(f, &expected.chain);
}

static void group_is_one_link_without_what_failed(void **state) {
        Fixture *f = *state;
        StoreKey key = key_of(RECORD_AGENT, 1, "k");
        Collector collector = {};
        Expected expected = {};
        Slot slots[3];
        writer_hold(f);

        for (size_t i = 0; i < 3; i++) {
                StoreBatch *batch = batch_put(&key, i == 0 ? "x" : i == 1 ? "y" : "z", 1);

                if (i == 1)
                        assert_int_equal(store_batch_expect_absent(batch, &key), 0);
                slots[i] = (Slot){ &collector, i };
                collect(f, &slots[i], batch);
        }
        writer_release(f);
        run_until(f, &collector.n, 3);
        assert_int_equal(collector.results[1], STORE_CONFLICT);
        /* The thread may have taken the first alone before it was held up. */
        if (chain_of(f).sequence == 1) {
                expected_begin(&expected);
                expected_change(&expected, &key, "x");
                expected_change(&expected, &key, "z");
                expected_end(&expected);
        } else
                for (int i = 0; i < 2; i++) {
                        expected_begin(&expected);
                        expected_change(&expected, &key, i == 0 ? "x" : "z");
                        expected_end(&expected);
                }
        assert_chain(f, &expected.chain);
}

static void what_writes_nothing_is_no_link(void **state) {
        Fixture *f = *state;
        StoreKey key = key_of(RECORD_AGENT, 1, "k");
        StoreBatch *batch = batch_put(&key, "x", 1);
        StoreChain before;

        assert_int_equal(store_batch_expect(batch, &key, "not there", 9), 0);
        assert_int_equal(commit(f, batch), STORE_CONFLICT);
        assert_int_equal(commit(f, batch_new()), 0);
        assert_chain(f, &(StoreChain){});

        fixture_reopen(f, 256 * 1024);
        assert_int_equal(put_text(f, 1, "a", "fits"), 0);
        before = chain_of(f);
        uint8_t *big = calloc(1, 1 << 20);
        assert_non_null(big);
        assert_int_equal(commit(f, batch_put(&key, big, 1 << 20)), -ENOSPC);
        free(big);
        assert_chain(f, &before);
}

/* Past the store, as somebody with the file could. NULL: the record goes. */
static void chain_overwrite(Fixture *f, const Buffer *value) {
        uint8_t bytes[STORE_KEY_MAX];
        LmdbBody *body = lmdb_of(f);
        MDB_txn *txn = NULL;
        MDB_val k, v;
        StoreKey key;

        assert_int_equal(chain_key(&key), 0);
        assert_int_equal(mdb_txn_begin(body->env, NULL, 0, &txn), 0);
        k = (MDB_val){ store_key_encode(&key, bytes), bytes };
        if (value) {
                v = (MDB_val){ value->size, value->bytes };
                assert_int_equal(mdb_put(txn, body->dbi, &k, &v, 0), 0);
        } else
                assert_int_equal(mdb_del(txn, body->dbi, &k, NULL), 0);
        assert_int_equal(mdb_txn_commit(txn), 0);
}

static void store_from_before_the_chain_begins_one(void **state) {
        Fixture *f = *state;
        StoreKey key = key_of(RECORD_AGENT, 1, "a");
        Expected expected = {};

        assert_int_equal(put_text(f, 1, "a", "x"), 0);
        chain_overwrite(f, NULL);
        fixture_reopen(f, f->map_size);
        assert_chain(f, &(StoreChain){});
        assert_int_equal(put_text(f, 1, "a", "y"), 0);
        expected_begin(&expected);
        expected_change(&expected, &key, "y");
        expected_end(&expected);
        assert_chain(f, &expected.chain);
}

static void damaged_chain_is_refused(void **state) {
        Fixture *f = *state;
        StoreChain chain;
        StoreKey key;

        assert_int_equal(put_text(f, 1, "a", "x"), 0);
        assert_int_equal(chain_key(&key), 0);
        _cleanup_(buffer_done) Buffer value = stored_value(f, &key);
        for (size_t i = 0; i < value.size; i++) {
                value.bytes[i] ^= 1;
                chain_overwrite(f, &value);
                assert_int_equal(store_chain(f->store, &chain), -EBADMSG);
                value.bytes[i] ^= 1;
        }
        value.bytes[value.size - 1] ^= 1;
        chain_overwrite(f, &value);
        fixture_close(f);
        assert_int_equal(fixture_open(f, f->map_size), -EBADMSG);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(new_store_begins_at_zero),
                TEST(each_commit_is_one_link_over_its_changes),
                TEST(group_is_one_link_without_what_failed),
                TEST_ON_DISK(what_writes_nothing_is_no_link),
                TEST_ON_DISK(store_from_before_the_chain_begins_one),
                TEST_ON_DISK(damaged_chain_is_refused),
        };

        return RUN_TESTS("chain", tests);
}
