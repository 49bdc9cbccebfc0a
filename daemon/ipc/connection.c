/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One client: its life, its steps, its output. What comes in is input.c's, and stream.c's after an upgrade.
 *
 * epoll reports each change once (edge triggered); what it said is remembered here until it was acted upon, and the
 * connection waits in its uid's queue meanwhile (schedule.c). So epoll can be asked for news between any two steps at
 * the price of one system call, however many connections are ready. Level triggered it would go through all of those
 * again each time; asking rarely instead would let a newcomer wait for the flood.
 *
 * Output is sent at once; what the peer does not take is kept, charged to its uid and sent when there is room. A peer
 * that makes more than its uid may hold is closed.
 *
 * A connection that is to go away is unlinked at once and freed at the end of the loop's turn, since its step may still
 * be on the stack. */

#include <assert.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "ipc/receive.h"
#include "ipc/server-internal.h"

/* EPOLLHUP and EPOLLERR are always reported. */
static int connection_set_interest(Connection *c, uint32_t interest) {
        struct epoll_event event = { .events = interest, .data.ptr = c };

        if (c->state == CONNECTION_DEAD || c->interest == interest)
                return 0;
        if (epoll_ctl(c->server->epoll_fd, c->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event) < 0)
                return -errno;
        c->interest = interest;
        return 0;
}

static int connection_update_interest(Connection *c) {
        return connection_set_interest(
                        c, EPOLLIN | EPOLLRDHUP | EPOLLET | (c->output.size > 0 ? EPOLLOUT : 0));
}

/* Who is charged. A login user may hold tens of thousands of uids (subuid(5)) and connect as each of them; one account for
 * all that are nobody's login keeps descriptors for the rest. */
static uid_t connection_payer(const Server *s, Door door, uid_t uid) {
        return door == DOOR_PUBLIC && s->options.strangers_from > 0 && uid >= s->options.strangers_from
                               ? UID_INVALID
                               : uid;
}

int connection_new(Server *s, int fd, Door door, bool has_witness) {
        Principal principal;
        Account *account;
        Connection *c;
        uid_t payer;
        int r;

        r = principal_from_socket(fd, &principal);
        if (r >= 0 && !has_witness)
                r = receive_enable_witness(fd);
        if (r < 0)
                return r;
        payer = connection_payer(s, door, principal.uid);
        r = accounts_open(server_accounts(s, door), payer, &account);
        if (r < 0) {
                log_budget_line(s->log, LOG_INFO, payer, "refused a connection of uid %u: %s",
                                (unsigned)principal.uid, r == -EDQUOT ? "it has too many" : strerror(-r));
                return r == -EDQUOT && refusal_keep(s, door, payer, fd) >= 0 ? 0 : r;
        }

        c = calloc(1, sizeof(Connection));
        if (!c) {
                account_close(account);
                return -ENOMEM;
        }
        *c = (Connection){ .server = s,
                .fd = fd,
                .door = door,
                .principal = principal,
                .account = account,
                .payer = payer,
                .is_prepaid = true };
        account_spend_step(account);
        /* A message, and what one read brought behind its end; the scan holds the message itself to its size. */
        c->input.limit = MESSAGE_SIZE_MAX + READ_SIZE;
        c->output.limit = OUTPUT_SIZE_MAX;
        c->next = s->connections;
        if (c->next)
                c->next->previous = c;
        s->connections = c;
        /* Most clients send as soon as they are connected: to look costs less than another wake-up. epoll hears of it after its
         * first step, and then says what has come since. */
        connection_on_event(c, EPOLLIN);
        return 0;
}

