/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The server with real sockets: framing, order, streams, clients that leave, and the limits that keep one uid from
 * harming another. Server and clients share one thread: nothing happens but in turn_all(), so each order of events
 * is chosen and not left to chance. Clients of other uids connect under their effective uid, which is what the kernel then
 * tells, and attach the same uid to what they send, which the kernel lets root do; test-witness.c has those who do not. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#if HAVE_VALGRIND
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#include "ipc/server.h"
#include "util/clock.h"
#include "util/fiber.h"

#define BIG  (200U * 1024U)
#define USER 1001U

/* What the methods did. */
static struct {
        Fiber *waiting;
        unsigned n_begun, n_ended;
        int last_result;
        bool is_same_process;
        int admission; /* what the admission says to every call */
} seen;

static int method_echo(Call *call, json_object *parameters, void *userdata) {
        return call_reply(call, json_object_get(parameters));
}

static int method_big(Call *call, json_object *parameters, void *userdata) {
        char *text = malloc(BIG + 1);

        memset(text, 'x', BIG);
        text[BIG] = 0;
        json_object *reply = json_build("text", 's', text, NULL);
        free(text);
        return call_reply(call, reply);
}

static int method_count(Call *call, json_object *parameters, void *userdata) {
        for (int64_t i = 1; i < 4 && call_wants_more(call); i++)
                if (call_notify(call, json_build("n", 'i', i, NULL)) < 0)
                        return 0;
        return call_reply(call, json_build("n", 'i', (int64_t)4, NULL));
}

/* Waits until the test resumes it. */
static int method_wait(Call *call, json_object *parameters, void *userdata) {
        int r;

        seen.n_begun++;
        seen.waiting = fiber_current();
        r = fiber_suspend();
        seen.waiting = NULL;
        seen.n_ended++;
        seen.last_result = r;
        return r < 0 ? r : call_reply(call, json_build("r", 'i', (int64_t)r, NULL));
}

/* Waits likewise, and says then whether the peer is who it was. */
static int method_look(Call *call, json_object *parameters, void *userdata) {
        int r;

        assert_true(call_peer_is_same_process(call));
        seen.waiting = fiber_current();
        r = fiber_suspend();
        seen.waiting = NULL;
        seen.is_same_process = call_peer_is_same_process(call);
        return r < 0 ? r : call_reply(call, NULL);
}

static int admit(Call *call, const Method *method, void *userdata) {
        if (seen.admission > 0)
                (void)call_error(call, "test.Refused", NULL);
        return seen.admission;
}

static void fault(Call *call, int error, void *userdata) {
        (void)call_error(call, "test.Fault", json_build("error", 'i', (int64_t)error, NULL));
}

static int method_fail(Call *call, json_object *parameters, void *userdata) {
        return -EIO;
}

static const Method methods[] = {
        { .name = "Echo", .handle = method_echo },
        { .name = "Big", .handle = method_big },
        { .name = "Fail", .handle = method_fail },
        { .name = "Count", .handle = method_count, .is_stream = true },
        { .name = "Watch", .handle = method_wait, .is_fiber = true, .ends_with_client = true },
        { .name = "Work", .handle = method_wait, .is_fiber = true },
        { .name = "Look", .handle = method_look, .is_fiber = true },
        {},
};
static const Interface interface = { "test", "interface test\n", DOOR_PUBLIC, methods };
static const Interface hidden = { "test.hidden", "interface test.hidden\n", DOOR_CONTROL, methods };
static const Interface *const interfaces[] = { &interface, &hidden, NULL };

typedef struct Host {
        sd_event *event;
        Server *server;
        char folder[32];
        struct sockaddr_un address;
} Host;

