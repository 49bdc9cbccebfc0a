/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The pure parts of vaultd-web: the request target, our own names, and text that stays text. What a browser sees of
 * them is tested in tests/web. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "web/cookie.h"
#include "web/html.h"
#include "web/site.h"
#include "web/target.h"

static void paths_have_exactly_one_route(void **state) {
        static const struct {
                const char *text;
                int result;
                TargetRoute route;
                const char *segment;
        } rows[] = {
                { "/", TARGET_OK, TARGET_ROOT, NULL },
                { "/?a=b", TARGET_OK, TARGET_ROOT, NULL },
                { "/connect/Ab-_.9", TARGET_OK, TARGET_CONNECT, "Ab-_.9" },
                { "/connect/a?x=1", TARGET_OK, TARGET_CONNECT, "a" },
                { "/callback/0f", TARGET_OK, TARGET_CALLBACK, "0f" },
                { "/connect", TARGET_UNKNOWN },
                { "/connect/", TARGET_UNKNOWN },
                { "/connect/?a", TARGET_UNKNOWN },
                { "/connect/a/", TARGET_UNKNOWN },
                { "/connect/..", TARGET_UNKNOWN },
                { "/connect/%61", TARGET_UNKNOWN },
                { "/connect/a;b", TARGET_UNKNOWN },
                { "/callbacks/a", TARGET_UNKNOWN },
                { "//", TARGET_UNKNOWN },
                { "", TARGET_MALFORMED },
                { "connect/a", TARGET_MALFORMED },
                { "*", TARGET_MALFORMED },
                { "http://x/connect/a", TARGET_MALFORMED },
                { "/connect/a#b", TARGET_MALFORMED },
                { "/connect/a b", TARGET_MALFORMED },
                { "/connect/\xc3\xa9", TARGET_MALFORMED },
                { "/connect/a\x7f", TARGET_MALFORMED },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(target_done) Target t = {};
                int r = target_parse(rows[i].text, &t);

                if (r != rows[i].result)
                        fail_msg("%s: %d instead of %d", rows[i].text, r, rows[i].result);
                if (r == TARGET_OK) {
                        assert_int_equal(t.route, rows[i].route);
                        assert_true(streq_ptr(t.segment, rows[i].segment));
                }
        }
}

static void lengths_are_bounded(void **state) {
        char text[TARGET_MAX + 64];
        Target t = {};

        (void)snprintf(text, sizeof(text), "/connect/%0*d", (int)TARGET_SEGMENT_MAX, 1);
        assert_int_equal(target_parse(text, &t), TARGET_OK);
        target_done(&t);
        (void)snprintf(text, sizeof(text), "/connect/%0*d", (int)TARGET_SEGMENT_MAX + 1, 1);
        assert_int_equal(target_parse(text, &t), TARGET_UNKNOWN);
        (void)snprintf(text, sizeof(text), "/?a=%0*d", (int)TARGET_MAX - 4, 1);
        assert_int_equal(target_parse(text, &t), TARGET_OK);
        target_done(&t);
        (void)snprintf(text, sizeof(text), "/?a=%0*d", (int)TARGET_MAX - 3, 1);
        assert_int_equal(target_parse(text, &t), TARGET_TOO_LONG);
}

static void values_are_decoded_once(void **state) {
        _cleanup_(target_done) Target t = {};

        assert_int_equal(target_parse("/callback/a?state=%2525&code=a+b%2Bc&iss=&flag&%C3%A9=%E2%82%AC&&",
                                         &t),
                        0);
        assert_int_equal(t.parameters.n, 5);
        assert_string_equal(target_get(&t, "state"), "%25");
        assert_string_equal(target_get(&t, "code"), "a b+c");
        assert_string_equal(target_get(&t, "iss"), "");
        assert_string_equal(target_get(&t, "flag"), "");
        assert_string_equal(target_get(&t, "\xc3\xa9"), "\xe2\x82\xac");
        assert_null(target_get(&t, "error"));
}

static void repetition_is_found_after_decoding(void **state) {
        static const char *const bad[] = {
                "/callback/a?x=1&x=1",
                "/callback/a?state=1&%73tate=2",
                "/callback/a?a&a",
                "/callback/a?=1&=2",
                "/?a=1&b=2&a",
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                Target t = {};

                assert_int_equal(target_parse(bad[i], &t), TARGET_REPEATED);
                assert_int_equal(t.parameters.n, 0);
        }
}

