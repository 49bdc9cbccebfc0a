/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which entries of shadow(5) are closed accounts: a lock is not an account without a password (V10, T24). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "accounts/account.h"

#define TODAY 20000L
#define HASH  "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"

static AccountState state_of(const char *password, long expire, long changed, long max, long inactive) {
        const struct spwd entry = {
                .sp_namp = (char *)(uintptr_t) "alice",
                .sp_pwdp = (char *)(uintptr_t)password,
                .sp_lstchg = changed,
                .sp_min = -1,
                .sp_max = max,
                .sp_warn = -1,
                .sp_inact = inactive,
                .sp_expire = expire,
        };

        return account_state(&entry, TODAY);
}

static AccountState with_password(const char *password) {
        return state_of(password, -1, TODAY - 10, 99999, -1);
}

static void a_locked_password_is_a_locked_account(void **state) {
        assert_int_equal(with_password("!" HASH), ACCOUNT_LOCKED);
        assert_int_equal(with_password("!!" HASH), ACCOUNT_LOCKED);
        assert_int_equal(with_password("!abJnggxhB/yWI"), ACCOUNT_LOCKED); /* DES */
        assert_int_equal(with_password("*LK*" HASH), ACCOUNT_LOCKED);
        assert_int_equal(with_password("*LK*"), ACCOUNT_LOCKED);
}

static void an_account_without_a_password_is_open(void **state) {
        static const char *const texts[] = { "", "!", "!!", "*", "!*", "!!*", "x", "!x", HASH, "*NP*" };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if (with_password(texts[i]) != ACCOUNT_OPEN)
                        fail_msg("%s was taken for a closed account", texts[i]);
        assert_int_equal(with_password(NULL), ACCOUNT_OPEN);
}

static void an_account_expires_on_its_day(void **state) {
        assert_int_equal(state_of(HASH, TODAY + 1, -1, -1, -1), ACCOUNT_OPEN);
        assert_int_equal(state_of(HASH, TODAY, -1, -1, -1), ACCOUNT_EXPIRED);
        assert_int_equal(state_of("!", 0, -1, -1, -1), ACCOUNT_EXPIRED);
        assert_int_equal(state_of("*", 1, -1, -1, -1), ACCOUNT_EXPIRED);
        assert_int_equal(state_of("!" HASH, 1, -1, -1, -1), ACCOUNT_EXPIRED);
}

static void a_password_that_ended_long_ago_closes_the_account(void **state) {
        assert_int_equal(state_of(HASH, -1, TODAY - 40, 30, 10), ACCOUNT_OPEN);
        assert_int_equal(state_of(HASH, -1, TODAY - 41, 30, 10), ACCOUNT_EXPIRED);
        /* Ended, but for ever changeable. */
        assert_int_equal(state_of(HASH, -1, TODAY - 4000, 30, -1), ACCOUNT_OPEN);
        assert_int_equal(state_of(HASH, -1, TODAY - 4000, -1, 0), ACCOUNT_OPEN);
        /* To be changed at the next login; numbers that nobody means. */
        assert_int_equal(state_of(HASH, -1, 0, 30, 10), ACCOUNT_OPEN);
        assert_int_equal(state_of(HASH, -1, TODAY - 4000, INT64_MAX, 10), ACCOUNT_OPEN);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_locked_password_is_a_locked_account),
                cmocka_unit_test(an_account_without_a_password_is_open),
                cmocka_unit_test(an_account_expires_on_its_day),
                cmocka_unit_test(a_password_that_ended_long_ago_closes_the_account),
        };

        return cmocka_run_group_tests_name("accounts-account", tests, NULL, NULL);
}
