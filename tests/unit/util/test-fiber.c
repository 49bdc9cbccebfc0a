/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fibers: every wait ends exactly as promised, whatever order resume, cancel and the loop come in. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/clock.h"
#include "util/fiber.h"

typedef struct Run {
        sd_event *event;
        Fiber *fiber;
        int (*body)(struct Run *run);
        int results[8];
        unsigned n_results;
        int done_result;
        bool is_done;
} Run;

static void note(Run *run, int value) {
        assert_true(run->n_results < ELEMENTSOF(run->results));
        run->results[run->n_results++] = value;
}

static int entry(void *userdata) {
        Run *run = userdata;

        assert_ptr_equal(fiber_current(), run->fiber);
        assert_ptr_equal(fiber_event(run->fiber), run->event);
        return run->body(run);
}

static void done(int result, void *userdata) {
        Run *run = userdata;

        assert_null(fiber_current());
        assert_false(run->is_done);
        run->is_done = true;
        run->done_result = result;
        run->fiber = NULL;
}

static void start(Run *run, int (*body)(Run *run)) {
        run->body = body;
        assert_int_equal(fiber_spawn(run->event, entry, done, run, &run->fiber), 0);
        assert_int_equal(run->n_results, 0); /* it starts at the next turn, not here */
}

/* One turn of the loop; false when nothing was to do. */
static bool turn(Run *run) {
        int r = sd_event_run(run->event, 0);

        assert_true(r >= 0);
        return r > 0;
}

static void turn_all(Run *run) {
        while (turn(run))
                ;
}

static void run_init(Run *run) {
        *run = (Run){};
        assert_int_equal(sd_event_new(&run->event), 0);
}

static void run_end(Run *run) {
        assert_true(run->is_done);
        assert_int_equal(fiber_cancel_all(), 0); /* none is left */
        assert_int_equal(fiber_current() != NULL, 0);
        sd_event_unref(run->event);
}

static int suspend_three_times(Run *run) {
        for (unsigned i = 0; i < 3; i++)
                note(run, fiber_suspend());
        return 7;
}

static void each_resume_carries_its_value(void **state) {
        Run run;

        run_init(&run);
        start(&run, suspend_three_times);
        turn_all(&run);
        for (int value = 10; value < 13; value++) {
                assert_false(run.is_done);
                fiber_resume(run.fiber, value);
                assert_int_equal(run.n_results, value - 10); /* not before the loop turns */
                turn_all(&run);
        }
        assert_int_equal(run.results[0], 10);
        assert_int_equal(run.results[1], 11);
        assert_int_equal(run.results[2], 12);
        assert_int_equal(run.done_result, 7);
        run_end(&run);
}

static void second_resume_before_the_turn_is_ignored(void **state) {
        Run run;

        run_init(&run);
        start(&run, suspend_three_times);
        turn_all(&run);
        fiber_resume(run.fiber, 1);
        fiber_resume(run.fiber, 2);
        turn_all(&run);
        assert_int_equal(run.n_results, 1);
        assert_int_equal(run.results[0], 1);
        fiber_cancel(run.fiber);
        turn_all(&run);
        run_end(&run);
}

static void cancel_ends_this_wait_and_every_later_one(void **state) {
        Run run;

        run_init(&run);
        start(&run, suspend_three_times);
        turn_all(&run);
        assert_false(fiber_is_cancelled(run.fiber));
        fiber_cancel(run.fiber);
        assert_true(fiber_is_cancelled(run.fiber));
        turn_all(&run);
        assert_int_equal(run.n_results, 3);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(run.results[i], -ECANCELED);
        assert_int_equal(run.done_result, 7);
        run_end(&run);
}