static int setup(void **state) {
        Host *h = calloc(1, sizeof(Host));
        const ServerOptions options = {
                .interfaces = interfaces,
                .limits = { .n_connections = 3, .n_bytes = 1500000, .n_calls = 2, .n_streams = 2 },
                .message_timeout_usec = 10 * USEC_PER_SEC,
                .admit = admit,
                .fault = fault,
                .vendor = "v",
                .product = "p",
                .version = "1",
                .url = "https://u.test",
        };
        int fd;

        memset(&seen, 0, sizeof(seen));
        (void)strcpy(h->folder, "/tmp/test-ipc-XXXXXX");
        if (!mkdtemp(h->folder) || chmod(h->folder, 0755) < 0)
                return -1;
        h->address.sun_family = AF_UNIX;
        (void)snprintf(h->address.sun_path, sizeof(h->address.sun_path), "%s/socket", h->folder);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *)&h->address, sizeof(h->address)) < 0 ||
                        listen(fd, 64) < 0 || chmod(h->address.sun_path, 0666) < 0)
                return -1;
        if (sd_event_new(&h->event) < 0 || server_new(h->event, &options, &h->server) < 0 ||
                        server_add_listener(h->server, fd, DOOR_PUBLIC) < 0)
                return -1;
        *state = h;
        return 0;
}

static int teardown(void **state) {
        Host *h = *state;

        while (fiber_cancel_all() > 0)
                if (server_run(h->server, 0) < 0)
                        break;
        (void)server_free(h->server); /* asserts that every charge was released */
        sd_event_unref(h->event);
        (void)unlink(h->address.sun_path);
        (void)rmdir(h->folder);
        free(h);
        return 0;
}

static void turn_all(Host *h) {
        int r = 1;

        /* A loop that does not come to rest is spinning. */
        for (unsigned n = 0; r > 0; n++) {
                assert_true(n < 100000);
                r = server_run(h->server, 0);
        }
        assert_int_equal(r, 0);
}

/* Who connected, by descriptor. */
static uid_t uids[1024];

static int client_new(Host *h, uid_t uid) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

        assert_true(fd >= 0);
        assert_int_equal(seteuid(uid), 0);
        r = connect(fd, (struct sockaddr *)&h->address, sizeof(h->address));
        assert_int_equal(seteuid(0), 0);
        assert_int_equal(r, 0);
        assert_true((size_t)fd < ELEMENTSOF(uids));
        uids[fd] = uid;
        return fd;
}

/* send(2) as whoever connected. */
static ssize_t give(int fd, const void *bytes, size_t n) {
        union {
                struct cmsghdr header;
                uint8_t bytes[CMSG_SPACE(sizeof(struct ucred))];
        } control = {};
        struct ucred writer = { .pid = getpid(), .uid = uids[fd], .gid = 0 };
        struct iovec iov = { (void *)bytes, n };
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };

        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_CREDENTIALS;
        control.header.cmsg_len = CMSG_LEN(sizeof(writer));
        memcpy(CMSG_DATA(&control.header), &writer, sizeof(writer));
        return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void say(int fd, const char *text) {
        assert_int_equal(give(fd, text, strlen(text) + 1), (ssize_t)strlen(text) + 1);
}

/* The next message of the server; NULL: nothing is there, "": the connection has ended. */
static const char *hear(Host *h, int fd) {
        static char text[BIG + 1000];
        size_t n = 0;

        for (;;) {
                turn_all(h);
                ssize_t got = recv(fd, text + n, 1, MSG_DONTWAIT);
                if (got < 0 && errno == EAGAIN && n == 0)
                        return NULL;
                if (got < 0 && errno == EAGAIN)
                        continue; /* the rest is under way */
                if (got <= 0)
                        return "";
                /* The rest of what is there, up to the message's end. */
                if (text[n++] == 0)
                        return text;
                ssize_t more = recv(fd, text + n, sizeof(text) - 1 - n, MSG_DONTWAIT | MSG_PEEK);
                const char *end = more > 0 ? memchr(text + n, 0, (size_t)more) : NULL;
                size_t take = end ? (size_t)(end - (text + n)) + 1 : more > 0 ? (size_t)more : 0;
                assert_int_equal(recv(fd, text + n, take, MSG_DONTWAIT), take);
                n += take;
                if (end)
                        return text;
        }
}

