/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The client end of the wire against a listener of this process's own: message boundaries, sizes, deadlines, signals. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "util/clock.h"
#include "util/wire-client.h"

#define MIB (1024U * 1024U)

typedef struct Stage {
        char folder[32];
        char path[64];
        int listener;
        int server; /* the accepted end */
        WireClient *client;
} Stage;

static uint64_t in_msec(uint64_t n) {
        return now_monotonic() + n * USEC_PER_MSEC;
}

static int setup(void **state) {
        Stage *s = calloc(1, sizeof(Stage));
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        assert_non_null(s);
        strcpy(s->folder, "/tmp/vaultd-wire-XXXXXX");
        assert_non_null(mkdtemp(s->folder));
        (void)snprintf(s->path, sizeof(s->path), "%s/socket", s->folder);
        strcpy(address.sun_path, s->path);
        s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_return_code(bind(s->listener, (struct sockaddr *)&address, sizeof(address)), errno);
        assert_return_code(listen(s->listener, 1), errno);
        assert_int_equal(wire_client_connect(s->path, in_msec(1000), false, &s->client), 0);
        s->server = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        assert_return_code(s->server, errno);
        *state = s;
        return 0;
}

static int teardown(void **state) {
        Stage *s = *state;

        (void)wire_client_free(s->client);
        (void)safe_close(s->server);
        (void)safe_close(s->listener);
        (void)unlink(s->path);
        (void)rmdir(s->folder);
        free(s);
        return 0;
}

/* Writes it all from a thread, since a socket holds less than a large message. */
typedef struct Writer {
        int fd;
        size_t n; /* this many letters, then one NUL */
} Writer;

static void *write_message(void *userdata) {
        const Writer *w = userdata;
        _cleanup_(freep) char *bytes = malloc(w->n + 1);

        if (!bytes)
                abort();
        memset(bytes, 'x', w->n);
        bytes[w->n] = 0;
        for (size_t done = 0; done <= w->n;) {
                ssize_t k = send(w->fd, bytes + done, w->n + 1 - done, MSG_NOSIGNAL);

                if (k < 0)
                        break;
                done += (size_t)k;
        }
        return NULL;
}

static int receive_of_size(Stage *s, size_t n, size_t *ret_size) {
        Writer writer = { .fd = s->server, .n = n };
        const char *message;
        pthread_t thread;
        int r;

        assert_int_equal(pthread_create(&thread, NULL, write_message, &writer), 0);
        r = wire_client_receive(s->client, in_msec(5000), &message, ret_size);
        if (r < 0)
                s->client = wire_client_free(s->client); /* lets the writer end */
        assert_int_equal(pthread_join(thread, NULL), 0);
        return r;
}

static void test_messages_are_told_apart_whatever_the_packets(void **state) {
        Stage *s = *state;
        const char *message;
        size_t n;

        assert_int_equal(send(s->server, "one\0two\0\0thr", 12, 0), 12);
        assert_int_equal(wire_client_receive(s->client, in_msec(1000), &message, &n), 0);
        assert_string_equal(message, "one");
        assert_int_equal(n, 3);
        assert_int_equal(wire_client_receive(s->client, in_msec(1000), &message, &n), 0);
        assert_string_equal(message, "two");
        assert_int_equal(wire_client_receive(s->client, in_msec(1000), &message, &n), 0);
        assert_int_equal(n, 0);
        assert_int_equal(wire_client_receive(s->client, in_msec(10), &message, &n), -ETIMEDOUT);
        assert_int_equal(send(s->server, "ee", 3, 0), 3);
        assert_int_equal(wire_client_receive(s->client, in_msec(1000), &message, &n), 0);
        assert_string_equal(message, "three");
}

static void test_complete_message_is_had_also_after_the_deadline(void **state) {
        Stage *s = *state;
        const char *message;
        size_t n;

        assert_int_equal(send(s->server, "x", 2, 0), 2);
        assert_int_equal(wire_client_receive(s->client, 0, &message, &n), 0);
        assert_string_equal(message, "x");
}

/* However much there is to read, the clock is looked at in between. */
static void test_stream_without_an_end_is_left_at_the_deadline(void **state) {
        Stage *s = *state;
        char bytes[100000];
        const char *message;
        int unread = 0;
        size_t n;

        memset(bytes, 'x', sizeof(bytes));
        assert_int_equal(send(s->server, bytes, sizeof(bytes), 0), sizeof(bytes));
        assert_int_equal(wire_client_receive(s->client, now_monotonic(), &message, &n), -ETIMEDOUT);
        assert_return_code(ioctl(wire_client_fd(s->client), FIONREAD, &unread), errno);
        assert_in_range(unread, 50000, sizeof(bytes));
}

static void test_message_of_one_mebibyte_is_the_largest(void **state) {
        Stage *s = *state;
        size_t n;

        assert_int_equal(receive_of_size(s, MIB, &n), 0);
        assert_int_equal(n, MIB);
        assert_int_equal(receive_of_size(s, MIB + 1, &n), -EMSGSIZE);
}