static void damaged_values_are_refused(void **state) {
        static const char *const bad[] = {
                "/?a=%",
                "/?a=%4",
                "/?a=%zz",
                "/?a=%00",
                "/?%00=a",
                "/?a=%ff",
                "/?a=%ed%a0%80",
                "/?a=%c0%80",
                "/?a=%f4%90%80%80",
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                Target t = {};

                if (target_parse(bad[i], &t) != TARGET_MALFORMED)
                        fail_msg("admitted: %s", bad[i]);
        }
}

static void external_url_is_read_strictly(void **state) {
        static const char *const bad[] = {
                "",
                "x",
                "http://a.example",
                "https://",
                "https:///x",
                "https://a b/",
                "https://u@a.example/",
                "https://a.example?x",
                "https://a.example#x",
                "https://a\"b/",
        };
        _cleanup_(site_done) Site s = {};

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                if (site_init(&s, bad[i], false) != -EINVAL)
                        fail_msg("admitted: %s", bad[i]);
        assert_int_equal(site_init(&s, NULL, true), -EINVAL);
        assert_int_equal(site_init(&s, "HTTPS://Vault.Example:443/a/b", true), 0);
        assert_string_equal(s.external, "https://vault.example");
        assert_int_equal(site_judge_host(&s, "VAULT.example", 876), SITE_DOOR_EXTERNAL);
        assert_int_equal(site_judge_host(&s, "vault.example:443", 876), SITE_DOOR_NONE);
        assert_int_equal(site_judge_host(&s, "127.0.0.1:876", 876), SITE_DOOR_NONE);
}

static void port_80_needs_no_port(void **state) {
        const Site s = {};

        assert_int_equal(site_judge_host(&s, "localhost", 80), SITE_DOOR_LOOPBACK);
        assert_int_equal(site_judge_host(&s, "localhost:80", 80), SITE_DOOR_LOOPBACK);
        assert_int_equal(site_judge_host(&s, "localhost", 81), SITE_DOOR_NONE);
        assert_int_equal(site_judge_host(&s, "", 80), SITE_DOOR_NONE);
}

static void no_door_admits_no_post(void **state) {
        const Site s = {};

        assert_false(site_judge_post(&s, SITE_DOOR_NONE, "x", "http://x", "same-origin"));
        assert_true(site_judge_post(&s, SITE_DOOR_LOOPBACK, "x:1", "http://x:1", NULL));
        assert_false(site_judge_post(&s, SITE_DOOR_LOOPBACK, "x:1", "null", NULL));
}

static void text_stays_text(void **state) {
        HtmlWriter w = {};

        html_put(&w, "<a title=\"%s\">%s</a>100%%", "\" onclick='x", "<b>&amp;\x1b\x01\xff\xe2\x80\xae</b>");
        assert_int_equal(w.error, 0);
        assert_string_equal((char *)w.buffer.bytes,
                        "<a title=\"&quot; onclick=&#39;x\">&lt;b&gt;&amp;amp;????&lt;/b&gt;</a>100%");
        html_done(&w);
}

static void failure_sticks(void **state) {
        HtmlWriter w = { .buffer.limit = 8 };

        html_put(&w, "12345678");
        assert_int_equal(w.error, 0);
        html_put(&w, "%s", "9");
        assert_int_equal(w.error, -ENOBUFS);
        html_put(&w, "more");
        assert_int_equal(w.error, -ENOBUFS);
        html_done(&w);
}

static void forms_and_queries_are_read_alike(void **state) {
        static const struct {
                const char *text;
                size_t n;
                int result;
        } rows[] = {
                { "", 0, PARAMETERS_OK },
                { "a=1&b=2", 7, PARAMETERS_OK },
                { "a=1&&", 5, PARAMETERS_OK },
                { "a=1&a=1", 7, PARAMETERS_REPEATED },
                { "a=1&%61=2", 9, PARAMETERS_REPEATED },
                { "a", 1, PARAMETERS_OK },
                { "=", 1, PARAMETERS_OK },
                { "a=%", 3, PARAMETERS_MALFORMED },
                { "a=%4", 4, PARAMETERS_MALFORMED },
                { "a=%00", 5, PARAMETERS_MALFORMED },
                { "a=\0", 3, PARAMETERS_MALFORMED },
                { "a=%ff", 5, PARAMETERS_MALFORMED },
                { "a=b\0&c=d", 8, PARAMETERS_MALFORMED },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(parameters_done) Parameters p = {};
                int r = parameters_parse(rows[i].text, rows[i].n, &p);

                if (r != rows[i].result)
                        fail_msg("row %zu: %d instead of %d", i, r, rows[i].result);
        }
}

