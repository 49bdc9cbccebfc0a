/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The store's writing side: one thread that commits queued batches in groups.
 *
 * Why a thread: a durable commit waits about 0.3 ms for the disk, at times much longer, and the loop never waits. Why
 * groups: everything that queues up while the disk is busy shares the next sync.
 *
 * Those whose batches were just committed often come with their next ones, one after the other; a writer that takes the first of
 * them alone to the disk lets the rest wait for two syncs. So when the last group had several, the thread waits for as many
 * again, a moment that is short beside a sync. A lone writer waits for nobody.
 *
 * Invariants: batches take effect in queue order and their callbacks are called in that order, from the loop; a
 * callback's 0 means that the batch is on disk (as far as the body has one); a batch is applied wholly or not at all.
 *
 * Who may call: the loop's thread. */

#include <assert.h>
#include <limits.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "store/internal.h"
#include "util/fiber.h"

/* Bounds of one transaction: far below LMDB's limit of dirty pages, so that it never spills. */
#define GROUP_BATCHES_MAX 1024U
#define GROUP_BYTES_MAX   (8U * 1024U * 1024U)
#define GATHER_USEC       200U
/* Callbacks in one turn of the loop. Those of a large group take a tenth of a millisecond together, which whoever calls meanwhile
 * would wait. */
#define CALLBACKS_PER_TURN 4U

