/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Charges: each uid has its own, none goes beyond its limit, what is released can be had again, and what is not is noticed. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "ipc/account.h"

static const Limits limits = { .n_connections = 2, .n_bytes = 100, .n_calls = 3, .n_streams = 2 };

static void connections_are_bounded_per_uid(void **state) {
        Account *a[3] = {}, *other = NULL;
        Accounts *accounts = NULL;

        assert_int_equal(accounts_new(&limits, &accounts), 0);
        assert_int_equal(accounts_open(accounts, 1001, &a[0]), 0);
        assert_int_equal(accounts_open(accounts, 1001, &a[1]), 0);
        assert_ptr_equal(a[0], a[1]);
        assert_int_equal(accounts_open(accounts, 1001, &a[2]), -EDQUOT);
        assert_null(a[2]);
        assert_int_equal(accounts_open(accounts, 1002, &other), 0);
        assert_ptr_not_equal(other, a[0]);
        account_close(a[0]);
        assert_int_equal(accounts_open(accounts, 1001, &a[2]), 0);
        account_close(a[1]);
        account_close(a[2]);
        account_close(other);
        assert_null(accounts_free(accounts));
}

static void bytes_are_bounded_and_come_back(void **state) {
        Account *a = NULL, *other = NULL;
        Accounts *accounts = NULL;

        assert_int_equal(accounts_new(&limits, &accounts), 0);
        assert_int_equal(accounts_open(accounts, 1001, &a), 0);
        assert_int_equal(accounts_open(accounts, 1002, &other), 0);
        assert_int_equal(account_charge_bytes(a, 60), 0);
        assert_int_equal(account_charge_bytes(a, 41), -EDQUOT);
        assert_int_equal(account_charge_bytes(a, SIZE_MAX), -EDQUOT); /* the sum overflows */
        assert_int_equal(account_charge_bytes(a, 40), 0);
        assert_int_equal(account_charge_bytes(a, 1), -EDQUOT);
        assert_int_equal(account_charge_bytes(a, 0), 0);
        assert_int_equal(account_charge_bytes(other, 100), 0);
        account_release_bytes(a, 30);
        assert_int_equal(account_charge_bytes(a, 31), -EDQUOT);
        assert_int_equal(account_charge_bytes(a, 30), 0);
        account_release_bytes(a, 100);
        account_release_bytes(other, 100);
        account_close(a);
        account_close(other);
        (void)accounts_free(accounts);
}

static void calls_are_bounded_and_come_back(void **state) {
        Accounts *accounts = NULL;
        Account *a = NULL;

        assert_int_equal(accounts_new(&limits, &accounts), 0);
        assert_int_equal(accounts_open(accounts, 1001, &a), 0);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(account_charge_call(a), 0);
        assert_int_equal(account_charge_call(a), -EDQUOT);
        account_release_call(a);
        assert_int_equal(account_charge_call(a), 0);
        for (unsigned i = 0; i < 3; i++)
                account_release_call(a);
        account_close(a);
        (void)accounts_free(accounts);
}

static void a_call_is_charged_to_a_uid_without_connections(void **state) {
        Account *a = NULL, *same = NULL, *other = NULL;
        Accounts *accounts = NULL;

        assert_int_equal(accounts_new(&limits, &accounts), 0);
        assert_int_equal(accounts_charge_call(accounts, 1001, 101, &a), -EDQUOT); /* nothing is left of it */
        assert_int_equal(accounts_charge_call(accounts, 1001, 60, &a), 0);
        assert_int_equal(accounts_charge_call(accounts, 1001, 41, &same), -EDQUOT);
        assert_int_equal(accounts_charge_call(accounts, 1001, 40, &same), 0);
        assert_ptr_equal(a, same);
        assert_int_equal(accounts_charge_call(accounts, 1001, 0, &same), 0);
        assert_int_equal(accounts_charge_call(accounts, 1001, 0, &same), -EDQUOT);
        assert_int_equal(accounts_charge_call(accounts, 1002, 100, &other), 0);
        account_release_bytes(a, 100);
        for (unsigned i = 0; i < 3; i++)
                account_release_call(a);
        account_release_bytes(other, 100);
        account_release_call(other);
        (void)accounts_free(accounts);
}

static void many_uids_in_any_order_leave_nothing(void **state) {
        Accounts *accounts = NULL;
        Account *a[1000];

        assert_int_equal(accounts_new(&limits, &accounts), 0);
        for (unsigned i = 0; i < ELEMENTSOF(a); i++)
                assert_int_equal(accounts_open(accounts, i * 7919 % 1009, &a[i]), 0);
        for (unsigned i = 0; i < ELEMENTSOF(a); i++)
                account_close(a[i * 7 % ELEMENTSOF(a)]);
        (void)accounts_free(accounts);
}

static void leave_bytes(Accounts *accounts, Account *a) {
        (void)account_charge_bytes(a, 1);
        account_close(a);
}

static void leave_connection(Accounts *accounts, Account *a) {
        (void)accounts_free(accounts);
}

static void release_too_much(Accounts *accounts, Account *a) {
        account_release_bytes(a, 1);
}

static void release_call_too_often(Accounts *accounts, Account *a) {
        account_release_call(a);
}

/* The signal that ends a child which does that. */
static int signal_of(void (*mistake)(Accounts *accounts, Account *a)) {
        int status = 0;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                Accounts *accounts = NULL;
                Account *a = NULL;
                int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

                /* No core file, no words: this is how it should be. */
                (void)setrlimit(RLIMIT_CORE, &(struct rlimit){});
                (void)dup2(null, STDERR_FILENO);
                (void)signal(SIGABRT, SIG_DFL);
                if (accounts_new(&limits, &accounts) < 0 || accounts_open(accounts, 1001, &a) < 0)
                        _exit(1);
                mistake(accounts, a);
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void forgotten_or_doubled_release_is_noticed(void **state) {
        assert_int_equal(signal_of(leave_bytes), SIGABRT);
        assert_int_equal(signal_of(leave_connection), SIGABRT);
        assert_int_equal(signal_of(release_too_much), SIGABRT);
        assert_int_equal(signal_of(release_call_too_often), SIGABRT);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(connections_are_bounded_per_uid),
                cmocka_unit_test(bytes_are_bounded_and_come_back),
                cmocka_unit_test(calls_are_bounded_and_come_back),
                cmocka_unit_test(a_call_is_charged_to_a_uid_without_connections),
                cmocka_unit_test(many_uids_in_any_order_leave_nothing),
                cmocka_unit_test(forgotten_or_doubled_release_is_noticed),
        };

        return cmocka_run_group_tests_name("ipc-account", tests, NULL, NULL);
}
