/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The client end of the wire.
 *
 * Why so careful for a few hundred bytes: the PAM module runs this inside sshd, su and login while somebody waits for
 * a prompt. So there is one absolute deadline over everything, whatever the server does or does not do; no signal is
 * raised (MSG_NOSIGNAL) and no disposition touched; a signal of the host program only makes us go on waiting for
 * what is left; descriptors are close-on-exec from birth, and descriptors that a server passes along are dropped by
 * the kernel, since no room for them is given.
 *
 * connect(2) on a Unix socket whose backlog is full fails with EAGAIN at once when it may not block, and nothing can be
 * polled for. A blocking connect() under SO_SNDTIMEO waits exactly as long as wanted and wakes up when a place gets
 * free (net/unix/af_unix.c, unix_wait_for_peer()); asking again every few milliseconds was rejected. The descriptor
 * is non-blocking from then on.
 *
 * Invariants: input.bytes[0 … consumed) is the message that was handed out last; [consumed … searched) holds no NUL.
 * One thread at a time per client; clients share nothing. Libc only. */

#include <poll.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "util/buffer.h"
#include "util/clock.h"
#include "util/wire-client.h"

#define MESSAGE_MAX   (1024U * 1024U)
#define RECEIVE_CHUNK (16U * 1024U)

struct WireClient {
        int fd;
        bool send_effective;
        uid_t peer_uid;
        Buffer input;
        size_t consumed;
        size_t searched;
};

static uint64_t usec_left(uint64_t deadline_usec) {
        uint64_t now;

        if (deadline_usec == UINT64_MAX)
                return UINT64_MAX;
        now = now_monotonic();
        return deadline_usec > now ? deadline_usec - now : 0;
}

/* Waits until the events are there (or the peer is gone, which the next call notices). 0 or -ETIMEDOUT. */
static int wait_for(int fd, short events, uint64_t deadline_usec) {
        for (;;) {
                struct pollfd p = { .fd = fd, .events = events };
                uint64_t left = usec_left(deadline_usec);
                struct timespec t = {
                        .tv_sec = (time_t)(left / USEC_PER_SEC),
                        .tv_nsec = (long)(left % USEC_PER_SEC) * 1000,
                };
                int r;

                r = ppoll(&p, 1, left == UINT64_MAX ? NULL : &t, NULL);
                if (r > 0)
                        return p.revents & POLLNVAL ? -EBADF : 0;
                if (r == 0)
                        return -ETIMEDOUT;
                if (errno != EINTR)
                        return -errno;
        }
}

/* One connect() that blocks until the deadline at most, or not at all when that has passed. */
static int connect_once(int fd, const struct sockaddr_un *address, uint64_t deadline_usec) {
        uint64_t left = usec_left(deadline_usec);
        struct timeval t = {}; /* for ever (socket(7)) */

        if (left == 0) {
                if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
                        return -errno;
        } else if (left != UINT64_MAX) {
                t.tv_sec = (time_t)(left / USEC_PER_SEC);
                t.tv_usec = (suseconds_t)(left % USEC_PER_SEC);
                if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) < 0)
                        return -errno;
        }
        return connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
}

static int client_connect(WireClient *c, const struct sockaddr_un *address, uint64_t deadline_usec) {
        struct ucred peer;
        socklen_t size = sizeof(peer);
        int r;

        c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0)
                return -errno;
        do
                r = connect_once(c->fd, address, deadline_usec);
        while (r == -EINTR);
        if (r == -EAGAIN)
                return -ETIMEDOUT;
        if (r < 0)
                return r;

        if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0)
                return -errno;
        if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return -errno;
        c->peer_uid = peer.uid;
        return 0;
}

int wire_client_connect(const char *path, uint64_t deadline_usec, bool require_root, WireClient **ret) {
        _cleanup_(wire_client_freep) WireClient *c = NULL;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int r;

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, path, strlen(path));

        c = calloc(1, sizeof(WireClient));
        if (!c)
                return -ENOMEM;
        c->fd = -1;
        c->input.limit = MESSAGE_MAX + 1 + RECEIVE_CHUNK;

        r = client_connect(c, &address, deadline_usec);
        if (r < 0)
                return r;
        if (require_root && c->peer_uid != 0)
                return -EPERM;

        *ret = TAKE_PTR(c);
        return 0;
}

