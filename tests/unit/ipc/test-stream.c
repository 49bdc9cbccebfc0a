/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Upgraded connections: whose bytes are whose, who learns of the end, what a stream may hold, and the rest of the
 * Varlink rules about kinds of calls (UAPI.20). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/socket.h>

#include "toy.h"

#define PIPE  "{\"method\":\"toy.Pipe\",\"upgrade\":true}"
#define MUTE  "{\"method\":\"toy.Mute\",\"upgrade\":true}"
#define EMPTY "{\"parameters\":{}}"

static const Limits limits = { .n_connections = 8, .n_bytes = 1000000, .n_calls = 4, .n_streams = 2 };

static void bytes_behind_the_call_belong_to_the_new_protocol(void **state) {
        static const char text[] = PIPE "\0{\"method\":\"toy.Echo\"}";
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);

        assert_int_equal(send(fd, text, sizeof(text), 0), sizeof(text));
        toy_expect(toy, fd, EMPTY);
        toy_expect(toy, fd, "{\"METHOD\":\"TOY.ECHO\"}");
        assert_int_equal(toy->n_calls, 0);
        assert_string_equal(toy->bytes, "{\"method\":\"toy.Echo\"}");
}

/* The same when the call came in pieces and lies in the kept input. */
static void bytes_behind_a_call_in_pieces_too(void **state) {
        static const char text[] = PIPE "\0two";
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);

        assert_int_equal(send(fd, text, 5, 0), 5);
        toy_turn(toy);
        assert_int_equal(send(fd, text + 5, sizeof(text) - 5, 0), sizeof(text) - 5);
        toy_expect(toy, fd, EMPTY);
        toy_expect(toy, fd, "TWO");
        assert_int_equal(toy->n_bytes, 4);
}

static void kind_of_call_must_fit_the_method(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);

        toy_say(fd, "{\"method\":\"toy.Pipe\"}");
        toy_expect(toy, fd,
                        "{\"error\":\"org.varlink.service.MethodNotImplemented\",\"parameters\":{\"method\":"
                        "\"toy.Pipe\"}}");
        toy_say(fd, "{\"method\":\"toy.Echo\",\"upgrade\":true}");
        toy_expect(toy, fd,
                        "{\"error\":\"org.varlink.service.MethodNotImplemented\",\"parameters\":{\"method\":"
                        "\"toy.Echo\"}}");
        toy_say(fd, "{\"method\":\"toy.Watch\"}");
        toy_expect(toy, fd, "{\"error\":\"org.varlink.service.ExpectedMore\",\"parameters\":{}}");
        toy_say(fd, "{\"method\":\"toy.Watch\",\"oneway\":true}");
        toy_expect(toy, fd, NULL);
        toy_say(fd, "{\"method\":\"org.varlink.service.GetInterfaceDescription\"}");
        toy_expect(toy, fd,
                        "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":"
                        "\"interface\"}}");
        toy_say(fd, "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{"
                    "\"interface\":\"toy\",\"x\":1}}");
        toy_expect(toy, fd,
                        "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":"
                        "\"x\"}}");
        toy_say(fd, "{\"method\":\"org.varlink.service.GetInfo\",\"parameters\":{\"x\":1}}");
        toy_expect(toy, fd,
                        "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":"
                        "\"x\"}}");
        toy_say(fd, "{\"method\":\"toy.Echo\",\"parameters\":{\"uid\":0}}");
        toy_expect(toy, fd,
                        "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":"
                        "\"uid\"}}");
        toy_say(fd, "{\"method\":\"toy.Count\",\"parameters\":{\"n\":0}}");
        toy_expect(toy, fd, "{\"parameters\":{\"n\":2}}");
        toy_say(fd, "{\"method\":\"toy.Echo\",\"org.vendor.trace\":[1]}");
        toy_expect(toy, fd, EMPTY);
        toy_say(fd, "{\"method\":\"toy.Echo\",\"trace\":[1]}");
        toy_expect(toy, fd, "");
}

static void continues_only_after_more(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);

        toy_say(fd, "{\"method\":\"toy.Count\"}");
        toy_expect(toy, fd, "{\"parameters\":{\"n\":2}}");
        toy_expect(toy, fd, NULL);
        toy_say(fd, "{\"method\":\"toy.Watch\",\"more\":true}");
        toy_expect(toy, fd, "{\"parameters\":{\"n\":0},\"continues\":true}");
        toy_expect(toy, fd, "{\"parameters\":{\"n\":1},\"continues\":true}");
        toy_expect(toy, fd, "{\"parameters\":{\"n\":2}}");
}