static void test_end_of_stream_is_epipe_also_inside_a_message(void **state) {
        Stage *s = *state;
        const char *message;
        size_t n;

        assert_int_equal(send(s->server, "hal", 3, 0), 3);
        s->server = safe_close(s->server);
        assert_int_equal(wire_client_receive(s->client, in_msec(1000), &message, &n), -EPIPE);
}

static void test_send_ends_the_message(void **state) {
        Stage *s = *state;
        char bytes[16];

        assert_int_equal(wire_client_send(s->client, "hello", 5, in_msec(1000)), 0);
        assert_int_equal(recv(s->server, bytes, sizeof(bytes), 0), 6);
        assert_memory_equal(bytes, "hello", 6);
}

static void test_send_refuses_what_would_be_two_messages_or_too_large(void **state) {
        Stage *s = *state;
        _cleanup_(freep) char *large = malloc(MIB + 1);
        char byte;

        assert_non_null(large);
        memset(large, 'x', MIB + 1);
        assert_int_equal(wire_client_send(s->client, "a\0b", 3, in_msec(1000)), -EINVAL);
        assert_int_equal(wire_client_send(s->client, large, MIB + 1, in_msec(1000)), -EMSGSIZE);
        assert_int_equal(recv(s->server, &byte, 1, MSG_DONTWAIT), -1);
}

static void test_send_to_nobody_is_epipe_without_a_signal(void **state) {
        Stage *s = *state;

        assert_ptr_equal(signal(SIGPIPE, SIG_DFL), SIG_DFL);
        s->server = safe_close(s->server);
        assert_int_equal(wire_client_send(s->client, "x", 1, in_msec(1000)), -EPIPE);
}

static void test_send_to_one_who_does_not_read_ends_at_the_deadline(void **state) {
        Stage *s = *state;
        _cleanup_(freep) char *large = malloc(MIB);
        uint64_t started = now_monotonic();

        assert_non_null(large);
        memset(large, 'x', MIB);
        assert_int_equal(wire_client_send(s->client, large, MIB, in_msec(100)), -ETIMEDOUT);
        assert_in_range(now_monotonic() - started, 95000, 250000);
}

static void test_full_backlog_ends_at_the_deadline(void **state) {
        Stage *s = *state;
        WireClient *fillers[8] = {}, *client = NULL;
        uint64_t started;
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(fillers) && r == 0; i++)
                r = wire_client_connect(s->path, 0, false, &fillers[i]);
        assert_int_equal(r, -ETIMEDOUT); /* that one did not wait */
        started = now_monotonic();
        assert_int_equal(wire_client_connect(s->path, in_msec(100), false, &client), -ETIMEDOUT);
        assert_in_range(now_monotonic() - started, 95000, 250000);
        assert_null(client);
        for (size_t i = 0; i < ELEMENTSOF(fillers); i++)
                (void)wire_client_free(fillers[i]);
}

static void test_connect_says_why_not(void **state) {
        Stage *s = *state;
        WireClient *client = NULL;
        char path[200];

        memset(path, 'x', sizeof(path));
        path[sizeof(path) - 1] = 0;
        assert_int_equal(wire_client_connect(path, in_msec(100), false, &client), -ENAMETOOLONG);
        assert_int_equal(wire_client_connect("/nonexistent/socket", in_msec(100), false, &client), -ENOENT);
        s->listener = safe_close(s->listener);
        assert_int_equal(wire_client_connect(s->path, in_msec(100), false, &client), -ECONNREFUSED);
        assert_null(client);
}

static void test_root_is_required_when_asked_for(void **state) {
        Stage *s = *state;
        WireClient *client = NULL;

        assert_int_equal(wire_client_peer_uid(s->client), geteuid());
        assert_int_equal(wire_client_connect(s->path, in_msec(100), true, &client),
                        geteuid() == 0 ? 0 : -EPERM);
        (void)wire_client_free(client);
}

static void test_descriptor_is_not_inherited_and_does_not_block(void **state) {
        Stage *s = *state;
        int fd = wire_client_fd(s->client);

        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

#define WIRE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                WIRE_TEST(test_messages_are_told_apart_whatever_the_packets),
                WIRE_TEST(test_complete_message_is_had_also_after_the_deadline),
                WIRE_TEST(test_stream_without_an_end_is_left_at_the_deadline),
                WIRE_TEST(test_message_of_one_mebibyte_is_the_largest),
                WIRE_TEST(test_end_of_stream_is_epipe_also_inside_a_message),
                WIRE_TEST(test_send_ends_the_message),
                WIRE_TEST(test_send_refuses_what_would_be_two_messages_or_too_large),
                WIRE_TEST(test_send_to_nobody_is_epipe_without_a_signal),
                WIRE_TEST(test_send_to_one_who_does_not_read_ends_at_the_deadline),
                WIRE_TEST(test_full_backlog_ends_at_the_deadline),
                WIRE_TEST(test_connect_says_why_not),
                WIRE_TEST(test_root_is_required_when_asked_for),
                WIRE_TEST(test_descriptor_is_not_inherited_and_does_not_block),
        };

        return cmocka_run_group_tests_name("wire-client", tests, NULL, NULL);
}
