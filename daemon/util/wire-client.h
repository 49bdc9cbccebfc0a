/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* The client end of the wire: NUL-ended messages over a Unix stream socket with an absolute deadline. Libc only; shared by pam_vaultd.so, vaultctl and vaultd-web. */

typedef struct WireClient WireClient;

/* Connects to path before deadline_usec (CLOCK_MONOTONIC; UINT64_MAX: none). Never blocks longer, also with a full backlog (EAGAIN is retried until then).
 * With require_root the peer (the listener under socket activation) must be uid 0, otherwise -EPERM.
 * -ENOENT, -ECONNREFUSED, -EACCES: not reachable; -ETIMEDOUT. */
int wire_client_connect(const char *path, uint64_t deadline_usec, bool require_root, WireClient **ret);
/* Sends the n bytes and the ending NUL. MSG_NOSIGNAL. */
int wire_client_send(WireClient *c, const char *message, size_t n, uint64_t deadline_usec);
/* Receives one message of at most 1 MiB; *ret_message is borrowed until the next call. -EPIPE on end of stream, -EMSGSIZE, -ETIMEDOUT. */
int wire_client_receive(WireClient *c, uint64_t deadline_usec, const char **ret_message, size_t *ret_size);
int wire_client_fd(WireClient *c);
WireClient *wire_client_free(WireClient *c);
DEFINE_CLEANUP(WireClient *, wire_client_free)
