/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* json-c behind the scan: what is admitted survives, what is asked for is the whole truth or an error. */

#include <stdio.h>

#include "json/object.h"

#include "support.h"

static json_object *parse(const char *text, const JsonLimits *limits) {
        size_t n = strlen(text);
        _cleanup_(freep) char *copy = exact_copy(text, n);
        json_object *object = NULL;

        assert_int_equal(json_parse(copy, n, limits, &object), 0);
        return object;
}

static void test_what_the_wire_admits_round_trips(void **state) {
        static const char *const texts[] = {
                "{}",
                "[]",
                "null",
                "true",
                "\"\"",
                "12",
                "-1.5",
                "{\"a\":[1,-9223372036854775808,9223372036854775807,true,null]}",
                "[-0.0,0.1,1e22,1E+2,9.99e307,1e-400,0.30000000000000004,123456789."
                "123456789123456789]",
                "[\"https://a/"
                "b\",\"\xc3\xa4\xf0\x9f\x98\x80\",\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"]",
                "{\"\":{\"\":{}},\"a/b\":\"'\",\"\\u2028\":1}",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(json_putp) json_object *object = parse(texts[i], &json_limits_wire), *again = NULL;
                const char *text = json_text(object);

                if (i != ELEMENTSOF(texts) - 1) /* the last has an escape that need not be one */
                        assert_string_equal(text, texts[i]);
                assert_int_equal(json_parse(text, strlen(text), &json_limits_wire, &again), 0);
                assert_true(json_object_equal(object, again));
                assert_string_equal(json_text(again), text);
        }
}

static void test_nul_in_an_mcp_value_round_trips(void **state) {
        _cleanup_(json_putp) json_object *object = parse("{\"a\":\"x\\u0000y\"}", &json_limits_mcp);

        assert_string_equal(json_text(object), "{\"a\":\"x\\u0000y\"}");
}

static void test_depth_of_the_limits_is_parsed(void **state) {
        const JsonLimits *limits[] = { &json_limits_wire, &json_limits_mcp };

        for (size_t i = 0; i < ELEMENTSOF(limits); i++) {
                char text[300];
                unsigned depth = limits[i]->max_depth;
                _cleanup_(json_putp) json_object *object = NULL;

                memset(text, '[', depth);
                text[depth] = '1';
                memset(text + depth + 1, ']', depth);
                assert_int_equal(json_parse(text, 2 * depth + 1, limits[i], &object), 0);
        }
}

static void test_fault_is_passed_on_and_nothing_made(void **state) {
        json_object *object = (json_object *)&object;

        assert_int_equal(json_parse("{\"a\":1,\"a\":2}", 13, &json_limits_wire, &object),
                        JSON_FAULT_DUPLICATE_KEY);
        assert_int_equal(json_parse("NaN", 3, &json_limits_wire, &object), JSON_FAULT_SYNTAX);
        assert_ptr_equal(object, &object);
}

static void test_getters_tell_absent_from_wrong(void **state) {
        _cleanup_(json_putp) json_object *o =
                        parse("{\"s\":\"x\",\"i\":-3,\"b\":true,\"o\":{},\"a\":[],\"z\":null,\"d\":1.0}",
                                        &json_limits_wire);
        json_object *sub = NULL;
        const char *s = NULL;
        int64_t i = 0;
        bool b = false;

        assert_int_equal(json_get_string(o, "s", &s), 0);
        assert_string_equal(s, "x");
        assert_int_equal(json_get_int64(o, "i", &i), 0);
        assert_int_equal(i, -3);
        assert_int_equal(json_get_bool(o, "b", &b), 0);
        assert_true(b);
        assert_int_equal(json_get_object(o, "o", &sub), 0);
        assert_int_equal(json_get_array(o, "a", &sub), 0);

        assert_int_equal(json_get_string(o, "none", &s), -ENOENT);
        assert_int_equal(json_get_string(o, "z", &s), -ENOENT);
        assert_int_equal(json_get_string(NULL, "s", &s), -ENOENT);
        assert_int_equal(json_get_string(o, "i", &s), -EINVAL);
        assert_int_equal(json_get_int64(o, "s", &i), -EINVAL);
        assert_int_equal(json_get_int64(o, "d", &i), -EINVAL);
        assert_int_equal(json_get_bool(o, "i", &b), -EINVAL);
        assert_int_equal(json_get_object(o, "a", &sub), -EINVAL);
        assert_int_equal(json_get_array(o, "o", &sub), -EINVAL);
        assert_int_equal(json_get_string(sub, "s", &s), -EINVAL); /* an array has no members */
        assert_null(json_string(o, "i"));
        assert_string_equal(json_string(o, "s"), "x");
}

