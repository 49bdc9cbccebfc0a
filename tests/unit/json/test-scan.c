/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the strict scan says beyond yes and no: which fault, where, at which limit, and at what cost. */

#include <stdio.h>
#include <time.h>

#include "json/scan.h"
#include "util/buffer.h"

#include "support.h"

static int scan_at(const char *text, const JsonLimits *limits, size_t *ret_offset) {
        size_t n = strlen(text);
        _cleanup_(freep) char *copy = exact_copy(text, n);

        return json_scan(copy, n, limits, ret_offset);
}

static int scan(const char *text, const JsonLimits *limits) {
        return scan_at(text, limits, NULL);
}

#define assert_fault(text, fault, offset)                                                                   \
        do {                                                                                                \
                size_t _offset = SIZE_MAX;                                                                  \
                assert_int_equal(scan_at(text, &json_limits_wire, &_offset), fault);                        \
                assert_int_equal(_offset, offset);                                                          \
        } while (0)

static void test_fault_and_offset_are_named(void **state) {
        assert_fault("{\"a\":1,}", JSON_FAULT_SYNTAX, 7);
        assert_fault("[1", JSON_FAULT_SYNTAX, 2);
        assert_fault("[01]", JSON_FAULT_SYNTAX, 2);
        assert_fault("[\"ab\xff\"]", JSON_FAULT_UTF8, 4);
        assert_fault("[\"a\\ud800\"]", JSON_FAULT_SURROGATE, 3);
        assert_fault("{\"a\":1, \"\\u0061\":2}", JSON_FAULT_DUPLICATE_KEY, 8);
        assert_fault("[1,9223372036854775808]", JSON_FAULT_NUMBER, 3);
        assert_fault("[\"a\\u0000\"]", JSON_FAULT_NUL, 3);
        assert_fault("{} {}", JSON_FAULT_TRAILING, 3);
}

static void test_offset_is_untouched_when_admitted(void **state) {
        size_t offset = 77;

        assert_int_equal(scan_at("{\"a\":[1]}", &json_limits_wire, &offset), 0);
        assert_int_equal(offset, 77);
}

static void test_every_fault_has_a_text(void **state) {
        for (int fault = JSON_OK; fault <= JSON_FAULT_TRAILING; fault++)
                assert_string_not_equal(json_fault_to_string(fault), "unknown fault");
        assert_string_equal(json_fault_to_string(JSON_FAULT_TRAILING + 1), "unknown fault");
}

static char *nested(unsigned depth, const char *open, const char *close) {
        _cleanup_(buffer_done) Buffer b = {};

        for (unsigned i = 0; i < depth; i++)
                assert_int_equal(buffer_append_text(&b, open), 0);
        assert_int_equal(buffer_append_text(&b, "0"), 0);
        for (unsigned i = 0; i < depth; i++)
                assert_int_equal(buffer_append_text(&b, close), 0);
        return (char *)TAKE_PTR(b.bytes);
}

static void test_depth_is_limited_exactly(void **state) {
        const JsonLimits *limits[] = { &json_limits_wire, &json_limits_mcp };

        for (size_t i = 0; i < ELEMENTSOF(limits); i++)
                for (unsigned more = 0; more <= 1; more++) {
                        _cleanup_(freep) char *arrays = nested(limits[i]->max_depth + more, "[", "]");
                        _cleanup_(freep) char *objects = nested(limits[i]->max_depth + more, "{\"a\":", "}");

                        assert_int_equal(scan(arrays, limits[i]), more ? JSON_FAULT_DEPTH : 0);
                        assert_int_equal(scan(objects, limits[i]), more ? JSON_FAULT_DEPTH : 0);
                }
}

static void test_depth_beyond_the_inline_frames_keeps_the_kinds(void **state) {
        /* Down to 40, up to 20, down to 40 again: the frames have moved to the heap in between. */
        const char *down = "[[[[[[[[[[[[[[[[[[[[", *up = "]]]]]]]]]]]]]]]]]]]]";
        _cleanup_(freep) char *text = NULL;

        assert_true(asprintf(&text, "%s{\"a\":%s{}%s,\"b\":[%s{\"c\":[1]}%s]}%s", down, down, up, down, up,
                                    up) > 0);
        assert_int_equal(scan(text, &json_limits_mcp), 0);
        text[strlen(text) - 21] = ']';
        assert_int_equal(scan(text, &json_limits_mcp), JSON_FAULT_SYNTAX);
}

