/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What comes in: reads with both witnesses compared, cut into messages at NUL.
 *
 * A step takes one message, or reads once. Reads go into one buffer that all connections share; only what is not
 * worked on at once is kept with the connection and charged to its uid, so an idle one costs its struct and nothing
 * else. While a call is in flight nothing is read: the kernel's socket buffer holds the peer back, which is all the
 * flow control there is.
 *
 * A peer chooses how its bytes are cut, so no work may depend on that: each kept byte is searched once (input_searched), and
 * messages that are done with are not moved out of the way one by one (input_at).
 *
 * A half-sent message has its time from its first byte; a peer that trickles is cut. Between messages there is no limit. */

#include <assert.h>

#include "ipc/receive.h"
#include "ipc/server-internal.h"
#include "util/clock.h"

static void partial_unlist(Connection *c) {
        Server *s = c->server;

        if (!c->is_listed)
                return;
        if (c->partial_previous)
                c->partial_previous->partial_next = c->partial_next;
        else
                s->partials = c->partial_next;
        if (c->partial_next)
                c->partial_next->partial_previous = c->partial_previous;
        else
                s->partials_last = c->partial_previous;
        c->partial_next = c->partial_previous = NULL;
        c->is_listed = false;
}

/* All messages have the same time, so appending keeps the list ordered and the timer needs its head only. */
static void partial_list(Connection *c) {
        Server *s = c->server;

        if (c->is_listed)
                return;
        c->partial_since = now_monotonic();
        c->partial_previous = s->partials_last;
        if (s->partials_last)
                s->partials_last->partial_next = c;
        else {
                s->partials = c;
                server_sync_event(s);
                (void)sd_event_source_set_time(s->timer, c->partial_since + s->options.message_timeout_usec);
                (void)sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
        }
        s->partials_last = c;
        c->is_listed = true;
}

int input_on_partial_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Server *s = userdata;
        uint64_t now = now_monotonic();

        while (s->partials && s->partials->partial_since + s->options.message_timeout_usec <= now) {
                uid_t uid = s->partials->principal.uid;

                log_budget_line(s->log, LOG_INFO, s->partials->payer,
                                "closing a connection of uid %u: its message was not finished in time",
                                (unsigned)uid);
                connection_close(s->partials);
        }
        if (s->partials) {
                (void)sd_event_source_set_time(
                                s->timer, s->partials->partial_since + s->options.message_timeout_usec);
                (void)sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
        }
        connection_free_dead(s);
        return 0;
}

/* Moves the rest to the front. */
static void input_compact(Connection *c) {
        account_release_bytes(c->account, c->input_at);
        if (c->input_at == c->input.size)
                buffer_done(&c->input);
        else
                buffer_consume(&c->input, c->input_at);
        c->input_searched -= MIN(c->input_searched, c->input_at);
        c->input_at = 0;
}

int input_keep(Connection *c, const uint8_t *bytes, size_t n) {
        int r;

        if (n == 0)
                return 0;
        if (c->input_at > 0)
                input_compact(c);
        r = account_charge_bytes(c->account, n);
        if (r < 0)
                return r;
        r = buffer_append(&c->input, bytes, n);
        if (r < 0)
                account_release_bytes(c->account, n);
        return r;
}

void input_drop(Connection *c, size_t n) {
        assert(n <= c->input.size - c->input_at);
        c->input_at += n;
        if (c->input_at == c->input.size)
                input_compact(c);
}

void input_done(Connection *c) {
        partial_unlist(c);
        c->input_at = c->input.size;
        input_compact(c);
}

static int input_refuse(Connection *c, int reason, uid_t writer) {
        LogBudget *log = c->server->log;
        unsigned uid = c->principal.uid;

        if (reason == RECEIVED_OTHER_UID)
                log_budget_line(log, LOG_NOTICE, c->payer,
                                "closing a connection: uid %u opened it, but uid %u writes on it", uid,
                                (unsigned)writer);
        else
                log_budget_line(log, LOG_NOTICE, c->payer, "closing a connection of uid %u: %s", uid,
                                reason == RECEIVED_DESCRIPTORS ? "it passes descriptors"
                                                               : "the kernel does not say who writes on it");
        return -EPERM;
}