void wire_client_send_effective(WireClient *c) {
        c->send_effective = true;
}

/* Sends some of what message describes; the number of bytes or -errno. */
static ssize_t send_some(WireClient *c, struct iovec *iov, size_t n_iov) {
        union {
                struct cmsghdr header;
                uint8_t bytes[CMSG_SPACE(sizeof(struct ucred))];
        } control = {};
        struct msghdr message = { .msg_iov = iov, .msg_iovlen = n_iov };
        ssize_t n;

        if (c->send_effective) {
                struct ucred self = { .pid = getpid(), .uid = geteuid(), .gid = getegid() };

                message.msg_control = &control;
                message.msg_controllen = sizeof(control);
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_CREDENTIALS;
                control.header.cmsg_len = CMSG_LEN(sizeof(self));
                memcpy(CMSG_DATA(&control.header), &self, sizeof(self));
        }
        n = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        return n < 0 ? -errno : n;
}

int wire_client_send(WireClient *c, const char *message, size_t n, uint64_t deadline_usec) {
        size_t done = 0;

        if (n > MESSAGE_MAX)
                return -EMSGSIZE;
        if (memchr(message, 0, n))
                return -EINVAL;

        while (done <= n) {
                struct iovec iov[] = {
                        { .iov_base = (char *)message + done, .iov_len = n - done },
                        { .iov_base = (char *)"", .iov_len = 1 },
                };
                ssize_t k = send_some(c, iov, ELEMENTSOF(iov));

                if (k >= 0) {
                        done += (size_t)k;
                        continue;
                }
                if (k == -ECONNRESET)
                        return -EPIPE;
                if (k == -EAGAIN) {
                        int r = wait_for(c->fd, POLLOUT, deadline_usec);

                        if (r < 0)
                                return r;
                } else if (k != -EINTR)
                        return (int)k;
        }
        return 0;
}

/* Adds what there is to the input. 0; -EAGAIN; -EPIPE; -ENOMEM. */
static int receive_some(WireClient *c) {
        ssize_t n;
        int r;

        r = buffer_reserve(&c->input, RECEIVE_CHUNK);
        if (r < 0)
                return r == -ENOBUFS ? -EMSGSIZE : r;
        n = recv(c->fd, c->input.bytes + c->input.size, RECEIVE_CHUNK, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
                return -EPIPE;
        if (n < 0)
                return errno == EINTR ? 0 : -errno;
        c->input.size += (size_t)n;
        c->input.bytes[c->input.size] = 0;
        return 0;
}

int wire_client_receive(WireClient *c, uint64_t deadline_usec, const char **ret_message, size_t *ret_size) {
        int r;

        buffer_consume(&c->input, c->consumed);
        c->consumed = c->searched = 0;

        for (;;) {
                const uint8_t *start = c->input.bytes, *end = NULL;

                if (c->input.size > c->searched)
                        end = memchr(start + c->searched, 0, c->input.size - c->searched);
                c->searched = end ? (size_t)(end - start) : c->input.size;
                if (c->searched > MESSAGE_MAX)
                        return -EMSGSIZE;
                if (end) {
                        c->consumed = c->searched + 1;
                        *ret_message = (const char *)start;
                        *ret_size = c->searched;
                        return 0;
                }

                r = receive_some(c);
                /* The clock is asked also while bytes keep coming: a trickle must not carry us past the deadline. */
                if (r == -EAGAIN)
                        r = wait_for(c->fd, POLLIN, deadline_usec);
                else if (r == 0 && usec_left(deadline_usec) == 0 &&
                                !memchr(c->input.bytes + c->searched, 0, c->input.size - c->searched))
                        r = -ETIMEDOUT;
                if (r < 0)
                        return r;
        }
}

size_t wire_client_take_rest(WireClient *c, void *ret, size_t n) {
        n = MIN(n, c->input.size - c->consumed);
        if (n > 0)
                memcpy(ret, c->input.bytes + c->consumed, n);
        c->consumed += n;
        c->searched = c->consumed;
        return n;
}

uid_t wire_client_peer_uid(WireClient *c) {
        return c->peer_uid;
}

int wire_client_fd(WireClient *c) {
        return c->fd;
}

WireClient *wire_client_free(WireClient *c) {
        if (!c)
                return NULL;
        (void)safe_close(c->fd);
        buffer_done(&c->input);
        free(c);
        return NULL;
}