static void assert_hears(Host *h, int fd, const char *expected) {
        const char *got = hear(h, fd);

        if (!got || !streq(got, expected))
                fail_msg("heard %.200s, expected %s", got ?: "nothing", expected);
}

static void assert_ended(Host *h, int fd) {
        assert_hears(h, fd, "");
}

static void assert_works(Host *h, int fd) {
        say(fd, "{\"method\":\"test.Echo\",\"parameters\":{\"still\":1}}");
        assert_hears(h, fd, "{\"parameters\":{\"still\":1}}");
}

static void message_may_come_byte_by_byte(void **state) {
        static const char text[] = "{\"method\":\"test.Echo\",\"parameters\":{\"a\":\"\\u00e9\"}}";
        Host *h = *state;
        _cleanup_(closep) int fd = client_new(h, USER);

        for (size_t i = 0; i < sizeof(text); i++) {
                assert_null(hear(h, fd));
                assert_int_equal(give(fd, text + i, 1), 1);
        }
        assert_hears(h, fd, "{\"parameters\":{\"a\":\"é\"}}");
        assert_works(h, fd);
}

static void pipelined_calls_are_answered_in_order(void **state) {
        Host *h = *state;
        _cleanup_(closep) int fd = client_new(h, USER);

        for (unsigned i = 0; i < 50; i++) {
                char text[100];

                (void)snprintf(text, sizeof(text), "{\"method\":\"test.%s\",\"parameters\":{\"n\":%u}}",
                                i == 20 ? "Work" : "Echo", i);
                say(fd, text);
        }
        for (unsigned i = 0; i < 50; i++) {
                char text[100];

                (void)snprintf(text, sizeof(text),
                                i == 20 ? "{\"parameters\":{\"r\":%u}}" : "{\"parameters\":{\"n\":%u}}", i);
                if (i == 20) {
                        /* Nothing overtakes a call that takes its time. */
                        assert_null(hear(h, fd));
                        fiber_resume(seen.waiting, 20);
                }
                assert_hears(h, fd, text);
        }
        assert_null(hear(h, fd));
}

/* More than the socket holds, so that some is still to be sent when the bad message is read. */
static void bad_message_takes_no_answers_away(void **state) {
        Host *h = *state;
        _cleanup_(closep) int fd = client_new(h, USER);

        for (unsigned i = 0; i < 3; i++)
                say(fd, "{\"method\":\"test.Big\"}");
        say(fd, "garbage");
        say(fd, "{\"method\":\"test.Echo\"}");
        turn_all(h);
        for (unsigned i = 0; i < 3; i++) {
                const char *got = hear(h, fd);

                assert_non_null(got);
                assert_true(strlen(got) > BIG);
        }
        assert_ended(h, fd);
}

static void oneway_gets_no_answer(void **state) {
        Host *h = *state;
        _cleanup_(closep) int fd = client_new(h, USER);

        say(fd, "{\"method\":\"test.Echo\",\"oneway\":true}");
        say(fd, "{\"method\":\"test.Nothing\",\"oneway\":true}");
        say(fd, "{\"method\":\"test.Fail\",\"oneway\":true}");
        assert_null(hear(h, fd));
        assert_works(h, fd);
        assert_null(hear(h, fd));
}

static void more_streams_with_continues(void **state) {
        Host *h = *state;
        _cleanup_(closep) int fd = client_new(h, USER);

        say(fd, "{\"method\":\"test.Count\",\"more\":true}");
        assert_hears(h, fd, "{\"parameters\":{\"n\":1},\"continues\":true}");
        assert_hears(h, fd, "{\"parameters\":{\"n\":2},\"continues\":true}");
        assert_hears(h, fd, "{\"parameters\":{\"n\":3},\"continues\":true}");
        assert_hears(h, fd, "{\"parameters\":{\"n\":4}}");
        say(fd, "{\"method\":\"test.Count\"}");
        assert_hears(h, fd, "{\"parameters\":{\"n\":4}}");
}

