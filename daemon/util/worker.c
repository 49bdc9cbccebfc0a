/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One thread and a queue. A job sees only its own userdata, which the waiting fiber keeps alive; the lock guards the
 * queue and nothing else. The loop is woken through an eventfd. */

#include <assert.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "util/fiber.h"
#include "util/worker.h"

typedef struct Job {
        struct Job *next;
        int (*run)(void *userdata);
        void *userdata;
        Fiber *fiber;
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
                fiber_resume(job->fiber, 0);
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
                (void)pthread_join(w->thread, NULL);
        }
        sd_event_source_disable_unref(w->source);
        (void)safe_close(w->event_fd);
        pthread_cond_destroy(&w->wake);
        pthread_mutex_destroy(&w->lock);
        free(w);
        return NULL;
}

int worker_run(Worker *w, int (*run)(void *userdata), void *userdata) {
        Job job = { .run = run, .userdata = userdata, .fiber = fiber_current() };

        assert(job.fiber);
        pthread_mutex_lock(&w->lock);
        *w->todo_tail = &job;
        w->todo_tail = &job.next;
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->lock);
        while (!job.is_done)
                (void)fiber_suspend_uncancellable();
        return job.result;
}
