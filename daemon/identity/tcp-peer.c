/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The owner of the browser's end of a loopback connection, from the kernel's socket tables.
 *
 * On a loopback callback the consent must have been given in a browser of the uid that began (requirement O4): the
 * port is open to every local user, and state alone could have been handed on. TCP has no SO_PEERCRED, but both
 * sockets live in this kernel, and NETLINK_SOCK_DIAG names the owner of one given by its four numbers. An exact
 * look-up costs one message each way, while /proc/net/tcp would print every connection of the host.
 *
 * Invariants, each of which guards against a wrong uid and not just against an error:
 * - the kernel falls back to a listener on the asked port when no connection matches, so the answer's addresses and
 *   state are compared with the question;
 * - a socket that its owner closed (FIN_WAIT, TIME_WAIT) has no inode any more and is reported with uid 0; inode 0 is
 *   therefore "nobody", never root;
 * - the overflow uid names nobody.
 *
 * Who may call: oauth, for the callback. Needs AF_NETLINK and no privilege; the kernel answers within send(2), so
 * the non-blocking recv(2) that follows finds the answer there. */

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "identity/tcp-peer.h"

/* One end of a connection; address has 4 or 16 bytes in network order. */
typedef struct Endpoint {
        int family;
        uint8_t address[16];
        uint16_t port; /* host order */
} Endpoint;

typedef struct DiagRequest {
        struct nlmsghdr header;
        struct inet_diag_req_v2 body;
} DiagRequest;

static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };

/* Puts a 16-byte address into an endpoint, as IPv4 where it is mapped (RFC 4291 section 2.5.5.2). */
static void endpoint_set_ipv6(Endpoint *e, const uint8_t address[static 16]) {
        memset(e->address, 0, sizeof(e->address));
        if (memcmp(address, mapped_prefix, sizeof(mapped_prefix)) == 0) {
                e->family = AF_INET;
                memcpy(e->address, address + 12, 4);
        } else {
                e->family = AF_INET6;
                memcpy(e->address, address, 16);
        }
}

static bool endpoint_is_loopback(const Endpoint *e) {
        struct in6_addr address;

        if (e->family == AF_INET)
                return e->address[0] == 127;
        memcpy(&address, e->address, sizeof(address));
        return IN6_IS_ADDR_LOOPBACK(&address);
}

static bool endpoint_equal(const Endpoint *a, const Endpoint *b) {
        return a->family == b->family && a->port == b->port && memcmp(a->address, b->address, 16) == 0;
}

/* Decimal, 1 to 65535, no sign, no leading zero. */
static int port_parse(const char *text, uint16_t *ret) {
        unsigned port = 0;

        if (text[0] == '0' || strlen(text) > 5 || isempty(text))
                return -EINVAL;
        for (const char *p = text; *p; p++) {
                if (*p < '0' || *p > '9')
                        return -EINVAL;
                port = port * 10 + (unsigned)(*p - '0');
        }
        if (port > UINT16_MAX)
                return -EINVAL;
        *ret = (uint16_t)port;
        return 0;
}

/* "ADDRESS:PORT" or "[ADDRESS]:PORT", loopback only. */
static int endpoint_parse(const char *text, Endpoint *ret) {
        char address[INET6_ADDRSTRLEN];
        Endpoint e = {};
        const char *start, *end;
        uint8_t bytes[16];
        size_t n;
        int r;

        if (text[0] == '[') {
                start = text + 1;
                end = strstr(start, "]:");
        } else {
                start = text;
                end = strchr(start, ':');
        }
        if (!end)
                return -EINVAL;
        n = (size_t)(end - start);
        if (n == 0 || n >= sizeof(address))
                return -EINVAL;
        memcpy(address, start, n);
        address[n] = 0;

        if (text[0] == '[') {
                if (inet_pton(AF_INET6, address, bytes) != 1)
                        return -EINVAL;
                endpoint_set_ipv6(&e, bytes);
                end++;
        } else {
                if (inet_pton(AF_INET, address, e.address) != 1)
                        return -EINVAL;
                e.family = AF_INET;
        }
        r = port_parse(end + 1, &e.port);
        if (r < 0)
                return r;
        if (!endpoint_is_loopback(&e))
                return -EINVAL;
        *ret = e;
        return 0;
}