static void unknown_and_failing_calls_are_answered_by_name(void **state) {
        Host *h = *state;
        _cleanup_(closep) int fd = client_new(h, USER);

        say(fd, "{\"method\":\"test.Nothing\"}");
        assert_hears(h, fd,
                        "{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{\"method\":"
                        "\"test.Nothing\"}}");
        say(fd, "{\"method\":\"nowhere.Echo\"}");
        assert_hears(h, fd,
                        "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":"
                        "\"nowhere\"}}");
        say(fd, "{\"method\":\"Echo\"}");
        assert_hears(h, fd,
                        "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":"
                        "\"Echo\"}}");
        say(fd, "{\"method\":\"test.Echo\",\"upgrade\":true}");
        assert_hears(h, fd,
                        "{\"error\":\"org.varlink.service.MethodNotImplemented\",\"parameters\":{\"method\":"
                        "\"test.Echo\"}}");
        say(fd, "{\"method\":\"test.Fail\"}");
        assert_hears(h, fd, "{\"error\":\"test.Fault\",\"parameters\":{\"error\":-5}}");
        assert_works(h, fd);
}

static void interface_of_another_door_is_not_there(void **state) {
        Host *h = *state;
        _cleanup_(closep) int fd = client_new(h, USER);

        say(fd, "{\"method\":\"test.hidden.Echo\"}");
        assert_hears(h, fd,
                        "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":"
                        "\"test.hidden\"}}");
        say(fd, "{\"method\":\"org.varlink.service.GetInfo\"}");
        const char *info = hear(h, fd);
        assert_non_null(info);
        assert_non_null(strstr(info, "\"test\""));
        assert_null(strstr(info, "hidden"));
        say(fd, "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{\"interface\":"
                "\"test.hidden\"}}");
        assert_hears(h, fd,
                        "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":"
                        "\"test.hidden\"}}");
}

static void leaving_client_cancels_only_what_ends_with_it(void **state) {
        Host *h = *state;
        int fd = client_new(h, USER);

        say(fd, "{\"method\":\"test.Watch\"}");
        turn_all(h);
        assert_int_equal(seen.n_begun, 1);
        (void)close(fd);
        turn_all(h);
        assert_int_equal(seen.n_ended, 1);
        assert_int_equal(seen.last_result, -ECANCELED);

        fd = client_new(h, USER);
        say(fd, "{\"method\":\"test.Work\"}");
        turn_all(h);
        assert_int_equal(seen.n_begun, 2);
        (void)close(fd);
        turn_all(h);
        assert_int_equal(seen.n_ended, 1); /* what changes something goes on */
        fiber_resume(seen.waiting, 3);
        turn_all(h);
        assert_int_equal(seen.n_ended, 2);
        assert_int_equal(seen.last_result, 3);
}

/* What /proc says is believed while the process that connected is there; nothing tells that of one that has left. */
static void peer_that_has_left_is_the_same_process_no_more(void **state) {
        Host *h = *state;
        int fd = client_new(h, USER);

        for (unsigned i = 0; i < 2; i++) {
                say(fd, "{\"method\":\"test.Look\"}");
                turn_all(h);
                seen.is_same_process = i > 0;
                if (i > 0)
                        fd = safe_close(fd);
                turn_all(h);
                fiber_resume(seen.waiting, 1);
                turn_all(h);
                assert_true(seen.is_same_process == (i == 0));
                if (i == 0)
                        assert_hears(h, fd, "{\"parameters\":{}}");
        }
}