static void test_size_is_limited_exactly(void **state) {
        const JsonLimits limits = { .max_size = 8, .max_depth = 1, .max_members = 1 };
        size_t offset;

        assert_int_equal(scan("[\"1234\"]", &limits), 0);
        assert_int_equal(scan_at("[\"12345\"]", &limits, &offset), JSON_FAULT_SIZE);
        assert_int_equal(offset, 8);
}

static char *object_of(unsigned n_members, const char *name) {
        _cleanup_(buffer_done) Buffer b = {};

        for (unsigned i = 0; i < n_members; i++)
                assert_int_equal(buffer_printf(&b, "%c\"%s%u\":%u", i == 0 ? '{' : ',', name, i, i), 0);
        assert_int_equal(buffer_append_text(&b, "}"), 0);
        return (char *)TAKE_PTR(b.bytes);
}

static void test_members_are_limited_exactly(void **state) {
        _cleanup_(freep) char *fits = object_of(256, "k"), *more = object_of(257, "k");

        assert_int_equal(scan(fits, &json_limits_wire), 0);
        assert_int_equal(scan(more, &json_limits_wire), JSON_FAULT_MEMBERS);
}

static void test_members_are_counted_for_each_object(void **state) {
        _cleanup_(freep) char *inner = object_of(256, "k"), *text = NULL;

        assert_true(asprintf(&text, "{\"a\":%s,\"b\":%s,\"c\":[%s,%s]}", inner, inner, inner, inner) > 0);
        assert_int_equal(scan(text, &json_limits_wire), 0);
}

static void test_duplicate_is_found_at_any_distance(void **state) {
        for (unsigned n = 1; n < 200; n++)
                for (unsigned of = 0; of < n; of += 1 + n / 7) {
                        _cleanup_(freep) char *object = object_of(n, "name"), *text = NULL;

                        object[strlen(object) - 1] = 0;
                        assert_true(asprintf(&text, "%s,\"\\u006eame%u\":0}", object, of) > 0);
                        assert_int_equal(scan(text, &json_limits_wire), JSON_FAULT_DUPLICATE_KEY);
                }
}

static void test_names_of_ended_objects_are_forgotten(void **state) {
        _cleanup_(buffer_done) Buffer b = {};

        /* More names than fit inline, again and again, in children of an object that has the same names. */
        assert_int_equal(buffer_append_text(&b, "{"), 0);
        for (unsigned i = 0; i < 100; i++) {
                _cleanup_(freep) char *child = object_of(5 + i % 40, "k");

                assert_int_equal(buffer_printf(&b, "%s\"k%u\":%s", i ? "," : "", i, child), 0);
        }
        assert_int_equal(buffer_append_text(&b, "}"), 0);
        assert_int_equal(json_scan((char *)b.bytes, b.size, &json_limits_wire, NULL), 0);

        b.size--;
        assert_int_equal(buffer_append_text(&b, ",\"k50\":1}"), 0);
        assert_int_equal(json_scan((char *)b.bytes, b.size, &json_limits_wire, NULL),
                        JSON_FAULT_DUPLICATE_KEY);
}

static void test_wire_integers_are_exactly_int64(void **state) {
        static const char *const admitted[] = { "0", "-1", "9223372036854775807", "-9223372036854775808" };
        static const char *const refused[] = { "9223372036854775808", "-9223372036854775809",
                "18446744073709551616", "99999999999999999999999", "-0" };

        for (size_t i = 0; i < ELEMENTSOF(admitted); i++)
                assert_int_equal(scan(admitted[i], &json_limits_wire), 0);
        for (size_t i = 0; i < ELEMENTSOF(refused); i++) {
                assert_int_equal(scan(refused[i], &json_limits_wire), JSON_FAULT_NUMBER);
                assert_int_equal(scan(refused[i], &json_limits_mcp), 0);
        }
}

static void test_wire_doubles_are_finite(void **state) {
        static const char *const admitted[] = {
                "0.5",
                "-0.0",
                "1e307",
                "9.99e307",
                "0.0001e311",
                "100e305",
                "1e-400",
                "0e999999999999999999999999",
                "0.000e400",
                "123456e-99999999999999999999",
        };
        static const char *const refused[] = {
                "1e308",
                "-1e308",
                "1.8e308",
                "1e309",
                "10e307",
                "0.001e311",
                "1e99999999999999999999999999",
                "1E+400",
        };

        for (size_t i = 0; i < ELEMENTSOF(admitted); i++)
                assert_int_equal(scan(admitted[i], &json_limits_wire), 0);
        for (size_t i = 0; i < ELEMENTSOF(refused); i++) {
                assert_int_equal(scan(refused[i], &json_limits_wire), JSON_FAULT_NUMBER);
                assert_int_equal(scan(refused[i], &json_limits_mcp), 0);
        }
}

