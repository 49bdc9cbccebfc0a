/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* See toy.h. Server and clients of this process share one thread, so each order of events is chosen. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <ctype.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "toy.h"
#include "util/clock.h"
#include "util/fiber.h"

static int method_echo(Call *call, json_object *parameters, void *userdata) {
        Toy *toy = userdata;

        if (toy->n_calls < ELEMENTSOF(toy->order))
                toy->order[toy->n_calls] = call_principal(call)->uid;
        toy->n_calls++;
        toy->last_uid = call_principal(call)->uid;
        return call_reply(call, json_object_get(parameters));
}

static int method_wait(Call *call, json_object *parameters, void *userdata) {
        Toy *toy = userdata;

        toy->n_calls++;
        toy->waiting = call_ref(call);
        return 0;
}

static int method_wait_for(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { { "uid", JSON_FIELD_INT64, 0, true }, {} };
        const char *bad;
        int64_t uid = 0;
        int r;

        if (json_dispatch(parameters, fields, &uid, &bad) < 0)
                return call_invalid_parameter(call, bad);
        r = call_charge_to(call, (uid_t)uid);
        return r < 0 ? r : method_wait(call, parameters, userdata);
}

void toy_answer(Toy *toy) {
        _cleanup_(call_unrefp) Call *call = TAKE_PTR(toy->waiting);

        assert_non_null(call);
        (void)call_reply(call, NULL);
}

static int method_count(Call *call, json_object *parameters, void *userdata) {
        for (int64_t i = 0; i < 2 && call_wants_more(call); i++)
                (void)call_notify(call, json_build("n", 'i', i, NULL));
        return call_reply(call, json_build("n", 'i', (int64_t)2, NULL));
}

static void record(Toy *toy, const uint8_t *bytes, size_t n) {
        assert_true(toy->n_bytes + n <= sizeof(toy->bytes));
        memcpy(toy->bytes + toy->n_bytes, bytes, n);
        toy->n_bytes += n;
}

static void on_bytes_mute(Stream *stream, const uint8_t *bytes, size_t n, void *userdata) {
        record(userdata, bytes, n);
}

static void on_bytes_pipe(Stream *stream, const uint8_t *bytes, size_t n, void *userdata) {
        record(userdata, bytes, n);
        for (size_t i = 0; i < n; i++) {
                char upper = (char)toupper(bytes[i]);

                (void)stream_write(stream, &upper, 1);
        }
}

static void on_end(Stream *stream, void *userdata) {
        ((Toy *)userdata)->has_ended = true;
}

static void on_drained(Stream *stream, void *userdata) {
        ((Toy *)userdata)->has_drained = true;
}

static void on_closed(Stream *stream, int error, void *userdata) {
        Toy *toy = userdata;

        if (toy->stream == stream)
                toy->stream = NULL;
        toy->is_closed = true;
        toy->close_error = error;
        toy->n_closed++;
}

static const StreamHandler pipe_handler = { on_bytes_pipe, on_end, on_drained, on_closed };
static const StreamHandler mute_handler = { on_bytes_mute, NULL, NULL, on_closed };

static int method_pipe(Call *call, json_object *parameters, void *userdata) {
        Toy *toy = userdata;

        return call_upgrade(call, NULL, &pipe_handler, toy, &toy->stream);
}

static int method_mute(Call *call, json_object *parameters, void *userdata) {
        Toy *toy = userdata;

        return call_upgrade(call, NULL, &mute_handler, toy, &toy->stream);
}

static void fault(Call *call, int error, void *userdata) {
        (void)call_error(call, "toy.Fault", json_build("error", 's', strerrorname_np(-error), NULL));
}

static int method_work(Call *call, json_object *parameters, void *userdata) {
        json_object *services = NULL;
        Toy *toy = userdata;
        int r = 0;

        toy->n_calls++;
        (void)json_object_object_get_ex(parameters, "services", &services);
        for (size_t i = 0; services && i < json_object_array_length(services) && r >= 0; i++)
                r = call_uses_service(call, json_object_get_string(json_object_array_get_idx(services, i)));
        if (r >= 0)
                r = fiber_sleep(60 * USEC_PER_SEC);
        return r < 0 ? r : call_reply(call, NULL);
}

