/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "util/macro.h"

/* Reading with the second witness: the kernel's word on who wrote (unix(7), SO_PASSCRED and SCM_CREDENTIALS). I2. */

typedef enum Received {
        RECEIVED_DATA = 0,
        RECEIVED_OTHER_UID,      /* written by another uid than the one that connected */
        RECEIVED_NO_CREDENTIALS, /* the kernel did not say who wrote */
        RECEIVED_DESCRIPTORS,    /* descriptors came along; none was taken into this process */
} Received;

/* Makes the kernel say with every read who wrote. On a listener: for all its connections, from their first byte on. */
int receive_enable_witness(int fd);

/* Reads what there is, at most size bytes, all of it from one writer. 0: *ret_size bytes that uid wrote; 0 bytes: the peer
 * has ended its side. A positive Received: the bytes are to be forgotten and the connection to be closed; *ret_writer
 * is the other uid then, or UID_INVALID. -EAGAIN, -EINTR or another -errno of recvmsg(2). */
int receive_witnessed(int fd, uid_t uid, void *buffer, size_t size, size_t *ret_size, uid_t *ret_writer);
