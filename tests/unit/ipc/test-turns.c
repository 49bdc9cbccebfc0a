/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What one uid does is not the others' trouble (T26): turns, log lines, the price of a message. Other uids are child
 * processes, so root is needed, as all of ./check does. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#if HAVE_VALGRIND
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#include "ipc/log-budget.h"
#include "toy.h"
#include "util/clock.h"

#define BOB     1002
#define ECHO    "{\"method\":\"toy.Echo\"}"
#define NO_CALL "{\"method\":7}"

static const Limits limits = { .n_connections = 100, .n_bytes = 1000000, .n_calls = 100, .n_streams = 8 };

/* A child of that uid with n connections, on each of which it says text count times; it stays until it is killed. */
static pid_t crowd(Toy *toy, uid_t uid, unsigned n, const char *text, unsigned count) {
        int ready[2];
        char byte;

        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
                        _exit(1);
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                size_t size = strlen(text) + 1;
                char *all = malloc(size * count + 1);
                for (unsigned i = 0; i < count; i++)
                        memcpy(all + i * size, text, size);
                for (unsigned i = 0; i < n; i++) {
                        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

                        if (connect(fd, (struct sockaddr *)&toy->address, sizeof(toy->address)) < 0)
                                _exit(1);
                        if (send(fd, all, size * count, MSG_NOSIGNAL) < 0)
                                _exit(1);
                }
                if (write(ready[1], "", 1) != 1)
                        _exit(1);
                (void)pause();
                _exit(0);
        }
        (void)close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        (void)close(ready[0]);
        return pid;
}

static void dismiss(pid_t pid) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
}

static void uids_take_turns_however_many_connections_they_have(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        unsigned seen = 0, last = 0;

        /* All of it is there before the loop turns for the first time; bob comes last. */
        pid_t many = crowd(toy, 1001, 14, ECHO, 40), one = crowd(toy, BOB, 1, ECHO, 40);
        toy_turn(toy);
        assert_int_equal(toy->n_calls, 15 * 40);
        for (unsigned i = 0; i < toy->n_calls; i++)
                if (toy->order[i] == BOB) {
                        seen++;
                        last = i;
                }
        assert_int_equal(seen, 40);
        assert_true(last < 2 * 40 + 10); /* not behind the five hundred and sixty */
        dismiss(many);
        dismiss(one);
        toy_turn(toy);
}

static void one_connection_that_has_much_to_say_is_served_by_the_message(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        unsigned last = 0;

        pid_t flood = crowd(toy, 1001, 1, ECHO, 400), one = crowd(toy, BOB, 1, ECHO, 1);
        toy_turn(toy);
        assert_int_equal(toy->n_calls, 401);
        for (unsigned i = 0; i < toy->n_calls; i++)
                if (toy->order[i] == BOB)
                        last = i;
        assert_true(last < 10);
        dismiss(flood);
        dismiss(one);
        toy_turn(toy);
}

static void timers_are_not_starved(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        unsigned n_turns = 0;

        pid_t flood = crowd(toy, 1001, 10, ECHO, 60);
        /* One dispatch of the loop ends long before all is served. */
        do
                n_turns++;
        while (server_run(toy->server, 0) > 0);
        assert_int_equal(toy->n_calls, 600);
        assert_true(n_turns >= 600 / 100);
        dismiss(flood);
        toy_turn(toy);
}

static void sleep_and_turn(Toy *toy, uint64_t usec) {
        (void)usleep((useconds_t)usec);
        toy_turn(toy);
}

static void half_sent_message_has_its_time_and_no_more(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new_with_timeout(&limits, 200 * USEC_PER_MSEC);
        _cleanup_(closep) int trickle = toy_connect(toy), idle = toy_connect(toy);

        toy_say(idle, ECHO);
        toy_expect(toy, idle, "{\"parameters\":{}}");
        /* A byte now and then does not buy more. */
        for (unsigned i = 0; i < 5; i++) {
                if (send(trickle, &ECHO[i], 1, MSG_NOSIGNAL) < 0)
                        break;
                sleep_and_turn(toy, 70 * USEC_PER_MSEC);
        }
        toy_expect(toy, trickle, "");
        /* Between messages there is no limit. */
        toy_say(idle, ECHO);
        toy_expect(toy, idle, "{\"parameters\":{}}");
}

