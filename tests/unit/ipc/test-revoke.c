/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What ends from outside (T22, T38): streams of a uid, of a login, calls that work with credentials. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "toy.h"
#include "util/clock.h"

#define PIPE    "{\"method\":\"toy.Pipe\",\"upgrade\":true}"
#define EMPTY   "{\"parameters\":{}}"
#define REVOKED "{\"error\":\"toy.Fault\",\"parameters\":{\"error\":\"EKEYREVOKED\"}}"
#define MANY    1000U

static const Limits limits = {
        .n_connections = MANY + 10, .n_bytes = 64000000, .n_calls = MANY + 10, .n_streams = MANY + 10
};

static uint32_t own_audit_session(void) {
        Principal p = { .pid = getpid(), .login_uid = UID_INVALID, .audit_session = UINT32_MAX };

        principal_read_audit(&p);
        assert_int_equal(p.audit_error, 0);
        return p.audit_session;
}

static void streams_of_the_uid_end_and_nothing_else_does(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int stream = toy_connect(toy), idle = toy_connect(toy);

        toy_say(stream, PIPE);
        toy_expect(toy, stream, EMPTY);
        assert_int_equal(server_close_streams(toy->server, getuid() + 1, -EKEYREVOKED), 0);
        toy_turn(toy);
        assert_false(toy->is_closed);

        /* What came before, and was not looked at yet, is not handed on. */
        toy_say(stream, "too late");
        assert_int_equal(server_close_streams(toy->server, getuid(), -EKEYREVOKED), 1);
        assert_true(toy->is_closed);
        assert_int_equal(toy->close_error, -EKEYREVOKED);
        assert_int_equal(toy->n_bytes, 0);
        toy_turn(toy);
        assert_int_equal(toy->n_bytes, 0);
        assert_int_equal(toy->n_closed, 1);
        toy_say(idle, "{\"method\":\"toy.Echo\"}");
        toy_expect(toy, idle, EMPTY);
        assert_int_equal(server_close_streams(toy->server, UID_INVALID, -EKEYREVOKED), 0);
}

static void logout_ends_the_streams_of_that_login(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);
        uint32_t session = own_audit_session();

        toy_say(fd, PIPE);
        toy_expect(toy, fd, EMPTY);
        assert_int_equal(server_close_streams_of_login(toy->server, getuid(), session + 1, -EKEYREVOKED), 0);
        assert_int_equal(server_close_streams_of_login(toy->server, getuid() + 1, session, -EKEYREVOKED), 0);
        assert_false(toy->is_closed);
        assert_int_equal(server_close_streams_of_login(toy->server, getuid(), session, -EKEYREVOKED), 1);
        assert_true(toy->is_closed);
}

static void calls_with_credentials_are_answered_as_revoked(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int work = toy_connect(toy), care = toy_connect(toy);
        int left = toy_connect(toy);

        toy_say(work, "{\"method\":\"toy.Work\"}");
        toy_say(left, "{\"method\":\"toy.Work\"}");
        toy_say(care, "{\"method\":\"toy.Care\"}");
        toy_turn(toy);
        assert_int_equal(toy->n_calls, 3);
        (void)close(left); /* its call goes on without it */
        toy_turn(toy);
        assert_int_equal(server_end_calls(toy->server, getuid() + 1, NULL, -EKEYREVOKED), 0);
        assert_int_equal(server_end_calls(toy->server, getuid(), NULL, -EKEYREVOKED), 2);
        assert_int_equal(server_end_calls(toy->server, getuid(), NULL, -EKEYREVOKED), 0);
        toy_expect(toy, work, REVOKED);
        toy_expect(toy, care, NULL);
        /* The connection goes on. */
        toy_say(work, "{\"method\":\"toy.Echo\"}");
        toy_expect(toy, work, EMPTY);
}

/* One has said nothing and may work with anything; one works with both; one has nothing to do with it. */
static void calls_of_other_services_go_on(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int any = toy_connect(toy), both = toy_connect(toy), other = toy_connect(toy);

        toy_say(any, "{\"method\":\"toy.Work\"}");
        toy_say(both, "{\"method\":\"toy.Work\",\"parameters\":{\"services\":[\"github\",\"notion\"]}}");
        toy_say(other, "{\"method\":\"toy.Work\",\"parameters\":{\"services\":[\"github\"]}}");
        toy_turn(toy);
        assert_int_equal(toy->n_calls, 3);
        assert_int_equal(server_end_calls(toy->server, getuid(), "notion", -EKEYREVOKED), 2);
        toy_expect(toy, any, REVOKED);
        toy_expect(toy, both, REVOKED);
        toy_expect(toy, other, NULL);
        assert_int_equal(server_end_calls(toy->server, getuid(), "github", -EKEYREVOKED), 1);
        toy_expect(toy, other, REVOKED);
}

/* A thousand, of a uid that has used up its calls of this second as well. */
static void a_thousand_end_at_once(void **state) {
        const struct rlimit files = { 8192, 8192 };
        const Limits few = { .n_connections = MANY + 10,
                .n_bytes = 64000000,
                .n_calls = MANY + 10,
                .n_streams = MANY + 10,
                .n_steps_per_sec = 2 * MANY + 100 };
        static int fds[MANY];
        uint64_t begin;

        if (setrlimit(RLIMIT_NOFILE, &files) < 0)
                skip();
        _cleanup_(toy_freep) Toy *toy = toy_new(&few);
        for (size_t i = 0; i < MANY; i++) {
                fds[i] = toy_connect(toy);
                toy_say(fds[i], i % 2 ? PIPE : "{\"method\":\"toy.Work\"}");
                toy_turn(toy);
        }
        for (size_t i = 1; i < MANY; i += 2) {
                char reply[64];

                assert_true(recv(fds[i], reply, sizeof(reply), MSG_DONTWAIT) > 0);
                toy_say(fds[i], "more to do");
        }
        begin = now_monotonic();
        assert_int_equal(server_close_streams(toy->server, getuid(), -EKEYREVOKED), MANY / 2);
        assert_int_equal(toy->n_closed, MANY / 2);
        assert_int_equal(server_end_calls(toy->server, getuid(), NULL, -EKEYREVOKED), MANY / 2);
        toy_turn(toy);
        print_message("# %u ended in %llu us\n", MANY, (unsigned long long)(now_monotonic() - begin));
        for (size_t i = 0; i < MANY; i++) {
                toy_expect(toy, fds[i], i % 2 ? "" : REVOKED);
                (void)close(fds[i]);
        }
        assert_int_equal(toy->n_bytes, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(streams_of_the_uid_end_and_nothing_else_does),
                cmocka_unit_test(logout_ends_the_streams_of_that_login),
                cmocka_unit_test(calls_with_credentials_are_answered_as_revoked),
                cmocka_unit_test(calls_of_other_services_go_on),
                cmocka_unit_test(a_thousand_end_at_once),
        };

        return cmocka_run_group_tests_name("ipc-revoke", tests, NULL, NULL);
}
