/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The owner of the other end of a loopback connection (requirement O4), over real sockets of this kernel. Another uid
 * is played by a child, which needs root; without it that property is skipped and counted as such. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "identity/tcp-peer.h"

#define OTHER_UID 12345

typedef struct Ends {
        char local[80], peer[80];
} Ends;

static void address_text(const struct sockaddr_storage *a, char *ret, size_t size) {
        char text[INET6_ADDRSTRLEN];

        if (a->ss_family == AF_INET) {
                const struct sockaddr_in *in = (const void *)a;

                assert_non_null(inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text)));
                (void)snprintf(ret, size, "%s:%u", text, ntohs(in->sin_port));
        } else {
                const struct sockaddr_in6 *in = (const void *)a;

                assert_non_null(inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof(text)));
                (void)snprintf(ret, size, "[%s]:%u", text, ntohs(in->sin6_port));
        }
}

static void connection_ends(int fd, Ends *ret) {
        struct sockaddr_storage a = {};
        socklen_t size = sizeof(a);

        assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
        address_text(&a, ret->local, sizeof(ret->local));
        size = sizeof(a);
        assert_int_equal(getpeername(fd, (struct sockaddr *)&a, &size), 0);
        address_text(&a, ret->peer, sizeof(ret->peer));
}

/* A listener on a free loopback port; any_v6 takes IPv4 on an IPv6 socket. -1: this machine has no such family. */
static int listen_on(const char *address, struct sockaddr_storage *ret, socklen_t *ret_size) {
        struct sockaddr_storage a = {};
        socklen_t size;
        int off = 0, fd;

        if (strchr(address, ':')) {
                struct sockaddr_in6 *in = (void *)&a;

                in->sin6_family = AF_INET6;
                assert_int_equal(inet_pton(AF_INET6, address, &in->sin6_addr), 1);
                size = sizeof(*in);
        } else {
                struct sockaddr_in *in = (void *)&a;

                in->sin_family = AF_INET;
                assert_int_equal(inet_pton(AF_INET, address, &in->sin_addr), 1);
                size = sizeof(*in);
        }
        fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -1;
        if (a.ss_family == AF_INET6)
                (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
        if (bind(fd, (struct sockaddr *)&a, size) < 0) {
                close(fd);
                return -1;
        }
        assert_int_equal(listen(fd, 8), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
        *ret = a;
        *ret_size = size;
        return fd;
}

static int connect_to(const struct sockaddr_storage *a, socklen_t size) {
        int fd = socket(a->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        assert_int_equal(connect(fd, (const struct sockaddr *)a, size), 0);
        return fd;
}

/* Listener, client and accepted end at once. */
static void pair_open(const char *address, int ret_fds[static 3], Ends *ret) {
        struct sockaddr_storage a;
        socklen_t size;

        ret_fds[0] = listen_on(address, &a, &size);
        if (ret_fds[0] < 0)
                skip();
        ret_fds[1] = connect_to(&a, size);
        ret_fds[2] = accept(ret_fds[0], NULL, NULL);
        assert_true(ret_fds[2] >= 0);
        connection_ends(ret_fds[2], ret);
}

static void pair_close(int fds[static 3]) {
        for (size_t i = 0; i < 3; i++)
                fds[i] = safe_close(fds[i]);
}

static void own_uid_found(void **state) {
        uid_t uid = UID_INVALID;
        int fds[3];
        Ends ends;

        pair_open("127.0.0.1", fds, &ends);
        assert_int_equal(tcp_peer_uid(ends.local, ends.peer, &uid), 0);
        assert_int_equal(uid, getuid());
        pair_close(fds);
}

static void own_uid_found_over_ipv6(void **state) {
        uid_t uid = UID_INVALID;
        int fds[3];
        Ends ends;

        pair_open("::1", fds, &ends);
        assert_int_equal(tcp_peer_uid(ends.local, ends.peer, &uid), 0);
        assert_int_equal(uid, getuid());
        pair_close(fds);
}

static void mapped_address_is_ipv4(void **state) {
        uid_t uid = UID_INVALID;
        int fds[3];
        Ends ends;

        pair_open("::ffff:127.0.0.1", fds, &ends);
        assert_non_null(strstr(ends.local, "ffff"));
        assert_int_equal(tcp_peer_uid(ends.local, ends.peer, &uid), 0);
        assert_int_equal(uid, getuid());
        pair_close(fds);
}

/* Ten children with ten uids on one listener: each connection names its own. */
static void each_uid_told_apart(void **state) {
        enum { N = 10 };
        struct sockaddr_storage a;
        socklen_t size;
        pid_t children[N];
        int listener, accepted[N];
        bool was_seen[N] = {};

        if (getuid() != 0)
                skip();
        listener = listen_on("127.0.0.1", &a, &size);
        assert_true(listener >= 0);
        for (unsigned i = 0; i < N; i++) {
                children[i] = fork();
                assert_true(children[i] >= 0);
                if (children[i] == 0) {
                        char byte;

                        if (setresuid(OTHER_UID + i, OTHER_UID + i, OTHER_UID + i) < 0)
                                _exit(1);
                        int fd = socket(AF_INET, SOCK_STREAM, 0);
                        if (connect(fd, (struct sockaddr *)&a, size) < 0)
                                _exit(2);
                        (void)!read(fd, &byte, 1); /* until the parent closes */
                        _exit(0);
                }
        }
        for (unsigned i = 0; i < N; i++) {
                uid_t uid = UID_INVALID;
                Ends ends;

                accepted[i] = accept(listener, NULL, NULL);
                assert_true(accepted[i] >= 0);
                connection_ends(accepted[i], &ends);
                assert_int_equal(tcp_peer_uid(ends.local, ends.peer, &uid), 0);
                assert_true(uid >= OTHER_UID && uid < OTHER_UID + N);
                assert_false(was_seen[uid - OTHER_UID]);
                was_seen[uid - OTHER_UID] = true;
        }
        for (unsigned i = 0; i < N; i++)
                close(accepted[i]);
        for (unsigned i = 0; i < N; i++) {
                int status;

                assert_int_equal(waitpid(children[i], &status, 0), children[i]);
                assert_int_equal(status, 0);
        }
        close(listener);
}

/* The overflow uid stands for everybody who has no uid here (T5). */
static void the_overflow_uid_is_nobody(void **state) {
        struct sockaddr_storage a;
        socklen_t size;
        uid_t uid = 4711;
        int listener, accepted, status;
        pid_t child;
        Ends ends;

        if (getuid() != 0)
                skip();
        listener = listen_on("127.0.0.1", &a, &size);
        assert_true(listener >= 0);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
                char byte;

                if (setresuid(UID_OVERFLOW, UID_OVERFLOW, UID_OVERFLOW) < 0)
                        _exit(1);
                int fd = socket(AF_INET, SOCK_STREAM, 0);
                if (connect(fd, (struct sockaddr *)&a, size) < 0)
                        _exit(2);
                (void)!read(fd, &byte, 1); /* until the parent closes */
                _exit(0);
        }
        accepted = accept(listener, NULL, NULL);
        assert_true(accepted >= 0);
        connection_ends(accepted, &ends);
        assert_int_equal(tcp_peer_uid(ends.local, ends.peer, &uid), -EPERM);
        assert_int_equal(uid, 4711);
        close(accepted);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        close(listener);
}

/* The server's own end must never be taken for the browser's. */
static void the_peers_end_is_asked_not_ours(void **state) {
        struct sockaddr_storage a;
        socklen_t size;
        uid_t uid = UID_INVALID;
        pid_t child;
        int listener, accepted, status;
        Ends ends;

        if (getuid() != 0)
                skip();
        listener = listen_on("127.0.0.1", &a, &size);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
                char byte;

                if (setresuid(OTHER_UID, OTHER_UID, OTHER_UID) < 0)
                        _exit(1);
                int fd = socket(AF_INET, SOCK_STREAM, 0);
                if (connect(fd, (struct sockaddr *)&a, size) < 0)
                        _exit(2);
                (void)!read(fd, &byte, 1);
                _exit(0);
        }
        accepted = accept(listener, NULL, NULL);
        assert_true(accepted >= 0);
        connection_ends(accepted, &ends);
        assert_int_equal(tcp_peer_uid(ends.local, ends.peer, &uid), 0);
        assert_int_equal(uid, OTHER_UID);
        /* Asked the other way round it is ours, which is how we know that direction matters. */
        assert_int_equal(tcp_peer_uid(ends.peer, ends.local, &uid), 0);
        assert_int_equal(uid, 0);
        close(accepted);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        close(listener);
}

static void unknown_connection_not_found(void **state) {
        uid_t uid = 4711;
        int fds[3];
        Ends ends;

        pair_open("127.0.0.1", fds, &ends);
        assert_int_equal(tcp_peer_uid(ends.local, "127.0.0.1:1", &uid), -ENOENT);
        assert_int_equal(tcp_peer_uid("127.0.0.1:1", ends.peer, &uid), -ENOENT);
        assert_int_equal(tcp_peer_uid("127.0.0.2:1", "127.0.0.3:2", &uid), -ENOENT);
        assert_int_equal(uid, 4711);
        pair_close(fds);
}

/* For an unmatched connection the kernel answers with a listener on that port. */
static void a_listener_is_not_the_peer(void **state) {
        struct sockaddr_storage a;
        socklen_t size;
        uid_t uid = 4711;
        int listener = listen_on("127.0.0.1", &a, &size);
        char text[80];

        assert_true(listener >= 0);
        address_text(&a, text, sizeof(text));
        assert_int_equal(tcp_peer_uid("127.0.0.1:9", text, &uid), -ENOENT);
        assert_int_equal(uid, 4711);
        close(listener);
}

/* A closed socket lingers as FIN_WAIT2 and is reported with uid 0. */
static void a_closed_peer_is_nobody_not_root(void **state) {
        uid_t uid = 4711;
        int fds[3];
        Ends ends;

        pair_open("127.0.0.1", fds, &ends);
        fds[1] = safe_close(fds[1]);
        assert_int_equal(tcp_peer_uid(ends.local, ends.peer, &uid), -ENOENT);
        assert_int_equal(uid, 4711);
        pair_close(fds);
}

static void a_half_closed_peer_still_owns_it(void **state) {
        uid_t uid = UID_INVALID;
        int fds[3];
        Ends ends;

        pair_open("127.0.0.1", fds, &ends);
        assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
        assert_int_equal(tcp_peer_uid(ends.local, ends.peer, &uid), 0);
        assert_int_equal(uid, getuid());
        pair_close(fds);
}

static void bad_text_refused(void **state) {
        static const char *const bad[] = {
                "",
                "127.0.0.1",
                "127.0.0.1:",
                "127.0.0.1:0",
                "127.0.0.1:65536",
                "127.0.0.1:080",
                "127.0.0.1:+80",
                "127.0.0.1: 80",
                "127.0.0.1:80 ",
                "127.0.0.1:80x",
                "127.1:80",
                "localhost:80",
                "::1:80",
                "[::1]",
                "[::1]80",
                "[::1]:",
                "[127.0.0.1]:80",
                "[::1:80",
                ":80",
                "10.0.0.1:80",
                "0.0.0.0:80",
                "[::]:80",
                "[fe80::1]:80",
                "[::ffff:10.0.0.1]:80",
                "[::1%lo]:80",
                "127.0.0.1:999999999999999999999",
                "[0000000000000000000000000000000000000000000000000000::1]:80",
        };
        uid_t uid = 4711;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                if (tcp_peer_uid(bad[i], "127.0.0.1:80", &uid) != -EINVAL ||
                                tcp_peer_uid("127.0.0.1:80", bad[i], &uid) != -EINVAL)
                        fail_msg("taken for an address: \"%s\"", bad[i]);
        }
        assert_int_equal(tcp_peer_uid("127.0.0.1:80", "[::1]:80", &uid), -EINVAL);
        assert_int_equal(uid, 4711);
}

