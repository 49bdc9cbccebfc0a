/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The caller's identity. It comes from one place only, the credentials that the kernel recorded when the peer called
 * connect(2); nothing that a peer sends is looked at. Everything read from /proc says where a caller comes from: it can
 * refuse one, it never makes one somebody. A pid can be reused between the connect and the reading, and a peer may
 * connect, hand its descriptor on and end; so whoever refuses by what /proc said also asks
 * principal_is_same_process(), after the reading.
 *
 * Who may call: ipc at accept, api for the origin. */

#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include "identity/principal.h"
#include "identity/process.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* asm-generic/socket.h since Linux 6.5 */
#endif

static uint64_t now_boottime(void) {
        struct timespec now = {};

        (void)clock_gettime(CLOCK_BOOTTIME, &now);
        return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

int principal_from_socket(int fd, Principal *ret) {
        struct ucred cred = { .uid = UID_INVALID };
        socklen_t size = sizeof(cred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
                return -errno;
        if (size != sizeof(cred) || cred.uid == UID_INVALID || cred.uid == UID_OVERFLOW)
                return -EPERM;

        *ret = (Principal){ .uid = cred.uid,
                .gid = cred.gid,
                .pid = cred.pid,
                .accepted_usec = now_boottime(),
                .login_uid = UID_INVALID,
                .audit_session = UINT32_MAX };
        return 0;
}

void principal_read_audit(Principal *p) {
        uid_t login_uid = UID_INVALID;
        uint32_t session = UINT32_MAX;

        if (p->has_audit)
                return;
        p->audit_error = process_read_login(p->pid, &login_uid, &session);
        p->login_uid = login_uid;
        p->audit_session = session;
        p->has_audit = true;
}

bool principal_is_same_process(const Principal *p, int fd) {
        _cleanup_(closep) int pidfd = -1;
        socklen_t size = sizeof(pidfd);
        long ticks = sysconf(_SC_CLK_TCK);
        uint64_t start;

        if (fd < 0 || p->pid <= 0)
                return false;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) >= 0) {
                struct pollfd ended = { .fd = pidfd, .events = POLLIN };

                return poll(&ended, 1, 0) == 0;
        }
        pidfd = -1;
        if (errno != ENOPROTOOPT || ticks <= 0)
                return false;
        /* A start is rounded down to a tick, so one within the tick of the accept counts as before it. */
        return process_read_start(p->pid, &start) >= 0 &&
               start <= p->accepted_usec / (USEC_PER_SEC / (uint64_t)ticks);
}

int principal_read_groups(int fd, gid_t **ret, size_t *ret_n) {
        _cleanup_(freep) gid_t *groups = NULL;
        socklen_t size = 0;

        /* The groups of the moment of connect(2) do not change, so the size that is told first holds (unix(7)). */
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) < 0 && errno != ERANGE)
                return -errno;
        if (size > 0) {
                groups = malloc(size);
                if (!groups)
                        return -ENOMEM;
                if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
                        return -errno;
        }
        *ret = TAKE_PTR(groups);
        *ret_n = size / sizeof(gid_t);
        return 0;
}

int identity_check_own_namespace(void) {
        int r = process_has_own_uids(getpid());

        return r > 0 ? -EPERM : r;
}
