/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The peer that vaultd is measured against: a bare epoll server on a Unix socket that answers every NUL-ended message
 * with the same fixed bytes and thinks about nothing.
 *
 * It does what no server of this kind can leave out (accept, SO_PEERCRED, one read and one write per message) and
 * nothing else: what vaultd costs beyond it is ours. Level triggered, one thread, one event source per descriptor,
 * non-blocking. Sizes are the caller's: the bench makes the reply as long as vaultd's.
 *
 * usage: bench-echo REPLY-SIZE [PATH]; without a path the socket is descriptor 3 (sd_listen_fds(3)). Ends by signal. */

#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "util/macro.h"

#define EVENTS_PER_TURN 64
#define READ_SIZE       65536
#define REPLY_SIZE_MAX  65536

static int epoll_fd;
static size_t reply_size;
static char reply[REPLY_SIZE_MAX];

static _Noreturn void fail(const char *what) {
        perror(what);
        exit(EXIT_FAILURE);
}

static int listen_on(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
                fail("bench-echo: socket");
        memcpy(address.sun_path, path, strlen(path));
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, SOMAXCONN) < 0)
                fail(path);
        return fd;
}

static void watch(int fd) {
        struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
                fail("bench-echo: epoll_ctl");
}

static void accept_all(int listener) {
        for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;) {
                struct ucred peer;
                socklen_t size = sizeof(peer);

                if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                        fail("bench-echo: SO_PEERCRED");
                watch(fd);
        }
}

static void serve(int fd) {
        static char bytes[READ_SIZE];
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        for (const char *p = bytes; n > 0 && (p = memchr(p, 0, (size_t)(bytes + n - p))); p++)
                if (send(fd, reply, reply_size, MSG_NOSIGNAL) != (ssize_t)reply_size)
                        n = -1; /* a client that does not read: not what is measured here */
        if (n <= 0)
                (void)close(fd);
}

int main(int argc, char *argv[]) {
        struct epoll_event events[EVENTS_PER_TURN];
        int listener;

        reply_size = argc > 1 ? (size_t)atol(argv[1]) : 0;
        if (reply_size < 1 || reply_size > sizeof(reply)) {
                (void)fputs("usage: bench-echo REPLY-SIZE [PATH]\n", stderr);
                return 2;
        }
        memset(reply, 'x', reply_size - 1);
        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (epoll_fd < 0)
                fail("bench-echo: epoll_create1");
        listener = argc > 2 ? listen_on(argv[2]) : 3;
        if (argc <= 2 && fcntl(listener, F_SETFL, O_NONBLOCK) < 0)
                fail("bench-echo: descriptor 3");
        watch(listener);
        for (;;) {
                int n = epoll_wait(epoll_fd, events, EVENTS_PER_TURN, -1);

                for (int i = 0; i < n; i++)
                        if (events[i].data.fd == listener)
                                accept_all(listener);
                        else
                                serve(events[i].data.fd);
        }
}
