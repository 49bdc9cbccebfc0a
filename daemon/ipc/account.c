/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Charges per uid, so that what one user can make the daemon allocate is bounded and everybody else is unharmed
 * (T26). Accounts live in a search tree as long as the uid has a connection, or a call that goes on without one:
 * their number is bounded by that of both, and a look-up happens once per accept.
 *
 * Who may call: the server only. */

#include <assert.h>
#include <search.h>

#include "ipc/account.h"

struct Account {
        uid_t uid;
        Accounts *accounts;
        unsigned n_connections;
        unsigned n_calls;
        unsigned n_streams;
        uint64_t n_bytes;
        AccountTurn turn;
};

struct Accounts {
        Limits limits;
        void *tree;
        unsigned n_accounts;
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

Accounts *accounts_free(Accounts *a) {
        if (!a)
                return NULL;
        assert(a->n_accounts == 0);
        free(a);
        return NULL;
}

/* The uid's account, a new one if it has none: that one is to be charged for something, or freed. */
static int accounts_find(Accounts *a, uid_t uid, Account **ret) {
        Account key = { .uid = uid }, *account;
        Account **node = tfind(&key, &a->tree, account_compare);

        if (node) {
                *ret = *node;
                return 0;
        }
        account = calloc(1, sizeof(Account));
        if (!account)
                return -ENOMEM;
        account->uid = uid;
        account->accounts = a;
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

        if (account->n_connections > 0 || account->n_calls > 0)
                return;
        assert(account->n_bytes == 0);
        assert(account->n_streams == 0);
        assert(!account->turn.first);
        (void)tdelete(account, &a->tree, account_compare);
        a->n_accounts--;
        free(account);
}

void account_close(Account *account) {
        assert(account->n_connections > 0);
        account->n_connections--;
        account_free_unused(account);
}

int account_charge_bytes(Account *account, size_t n) {
        uint64_t sum;

        if (__builtin_add_overflow(account->n_bytes, (uint64_t)n, &sum) || sum > account->accounts->limits.n_bytes)
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

AccountTurn *account_turn(Account *account) {
        return &account->turn;
}