static void cancel_while_queued_is_not_lost(void **state) {
        Run run;

        /* Before its first turn. */
        run_init(&run);
        start(&run, suspend_three_times);
        fiber_cancel(run.fiber);
        turn_all(&run);
        assert_int_equal(run.n_results, 3);
        assert_int_equal(run.results[0], -ECANCELED);
        run_end(&run);

        /* Between the resume and the turn. */
        run_init(&run);
        start(&run, suspend_three_times);
        turn_all(&run);
        fiber_resume(run.fiber, 5);
        fiber_cancel(run.fiber);
        turn_all(&run);
        assert_int_equal(run.results[0], -ECANCELED);
        assert_true(run.is_done);
        run_end(&run);
}

static int suspend_uncancellable(Run *run) {
        note(run, fiber_suspend_uncancellable());
        note(run, fiber_suspend());
        return 0;
}

static void uncancellable_wait_ends_by_resume_alone(void **state) {
        Run run;

        run_init(&run);
        start(&run, suspend_uncancellable);
        turn_all(&run);
        fiber_cancel(run.fiber);
        turn_all(&run);
        assert_int_equal(run.n_results, 0);
        fiber_resume(run.fiber, 9);
        turn_all(&run);
        assert_int_equal(run.n_results, 2);
        assert_int_equal(run.results[0], 9);
        assert_int_equal(run.results[1], -ECANCELED); /* the cancellation was only put off */
        run_end(&run);
}

static int sleep_briefly(Run *run) {
        int r = 0;

        for (unsigned i = 0; i < 40 && r == 0; i++)
                r = fiber_sleep(0);
        for (unsigned i = 0; i < 40 && r == 0; i++)
                r = fiber_sleep(USEC_PER_MSEC);
        note(run, r);
        return 0;
}

/* Who goes through a million records sleeps between a few and the next. */
static void short_sleeps_are_short(void **state) {
        uint64_t begin = now_monotonic();
        Run run;

        run_init(&run);
        start(&run, sleep_briefly);
        while (!run.is_done)
                assert_true(sd_event_run(run.event, USEC_PER_SEC) >= 0);
        assert_int_equal(run.results[0], 0);
        assert_true(now_monotonic() - begin < 3 * USEC_PER_SEC);
        run_end(&run);
}

static int sleep_twice(Run *run) {
        note(run, fiber_sleep(20 * USEC_PER_MSEC));
        note(run, fiber_sleep(60 * USEC_PER_SEC));
        return 0;
}

static void sleep_lasts_its_time_and_ends_on_cancel(void **state) {
        uint64_t begin;
        Run run;

        run_init(&run);
        start(&run, sleep_twice);
        begin = now_monotonic();
        while (run.n_results == 0)
                assert_true(sd_event_run(run.event, USEC_PER_SEC) >= 0);
        assert_int_equal(run.results[0], 0);
        assert_true(now_monotonic() - begin >= 20 * USEC_PER_MSEC);
        turn_all(&run);
        fiber_cancel(run.fiber);
        turn_all(&run);
        assert_int_equal(run.results[1], -ECANCELED);
        assert_true(now_monotonic() - begin < 30 * USEC_PER_SEC);
        run_end(&run);
}

/* Deep enough to be noticed if fibers shared a stack. */
static int recurse(unsigned depth) {
        volatile char room[256];

        room[0] = (char)depth;
        if (depth == 0)
                return fiber_suspend();
        return recurse(depth - 1) + (room[0] == (char)depth ? 1 : 1000);
}

static int suspend_deep(Run *run) {
        note(run, recurse(200));
        return 0;
}

static void stacks_are_apart(void **state) {
        Run runs[50];

        for (size_t i = 0; i < ELEMENTSOF(runs); i++) {
                if (i == 0)
                        run_init(&runs[i]);
                else
                        runs[i] = (Run){ .event = runs[0].event };
                start(&runs[i], suspend_deep);
        }
        turn_all(&runs[0]);
        for (size_t i = ELEMENTSOF(runs); i-- > 0;)
                fiber_resume(runs[i].fiber, (int)i * 1000000);
        turn_all(&runs[0]);
        for (size_t i = 0; i < ELEMENTSOF(runs); i++) {
                assert_true(runs[i].is_done);
                assert_int_equal(runs[i].results[0], (int)i * 1000000 + 200);
        }
        run_end(&runs[0]);
}