static unsigned count_descriptors(void) {
        unsigned n = 0;

        for (int fd = 0; fd < 256; fd++)
                if (fcntl(fd, F_GETFD) >= 0)
                        n++;
        return n;
}

static void no_descriptor_is_left_behind(void **state) {
        unsigned before = count_descriptors();
        uid_t uid;

        for (unsigned i = 0; i < 300; i++)
                assert_int_equal(tcp_peer_uid("127.0.0.1:9", "127.0.0.1:1", &uid), -ENOENT);
        assert_int_equal(count_descriptors(), before);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                { "own-uid-found", own_uid_found },
                { "own-uid-found-over-ipv6", own_uid_found_over_ipv6 },
                { "mapped-address-is-ipv4", mapped_address_is_ipv4 },
                { "each-uid-told-apart", each_uid_told_apart },
                { "the-overflow-uid-is-nobody", the_overflow_uid_is_nobody },
                { "the-peers-end-is-asked-not-ours", the_peers_end_is_asked_not_ours },
                { "unknown-connection-not-found", unknown_connection_not_found },
                { "a-listener-is-not-the-peer", a_listener_is_not_the_peer },
                { "a-closed-peer-is-nobody-not-root", a_closed_peer_is_nobody_not_root },
                { "a-half-closed-peer-still-owns-it", a_half_closed_peer_still_owns_it },
                { "bad-text-refused", bad_text_refused },
                { "no-descriptor-is-left-behind", no_descriptor_is_left_behind },
        };

        return cmocka_run_group_tests_name("tcp-peer", tests, NULL, NULL);
}
