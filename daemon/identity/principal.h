/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "util/macro.h"

/* Who is at the other end of a Unix socket, as the kernel says (unix(7), SO_PEERCRED). Requirements I1, I3, I4. */
typedef struct Principal {
        uid_t uid;
        gid_t gid;
        pid_t pid;              /* audit data, never authority; 0: of another pid namespace */
        uint64_t accepted_usec; /* CLOCK_BOOTTIME; the peer's process began before */
        bool has_audit;         /* the members below were read */
        int audit_error;        /* 0, or -errno: they could not be read and mean nothing */
        uid_t login_uid;        /* /proc/PID/loginuid, or UID_INVALID */
        uint32_t audit_session; /* /proc/PID/sessionid, or UINT32_MAX */
} Principal;

/* Reads the peer of a connected socket. -EPERM for the overflow uid and invalid uids, which name nobody. */
int principal_from_socket(int fd, Principal *ret);

/* Fills login_uid and audit_session from /proc, once; what cannot be read (the peer has ended) is left unset and audit_error says so.
 * They tell where a caller comes from and grant nothing. */
void principal_read_audit(Principal *p);

/* Whether the process that connected is the one that has its pid now, and lives: then what was read of /proc before this call was
 * about it (T4). By SO_PEERPIDFD (Linux 6.5); before that, by its start being older than the connection. */
bool principal_is_same_process(const Principal *p, int fd);

/* The supplementary groups of the peer at the time of connect(2) (SO_PEERGROUPS, without p->gid). *ret is malloc()ed, NULL when there are none. */
int principal_read_groups(int fd, gid_t **ret, size_t *ret_n);

/* 0 when this process sees host uids: its own /proc/self/uid_map is the identity. Otherwise every caller of another namespace would look alike: -EPERM. */
int identity_check_own_namespace(void);
