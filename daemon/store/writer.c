/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The store's writing side: one thread that commits queued batches in groups.
 *
 * Why a thread: a durable commit waits about 0.3 ms for the disk, at times much longer, and the loop never waits. Why
 * groups: everything that queues up while the disk is busy shares the next sync.
 *
 * Invariants: batches take effect in queue order and their callbacks are called in that order, from the loop; a
 * callback's 0 means that the batch is on disk; a batch is applied wholly or not at all. When a group meets a full map or
 * disk it is abandoned and its batches are tried one by one, so only the ones that do not fit fail. Batches that make
 * the store no larger (deletes, a token in place of another) may use a reserve of map and disk that growing ones are kept
 * out of, so a full store can be emptied and a rotated token is not lost.
 *
 * What LMDB (0.9.24, mdb_txn_commit) does when a commit fails: before the meta page is written nothing of the
 * transaction is visible and no page that the last commit uses was touched, so the environment is as it was. A failure
 * at the meta page itself marks the environment (MDB_PANIC from the next begin). It reports a disk that fills up in the
 * middle of a write as EIO (a short write), which is told apart here from a broken disk. Whatever is left is in doubt:
 * the process ends by SIGABRT and the next start reads what is really on disk.
 *
 * Who may call: the loop's thread; group_*() run on the writer thread. */

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "store/internal.h"
#include "util/crash-point.h"
#include "util/fiber.h"
#include "util/log.h"

/* Bounds of one transaction: far below LMDB's limit of dirty pages, so that it never spills. */
#define GROUP_BATCHES_MAX 1024U
#define GROUP_BYTES_MAX   (8U * 1024U * 1024U)

static _noreturn_ void writer_die(const char *what, int error) {
        log_full(LOG_CRIT, NULL, 0, "store: %s: %s; memory and disk may disagree, ending", what,
                        mdb_strerror(error));
        log_close();
        abort();
}

/* Makes sure that n bytes behind the last page in use are allocated. 0 or errno. Free counts of statfs() know neither quotas nor
 * reserves, so the file system itself is asked. */
static int disk_reserve(Store *s, uint64_t n) {
        MDB_envinfo info;
        MDB_stat stat;
        uint64_t start;
        int fd;

        if (mdb_env_get_fd(s->env, &fd) != 0 || mdb_env_info(s->env, &info) != 0 ||
                        mdb_env_stat(s->env, &stat) != 0)
                return EINVAL;
        start = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
        if (start + n <= s->reserved_end)
                return 0;
        if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)start, (off_t)(n + STORE_DISK_AHEAD)) == 0) {
                s->reserved_end = start + n + STORE_DISK_AHEAD;
                return 0;
        }
        if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)start, (off_t)n) == 0) {
                s->reserved_end = start + n;
                return 0;
        }
        return errno == EDQUOT || errno == EFBIG ? ENOSPC : errno;
}

/* For telling a full disk from a broken one after a short write: would another n bytes, beyond what is reserved, fit? */
static bool disk_is_full(Store *s, uint64_t n) {
        struct rlimit limit;
        struct stat st;
        int fd;

        if (mdb_env_get_fd(s->env, &fd) != 0 || fstat(fd, &st) < 0)
                return false;
        if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
                        (uint64_t)st.st_size + n > (uint64_t)limit.rlim_cur)
                return true;
        return fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)MAX((uint64_t)st.st_size, s->reserved_end),
                               (off_t)n) < 0 &&
               (errno == ENOSPC || errno == EDQUOT || errno == EFBIG);
}

/* What a failed group means for its batches, if the environment is still sound. weight: bytes that were to be written. */
static int writer_judge(Store *s, int error, size_t weight) {
        MDB_txn *probe;
        int result, r;

        if (error == EIO && disk_is_full(s, 2 * weight + STORE_DISK_RESERVE))
                error = ENOSPC;
        result = store_errno(error);
        if (result != -ENOSPC && result != -ENOMEM)
                writer_die("commit failed", error);

        r = mdb_txn_begin(s->env, NULL, 0, &probe);
        if (r == MDB_PANIC)
                writer_die("commit failed at the meta page", error);
        if (r == 0)
                mdb_txn_abort(probe);
        return result;
}

