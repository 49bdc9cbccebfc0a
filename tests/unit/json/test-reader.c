/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The pull reader finds what is there, says what kind of absence it meets, and stays inside its bytes. */

#include "json/reader.h"

#include "support.h"

static const char *const example = " { \"skip\" : [1, {\"parameters\":{\"session\":\"wrong\"}}, \"}\"], "
                                   "\"error\":null, \"more\":true,"
                                   "\"parameters\" : {\"\\u0073ession\" : \"a\\\"\\u00e4\\ud83d\\ude00/\", "
                                   "\"n\":-42, \"f\":1.5, \"big\":9223372036854775808, \"off\":false} } ";

static void test_string_is_found_and_decoded(void **state) {
        _cleanup_(freep) char *s = NULL;

        assert_int_equal(json_read_string(example, strlen(example), &s, "parameters", "session", NULL), 0);
        assert_string_equal(s, "a\"\xc3\xa4\xf0\x9f\x98\x80/");
}

static void test_int64_and_bool_are_read(void **state) {
        int64_t i;
        bool b = true;

        assert_int_equal(json_read_int64(example, strlen(example), &i, "parameters", "n", NULL), 0);
        assert_int_equal(i, -42);
        assert_int_equal(json_read_bool(example, strlen(example), &b, "parameters", "off", NULL), 0);
        assert_false(b);
        assert_int_equal(json_read_bool(example, strlen(example), &b, "more", NULL), 0);
        assert_true(b);
}

static void test_absent_and_null_are_enoent(void **state) {
        char *s = (char *)"untouched";

        assert_int_equal(json_read_string(example, strlen(example), &s, "nothing", NULL), -ENOENT);
        assert_int_equal(json_read_string(example, strlen(example), &s, "error", NULL), -ENOENT);
        assert_int_equal(json_read_string(example, strlen(example), &s, "error", "deeper", NULL), -ENOENT);
        assert_int_equal(json_read_string(example, strlen(example), &s, "session", NULL), -ENOENT);
        assert_int_equal(json_read_string(example, strlen(example), &s, "parameters", "sessio", NULL),
                        -ENOENT);
        assert_int_equal(json_read_string(example, strlen(example), &s, "parameters", "session2", NULL),
                        -ENOENT);
        assert_int_equal(json_read_string("{}", 2, &s, "a", NULL), -ENOENT);
        assert_string_equal(s, "untouched");
}

static void test_other_type_is_einval(void **state) {
        size_t n = strlen(example);
        char *s = NULL;
        int64_t i = 7;
        bool b = true;

        assert_int_equal(json_read_string(example, n, &s, "parameters", "n", NULL), -EINVAL);
        assert_int_equal(json_read_string(example, n, &s, "parameters", NULL), -EINVAL);
        assert_int_equal(json_read_string(example, n, &s, "more", "x", NULL), -EINVAL);
        assert_int_equal(json_read_string(example, n, &s, "skip", "x", NULL), -EINVAL);
        assert_int_equal(json_read_int64(example, n, &i, "parameters", "session", NULL), -EINVAL);
        assert_int_equal(json_read_int64(example, n, &i, "parameters", "f", NULL), -EINVAL);
        assert_int_equal(json_read_int64(example, n, &i, "parameters", "big", NULL), -EINVAL);
        assert_int_equal(json_read_bool(example, n, &b, "parameters", "n", NULL), -EINVAL);
        assert_null(s);
        assert_int_equal(i, 7);
        assert_true(b);
}

static void test_string_with_nul_is_not_cut(void **state) {
        const char *text = "{\"a\":\"x\\u0000y\"}";
        char *s = NULL;

        assert_int_equal(json_read_string(text, strlen(text), &s, "a", NULL), -EINVAL);
        assert_null(s);
}

static void test_value_at_the_root_needs_no_path(void **state) {
        _cleanup_(freep) char *s = NULL;
        int64_t i;

        assert_int_equal(json_read_string(" \"x\" ", 5, &s, NULL), 0);
        assert_string_equal(s, "x");
        assert_int_equal(json_read_int64("12", 1, &i, NULL), 0);
        assert_int_equal(i, 1);
}

/* Not the contract, but the last line of defence: texts that the scan would refuse, cut or bent at every byte. */
static void test_unscanned_text_is_never_overread(void **state) {
        size_t n = strlen(example);

        for (size_t size = 0; size <= n; size++)
                for (unsigned bend = 0; bend < 8; bend++) {
                        static const char bytes[] = "\0{}[]\",\\";
                        _cleanup_(freep) char *text = exact_copy(example, size), *s = NULL;
                        int64_t i;
                        bool b;

                        if (size > 1)
                                text[size / 2] = bytes[bend];
                        (void)json_read_string(text, size, &s, "parameters", "session", NULL);
                        (void)json_read_int64(text, size, &i, "parameters", "n", NULL);
                        (void)json_read_bool(text, size, &b, "parameters", "off", NULL);
                }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_string_is_found_and_decoded),
                cmocka_unit_test(test_int64_and_bool_are_read),
                cmocka_unit_test(test_absent_and_null_are_enoent),
                cmocka_unit_test(test_other_type_is_einval),
                cmocka_unit_test(test_string_with_nul_is_not_cut),
                cmocka_unit_test(test_value_at_the_root_needs_no_path),
                cmocka_unit_test(test_unscanned_text_is_never_overread),
        };

        return cmocka_run_group_tests_name("json-reader", tests, NULL, NULL);
}
