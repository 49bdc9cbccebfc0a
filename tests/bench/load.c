/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The client of the benches: sends one NUL-ended message over and over and counts what comes back.
 *
 * Closed loop: a client sends its next request when the former one was answered, so the rate is what the server
 * bears and the latency is not that of a queue we made ourselves. Several clients share one thread and one epoll
 * descriptor, like the server; a single one blocks in recv(2) instead, which adds nothing of ours to its latency. In
 * fresh mode a request is everything from socket(2) to the last byte of the reply.
 *
 * A reply that is an error, or a connection that was closed, counts as failed and not as a request: a server that
 * refuses quickly must not look fast.
 *
 * usage: bench-load SOCKET MESSAGE [mode=persistent|fresh|hold] [clients=N] [seconds=S] [pipeline=N] [pause=USEC]
 *                   [uid=U] [uids=N] [step=N] [login=yes]
 *   pipeline: messages in one write, persistent only · pause: between requests of a single client · hold: open N
 *   connections of N uids (uid, uid + step, …), one call on each, then keep them until the input ends; in fresh mode with
 *   one client each request comes from the next of them · login: as from a login of that uid; otherwise as a service,
 *   whoever runs this
 * One line of JSON: requests, failed, seconds, rate, and p50 and p99 in microseconds. */

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "util/macro.h"

#define CLIENTS_MAX  20000U
#define PIPELINE_MAX 1024U
#define TURN_MSEC    50
#define ERROR_PREFIX "{\"error\""

typedef enum Mode {
        MODE_PERSISTENT,
        MODE_FRESH,
        MODE_HOLD,
} Mode;

typedef struct Client {
        int fd;
        uint64_t since_nsec;
        unsigned n_replies;  /* of the present write */
        bool is_mid_message; /* the next byte goes on with a reply whose beginning was seen */
        bool has_error;
} Client;

static struct sockaddr_un address = { .sun_family = AF_UNIX };
static char *request;
static size_t request_size;
static Mode mode = MODE_PERSISTENT;
static unsigned n_clients = 1, pipeline = 1, pause_usec, n_uids = 1, uid_step = 1;
static uid_t first_uid = UID_INVALID;
static bool is_login;
static double seconds = 1;

static uint32_t *latencies; /* nanoseconds */
static size_t n_latencies, n_allocated, n_requests, n_failed;

static _Noreturn void fail(const char *what) {
        (void)fprintf(stderr, "bench-load: %s: %s\n", what, strerror(errno));
        exit(EXIT_FAILURE);
}

static uint64_t now_nsec(void) {
        struct timespec t;

        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void record(const Client *c) {
        uint64_t taken = now_nsec() - c->since_nsec;

        if (n_latencies == n_allocated) {
                n_allocated = n_allocated ? n_allocated * 2 : 65536;
                latencies = realloc(latencies, n_allocated * sizeof(*latencies));
                if (!latencies)
                        fail("memory");
        }
        latencies[n_latencies++] = (uint32_t)MIN(taken, UINT32_MAX);
        n_requests += pipeline;
}

static bool client_connect(Client *c, int flags) {
        *c = (Client){ .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0),
                .since_nsec = now_nsec() };
        if (c->fd < 0)
                fail("socket");
        if (connect(c->fd, (struct sockaddr *)&address, sizeof(address)) >= 0)
                return true;
        if (errno != EAGAIN) /* a full backlog: come back later */
                fail(address.sun_path);
        (void)close(c->fd);
        c->fd = -1;
        return false;
}

static bool client_send(Client *c) {
        c->n_replies = 0;
        c->has_error = false;
        return send(c->fd, request, request_size, MSG_NOSIGNAL) == (ssize_t)request_size;
}