int input_receive(Connection *c, size_t *ret_size) {
        uid_t writer;
        size_t n;
        int r;

        *ret_size = 0;
        r = receive_witnessed(c->fd, c->principal.uid, c->server->read_buffer, READ_SIZE, &n, &writer);
        if (r == -EAGAIN) {
                c->is_readable = false;
                return 0;
        }
        if (r == -EINTR)
                return 0;
        if (r != RECEIVED_DATA)
                return r < 0 ? r : input_refuse(c, r, writer);
        if (n == 0)
                c->has_ended = true;
        /* Not yet in the epoll set: that it comes there at the end of this step tells whether there is more. */
        if (c->interest == 0)
                c->is_readable = false;
        if (n > 0)
                connection_spend_step(c);
        *ret_size = n;
        return 0;
}

/* Starts the call in the n bytes at text, which need not outlive this. */
static int input_message(Connection *c, const char *text, size_t n) {
        size_t cost = message_cost(text, n);
        Message message;
        int r;

        partial_unlist(c);
        if (n > MESSAGE_SIZE_MAX)
                return -EMSGSIZE;
        r = account_charge_bytes(c->account, cost);
        if (r < 0)
                return r;
        r = message_parse(text, n, &message);
        if (r < 0) {
                account_release_bytes(c->account, cost);
                return r;
        }
        return call_start(c, &message, cost);
}

/* The kept bytes hold a message? Takes it: 1. Otherwise 0, and its time runs. */
static int input_take(Connection *c) {
        const uint8_t *text, *end;
        int r;

        if (c->input.size == c->input_at)
                return 0;
        size_t from = MAX(c->input_searched, c->input_at);
        end = memchr(c->input.bytes + from, 0, c->input.size - from);
        if (!end) {
                c->input_searched = c->input.size;
                if (c->input.size - c->input_at > MESSAGE_SIZE_MAX)
                        return -EMSGSIZE;
                partial_list(c);
                return 0;
        }
        connection_spend_step(c);
        text = c->input.bytes + c->input_at;
        size_t size = (size_t)(end - text);
        r = input_message(c, (const char *)text, size);
        if (r < 0)
                return r;
        /* The call may have closed the connection, or handed it over. */
        if (c->state != CONNECTION_DEAD && c->input.size > c->input_at)
                input_drop(c, size + 1);
        return 1;
}

/* What came with one read. */
static int input_work(Connection *c, const uint8_t *bytes, size_t n) {
        const uint8_t *end;
        int r;

        end = c->input.size == c->input_at ? memchr(bytes, 0, n) : NULL;
        if (!end) {
                r = input_keep(c, bytes, n);
                return r < 0 ? r : MIN(input_take(c), 0);
        }
        /* The usual case: one whole message, worked on where it is. */
        size_t size = (size_t)(end - bytes);
        r = input_keep(c, end + 1, n - size - 1);
        return r < 0 ? r : input_message(c, (const char *)bytes, size);
}

/* What was read may hold a token; once it is worked on it is nowhere but where it was put. The next reader's bytes may be fewer. */
static int input_read(Connection *c) {
        uint8_t *bytes = c->server->read_buffer;
        size_t n;
        int r;

        r = input_receive(c, &n);
        if (r < 0 || n == 0)
                return r;
        r = input_work(c, bytes, n);
        explicit_bzero(bytes, n);
        return r;
}

bool input_is_waiting(Connection *c) {
        if (c->server->is_stopping)
                return c->is_hung_up;
        return c->input.size > MAX(c->input_searched, c->input_at) || c->is_readable || c->has_ended;
}

int input_step(Connection *c) {
        int r;

        if (c->server->is_stopping)
                return c->is_hung_up ? -EPIPE : 0;
        r = input_take(c);
        if (r != 0)
                return MIN(r, 0);
        if (c->is_readable && !c->has_ended) {
                r = input_read(c);
                if (r < 0 || c->state != CONNECTION_IDLE)
                        return r;
        }
        /* A message that was begun and will not be ended is dropped with the connection. */
        if (c->has_ended && c->input.size == MAX(c->input_searched, c->input_at)) {
                if (c->output.size == 0 || c->is_hung_up)
                        return -EPIPE;
                input_done(c);
                c->state = CONNECTION_FLUSHING;
        }
        return 0;
}
