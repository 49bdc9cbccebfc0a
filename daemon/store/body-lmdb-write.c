/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The LMDB body's writing side: a group of batches becomes one transaction.
 *
 * When a group meets a full map or disk it is abandoned and its batches are tried one by one, so only the ones that do
 * not fit fail. Batches that make the store no larger (deletes, a token in place of another) may use a reserve of map and
 * disk that growing ones are kept out of, so a full store can be emptied and a rotated token is not lost.
 *
 * What LMDB (0.9.24, mdb_txn_commit) does when a commit fails: before the meta page is written nothing of the
 * transaction is visible and no page that the last commit uses was touched, so the environment is as it was. A failure
 * at the meta page itself marks the environment (MDB_PANIC from the next begin). It reports a disk that fills up in the
 * middle of a write as EIO (a short write), which is told apart here from a broken disk. Whatever is left is in doubt:
 * the process ends by SIGABRT and the next start reads what is really on disk.
 *
 * MDB_WRITEMAP, MDB_NOSYNC, MDB_NOMETASYNC and MDB_MAPASYNC are never set: pages go out by pwrite, then fdatasync, then
 * the meta page through a descriptor with O_DSYNC. All of the above, and what the tests say about power cuts, rests on that order.
 *
 * Who may call: the writer thread, through the body. */

#include <assert.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "store/body-lmdb.h"
#include "util/crash-point.h"
#include "util/log.h"

static _noreturn_ void writer_die(const char *what, int error) {
        log_full(LOG_CRIT, NULL, 0,
                        "store: %s: %s; memory and disk may disagree, ending. If it happens again, see to "
                        "the disk, or "
                        "restore a backup: vaultctl admin restore",
                        what, mdb_strerror(error));
        log_close();
        abort();
}

/* Makes sure that n bytes behind the last page in use are allocated. 0 or errno. Free counts of statfs() know neither quotas nor
 * reserves, so the file system itself is asked. */
static int disk_reserve(LmdbBody *body, uint64_t n) {
        MDB_envinfo info;
        MDB_stat stat;
        uint64_t start;
        int fd;

        if (mdb_env_get_fd(body->env, &fd) != 0 || mdb_env_info(body->env, &info) != 0 ||
                        mdb_env_stat(body->env, &stat) != 0)
                return EINVAL;
        start = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
        if (start + n <= body->reserved_end)
                return 0;
        if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)start, (off_t)(n + STORE_DISK_AHEAD)) == 0) {
                body->reserved_end = start + n + STORE_DISK_AHEAD;
                return 0;
        }
        if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)start, (off_t)n) == 0) {
                body->reserved_end = start + n;
                return 0;
        }
        return errno == EDQUOT || errno == EFBIG ? ENOSPC : errno;
}

/* For telling a full disk from a broken one after a short write: would another n bytes, beyond what is reserved, fit? */
static bool disk_is_full(LmdbBody *body, uint64_t n) {
        struct rlimit limit;
        struct stat st;
        int fd;

        if (mdb_env_get_fd(body->env, &fd) != 0 || fstat(fd, &st) < 0)
                return false;
        if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
                        (uint64_t)st.st_size + n > (uint64_t)limit.rlim_cur)
                return true;
        return fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)MAX((uint64_t)st.st_size, body->reserved_end),
                               (off_t)n) < 0 &&
               (errno == ENOSPC || errno == EDQUOT || errno == EFBIG);
}

/* What a failed group means for its batches, if the environment is still sound. weight: bytes that were to be written. */
static int writer_judge(LmdbBody *body, int error, size_t weight) {
        MDB_txn *probe;
        int result, r;

        if (error == EIO && disk_is_full(body, 2 * weight + STORE_DISK_RESERVE))
                error = ENOSPC;
        result = store_errno(error);
        if (result != -ENOSPC && result != -ENOMEM)
                writer_die("commit failed", error);

        r = mdb_txn_begin(body->env, NULL, 0, &probe);
        if (r == MDB_PANIC)
                writer_die("commit failed at the meta page", error);
        if (r == 0)
                mdb_txn_abort(probe);
        return result;
}

/* 0 or STORE_CONFLICT in *ret_result; otherwise returns LMDB's error. */
static int batch_check(LmdbBody *body, MDB_txn *txn, const StoreBatch *b, int *ret_result) {
        for (const BatchOperation *e = b->expectations; e; e = e->next) {
                MDB_val key = { e->key_size, (void *)e->key }, value;
                int r;
                bool holds;

                r = mdb_get(txn, body->dbi, &key, &value);
                if (r != 0 && r != MDB_NOTFOUND)
                        return r;
                if (e->type == BATCH_EXPECT_ABSENT)
                        holds = r == MDB_NOTFOUND;
                else if (e->type == BATCH_EXPECT_PREFIX)
                        holds = r == 0 && value.mv_size >= e->size &&
                                memcmp(value.mv_data, e->value, e->size) == 0;
                else
                        holds = r == 0 && value.mv_size == e->size &&
                                (e->size == 0 || memcmp(value.mv_data, e->value, e->size) == 0);
                if (!holds) {
                        *ret_result = STORE_CONFLICT;
                        return 0;
                }
        }
        *ret_result = 0;
        return 0;
}

