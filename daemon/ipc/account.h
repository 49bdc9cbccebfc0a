/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "util/macro.h"

/* What each uid has been charged for. A charge is made before the thing it pays for and released with it. */

typedef struct Limits {
        unsigned n_connections;
        uint64_t n_bytes;         /* buffered input and output, and calls as parsed */
        unsigned n_calls;         /* calls in flight, those that go on without their client included */
        unsigned n_streams;       /* calls that answer again and again, and upgraded connections */
        unsigned n_steps_per_sec; /* messages and reads at the public door; 0: no limit */
} Limits;

typedef struct Account Account;
typedef struct Accounts Accounts;
struct Connection;

/* The uid's place in the round robin of schedule.c, which alone touches it: its connections with something to do,
 * and its neighbours among the uids that have such. */
typedef struct AccountTurn {
        struct Connection *first, *last;
        Account *next, *previous;
        bool is_held;
} AccountTurn;

int accounts_new(const Limits *limits, Accounts **ret);
/* Every charge must have been released (asserted): a leak shows here. */
Accounts *accounts_free(Accounts *a);
DEFINE_CLEANUP(Accounts *, accounts_free)

/* Takes a connection's charge; the account lives until it is charged for nothing any more. -EDQUOT beyond the limit. */
int accounts_open(Accounts *a, uid_t uid, Account **ret);
void account_close(Account *account);

/* -EDQUOT beyond the limit. Bytes are held by something that is charged for as well: a connection or a call. */
int account_charge_bytes(Account *account, size_t n);
void account_release_bytes(Account *account, size_t n);
/* A call may outlive its connection, and so may its charge: work that goes on is still the uid's. */
int account_charge_call(Account *account);
void account_release_call(Account *account);
/* Charges the uid for a call and its bytes, also when it has no connection of its own. Released like a connection's call: the bytes first. */
int accounts_charge_call(Accounts *a, uid_t uid, size_t n_bytes, Account **ret);
int account_charge_stream(Account *account);
void account_release_stream(Account *account);

/* A refused connection that is kept for a while: so many for each connection that the uid may have, -EDQUOT beyond. */
#define ACCOUNT_REFUSED_FACTOR 8U
int accounts_refuse(Accounts *a, uid_t uid, Account **ret);
void account_release_refused(Account *account);
/* One step less of those that the uid is given each second. */
void account_spend_step(Account *account);
/* Whether it has one left. False: not before some time has passed. */
bool account_may_step(Account *account);

AccountTurn *account_turn(Account *account);
