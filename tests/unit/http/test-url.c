/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The URL parser: every text has one reading or none. The refused table is threat T18's list, spelled out. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/url.h"

static void accepted_urls_have_one_form(void **state) {
        static const struct {
                const char *text, *host, *path, *query, *origin;
                uint16_t port;
        } rows[] = {
                { "https://mcp.notion.com/mcp", "mcp.notion.com", "/mcp", NULL, "https://mcp.notion.com",
                                443 },
                { "https://mcp.notion.com", "mcp.notion.com", "/", NULL, "https://mcp.notion.com", 443 },
                { "HTTPS://MCP.Notion.COM:443/mcp", "mcp.notion.com", "/mcp", NULL, "https://mcp.notion.com",
                                443 },
                { "https://a.test:8443/x/?q=1&r=%20", "a.test", "/x/", "q=1&r=%20", "https://a.test:8443",
                                8443 },
                { "https://a.test?q=/../", "a.test", "/", "q=/../", "https://a.test", 443 },
                { "https://[::1]:8443/", "::1", "/", NULL, "https://[::1]:8443", 8443 },
                { "https://[2606:4700:0:0::1111]/", "2606:4700::1111", "/", NULL,
                                "https://[2606:4700::1111]", 443 },
                { "https://[2606:4700::ABCD]/", "2606:4700::abcd", "/", NULL, "https://[2606:4700::abcd]",
                                443 },
                { "https://127.0.0.1:1/", "127.0.0.1", "/", NULL, "https://127.0.0.1:1", 1 },
                /* libcurl gives number forms their one form, so the guard and the comparison see
                         * the address. */
                { "https://0x7f000001/", "127.0.0.1", "/", NULL, "https://127.0.0.1", 443 },
                { "https://2130706433/", "127.0.0.1", "/", NULL, "https://127.0.0.1", 443 },
                { "https://a.test/x..y/.well-known/...", "a.test", "/x..y/.well-known/...", NULL,
                                "https://a.test", 443 },
                { "https://a.test/a%2Fb", "a.test", "/a%2Fb", NULL, "https://a.test", 443 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(http_url_done) HttpUrl url = {};
                _cleanup_(freep) char *origin = NULL;

                if (http_url_parse(rows[i].text, &url) < 0)
                        fail_msg("refused: %s", rows[i].text);
                assert_string_equal(url.scheme, "https");
                assert_string_equal(url.host, rows[i].host);
                assert_string_equal(url.path, rows[i].path);
                assert_true(streq_ptr(url.query, rows[i].query));
                assert_int_equal(url.port, rows[i].port);
                origin = http_url_origin(&url);
                assert_string_equal(origin, rows[i].origin);
        }
}

static void url_with_two_readings_refused(void **state) {
        static const char *const texts[] = {
                "",
                "https",
                "https:",
                "https:/a.test/",
                "https://",
                "https:///x",
                "https://:443/",
                "//a.test/",
                "/x",
                "a.test",
                /* schemes */
                "http://a.test/",
                "ftp://a.test/",
                "file:///etc/passwd",
                "javascript:alert(1)",
                "httpss://a.test/",
                " https://a.test/",
                /* userinfo, also empty, and what looks like it */
                "https://user@a.test/",
                "https://user:pass@a.test/",
                "https://@a.test/",
                "https://:@a.test/",
                "https://mcp.notion.com@evil.test/",
                "https://mcp.notion.com:443@evil.test/",
                /* fragments */
                "https://a.test/#f",
                "https://a.test#",
                "https://a.test/x#",
                /* hosts */
                "https://a.test./",
                "https://a.test.:443/",
                "https://.a.test/",
                "https://a..test/",
                "https://gr\xc3\xbcn.test/",
                "https://a%2etest/",
                "https://%61.test/",
                "https://a,test/",
                "https://a*test/",
                "https://a!test/",
                "https://a;b.test/",
                "https://[::1/",
                "https://[::1%25lo]/",
                "https://[::1%lo]/",
                "https://[fe80::1%eth0]/",
                "https://[v1.x]/",
                "https://[]/",
                "https://[::1]x/",
                "https://::1/",
                /* ports */
                "https://a.test:/",
                "https://a.test:0/",
                "https://a.test:65536/",
                "https://a.test:-1/",
                "https://a.test:44x/",
                "https://a.test: 443/",
                "https://a.test:443:443/",
                /* bytes */
                "https://a.test/ x",
                "https://a.test/\tx",
                "https://a.test/\nx",
                "https://a.test/\r\nx",
                "https://a.test/\x7f",
                "https://a.test/\x01",
                "https://a.test\\x",
                "https://a.test/\\x",
                "https://evil.test\\@a.test/",
                "https://a.test/\xc3\xa4",
                "https://a.test/\"",
                "https://a.test/<",
                "https://a.test/|",
                "https://a.test/{x}",
                "https://a.test/^",
                "https://a.test/`",
                "https://a\n.test/",
                "https://a.test\n",
                /* escapes */
                "https://a.test/%",
                "https://a.test/%1",
                "https://a.test/%zz",
                "https://a.test/%00",
                "https://a.test/?%00",
                "https://a.test/?x=%g0",
                /* dot segments, in every spelling */
                "https://a.test/..",
                "https://a.test/../x",
                "https://a.test/x/../y",
                "https://a.test/./x",
                "https://a.test/x/.",
                "https://a.test/%2e%2e/x",
                "https://a.test/x/%2E./y",
                "https://a.test/x/..%2fy",
                "https://a.test/x%2f..%2fy",
                "https://a.test/x%5c..%5cy",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                HttpUrl url = {};

                if (http_url_parse(texts[i], &url) != -EINVAL)
                        fail_msg("not refused: %s", texts[i]);
                assert_null(url.host);
        }
}

static void overlong_url_refused(void **state) {
        char text[4096] = "https://a.test/";
        HttpUrl url = {};

        memset(text + strlen(text), 'x', 2048 - strlen(text));
        assert_int_equal(http_url_parse(text, &url), 0);
        http_url_done(&url);
        text[2048] = 'x';
        assert_int_equal(http_url_parse(text, &url), -EINVAL);
}

static void origin_compares_host_and_port(void **state) {
        static const struct {
                const char *a, *b;
                bool is_same;
        } rows[] = {
                { "https://a.test/x", "https://A.test:443/y?z", true },
                { "https://a.test/", "https://a.test:8443/", false },
                { "https://a.test/", "https://b.a.test/", false },
                { "https://a.test/", "https://a.test.evil.test/", false },
                { "https://[::1]/", "https://[0:0::1]/", true },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(http_url_done) HttpUrl a = {}, b = {};

                assert_int_equal(http_url_parse(rows[i].a, &a), 0);
                assert_int_equal(http_url_parse(rows[i].b, &b), 0);
                assert_int_equal(http_url_same_origin(&a, &b), rows[i].is_same);
        }
}

/* T18: what looks like the upstream and is not. */
static void bound_is_exactly_the_upstream(void **state) {
        static const struct {
                const char *upstream, *request;
                bool is_bound;
        } rows[] = {
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/mcp", true },
                { "https://mcp.notion.com/mcp", "HTTPS://MCP.NOTION.COM:443/mcp", true },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/mcp/", true },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/mcp/x?q=1", true },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/mcp?session=1", true },
                { "https://mcp.notion.com/", "https://mcp.notion.com/anything", true },
                { "https://mcp.notion.com", "https://mcp.notion.com/anything", true },
                { "https://mcp.notion.com/a/", "https://mcp.notion.com/a/b", true },
                { "https://[::1]:8443/mcp", "https://[0:0::1]:8443/mcp", true },
                { "https://a.test/mcp?tenant=1", "https://a.test/mcp?tenant=1", true },
                /* scheme */
                { "https://mcp.notion.com/mcp", "http://mcp.notion.com/mcp", false },
                { "https://mcp.notion.com/mcp", "//mcp.notion.com/mcp", false },
                { "http://mcp.notion.com/mcp", "http://mcp.notion.com/mcp", false },
                /* userinfo */
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com@evil.test/mcp", false },
                { "https://mcp.notion.com/mcp", "https://evil.test@mcp.notion.com/mcp", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com:443@evil.test/mcp", false },
                { "https://mcp.notion.com/mcp", "https://evil.test#@mcp.notion.com/mcp", false },
                { "https://mcp.notion.com/mcp", "https://evil.test/@mcp.notion.com/mcp", false },
                /* host */
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com.evil.test/mcp", false },
                { "https://mcp.notion.com/mcp", "https://evil.mcp.notion.com/mcp", false },
                { "https://mcp.notion.com/mcp", "https://notion.com/mcp", false },
                { "https://mcp.notion.com/mcp", "https://mcp-notion.com/mcp", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com./mcp", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com:443./mcp", false },
                /* IDN: other letters, also those that fold to ASCII, and their A-labels */
                { "https://mcp.notion.com/mcp", "https://mcp.n\xd0\xbetion.com/mcp", false },
                { "https://mcp.notion.com/mcp",
                                "https://mcp.notion\xe3\x80\x82"
                                "com/mcp",
                                false },
                { "https://mcp.notion.com/mcp",
                                "https://\xef\xbd\x8d"
                                "cp.notion.com/mcp",
                                false },
                { "https://mcp.notion.com/mcp", "https://mcp.xn--ntion-jye.com/mcp", false },
                /* escapes and backslashes in the host */
                { "https://mcp.notion.com/mcp", "https://mcp%2enotion.com/mcp", false },
                { "https://mcp.notion.com/mcp", "https://evil.test%2f@mcp.notion.com/mcp", false },
                { "https://mcp.notion.com/mcp", "https://evil.test\\@mcp.notion.com/mcp", false },
                { "https://mcp.notion.com/mcp", "https:\\\\mcp.notion.com\\mcp", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com\\.evil.test/mcp", false },
                /* port */
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com:8443/mcp", false },
                { "https://mcp.notion.com:8443/mcp", "https://mcp.notion.com/mcp", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com:0443x/mcp", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com:80/mcp", false },
                /* path: whole segments, case, escapes, dots */
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/mcpx", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/mc", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/MCP", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/x/mcp", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com//mcp", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/%6dcp", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/mcp%2fx", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/mcp%5cx", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/mcp;x", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/mcp/../admin", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/mcp/%2e%2e/admin", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/mcp/..%2fadmin", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/mcp\\..\\admin", false },
                { "https://mcp.notion.com/a/", "https://mcp.notion.com/a", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/mcp#x", false },
                { "https://mcp.notion.com/mcp", "https://mcp.notion.com/mcp\n", false },
                /* query */
                { "https://a.test/mcp?tenant=1", "https://a.test/mcp", false },
                { "https://a.test/mcp?tenant=1", "https://a.test/mcp?tenant=2", false },
                { "https://a.test/mcp?tenant=1", "https://a.test/mcp?tenant=1&tenant=2", false },
                /* nothing */
                { "", "", false },
                { NULL, "https://a.test/", false },
                { "https://a.test/", NULL, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                if (url_is_bound(rows[i].upstream, rows[i].request) != rows[i].is_bound)
                        fail_msg("%s is %sbound to %s", rows[i].request ?: "NULL",
                                        rows[i].is_bound ? "not " : "", rows[i].upstream ?: "NULL");
}

static void host_patterns_name_hosts_and_nothing_else(void **state) {
        static const char *const good[] = { "api.github.com", "*.github.com", "localhost", "10.0.0.1",
                "xn--bcher-kva.test", "a_b.test" };
        static const char *const bad[] = { "", "*", "*.", "*.com", "*.10.0.0.1", "**.github.com",
                "api.*.com", "*github.com", "API.github.com", "api.github.com:443", "api.github.com/",
                "https://api.github.com", "user@a.test", "a.test.", ".a.test", "a..test", "[::1]", "::1",
                "2130706433", "0x7f.1", "a%2e.test", "b\303\274cher.test", "a b", "a\\b" };

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                if (!url_host_pattern_is_legal(good[i]))
                        fail_msg("refused: %s", good[i]);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                if (url_host_pattern_is_legal(bad[i]))
                        fail_msg("not refused: %s", bad[i]);
}

static void request_is_for_the_listed_hosts_only(void **state) {
        char *patterns[] = { (char *)"api.github.com", (char *)"*.uploads.test", NULL };
        static const struct {
                const char *request;
                bool is_for;
        } rows[] = {
                { "https://api.github.com/user?x=1", true },
                { "https://API.GITHUB.COM:443/", true },
                { "https://eu.uploads.test/", true },
                { "https://a.b.uploads.test/", true },
                { "https://uploads.test/", false },
                { "https://xuploads.test/", false },
                { "https://github.com/", false },
                { "https://api.github.com.evil.test/", false },
                { "https://x.api.github.com/", false },
                { "https://api.github.com:8443/", false },
                { "http://api.github.com/", false },
                { "https://api.github.com@evil.test/", false },
                { "https://*.uploads.test/", false },
                { NULL, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                if (url_is_for_hosts(rows[i].request, patterns) != rows[i].is_for)
                        fail_msg("%s", rows[i].request ?: "NULL");
        assert_false(url_is_for_hosts("https://api.github.com/", NULL));
        assert_false(url_is_for_hosts("https://api.github.com/", (char *[]){ (char *)"*", NULL }));
}

static void host_port_needs_both(void **state) {
        static const char *const bad[] = { "", "a.test", "a.test:", ":1", "a.test:0", "a.test:99999",
                "[::1]", "::1:1", "a.test:1/", "a.test:1?x", "u@a.test:1", "a.test.:1", "https://a.test:1" };
        char *host = NULL;
        uint16_t port = 0;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                if (http_host_port_parse(bad[i], &host, &port) != -EINVAL)
                        fail_msg("not refused: %s", bad[i]);
        assert_null(host);

        assert_int_equal(http_host_port_parse("Local.Test:443", &host, &port), 0);
        assert_string_equal(host, "local.test");
        assert_int_equal(port, 443);
        free(host);
        assert_int_equal(http_host_port_parse("[0::1]:8443", &host, &port), 0);
        assert_string_equal(host, "::1");
        assert_int_equal(port, 8443);
        free(host);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                { "accepted-urls-have-one-form", accepted_urls_have_one_form },
                { "url-with-two-readings-refused", url_with_two_readings_refused },
                { "overlong-url-refused", overlong_url_refused },
                { "origin-compares-host-and-port", origin_compares_host_and_port },
                { "bound-is-exactly-the-upstream", bound_is_exactly_the_upstream },
                { "host-patterns-name-hosts-and-nothing-else", host_patterns_name_hosts_and_nothing_else },
                { "request-is-for-the-listed-hosts-only", request_is_for_the_listed_hosts_only },
                { "host-port-needs-both", host_port_needs_both },
        };

        return cmocka_run_group_tests_name("http-url", tests, NULL, NULL);
}
