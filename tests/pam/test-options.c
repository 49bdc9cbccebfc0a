/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Options of pam_vaultd.so: right ones count, wrong ones change nothing. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pam_module/options.h"

static void test_defaults_are_the_control_socket_and_two_seconds(void **state) {
        Options o;

        options_init(&o);
        assert_string_equal(o.socket, "/run/vaultd/io.vaultd.control");
        assert_int_equal(o.timeout_usec, 1500000);
        assert_false(o.is_required || o.is_quiet || o.is_debug || o.is_notifying);
}

static void test_known_options_are_taken(void **state) {
        Options o;

        options_init(&o);
        assert_int_equal(options_take(&o, "socket=/a/b"), 0);
        assert_int_equal(options_take(&o, "required"), 0);
        assert_int_equal(options_take(&o, "quiet"), 0);
        assert_int_equal(options_take(&o, "debug"), 0);
        assert_string_equal(o.socket, "/a/b");
        assert_true(o.is_required && o.is_quiet && o.is_debug);
        assert_int_equal(options_take(&o, "notify=yes"), 0);
        assert_true(o.is_notifying);
        assert_int_equal(options_take(&o, "notify=no"), 0);
        assert_false(o.is_notifying);
}

static void test_timeout_is_seconds_with_a_fraction(void **state) {
        static const struct {
                const char *text;
                uint64_t usec;
        } cases[] = {
                { "timeout=1", 1000000 },
                { "timeout=0.25", 250000 },
                { "timeout=.5", 500000 },
                { "timeout=3.", 3000000 },
                { "timeout=0.0000019", 1 },
                { "timeout=60", 60000000 },
                { "timeout=007", 7000000 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Options o;

                options_init(&o);
                assert_int_equal(options_take(&o, cases[i].text), 0);
                assert_int_equal(o.timeout_usec, cases[i].usec);
        }
}

static void test_wrong_options_change_nothing(void **state) {
        static const char *const wrong[] = {
                "",
                "timeout=",
                "timeout=.",
                "timeout=0",
                "timeout=0.0000001",
                "timeout=-1",
                "timeout=1s",
                "timeout=1e3",
                "timeout=1,5",
                "timeout=60.1",
                "timeout=99999999999999999999999999999",
                "timeout=1.2.3",
                "timeout= 1",
                "socket=",
                "socket=relative",
                "Required",
                "required=yes",
                "debug ",
                "use_uid",
                "notify",
                "notify=",
                "notify=Yes",
                "notify=1",
        };

        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                Options o;

                options_init(&o);
                assert_int_equal(options_take(&o, wrong[i]), -EINVAL);
                assert_string_equal(o.socket, "/run/vaultd/io.vaultd.control");
                assert_int_equal(o.timeout_usec, 1500000);
                assert_false(o.is_required || o.is_quiet || o.is_debug);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_defaults_are_the_control_socket_and_two_seconds),
                cmocka_unit_test(test_known_options_are_taken),
                cmocka_unit_test(test_timeout_is_seconds_with_a_fraction),
                cmocka_unit_test(test_wrong_options_change_nothing),
        };

        return cmocka_run_group_tests_name("pam-options", tests, NULL, NULL);
}