/* The request names the socket we look for from its own side: its source is our peer. */
static int diag_send(int fd, const Endpoint *local, const Endpoint *peer) {
        DiagRequest request = {
                .header = {
                        .nlmsg_len = sizeof(request),
                        .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                        .nlmsg_flags = NLM_F_REQUEST,
                        .nlmsg_seq = 1,
                },
                .body = {
                        .sdiag_family = (uint8_t)peer->family,
                        .sdiag_protocol = IPPROTO_TCP,
                        .idiag_states = UINT32_MAX,
                        .id = {
                                .idiag_sport = htons(peer->port),
                                .idiag_dport = htons(local->port),
                                .idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE },
                        },
                },
        };
        ssize_t n;

        memcpy(request.body.id.idiag_src, peer->address, 16);
        memcpy(request.body.id.idiag_dst, local->address, 16);
        n = send(fd, &request, sizeof(request), MSG_NOSIGNAL);
        if (n < 0)
                return -errno;
        return (size_t)n == sizeof(request) ? 0 : -EIO;
}

static void endpoint_from_diag(uint8_t family, const void *address, uint16_t port, Endpoint *ret) {
        Endpoint e = { .family = family };

        if (family == AF_INET6)
                endpoint_set_ipv6(&e, address);
        else
                memcpy(e.address, address, 4);
        e.port = ntohs(port);
        *ret = e;
}

/* Whether the kernel's answer is the connection we asked for, with an owner. */
static int diag_judge(
                const struct inet_diag_msg *m, const Endpoint *local, const Endpoint *peer, uid_t *ret_uid) {
        Endpoint source, destination;

        if (m->idiag_family != AF_INET && m->idiag_family != AF_INET6)
                return -ENOENT;
        endpoint_from_diag(m->idiag_family, m->id.idiag_src, m->id.idiag_sport, &source);
        endpoint_from_diag(m->idiag_family, m->id.idiag_dst, m->id.idiag_dport, &destination);
        if (!endpoint_equal(&source, peer) || !endpoint_equal(&destination, local))
                return -ENOENT;
        /* A browser that has shut down its sending half still owns the socket; a listener owns no connection. */
        if (m->idiag_state != TCP_ESTABLISHED && m->idiag_state != TCP_FIN_WAIT1 &&
                        m->idiag_state != TCP_FIN_WAIT2 && m->idiag_state != TCP_CLOSE_WAIT)
                return -ENOENT;
        if (m->idiag_inode == 0)
                return -ENOENT;
        if (m->idiag_uid == UID_INVALID || m->idiag_uid == UID_OVERFLOW)
                return -EPERM;
        *ret_uid = m->idiag_uid;
        return 0;
}

static int diag_receive(int fd, const Endpoint *local, const Endpoint *peer, uid_t *ret_uid) {
        union {
                struct nlmsghdr header;
                uint8_t bytes[4096];
        } answer;
        const struct nlmsghdr *h = &answer.header;
        ssize_t n;

        n = recv(fd, &answer, sizeof(answer), MSG_DONTWAIT);
        if (n < 0)
                return -errno;
        if (!NLMSG_OK(h, (size_t)n))
                return -EBADMSG;
        if (h->nlmsg_type == NLMSG_ERROR) {
                const struct nlmsgerr *e = NLMSG_DATA(h);

                if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*e)) || e->error >= 0)
                        return -EBADMSG;
                return e->error;
        }
        if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
                        h->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
                return -EBADMSG;
        return diag_judge(NLMSG_DATA(h), local, peer, ret_uid);
}

int tcp_peer_uid(const char *local, const char *peer, uid_t *ret_uid) {
        static const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
        _cleanup_(closep) int fd = -1;
        Endpoint here, there;
        int r;

        r = endpoint_parse(local, &here);
        if (r < 0)
                return r;
        r = endpoint_parse(peer, &there);
        if (r < 0)
                return r;
        if (here.family != there.family)
                return -EINVAL;

        fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
        if (fd < 0)
                return -errno;
        /* Connected to port id 0, the kernel: it then takes no message from other processes (af_netlink.c). */
        if (connect(fd, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
                return -errno;
        r = diag_send(fd, &here, &there);
        if (r < 0)
                return r;
        return diag_receive(fd, &here, &there, ret_uid);
}