static const Method methods[] = {
        { .name = "Echo", .handle = method_echo },
        { .name = "Wait", .handle = method_wait },
        { .name = "WaitFor", .handle = method_wait_for },
        { .name = "Watch", .handle = method_count, .is_stream = true, .needs_more = true },
        { .name = "Hold", .handle = method_wait, .is_stream = true },
        { .name = "Count", .handle = method_count, .is_stream = true },
        { .name = "Pipe", .handle = method_pipe, .is_upgrade = true },
        { .name = "Mute", .handle = method_mute, .is_upgrade = true },
        { .name = "Work", .handle = method_work, .is_fiber = true, .uses_credentials = true },
        { .name = "Care", .handle = method_work, .is_fiber = true },
        {},
};
static const Interface interface = { "toy",
        "interface toy\n\nmethod Echo() -> ()\nmethod Count(n: ?int) -> ()\n", DOOR_PUBLIC, methods };
static const Interface *const interfaces[] = { &interface, NULL };

Toy *toy_new(const Limits *limits) {
        return toy_new_with_timeout(limits, 10 * USEC_PER_SEC);
}

Toy *toy_new_with_timeout(const Limits *limits, uint64_t message_timeout_usec) {
        return toy_new_with_times(limits, message_timeout_usec, 0);
}

Toy *toy_new_with_times(const Limits *limits, uint64_t message_timeout_usec, uint64_t refusal_usec) {
        Toy *toy = calloc(1, sizeof(Toy));
        const ServerOptions options = {
                .interfaces = interfaces,
                .userdata = toy,
                .limits = *limits,
                .message_timeout_usec = message_timeout_usec,
                .refusal_usec = refusal_usec,
                .fault = fault,
                .vendor = "v",
                .product = "p",
                .version = "1",
                .url = "https://u.test",
        };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        assert_non_null(toy);
        (void)strcpy(toy->folder, "/tmp/test-ipc-XXXXXX");
        assert_non_null(mkdtemp(toy->folder));
        assert_int_equal(chmod(toy->folder, 0755), 0);
        toy->address.sun_family = AF_UNIX;
        (void)snprintf(toy->address.sun_path, sizeof(toy->address.sun_path), "%s/socket", toy->folder);
        assert_int_equal(bind(fd, (struct sockaddr *)&toy->address, sizeof(toy->address)), 0);
        assert_int_equal(listen(fd, 1024), 0);
        assert_int_equal(chmod(toy->address.sun_path, 0666), 0);
        assert_true(sd_event_new(&toy->event) >= 0);
        assert_int_equal(server_new(toy->event, &options, &toy->server), 0);
        assert_int_equal(server_add_listener(toy->server, fd, DOOR_PUBLIC), 0);
        return toy;
}

Toy *toy_free(Toy *toy) {
        if (!toy)
                return NULL;
        if (toy->waiting)
                (void)call_unref(TAKE_PTR(toy->waiting));
        while (toy->server && fiber_cancel_all() > 0)
                assert_true(server_run(toy->server, 0) >= 0);
        (void)server_free(toy->server); /* asserts that every charge was released */
        sd_event_unref(toy->event);
        (void)unlink(toy->address.sun_path);
        (void)rmdir(toy->folder);
        free(toy);
        return NULL;
}

void toy_turn(Toy *toy) {
        int r;

        while ((r = server_run(toy->server, 0)) > 0)
                ;
        assert_int_equal(r, 0);
}

void toy_turn_until(Toy *toy, const bool *flag) {
        uint64_t begin = now_monotonic();

        while (!*flag) {
                assert_true(now_monotonic() - begin < 5 * USEC_PER_SEC);
                assert_true(server_run(toy->server, 20 * USEC_PER_MSEC) >= 0);
        }
}

int toy_connect(Toy *toy) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(connect(fd, (struct sockaddr *)&toy->address, sizeof(toy->address)), 0);
        return fd;
}

void toy_say(int fd, const char *text) {
        ssize_t n = (ssize_t)strlen(text) + 1;

        assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT), n);
}

void toy_expect(Toy *toy, int fd, const char *expected) {
        char text[4096];
        size_t n = 0;
        ssize_t got;

        toy_turn(toy);
        while (n < sizeof(text) - 1 && (got = recv(fd, text + n, 1, MSG_DONTWAIT)) > 0)
                if (text[n++] == 0)
                        break;
        if (n == 0) {
                bool is_open = got < 0 && errno == EAGAIN;

                if (!expected ? !is_open : (is_open || !streq(expected, "")))
                        fail_msg("%s, expected %s", is_open ? "nothing came" : "closed",
                                        expected ?: "nothing");
                return;
        }
        text[n] = 0;
        if (!expected || !streq(text, expected))
                fail_msg("got %s, expected %s", text, expected ?: "nothing");
}