static void time_of_a_message_begins_with_its_own_first_byte(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new_with_timeout(&limits, 400 * USEC_PER_MSEC);
        _cleanup_(closep) int fd = toy_connect(toy);

        /* Each write ends one message and begins the next, so some message is always half there. */
        assert_int_equal(send(fd, ECHO, 9, 0), 9);
        for (unsigned i = 0; i < 8; i++) {
                sleep_and_turn(toy, 100 * USEC_PER_MSEC);
                assert_int_equal(send(fd, &ECHO[9], sizeof(ECHO) - 9, MSG_NOSIGNAL), sizeof(ECHO) - 9);
                assert_int_equal(send(fd, ECHO, 9, MSG_NOSIGNAL), 9);
                toy_expect(toy, fd, "{\"parameters\":{}}");
        }
        assert_int_equal(toy->n_calls, 8);
}

/* Standard error in a file while somebody speaks. */
typedef struct Ear {
        int saved, file;
} Ear;

static void ear_open(Ear *e) {
        (void)fflush(stderr);
        e->saved = dup(STDERR_FILENO);
        e->file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        assert_true(e->saved >= 0 && e->file >= 0);
        (void)dup2(e->file, STDERR_FILENO);
}

static char *ear_close(Ear *e) {
        static char text[65536];
        ssize_t n;

        (void)fflush(stderr);
        (void)dup2(e->saved, STDERR_FILENO);
        (void)close(e->saved);
        n = pread(e->file, text, sizeof(text) - 1, 0);
        (void)close(e->file);
        assert_true(n >= 0);
        text[n] = 0;
        return text;
}

static unsigned count(const char *text, const char *part) {
        unsigned n = 0;

        while ((text = strstr(text, part))) {
                n++;
                text += strlen(part);
        }
        return n;
}

static void log_lines_are_bounded_per_uid_and_counted(void **state) {
        Toy *toy = toy_new(&limits);
        Ear ear;

        ear_open(&ear);
        /* Anew each time: closing and connecting starts no new count. */
        for (unsigned i = 0; i < 5; i++) {
                pid_t noisy = crowd(toy, 1001, 20, NO_CALL, 1);

                toy_turn(toy);
                dismiss(noisy);
        }
        pid_t other = crowd(toy, BOB, 1, NO_CALL, 1);
        toy_turn(toy);
        dismiss(other);
        toy = toy_free(toy);
        char *text = ear_close(&ear);
        assert_int_equal(count(text, "closing a connection of uid 1001"), LOG_BUDGET_LINES);
        assert_int_equal(count(text, "closing a connection of uid 1002"), 1);
        assert_int_equal(count(text, "uid 1001: 80 more lines"), 1);
        assert_int_equal(count(text, "more lines"), 1);
}

/* More uids than there are places: none goes unheard, and what is owed is written. */
static void crowd_of_uids_keeps_the_log_honest(void **state) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(log_budget_freep) LogBudget *b = NULL;
        unsigned n_shown = 0;
        Ear ear;

        assert_true(sd_event_new(&event) >= 0);
        assert_int_equal(log_budget_new(event, &b), 0);
        ear_open(&ear);
        for (uid_t uid = 0; uid < 200; uid++)
                for (unsigned i = 0; i < LOG_BUDGET_LINES + 1; i++)
                        log_budget_line(b, LOG_INFO, 5000 + uid, "%s", "x");
        b = log_budget_free(b);
        char *text = ear_close(&ear);
        n_shown = count(text, "x\n");
        assert_int_equal(n_shown, 200 * LOG_BUDGET_LINES);
        assert_int_equal(count(text, "1 more lines"), 200);
}

static void message_is_charged_for_what_it_becomes(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy), good = toy_connect(toy);
        static char text[40000];
        size_t n = 0;

        n = (size_t)snprintf(text, sizeof(text), "{\"method\":\"toy.Echo\",\"parameters\":{\"a\":[[]");
        while (n < 12000)
                n += (size_t)snprintf(text + n, sizeof(text) - n, ",[]");
        (void)snprintf(text + n, sizeof(text) - n, "]}}");
        /* Twelve thousand bytes on the wire, more than a million in memory. */
        toy_say(fd, text);
        toy_expect(toy, fd, "");
        assert_int_equal(toy->n_calls, 0);
        toy_say(good, ECHO);
        toy_expect(toy, good, "{\"parameters\":{}}");
}

