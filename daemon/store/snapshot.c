/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Snapshots: a read transaction of LMDB that lives longer than a call.
 *
 * The environment is open with MDB_NOTLS, so a read transaction belongs to whoever holds it and not to a thread: it is begun in
 * the loop, at a known instant, and handed to the thread that reads. Writers are not held up and do not see it.
 *
 * Its price: pages that were freed since it began cannot be used again, so a store that is written to grows while a snapshot is
 * open. A reader that is slow on purpose could fill the map or the disk with that. So the growth has a bound, by which
 * the reader has to give the snapshot up: as much as the file was large, at least SNAPSHOT_GROWTH_LEAST, and never more than half of
 * what the map has left. Afterwards the pages are used again; the file stays as large as it became.
 *
 * Who may call: see snapshot.h. */

#include "store/body-lmdb.h"
#include "store/snapshot.h"

#define SNAPSHOT_GROWTH_LEAST (UINT64_C(64) << 20)

struct StoreSnapshot {
        MDB_env *env;
        MDB_txn *txn;
        MDB_cursor *cursor;
        MDB_dbi dbi;
        StoreChain chain;
        uint64_t n_records;
        uint64_t end_max; /* bytes: where the last page may be at most */
        bool has_begun;
};

StoreSnapshot *store_snapshot_free(StoreSnapshot *s) {
        if (!s)
                return NULL;
        if (s->cursor)
                mdb_cursor_close(s->cursor);
        if (s->txn)
                mdb_txn_abort(s->txn);
        free(s);
        return NULL;
}

static int snapshot_end(const StoreSnapshot *s, uint64_t *ret_end, uint64_t *ret_map) {
        MDB_envinfo info;
        MDB_stat stat;

        if (mdb_env_info(s->env, &info) != 0 || mdb_env_stat(s->env, &stat) != 0)
                return -EIO;
        *ret_end = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
        *ret_map = info.me_mapsize;
        return 0;
}

static int snapshot_read_chain(StoreSnapshot *s) {
        const uint8_t *value;
        StoreKey key;
        size_t size;
        int r;

        r = chain_key(&key);
        if (r >= 0)
                r = store_snapshot_get(s, &key, &value, &size);
        if (r == -ENOENT)
                return 0;
        return r < 0 ? r : chain_decode(value, size, &s->chain);
}

int store_snapshot_new(Store *store, StoreSnapshot **ret) {
        _cleanup_(store_snapshot_freep) StoreSnapshot *s = NULL;
        uint64_t end, map;
        LmdbBody *body;
        MDB_stat stat;
        int r;

        if (store->body->close != lmdb_body.close)
                return -EOPNOTSUPP;
        body = store->data;
        s = calloc(1, sizeof(StoreSnapshot));
        if (!s)
                return -ENOMEM;
        s->env = body->env;
        s->dbi = body->dbi;
        r = store_errno(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->txn));
        if (r >= 0)
                r = store_errno(mdb_cursor_open(s->txn, s->dbi, &s->cursor));
        if (r >= 0)
                r = store_errno(mdb_stat(s->txn, s->dbi, &stat));
        if (r >= 0)
                r = snapshot_end(s, &end, &map);
        if (r >= 0)
                r = snapshot_read_chain(s);
        if (r < 0)
                return r;
        s->n_records = stat.ms_entries;
        s->end_max = end + MIN(MAX(end, SNAPSHOT_GROWTH_LEAST), (map - MIN(map, end)) / 2);
        *ret = TAKE_PTR(s);
        return 0;
}

const StoreChain *store_snapshot_chain(const StoreSnapshot *s) {
        return &s->chain;
}

uint64_t store_snapshot_records(const StoreSnapshot *s) {
        return s->n_records;
}

int store_snapshot_next(StoreSnapshot *s, StoreKey *ret_key, const uint8_t **ret_value, size_t *ret_size) {
        MDB_val key, value;
        StoreKey decoded = {};
        int r;

        r = mdb_cursor_get(s->cursor, &key, &value, s->has_begun ? MDB_NEXT : MDB_FIRST);
        s->has_begun = true;
        if (r == MDB_NOTFOUND)
                return 0;
        if (r != 0)
                return store_errno(r);
        r = store_key_decode(key.mv_data, key.mv_size, &decoded);
        if (r < 0)
                return r;
        *ret_key = decoded;
        *ret_value = value.mv_data;
        *ret_size = value.mv_size;
        return 1;
}

int store_snapshot_get(StoreSnapshot *s, const StoreKey *key, const uint8_t **ret_value, size_t *ret_size) {
        uint8_t bytes[STORE_KEY_MAX];
        MDB_val k = { store_key_encode(key, bytes), bytes }, value;
        int r;

        r = store_errno(mdb_get(s->txn, s->dbi, &k, &value));
        if (r < 0)
                return r;
        *ret_value = value.mv_data;
        *ret_size = value.mv_size;
        return 0;
}

bool store_snapshot_is_too_dear(StoreSnapshot *s) {
        uint64_t end, map;

        return snapshot_end(s, &end, &map) < 0 || end > s->end_max;
}
