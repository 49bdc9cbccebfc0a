/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is shown: columns counted as a terminal does, JSON that is harmless on one, error replies turned into faults. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/fault.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/table.h"
#include "json/object.h"
#include "util/clock.h"

static void width_counts_columns(void **state) {
        assert_int_equal(display_width(""), 0);
        assert_int_equal(display_width("plain"), 5);
        assert_int_equal(display_width("é"), 1);
        assert_int_equal(display_width("e\u0301"), 1);
        assert_int_equal(display_width("東京"), 4);
        assert_int_equal(display_width("😀!"), 3);
        assert_int_equal(display_width("\xe6\x9d"), 1); /* cut in mid-character: no read beyond the end */
}

static void json_escapes_what_a_terminal_obeys(void **state) {
        _cleanup_(json_putp) json_object *document = json_build("k", 's',
                                                         "a\x1b\x7f\xc2\x9b\u202e\u2028é€😀/", NULL),
                                         *again = NULL;
        _cleanup_(freep) char *text = json_text_for_terminal(document);

        assert_string_equal(text, "{\"k\":\"a\\u001b\\u007f\\u009b\\u202e\\u2028é€😀/\"}");
        assert_int_equal(json_parse(text, strlen(text), &json_limits_wire, &again), 0);
        assert_string_equal(json_string(again, "k"), "a\x1b\x7f\xc2\x9b\u202e\u2028é€😀/");
}

static void error_name_gives_code_and_words(void **state) {
        _cleanup_(json_putp) json_object *parameters =
                        json_build("message", 's', "M", "hint", 's', "H", NULL);
        _cleanup_(fault_done) Fault f = {};

        assert_int_equal(fault_set_reply(&f, "io.vaultd.NotConnected", parameters), FAULT_SET);
        assert_int_equal(f.code, EXIT_CODE_NOT_CONNECTED);
        assert_string_equal(f.message, "M");
        assert_string_equal(f.hint, "H");
        assert_int_equal(fault_set_reply(&f, "org.varlink.service.PermissionDenied", NULL), FAULT_SET);
        assert_int_equal(f.code, EXIT_CODE_REFUSED);
        assert_non_null(f.message);
        assert_null(f.hint);
        assert_int_equal(fault_set_reply(&f, "x.Unheard", NULL), FAULT_SET);
        assert_int_equal(f.code, EXIT_CODE_FAILED);
}

static void a_fault_may_quote_the_one_it_replaces(void **state) {
        _cleanup_(fault_done) Fault f = {};

        assert_int_equal(fault_set(&f, EXIT_CODE_FAILED, "a", "hint", "first"), FAULT_SET);
        assert_int_equal(fault_set(&f, EXIT_CODE_FAILED, f.error, f.hint, "second after %s", f.message),
                        FAULT_SET);
        assert_string_equal(f.message, "second after first");
        assert_string_equal(f.hint, "hint");
}

static void accounts_have_name_and_id(void **state) {
        _cleanup_(json_putp) json_object *both = json_build("id", 's', "i", "name", 's', "n", NULL);
        _cleanup_(json_putp) json_object *same = json_build("id", 's', "x", "name", 's', "x", NULL);
        _cleanup_(json_putp) json_object *neither = json_build("other", 's', "x", NULL);
        _cleanup_(freep) char *a = format_account(both), *b = format_account(same),
                              *c = format_account(neither), *d = format_account(NULL);

        assert_string_equal(a, "n (i)");
        assert_string_equal(b, "x");
        assert_string_equal(c, "-");
        assert_string_equal(d, "-");
}

static void check_until(int64_t from_now_sec, const char *expected) {
        _cleanup_(freep) char *text = format_until(
                        (int64_t)now_realtime() + from_now_sec * (int64_t)USEC_PER_SEC + 500000);

        assert_string_equal(text, expected);
}

static void times_are_told_for_people(void **state) {
        _cleanup_(freep) char *least = format_until(INT64_MIN), *most = format_moment(INT64_MAX),
                              *before = format_moment(-1);

        check_until(-10, "expired");
        check_until(45, "in 45 s");
        check_until(600, "in 10 min");
        check_until(7200, "in 2 h");
        check_until(86400 * 3, "in 3 days");
        assert_string_equal(least, "expired");
        assert_string_equal(before, "unknown");
        assert_non_null(most);
}

static void members_of_another_type_are_faults(void **state) {
        _cleanup_(json_putp) json_object *reply =
                        json_build("n", 'i', (int64_t)4, "list", 'o', json_object_new_array(), NULL);
        _cleanup_(fault_done) Fault f = {};
        json_object *list = NULL;
        const char *text = NULL;

        assert_int_equal(reply_need_string(reply, "n", &text, &f), FAULT_SET);
        assert_int_equal(reply_need_string(reply, "absent", &text, &f), FAULT_SET);
        assert_null(text);
        assert_int_equal(reply_need_array(reply, "list", json_type_string, &list, &f), 0);
        assert_int_equal(json_object_array_add(list, json_object_new_int(1)), 0);
        assert_int_equal(reply_need_array(reply, "list", json_type_string, &list, &f), FAULT_SET);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(width_counts_columns),
                cmocka_unit_test(json_escapes_what_a_terminal_obeys),
                cmocka_unit_test(error_name_gives_code_and_words),
                cmocka_unit_test(a_fault_may_quote_the_one_it_replaces),
                cmocka_unit_test(accounts_have_name_and_id),
                cmocka_unit_test(times_are_told_for_people),
                cmocka_unit_test(members_of_another_type_are_faults),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
