/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the URL parser and what is decided with it: two lines, an upstream and a request.
 *
 * Properties: what parses has one form (its own pieces put together parse to the same); a request that is bound to an upstream has
 * its origin and lies at or below its path, neither has a user, a fragment or a dot segment, and whatever is bound to the request is bound
 * to the upstream too; a host pattern that is legal matches the host it names, and no other host that does not end like it. */

#include <stdio.h>

#include "util/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *property) {
        if (!holds) {
                (void)fprintf(stderr, "violated: %s\n", property);
                abort();
        }
}

static void check_form(const HttpUrl *url) {
        _cleanup_(freep) char *origin = http_url_origin(url), *text = NULL;
        _cleanup_(http_url_done) HttpUrl again = {};

        check(origin && asprintf(&text, "%s%s%s%s", origin, url->path, url->query ? "?" : "",
                                        url->query ?: "") > 0,
                        "memory");
        if (strlen(text) > 2048)
                return;
        check(http_url_parse(text, &again) == 0, "its one form parses");
        check(http_url_same_origin(url, &again) && streq(url->path, again.path) &&
                                        streq_ptr(url->query, again.query),
                        "its one form is the same");
        check(url->path[0] == '/' && url->port > 0 && !strpbrk(url->host, "@%/\\ ?#"), "no second reading");
        check(!strstr(url->path, "/../") && !strstr(url->path, "/./") && !strchr(url->path, '#'),
                        "no dot segments");
}

static void check_bound(const char *upstream, const char *request) {
        _cleanup_(http_url_done) HttpUrl a = {}, b = {};

        if (!url_is_bound(upstream, request))
                return;
        check(http_url_parse(upstream, &a) == 0 && http_url_parse(request, &b) == 0,
                        "only what parses is bound");
        check(http_url_same_origin(&a, &b), "bound to the origin");
        check(strncmp(a.path, b.path, strlen(a.path)) == 0, "bound to the path");
        check(url_is_bound(upstream, upstream) && url_is_bound(request, request), "to itself");
        if (!a.query && url_is_bound(request, upstream))
                check(streq(a.path, b.path), "to each other only when the same");
}

static void check_pattern(const char *pattern, const char *request) {
        char *patterns[] = { (char *)(uintptr_t)pattern, NULL };
        _cleanup_(http_url_done) HttpUrl url = {};

        if (!url_is_for_hosts(request, patterns))
                return;
        check(url_host_pattern_is_legal(pattern), "only a legal pattern matches");
        check(http_url_parse(request, &url) == 0 && url.port == 443, "only what parses matches");
        if (pattern[0] == '*') {
                size_t n = strlen(url.host), m = strlen(pattern) - 1;

                check(n > m && streq(url.host + n - m, pattern + 1), "below the domain");
        } else
                check(streq(url.host, pattern), "the host itself");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(freep) char *text = strndup((const char *)data, size);
        _cleanup_(http_url_done) HttpUrl url = {};
        char *request;

        check(text != NULL, "memory");
        request = strchr(text, '\n');
        if (request)
                *request++ = 0;
        else
                request = text;
        if (http_url_parse(text, &url) == 0)
                check_form(&url);
        check_bound(text, request);
        check_bound(request, text);
        check_pattern(text, request);
        return 0;
}
