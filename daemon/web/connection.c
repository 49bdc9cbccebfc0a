/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who is connected, since when, and who has to go.
 *
 * libmicrohttpd's time-out counts from the last byte, so a client that sends one byte every few seconds keeps its
 * thread for ever, and a few dozen such clients keep everybody out (slowloris). All our clients share the address
 * 127.0.0.1, so a limit per address is no help either. Hence two rules of our own: an absolute deadline for every
 * phase, and when it gets crowded, the oldest connection without a complete request makes room for the new one. An
 * honest browser sends its request within a millisecond of connecting.
 *
 * A connection is cut with shutdown(2), which wakes its thread; only that thread closes the descriptor. The table
 * is told before the descriptor is closed, and both happen under the lock, so a number that was reused is never
 * shut down. Who may call: server.c. */

#include <sys/eventfd.h>
#include <sys/socket.h>

#include "util/clock.h"
#include "web/connection.h"

int connection_table_init(ConnectionTable *t) {
        int r;

        *t = (ConnectionTable){ .wake_fd = -1 };
        r = pthread_mutex_init(&t->lock, NULL);
        if (r != 0)
                return -r;
        t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (t->wake_fd < 0) {
                r = -errno;
                (void)pthread_mutex_destroy(&t->lock);
                return r;
        }
        return 0;
}

void connection_table_done(ConnectionTable *t) {
        t->wake_fd = safe_close(t->wake_fd);
        (void)pthread_mutex_destroy(&t->lock);
}

static void table_wake(ConnectionTable *t) {
        static const uint64_t one = 1;

        /* Fails only when it is full of wake-ups already. */
        (void)!write(t->wake_fd, &one, sizeof(one));
}

static void connection_cut(Connection *c) {
        c->is_cut = true;
        c->table->n_cut++;
        (void)shutdown(c->fd, SHUT_RDWR);
}

/* Keeps the connections that are not on their way out below the crowd's limit. */
static void table_make_room(ConnectionTable *t) {
        for (Connection *c = t->oldest; c && t->n_connections - t->n_cut > CONNECTIONS_CROWDED; c = c->next)
                if (c->is_claimed && c->state == CONNECTION_RECEIVING && !c->is_cut)
                        connection_cut(c);
}

bool connection_admits(ConnectionTable *t) {
        return connection_count(t) < CONNECTIONS_MAX;
}

int connection_add(ConnectionTable *t, int fd, Connection **ret) {
        Connection *c = calloc(1, sizeof(*c));

        if (!c)
                return -ENOMEM;
        c->table = t;
        c->fd = fd;
        c->state = CONNECTION_RECEIVING;
        c->begun_usec = now_monotonic();
        c->deadline_usec = c->begun_usec + CONNECTION_RECEIVE_USEC;

        (void)pthread_mutex_lock(&t->lock);
        c->previous = t->newest;
        if (t->newest)
                t->newest->next = c;
        else
                t->oldest = c;
        t->newest = c;
        t->n_connections++;
        table_make_room(t);
        (void)pthread_mutex_unlock(&t->lock);
        *ret = c;
        return 0;
}

Connection *connection_claim(ConnectionTable *t, int fd) {
        Connection *c;

        (void)pthread_mutex_lock(&t->lock);
        for (c = t->newest; c; c = c->previous)
                if (c->fd == fd && !c->is_claimed) {
                        c->is_claimed = true;
                        break;
                }
        /* In a rush they come faster than threads start, and those that could not be cut then can be now. */
        table_make_room(t);
        (void)pthread_mutex_unlock(&t->lock);
        return c;
}

static void table_unlink(ConnectionTable *t, Connection *c) {
        if (c->previous)
                c->previous->next = c->next;
        else
                t->oldest = c->next;
        if (c->next)
                c->next->previous = c->previous;
        else
                t->newest = c->previous;
        t->n_connections--;
        if (c->is_cut)
                t->n_cut--;
        if (c->state == CONNECTION_ANSWERING)
                t->n_answering--;
}

bool connection_keep_body(Connection *c, const char *bytes, size_t n, size_t max) {
        size_t n_before = c->n_body;

        /* Counted beyond what is kept, for whoever hangs up on it in the end. */
        c->n_body += MIN(n, 64 * max);
        if (c->n_body > max)
                return false;
        if (!c->body)
                c->body = calloc(1, max);
        if (!c->body)
                return false;
        memcpy(c->body + n_before, bytes, n);
        c->n_body_kept = c->n_body;
        return true;
}

void connection_forget_request(Connection *c) {
        if (c->target)
                explicit_bzero(c->target, strlen(c->target));
        free(c->target);
        c->target = NULL;
        if (c->body)
                explicit_bzero(c->body, c->n_body_kept);
        free(c->body);
        c->body = NULL;
        c->n_body_kept = 0;
}

void connection_remove(Connection *c) {
        ConnectionTable *t = c->table;

        (void)pthread_mutex_lock(&t->lock);
        table_unlink(t, c);
        (void)pthread_mutex_unlock(&t->lock);
        table_wake(t);

        connection_forget_request(c);
        free(c);
}

static void connection_enter_sending(Connection *c) {
        c->state = CONNECTION_SENDING;
        c->deadline_usec = now_monotonic() + CONNECTION_SEND_USEC;
}

bool connection_begin_answer(Connection *c) {
        ConnectionTable *t = c->table;
        bool is_admitted;

        (void)pthread_mutex_lock(&t->lock);
        is_admitted = t->n_answering < ANSWERING_MAX;
        if (is_admitted) {
                c->state = CONNECTION_ANSWERING;
                c->deadline_usec = UINT64_MAX;
                t->n_answering++;
        } else
                connection_enter_sending(c);
        (void)pthread_mutex_unlock(&t->lock);
        return is_admitted;
}

void connection_end_answer(Connection *c) {
        ConnectionTable *t = c->table;

        (void)pthread_mutex_lock(&t->lock);
        if (c->state == CONNECTION_ANSWERING)
                t->n_answering--;
        connection_enter_sending(c);
        (void)pthread_mutex_unlock(&t->lock);
        table_wake(t);
}

uint64_t connection_reap(ConnectionTable *t, uint64_t now_usec) {
        uint64_t next = UINT64_MAX;
        Connection *following;

        (void)pthread_mutex_lock(&t->lock);
        for (Connection *c = t->oldest; c; c = following) {
                following = c->next;
                if (c->is_cut)
                        continue;
                if (c->deadline_usec <= now_usec && !c->is_claimed) {
                        /* The library failed before it had a thread for it, and has closed it. */
                        table_unlink(t, c);
                        free(c);
                } else if (c->deadline_usec <= now_usec)
                        connection_cut(c);
                else
                        next = MIN(next, c->deadline_usec);
        }
        (void)pthread_mutex_unlock(&t->lock);
        return next;
}

unsigned connection_count(ConnectionTable *t) {
        unsigned n;

        (void)pthread_mutex_lock(&t->lock);
        n = t->n_connections;
        (void)pthread_mutex_unlock(&t->lock);
        return n;
}

void connection_cut_unfinished(ConnectionTable *t) {
        (void)pthread_mutex_lock(&t->lock);
        for (Connection *c = t->oldest; c; c = c->next)
                if (c->is_claimed && c->state == CONNECTION_RECEIVING && !c->is_cut)
                        connection_cut(c);
        (void)pthread_mutex_unlock(&t->lock);
}