void connection_end(Connection *c, int error) {
        Server *s = c->server;

        if (c->state == CONNECTION_DEAD)
                return;
        c->state = CONNECTION_DEAD;
        schedule_remove(&s->schedule, c);
        input_done(c);
        if (c->call)
                call_abandon(TAKE_PTR(c->call));
        if (c->stream)
                stream_abandon(c->stream, error);
        account_release_bytes(c->account, c->output.size);
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

void connection_close(Connection *c) {
        connection_end(c, 0);
}

void connection_free_dead(Server *s) {
        while (s->dead) {
                Connection *c = s->dead;

                s->dead = c->next;
                free(c);
        }
}

static bool connection_is_waiting(Connection *c) {
        if (c->error < 0 || (c->is_writable && c->output.size > 0))
                return true;
        switch (c->state) {
        case CONNECTION_IDLE:
                return input_is_waiting(c);
        case CONNECTION_CALLING:
                /* Who sends calls that want no answer may leave right behind them. */
                return c->is_hung_up && !c->call->message.is_oneway;
        case CONNECTION_UPGRADED:
                return stream_is_waiting(c);
        case CONNECTION_FLUSHING:
                return c->is_hung_up || c->output.size == 0;
        case CONNECTION_DEAD:
                break;
        }
        return false;
}

void connection_reconsider(Connection *c) {
        if (c->state == CONNECTION_DEAD || !connection_is_waiting(c))
                return;
        schedule_add(&c->server->schedule, c);
}

void connection_spend_step(Connection *c) {
        if (!c->is_prepaid)
                account_spend_step(c->account);
        c->is_prepaid = false;
}

void connection_fail(Connection *c, int error) {
        c->error = error;
        connection_reconsider(c);
}

void connection_on_event(Connection *c, uint32_t events) {
        if (events & (EPOLLIN | EPOLLRDHUP))
                c->is_readable = true;
        if (events & EPOLLOUT)
                c->is_writable = true;
        if (events & (EPOLLHUP | EPOLLERR))
                c->is_hung_up = true;
        /* Whoever is held and writes on, byte by byte, would wake the loop for each. After the next step epoll says what has come. */
        if ((events & EPOLLIN) && c->is_queued && account_turn(c->account)->is_held)
                (void)connection_set_interest(c, c->interest & ~(uint32_t)EPOLLIN);
        connection_reconsider(c);
}

static int connection_flush(Connection *c) {
        while (c->output.size > 0) {
                ssize_t n = send(c->fd, c->output.bytes, c->output.size, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        if (errno != EAGAIN)
                                return -errno;
                        c->is_writable = false;
                        return 0;
                }
                account_release_bytes(c->account, (size_t)n);
                if ((size_t)n == c->output.size)
                        buffer_done(&c->output);
                else
                        buffer_consume(&c->output, (size_t)n);
        }
        stream_drained(c);
        return 0;
}

int connection_send(Connection *c, const void *bytes, size_t n) {
        const uint8_t *rest = bytes;
        int r;

        if (c->state == CONNECTION_DEAD)
                return 0;
        if (c->output.size == 0) {
                ssize_t sent = send(c->fd, rest, n, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (sent == (ssize_t)n)
                        return 0;
                if (sent < 0 && errno != EAGAIN && errno != EINTR)
                        return -errno;
                if (sent > 0) {
                        rest += sent;
                        n -= (size_t)sent;
                }
        }
        r = account_charge_bytes(c->account, n);
        if (r < 0)
                return r;
        r = buffer_append(&c->output, rest, n);
        if (r < 0) {
                account_release_bytes(c->account, n);
                return r == -ENOBUFS ? -EDQUOT : r;
        }
        return connection_update_interest(c);
}

/* What a connection in this state has to do; -errno closes it. */
static int connection_work(Connection *c) {
        int r;

        if (c->error < 0)
                return c->error;
        if (c->is_writable && c->output.size > 0) {
                r = connection_flush(c);
                if (r < 0 || c->state == CONNECTION_DEAD)
                        return r;
        }
        switch (c->state) {
        case CONNECTION_IDLE:
                return input_step(c);
        case CONNECTION_CALLING:
                return c->is_hung_up && !c->call->message.is_oneway ? -EPIPE : 0;
        case CONNECTION_UPGRADED:
                return stream_step(c);
        case CONNECTION_FLUSHING:
                return c->is_hung_up || c->output.size == 0 ? -EPIPE : 0;
        case CONNECTION_DEAD:
                break;
        }
        return 0;
}

static const char *reason_to_string(int error) {
        switch (error) {
        case -EBADMSG:
                return "it sent what is no call";
        case -EMSGSIZE:
        case -ENOBUFS:
                return "its message is too large";
        case -EDQUOT:
                return "its uid has too many bytes waiting";
        default:
                return strerror(-error);
        }
}

/* What is wrong with the message does not concern the calls before it: their answers still go out, as after a client's end. */
static bool connection_owes_answers(const Connection *c, int error) {
        return (error == -EBADMSG || error == -EMSGSIZE || error == -ENOBUFS) &&
               c->state == CONNECTION_IDLE && c->output.size > 0 && !c->is_hung_up;
}

static void connection_step_failed(Connection *c, int error) {
        /* -EPERM has had its own line. */
        if (error != -EPIPE && error != -ECONNRESET && error != -EPERM)
                log_budget_line(c->server->log, LOG_INFO, c->payer, "closing a connection of uid %u: %s",
                                (unsigned)c->principal.uid, reason_to_string(error));
        if (connection_owes_answers(c, error)) {
                input_done(c);
                c->state = CONNECTION_FLUSHING;
        } else
                connection_end(c, error);
}

void connection_step(Connection *c) {
        int r = connection_work(c);

        if (c->state == CONNECTION_DEAD)
                return;
        if (r < 0)
                connection_step_failed(c, r);
        if (c->state == CONNECTION_DEAD)
                return;
        r = connection_update_interest(c);
        if (r < 0)
                connection_end(c, r);
        else
                connection_reconsider(c);
}
