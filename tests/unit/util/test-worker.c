/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The worker thread: jobs run elsewhere and in order, the loop goes on meanwhile, and no cancellation leaves a job without
 * the memory that it works on. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <time.h>

#include "util/fiber.h"
#include "util/worker.h"

typedef struct Work {
        Worker *worker;
        pthread_t thread;
        atomic_bool may_end;
        unsigned *queued, *order;
        unsigned place, number;
        int result;
        bool is_done;
} Work;

static int job(void *userdata) {
        Work *w = userdata;

        w->thread = pthread_self();
        while (!w->may_end)
                (void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        if (w->order)
                w->number = ++*w->order;
        return -42;
}

static int entry(void *userdata) {
        Work *w = userdata;

        /* The loop starts fibers in an order of its own. */
        if (w->queued)
                w->place = ++*w->queued;
        return worker_run(w->worker, job, w);
}

static void done(int result, void *userdata) {
        Work *w = userdata;

        w->result = result;
        w->is_done = true;
}

static void spawn(sd_event *event, Work *w, Fiber **ret) {
        assert_int_equal(fiber_spawn(event, entry, done, w, ret), 0);
}

static void run_until_done(sd_event *event, const Work *w) {
        while (!w->is_done)
                assert_true(sd_event_run(event, 5 * USEC_PER_SEC) > 0);
}

static sd_event *setup_event(Worker **ret_worker) {
        sd_event *event = NULL;

        assert_int_equal(sd_event_new(&event), 0);
        assert_int_equal(worker_new(event, ret_worker), 0);
        return event;
}

static void job_runs_on_another_thread_and_its_result_comes_back(void **state) {
        Worker *worker = NULL;
        sd_event *event = setup_event(&worker);
        Work w = { .worker = worker, .may_end = true };

        spawn(event, &w, NULL);
        run_until_done(event, &w);
        assert_int_equal(w.result, -42);
        assert_false(pthread_equal(w.thread, pthread_self()));
        assert_null(worker_free(worker));
        sd_event_unref(event);
}

static void jobs_run_in_order(void **state) {
        Worker *worker = NULL;
        sd_event *event = setup_event(&worker);
        unsigned queued = 0, order = 0;
        Work works[20];

        for (size_t i = 0; i < ELEMENTSOF(works); i++) {
                works[i] = (Work){ .worker = worker, .may_end = true, .queued = &queued, .order = &order };
                spawn(event, &works[i], NULL);
        }
        for (size_t i = 0; i < ELEMENTSOF(works); i++)
                run_until_done(event, &works[i]);
        for (size_t i = 0; i < ELEMENTSOF(works); i++)
                assert_int_equal(works[i].number, works[i].place);
        assert_int_equal(order, ELEMENTSOF(works));
        (void)worker_free(worker);
        sd_event_unref(event);
}

static void loop_goes_on_and_cancel_waits_for_the_job(void **state) {
        Worker *worker = NULL;
        sd_event *event = setup_event(&worker);
        Work w = { .worker = worker };
        Fiber *fiber = NULL;

        spawn(event, &w, &fiber);
        for (unsigned i = 0; i < 20; i++)
                assert_true(sd_event_run(event, USEC_PER_MSEC) >= 0);
        assert_false(w.is_done);
        fiber_cancel(fiber);
        for (unsigned i = 0; i < 20; i++)
                assert_true(sd_event_run(event, USEC_PER_MSEC) >= 0);
        /* The job still works on w. */
        assert_false(w.is_done);
        w.may_end = true;
        run_until_done(event, &w);
        assert_int_equal(w.result, -42);
        (void)worker_free(worker);
        sd_event_unref(event);
}

static unsigned n_given_back;

static void give_back(void *userdata) {
        n_given_back++;
        free(userdata);
}

typedef struct Wait {
        Worker *worker;
        Work *work;
        uint64_t timeout_usec;
        int result;
        bool is_done, is_kept; /* userdata stayed with the caller */
} Wait;

static int entry_within(void *userdata) {
        Wait *wait = userdata;
        void *work = wait->work;
        int r = worker_run_within(wait->worker, wait->timeout_usec, job, &work, give_back);

        wait->is_kept = work == wait->work;
        return r;
}

static void done_within(int result, void *userdata) {
        Wait *wait = userdata;

        wait->result = result;
        wait->is_done = true;
}

static void wait_within(sd_event *event, Wait *wait) {
        assert_int_equal(fiber_spawn(event, entry_within, done_within, wait, NULL), 0);
        while (!wait->is_done)
                assert_true(sd_event_run(event, 5 * USEC_PER_SEC) > 0);
}

static void a_job_that_comes_back_in_time_leaves_its_memory_to_the_caller(void **state) {
        Worker *worker = NULL;
        sd_event *event = setup_event(&worker);
        Work work = { .may_end = true };
        Wait wait = { .worker = worker, .work = &work, .timeout_usec = 5 * USEC_PER_SEC };

        wait_within(event, &wait);
        assert_int_equal(wait.result, -42);
        assert_true(wait.is_kept);
        (void)worker_free(worker);
        sd_event_unref(event);
}

static void a_job_that_is_given_up_is_freed_when_it_comes_back_and_holds_up_nobody(void **state) {
        Worker *worker = NULL;
        sd_event *event = setup_event(&worker);
        Work *stuck = calloc(1, sizeof(Work)), next = { .may_end = true };
        Wait first = { .worker = worker, .work = stuck, .timeout_usec = 20 * USEC_PER_MSEC };
        Wait second = { .worker = worker, .work = &next, .timeout_usec = 5 * USEC_PER_SEC }, third = second;

        assert_non_null(stuck);
        n_given_back = 0;
        wait_within(event, &first);
        assert_int_equal(first.result, -ETIMEDOUT);
        assert_false(first.is_kept);
        /* At once, and without having been queued. */
        wait_within(event, &second);
        assert_int_equal(second.result, -ETIMEDOUT);
        assert_true(second.is_kept);
        assert_int_equal(n_given_back, 0);

        stuck->may_end = true;
        while (n_given_back == 0)
                assert_true(sd_event_run(event, 5 * USEC_PER_SEC) > 0);
        wait_within(event, &third);
        assert_int_equal(third.result, -42);
        (void)worker_free(worker);
        sd_event_unref(event);
}

static void idle_worker_ends(void **state) {
        Worker *worker = NULL;
        sd_event *event = setup_event(&worker);

        assert_null(worker_free(worker));
        assert_null(worker_free(NULL));
        sd_event_unref(event);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(job_runs_on_another_thread_and_its_result_comes_back),
                cmocka_unit_test(jobs_run_in_order),
                cmocka_unit_test(loop_goes_on_and_cancel_waits_for_the_job),
                cmocka_unit_test(a_job_that_comes_back_in_time_leaves_its_memory_to_the_caller),
                cmocka_unit_test(a_job_that_is_given_up_is_freed_when_it_comes_back_and_holds_up_nobody),
                cmocka_unit_test(idle_worker_ends),
        };

        return cmocka_run_group_tests_name("util-worker", tests, NULL, NULL);
}
