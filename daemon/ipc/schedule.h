/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "ipc/account.h"

struct Connection;

typedef struct AccountList {
        Account *first, *last;
        unsigned n;
} AccountList;

/* Whose turn it is: uids in a ring, and within each its connections with something to do, first come first served. */
typedef struct Schedule {
        AccountList ring;
        AccountList held; /* those that have used up their steps */
        bool is_unlimited;
} Schedule;

/* To the back of its uid's queue, unless it is in there. A uid that had nothing to do goes to the back of the ring. */
void schedule_add(Schedule *s, struct Connection *c);
void schedule_remove(Schedule *s, struct Connection *c);
/* Takes out the connection whose turn it is; its uid goes to the back of the ring if it has more. NULL: nothing to do now. */
struct Connection *schedule_next(Schedule *s);
/* Lets those go on that may step again. */
void schedule_release(Schedule *s);
