/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* WWW-Authenticate as servers send it: what is understood, what is not believed, and that no end of the text is read over.
 * Each text is parsed from memory of exactly its size, so that Address Sanitizer sees a byte too many. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "oauth/challenge.h"

#define METADATA "https://m.test/.well-known/oauth-protected-resource"

static Challenge parse(const char *text) {
        _cleanup_(freep) char *copy = strdup(text);
        Challenge c = {};

        assert_non_null(copy);
        assert_int_equal(challenge_parse(copy, &c), 0);
        return c;
}

static void assert_text(const char *got, const char *expected, const char *input) {
        if (!streq_ptr(got, expected))
                fail_msg("%s: got %s, expected %s", input, got ?: "nothing", expected ?: "nothing");
}

typedef struct Row {
        const char *text, *metadata, *scope, *error;
} Row;

static void assert_rows(const Row *rows, size_t n) {
        for (size_t i = 0; i < n; i++) {
                Challenge c = parse(rows[i].text);

                assert_text(c.resource_metadata, rows[i].metadata, rows[i].text);
                assert_text(c.scope, rows[i].scope, rows[i].text);
                assert_text(c.error, rows[i].error, rows[i].text);
                challenge_done(&c);
        }
}

static void bearer_parameters_are_read(void **state) {
        static const Row rows[] = {
                { "Bearer resource_metadata=\"" METADATA "\"", METADATA },
                { "Bearer error=\"invalid_token\", scope=\"read write\", resource_metadata=\"" METADATA "\"",
                                METADATA, "read write", "invalid_token" },
                { "bEARER RESOURCE_METADATA=\"" METADATA "\",Scope=read", METADATA, "read" },
                { "  Bearer\tscope = \"a\"  ,  error =  b ", NULL, "a", "b" },
                { ",, Bearer ,, scope=a,,error=b,,", NULL, "a", "b" },
                { "Bearer realm=\"x\", unknown=\"y\", scope=\"z\"", NULL, "z" },
                { "Bearer scope=\"\", error=, scope=late", NULL, "late" },
                { "Bearer resource_metadata=" METADATA, METADATA },
        };

        assert_rows(rows, ELEMENTSOF(rows));
}

static void other_schemes_are_not_listened_to(void **state) {
        static const Row rows[] = {
                { "Basic realm=\"x\", scope=\"s\", resource_metadata=\"https://evil.test\"" },
                { "Basic realm=\"x\", Bearer scope=\"s\"", NULL, "s" },
                { "Bearer scope=\"s\", Basic realm=\"x\", error=\"e\"", NULL, "s" },
                { "Bearer scope=\"s\", DPoP algs=\"ES256\", error=\"e\", Bearer error=\"mine\"", NULL, "s",
                                "mine" },
                { "Negotiate YWJjZA==, Bearer scope=\"s\"", NULL, "s" },
                { "Negotiate YWJjZGU=, Bearer scope=\"s\"", NULL, "s" },
                { "Bearers scope=\"s\"" },
                { "Beare scope=\"s\"" },
                { "Basic realm=\"Bearer scope=s\"" },
                { "DPoP" },
                { "Bearer" },
                { "scope=\"s\"" },
        };

        assert_rows(rows, ELEMENTSOF(rows));
}

static void quoted_strings_end_where_they_end(void **state) {
        static const Row rows[] = {
                { "Bearer scope=\"a\\\"b\"", NULL, "a\"b" },
                { "Bearer scope=\"a\\\\\", error=\"e\"", NULL, "a\\", "e" },
                { "Bearer realm=\"x, scope=evil\", scope=\"good\"", NULL, "good" },
                { "Bearer realm=\"\\\", scope=\\\"evil\", scope=\"good\"", NULL, "good" },
                { "Bearer scope=\"a=b,c\"", NULL, "a=b,c" },
                { "Bearer scope=\"open" },
                { "Bearer scope=\"open\\\"" },
                { "Bearer scope=\"open\\" },
                { "Bearer error=\"e\", scope=\"open", NULL, NULL, "e" },
        };

        assert_rows(rows, ELEMENTSOF(rows));
}

static void first_of_repeated_parameters_counts(void **state) {
        static const Row rows[] = {
                { "Bearer scope=\"one\", scope=\"two\"", NULL, "one" },
                { "Bearer scope=one, Bearer scope=two, error=late", NULL, "one", "late" },
        };
        Challenge c = parse("Bearer scope=\"header one\"");

        /* A second header adds what the first did not say. */
        assert_int_equal(challenge_parse("Bearer scope=\"header two\", error=\"e\"", &c), 0);
        assert_string_equal(c.scope, "header one");
        assert_string_equal(c.error, "e");
        challenge_done(&c);
        assert_rows(rows, ELEMENTSOF(rows));
}

static void junk_says_nothing(void **state) {
        static const Row rows[] = {
                { "" },
                { " " },
                { "," },
                { "=" },
                { "\"" },
                { "\\" },
                { "Bearer =" },
                { "Bearer \"scope\"=\"s\"" },
                { "Bearer (scope=\"s\")" },
                { "\x01"
                  "Bearer scope=\"s\"" },
                { "\xff\xfe" },
                { "Bearer\nscope=\"s\"" },
                { "Bearer; scope=\"s\"" },
        };

        assert_rows(rows, ELEMENTSOF(rows));
}

static void every_truncation_is_harmless(void **state) {
        static const char whole[] = "Basic realm=\"a\\\"b\", Bearer error=\"invalid_token\", scope=\"read "
                                    "write\", resource_metadata=\"" METADATA "\"";

        for (size_t n = 0; n < sizeof(whole); n++) {
                _cleanup_(freep) char *text = strndup(whole, n);
                Challenge c = parse(text);

                /* A value is there in full or not at all. */
                assert_true(!c.error || streq(c.error, "invalid_token"));
                assert_true(!c.scope || streq(c.scope, "read write"));
                assert_true(!c.resource_metadata || streq(c.resource_metadata, METADATA));
                assert_true((c.resource_metadata != NULL) == (n == sizeof(whole) - 1));
                challenge_done(&c);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bearer_parameters_are_read),
                cmocka_unit_test(other_schemes_are_not_listened_to),
                cmocka_unit_test(quoted_strings_end_where_they_end),
                cmocka_unit_test(first_of_repeated_parameters_counts),
                cmocka_unit_test(junk_says_nothing),
                cmocka_unit_test(every_truncation_is_harmless),
        };

        return cmocka_run_group_tests_name("oauth-challenge", tests, NULL, NULL);
}