/* What came of one recv: 1 the whole answer is there, 0 not yet, -1 the connection is of no use any more. */
static int client_receive(Client *c) {
        static char bytes[65536];
        ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0)
                return -1;
        for (const char *p = bytes, *end = bytes + n, *next; p < end; p = next) {
                if (!c->is_mid_message && (size_t)(end - p) >= strlen(ERROR_PREFIX) &&
                                memcmp(p, ERROR_PREFIX, strlen(ERROR_PREFIX)) == 0)
                        c->has_error = true;
                next = memchr(p, 0, (size_t)(end - p));
                c->is_mid_message = !next;
                if (!next)
                        break;
                next++;
                c->n_replies++;
        }
        return c->n_replies >= pipeline ? (c->has_error ? -1 : 1) : 0;
}

static void client_close(Client *c) {
        if (c->fd >= 0)
                (void)close(c->fd);
        c->fd = -1;
}

/* One blocking request from start to end on the client's connection, which is opened when there is none. */
static void single_request(Client *c) {
        int r = -1;

        if (c->fd < 0 && !client_connect(c, 0))
                return;
        if (mode == MODE_PERSISTENT)
                c->since_nsec = now_nsec();
        if (client_send(c))
                while ((r = client_receive(c)) == 0)
                        ;
        if (r > 0)
                record(c);
        else
                n_failed++;
        if (r < 0 || mode == MODE_FRESH)
                client_close(c);
}

/* The real uid too: the kernel attaches that one to each message. */
static void become(uid_t uid, uid_t saved) {
        if (uid != UID_INVALID && (setresuid(-1, 0, -1) < 0 || setresuid(uid, uid, saved) < 0))
                fail("setresuid");
}

static void run_single(uint64_t until) {
        Client c = { .fd = -1 };

        for (unsigned i = 0; now_nsec() < until; i++) {
                if (n_uids > 1)
                        become(first_uid + i % n_uids * uid_step, 0);
                single_request(&c);
                if (pause_usec > 0)
                        (void)usleep(pause_usec);
        }
        client_close(&c);
}

/* Connects where that is needed and sends; -1: not now. */
static int client_begin(int epoll_fd, Client *c) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };

        if (c->fd < 0) {
                if (!client_connect(c, SOCK_NONBLOCK))
                        return -1;
                if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
                        fail("epoll_ctl");
        } else
                c->since_nsec = now_nsec();
        if (client_send(c))
                return 0;
        n_failed++;
        client_close(c);
        return -1;
}

static void run_many(uint64_t until) {
        Client *clients = calloc(n_clients, sizeof(Client));
        int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        struct epoll_event events[64];
        unsigned n_waiting = n_clients; /* without a request under way */

        if (!clients || epoll_fd < 0)
                fail("set up");
        for (unsigned i = 0; i < n_clients; i++)
                clients[i].fd = -1;
        while (now_nsec() < until) {
                for (unsigned i = 0; n_waiting > 0 && i < n_clients; i++)
                        if (clients[i].fd < 0 && client_begin(epoll_fd, &clients[i]) >= 0)
                                n_waiting--;
                int n = epoll_wait(epoll_fd, events, ELEMENTSOF(events), n_waiting > 0 ? 1 : TURN_MSEC);
                for (int i = 0; i < n; i++) {
                        Client *c = events[i].data.ptr;
                        int r = client_receive(c);

                        if (r == 0)
                                continue;
                        if (r > 0)
                                record(c);
                        else
                                n_failed++;
                        if (r < 0 || mode == MODE_FRESH)
                                client_close(c);
                        if (client_begin(epoll_fd, c) < 0)
                                n_waiting++;
                }
        }
        for (unsigned i = 0; i < n_clients; i++)
                client_close(&clients[i]);
        (void)close(epoll_fd);
        free(clients);
}

/* What pam_loginuid(8) does; unset is what a service has. Kernels without audit have no such file, and nobody there has a login uid. */
static void set_login_uid(uid_t uid) {
        char text[16];
        int fd = open("/proc/self/loginuid", O_WRONLY | O_CLOEXEC);
        int n = snprintf(text, sizeof(text), "%u", (unsigned)uid);

        if (fd < 0)
                return;
        if (write(fd, text, (size_t)n) != n && is_login)
                fail("loginuid");
        (void)close(fd);
}