static void a_form_has_so_many_fields(void **state) {
        char text[8 * (PARAMETERS_MAX + 1)] = "";
        Parameters p = {};

        for (size_t i = 0; i <= PARAMETERS_MAX; i++) {
                size_t n = strlen(text);

                (void)snprintf(text + n, sizeof(text) - n, "a%zu=1&", i);
                if (i + 1 == PARAMETERS_MAX) {
                        assert_int_equal(parameters_parse(text, strlen(text), &p), PARAMETERS_OK);
                        assert_int_equal(p.n, PARAMETERS_MAX);
                        parameters_done(&p);
                }
        }
        assert_int_equal(parameters_parse(text, strlen(text), &p), PARAMETERS_MALFORMED);
}

static void only_our_cookie_counts_and_only_once(void **state) {
        static const struct {
                const char *header;
                int result;
                const char *value;
        } rows[] = {
                { "__Host-vaultd=abc_-9", COOKIE_OK, "abc_-9" },
                { "a=b; __Host-vaultd=abc", COOKIE_OK, "abc" },
                { "__Host-vaultd=abc; a=b", COOKIE_OK, "abc" },
                { " \t__Host-vaultd=abc\t ;", COOKIE_OK, "abc" },
                { ";;a;=;__Host-vaultd=abc;", COOKIE_OK, "abc" },
                { "a=\"b; __Host-vaultd=abc\"", COOKIE_UNCLEAR, NULL },
                { "", COOKIE_ABSENT, NULL },
                { "vaultd=abc", COOKIE_ABSENT, NULL },
                { "__host-vaultd=abc", COOKIE_ABSENT, NULL },
                { "__Host-vaultd", COOKIE_ABSENT, NULL },
                { "x__Host-vaultd=abc", COOKIE_ABSENT, NULL },
                { "__Host-vaultd2=abc", COOKIE_ABSENT, NULL },
                { "a=__Host-vaultd=abc", COOKIE_ABSENT, NULL },
                { "__Host-vaultd=", COOKIE_UNCLEAR, NULL },
                { "__Host-vaultd=a b", COOKIE_UNCLEAR, NULL },
                { "__Host-vaultd=a%20", COOKIE_UNCLEAR, NULL },
                { "__Host-vaultd=abc; __Host-vaultd=abc", COOKIE_UNCLEAR, NULL },
                { "__Host-vaultd=abc;__Host-vaultd=", COOKIE_UNCLEAR, NULL },
                { "__Host-vaultd=0123456789012345678901234567890123456789012345678901234567890123",
                                COOKIE_OK,
                                "0123456789012345678901234567890123456789012345678901234567890123" },
                { "__Host-vaultd=01234567890123456789012345678901234567890123456789012345678901234",
                                COOKIE_UNCLEAR, NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(freep) char *value = NULL;
                int r = cookie_find(rows[i].header, &value);

                if (r != rows[i].result || !streq_ptr(value, rows[i].value))
                        fail_msg("%s: %d, %s", rows[i].header, r, value ?: "nothing");
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                { "paths-have-exactly-one-route", paths_have_exactly_one_route },
                { "lengths-are-bounded", lengths_are_bounded },
                { "values-are-decoded-once", values_are_decoded_once },
                { "repetition-is-found-after-decoding", repetition_is_found_after_decoding },
                { "damaged-values-are-refused", damaged_values_are_refused },
                { "external-url-is-read-strictly", external_url_is_read_strictly },
                { "port-80-needs-no-port", port_80_needs_no_port },
                { "no-door-admits-no-post", no_door_admits_no_post },
                { "forms-and-queries-are-read-alike", forms_and_queries_are_read_alike },
                { "a-form-has-so-many-fields", a_form_has_so_many_fields },
                { "only-our-cookie-counts-and-only-once", only_our_cookie_counts_and_only_once },
                { "text-stays-text", text_stays_text },
                { "failure-sticks", failure_sticks },
        };

        return cmocka_run_group_tests_name("web-parts", tests, NULL, NULL);
}
