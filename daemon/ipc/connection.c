/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One client: bytes in, messages out, and the reverse.
 *
 * Input is read into one buffer that all connections share; only a half-sent message is kept per connection, so an
 * idle one costs its struct and nothing else. While a call is in flight nothing is read: the kernel's socket buffer
 * holds the peer back, which is all the flow control there is. Every kept byte is charged to the uid first.
 *
 * A connection that is to go away is unlinked at once and freed at the end of the loop's turn, since an event for it
 * may still be in the batch being worked on. */

#include <assert.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "ipc/server-internal.h"
#include "util/clock.h"
#include "util/log.h"

static void connection_blame(const Connection *c, const char *what) {
        if (log_limit_admits(&c->server->refusals, now_monotonic()))
                log_info("closing a connection of uid %u: %s", (unsigned)c->principal.uid, what);
}

static int connection_watch(Connection *c, uint32_t interest) {
        struct epoll_event event = { .events = interest, .data.ptr = c };

        if (c->interest == interest)
                return 0;
        if (epoll_ctl(c->server->epoll_fd, EPOLL_CTL_MOD, c->fd, &event) < 0)
                return -errno;
        c->interest = interest;
        return 0;
}

/* EPOLLHUP and EPOLLERR are always reported. */
int connection_update_interest(Connection *c) {
        uint32_t interest = 0;

        if (c->state == CONNECTION_DEAD)
                return 0;
        if (c->state == CONNECTION_IDLE && !c->has_ended && !c->server->is_stopping)
                interest |= EPOLLIN;
        if (c->output.size > 0)
                interest |= EPOLLOUT;
        return connection_watch(c, interest);
}

/* Who is charged. A login user may hold tens of thousands of uids (subuid(5)) and connect as each of them; one account for all that are
 * nobody's login keeps descriptors for the rest. */
static uid_t connection_payer(const Server *s, Door door, uid_t uid) {
        return door == DOOR_PUBLIC && s->options.strangers_from > 0 && uid >= s->options.strangers_from ? UID_INVALID : uid;
}

int connection_new(Server *s, int fd, Door door) {
        struct epoll_event event = { .events = EPOLLIN };
        Principal principal;
        Account *account;
        Connection *c;
        int r;

        r = principal_from_socket(fd, &principal);
        if (r < 0)
                return r;
        r = accounts_open(s->accounts, connection_payer(s, door, principal.uid), &account);
        if (r < 0)
                return r;

        c = calloc(1, sizeof(Connection));
        if (!c) {
                account_close(account);
                return -ENOMEM;
        }
        *c = (Connection){ .server = s, .fd = fd, .door = door, .principal = principal, .account = account, .interest = EPOLLIN };
        /* A message, and what one read brought behind its end; the scan holds the message itself to its size. */
        c->input.limit = MESSAGE_SIZE_MAX + READ_SIZE;
        c->output.limit = OUTPUT_SIZE_MAX;
        event.data.ptr = c;
        if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
                r = -errno;
                account_close(account);
                free(c);
                return r;
        }
        c->next = s->connections;
        if (c->next)
                c->next->previous = c;
        s->connections = c;
        return 0;
}

static void connection_unlist_partial(Connection *c) {
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
static void connection_list_partial(Connection *c) {
        Server *s = c->server;

        if (c->is_listed)
                return;
        c->partial_since = now_monotonic();
        c->partial_previous = s->partials_last;
        if (s->partials_last)
                s->partials_last->partial_next = c;
        else {
                s->partials = c;
                (void)sd_event_source_set_time(s->timer, c->partial_since + s->options.message_timeout_usec);
                (void)sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
        }
        s->partials_last = c;
        c->is_listed = true;
}

int connection_on_partial_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Server *s = userdata;
        uint64_t now = now_monotonic();

        while (s->partials && s->partials->partial_since + s->options.message_timeout_usec <= now) {
                connection_blame(s->partials, "its message was not finished in time");
                connection_close(s->partials);
        }
        if (s->partials) {
                (void)sd_event_source_set_time(s->timer, s->partials->partial_since + s->options.message_timeout_usec);
                (void)sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
        }
        connection_free_dead(s);
        return 0;
}

void connection_close(Connection *c) {
        Server *s = c->server;

        if (c->state == CONNECTION_DEAD)
                return;
        c->state = CONNECTION_DEAD;
        connection_unlist_partial(c);
        if (c->call)
                call_abandon(TAKE_PTR(c->call));
        account_release_bytes(c->account, c->input.size + c->output.size);
        buffer_done(&c->input);
        buffer_done(&c->output);
        account_close(c->account);
        c->fd = safe_close(c->fd); /* leaves the epoll set with its last descriptor */

        if (c->previous)
                c->previous->next = c->next;
        else
                s->connections = c->next;
        if (c->next)
                c->next->previous = c->previous;
        c->next = s->dead;
        s->dead = c;
}

void connection_free_dead(Server *s) {
        while (s->dead) {
                Connection *c = s->dead;

                s->dead = c->next;
                free(c);
        }
}

static int connection_flush(Connection *c) {
        while (c->output.size > 0) {
                ssize_t n = send(c->fd, c->output.bytes, c->output.size, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        if (errno == EAGAIN)
                                break;
                        return -errno;
                }
                account_release_bytes(c->account, (size_t)n);
                if ((size_t)n == c->output.size)
                        buffer_done(&c->output);
                else
                        buffer_consume(&c->output, (size_t)n);
        }
        return 0;
}