static void run_hold(void) {
        char byte;

        for (unsigned i = 0; i < n_clients; i++) {
                Client c = { .fd = -1 };
                int r = -1;

                become(first_uid + i % n_uids * uid_step, 0);
                if (client_connect(&c, 0) && client_send(&c))
                        while ((r = client_receive(&c)) == 0)
                                ;
                if (r > 0)
                        record(&c);
                else
                        n_failed++;
        }
        (void)printf("{\"held\":%zu,\"failed\":%zu}\n", n_requests, n_failed);
        (void)fflush(stdout);
        while (read(STDIN_FILENO, &byte, 1) > 0)
                ;
}

static int compare(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

        return x < y ? -1 : x > y;
}

static double quantile(double q) {
        return n_latencies ? latencies[(size_t)(q * (double)(n_latencies - 1))] / 1000.0 : 0;
}

static void run_timed(void) {
        uint64_t started = now_nsec(), until = started + (uint64_t)(seconds * 1e9);

        become(first_uid, n_uids > 1 ? 0 : first_uid);
        if (n_clients == 1 && pipeline == 1)
                run_single(until);
        else
                run_many(until);
        double taken = (double)(now_nsec() - started) / 1e9;

        qsort(latencies, n_latencies, sizeof(*latencies), compare);
        (void)printf("{\"requests\":%zu,\"failed\":%zu,\"seconds\":%.3f,\"rate\":%.1f,\"p50\":%.2f,\"p99\":%"
                     ".2f}\n",
                        n_requests, n_failed, taken, (double)n_requests / taken, quantile(0.5),
                        quantile(0.99));
}

static int take_option(const char *option) {
        const char *value;

        if ((value = startswith(option, "mode=")))
                mode = streq(value, "fresh")  ? MODE_FRESH
                       : streq(value, "hold") ? MODE_HOLD
                                              : MODE_PERSISTENT;
        else if ((value = startswith(option, "clients=")))
                n_clients = (unsigned)atol(value);
        else if ((value = startswith(option, "seconds=")))
                seconds = atof(value);
        else if ((value = startswith(option, "pipeline=")))
                pipeline = (unsigned)atol(value);
        else if ((value = startswith(option, "pause=")))
                pause_usec = (unsigned)atol(value);
        else if ((value = startswith(option, "uid=")))
                first_uid = (uid_t)atol(value);
        else if ((value = startswith(option, "login=")))
                is_login = streq(value, "yes");
        else if ((value = startswith(option, "uids=")))
                n_uids = (unsigned)atol(value);
        else if ((value = startswith(option, "step=")))
                uid_step = (unsigned)atol(value);
        else
                return -EINVAL;
        return n_clients < 1 || n_clients > CLIENTS_MAX || pipeline < 1 || pipeline > PIPELINE_MAX ||
                                               n_uids < 1
                               ? -EINVAL
                               : 0;
}

int main(int argc, char *argv[]) {
        if (argc < 3 || strlen(argv[1]) >= sizeof(address.sun_path))
                return 2;
        for (int i = 3; i < argc; i++)
                if (take_option(argv[i]) < 0) {
                        (void)fprintf(stderr, "bench-load: %s is wrong\n", argv[i]);
                        return 2;
                }
        memcpy(address.sun_path, argv[1], strlen(argv[1]));
        request_size = (strlen(argv[2]) + 1) * pipeline;
        request = calloc(1, request_size);
        if (!request)
                fail("memory");
        for (unsigned i = 0; i < pipeline; i++)
                memcpy(request + i * (strlen(argv[2]) + 1), argv[2], strlen(argv[2]));
        if (first_uid != UID_INVALID)
                set_login_uid(is_login ? first_uid : UID_INVALID);
        if (first_uid != UID_INVALID &&
                        (setgroups(0, NULL) < 0 || setresgid(first_uid, first_uid, first_uid) < 0))
                fail("setresgid");
        if (mode == MODE_HOLD)
                run_hold();
        else
                run_timed();
        free(latencies);
        free(request);
        return 0;
}
