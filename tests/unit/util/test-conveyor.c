/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The conveyor: bytes arrive whole and in order in both directions, what waits is bounded on the thread's side, and whoever waits is
 * ended by a cancellation. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/conveyor.h"

#define ROOM  1000U
#define TOTAL 100000U

typedef struct Work {
        sd_event *event;
        Conveyor *conveyor;
        atomic_uint n_put;
        unsigned n_woken;
        bool is_done;
} Work;

static void on_wake(void *userdata) {
        Work *w = userdata;

        w->n_woken++;
}

static void work_new(Work *w, int (*work)(Conveyor *c, void *userdata)) {
        *w = (Work){};
        assert_true(sd_event_new(&w->event) >= 0);
        assert_int_equal(conveyor_new(w->event, ROOM, work, on_wake, w, &w->conveyor), 0);
}

static void work_done(Work *w) {
        w->conveyor = conveyor_free(w->conveyor);
        sd_event_unref(w->event);
}

static int put_all(Conveyor *c, void *userdata) {
        Work *w = userdata;
        int r = 0;

        for (unsigned i = 0; i < TOTAL && r == 0; i += 100) {
                uint8_t piece[100];

                for (unsigned k = 0; k < sizeof(piece); k++)
                        piece[k] = (uint8_t)((i + k) % 251);
                r = conveyor_put(c, piece, sizeof(piece), 10 * USEC_PER_SEC);
                w->n_put += sizeof(piece);
        }
        return r < 0 ? r : 7;
}

static void what_the_thread_puts_arrives_in_order_and_waits_bounded(void **state) {
        unsigned n = 0;
        int result;
        Work w;

        work_new(&w, put_all);
        while (!conveyor_has_ended(w.conveyor, &result)) {
                uint8_t piece[333];
                size_t k = conveyor_take(w.conveyor, piece, sizeof(piece));

                for (size_t i = 0; i < k; i++)
                        assert_int_equal(piece[i], (n + i) % 251);
                n += (unsigned)k;
                assert_true(w.n_put <= n + ROOM + 100);
                if (k == 0)
                        assert_true(sd_event_run(w.event, 100 * USEC_PER_MSEC) >= 0);
        }
        assert_int_equal(n, TOTAL);
        assert_int_equal(result, 7);
        assert_true(w.n_woken > 0);
        work_done(&w);
}

static int get_all(Conveyor *c, void *userdata) {
        unsigned n = 0;
        uint8_t piece[77];
        ssize_t k;

        while ((k = conveyor_get(c, piece, sizeof(piece), 10 * USEC_PER_SEC)) > 0) {
                for (ssize_t i = 0; i < k; i++)
                        if (piece[i] != (n + (unsigned)i) % 251)
                                return -EBADMSG;
                n += (unsigned)k;
        }
        return k < 0 ? (int)k : n == TOTAL ? 9 : -EIO;
}

static void what_the_loop_gives_arrives_in_order(void **state) {
        bool was_full = false;
        unsigned n = 0;
        int result;
        Work w;

        work_new(&w, get_all);
        while (n < TOTAL) {
                uint8_t piece[500];

                if (conveyor_is_full(w.conveyor)) {
                        was_full = true;
                        assert_true(sd_event_run(w.event, USEC_PER_SEC) >= 0);
                        continue;
                }
                for (unsigned i = 0; i < sizeof(piece); i++)
                        piece[i] = (uint8_t)((n + i) % 251);
                assert_int_equal(conveyor_give(w.conveyor, piece, sizeof(piece)), 0);
                n += sizeof(piece);
        }
        assert_true(was_full);
        conveyor_give_end(w.conveyor);
        while (!conveyor_has_ended(w.conveyor, &result))
                assert_true(sd_event_run(w.event, USEC_PER_SEC) >= 0);
        assert_int_equal(result, 9);
        work_done(&w);
}

static int put_into_nothing(Conveyor *c, void *userdata) {
        uint8_t piece[ROOM] = {};
        int r;

        r = conveyor_put(c, piece, sizeof(piece), USEC_PER_SEC);
        if (r == 0)
                r = conveyor_put(c, piece, sizeof(piece), 20 * USEC_PER_MSEC);
        return r;
}

static void nobody_takes_for_too_long(void **state) {
        uint8_t piece[2 * ROOM];
        int result;
        Work w;

        work_new(&w, put_into_nothing);
        while (w.n_woken < 2)
                assert_true(sd_event_run(w.event, 100 * USEC_PER_MSEC) >= 0);
        /* The first piece alone is there: what timed out was not put. */
        assert_int_equal(conveyor_take(w.conveyor, piece, sizeof(piece)), ROOM);
        while (!conveyor_has_ended(w.conveyor, &result))
                assert_true(sd_event_run(w.event, 100 * USEC_PER_MSEC) >= 0);
        assert_int_equal(result, -ETIMEDOUT);
        work_done(&w);
}

static int wait_for_ever(Conveyor *c, void *userdata) {
        uint8_t byte;

        return (int)conveyor_get(c, &byte, 1, 3600 * USEC_PER_SEC);
}

static int put_for_ever(Conveyor *c, void *userdata) {
        uint8_t piece[ROOM] = {};
        int r;

        while ((r = conveyor_put(c, piece, sizeof(piece), 3600 * USEC_PER_SEC)) == 0)
                ;
        return r;
}

static void a_cancellation_ends_every_wait(void **state) {
        int (*const works[])(Conveyor * c, void *userdata) = { wait_for_ever, put_for_ever };

        for (size_t i = 0; i < ELEMENTSOF(works); i++) {
                uint8_t rest[ROOM];
                int result;
                Work w;

                work_new(&w, works[i]);
                conveyor_cancel(w.conveyor);
                while (!conveyor_has_ended(w.conveyor, &result)) {
                        assert_true(sd_event_run(w.event, 100 * USEC_PER_MSEC) >= 0);
                        (void)conveyor_take(w.conveyor, rest, sizeof(rest));
                }
                assert_int_equal(result, -ECANCELED);
                work_done(&w);
                /* And so does its end, without being asked for the result. */
                work_new(&w, works[i]);
                work_done(&w);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_the_thread_puts_arrives_in_order_and_waits_bounded),
                cmocka_unit_test(what_the_loop_gives_arrives_in_order),
                cmocka_unit_test(nobody_takes_for_too_long),
                cmocka_unit_test(a_cancellation_ends_every_wait),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