/* 0 or STORE_CONFLICT in *ret_result; otherwise returns LMDB's error. */
static int batch_check(Store *s, MDB_txn *txn, const StoreBatch *b, int *ret_result) {
        for (const BatchOperation *e = b->expectations; e; e = e->next) {
                MDB_val key = { e->key_size, (void *)e->key }, value;
                int r;
                bool holds;

                r = mdb_get(txn, s->dbi, &key, &value);
                if (r != 0 && r != MDB_NOTFOUND)
                        return r;
                if (e->type == BATCH_EXPECT_ABSENT)
                        holds = r == MDB_NOTFOUND;
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

static int batch_apply(Store *s, MDB_txn *txn, const StoreBatch *b) {
        for (const BatchOperation *c = b->changes; c; c = c->next) {
                MDB_val key = { c->key_size, (void *)c->key }, value = { c->size, (void *)c->value };
                int r;

                if (c->type == BATCH_PUT)
                        r = mdb_put(txn, s->dbi, &key, &value, 0);
                else {
                        r = mdb_del(txn, s->dbi, &key, NULL);
                        if (r == MDB_NOTFOUND)
                                r = 0;
                }
                if (r != 0)
                        return r;
        }
        return 0;
}

/* Bytes of all pages that hold records, as the transaction sees it. */
static int used_bytes(Store *s, MDB_txn *txn, uint64_t *ret) {
        MDB_stat stat;
        int r;

        r = mdb_stat(txn, s->dbi, &stat);
        if (r != 0)
                return r;
        *ret = ((uint64_t)stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) *
               stat.ms_psize;
        return 0;
}

/* Puts the chain's next link into the transaction. An LMDB error, or EBADMSG for a damaged chain. */
static int chain_write(Store *s, MDB_txn *txn, const StoreBatch *first, const StoreBatch *end) {
        _cleanup_(buffer_done) Buffer encoded = {};
        uint8_t bytes[STORE_KEY_MAX];
        StoreChain chain = {};
        MDB_val key, value;
        StoreKey k;
        int r;

        r = chain_key(&k);
        if (r < 0)
                return -r;
        key = (MDB_val){ store_key_encode(&k, bytes), bytes };
        r = mdb_get(txn, s->dbi, &key, &value);
        if (r != 0 && r != MDB_NOTFOUND)
                return r;
        if (r == 0)
                r = chain_decode(value.mv_data, value.mv_size, &chain);
        else
                r = 0;
        if (r >= 0)
                r = chain_advance(&chain, first, end);
        if (r >= 0)
                r = chain_encode(&chain, &encoded);
        if (r < 0)
                return -r;
        value = (MDB_val){ encoded.size, encoded.bytes };
        return mdb_put(txn, s->dbi, &key, &value, 0);
}

/* Applies the batches from first up to, not including, end and fills in their results. An LMDB error means: abort. */
static int group_apply(Store *s, MDB_txn *txn, StoreBatch *first, const StoreBatch *end, bool *ret_changing,
                uint64_t *ret_growth) {
        uint64_t before, now, growth = 0;
        bool is_changing = false;
        int r;

        r = used_bytes(s, txn, &before);
        for (StoreBatch *b = first; b != end && r == 0; b = b->next) {
                r = batch_check(s, txn, b, &b->result);
                if (r != 0 || b->result != 0 || !b->changes)
                        continue;
                is_changing = true;
                r = batch_apply(s, txn, b);
                if (r == 0)
                        r = used_bytes(s, txn, &now);
                if (r != 0)
                        break;
                if (now > before) {
                        growth += now - before;
                        if (now > s->map_size)
                                r = MDB_MAP_FULL;
                }
                before = now;
        }
        if (r == 0 && is_changing)
                r = chain_write(s, txn, first, end);
        if (r == 0)
                r = used_bytes(s, txn, &now);
        if (r != 0)
                return r;
        if (now > before) /* the first link ever */
                growth += now - before;
        *ret_changing = is_changing;
        *ret_growth = growth;
        return 0;
}

/* The same in one transaction. Returns LMDB's error when nothing was written. */
static int group_write(Store *s, StoreBatch *first, const StoreBatch *end) {
        bool is_changing;
        uint64_t growth;
        MDB_txn *txn;
        int r;

        r = mdb_txn_begin(s->env, NULL, 0, &txn);
        if (r != 0)
                return r;
        r = group_apply(s, txn, first, end, &is_changing, &growth);
        /* A file system that cannot reserve is taken as it is. */
        if (r == 0 && growth > 0 && disk_reserve(s, growth + STORE_DISK_RESERVE) == ENOSPC)
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

static void group_commit(Store *s, StoreBatch *group) {
        size_t weight = 0;
        int r;

        for (StoreBatch *b = group; b; b = b->next)
                weight += b->weight;
        r = group_write(s, group, NULL);
        if (r == 0)
                return;

        int result = writer_judge(s, r, weight);
        if (!group->next) {
                group->result = result;
                return;
        }
        for (StoreBatch *b = group; b; b = b->next) {
                r = group_write(s, b, b->next);
                if (r != 0)
                        b->result = writer_judge(s, r, b->weight);
        }
}

/* Cuts the next group off the queue. Called with the mutex held and the queue not empty. */
static StoreBatch *queue_take_group(Store *s, StoreBatch **ret_last) {
        StoreBatch *first = s->queued, *last = first;
        size_t weight = first->weight;

        for (unsigned n = 1; last->next && n < GROUP_BATCHES_MAX; n++) {
                weight += last->next->weight;
                if (weight > GROUP_BYTES_MAX)
                        break;
                last = last->next;
        }
        s->queued = TAKE_PTR(last->next);
        if (!s->queued)
                s->queued_end = &s->queued;
        *ret_last = last;
        return first;
}

static void *writer_thread(void *userdata) {
        Store *s = userdata;

        (void)pthread_mutex_lock(&s->mutex);
        for (;;) {
                StoreBatch *group, *last;

                while (!s->queued && !s->is_stopping)
                        (void)pthread_cond_wait(&s->wake, &s->mutex);
                if (!s->queued)
                        break;
                group = queue_take_group(s, &last);
                (void)pthread_mutex_unlock(&s->mutex);

                group_commit(s, group);

                (void)pthread_mutex_lock(&s->mutex);
                *s->finished_end = group;
                s->finished_end = &last->next;
                (void)eventfd_write(s->done_fd, 1);
        }
        (void)pthread_mutex_unlock(&s->mutex);
        return NULL;
}

/* Calls the callbacks of what has been committed, in order. A callback may queue more; that is for a later turn. */
static void finished_dispatch(Store *s) {
        StoreBatch *list;

        (void)pthread_mutex_lock(&s->mutex);
        list = TAKE_PTR(s->finished);
        s->finished_end = &s->finished;
        (void)pthread_mutex_unlock(&s->mutex);

        while (list) {
                StoreBatch *b = list;

                list = TAKE_PTR(b->next);
                if (b->done)
                        b->done(b->result, b->userdata);
                (void)store_batch_free(b);
        }
}

static int writer_on_done(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        eventfd_t n;

        (void)eventfd_read(fd, &n);
        finished_dispatch(userdata);
        return 0;
}

int writer_start(Store *s, sd_event *event) {
        sigset_t all, before;
        int r;

        s->queued_end = &s->queued;
        s->finished_end = &s->finished;
        s->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (s->done_fd < 0)
                return -errno;
        r = sd_event_add_io(event, &s->done_source, s->done_fd, EPOLLIN, writer_on_done, s);
        if (r < 0)
                return r;
        (void)sd_event_source_set_description(s->done_source, "store-done");

        /* The loop's signalfd is to get the signals. With SIGXFSZ blocked here a file size limit is EFBIG and no more; the
         * synchronous ones stay open for crash handlers. */
        (void)sigfillset(&all);
        for (size_t i = 0; i < 6; i++)
                (void)sigdelset(&all,
                                ((const int[]){ SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP })[i]);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&s->writer, NULL, writer_thread, s);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r != 0)
                return -r;
        s->has_writer = true;
        (void)pthread_setname_np(s->writer, "store-writer");
        return 0;
}

void writer_stop(Store *s) {
        if (s->has_writer) {
                (void)pthread_mutex_lock(&s->mutex);
                s->is_stopping = true;
                (void)pthread_cond_signal(&s->wake);
                (void)pthread_mutex_unlock(&s->mutex);
                (void)pthread_join(s->writer, NULL);
                s->has_writer = false;
                finished_dispatch(s);
        }
        s->done_source = sd_event_source_disable_unref(s->done_source);
        s->done_fd = safe_close(s->done_fd);
}

int store_commit_async(Store *s, StoreBatch *batch, StoreCommitted done, void *userdata) {
        assert(pthread_equal(s->loop_thread, pthread_self()));
        /* Only a callback that runs inside store_free() can meet this. */
        if (s->is_stopping) {
                (void)store_batch_free(batch);
                return -ESHUTDOWN;
        }

        batch->next = NULL;
        batch->done = done;
        batch->userdata = userdata;
        (void)pthread_mutex_lock(&s->mutex);
        *s->queued_end = batch;
        s->queued_end = &batch->next;
        (void)pthread_cond_signal(&s->wake);
        (void)pthread_mutex_unlock(&s->mutex);
        return 0;
}

typedef struct CommitWait {
        Fiber *fiber;
        int result;
        bool is_done;
} CommitWait;

static void commit_on_done(int result, void *userdata) {
        CommitWait *wait = userdata;

        wait->result = result;
        wait->is_done = true;
        fiber_resume(wait->fiber, 0);
}

int store_commit(Store *s, StoreBatch *batch) {
        CommitWait wait = { .fiber = fiber_current() };
        int r;

        assert(wait.fiber);
        r = store_commit_async(s, batch, commit_on_done, &wait);
        if (r < 0)
                return r;
        while (!wait.is_done)
                (void)fiber_suspend_uncancellable();
        return wait.result;
}