int connection_send(Connection *c, const char *message, size_t n) {
        int r;

        if (c->state == CONNECTION_DEAD)
                return 0;
        if (c->output.size == 0) {
                ssize_t sent = send(c->fd, message, n + 1, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (sent == (ssize_t)(n + 1))
                        return 0;
                if (sent < 0 && errno != EAGAIN && errno != EINTR)
                        return -errno;
                if (sent > 0) {
                        message += sent;
                        n -= (size_t)sent;
                }
        }
        r = account_charge_bytes(c->account, n + 1);
        if (r < 0)
                return r;
        r = buffer_append(&c->output, message, n + 1);
        if (r < 0) {
                account_release_bytes(c->account, n + 1);
                return r;
        }
        return connection_update_interest(c);
}

/* Starts the call in the n bytes at text; false when the connection was closed instead. */
static bool connection_message(Connection *c, const char *text, size_t n) {
        Message message;
        int r;

        c->is_dispatching = true;
        r = message_parse(text, n, &message);
        if (r >= 0)
                r = call_start(c, &message);
        c->is_dispatching = false;
        if (r < 0) {
                connection_blame(c, "it sent what is no call");
                connection_close(c);
        }
        return c->state != CONNECTION_DEAD;
}

/* Works through bytes (not kept by the connection) until a call is in flight; returns how many were used. */
static size_t connection_take(Connection *c, const uint8_t *bytes, size_t n) {
        size_t used = 0;

        while (c->state == CONNECTION_IDLE && used < n) {
                const uint8_t *end = memchr(bytes + used, 0, n - used);

                if (!end)
                        break;
                size_t size = (size_t)(end - (bytes + used));
                if (!connection_message(c, (const char *)bytes + used, size))
                        return n;
                used += size + 1;
        }
        return used;
}

static int connection_keep(Connection *c, const uint8_t *bytes, size_t n) {
        int r;

        if (n == 0)
                return 0;
        if (c->input.size + n > MESSAGE_SIZE_MAX && !memchr(bytes, 0, n))
                return -EMSGSIZE;
        r = account_charge_bytes(c->account, n);
        if (r < 0)
                return r;
        r = buffer_append(&c->input, bytes, n);
        if (r < 0)
                account_release_bytes(c->account, n);
        return r;
}

static void connection_drop_input(Connection *c, size_t n) {
        account_release_bytes(c->account, n);
        if (n == c->input.size)
                buffer_done(&c->input);
        else
                buffer_consume(&c->input, n);
}

void connection_next_message(Connection *c) {
        if (c->state == CONNECTION_DEAD)
                return;
        while (c->state == CONNECTION_IDLE && c->input.size > 0 && !c->server->is_stopping) {
                const uint8_t *end = memchr(c->input.bytes, 0, c->input.size);
                if (!end)
                        break;

                /* The call may outlive the buffer's present content: the message is parsed before anything is dropped. */
                size_t size = (size_t)(end - c->input.bytes);
                if (!connection_message(c, (const char *)c->input.bytes, size))
                        return;
                connection_drop_input(c, size + 1);
        }
        if (c->state == CONNECTION_IDLE && c->input.size > 0)
                connection_list_partial(c);
        else
                connection_unlist_partial(c);
        if (c->has_ended && c->state == CONNECTION_IDLE) {
                if (c->output.size == 0) {
                        connection_close(c);
                        return;
                }
                c->state = CONNECTION_FLUSHING;
        }
        if (connection_update_interest(c) < 0)
                connection_close(c);
}

/* One recv per wake-up: a connection with much to say goes to the back of the queue. */
static int connection_read(Connection *c) {
        Server *s = c->server;
        ssize_t n;
        int r;

        n = recv(c->fd, s->read_buffer, READ_SIZE, MSG_DONTWAIT);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n == 0) {
                c->has_ended = true;
                connection_next_message(c);
                return 0;
        }

        size_t used = c->input.size == 0 ? connection_take(c, s->read_buffer, (size_t)n) : 0;
        if (c->state == CONNECTION_DEAD)
                return 0;
        r = connection_keep(c, s->read_buffer + used, (size_t)n - used);
        if (r < 0)
                return r;
        connection_next_message(c);
        return 0;
}

void connection_on_event(Connection *c, uint32_t events) {
        int r = 0;

        if (c->state == CONNECTION_DEAD)
                return;
        if (events & EPOLLOUT) {
                r = connection_flush(c);
                if (r >= 0 && c->state == CONNECTION_FLUSHING && c->output.size == 0)
                        r = -EPIPE;
                else if (r >= 0)
                        r = connection_update_interest(c);
        }
        if (r >= 0 && (events & EPOLLIN) && c->state == CONNECTION_IDLE)
                r = connection_read(c);
        else if (r >= 0 && (events & (EPOLLHUP | EPOLLERR)))
                r = -EPIPE;
        if (r < 0 && c->state != CONNECTION_DEAD) {
                if (r != -EPIPE && r != -ECONNRESET)
                        connection_blame(c, strerror(-r));
                connection_close(c);
        }
}
