/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is a call, and what closes the connection. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "ipc/message.h"

/* Parses a copy that is exactly as long. */
static int parse(const char *text, size_t n, Message *ret) {
        _cleanup_(freep) char *copy = malloc(n > 0 ? n : 1);

        assert_non_null(copy);
        memcpy(copy, text, n);
        return message_parse(copy, n, ret);
}

static void calls_are_understood(void **state) {
        static const struct {
                const char *text, *method, *parameters;
                bool is_more, is_oneway, is_upgrade;
        } rows[] = {
                { "{\"method\":\"a.B\"}", "a.B", "{}" },
                { " { \"method\" : \"a.B\" , \"parameters\" : { \"x\" : [1] } } ", "a.B", "{\"x\":[1]}" },
                { "{\"parameters\":null,\"method\":\"a.B\",\"more\":null}", "a.B", "{}" },
                { "{\"method\":\"a.B\",\"more\":true,\"oneway\":false,\"upgrade\":false}", "a.B", "{}",
                                .is_more = true },
                { "{\"method\":\"a.B\",\"oneway\":true}", "a.B", "{}", .is_oneway = true },
                { "{\"method\":\"a.B\",\"upgrade\":true}", "a.B", "{}", .is_upgrade = true },
                { "{\"method\":\"\"}", "", "{}" },
                { "{\"method\":\"a.B\",\"org.example.extension\":[1,2]}", "a.B", "{}" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Message m = {};

                if (parse(rows[i].text, strlen(rows[i].text), &m) != 0)
                        fail_msg("not understood: %s", rows[i].text);
                assert_string_equal(m.method, rows[i].method);
                assert_string_equal(json_text(m.parameters), rows[i].parameters);
                assert_true(m.is_more == rows[i].is_more && m.is_oneway == rows[i].is_oneway &&
                                m.is_upgrade == rows[i].is_upgrade);
                message_done(&m);
                assert_null(m.root);
        }
}

static void anything_else_is_no_call(void **state) {
        static const char *const bad[] = {
                "",
                " ",
                "null",
                "[]",
                "7",
                "\"a.B\"",
                "{}",
                "{",
                "{\"method\":\"a.B\"",
                "{\"method\":\"a.B\"}x",
                "{\"method\":\"a.B\"}{\"method\":\"a.B\"}",
                "{\"method\":7}",
                "{\"method\":null}",
                "{\"method\":[\"a.B\"]}",
                "{\"parameters\":{}}",
                "{\"method\":\"a.B\",\"parameters\":[]}",
                "{\"method\":\"a.B\",\"parameters\":\"x\"}",
                "{\"method\":\"a.B\",\"parameters\":false}",
                "{\"method\":\"a.B\",\"more\":1}",
                "{\"method\":\"a.B\",\"oneway\":\"true\"}",
                "{\"method\":\"a.B\",\"upgrade\":{}}",
                "{\"method\":\"a.B\",\"more\":true,\"oneway\":true}",
                "{\"method\":\"a.B\",\"more\":true,\"upgrade\":true}",
                "{\"method\":\"a.B\",\"oneway\":true,\"upgrade\":true}",
                "{\"method\":\"a.B\",\"more\":true,\"oneway\":true,\"upgrade\":true}",
                "{\"method\":\"a.B\",\"uid\":1002}",
                "{\"method\":\"a.B\",\"Method\":\"c.D\"}",
                "{\"method\":\"a.B\",\"\":1}",
                "{\"method\":\"a.B\",\"method\":\"c.D\"}",
                "{\"method\":\"a.B\",\"m\\u0065thod\":\"c.D\"}",
                "{\"method\":\"a.B\",\"parameters\":{\"a\":1,\"a\":2}}",
                "{\"method\":\"a.B\",\"parameters\":{\"a\":NaN}}",
                "{\"method\":\"a.B\",\"parameters\":{\"a\":18446744073709551616}}",
                "{\"method\":\"a\\u0000B\"}",
                "{\"method\":\"\\ud800\"}",
                "{\"method\":\"\xff\"}",
                "{'method':'a.B'}",
                "{\"method\":\"a.B\",}",
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                Message m = {};

                if (parse(bad[i], strlen(bad[i]), &m) != -EBADMSG)
                        fail_msg("taken for a call: %s", bad[i]);
                assert_true(!m.root && !m.method && !m.parameters);
        }
}

static void every_truncation_is_no_call(void **state) {
        static const char whole[] = "{\"method\":\"a.B\",\"parameters\":{\"x\":\"\\u00e9\"},\"more\":true}";
        Message m = {};

        for (size_t n = 0; n < sizeof(whole) - 1; n++)
                assert_int_equal(parse(whole, n, &m), -EBADMSG);
        assert_int_equal(parse(whole, sizeof(whole) - 1, &m), 0);
        message_done(&m);
}

static void price_is_that_of_structure_and_not_of_text(void **state) {
        static char text[200100], lists[200100];
        size_t n = (size_t)snprintf(text, sizeof(text), "{\"method\":\"a.B\",\"parameters\":{\"x\":\"");

        /* Prose, with quotes escaped, is charged by the byte. */
        while (n < 100000)
                n += (size_t)snprintf(text + n, sizeof(text) - n, "a, b: [\\\"c\\\\] {d}, ");
        n += (size_t)snprintf(text + n, sizeof(text) - n, "\"}}");
        assert_true(message_cost(text, n) > n - n / 8); /* an escape becomes one byte */
        assert_true(message_cost(text, n) < n + 8000);

        n = (size_t)snprintf(lists, sizeof(lists), "{\"method\":\"a.B\",\"parameters\":{\"x\":[[]");
        while (n < 100000)
                n += (size_t)snprintf(lists + n, sizeof(lists) - n, ",[]");
        assert_true(message_cost(lists, n) > 100 * n);

        n = (size_t)snprintf(lists, sizeof(lists), "{\"method\":\"a.B\",\"parameters\":{\"x\":[{}");
        while (n < 100000)
                n += (size_t)snprintf(lists + n, sizeof(lists) - n, ",{}");
        assert_true(message_cost(lists, n) > 300 * n);

        n = (size_t)snprintf(lists, sizeof(lists), "{\"method\":\"a.B\",\"parameters\":{\"x\":0");
        for (unsigned i = 0; n < 100000; i++)
                n += (size_t)snprintf(lists + n, sizeof(lists) - n, ",\"%x\":0", i);
        assert_true(message_cost(lists, n) > 30 * n);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(calls_are_understood),
                cmocka_unit_test(anything_else_is_no_call),
                cmocka_unit_test(every_truncation_is_no_call),
                cmocka_unit_test(price_is_that_of_structure_and_not_of_text),
        };

        return cmocka_run_group_tests_name("ipc-message", tests, NULL, NULL);
}
