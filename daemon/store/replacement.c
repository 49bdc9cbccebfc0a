/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A database file beside the one in use.
 *
 * Nobody reads it before it is whole, so it is written without syncs in large transactions and synced once, at its end. It is
 * put in place by rename(2): at any instant there is either the old file under the name or the whole new one. The old one, if it
 * is to be kept, gets its second name first.
 *
 * A crash leaves the unfinished file, which the next start removes: there is nothing to go on with.
 *
 * Who may call: restore.c; any one thread. */

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>

#include "store/body-lmdb.h"
#include "store/replacement.h"

#define STORE_FILE_RESTORED STORE_FILE ".restored"
#define TRANSACTION_BYTES   (16U << 20)

struct StoreReplacement {
        char *dir, *path;
        uint64_t map_size;
        MDB_env *env;
        MDB_txn *txn;
        MDB_dbi dbi;
        size_t weight; /* of what is in the transaction */
        uint64_t n_records;
        bool is_whole, is_installed;
};

static int path_of(const char *dir, const char *name, char **ret) {
        if (asprintf(ret, "%s/%s", dir, name) >= 0)
                return 0;
        *ret = NULL;
        return -ENOMEM;
}

static void environment_end(StoreReplacement *r) {
        if (r->txn)
                mdb_txn_abort(r->txn);
        if (r->env)
                mdb_env_close(r->env);
        r->txn = NULL;
        r->env = NULL;
}

StoreReplacement *store_replacement_free(StoreReplacement *r) {
        if (!r)
                return NULL;
        environment_end(r);
        if (r->path && !r->is_installed)
                lmdb_remove(r->path);
        free(r->dir);
        free(r->path);
        free(r);
        return NULL;
}

void store_replacement_forget(const char *dir) {
        _cleanup_(freep) char *path = NULL;

        if (path_of(dir, STORE_FILE_RESTORED, &path) >= 0)
                lmdb_remove(path);
}

static int transaction_begin(StoreReplacement *r) {
        int k;

        k = store_errno(mdb_txn_begin(r->env, NULL, 0, &r->txn));
        if (k < 0) {
                r->txn = NULL;
                return k;
        }
        r->weight = 0;
        return store_errno(mdb_dbi_open(r->txn, NULL, 0, &r->dbi));
}

static int transaction_end(StoreReplacement *r) {
        return store_errno(mdb_txn_commit(TAKE_PTR(r->txn)));
}

int store_replacement_new(const char *dir, uint64_t map_size, StoreReplacement **ret) {
        _cleanup_(store_replacement_freep) StoreReplacement *r = calloc(1, sizeof(StoreReplacement));
        int k;

        if (!r)
                return -ENOMEM;
        r->map_size = map_size;
        r->dir = strdup(dir);
        if (!r->dir)
                return -ENOMEM;
        k = path_of(dir, STORE_FILE_RESTORED, &r->path);
        if (k < 0)
                return k;
        lmdb_remove(r->path);
        k = lmdb_environment_open(r->path, map_size, MDB_NOSYNC, &r->env);
        if (k >= 0)
                k = schema_write(r->env, STORE_SCHEMA_VERSION);
        if (k >= 0)
                k = transaction_begin(r);
        if (k < 0)
                return k;
        r->n_records = 1;
        *ret = TAKE_PTR(r);
        return 0;
}

static int put(StoreReplacement *r, const uint8_t *key, size_t key_size, const void *value, size_t size) {
        MDB_val k = { key_size, (void *)key }, v = { size, (void *)value };
        int e;

        assert(r->txn);
        e = mdb_put(r->txn, r->dbi, &k, &v, MDB_NOOVERWRITE);
        if (e == MDB_KEYEXIST)
                return -EBADMSG;
        if (e != 0)
                return store_errno(e);
        r->n_records++;
        r->weight += key_size + size;
        if (r->weight < TRANSACTION_BYTES)
                return 0;
        e = transaction_end(r);
        return e < 0 ? e : transaction_begin(r);
}