static void method_that_is_not_admitted_does_not_run(void **state) {
        Host *h = *state;
        _cleanup_(closep) int fd = client_new(h, USER);

        seen.admission = -EACCES;
        say(fd, "{\"method\":\"test.Work\"}");
        assert_hears(h, fd, "{\"error\":\"test.Fault\",\"parameters\":{\"error\":-13}}");
        say(fd, "{\"method\":\"test.Echo\"}");
        assert_hears(h, fd, "{\"error\":\"test.Fault\",\"parameters\":{\"error\":-13}}");
        seen.admission = 1;
        say(fd, "{\"method\":\"test.Work\"}");
        assert_hears(h, fd, "{\"error\":\"test.Refused\",\"parameters\":{}}");
        assert_int_equal(seen.n_begun, 0);
        seen.admission = 0;
        assert_works(h, fd);
}

static void half_closed_client_still_gets_its_answer(void **state) {
        Host *h = *state;
        _cleanup_(closep) int fd = client_new(h, USER);

        say(fd, "{\"method\":\"test.Work\"}");
        turn_all(h);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        turn_all(h);
        assert_int_equal(seen.n_ended, 0);
        fiber_resume(seen.waiting, 8);
        assert_hears(h, fd, "{\"parameters\":{\"r\":8}}");
        assert_ended(h, fd);
}

static void malformed_message_ends_that_connection_alone(void **state) {
        Host *h = *state;
        _cleanup_(closep) int bad = client_new(h, USER), good = client_new(h, USER);

        say(bad, "{\"method\":\"test.Echo\",\"uid\":0}");
        assert_ended(h, bad);
        assert_works(h, good);
}

static void connections_per_uid_are_bounded(void **state) {
        Host *h = *state;
        int fds[4];

        for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
                fds[i] = client_new(h, USER);
                turn_all(h);
        }
        assert_ended(h, fds[3]);
        (void)close(fds[3]);
        for (size_t i = 0; i < 3; i++)
                assert_works(h, fds[i]);
        _cleanup_(closep) int other = client_new(h, USER + 1);
        assert_works(h, other);
        /* Room that was given back can be had again. */
        (void)close(fds[0]);
        turn_all(h);
        fds[0] = client_new(h, USER);
        for (size_t i = 0; i < 3; i++) {
                assert_works(h, fds[i]);
                (void)close(fds[i]);
        }
}

static void slow_reader_is_cut_at_its_limit_without_hurting_others(void **state) {
        Host *h = *state;
        _cleanup_(closep) int slow = client_new(h, USER), other = client_new(h, USER + 1),
                              own = client_new(h, USER);
        unsigned n_sent = 0;

        /* It asks and does not read. */
        while (n_sent < 100 &&
                        give(slow, "{\"method\":\"test.Big\"}", sizeof("{\"method\":\"test.Big\"}")) > 0) {
                n_sent++;
                turn_all(h);
                assert_works(h, other);
        }
        assert_true(n_sent >= 1500000 / BIG);     /* not before the limit */
        assert_true(n_sent <= 1500000 / BIG + 4); /* what the socket's own buffer takes comes on top */
        assert_works(h, own);                     /* and what it had charged is free again */
}

static void message_beyond_a_mebibyte_ends_the_connection(void **state) {
        Host *h = *state;
        _cleanup_(closep) int fd = client_new(h, USER), other = client_new(h, USER + 1);
        char piece[4096];
        size_t n = 0;

        memset(piece, ' ', sizeof(piece));
        for (ssize_t sent; n < 3 * 1024 * 1024 && (sent = give(fd, piece, sizeof(piece))) > 0;) {
                n += (size_t)sent;
                turn_all(h);
        }
        assert_true(n >= 1024 * 1024);
        assert_true(n <= 1024 * 1024 + 128 * 1024);
        assert_works(h, other);
}

/* Sends what goes, turns, and so on until all is sent. */
static void say_much(Host *h, int fd, const char *bytes, size_t n) {
        while (n > 0) {
                ssize_t sent = give(fd, bytes, n);

                assert_true(sent > 0 || errno == EAGAIN);
                if (sent > 0) {
                        bytes += sent;
                        n -= (size_t)sent;
                }
                turn_all(h);
        }
}

