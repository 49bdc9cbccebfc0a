/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the whole server over a socket pair: framing, calls, streams, upgrades, charges. The first eight bytes of the
 * input say in what pieces the rest is written.
 *
 * Properties: what the server answers depends on the bytes and not on how they were cut (each input is given once in
 * pieces and once as one); every charge is released at the end (accounts_free() asserts it); the loop comes to rest
 * each time. */

#include <stdio.h>
#include <sys/socket.h>

#include "ipc/stream.h"
#include "util/buffer.h"
#include "util/fiber.h"
#include "util/log.h"

#define OUTPUT_MAX (8U * 1024U * 1024U)
#define TURNS_MAX  200000U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Run {
        sd_event *event;
        Server *server;
        int fd;
        bool is_over; /* the server has closed */
        Buffer output;
        Buffer stream; /* what came in after an upgrade */
} Run;

static void check(bool holds, const char *property) {
        if (!holds) {
                (void)fprintf(stderr, "violated: %s\n", property);
                abort();
        }
}

static int method_echo(Call *call, json_object *parameters, void *userdata) {
        return call_reply(call, json_object_get(parameters));
}

static int method_fail(Call *call, json_object *parameters, void *userdata) {
        return -EIO;
}

static int method_count(Call *call, json_object *parameters, void *userdata) {
        for (int64_t i = 0; i < 3 && call_wants_more(call); i++)
                if (call_notify(call, json_build("n", 'i', i, NULL)) < 0)
                        return 0;
        return call_reply(call, NULL);
}

/* Answers some turns of the loop later. */
static int method_later(Call *call, json_object *parameters, void *userdata) {
        int r = fiber_sleep(0);

        return r < 0 ? r : call_reply(call, json_object_get(parameters));
}

static void on_bytes(Stream *stream, const uint8_t *bytes, size_t n, void *userdata) {
        Run *run = userdata;

        (void)buffer_append(&run->stream, bytes, n);
        (void)stream_write(stream, bytes, n);
        /* The protocol's own way to end; what is behind it in the same read is not looked at, so nothing else depends on pieces. */
        if (memchr(bytes, 'q', n))
                stream_close(stream);
}

static void on_end(Stream *stream, void *userdata) {
        stream_close(stream);
}

static void on_closed(Stream *stream, int error, void *userdata) {
}

static const StreamHandler handler = { on_bytes, on_end, NULL, on_closed };

static int method_pipe(Call *call, json_object *parameters, void *userdata) {
        Stream *stream;

        return call_upgrade(call, json_object_get(parameters), &handler, userdata, &stream);
}

static void fault(Call *call, int error, void *userdata) {
        (void)call_error(call, "t.Fault", NULL);
}

static const Method methods[] = {
        { .name = "Echo", .handle = method_echo },
        { .name = "Fail", .handle = method_fail },
        { .name = "Count", .handle = method_count, .is_stream = true },
        { .name = "Watch", .handle = method_count, .is_stream = true, .needs_more = true },
        { .name = "Later", .handle = method_later, .is_fiber = true },
        { .name = "Pipe", .handle = method_pipe, .is_upgrade = true },
        {},
};
static const Interface interface = { "t", "interface t\n", DOOR_PUBLIC, methods };
static const Interface *const interfaces[] = { &interface, NULL };

static void run_turn(Run *run) {
        uint8_t bytes[65536];
        ssize_t n;

        for (unsigned i = 0; server_run(run->server, 0) > 0; i++)
                check(i < TURNS_MAX, "the loop comes to rest");
        while ((n = recv(run->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
                check(buffer_append(&run->output, bytes, (size_t)n) == 0, "output is bounded");
        run->is_over = run->is_over || n == 0 || errno != EAGAIN;
}

static void run_give(Run *run, const uint8_t *data, size_t n) {
        while (n > 0 && !run->is_over) {
                ssize_t sent = send(run->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);

                if (sent > 0) {
                        data += sent;
                        n -= (size_t)sent;
                } else if (errno != EAGAIN)
                        break;
                run_turn(run);
        }
}

static int run_open(Run *run) {
        const ServerOptions options = {
                .interfaces = interfaces,
                .userdata = run,
                .limits = { .n_connections = 1,
                                .n_bytes = 64U * 1024U * 1024U,
                                .n_calls = 1,
                                .n_streams = 1 },
                .message_timeout_usec = 3600 * USEC_PER_SEC,
                .fault = fault,
                .vendor = "v",
                .product = "p",
                .version = "1",
                .url = "u",
        };
        int pair[2];

        run->output.limit = run->stream.limit = OUTPUT_MAX;
        if (sd_event_new(&run->event) < 0 || server_new(run->event, &options, &run->server) < 0)
                return -ENOMEM;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
                return -errno;
        run->fd = pair[0];
        check(server_add_connection(run->server, pair[1], DOOR_PUBLIC) == 0, "the connection is taken");
        return 0;
}

/* Closes this end as clients do, lets everything come to its end. */
static void run_close(Run *run) {
        (void)shutdown(run->fd, SHUT_WR);
        run_turn(run);
        check(run->is_over, "a connection whose client has ended is closed when all is answered");
        (void)safe_close(run->fd);
        (void)fiber_cancel_all();
        (void)server_free(run->server);
        sd_event_unref(run->event);
}

static void run_done(Run *run) {
        buffer_done(&run->output);
        buffer_done(&run->stream);
}

/* pieces: their sizes, again and again; 0 means much. */
static void run_input(Run *run, const uint8_t pieces[static 8], const uint8_t *data, size_t n) {
        if (run_open(run) < 0)
                abort();
        for (size_t i = 0; n > 0; i = (i + 1) % 8) {
                size_t piece = MIN(pieces[i] == 0 ? SIZE_MAX : pieces[i], n);

                run_give(run, data, piece);
                data += piece;
                n -= piece;
        }
        run_close(run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const uint8_t whole[8];
        static bool is_quiet;
        _cleanup_(run_done) Run a = {}, b = {};

        if (!is_quiet)
                is_quiet = log_open(LOG_TARGET_STDERR, LOG_ERR) >= 0;
        if (size < 8)
                return 0;
        run_input(&a, data, data + 8, size - 8);
        run_input(&b, whole, data + 8, size - 8);
        /* The peer's own goodbye within a stream is the one thing that depends on pieces. */
        size_t n = a.stream.size > 0 || b.stream.size > 0 ? MIN(a.output.size, b.output.size)
                                                          : MAX(a.output.size, b.output.size);
        check(n <= a.output.size && n <= b.output.size &&
                                        memcmp(a.output.bytes ?: data, b.output.bytes ?: data, n) == 0,
                        "the answers do not depend on how the bytes were cut");
        return 0;
}