static void pending_replies_are_dropped_when_the_client_leaves(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int other = toy_connect(toy);
        int fd = toy_connect(toy);

        toy_say(fd, "{\"method\":\"toy.Wait\"}");
        toy_turn(toy);
        (void)close(fd);
        toy_turn(toy);
        assert_true(call_is_gone(toy->waiting));
        toy_answer(toy);
        toy_say(other, "{\"method\":\"toy.Echo\"}");
        toy_expect(toy, other, EMPTY);
}

static void oneway_calls_are_done_although_their_client_left(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        int fd = toy_connect(toy);

        toy_say(fd, "{\"method\":\"toy.Wait\",\"oneway\":true}");
        toy_say(fd, "{\"method\":\"toy.Echo\",\"oneway\":true}");
        (void)close(fd);
        toy_turn(toy);
        toy_answer(toy);
        toy_turn(toy);
        assert_int_equal(toy->n_calls, 2);
}

static void end_is_told_both_ways(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);

        toy_say(fd, PIPE);
        toy_expect(toy, fd, EMPTY);
        toy_say(fd, "last");
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        toy_expect(toy, fd, "LAST");
        assert_true(toy->has_ended && !toy->is_closed);
        /* The other direction is still open. */
        assert_int_equal(stream_write(toy->stream, "bye", 4), 0);
        toy_expect(toy, fd, "bye");
        stream_close(TAKE_PTR(toy->stream));
        toy_expect(toy, fd, "");
        assert_false(toy->is_closed);
}

static void leaving_peer_is_told_after_its_last_bytes(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        int fd = toy_connect(toy);

        toy_say(fd, MUTE);
        toy_expect(toy, fd, EMPTY);
        toy_say(fd, "last words");
        (void)close(fd);
        toy_turn(toy);
        assert_string_equal(toy->bytes, "last words");
        assert_true(toy->is_closed);
        assert_int_equal(toy->close_error, 0);
}

/* Writes much more than a socket takes. */
static void output_leaves_in_order_and_is_waited_for_by_nobody(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);
        static uint8_t piece[1000], got[1000];

        toy_say(fd, PIPE);
        toy_expect(toy, fd, EMPTY);
        for (unsigned i = 0; i < 800; i++) {
                memset(piece, (int)(i & 0xff), sizeof(piece));
                assert_int_equal(stream_write(toy->stream, piece, sizeof(piece)), 0);
        }
        assert_true(stream_pending(toy->stream) > 0);
        toy->has_drained = false;
        stream_close(TAKE_PTR(toy->stream)); /* what was written still leaves */
        for (unsigned i = 0; i < 800; i++) {
                for (size_t n = 0; n < sizeof(got);) {
                        ssize_t k = recv(fd, got + n, sizeof(got) - n, MSG_DONTWAIT);

                        assert_true(k > 0 || errno == EAGAIN);
                        if (k > 0)
                                n += (size_t)k;
                        else
                                toy_turn(toy);
                }
                memset(piece, (int)(i & 0xff), sizeof(piece));
                assert_memory_equal(piece, got, sizeof(got));
        }
        toy_expect(toy, fd, "");
}

static void owner_learns_that_all_has_left(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);
        static uint8_t piece[500000];
        size_t n = 0;

        toy_say(fd, PIPE);
        toy_expect(toy, fd, EMPTY);
        assert_int_equal(stream_write(toy->stream, piece, sizeof(piece)), 0);
        while (n < sizeof(piece)) {
                ssize_t k = recv(fd, piece, sizeof(piece), MSG_DONTWAIT);

                n += k > 0 ? (size_t)k : 0;
                toy_turn(toy);
        }
        assert_true(toy->has_drained);
        assert_int_equal(stream_pending(toy->stream), 0);
}