static void call_charged_to_another_uid_leaves_its_callers_account_free(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(
                        &(Limits){ .n_connections = 8, .n_bytes = 100000, .n_calls = 1, .n_streams = 1 });
        _cleanup_(closep) int first = toy_connect(toy), second = toy_connect(toy), third = toy_connect(toy);

        toy_say(first, "{\"method\":\"toy.WaitFor\",\"parameters\":{\"uid\":4242}}");
        toy_expect(toy, first, NULL);
        assert_non_null(toy->waiting);
        toy_say(second, ECHO);
        toy_expect(toy, second, "{\"parameters\":{}}");
        toy_say(third, "{\"method\":\"toy.WaitFor\",\"parameters\":{\"uid\":4242}}");
        toy_expect(toy, third, "{\"error\":\"toy.Fault\",\"parameters\":{\"error\":\"EDQUOT\"}}");
        /* The client leaves, the work goes on and is still that uid's. */
        (void)close(TAKE_FD(first));
        toy_turn(toy);
        toy_say(third, "{\"method\":\"toy.WaitFor\",\"parameters\":{\"uid\":4242}}");
        toy_expect(toy, third, "{\"error\":\"toy.Fault\",\"parameters\":{\"error\":\"EDQUOT\"}}");
        toy_answer(toy);
        toy_say(third, "{\"method\":\"toy.WaitFor\",\"parameters\":{\"uid\":4242}}");
        toy_expect(toy, third, NULL);
        toy_answer(toy);
        toy_expect(toy, third, "{\"parameters\":{}}");
}

static void connections_refused_by_the_thousand_leave_nothing(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(
                        &(Limits){ .n_connections = 4, .n_bytes = 100000, .n_calls = 4, .n_streams = 1 });
        _cleanup_(closep) int held = toy_connect(toy);
        Ear ear;

        toy_turn(toy);
        ear_open(&ear);
        for (unsigned i = 0; i < 25; i++) {
                pid_t pid = crowd(toy, BOB, 400, "", 0);

                toy_turn(toy);
                toy_say(held, ECHO);
                toy_expect(toy, held, "{\"parameters\":{}}");
                dismiss(pid);
                toy_turn(toy);
        }
        char *text = ear_close(&ear);
        assert_true(count(text, "refused a connection of uid 1002") <= 2 * LOG_BUDGET_LINES);
}

static unsigned count_served(const Toy *toy, uid_t uid) {
        unsigned n = 0;

        for (unsigned i = 0; i < MIN(toy->n_calls, ELEMENTSOF(toy->order)); i++)
                n += toy->order[i] == uid;
        return n;
}

/* What is given back while a test runs is told apart from what was there by a wide margin. */
static void uid_beyond_its_calls_waits_and_is_not_refused(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&(Limits){ .n_connections = 100,
                        .n_bytes = 1000000,
                        .n_calls = 100,
                        .n_streams = 8,
                        .n_steps_per_sec = 200 });
        uint64_t begin = now_monotonic();

        pid_t flood = crowd(toy, 1001, 14, ECHO, 50), one = crowd(toy, BOB, 1, ECHO, 50);
        toy_turn(toy);
        assert_int_equal(count_served(toy, BOB), 50);
        assert_in_range(count_served(toy, 1001), 200, 450);
        while (toy->n_calls < 15 * 50) {
                assert_true(now_monotonic() - begin < 20 * USEC_PER_SEC);
                assert_true(server_run(toy->server, 20 * USEC_PER_MSEC) >= 0);
        }
        dismiss(flood);
        dismiss(one);
        toy_turn(toy);
}

static void hanging_up_gives_no_new_calls(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&(Limits){ .n_connections = 100,
                        .n_bytes = 1000000,
                        .n_calls = 100,
                        .n_streams = 8,
                        .n_steps_per_sec = 100 });

        for (unsigned i = 0; i < 6; i++) {
                pid_t pid = crowd(toy, 1001, 1, ECHO, 50);

                toy_turn(toy);
                dismiss(pid);
                toy_turn(toy);
        }
        assert_in_range(toy->n_calls, 100, 200);
}

