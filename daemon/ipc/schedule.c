/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The round robin between uids (T26). epoll hands out connections in the order in which they became ready; somebody with sixty-four
 * that are always ready would be served sixty-four times as often as somebody with one. So what epoll reports goes
 * into a queue for each uid, and the uids take turns.
 *
 * Invariant: an account is in the ring exactly when its queue has a connection. Nothing is allocated: the links live
 * in the account and in the connection.
 *
 * Who may call: server.c and connection.c. */

#include <assert.h>

#include "ipc/schedule.h"
#include "ipc/server-internal.h"

static void ring_append(Schedule *s, Account *a) {
        AccountTurn *turn = account_turn(a);

        turn->next = NULL;
        turn->previous = s->last;
        if (s->last)
                account_turn(s->last)->next = a;
        else
                s->first = a;
        s->last = a;
        s->n_accounts++;
}

static void ring_remove(Schedule *s, Account *a) {
        AccountTurn *turn = account_turn(a);

        if (turn->previous)
                account_turn(turn->previous)->next = turn->next;
        else
                s->first = turn->next;
        if (turn->next)
                account_turn(turn->next)->previous = turn->previous;
        else
                s->last = turn->previous;
        turn->next = turn->previous = NULL;
        s->n_accounts--;
}

void schedule_add(Schedule *s, Connection *c) {
        AccountTurn *turn = account_turn(c->account);

        if (c->is_queued)
                return;
        if (!turn->first)
                ring_append(s, c->account);
        c->ready_next = NULL;
        c->ready_previous = turn->last;
        if (turn->last)
                turn->last->ready_next = c;
        else
                turn->first = c;
        turn->last = c;
        c->is_queued = true;
}

void schedule_remove(Schedule *s, Connection *c) {
        AccountTurn *turn = account_turn(c->account);

        if (!c->is_queued)
                return;
        if (c->ready_previous)
                c->ready_previous->ready_next = c->ready_next;
        else
                turn->first = c->ready_next;
        if (c->ready_next)
                c->ready_next->ready_previous = c->ready_previous;
        else
                turn->last = c->ready_previous;
        c->ready_next = c->ready_previous = NULL;
        c->is_queued = false;
        if (!turn->first)
                ring_remove(s, c->account);
}

Connection *schedule_next(Schedule *s) {
        Account *a = s->first;
        Connection *c;

        if (!a)
                return NULL;
        c = account_turn(a)->first;
        assert(c && c->account == a);
        schedule_remove(s, c);
        if (account_turn(a)->first) {
                ring_remove(s, a);
                ring_append(s, a);
        }
        return c;
}
