/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The server waits in its own epoll descriptor, with sd-event's as a member. So what a method, a stream's owner or the server
 * itself sets up with sd-event must be heard of although sd-event is not asked at each turn, and counts from now and not from the
 * last time it was asked. Each test runs server_loop() as the daemon does, with a client in a process of its own. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "ipc/stream.h"
#include "util/clock.h"
#include "util/fiber.h"

#define IDLE_USEC  (300 * USEC_PER_MSEC)
#define LATER_USEC (100 * USEC_PER_MSEC)
/* Well before on_guard(), which would wake up whoever was not heard of. */
#define SOON_USEC  (4 * USEC_PER_SEC)
#define GUARD_USEC (8 * USEC_PER_SEC)
#define DONE       7

static struct {
        sd_event *event;
        Server *server;
        Call *call;
        Stream *stream;
        uint64_t begun_usec, taken_usec;
        unsigned n_fibers;
} seen;

static int end(void) {
        seen.taken_usec = now_monotonic() - seen.begun_usec;
        return sd_event_exit(seen.event, DONE);
}

static int on_later(sd_event_source *source, uint64_t usec, void *userdata) {
        if (seen.call)
                (void)call_reply(seen.call, NULL);
        seen.call = call_unref(seen.call);
        return end();
}

static int set_later(void) {
        seen.begun_usec = now_monotonic();
        return sd_event_add_time_relative(seen.event, NULL, CLOCK_MONOTONIC, LATER_USEC, 1, on_later, NULL);
}

static int method_later(Call *call, json_object *parameters, void *userdata) {
        seen.call = call_ref(call);
        return set_later();
}

static int method_answered_first(Call *call, json_object *parameters, void *userdata) {
        (void)call_reply(call, NULL);
        return set_later();
}

static int work_fiber(void *userdata) {
        seen.n_fibers++;
        return call_reply(userdata, NULL);
}

static void work_done(int result, void *userdata) {
        (void)call_unref(userdata);
        (void)end();
}

static int method_fiber(Call *call, json_object *parameters, void *userdata) {
        return work_fiber(call);
}

/* Quick, but not this time. */
static int method_spawn(Call *call, json_object *parameters, void *userdata) {
        seen.begun_usec = now_monotonic();
        return fiber_spawn(seen.event, work_fiber, work_done, call_ref(call), NULL);
}

static void on_bytes(Stream *stream, const uint8_t *bytes, size_t n, void *userdata) {
        assert_true(set_later() >= 0);
}

static void on_closed(Stream *stream, int error, void *userdata) {
        seen.stream = NULL;
}

static const StreamHandler handler = { on_bytes, NULL, NULL, on_closed };

static int method_upgrade(Call *call, json_object *parameters, void *userdata) {
        return call_upgrade(call, NULL, &handler, NULL, &seen.stream);
}

static void fault(Call *call, int error, void *userdata) {
        (void)call_error(call, "loop.Fault", NULL);
}

static const Method methods[] = {
        { .name = "Later", .handle = method_later },
        { .name = "AnsweredFirst", .handle = method_answered_first },
        { .name = "Fiber", .handle = method_fiber, .is_fiber = true },
        { .name = "Spawn", .handle = method_spawn, .is_quick = true },
        { .name = "Upgrade", .handle = method_upgrade, .is_upgrade = true },
        {},
};
static const Interface interface = { "loop", "interface loop\n", DOOR_PUBLIC, methods };
static const Interface *const interfaces[] = { &interface, NULL };

/* The client: idle for a while, then each text with what is to come back; the exit code is 0 when that came. */
static void speak(int fd, const char *const *texts) {
        char answer[256];

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (; *texts; texts += 2) {
                (void)usleep(IDLE_USEC);
                if (send(fd, texts[0], strlen(texts[0]) + 1, MSG_NOSIGNAL) < 0)
                        _exit(1);
                ssize_t n = texts[1] ? recv(fd, answer, sizeof(answer) - 1, 0) : 0;
                if (n < 0)
                        _exit(2);
                answer[n] = 0;
                if (texts[1] && !streq(answer, texts[1]))
                        _exit(3);
        }
        (void)pause();
        _exit(0);
}

static int on_guard(sd_event_source *source, uint64_t usec, void *userdata) {
        return sd_event_exit(sd_event_source_get_event(source), 1);
}

