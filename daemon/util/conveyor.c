/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A thread with a queue of bytes in each direction.
 *
 * It is for work that goes on for seconds or minutes (a backup), which would keep the one worker thread from the short jobs
 * that logins wait for. The thread may wait; the loop never does: it is woken through an eventfd and looks at what has
 * changed. What waits is bounded on the thread's side by its waiting, and on the loop's by asking conveyor_is_full() and
 * reading no more from whoever sends.
 *
 * Invariants: only the mutex's holder touches the queues and flags. After has_ended the thread touches nothing. Signals are the
 * loop's.
 *
 * Who may call: as the header says. */

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>

#include "util/buffer.h"
#include "util/conveyor.h"

struct Conveyor {
        pthread_t thread;
        pthread_mutex_t mutex;
        pthread_cond_t changed; /* for the thread; on CLOCK_MONOTONIC */
        bool has_thread;
        int event_fd;
        sd_event_source *source;
        size_t room;
        int (*work)(Conveyor *c, void *userdata);
        void (*wake)(void *userdata);
        void *userdata;
        /* Under the mutex: */
        Buffer out, in; /* from the thread, to the thread */
        bool is_in_complete, is_cancelled, has_ended;
        int result;
};

static void lock(Conveyor *c) {
        (void)pthread_mutex_lock(&c->mutex);
}

static void unlock(Conveyor *c) {
        (void)pthread_mutex_unlock(&c->mutex);
}

static void *conveyor_thread(void *userdata) {
        Conveyor *c = userdata;
        int r = c->work(c, c->userdata);

        lock(c);
        c->result = r;
        c->has_ended = true;
        conveyor_wake(c);
        unlock(c);
        return NULL;
}

static int conveyor_on_event(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Conveyor *c = userdata;
        eventfd_t n;

        (void)eventfd_read(fd, &n);
        c->wake(c->userdata); /* may free c */
        return 0;
}

static int thread_start(Conveyor *c) {
        sigset_t all, before;
        int r;

        /* As the store's writer: signals are the loop's, but for the synchronous ones. */
        (void)sigfillset(&all);
        for (size_t i = 0; i < 6; i++)
                (void)sigdelset(&all,
                                ((const int[]){ SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP })[i]);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&c->thread, NULL, conveyor_thread, c);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r != 0)
                return -r;
        c->has_thread = true;
        (void)pthread_setname_np(c->thread, "conveyor");
        return 0;
}

int conveyor_new(sd_event *event, size_t room, int (*work)(Conveyor *c, void *userdata),
                void (*wake)(void *userdata), void *userdata, Conveyor **ret) {
        _cleanup_(conveyor_freep) Conveyor *c = calloc(1, sizeof(Conveyor));
        pthread_condattr_t attributes;
        int r;

        if (!c)
                return -ENOMEM;
        c->room = room;
        c->work = work;
        c->wake = wake;
        c->userdata = userdata;
        (void)pthread_mutex_init(&c->mutex, NULL);
        (void)pthread_condattr_init(&attributes);
        (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        (void)pthread_cond_init(&c->changed, &attributes);
        (void)pthread_condattr_destroy(&attributes);
        c->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (c->event_fd < 0)
                return -errno;
        r = sd_event_add_io(event, &c->source, c->event_fd, EPOLLIN, conveyor_on_event, c);
        if (r >= 0)
                r = thread_start(c);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

Conveyor *conveyor_free(Conveyor *c) {
        if (!c)
                return NULL;
        if (c->has_thread) {
                conveyor_cancel(c);
                (void)pthread_join(c->thread, NULL);
        }
        (void)sd_event_source_disable_unref(c->source);
        (void)safe_close(c->event_fd);
        buffer_done(&c->out);
        buffer_done(&c->in);
        (void)pthread_cond_destroy(&c->changed);
        (void)pthread_mutex_destroy(&c->mutex);
        free(c);
        return NULL;
}

static size_t buffer_move(Buffer *b, void *ret, size_t n) {
        n = MIN(n, b->size);
        if (n > 0)
                memcpy(ret, b->bytes, n);
        buffer_consume(b, n);
        return n;
}

size_t conveyor_take(Conveyor *c, void *ret, size_t n) {
        lock(c);
        n = buffer_move(&c->out, ret, n);
        (void)pthread_cond_signal(&c->changed);
        unlock(c);
        return n;
}

int conveyor_give(Conveyor *c, const void *bytes, size_t n) {
        int r;

        lock(c);
        r = buffer_append(&c->in, bytes, n);
        (void)pthread_cond_signal(&c->changed);
        unlock(c);
        return r;
}

bool conveyor_is_full(Conveyor *c) {
        bool is_full;

        lock(c);
        is_full = c->in.size > c->room;
        unlock(c);
        return is_full;
}

void conveyor_give_end(Conveyor *c) {
        lock(c);
        c->is_in_complete = true;
        (void)pthread_cond_signal(&c->changed);
        unlock(c);
}

void conveyor_cancel(Conveyor *c) {
        lock(c);
        c->is_cancelled = true;
        (void)pthread_cond_signal(&c->changed);
        unlock(c);
}

void conveyor_wake(Conveyor *c) {
        (void)eventfd_write(c->event_fd, 1);
}

bool conveyor_has_ended(Conveyor *c, int *ret_result) {
        bool has_ended;

        lock(c);
        has_ended = c->has_ended && c->out.size == 0;
        if (has_ended)
                *ret_result = c->result;
        unlock(c);
        return has_ended;
}

static struct timespec deadline_of(uint64_t timeout_usec) {
        struct timespec t;

        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        t.tv_sec += (time_t)(timeout_usec / USEC_PER_SEC);
        t.tv_nsec += (long)(timeout_usec % USEC_PER_SEC) * 1000;
        if (t.tv_nsec >= 1000000000L) {
                t.tv_nsec -= 1000000000L;
                t.tv_sec++;
        }
        return t;
}

int conveyor_put(Conveyor *c, const void *bytes, size_t n, uint64_t timeout_usec) {
        struct timespec deadline = deadline_of(timeout_usec);
        int r = 0;

        lock(c);
        while (c->out.size > 0 && c->out.size + n > c->room && !c->is_cancelled && r == 0)
                r = -pthread_cond_timedwait(&c->changed, &c->mutex, &deadline);
        if (c->is_cancelled)
                r = -ECANCELED;
        else if (c->out.size == 0 || c->out.size + n <= c->room)
                r = buffer_append(&c->out, bytes, n);
        conveyor_wake(c);
        unlock(c);
        return r;
}

ssize_t conveyor_get(Conveyor *c, void *ret, size_t n, uint64_t timeout_usec) {
        struct timespec deadline = deadline_of(timeout_usec);
        int r = 0;

        lock(c);
        while (c->in.size == 0 && !c->is_in_complete && !c->is_cancelled && r == 0)
                r = -pthread_cond_timedwait(&c->changed, &c->mutex, &deadline);
        if (c->is_cancelled) {
                unlock(c);
                return -ECANCELED;
        }
        bool has_some = c->in.size > 0 || c->is_in_complete;
        n = buffer_move(&c->in, ret, n);
        conveyor_wake(c);
        unlock(c);
        return has_some ? (ssize_t)n : r;
}
