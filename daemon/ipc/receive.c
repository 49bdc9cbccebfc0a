/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The second witness. SO_PEERCRED says whose *effective* uid called connect(2); SCM_CREDENTIALS say whose *real* uid
 * wrote these very bytes. A setuid program that connects for its invoker, a connected descriptor that was passed on
 * or inherited through su: in all of them the two differ (T2, T3). A privileged writer may attach other credentials
 * on purpose, which the kernel checks; pam_vaultd.so does within su.
 *
 * What this rests on (Linux, net/unix/af_unix.c): bytes written before accept(2) carry credentials whatever the flags
 * are, and the accepted socket gets SO_PASSCRED before its first read, so there is no moment without. A read ends where the next
 * bytes have another writer (pid, uid, gid), so bytes of two writers never come out of one read. The tests hold both.
 *
 * Room is given for credentials alone: descriptors that come along do not fit, so the kernel drops them before this process
 * would own them, and says so (MSG_CTRUNC).
 *
 * Who may call: the files of ipc/. */

#include <sys/socket.h>

#include "ipc/receive.h"

int receive_enable_witness(int fd) {
        return setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &(int){ 1 }, sizeof(int)) < 0 ? -errno : 0;
}

static bool find_credentials(struct msghdr *message, struct ucred *ret) {
        for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h; h = CMSG_NXTHDR(message, h))
                if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_CREDENTIALS &&
                                h->cmsg_len == CMSG_LEN(sizeof(*ret))) {
                        memcpy(ret, CMSG_DATA(h), sizeof(*ret));
                        return true;
                }
        return false;
}

int receive_witnessed(int fd, uid_t uid, void *buffer, size_t size, size_t *ret_size, uid_t *ret_writer) {
        union {
                struct cmsghdr header;
                uint8_t bytes[CMSG_SPACE(sizeof(struct ucred))];
        } control = {};
        struct iovec iov = { buffer, size };
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };
        struct ucred writer;
        ssize_t n;

        n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0)
                return -errno;
        *ret_size = (size_t)n;
        *ret_writer = UID_INVALID;
        if (n == 0)
                return RECEIVED_DATA;
        if (message.msg_flags & MSG_CTRUNC)
                return RECEIVED_DESCRIPTORS;
        if (!find_credentials(&message, &writer))
                return RECEIVED_NO_CREDENTIALS;
        *ret_writer = writer.uid;
        return writer.uid == uid ? RECEIVED_DATA : RECEIVED_OTHER_UID;
}