/* Waits, with the mutex held and the queue not empty, until there are that many, but not for long. */
static void queue_gather(Store *s, unsigned n) {
        struct timespec until;

        s->n_wanted = n;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += GATHER_USEC * 1000;
        if (until.tv_nsec >= 1000000000) {
                until.tv_nsec -= 1000000000;
                until.tv_sec++;
        }
        while (s->n_queued < n && !s->is_stopping &&
                        pthread_cond_clockwait(&s->wake, &s->mutex, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
                ;
        s->n_wanted = 1;
}

/* Cuts the next group off the queue. Called with the mutex held and the queue not empty. */
static StoreBatch *queue_take_group(Store *s, StoreBatch **ret_last, unsigned *ret_n) {
        StoreBatch *first = s->queued, *last = first;
        size_t weight = first->weight;
        unsigned n;

        for (n = 1; last->next && n < GROUP_BATCHES_MAX; n++) {
                weight += last->next->weight;
                if (weight > GROUP_BYTES_MAX)
                        break;
                last = last->next;
        }
        s->queued = TAKE_PTR(last->next);
        if (!s->queued)
                s->queued_end = &s->queued;
        s->n_queued -= n;
        *ret_n = n;
        *ret_last = last;
        return first;
}

static void *writer_thread(void *userdata) {
        Store *s = userdata;
        unsigned n = 1;

        (void)pthread_mutex_lock(&s->mutex);
        for (;;) {
                StoreBatch *group, *last;

                while (!s->queued && !s->is_stopping)
                        (void)pthread_cond_wait(&s->wake, &s->mutex);
                if (!s->queued)
                        break;
                if (s->n_queued < n)
                        queue_gather(s, n);
                group = queue_take_group(s, &last, &n);
                (void)pthread_mutex_unlock(&s->mutex);

                s->body->commit(s, group);

                (void)pthread_mutex_lock(&s->mutex);
                *s->finished_end = group;
                s->finished_end = &last->next;
                (void)pthread_mutex_unlock(&s->mutex);
                /* Unlocked: the loop that it wakes may run at once, in this thread's place, and wants the mutex. */
                (void)eventfd_write(s->done_fd, 1);
                (void)pthread_mutex_lock(&s->mutex);
        }
        (void)pthread_mutex_unlock(&s->mutex);
        return NULL;
}

/* Calls the callbacks of what has been committed, in order, n at most; whether some are left. A callback may queue more; that is for a
 * later turn. */
static bool finished_dispatch(Store *s, unsigned n) {
        bool are_left;

        if (!s->called) {
                (void)pthread_mutex_lock(&s->mutex);
                s->called = TAKE_PTR(s->finished);
                s->finished_end = &s->finished;
                (void)pthread_mutex_unlock(&s->mutex);
        }
        for (; s->called && n > 0; n--) {
                StoreBatch *b = s->called;

                s->called = TAKE_PTR(b->next);
                if (b->done)
                        b->done(b->result, b->userdata);
                (void)store_batch_free(b);
                s->n_in_flight--;
        }
        if (s->n_in_flight == 0 && s->exclusive)
                fiber_resume(s->exclusive, 0);
        if (s->called)
                return true;
        (void)pthread_mutex_lock(&s->mutex);
        are_left = s->finished;
        (void)pthread_mutex_unlock(&s->mutex);
        return are_left;
}

static int writer_on_done(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Store *s = userdata;
        eventfd_t n;

        (void)eventfd_read(fd, &n);
        if (finished_dispatch(s, CALLBACKS_PER_TURN))
                (void)eventfd_write(fd, 1);
        if (s->changed)
                s->changed(s->changed_userdata);
        return 0;
}

int writer_start(Store *s, sd_event *event) {
        sigset_t all, before;
        int r;

        s->queued_end = &s->queued;
        s->finished_end = &s->finished;
        s->held_end = &s->held;
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
                while (finished_dispatch(s, UINT_MAX))
                        ;
        }
        s->done_source = sd_event_source_disable_unref(s->done_source);
        s->done_fd = safe_close(s->done_fd);
}

void store_watch(Store *s, void (*changed)(void *userdata), void *userdata) {
        s->changed = changed;
        s->changed_userdata = userdata;
}

void store_set_frozen(Store *s, bool is_frozen) {
        s->is_frozen = is_frozen;
}

static void queue_append(Store *s, StoreBatch *batch) {
        bool is_wanted;

        s->n_in_flight++;
        (void)pthread_mutex_lock(&s->mutex);
        *s->queued_end = batch;
        s->queued_end = &batch->next;
        is_wanted = ++s->n_queued >= s->n_wanted;
        (void)pthread_mutex_unlock(&s->mutex);
        if (is_wanted)
                (void)pthread_cond_signal(&s->wake);
}

int store_commit_async(Store *s, StoreBatch *batch, StoreCommitted done, void *userdata) {
        assert(pthread_equal(s->loop_thread, pthread_self()));
        /* Only a callback that runs inside store_free() can meet the first. */
        if (s->is_stopping || s->is_frozen) {
                (void)store_batch_free(batch);
                return -ESHUTDOWN;
        }

        batch->next = NULL;
        batch->done = done;
        batch->userdata = userdata;
        if (s->exclusive) {
                *s->held_end = batch;
                s->held_end = &batch->next;
        } else
                queue_append(s, batch);
        return 0;
}

int store_exclusive(Store *s, int (*function)(void *userdata), void *userdata) {
        StoreBatch *held;
        int r;

        while (s->is_exclusive) {
                r = fiber_sleep(USEC_PER_MSEC);
                if (r < 0)
                        return r;
        }
        s->is_exclusive = true;
        s->exclusive = fiber_current();
        assert(s->exclusive);
        while (s->n_in_flight > 0)
                (void)fiber_suspend_uncancellable();
        s->exclusive = NULL;
        r = function(userdata);
        held = TAKE_PTR(s->held);
        s->held_end = &s->held;
        while (held) {
                StoreBatch *b = held;

                held = TAKE_PTR(b->next);
                queue_append(s, b);
        }
        s->is_exclusive = false;
        return r;
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

typedef struct ExclusiveCommit {
        Store *store;
        int (*build)(StoreBatch *batch, void *userdata);
        void *userdata;
        CommitWait wait;
} ExclusiveCommit;

static int exclusive_commit_now(void *userdata) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        ExclusiveCommit *c = userdata;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = c->build(batch, c->userdata);
        return r < 0 ? r : store_commit_async(c->store, TAKE_PTR(batch), commit_on_done, &c->wait);
}

int store_commit_exclusive(Store *s, int (*build)(StoreBatch *batch, void *userdata), void *userdata) {
        ExclusiveCommit c = { s, build, userdata, { .fiber = fiber_current() } };
        int r;

        r = store_exclusive(s, exclusive_commit_now, &c);
        if (r < 0)
                return r;
        while (!c.wait.is_done)
                (void)fiber_suspend_uncancellable();
        return c.wait.result;
}
