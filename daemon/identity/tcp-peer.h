/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "util/macro.h"

/* Whose socket is at the other end of a loopback TCP connection (requirement O4). local and peer are the two ends as
 * the accepting side sees them: "127.0.0.1:876", "127.0.0.1:51234", "[::1]:876"; IPv4-mapped IPv6 is read as IPv4.
 * Both ends must be loopback addresses of one family, in the network namespace of the caller.
 *
 * The answer holds for the instant of the look-up: ask while the connection is open.
 *
 * 0 and *ret_uid; -EINVAL: text is not such an address; -ENOENT: no such connection, or its other end was closed by
 * its owner already; -EPERM: the owner is a uid that names nobody (overflow); other -errno of netlink(7), among them
 * -EAFNOSUPPORT where a sandbox forbids AF_NETLINK. Never blocks. Source: sock_diag(7). */
int tcp_peer_uid(const char *local, const char *peer, uid_t *ret_uid);
