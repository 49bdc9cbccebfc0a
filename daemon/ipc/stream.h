/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "ipc/server.h"

/* A connection that speaks another protocol from now on (UAPI.20, `upgrade`): bytes in, bytes out. */

typedef struct Stream Stream;

/* All callbacks come from the loop, never from within a call of a function below. */
typedef struct StreamHandler {
        /* Bytes of the peer, the first of them maybe those that came behind its call. Borrowed; all must be taken. */
        void (*on_bytes)(Stream *stream, const uint8_t *bytes, size_t n, void *userdata);
        /* The peer sends no more; it may still be written to (optional). */
        void (*on_end)(Stream *stream, void *userdata);
        /* All that was written has left (optional). */
        void (*on_drained)(Stream *stream, void *userdata);
        /* The connection is gone, the stream ends with this call. 0: the peer closed it; -EDQUOT: the uid has too many
         * bytes waiting; -EPERM: somebody else wrote; what server_close_streams() was told; another -errno. Not called after stream_close(). */
        void (*on_closed)(Stream *stream, int error, void *userdata);
} StreamHandler;

/* The final reply to a call with `upgrade`, of a method that says is_upgrade; takes parameters (NULL: none). The reply and what is
 * written later leave in order; nobody waits for that. The stream is charged to the caller's uid until it ends.
 * -EPIPE: the client has left; -ENOMEM, -EDQUOT: it was closed. */
int call_upgrade(Call *call, json_object *parameters, const StreamHandler *handler, void *userdata,
                Stream **ret);

/* Bytes to the peer. What the peer does not take yet is charged to its uid. On -errno the stream is broken: on_closed follows. */
int stream_write(Stream *stream, const void *bytes, size_t n);
/* Bytes that wait for the peer. */
size_t stream_pending(Stream *stream);
/* Reads no more until it is resumed: the peer is held back by the kernel. */
void stream_pause(Stream *stream);
void stream_resume(Stream *stream);
/* Who the peer is; each read is held against it. */
const Principal *stream_principal(Stream *stream);
/* Ends the stream: what was written still leaves, then the peer sees the end. No callback follows. */
void stream_close(Stream *stream);
