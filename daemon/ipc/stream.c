/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Upgraded connections. After its reply to `upgrade` a connection stays where it was, in the epoll set and in its
 * uid's queue, and only its bytes go elsewhere: so reads stay compared with the second witness (T38), output stays
 * charged and asynchronous, and a stream gets its turn like any call. Handing the descriptor itself to the new
 * protocol's code was rejected: each such code would have to keep those promises anew.
 *
 * What came behind the call in the same read belongs to the new protocol and is handed on first, from the loop. The owner is
 * never called back from within a call of its own: a failed write shows as its result, the end follows in the
 * connection's next step.
 *
 * Invariants: connection->stream and stream->connection point at each other, or neither exists. The account lives as
 * long as the connection, and the connection as long as the stream. */

#include <assert.h>

#include "ipc/server-internal.h"
#include "util/crash-point.h"

struct Stream {
        Connection *connection;
        const StreamHandler *handler;
        void *userdata;
        bool is_paused;
        bool has_told_end;
};

int call_upgrade(Call *call, json_object *parameters, const StreamHandler *handler, void *userdata,
                Stream **ret) {
        _cleanup_(json_putp) json_object *reply =
                        json_build("parameters", 'o', parameters ?: json_object_new_object(), NULL);
        Connection *c = call->connection;
        Stream *stream;
        int r;

        assert(call->message.is_upgrade && call->is_stream && !call->is_answered);
        if (!c)
                return -EPIPE;
        const char *text = reply ? json_text(reply) : NULL;
        if (!text)
                return -ENOMEM;
        stream = calloc(1, sizeof(Stream));
        if (!stream)
                return -ENOMEM;
        *stream = (Stream){ .connection = c, .handler = handler, .userdata = userdata };

        crash_point("reply");
        r = connection_send(c, text, strlen(text) + 1);
        if (r < 0) {
                free(stream);
                connection_close(c);
                return r;
        }
        /* The charge goes over from the call to the stream. */
        call->is_stream = false;
        call_hand_over(call);
        /* Now, while the peer is sure to live: of which login it is decides when the stream ends (T38). */
        principal_read_audit(&c->principal);
        c->state = CONNECTION_UPGRADED;
        c->stream = stream;
        connection_reconsider(c);
        *ret = stream;
        return 0;
}

int stream_write(Stream *stream, const void *bytes, size_t n) {
        Connection *c = stream->connection;
        int r;

        if (c->error < 0)
                return c->error;
        r = n > 0 ? connection_send(c, bytes, n) : 0;
        if (r < 0)
                connection_fail(c, r);
        return r;
}

size_t stream_pending(Stream *stream) {
        return stream->connection->output.size;
}

void stream_pause(Stream *stream) {
        stream->is_paused = true;
}

void stream_resume(Stream *stream) {
        stream->is_paused = false;
        connection_reconsider(stream->connection);
}

const Principal *stream_principal(Stream *stream) {
        return &stream->connection->principal;
}

static void stream_free(Stream *stream) {
        Connection *c = stream->connection;

        c->stream = NULL;
        account_release_stream(c->account);
        free(stream);
}

void stream_close(Stream *stream) {
        Connection *c = stream->connection;

        stream_free(stream);
        input_done(c);
        c->state = CONNECTION_FLUSHING;
        if (c->output.size == 0 || c->is_hung_up)
                connection_close(c);
}

void stream_abandon(Stream *stream, int error) {
        const StreamHandler *handler = stream->handler;

        if (error == -EPIPE || error == -ECONNRESET)
                error = 0;
        server_sync_event(stream->connection->server);
        handler->on_closed(stream, error, stream->userdata);
        stream_free(stream);
}

bool stream_is_waiting(Connection *c) {
        const Stream *s = c->stream;

        if (s->is_paused)
                return false;
        return c->input.size > c->input_at || (c->is_readable && !c->has_ended) ||
               (c->has_ended && !s->has_told_end) || (c->has_ended && c->is_hung_up);
}

int stream_step(Connection *c) {
        Stream *s = c->stream;
        size_t n = c->input.size - c->input_at;
        int r;

        if (s->is_paused)
                return 0;
        server_sync_event(c->server);
        if (n > 0) {
                s->handler->on_bytes(s, c->input.bytes + c->input_at, n, s->userdata);
                if (c->stream == s)
                        input_drop(c, n);
                return 0;
        }
        if (c->is_readable && !c->has_ended) {
                r = input_receive(c, &n);
                if (r < 0)
                        return r;
                if (n > 0) {
                        s->handler->on_bytes(s, c->server->read_buffer, n, s->userdata);
                        return 0;
                }
        }
        if (!c->has_ended)
                return 0;
        if (c->is_hung_up)
                return -EPIPE;
        if (!s->has_told_end) {
                s->has_told_end = true;
                if (s->handler->on_end)
                        s->handler->on_end(s, s->userdata);
        }
        return 0;
}

void stream_drained(Connection *c) {
        Stream *s = c->stream;

        if (s && s->handler->on_drained) {
                server_sync_event(c->server);
                s->handler->on_drained(s, s->userdata);
        }
}