static int batch_apply(LmdbBody *body, MDB_txn *txn, const StoreBatch *b) {
        for (const BatchOperation *c = b->changes; c; c = c->next) {
                MDB_val key = { c->key_size, (void *)c->key }, value = { c->size, (void *)c->value };
                int r;

                if (c->type == BATCH_PUT)
                        r = mdb_put(txn, body->dbi, &key, &value, 0);
                else {
                        r = mdb_del(txn, body->dbi, &key, NULL);
                        if (r == MDB_NOTFOUND)
                                r = 0;
                }
                if (r != 0)
                        return r;
        }
        return 0;
}

/* Bytes of all pages that hold records, as the transaction sees it. */
static int used_bytes(LmdbBody *body, MDB_txn *txn, uint64_t *ret) {
        MDB_stat stat;
        int r;

        r = mdb_stat(txn, body->dbi, &stat);
        if (r != 0)
                return r;
        *ret = ((uint64_t)stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) *
               stat.ms_psize;
        return 0;
}

/* Puts the chain's next link into the transaction. An LMDB error, or EBADMSG for a damaged chain. */
static int chain_write(LmdbBody *body, MDB_txn *txn, const StoreBatch *first, const StoreBatch *end) {
        _cleanup_(buffer_done) Buffer next = {};
        uint8_t bytes[STORE_KEY_MAX];
        MDB_val key, value;
        StoreKey k;
        int r;

        r = chain_key(&k);
        if (r < 0)
                return -r;
        key = (MDB_val){ store_key_encode(&k, bytes), bytes };
        r = mdb_get(txn, body->dbi, &key, &value);
        if (r != 0 && r != MDB_NOTFOUND)
                return r;
        r = r == 0 ? chain_link(value.mv_data, value.mv_size, first, end, &next)
                   : chain_link(NULL, 0, first, end, &next);
        if (r < 0)
                return -r;
        value = (MDB_val){ next.size, next.bytes };
        return mdb_put(txn, body->dbi, &key, &value, 0);
}

/* Applies the batches from first up to, not including, end and fills in their results. An LMDB error means: abort. */
static int group_apply(LmdbBody *body, MDB_txn *txn, StoreBatch *first, const StoreBatch *end,
                bool *ret_changing, uint64_t *ret_growth) {
        uint64_t before, now, growth = 0;
        bool is_changing = false;
        int r;

        r = used_bytes(body, txn, &before);
        for (StoreBatch *b = first; b != end && r == 0; b = b->next) {
                r = batch_check(body, txn, b, &b->result);
                if (r != 0 || b->result != 0 || !b->changes)
                        continue;
                is_changing = true;
                r = batch_apply(body, txn, b);
                if (r == 0)
                        r = used_bytes(body, txn, &now);
                if (r != 0)
                        break;
                if (now > before) {
                        growth += now - before;
                        if (now > body->map_size)
                                r = MDB_MAP_FULL;
                }
                before = now;
        }
        if (r == 0 && is_changing)
                r = chain_write(body, txn, first, end);
        if (r == 0)
                r = used_bytes(body, txn, &now);
        if (r != 0)
                return r;
        if (now > before) /* the first link ever */
                growth += now - before;
        *ret_changing = is_changing;
        *ret_growth = growth;
        return 0;
}

/* For scrub.c, which has to know how many buffers LMDB may keep: each change touches a page on every level, and those beside it. */
static void note_dirty(LmdbBody *body, const StoreBatch *first, const StoreBatch *end) {
        uint64_t n_changes = 1, n_bytes = 0;

        for (const StoreBatch *b = first; b != end; b = b->next) {
                n_bytes += b->weight;
                for (const BatchOperation *c = b->changes; c; c = c->next)
                        n_changes++;
        }
        body->dirty_max = MAX(body->dirty_max, 8 * n_changes + n_bytes / 2048 + 64);
}

/* The same in one transaction. Returns LMDB's error when nothing was written. */
static int group_write(LmdbBody *body, StoreBatch *first, const StoreBatch *end) {
        bool is_changing;
        uint64_t growth;
        MDB_txn *txn;
        int r;

        r = mdb_txn_begin(body->env, NULL, 0, &txn);
        if (r != 0)
                return r;
        note_dirty(body, first, end);
        r = group_apply(body, txn, first, end, &is_changing, &growth);
        /* A file system that cannot reserve is taken as it is. */
        if (r == 0 && growth > 0 && disk_reserve(body, growth + STORE_DISK_RESERVE) == ENOSPC)
                r = ENOSPC;
        if (r != 0 || !is_changing) {
                mdb_txn_abort(txn);
                return r;
        }

        crash_point("store-before-commit");
        r = mdb_txn_commit(txn);
        if (r == 0)
                crash_point("store-after-commit");
        return r;
}

static void group_commit(LmdbBody *body, StoreBatch *group) {
        size_t weight = 0;
        int r;

        for (StoreBatch *b = group; b; b = b->next)
                weight += b->weight;
        r = group_write(body, group, NULL);
        if (r == 0)
                return;

        int result = writer_judge(body, r, weight);
        if (!group->next) {
                group->result = result;
                return;
        }
        for (StoreBatch *b = group; b; b = b->next) {
                r = group_write(body, b, b->next);
                if (r != 0)
                        b->result = writer_judge(body, r, b->weight);
        }
}

void lmdb_commit(Store *s, StoreBatch *group) {
        fault_enter();
        group_commit(s->data, group);
        fault_leave();
}