/* Runs the loop beside such a client until somebody ends it; DONE is what it is to come to. */
static void loop_beside(const char *const *texts, uint64_t message_timeout_usec) {
        const ServerOptions options = { .interfaces = interfaces,
                .limits = { .n_connections = 8, .n_bytes = 1000000, .n_calls = 8, .n_streams = 8 },
                .message_timeout_usec = message_timeout_usec,
                .fault = fault,
                .vendor = "v",
                .product = "p",
                .version = "1",
                .url = "https://u.test" };
        int pair[2], status;

        memset(&seen, 0, sizeof(seen));
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                speak(pair[1], texts);
        (void)close(pair[1]);
        assert_true(sd_event_new(&seen.event) >= 0);
        assert_true(sd_event_add_time_relative(
                                    seen.event, NULL, CLOCK_MONOTONIC, GUARD_USEC, 1, on_guard, NULL) >= 0);
        assert_int_equal(server_new(seen.event, &options, &seen.server), 0);
        assert_int_equal(server_add_connection(seen.server, pair[0], DOOR_PUBLIC), 0);
        assert_int_equal(server_loop(seen.server), DONE);
        (void)server_free(seen.server);
        sd_event_unref(seen.event);
        assert_int_equal(waitpid(pid, &status, WNOHANG), 0); /* it has heard what it expected */
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, &status, 0);
}

#define REPLY "{\"parameters\":{}}"

static void assert_later(void) {
        assert_in_range(seen.taken_usec, LATER_USEC, SOON_USEC);
}

static void timer_of_a_method_is_heard_of_and_counts_from_now(void **state) {
        loop_beside((const char *const[]){ "{\"method\":\"loop.Later\"}", NULL, NULL }, USEC_PER_SEC);
        assert_later();
}

static void so_is_one_that_is_set_behind_the_answer(void **state) {
        loop_beside((const char *const[]){ "{\"method\":\"loop.AnsweredFirst\"}", REPLY, NULL },
                        USEC_PER_SEC);
        assert_later();
}

static void so_is_one_that_a_stream_sets(void **state) {
        loop_beside((const char *const[]){ "{\"method\":\"loop.Upgrade\",\"upgrade\":true}", REPLY, "bytes",
                                    NULL, NULL },
                        USEC_PER_SEC);
        assert_later();
}

static void fiber_runs_although_nothing_else_happens(void **state) {
        loop_beside((const char *const[]){ "{\"method\":\"loop.Fiber\"}", REPLY,
                                    "{\"method\":\"loop.Fiber\"}", REPLY, "{\"method\":\"loop.Later\"}",
                                    NULL, NULL },
                        USEC_PER_SEC);
        assert_int_equal(seen.n_fibers, 2);
        assert_later();
}

static void quick_method_may_take_its_time(void **state) {
        loop_beside((const char *const[]){ "{\"method\":\"loop.Spawn\"}", NULL, NULL }, USEC_PER_SEC);
        assert_int_equal(seen.n_fibers, 1);
        assert_in_range(seen.taken_usec, 0, SOON_USEC);
}

/* Nothing but the server's own timer ends this message, and nothing but the end of the message the loop. */
static int on_exit_of_client(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        return sd_event_exit(sd_event_source_get_event(source), DONE);
}

static void half_sent_message_ends_in_time(void **state) {
        const ServerOptions options = { .interfaces = interfaces,
                .limits = { .n_connections = 8, .n_bytes = 1000000, .n_calls = 8, .n_streams = 8 },
                .message_timeout_usec = LATER_USEC,
                .fault = fault };
        sigset_t set;
        int pair[2], status;
        pid_t pid;

        memset(&seen, 0, sizeof(seen));
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGCHLD);
        assert_int_equal(sigprocmask(SIG_BLOCK, &set, NULL), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                char byte;

                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void)close(pair[0]);
                (void)usleep(IDLE_USEC);
                if (send(pair[1], "{", 1, MSG_NOSIGNAL) < 0)
                        _exit(1);
                _exit(recv(pair[1], &byte, 1, 0) == 0 ? 0 : 2);
        }
        (void)close(pair[1]);
        assert_true(sd_event_new(&seen.event) >= 0);
        assert_true(sd_event_add_time_relative(
                                    seen.event, NULL, CLOCK_MONOTONIC, GUARD_USEC, 1, on_guard, NULL) >= 0);
        assert_true(sd_event_add_signal(seen.event, NULL, SIGCHLD, on_exit_of_client, NULL) >= 0);
        assert_int_equal(server_new(seen.event, &options, &seen.server), 0);
        assert_int_equal(server_add_connection(seen.server, pair[0], DOOR_PUBLIC), 0);
        assert_int_equal(server_loop(seen.server), DONE);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        (void)server_free(seen.server);
        sd_event_unref(seen.event);
        (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(timer_of_a_method_is_heard_of_and_counts_from_now),
                cmocka_unit_test(so_is_one_that_is_set_behind_the_answer),
                cmocka_unit_test(so_is_one_that_a_stream_sets),
                cmocka_unit_test(fiber_runs_although_nothing_else_happens),
                cmocka_unit_test(quick_method_may_take_its_time),
                cmocka_unit_test(half_sent_message_ends_in_time),
        };

        return cmocka_run_group_tests_name("ipc-loop", tests, NULL, NULL);
}