static void stream_of_a_slow_reader_is_cut_at_the_byte_limit(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy), other = toy_connect(toy);
        static const uint8_t piece[10000];
        unsigned n = 0;
        int r = 0;

        toy_say(fd, PIPE);
        toy_expect(toy, fd, EMPTY);
        while (r == 0 && n++ < 1000)
                r = stream_write(toy->stream, piece, sizeof(piece));
        assert_int_equal(r, -EDQUOT);
        assert_false(toy->is_closed); /* not from within our call */
        assert_int_equal(stream_write(toy->stream, piece, 1), -EDQUOT);
        toy_turn(toy);
        assert_true(toy->is_closed);
        assert_int_equal(toy->close_error, -EDQUOT);
        toy_say(other, "{\"method\":\"toy.Echo\"}");
        toy_expect(toy, other, EMPTY);
}

static void paused_stream_holds_its_peer_back(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);
        static const uint8_t piece[4096];
        ssize_t n, sent = 0;

        toy_say(fd, MUTE);
        toy_expect(toy, fd, EMPTY);
        stream_pause(toy->stream);
        while (sent < 10000000 && (n = send(fd, piece, sizeof(piece), MSG_DONTWAIT)) > 0) {
                sent += n;
                toy_turn(toy);
        }
        assert_true(sent < 1000000);
        assert_int_equal(toy->n_bytes, 0);
        toy->n_bytes = 0;
        stream_resume(toy->stream);
        for (unsigned i = 0; i < 100 && toy->n_bytes < (size_t)sent; i++)
                toy_turn(toy);
        assert_int_equal(toy->n_bytes, sent);
}

static void streams_are_bounded_per_uid(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        int fds[4];

        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                fds[i] = toy_connect(toy);
        toy_say(fds[0], MUTE);
        toy_expect(toy, fds[0], EMPTY);
        toy_say(fds[1], "{\"method\":\"toy.Hold\",\"more\":true}");
        toy_expect(toy, fds[1], NULL);
        toy_say(fds[2], MUTE);
        toy_expect(toy, fds[2], "{\"error\":\"toy.Fault\",\"parameters\":{\"error\":\"EDQUOT\"}}");
        toy_say(fds[2], "{\"method\":\"toy.Watch\",\"more\":true}");
        toy_expect(toy, fds[2], "{\"error\":\"toy.Fault\",\"parameters\":{\"error\":\"EDQUOT\"}}");
        toy_say(fds[2], "{\"method\":\"toy.Echo\"}");
        toy_expect(toy, fds[2], EMPTY);
        /* Each way to end gives the room back. */
        toy_answer(toy);
        toy_expect(toy, fds[1], EMPTY);
        toy_say(fds[2], MUTE);
        toy_expect(toy, fds[2], EMPTY);
        (void)close(fds[0]);
        toy_turn(toy);
        toy_say(fds[3], "{\"method\":\"toy.Watch\",\"more\":true}");
        toy_expect(toy, fds[3], "{\"parameters\":{\"n\":0},\"continues\":true}");
        for (size_t i = 1; i < ELEMENTSOF(fds); i++)
                (void)close(fds[i]);
        toy_turn(toy);
}

static void shutdown_tells_the_owner(void **state) {
        Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);

        toy_say(fd, PIPE);
        toy_expect(toy, fd, EMPTY);
        toy->server = server_free(toy->server);
        assert_true(toy->is_closed);
        (void)toy_free(toy);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bytes_behind_the_call_belong_to_the_new_protocol),
                cmocka_unit_test(bytes_behind_a_call_in_pieces_too),
                cmocka_unit_test(kind_of_call_must_fit_the_method),
                cmocka_unit_test(continues_only_after_more),
                cmocka_unit_test(pending_replies_are_dropped_when_the_client_leaves),
                cmocka_unit_test(oneway_calls_are_done_although_their_client_left),
                cmocka_unit_test(end_is_told_both_ways),
                cmocka_unit_test(leaving_peer_is_told_after_its_last_bytes),
                cmocka_unit_test(output_leaves_in_order_and_is_waited_for_by_nobody),
                cmocka_unit_test(owner_learns_that_all_has_left),
                cmocka_unit_test(stream_of_a_slow_reader_is_cut_at_the_byte_limit),
                cmocka_unit_test(paused_stream_holds_its_peer_back),
                cmocka_unit_test(streams_are_bounded_per_uid),
                cmocka_unit_test(shutdown_tells_the_owner),
        };

        return cmocka_run_group_tests_name("ipc-stream", tests, NULL, NULL);
}
