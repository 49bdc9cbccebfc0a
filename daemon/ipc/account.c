/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Charges per uid, so that what one user can make the daemon allocate is bounded and everybody else is unharmed
 * (T26). Accounts live in a search tree as long as the uid has a connection, or a call that goes on without one:
 * their number is bounded by that of both, and a look-up happens once per accept.
 *
 * Steps are paid for with what the uid is given each second; a second's worth is saved up at most. The clock is read
 * only when that has been spent, so whoever stays below pays for this with a subtraction. An account outlives its last charge by a second,
 * after which it would be as good as new: otherwise hanging up would fill it.
 *
 * Who may call: the server only. */

#include <assert.h>
#include <search.h>

#include "ipc/account.h"
#include "util/clock.h"

struct Account {
        uid_t uid;
        Accounts *accounts;
        unsigned n_connections;
        unsigned n_calls;
        unsigned n_streams;
        unsigned n_refused; /* connections that were refused and are not closed yet */
        uint64_t n_bytes;
        unsigned n_paid;    /* steps that it may still make */
        uint64_t paid_usec; /* monotonic; the time up to which it was given some */
        uint64_t idle_usec; /* monotonic; since when it has been charged for nothing */
        Account *idle_next, *idle_previous;
        AccountTurn turn;
};

struct Accounts {
        Limits limits;
        void *tree;
        unsigned n_accounts;
        Account *idle_first, *idle_last; /* longest first */
};

static int account_compare(const void *a, const void *b) {
        const Account *x = a, *y = b;

        return x->uid < y->uid ? -1 : x->uid > y->uid;
}

int accounts_new(const Limits *limits, Accounts **ret) {
        Accounts *a = calloc(1, sizeof(Accounts));

        if (!a)
                return -ENOMEM;
        a->limits = *limits;
        *ret = a;
        return 0;
}

static void account_unidle(Account *account) {
        Accounts *a = account->accounts;

        if (account->idle_previous)
                account->idle_previous->idle_next = account->idle_next;
        else
                a->idle_first = account->idle_next;
        if (account->idle_next)
                account->idle_next->idle_previous = account->idle_previous;
        else
                a->idle_last = account->idle_previous;
        account->idle_next = account->idle_previous = NULL;
        account->idle_usec = 0;
}

static void account_free(Account *account) {
        Accounts *a = account->accounts;

        if (account->idle_usec > 0)
                account_unidle(account);
        (void)tdelete(account, &a->tree, account_compare);
        a->n_accounts--;
        free(account);
}

Accounts *accounts_free(Accounts *a) {
        if (!a)
                return NULL;
        while (a->idle_first)
                account_free(a->idle_first);
        assert(a->n_accounts == 0);
        free(a);
        return NULL;
}

/* Two for each that is made: so there are never more than there were uids within the time. */
static void accounts_forget_idle(Accounts *a, uint64_t now) {
        for (unsigned i = 0; i < 2 && a->idle_first && a->idle_first->idle_usec + USEC_PER_SEC <= now; i++)
                account_free(a->idle_first);
}

/* The uid's account, a new one if it has none: that one is to be charged for something, or freed. */
static int accounts_find(Accounts *a, uid_t uid, Account **ret) {
        Account key = { .uid = uid }, *account;
        uint64_t now = now_monotonic();
        Account **node = tfind(&key, &a->tree, account_compare);

        if (node) {
                if ((*node)->idle_usec > 0)
                        account_unidle(*node);
                *ret = *node;
                return 0;
        }
        accounts_forget_idle(a, now);
        account = calloc(1, sizeof(Account));
        if (!account)
                return -ENOMEM;
        account->uid = uid;
        account->accounts = a;
        account->n_paid = a->limits.n_steps_per_sec;
        account->paid_usec = now;
        if (!tsearch(account, &a->tree, account_compare)) {
                free(account);
                return -ENOMEM;
        }
        a->n_accounts++;
        *ret = account;
        return 0;
}