static void new_connection_counts_as_a_call(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&(Limits){ .n_connections = 400,
                        .n_bytes = 1000000,
                        .n_calls = 400,
                        .n_streams = 8,
                        .n_steps_per_sec = 100 });

        /* Those that never say a word, and then one that does. */
        pid_t silent = crowd(toy, 1001, 300, "", 0);
        toy_turn(toy);
        pid_t pid = crowd(toy, 1001, 1, ECHO, 200);
        toy_turn(toy);
        assert_in_range(toy->n_calls, 0, 100);
        dismiss(silent);
        dismiss(pid);
        toy_turn(toy);
}

static void bytes_that_make_no_message_count_as_well(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&(Limits){ .n_connections = 100,
                        .n_bytes = 1000000,
                        .n_calls = 100,
                        .n_streams = 8,
                        .n_steps_per_sec = 100 });
        _cleanup_(closep) int fd = toy_connect(toy);
        int n_unread = 0;

        for (unsigned i = 0; i < 240; i++) {
                assert_int_equal(send(fd, " ", 1, MSG_NOSIGNAL | MSG_DONTWAIT), 1);
                toy_turn(toy);
        }
        assert_int_equal(ioctl(fd, SIOCOUTQ, &n_unread), 0);
        assert_true(n_unread > 0);
}

static void doors_that_are_not_for_all_have_no_such_limit(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&(Limits){ .n_connections = 100,
                        .n_bytes = 1000000,
                        .n_calls = 100,
                        .n_streams = 8,
                        .n_steps_per_sec = 20 });
        static const char text[] = "{\"method\":\"toy.Echo\"}";
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        assert_int_equal(server_add_connection(toy->server, pair[0], DOOR_CONTROL), 0);
        for (unsigned i = 0; i < 200; i++) {
                toy_say(pair[1], text);
                toy_expect(toy, pair[1],
                                "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{"
                                "\"interface\":\"toy\"}}");
        }
        (void)close(pair[1]);
        toy_turn(toy);
}

static void who_waits_for_its_next_call_does_not_wake_the_loop(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&(Limits){ .n_connections = 4,
                        .n_bytes = 1000000,
                        .n_calls = 4,
                        .n_streams = 8,
                        .n_steps_per_sec = 10 });
        _cleanup_(closep) int fd = toy_connect(toy);
        unsigned n_woken = 0;

        for (unsigned i = 0; i < 50; i++)
                toy_say(fd, ECHO);
        toy_turn(toy);
        assert_in_range(toy->n_calls, 5, 20);
        for (unsigned i = 0; i < 100; i++) {
                assert_int_equal(send(fd, " ", 1, MSG_NOSIGNAL | MSG_DONTWAIT), 1);
                n_woken += server_run(toy->server, 0) > 0;
        }
        assert_in_range(n_woken, 0, 30);
        /* And nothing of it is lost. */
        assert_int_equal(send(fd, ECHO, sizeof(ECHO), MSG_NOSIGNAL), sizeof(ECHO));
        for (uint64_t begin = now_monotonic(); toy->n_calls < 51;) {
                assert_true(now_monotonic() - begin < 30 * USEC_PER_SEC);
                assert_true(server_run(toy->server, 50 * USEC_PER_MSEC) >= 0);
        }
}

/* A monitoring script of root's that is out of hand must cost nobody his login. */
static void who_is_busy_at_the_public_door_is_heard_at_the_others(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&(Limits){ .n_connections = 4,
                        .n_bytes = 1000000,
                        .n_calls = 4,
                        .n_streams = 8,
                        .n_steps_per_sec = 2 });
        int fd[4], pair[2];

        for (unsigned i = 0; i < ELEMENTSOF(fd); i++) {
                fd[i] = toy_connect(toy);
                for (unsigned k = 0; k < 100; k++)
                        toy_say(fd[i], ECHO);
        }
        toy_turn(toy);
        assert_in_range(toy->n_calls, 0, 10); /* it has as many connections as it may, and waits */
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        assert_int_equal(server_add_connection(toy->server, pair[0], DOOR_CONTROL), 0);
        toy_say(pair[1], ECHO);
        toy_expect(toy, pair[1],
                        "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":"
                        "\"toy\"}}");
        (void)close(pair[1]);
        for (unsigned i = 0; i < ELEMENTSOF(fd); i++)
                (void)close(fd[i]);
}