static void test_long_digits_count_towards_the_magnitude(void **state) {
        _cleanup_(freep) char *text = NULL;

        assert_true(asprintf(&text, "%0310d.5", 0) > 0);
        text[0] = '1';
        assert_int_equal(scan(text, &json_limits_wire), JSON_FAULT_NUMBER);
        assert_int_equal(scan(text + 2, &json_limits_mcp), JSON_FAULT_SYNTAX); /* leading zeros */
        text[2] = '1';
        assert_int_equal(scan(text + 2, &json_limits_wire), 0); /* 308 digits: below 1e308 */
}

static void test_nul_is_allowed_in_mcp_values_only(void **state) {
        assert_int_equal(scan("[\"\\u0000\"]", &json_limits_mcp), 0);
        assert_int_equal(scan("[\"\\u0000\"]", &json_limits_wire), JSON_FAULT_NUL);
        assert_int_equal(scan("{\"a\\u0000\":1}", &json_limits_mcp), JSON_FAULT_NUL);
        assert_int_equal(scan("{\"a\\u0000\":1}", &json_limits_wire), JSON_FAULT_NUL);
}

static double seconds_to_scan(const char *text, size_t n, const JsonLimits *limits) {
        struct timespec a, b;

        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
        assert_int_equal(json_scan(text, n, limits, NULL), 0);
        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
        return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
}

/* Sixteen times the names must not cost 256 times the time. */
static void test_cost_is_linear_in_the_names(void **state) {
        const JsonLimits limits = { .max_size = 16 * 1024 * 1024, .max_depth = 128, .max_members = 200000 };
        _cleanup_(freep) char *few = object_of(10000, "k"), *many = object_of(160000, "k");
        double small = 1, large;

        for (unsigned i = 0; i < 3; i++) {
                double t = seconds_to_scan(few, strlen(few), &limits);

                small = MIN(small, t);
        }
        large = seconds_to_scan(many, strlen(many), &limits);
        assert_true(large < small * 16 * 6);
}

/* Objects inside each other with the same names: the names of all of them are held at once. */
static void test_cost_is_linear_in_repeated_names(void **state) {
        _cleanup_(buffer_done) Buffer b = {};
        double t;

        for (unsigned depth = 0; depth < 128; depth++) {
                for (unsigned i = 0; i < 1000; i++)
                        assert_int_equal(buffer_printf(&b, "%c\"k%u\":0", i == 0 ? '{' : ',', i), 0);
                assert_int_equal(buffer_append_text(&b, depth < 127 ? ",\"child\":" : ""), 0);
        }
        for (unsigned depth = 0; depth < 128; depth++)
                assert_int_equal(buffer_append_text(&b, "}"), 0);
        t = seconds_to_scan((char *)b.bytes, b.size, &json_limits_mcp);
        assert_true(t < 2); /* 128,000 names are held at the end: 8·10^9 comparisons if each met each */
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_fault_and_offset_are_named),
                cmocka_unit_test(test_offset_is_untouched_when_admitted),
                cmocka_unit_test(test_every_fault_has_a_text),
                cmocka_unit_test(test_depth_is_limited_exactly),
                cmocka_unit_test(test_depth_beyond_the_inline_frames_keeps_the_kinds),
                cmocka_unit_test(test_size_is_limited_exactly),
                cmocka_unit_test(test_members_are_limited_exactly),
                cmocka_unit_test(test_members_are_counted_for_each_object),
                cmocka_unit_test(test_duplicate_is_found_at_any_distance),
                cmocka_unit_test(test_names_of_ended_objects_are_forgotten),
                cmocka_unit_test(test_wire_integers_are_exactly_int64),
                cmocka_unit_test(test_wire_doubles_are_finite),
                cmocka_unit_test(test_long_digits_count_towards_the_magnitude),
                cmocka_unit_test(test_nul_is_allowed_in_mcp_values_only),
                cmocka_unit_test(test_cost_is_linear_in_the_names),
                cmocka_unit_test(test_cost_is_linear_in_repeated_names),
        };

        return cmocka_run_group_tests_name("json-scan", tests, NULL, NULL);
}