static void test_saturated_integers_are_not_believed(void **state) {
        _cleanup_(json_putp) json_object *o = parse("{\"a\":9223372036854775808,\"b\":18446744073709551616,"
                                                    "\"c\":-9223372036854775809,\"d\":9223372036854775807}",
                        &json_limits_mcp);
        int64_t i = 5;

        assert_int_equal(json_get_int64(o, "a", &i), -EINVAL);
        assert_int_equal(json_get_int64(o, "b", &i), -EINVAL);
        assert_int_equal(json_get_int64(o, "c", &i), -EINVAL);
        assert_int_equal(i, 5);
        assert_int_equal(json_get_int64(o, "d", &i), 0);
        assert_true(i == INT64_MAX);
}

static void test_string_with_nul_is_not_cut(void **state) {
        _cleanup_(json_putp) json_object *o = parse("{\"a\":\"notion\\u0000x\"}", &json_limits_mcp);
        const char *s = NULL;

        assert_int_equal(json_get_string(o, "a", &s), -EINVAL);
        assert_null(json_string(o, "a"));
}

static void test_build_takes_and_leaves_out(void **state) {
        _cleanup_(json_putp) json_object *o = json_build("name", 's', "a/b", "none", 's', (const char *)NULL,
                        "n", 'i', INT64_C(-4), "ok", 'b', true, "sub", 'o',
                        json_build("x", 'i', INT64_C(1), NULL), NULL);

        assert_non_null(o);
        assert_string_equal(json_text(o), "{\"name\":\"a/b\",\"n\":-4,\"ok\":true,\"sub\":{\"x\":1}}");
}

static void test_build_fails_as_a_whole_and_leaks_nothing(void **state) {
        json_object *kept = json_object_new_object();

        assert_null(json_build("a", 'o', (json_object *)NULL, "b", 'o', json_object_get(kept), NULL));
        assert_int_equal(json_object_put(kept), 1); /* ours was the last reference */
}

static void test_adding_to_nothing_releases_the_value(void **state) {
        json_object *kept = json_object_new_object();

        assert_int_equal(json_add(NULL, "a", json_object_get(kept)), -ENOMEM);
        assert_int_equal(json_add_string(NULL, "a", "x"), -ENOMEM);
        assert_int_equal(json_array_add_string(NULL, "x"), -ENOMEM);
        assert_int_equal(json_object_put(kept), 1);
}

typedef struct Call {
        const char *service;
        const char *label;
        int64_t count;
        bool more;
        json_object *list;
        json_object *map;
} Call;

static const JsonField call_table[] = {
        { "service", JSON_FIELD_STRING, offsetof(Call, service), true, 8 },
        { "label", JSON_FIELD_STRING, offsetof(Call, label), false, 0 },
        { "count", JSON_FIELD_INT64, offsetof(Call, count), false, 0 },
        { "more", JSON_FIELD_BOOL, offsetof(Call, more), false, 0 },
        { "list", JSON_FIELD_ARRAY, offsetof(Call, list), false, 0 },
        { "map", JSON_FIELD_OBJECT, offsetof(Call, map), false, 0 },
        {},
};