static void large_message_may_have_others_behind_it(void **state) {
        static const char begin[] = "{\"method\":\"test.Echo\"", end[] = "}",
                          next[] = "{\"method\":\"test.Count\"}";
        size_t n_blank = 1030000, n = 0;
        Host *h = *state;
        _cleanup_(closep) int fd = client_new(h, USER);
        _cleanup_(freep) char *text = malloc(n_blank + 3000 * sizeof(next));

        assert_non_null(text);
        n = sizeof(begin) - 1;
        memcpy(text, begin, n);
        memset(text + n, ' ', n_blank);
        n += n_blank;
        memcpy(text + n, end, sizeof(end));
        n += sizeof(end);
        for (unsigned i = 0; i < 2000; i++) {
                memcpy(text + n, next, sizeof(next));
                n += sizeof(next);
        }
        /* So that the reads do not end where the limit is. */
        say_much(h, fd, text, 100);
        say_much(h, fd, text + 100, n - 100);
        assert_hears(h, fd, "{\"parameters\":{}}");
        for (unsigned i = 0; i < 2000; i++)
                assert_hears(h, fd, "{\"parameters\":{\"n\":4}}");
}

static void running_out_of_descriptors_pauses_and_resumes(void **state) {
        Host *h = *state;
        _cleanup_(closep) int early = client_new(h, USER), late = -1;
        struct rlimit before, now;
        uint64_t begin;
        int lowest;

        assert_works(h, early);
        late = client_new(h, USER); /* waits in the backlog */
        lowest = dup(early);
        (void)close(lowest);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        now = before;
        now.rlim_cur = (rlim_t)lowest;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);

        say(late, "{\"method\":\"test.Echo\"}");
        assert_null(hear(h, late));
        /* Paused, not spinning: the loop waits in between, and those who are in are served. */
        assert_works(h, early);
        unsigned n_runs = 0;
        for (begin = now_monotonic(); now_monotonic() - begin < 300 * USEC_PER_MSEC; n_runs++)
                assert_true(server_run(h->server, 30 * USEC_PER_MSEC) >= 0);
        assert_true(n_runs < 60);

        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        begin = now_monotonic();
        const char *text = NULL;
        while (!text && now_monotonic() - begin < 5 * USEC_PER_SEC) {
                assert_true(server_run(h->server, 50 * USEC_PER_MSEC) >= 0);
                text = hear(h, late);
        }
        assert_non_null(text);
        assert_string_equal(text, "{\"parameters\":{}}");
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
                TEST(message_may_come_byte_by_byte),
                TEST(pipelined_calls_are_answered_in_order),
                TEST(bad_message_takes_no_answers_away),
                TEST(oneway_gets_no_answer),
                TEST(more_streams_with_continues),
                TEST(unknown_and_failing_calls_are_answered_by_name),
                TEST(interface_of_another_door_is_not_there),
                TEST(leaving_client_cancels_only_what_ends_with_it),
                TEST(peer_that_has_left_is_the_same_process_no_more),
                TEST(method_that_is_not_admitted_does_not_run),
                TEST(half_closed_client_still_gets_its_answer),
                TEST(malformed_message_ends_that_connection_alone),
                TEST(connections_per_uid_are_bounded),
                TEST(slow_reader_is_cut_at_its_limit_without_hurting_others),
                TEST(message_beyond_a_mebibyte_ends_the_connection),
                TEST(large_message_may_have_others_behind_it),
                TEST(running_out_of_descriptors_pauses_and_resumes),
        };

        /* valgrind plays the descriptor limit itself: it accepts, then closes what is above it. */
        if (RUNNING_ON_VALGRIND)
                cmocka_set_skip_filter("running_out_of_descriptors_*");
        return cmocka_run_group_tests_name("ipc-connection", tests, NULL, NULL);
}
