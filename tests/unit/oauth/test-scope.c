/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Lists of scopes: what is asked for, what a step-up adds, and what a server can make a user's terminal say. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "oauth/oauth-internal.h"

static void assert_text(const char *got, const char *expected, const char *about) {
        if (!streq_ptr(got, expected))
                fail_msg("%s: got %s, not %s", about, got ?: "nothing", expected ?: "nothing");
}

static void union_has_each_word_once(void **state) {
        static const struct {
                const char *a, *b, *both;
        } rows[] = {
                { "read", "write", "read write" },
                { "read write", "write admin", "read write admin" },
                { NULL, "b a", "b a" },
                { "a", NULL, "a" },
                { NULL, NULL, NULL },
                { "  a  b ", " b  c ", "a b c" },
                { "a", "A", "a A" },       /* byte for byte */
                { "ab", "a b", "ab a b" }, /* no part of a word */
                { "a\"b", "c\\d e", "e" }, /* what is no scope is no part of a request */
                { "a\nb", "c", "c" },
                { "mcp:a", "mcp:a", "mcp:a" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(freep) char *both = NULL;

                assert_int_equal(scope_union(rows[i].a, rows[i].b, &both), 0);
                assert_text(both, rows[i].both, rows[i].a ?: "nothing");
        }
}

static void union_is_bounded(void **state) {
        _cleanup_(freep) char *many = calloc(1, 20000), *both = NULL;

        for (size_t i = 0; i < 1500; i++)
                (void)snprintf(many + strlen(many), 20, "%zu ", i);
        assert_int_equal(scope_union("first", many, &both), 0);
        assert_true(strlen(both) <= 4096 && strlen(both) > 4000);
        assert_true(startswith(both, "first 0 1 2 "));
}

static void covering_is_about_whole_words(void **state) {
        assert_true(scope_covers("a b c", "c a"));
        assert_true(scope_covers("a", NULL));
        assert_true(scope_covers(NULL, " "));
        assert_false(scope_covers("a b", "a b c"));
        assert_false(scope_covers("ab", "a"));
        assert_false(scope_covers(NULL, "a"));
}

static void base_is_root_s_list_or_what_was_discovered(void **state) {
        char *words[] = { (char *)"x", (char *)"y", NULL };
        const ServiceProfile open = {}, written = { .scopes = words };
        static const struct {
                bool is_written;
                const char *discovered;
                bool offers_offline;
                const char *base;
        } rows[] = {
                { false, "a b", false, "a b" }, { true, "a b", false, "x y" }, { false, NULL, false, NULL },
                { true, NULL, true, "x y offline_access" }, { false, "a", true, "a offline_access" },
                { false, "offline_access a", true, "offline_access a" },
                { false, "my_offline_access", true, "my_offline_access offline_access" },
                { false, NULL, true, NULL }, /* alone it would take the place of the server's default */
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(freep) char *base = NULL;

                assert_int_equal(scope_base(rows[i].is_written ? &written : &open, rows[i].discovered,
                                                 rows[i].offers_offline, &base),
                                0);
                assert_text(base, rows[i].base, rows[i].discovered ?: "nothing");
        }
}

static void step_up_keeps_what_was_asked_for_at_the_same_server(void **state) {
        char *words[] = { (char *)"x", NULL };
        const ServiceProfile open = {}, written = { .scopes = words };
        static const struct {
                bool is_written;
                const char *asked, *granted, *issuer, *wanted, *scope;
        } rows[] = {
                { false, "a b", "a", "https://as.test", "c", "base c a b" },
                { false, "a b", "a", "https://as.test", NULL,
                                "base a b" }, /* a reconnect takes nothing away */
                { false, NULL, "a", "https://as.test", "c",
                                "base c a" }, /* a record of before asked_scope */
                { false, "a b", "a", "https://other.test", "c",
                                "base c" }, /* another server has other scopes */
                { false, "a b", "a", "https://as.test/", "c", "base c" },
                { true, "a b", "a", "https://as.test", NULL,
                                "base" }, /* root's shorter list comes into force */
                { true, "a b", "a", "https://as.test", "c", "base c a b" },
                { false, NULL, NULL, "https://as.test", "base", "base" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(freep) char *scope = NULL;
                const Credential former = { .kind = CREDENTIAL_OAUTH,
                        .authority.issuer = (char *)"https://as.test",
                        .scope = (char *)rows[i].granted,
                        .asked_scope = (char *)rows[i].asked };

                assert_int_equal(scope_to_ask(rows[i].is_written ? &written : &open, &former, rows[i].issuer,
                                                 "base", rows[i].wanted, &scope),
                                0);
                assert_text(scope, rows[i].scope, rows[i].scope);
        }
}

static void first_connection_asks_for_the_base_and_what_is_wanted(void **state) {
        _cleanup_(freep) char *scope = NULL, *none = NULL;
        const ServiceProfile p = {};

        assert_int_equal(scope_to_ask(&p, NULL, "https://as.test", "base", "c", &scope), 0);
        assert_string_equal(scope, "base c");
        assert_int_equal(scope_to_ask(&p, NULL, "https://as.test", NULL, NULL, &none), 0);
        assert_null(none);
}

static void advice_is_a_command_only_where_it_asks_for_something_new(void **state) {
        const ServiceProfile p = { .name = (char *)"notes", .title = (char *)"Notes" };
        static const struct {
                const char *label, *asked, *wanted, *hint;
        } rows[] = {
                { "default", "a", "b", "Run: vaultctl connect notes --scope 'b'" },
                { "work", "a", "b c", "Run: vaultctl connect notes --as work --scope 'b c'" },
                { "default", "a", "a b", "Run: vaultctl connect notes --scope 'a b'" },
                { "default", "a b", "b", NULL }, /* the server has had its chance */
                { "default", "a", NULL, NULL },
                { "default", "a", "b'; reboot; '",
                                NULL }, /* nothing that a shell would take for more than a word */
                { "default", "a", "b$(reboot)", NULL },
                { "default", "a", "--yes", NULL },
                { "default", "a", "https://g.test/auth/x.y",
                                "Run: vaultctl connect notes --scope 'https://g.test/auth/x.y'" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const Credential c = { .label = (char *)rows[i].label,
                        .asked_scope = (char *)rows[i].asked };
                _cleanup_(freep) char *reason = NULL, *hint = NULL;

                assert_int_equal(step_up_advice(&p, &c, rows[i].wanted, &reason, &hint), 0);
                assert_text(hint, rows[i].hint, rows[i].wanted ?: "nothing");
                assert_non_null(strstr(reason, "Notes"));
                if (rows[i].wanted)
                        assert_non_null(strstr(reason, rows[i].wanted));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(union_has_each_word_once),
                cmocka_unit_test(union_is_bounded),
                cmocka_unit_test(covering_is_about_whole_words),
                cmocka_unit_test(base_is_root_s_list_or_what_was_discovered),
                cmocka_unit_test(step_up_keeps_what_was_asked_for_at_the_same_server),
                cmocka_unit_test(first_connection_asks_for_the_base_and_what_is_wanted),
                cmocka_unit_test(advice_is_a_command_only_where_it_asks_for_something_new),
        };

        return cmocka_run_group_tests_name("oauth-scope", tests, NULL, NULL);
}