static void cancel_all_counts_what_lives(void **state) {
        Run runs[3];

        run_init(&runs[0]);
        runs[1] = runs[2] = (Run){ .event = runs[0].event };
        for (size_t i = 0; i < ELEMENTSOF(runs); i++)
                start(&runs[i], suspend_three_times);
        turn_all(&runs[0]);
        assert_int_equal(fiber_cancel_all(), 3);
        turn_all(&runs[0]);
        assert_true(runs[0].is_done && runs[1].is_done && runs[2].is_done);
        run_end(&runs[0]);
}

#define DEEP (100U * 1024U)

/* The stack's own bytes, also those that no frame has at present. */
__attribute__((__noinline__, __no_sanitize__("address"))) static unsigned count_bytes(
                const volatile uint8_t *from, size_t n, uint8_t byte) {
        unsigned found = 0;

        for (size_t i = 0; i < n; i++)
                found += from[i] == byte;
        return found;
}

__attribute__((__noinline__)) static void fill_deep(void) {
        volatile uint8_t bytes[DEEP];

        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = 0xa7;
}

static uintptr_t deep_end; /* about where the frames begin that fill_deep() wrote to */

static int leave_secret(Run *run) {
        uint8_t here = 0;

        deep_end = (uintptr_t)&here - 1024;
        fill_deep();
        note(run, count_bytes((const uint8_t *)(deep_end - DEEP / 2), DEEP / 2, 0xa7) > DEEP / 4);
        return 0;
}

static int look_for_secret(Run *run) {
        uint8_t here = 0;

        uintptr_t end = (uintptr_t)&here - 1024;

        note(run, end > deep_end - 4096 && end < deep_end + 4096); /* on the same stack */
        note(run, (int)count_bytes((const uint8_t *)(deep_end - DEEP), DEEP, 0xa7));
        return 0;
}

static void reused_stack_is_erased(void **state) {
        Run first, second;

        run_init(&first);
        start(&first, leave_secret);
        turn_all(&first);
        run_init(&second);
        start(&second, look_for_secret);
        turn_all(&second);
        assert_int_equal(first.results[0], true);
        assert_int_equal(second.results[0], true);
        assert_in_range(second.results[1], 0, 64); /* chance, in frames of this test */
        run_end(&first);
        run_end(&second);
}

static int park(Run *run) {
        note(run, fiber_suspend());
        return 0;
}

static void more_fibers_than_pooled_stacks_come_and_go(void **state) {
        Run runs[100];

        for (unsigned round = 0; round < 3; round++) {
                for (unsigned i = 0; i < ELEMENTSOF(runs); i++) {
                        run_init(&runs[i]);
                        start(&runs[i], park);
                        turn_all(&runs[i]);
                }
                for (unsigned i = 0; i < ELEMENTSOF(runs); i++) {
                        fiber_resume(runs[i].fiber, (int)i);
                        turn_all(&runs[i]);
                        assert_int_equal(runs[i].results[0], i);
                        assert_true(runs[i].is_done);
                }
                for (unsigned i = 0; i < ELEMENTSOF(runs); i++)
                        run_end(&runs[i]);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_resume_carries_its_value),
                cmocka_unit_test(second_resume_before_the_turn_is_ignored),
                cmocka_unit_test(cancel_ends_this_wait_and_every_later_one),
                cmocka_unit_test(cancel_while_queued_is_not_lost),
                cmocka_unit_test(uncancellable_wait_ends_by_resume_alone),
                cmocka_unit_test(short_sleeps_are_short),
                cmocka_unit_test(sleep_lasts_its_time_and_ends_on_cancel),
                cmocka_unit_test(stacks_are_apart),
                cmocka_unit_test(reused_stack_is_erased),
                cmocka_unit_test(more_fibers_than_pooled_stacks_come_and_go),
                cmocka_unit_test(cancel_all_counts_what_lives),
        };

        return cmocka_run_group_tests_name("util-fiber", tests, NULL, NULL);
}