int accounts_open(Accounts *a, uid_t uid, Account **ret) {
        Account *account;
        int r;

        r = accounts_find(a, uid, &account);
        if (r < 0)
                return r;
        if (account->n_connections >= a->limits.n_connections)
                return -EDQUOT; /* the account exists because of its other connections or its calls */
        account->n_connections++;
        *ret = account;
        return 0;
}

static void account_free_unused(Account *account) {
        Accounts *a = account->accounts;

        if (account->n_connections > 0 || account->n_calls > 0 || account->n_refused > 0)
                return;
        assert(account->n_bytes == 0);
        assert(account->n_streams == 0);
        assert(!account->turn.first);
        if (a->limits.n_steps_per_sec == 0) {
                account_free(account);
                return;
        }
        account->idle_usec = now_monotonic();
        account->idle_previous = a->idle_last;
        if (a->idle_last)
                a->idle_last->idle_next = account;
        else
                a->idle_first = account;
        a->idle_last = account;
}

void account_close(Account *account) {
        assert(account->n_connections > 0);
        account->n_connections--;
        account_free_unused(account);
}

int account_charge_bytes(Account *account, size_t n) {
        uint64_t sum;

        if (__builtin_add_overflow(account->n_bytes, (uint64_t)n, &sum) ||
                        sum > account->accounts->limits.n_bytes)
                return -EDQUOT;
        account->n_bytes = sum;
        return 0;
}

void account_release_bytes(Account *account, size_t n) {
        assert(account->n_bytes >= n);
        account->n_bytes -= n;
}

int account_charge_call(Account *account) {
        if (account->n_calls >= account->accounts->limits.n_calls)
                return -EDQUOT;
        account->n_calls++;
        return 0;
}

int accounts_charge_call(Accounts *a, uid_t uid, size_t n_bytes, Account **ret) {
        Account *account;
        int r;

        r = accounts_find(a, uid, &account);
        if (r < 0)
                return r;
        r = account_charge_call(account);
        if (r < 0) {
                account_free_unused(account);
                return r;
        }
        r = account_charge_bytes(account, n_bytes);
        if (r < 0) {
                account_release_call(account);
                return r;
        }
        *ret = account;
        return 0;
}

void account_release_call(Account *account) {
        assert(account->n_calls > 0);
        account->n_calls--;
        account_free_unused(account);
}

int account_charge_stream(Account *account) {
        if (account->n_streams >= account->accounts->limits.n_streams)
                return -EDQUOT;
        account->n_streams++;
        return 0;
}

void account_release_stream(Account *account) {
        assert(account->n_streams > 0);
        account->n_streams--;
}

int accounts_refuse(Accounts *a, uid_t uid, Account **ret) {
        Account *account;
        int r;

        r = accounts_find(a, uid, &account);
        if (r < 0)
                return r;
        if (account->n_refused >= ACCOUNT_REFUSED_FACTOR * a->limits.n_connections)
                return -EDQUOT; /* it exists because of these */
        account->n_refused++;
        *ret = account;
        return 0;
}

void account_release_refused(Account *account) {
        assert(account->n_refused > 0);
        account->n_refused--;
        account_free_unused(account);
}

void account_spend_step(Account *account) {
        if (account->n_paid > 0)
                account->n_paid--;
}

bool account_may_step(Account *account) {
        uint64_t rate = account->accounts->limits.n_steps_per_sec, now, due;

        if (rate == 0 || account->n_paid > 0)
                return true;
        now = now_monotonic();
        /* More than a second's is not saved up. */
        if (now - account->paid_usec > USEC_PER_SEC)
                account->paid_usec = now - USEC_PER_SEC;
        due = (now - account->paid_usec) * rate / USEC_PER_SEC;
        if (due == 0)
                return false;
        account->n_paid = (unsigned)due;
        /* Up to the last whole step, so that the rest of the time counts for the next one. */
        account->paid_usec += due * USEC_PER_SEC / rate;
        return true;
}

AccountTurn *account_turn(Account *account) {
        return &account->turn;
}
