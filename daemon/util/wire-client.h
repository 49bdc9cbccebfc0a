/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* The client end of the wire: NUL-ended messages over a Unix stream socket with an absolute deadline. Libc only; shared by pam_vaultd.so, vaultctl and vaultd-web. */

typedef struct WireClient WireClient;

/* Connects to path before deadline_usec (CLOCK_MONOTONIC; UINT64_MAX: none; 0 or past: one try that does not wait).
 * Never blocks longer, also with a full backlog.
 * With require_root the peer (the listener under socket activation) must be uid 0, otherwise -EPERM.
 * -ENOENT, -ECONNREFUSED, -EACCES: not reachable; -ENAMETOOLONG; -ETIMEDOUT. */
int wire_client_connect(const char *path, uint64_t deadline_usec, bool require_root, WireClient **ret);
/* From now on each message carries {pid, effective uid, effective gid} as SCM_CREDENTIALS; the kernel checks them. For a
 * caller inside a setuid program: what the kernel fills in by itself is the real uid, which a server that compares
 * it with SO_PEERCRED (the effective one) refuses. */
void wire_client_send_effective(WireClient *c);
/* Sends the n bytes and the ending NUL. MSG_NOSIGNAL. -EINVAL when the bytes contain a NUL; -EMSGSIZE beyond 1 MiB; -EPIPE; -ETIMEDOUT. */
int wire_client_send(WireClient *c, const char *message, size_t n, uint64_t deadline_usec);
/* Receives one message of at most 1 MiB; *ret_message (NUL terminated) is borrowed until the next call. Descriptors that
 * come along are dropped. -EPIPE on end of stream, -EMSGSIZE, -ETIMEDOUT. */
int wire_client_receive(WireClient *c, uint64_t deadline_usec, const char **ret_message, size_t *ret_size);
/* Takes up to n of the bytes that came behind the last message: after it the connection speaks something else (upgrade), and what follows is read
 * from the descriptor. */
size_t wire_client_take_rest(WireClient *c, void *ret, size_t n);
/* The uid that the peer had when it began to listen (SO_PEERCRED). */
uid_t wire_client_peer_uid(WireClient *c);
int wire_client_fd(WireClient *c);
WireClient *wire_client_free(WireClient *c);
DEFINE_CLEANUP(WireClient *, wire_client_free)
