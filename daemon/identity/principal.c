/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The caller's identity. It comes from one place only, the credentials that the kernel recorded when the peer called
 * connect(2); nothing that a peer sends is looked at. Everything read from /proc is decoration for the audit trail:
 * a pid can be reused between the connect and the reading, so it decides nothing.
 *
 * Who may call: ipc at accept, api for the origin. */

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "identity/principal.h"

int principal_from_socket(int fd, Principal *ret) {
        struct ucred cred = { .uid = UID_INVALID };
        socklen_t size = sizeof(cred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
                return -errno;
        if (size != sizeof(cred) || cred.uid == UID_INVALID || cred.uid == UID_OVERFLOW)
                return -EPERM;

        *ret = (Principal){ .uid = cred.uid, .gid = cred.gid, .pid = cred.pid, .audit_session = UINT32_MAX };
        return 0;
}

/* Reads a short /proc file. The number of bytes, or -errno. */
static ssize_t read_small_file(const char *path, char *buffer, size_t size) {
        _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        ssize_t n;

        if (fd < 0)
                return -errno;
        n = read(fd, buffer, size - 1);
        if (n < 0)
                return -errno;
        buffer[n] = 0;
        return n;
}

void principal_read_audit(Principal *p) {
        char path[64], text[32], *end;

        p->audit_session = UINT32_MAX;
        (void)snprintf(path, sizeof(path), "/proc/%d/sessionid", (int)p->pid);
        if (read_small_file(path, text, sizeof(text)) <= 0)
                return;
        errno = 0;
        unsigned long value = strtoul(text, &end, 10);
        if (errno == 0 && end != text && value <= UINT32_MAX)
                p->audit_session = (uint32_t)value;
}

int identity_check_own_namespace(void) {
        unsigned long inside, outside, count;
        char text[256];
        ssize_t n;
        int used = 0;

        n = read_small_file("/proc/self/uid_map", text, sizeof(text));
        if (n < 0)
                return (int)n;
        if (sscanf(text, "%lu %lu %lu %n", &inside, &outside, &count, &used) != 3 || text[used] != 0)
                return -EPERM;
        return inside == 0 && outside == 0 && count == UINT32_MAX ? 0 : -EPERM;
}
