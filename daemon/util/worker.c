/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One thread and a queue. A job sees only its own userdata, which the waiting fiber keeps alive; the lock guards the
 * queue and nothing else. The loop is woken through an eventfd.
 *
 * A name service may hang for good, and a thread cannot be cut off inside a C library. So a wait can have an end: the
 * job is then given up, lives on alone with its userdata, and is freed when it comes back. Until then the thread is
 * taken for stuck, and who asks next is told so at once.
 *
 * Who may call: the loop's thread. */

#include <assert.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "util/fiber.h"
#include "util/worker.h"

typedef struct Job {
        struct Job *next;
        int (*run)(void *userdata);
        void *userdata;
        Fiber *fiber;                          /* loop: who waits; NULL: given up */
        void (*free_userdata)(void *userdata); /* of a job that is given up */
        int result;
        bool is_done;
} Job;

struct Worker {
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t wake;
        bool has_thread, is_closing;
        Job *todo, **todo_tail;
        Job *done, **done_tail;
        int event_fd;
        sd_event_source *source;
        unsigned n_given_up; /* loop: jobs that nobody waits for any more and that are not back */
};

static void *worker_thread(void *userdata) {
        Worker *w = userdata;

        pthread_mutex_lock(&w->lock);
        for (;;) {
                while (!w->todo && !w->is_closing)
                        pthread_cond_wait(&w->wake, &w->lock);
                Job *job = w->todo;
                if (!job)
                        break;
                w->todo = job->next;
                if (!w->todo)
                        w->todo_tail = &w->todo;
                pthread_mutex_unlock(&w->lock);

                job->result = job->run(job->userdata);

                pthread_mutex_lock(&w->lock);
                job->next = NULL;
                *w->done_tail = job;
                w->done_tail = &job->next;
                (void)eventfd_write(w->event_fd, 1);
        }
        pthread_mutex_unlock(&w->lock);
        return NULL;
}

static void job_free(Job *job) {
        if (job->userdata && job->free_userdata)
                job->free_userdata(job->userdata);
        free(job);
}

static int worker_on_event(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Worker *w = userdata;
        eventfd_t value;

        (void)eventfd_read(fd, &value);
        pthread_mutex_lock(&w->lock);
        Job *job = w->done;
        w->done = NULL;
        w->done_tail = &w->done;
        pthread_mutex_unlock(&w->lock);
        while (job) {
                Job *next = job->next;

                job->is_done = true;
                if (job->fiber)
                        fiber_resume(job->fiber, 0);
                else {
                        w->n_given_up--;
                        job_free(job);
                }
                job = next;
        }
        return 0;
}

int worker_new(sd_event *event, Worker **ret) {
        _cleanup_(worker_freep) Worker *w = calloc(1, sizeof(Worker));
        int r;

        if (!w)
                return -ENOMEM;
        pthread_mutex_init(&w->lock, NULL);
        pthread_cond_init(&w->wake, NULL);
        w->todo_tail = &w->todo;
        w->done_tail = &w->done;
        w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (w->event_fd < 0)
                return -errno;
        r = sd_event_add_io(event, &w->source, w->event_fd, EPOLLIN, worker_on_event, w);
        if (r < 0)
                return r;
        r = pthread_create(&w->thread, NULL, worker_thread, w);
        if (r > 0)
                return -r;
        w->has_thread = true;
        *ret = TAKE_PTR(w);
        return 0;
}

Worker *worker_free(Worker *w) {
        if (!w)
                return NULL;
        if (w->has_thread) {
                pthread_mutex_lock(&w->lock);
                w->is_closing = true;
                pthread_cond_signal(&w->wake);
                pthread_mutex_unlock(&w->lock);
                if (w->n_given_up > 0) {
                        /* It may never come back; what it works on has to stay, until the process ends. */
                        (void)pthread_detach(w->thread);
                        (void)sd_event_source_disable_unref(w->source);
                        return NULL;
                }
                (void)pthread_join(w->thread, NULL);
        }
        sd_event_source_disable_unref(w->source);
        (void)safe_close(w->event_fd);
        pthread_cond_destroy(&w->wake);
        pthread_mutex_destroy(&w->lock);
        free(w);
        return NULL;
}

static void worker_queue(Worker *w, Job *job) {
        assert(job->fiber);
        pthread_mutex_lock(&w->lock);
        *w->todo_tail = job;
        w->todo_tail = &job->next;
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->lock);
}

typedef struct Timeout {
        Fiber *fiber;
        bool has_come;
} Timeout;

static int worker_on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Timeout *timeout = userdata;

        timeout->has_come = true;
        fiber_resume(timeout->fiber, 0);
        return 0;
}

int worker_run_within(Worker *w, uint64_t timeout_usec, int (*run)(void *userdata), void **userdata,
                void (*done)(void *userdata)) {
        Timeout timeout = { .fiber = fiber_current() };
        sd_event_source *timer = NULL;
        Job *job;
        int r;

        if (w->n_given_up > 0)
                return -ETIMEDOUT;
        job = calloc(1, sizeof(Job));
        if (!job)
                return -ENOMEM;
        *job = (Job){ .run = run, .userdata = *userdata, .fiber = timeout.fiber, .free_userdata = done };
        r = sd_event_add_time_relative(fiber_event(timeout.fiber), &timer, CLOCK_MONOTONIC, timeout_usec, 0,
                        worker_on_timeout, &timeout);
        if (r < 0) {
                free(job);
                return r;
        }
        worker_queue(w, job);
        while (!job->is_done && !timeout.has_come)
                (void)fiber_suspend_uncancellable();
        sd_event_source_disable_unref(timer);
        if (!job->is_done) {
                job->fiber = NULL;
                *userdata = NULL;
                w->n_given_up++;
                return -ETIMEDOUT;
        }
        r = job->result;
        free(job);
        return r;
}

int worker_run(Worker *w, int (*run)(void *userdata), void *userdata) {
        Job job = { .run = run, .userdata = userdata, .fiber = fiber_current() };

        worker_queue(w, &job);
        while (!job.is_done)
                (void)fiber_suspend_uncancellable();
        return job.result;
}