static void test_dispatch_fills_the_struct(void **state) {
        _cleanup_(json_putp) json_object *o = parse("{\"service\":\"notion12\",\"label\":null,\"count\":7,"
                                                    "\"more\":true,\"list\":[1],\"map\":{\"a\":1}}",
                        &json_limits_wire);
        Call call = { .label = "default" };

        assert_int_equal(json_dispatch(o, call_table, &call, NULL), 0);
        assert_string_equal(call.service, "notion12");
        assert_string_equal(call.label, "default"); /* null is absent */
        assert_int_equal(call.count, 7);
        assert_true(call.more);
        assert_int_equal(json_object_array_length(call.list), 1);
        assert_int_equal(json_object_object_length(call.map), 1);
}

static void test_dispatch_names_the_bad_field_and_writes_nothing(void **state) {
        static const struct {
                const char *text, *bad;
        } cases[] = {
                { "{}", "service" },
                { "{\"service\":null}", "service" },
                { "{\"service\":\"notion123\"}", "service" },
                { "{\"service\":1}", "service" },
                { "{\"service\":\"a\",\"uid\":0}", "uid" },
                { "{\"service\":\"a\",\"uid\":null}", "uid" },
                { "{\"service\":\"a\",\"count\":\"7\"}", "count" },
                { "{\"service\":\"a\",\"count\":1.0}", "count" },
                { "{\"service\":\"a\",\"more\":1}", "more" },
                { "{\"service\":\"a\",\"list\":{}}", "list" },
                { "{\"service\":\"a\",\"map\":[]}", "map" },
                { "[]", "parameters" },
                { "\"service\"", "parameters" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(json_putp) json_object *o = parse(cases[i].text, &json_limits_wire);
                const Call before = { .service = "before", .count = 9 };
                Call call;
                const char *bad = NULL;

                memcpy(&call, &before, sizeof(call)); /* with its padding */
                assert_int_equal(json_dispatch(o, call_table, &call, &bad), -EINVAL);
                assert_string_equal(bad, cases[i].bad);
                assert_memory_equal(&call, &before, sizeof(call));
        }
}

static void test_dispatch_bounds_strings_without_a_limit_of_their_own(void **state) {
        for (int more = 0; more <= 1; more++) {
                _cleanup_(freep) char *text = NULL;
                const char *bad = NULL;
                Call call = {};

                assert_true(asprintf(&text, "{\"service\":\"a\",\"label\":\"%0*d\"}", 4096 + more, 0) > 0);
                _cleanup_(json_putp) json_object *o = parse(text, &json_limits_wire);
                assert_int_equal(json_dispatch(o, call_table, &call, &bad), more ? -EINVAL : 0);
        }
}

static void test_dispatch_of_no_parameters_is_of_an_empty_object(void **state) {
        static const JsonField optional[] = {
                { "label", JSON_FIELD_STRING, offsetof(Call, label), false, 0 }, {}
        };
        const char *bad = NULL;
        Call call = {};

        assert_int_equal(json_dispatch(NULL, optional, &call, &bad), 0);
        assert_int_equal(json_dispatch(NULL, call_table, &call, &bad), -EINVAL);
        assert_string_equal(bad, "service");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_what_the_wire_admits_round_trips),
                cmocka_unit_test(test_nul_in_an_mcp_value_round_trips),
                cmocka_unit_test(test_depth_of_the_limits_is_parsed),
                cmocka_unit_test(test_fault_is_passed_on_and_nothing_made),
                cmocka_unit_test(test_getters_tell_absent_from_wrong),
                cmocka_unit_test(test_saturated_integers_are_not_believed),
                cmocka_unit_test(test_string_with_nul_is_not_cut),
                cmocka_unit_test(test_build_takes_and_leaves_out),
                cmocka_unit_test(test_build_fails_as_a_whole_and_leaks_nothing),
                cmocka_unit_test(test_adding_to_nothing_releases_the_value),
                cmocka_unit_test(test_dispatch_fills_the_struct),
                cmocka_unit_test(test_dispatch_names_the_bad_field_and_writes_nothing),
                cmocka_unit_test(test_dispatch_bounds_strings_without_a_limit_of_their_own),
                cmocka_unit_test(test_dispatch_of_no_parameters_is_of_an_empty_object),
        };

        return cmocka_run_group_tests_name("json-object", tests, NULL, NULL);
}