int store_replacement_put(StoreReplacement *r, const StoreKey *key, const void *value, size_t size) {
        uint8_t bytes[STORE_KEY_MAX];

        return put(r, bytes, store_key_encode(key, bytes), value, size);
}

int store_replacement_apply(StoreReplacement *r, const StoreBatch *batch) {
        int k = 0;

        for (const BatchOperation *c = batch->changes; c && k >= 0; c = c->next)
                k = c->type == BATCH_PUT ? put(r, c->key, c->key_size, c->value, c->size) : -EINVAL;
        return k;
}

int store_batch_peek(const StoreBatch *batch, const uint8_t **ret_value, size_t *ret_size) {
        const BatchOperation *c = batch->changes;

        if (!c || c->type != BATCH_PUT)
                return -ENOENT;
        *ret_value = c->value;
        *ret_size = c->size;
        return 0;
}

/* Goes on behind both, so that what this file held before can be told from what is to come. */
static int put_chain(StoreReplacement *r, const StoreChain *chain, uint64_t least_sequence) {
        _cleanup_(buffer_done) Buffer value = {};
        StoreChain next = *chain;
        StoreKey key;
        int k;

        next.sequence = MAX(next.sequence, least_sequence);
        k = chain_advance(&next, NULL, NULL);
        if (k >= 0)
                k = chain_encode(&next, &value);
        if (k >= 0)
                k = chain_key(&key);
        return k < 0 ? k : store_replacement_put(r, &key, value.bytes, value.size);
}

/* Opens what was written once more and goes through it: every page is read, every key is one. */
static int check(StoreReplacement *r) {
        MDB_env *env;
        MDB_cursor *cursor = NULL;
        MDB_txn *txn = NULL;
        MDB_val key, value;
        uint64_t n = 0;
        StoreKey decoded;
        int k, e = 0;

        k = lmdb_environment_open(r->path, r->map_size, MDB_RDONLY, &env);
        if (k < 0)
                return k;
        k = store_errno(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
        if (k >= 0)
                k = store_errno(mdb_cursor_open(txn, r->dbi, &cursor));
        while (k >= 0 && (e = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
                k = store_key_decode(key.mv_data, key.mv_size, &decoded);
                n++;
        }
        if (k >= 0 && (e != MDB_NOTFOUND || n != r->n_records))
                k = -EIO;
        if (cursor)
                mdb_cursor_close(cursor);
        if (txn)
                mdb_txn_abort(txn);
        mdb_env_close(env);
        return k;
}

int store_replacement_finish(StoreReplacement *r, const StoreChain *chain, uint64_t least_sequence) {
        int k;

        k = put_chain(r, chain, least_sequence);
        if (k >= 0)
                k = transaction_end(r);
        if (k >= 0)
                k = store_errno(mdb_env_sync(r->env, 1));
        environment_end(r);
        if (k >= 0)
                k = check(r);
        r->is_whole = k >= 0;
        return k;
}

int store_replacement_install(StoreReplacement *r, const char *suffix) {
        _cleanup_(freep) char *path = NULL, *aside = NULL, *lock = NULL;
        int k;

        assert(r->is_whole);
        k = path_of(r->dir, STORE_FILE, &path);
        if (k < 0)
                return k;
        if (suffix) {
                if (asprintf(&aside, "%s.%s", path, suffix) < 0) {
                        aside = NULL;
                        return -ENOMEM;
                }
                if (link(path, aside) < 0)
                        return -errno;
        }
        if (rename(r->path, path) < 0) {
                k = -errno;
                if (aside)
                        (void)unlink(aside);
                return k;
        }
        r->is_installed = true;
        if (asprintf(&lock, "%s-lock", r->path) < 0)
                lock = NULL;
        else
                (void)unlink(lock);
        return lmdb_directory_sync(r->dir);
}
