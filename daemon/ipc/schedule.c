/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The round robin between uids (T26). epoll hands out connections in the order in which they became ready; somebody with sixty-four
 * that are always ready would be served sixty-four times as often as somebody with one. So what epoll reports goes
 * into a queue for each uid, and the uids take turns.
 *
 * A uid that has used up its steps (account.c) is held: it keeps its queue and gets no turn until it has some again. Its peers
 * are not refused, nothing is read from them, and so they wait in send(2): a flood costs whoever makes it, and not the rest.
 *
 * Invariant: an account is in the ring or held exactly when its queue has a connection. Nothing is allocated: the links live
 * in the account and in the connection.
 *
 * Who may call: server.c and connection.c. */

#include <assert.h>

#include "ipc/schedule.h"
#include "ipc/server-internal.h"

static void list_append(AccountList *list, Account *a) {
        AccountTurn *turn = account_turn(a);

        turn->next = NULL;
        turn->previous = list->last;
        if (list->last)
                account_turn(list->last)->next = a;
        else
                list->first = a;
        list->last = a;
        list->n++;
}

static void list_remove(AccountList *list, Account *a) {
        AccountTurn *turn = account_turn(a);

        if (turn->previous)
                account_turn(turn->previous)->next = turn->next;
        else
                list->first = turn->next;
        if (turn->next)
                account_turn(turn->next)->previous = turn->previous;
        else
                list->last = turn->previous;
        turn->next = turn->previous = NULL;
        list->n--;
}

static AccountList *list_of(Schedule *s, Account *a) {
        return account_turn(a)->is_held ? &s->held : &s->ring;
}

static void schedule_move(Schedule *s, Account *a, bool is_held) {
        list_remove(list_of(s, a), a);
        account_turn(a)->is_held = is_held;
        list_append(list_of(s, a), a);
}

void schedule_add(Schedule *s, Connection *c) {
        AccountTurn *turn = account_turn(c->account);

        if (c->is_queued)
                return;
        if (!turn->first)
                list_append(&s->ring, c->account);
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
        if (!turn->first) {
                list_remove(list_of(s, c->account), c->account);
                turn->is_held = false;
        }
}

/* The first that may step; those before it that may not are held. */
static Account *schedule_first(Schedule *s) {
        while (s->ring.first && !s->is_unlimited && !account_may_step(s->ring.first))
                schedule_move(s, s->ring.first, true);
        return s->ring.first;
}

Connection *schedule_next(Schedule *s) {
        Account *a = schedule_first(s);
        Connection *c;

        if (!a)
                return NULL;
        c = account_turn(a)->first;
        assert(c && c->account == a);
        schedule_remove(s, c);
        if (account_turn(a)->first)
                schedule_move(s, a, false);
        return c;
}

void schedule_release(Schedule *s) {
        for (unsigned n = s->held.n; n > 0; n--)
                schedule_move(s, s->held.first, s->is_unlimited ? false : !account_may_step(s->held.first));
}