static void refused_connection_is_kept_for_a_moment(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new_with_times(
                        &(Limits){ .n_connections = 3, .n_bytes = 100000, .n_calls = 4, .n_streams = 1 },
                        USEC_PER_SEC, 500 * USEC_PER_MSEC);
        const unsigned n_kept = 3 * ACCOUNT_REFUSED_FACTOR;
        int fd[3 + 3 * ACCOUNT_REFUSED_FACTOR + 1];
        Ear ear;

        ear_open(&ear);
        for (unsigned i = 0; i < ELEMENTSOF(fd); i++)
                fd[i] = toy_connect(toy);
        toy_turn(toy);
        for (unsigned i = 0; i < ELEMENTSOF(fd); i++)
                if (i < 3 + n_kept)
                        toy_say(fd[i], ECHO);
        for (unsigned i = 0; i < ELEMENTSOF(fd); i++)
                toy_expect(toy, fd[i], i < 3 ? "{\"parameters\":{}}" : i < 3 + n_kept ? NULL : "");
        sleep_and_turn(toy, 600 * USEC_PER_MSEC);
        for (unsigned i = 0; i < ELEMENTSOF(fd); i++) {
                toy_expect(toy, fd[i], i < 3 ? NULL : "");
                (void)close(fd[i]);
        }
        toy_turn(toy);
        (void)ear_close(&ear);
        assert_int_equal(toy->n_calls, 3);
}

static void refused_connections_are_the_first_to_go_without_descriptors(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new_with_times(
                        &(Limits){ .n_connections = 3, .n_bytes = 100000, .n_calls = 4, .n_streams = 1 },
                        USEC_PER_SEC, 60 * USEC_PER_SEC);
        struct rlimit before, now;
        Ear ear;

        ear_open(&ear);
        pid_t many = crowd(toy, 1001, 6, "", 0);
        toy_turn(toy);
        pid_t one = crowd(toy, BOB, 1, ECHO, 1);
        int lowest = dup(STDERR_FILENO);
        (void)close(lowest);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        now = before;
        now.rlim_cur = (rlim_t)lowest;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
        toy_turn(toy);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        (void)ear_close(&ear);
        assert_int_equal(count_served(toy, BOB), 1);
        dismiss(many);
        dismiss(one);
        toy_turn(toy);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(uids_take_turns_however_many_connections_they_have),
                cmocka_unit_test(one_connection_that_has_much_to_say_is_served_by_the_message),
                cmocka_unit_test(timers_are_not_starved),
                cmocka_unit_test(half_sent_message_has_its_time_and_no_more),
                cmocka_unit_test(time_of_a_message_begins_with_its_own_first_byte),
                cmocka_unit_test(log_lines_are_bounded_per_uid_and_counted),
                cmocka_unit_test(crowd_of_uids_keeps_the_log_honest),
                cmocka_unit_test(message_is_charged_for_what_it_becomes),
                cmocka_unit_test(call_charged_to_another_uid_leaves_its_callers_account_free),
                cmocka_unit_test(connections_refused_by_the_thousand_leave_nothing),
                cmocka_unit_test(uid_beyond_its_calls_waits_and_is_not_refused),
                cmocka_unit_test(hanging_up_gives_no_new_calls),
                cmocka_unit_test(new_connection_counts_as_a_call),
                cmocka_unit_test(bytes_that_make_no_message_count_as_well),
                cmocka_unit_test(doors_that_are_not_for_all_have_no_such_limit),
                cmocka_unit_test(who_waits_for_its_next_call_does_not_wake_the_loop),
                cmocka_unit_test(who_is_busy_at_the_public_door_is_heard_at_the_others),
                cmocka_unit_test(refused_connection_is_kept_for_a_moment),
                cmocka_unit_test(refused_connections_are_the_first_to_go_without_descriptors),
        };

        /* valgrind plays the descriptor limit itself: it accepts, then closes what is above it. */
        if (RUNNING_ON_VALGRIND)
                cmocka_set_skip_filter("refused_connections_are_the_first_*");
        return cmocka_run_group_tests_name("ipc-turns", tests, NULL, NULL);
}
