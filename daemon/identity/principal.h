/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "util/macro.h"

/* Who is at the other end of a Unix socket, as the kernel says (unix(7), SO_PEERCRED). Requirements I1, I3, I4. */
typedef struct Principal {
        uid_t uid;
        gid_t gid;
        pid_t pid;              /* audit data, never authority */
        uint32_t audit_session; /* /proc/PID/sessionid, or UINT32_MAX; read by principal_read_audit() */
} Principal;

/* Reads the peer of a connected socket. -EPERM for the overflow uid and invalid uids, which name nobody. */
int principal_from_socket(int fd, Principal *ret);

/* Fills audit_session from /proc; leaves UINT32_MAX when it cannot be read (the peer has ended). It tells where a caller comes from;
 * it grants nothing, since the pid may be reused between connect and now. */
void principal_read_audit(Principal *p);

/* 0 when this process sees host uids: its own /proc/self/uid_map is the identity. Otherwise every caller of another namespace would look alike: -EPERM. */
int identity_check_own_namespace(void);
