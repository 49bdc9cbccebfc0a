/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* URLs, read by libcurl and nobody else.
 *
 * Why libcurl's parser: it also reads the URL when the request is made, so what was checked is what is
 * contacted (two parsers that disagree about one byte are how look-alike hosts get through). Why more
 * checks before and after: libcurl is lenient where a credential is bound to a URL. It resolves dot
 * segments, decodes escapes in hosts, takes "0x7f.1" for an address; each of these gives two texts for one
 * target, or one text that the server reads otherwise. So: only bytes of RFC 3986, no dot segments in any
 * spelling, host in its final form or refused.
 *
 * Invariants: a parsed HttpUrl has no userinfo and no fragment, its host holds [a-z0-9._-] or is an IPv6
 * address, its path begins with "/". Pure functions; any thread. */

#include <arpa/inet.h>
#include <assert.h>
#include <curl/curl.h>
#include <stdio.h>

#include "util/encode.h"
#include "util/url.h"

#define URL_SIZE_MAX  2048U
#define HOST_SIZE_MAX 253U /* RFC 1035 section 2.3.4 */

static void url_handle_freep(CURLU **u) {
        curl_url_cleanup(*u);
}

static void curl_textp(char **text) {
        curl_free(*text);
}

/* RFC 3986 section 2: unreserved, gen-delims, sub-delims and '%'. Excludes the fragment's '#'. */
static bool url_byte_is_legal(char c) {
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
                return true;
        return c != 0 && strchr("-._~:/?[]@!$&'()*+,;=%", c);
}

/* A text that is legal byte by byte, escapes whole, no NUL escaped. */
static bool url_bytes_are_legal(const char *text) {
        _cleanup_(freep) char *decoded = NULL;
        size_t n = strnlen(text, URL_SIZE_MAX + 1);

        if (n > URL_SIZE_MAX)
                return false;
        for (size_t i = 0; i < n; i++)
                if (!url_byte_is_legal(text[i]))
                        return false;
        return percent_decode(text, n, false, &decoded) >= 0;
}

/* Whether some server could take a part of the path for "." or "..": after decoding, and with '\' as a
 * separator. */
static bool path_has_dot_segment(const char *path) {
        _cleanup_(freep) char *decoded = NULL;

        if (percent_decode(path, strlen(path), false, &decoded) < 0)
                return true;
        for (const char *p = decoded; *p;) {
                size_t n = strcspn(p, "/\\");

                if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
                        return true;
                p += n;
                if (*p)
                        p++;
        }
        return false;
}

static bool host_is_name(const char *host) {
        size_t n = strlen(host);

        if (n == 0 || n > HOST_SIZE_MAX || host[0] == '.' || host[n - 1] == '.' || strstr(host, ".."))
                return false;
        return strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == n;
}

/* The host in its one form: lower case; an IPv6 address without brackets, as inet_ntop(3) writes it. */
static int host_normalize(const char *host, char **ret) {
        _cleanup_(freep) char *copy = NULL;
        size_t n = strlen(host);

        copy = n > 2 && host[0] == '[' && host[n - 1] == ']' ? strndup(host + 1, n - 2) : strdup(host);
        if (!copy)
                return -ENOMEM;
        if (host[0] == '[') {
                struct in6_addr address;
                char text[INET6_ADDRSTRLEN];

                if (inet_pton(AF_INET6, copy, &address) != 1 ||
                                !inet_ntop(AF_INET6, &address, text, sizeof(text)))
                        return -EINVAL;
                *ret = strdup(text);
                return *ret ? 0 : -ENOMEM;
        }
        for (char *p = copy; *p; p++)
                if (*p >= 'A' && *p <= 'Z')
                        *p = (char)(*p - 'A' + 'a');
        if (!host_is_name(copy))
                return -EINVAL;
        *ret = TAKE_PTR(copy);
        return 0;
}

/* One part; a part that is absent gives NULL. */
static int url_part(CURLU *u, CURLUPart part, char **ret) {
        _cleanup_(curl_textp) char *text = NULL;
        CURLUcode code = curl_url_get(u, part, &text, part == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0);

        if (code == CURLUE_OUT_OF_MEMORY)
                return -ENOMEM;
        if (code != CURLUE_OK) {
                *ret = NULL;
                return 0;
        }
        *ret = strdup(text);
        return *ret ? 0 : -ENOMEM;
}

static int url_take_apart(CURLU *u, HttpUrl *url) {
        _cleanup_(freep) char *host = NULL, *port = NULL, *user = NULL, *password = NULL, *fragment = NULL;
        int r;

        if ((r = url_part(u, CURLUPART_SCHEME, &url->scheme)) < 0 ||
                        (r = url_part(u, CURLUPART_HOST, &host)) < 0 ||
                        (r = url_part(u, CURLUPART_PORT, &port)) < 0 ||
                        (r = url_part(u, CURLUPART_PATH, &url->path)) < 0 ||
                        (r = url_part(u, CURLUPART_QUERY, &url->query)) < 0 ||
                        (r = url_part(u, CURLUPART_USER, &user)) < 0 ||
                        (r = url_part(u, CURLUPART_PASSWORD, &password)) < 0 ||
                        (r = url_part(u, CURLUPART_FRAGMENT, &fragment)) < 0)
                return r;

        if (!url->scheme || !streq(url->scheme, "https") || !host || !port || !url->path ||
                        url->path[0] != '/')
                return -EINVAL;
        if (user || password || fragment || path_has_dot_segment(url->path))
                return -EINVAL;

        unsigned long number = strtoul(port, NULL, 10); /* libcurl admits digits up to 65535 */
        if (number == 0 || number > UINT16_MAX)
                return -EINVAL;
        url->port = (uint16_t)number;
        return host_normalize(host, &url->host);
}

int http_url_parse(const char *text, HttpUrl *ret) {
        _cleanup_(url_handle_freep) CURLU *u = NULL;
        _cleanup_(http_url_done) HttpUrl url = {};
        int r;

        /* The authority has no '%' and no '@' at all: neither escapes nor userinfo, even an empty one. */
        if (!url_bytes_are_legal(text) || strncasecmp(text, "https://", 8) != 0)
                return -EINVAL;
        size_t authority = strcspn(text + 8, "/?");
        if (authority == 0 || memchr(text + 8, '%', authority) || memchr(text + 8, '@', authority) ||
                        text[8 + authority - 1] == ':')
                return -EINVAL;

        u = curl_url();
        if (!u)
                return -ENOMEM;
        CURLUcode code = curl_url_set(u, CURLUPART_URL, text, CURLU_DISALLOW_USER | CURLU_PATH_AS_IS);
        if (code != CURLUE_OK)
                return code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
        r = url_take_apart(u, &url);
        if (r < 0)
                return r;

        *ret = url;
        url = (HttpUrl){};
        return 0;
}

void http_url_done(HttpUrl *url) {
        free(url->scheme);
        free(url->host);
        free(url->path);
        free(url->query);
        *url = (HttpUrl){};
}

char *http_url_origin(const HttpUrl *url) {
        bool is_ipv6 = strchr(url->host, ':');
        char port[sizeof(":65535")] = "";
        char *origin;

        if (url->port != 443)
                (void)snprintf(port, sizeof(port), ":%u", url->port);
        if (asprintf(&origin, "%s://%s%s%s%s", url->scheme, is_ipv6 ? "[" : "", url->host,
                            is_ipv6 ? "]" : "", port) < 0)
                return NULL;
        return origin;
}

bool http_url_same_origin(const HttpUrl *a, const HttpUrl *b) {
        return streq(a->scheme, b->scheme) && streq(a->host, b->host) && a->port == b->port;
}

/* Below a path is what continues it behind a slash; "/" has everything below it. */
static bool path_is_below(const char *base, const char *path) {
        const char *rest = startswith(path, base);

        return rest && (*rest == 0 || *rest == '/' || base[strlen(base) - 1] == '/');
}

bool url_is_bound(const char *upstream, const char *request) {
        _cleanup_(http_url_done) HttpUrl bound = {}, asked = {};

        if (!upstream || !request || http_url_parse(upstream, &bound) < 0 ||
                        http_url_parse(request, &asked) < 0)
                return false;
        return http_url_same_origin(&bound, &asked) && path_is_below(bound.path, asked.path) &&
               (!bound.query || streq_ptr(bound.query, asked.query));
}

bool url_is_origin(const char *text) {
        _cleanup_(http_url_done) HttpUrl url = {};

        return http_url_parse(text, &url) >= 0 && streq(url.path, "/") && !url.query;
}

bool url_host_pattern_is_legal(const char *pattern) {
        const char *name = startswith(pattern, "*.") ?: pattern;
        _cleanup_(http_url_done) HttpUrl url = {};
        _cleanup_(freep) char *text = NULL;
        bool is_legal;

        if (!host_is_name(name) || asprintf(&text, "https://%s/", name) < 0) {
                text = NULL;
                return false;
        }
        /* One form only: what the parser would spell otherwise ("0x7f.1", "2130706433") is another host than it says. */
        is_legal = http_url_parse(text, &url) >= 0 && streq(url.host, name);
        if (is_legal && name != pattern) {
                struct in_addr address;

                is_legal = strchr(name, '.') && inet_pton(AF_INET, name, &address) != 1;
        }
        return is_legal;
}

static bool host_matches(const char *host, const char *pattern) {
        const char *tail = startswith(pattern, "*");
        size_t n = strlen(host), m = tail ? strlen(tail) : 0;

        if (!tail)
                return streq(host, pattern);
        return n > m && streq(host + n - m, tail);
}

bool url_is_for_hosts(const char *request, char *const *patterns) {
        _cleanup_(http_url_done) HttpUrl url = {};

        if (!request || http_url_parse(request, &url) < 0 || url.port != 443)
                return false;
        for (char *const *p = patterns; p && *p; p++)
                if (url_host_pattern_is_legal(*p) && host_matches(url.host, *p))
                        return true;
        return false;
}

int http_host_port_parse(const char *text, char **ret_host, uint16_t *ret_port) {
        _cleanup_(http_url_done) HttpUrl url = {};
        _cleanup_(freep) char *whole = NULL;
        const char *colon = strrchr(text, ':');
        int r;

        if (!colon || strpbrk(text, "/?") || strchr(colon, ']'))
                return -EINVAL;
        if (asprintf(&whole, "https://%s", text) < 0)
                return -ENOMEM;
        r = http_url_parse(whole, &url);
        if (r < 0)
                return r;
        *ret_host = TAKE_PTR(url.host);
        *ret_port = url.port;
        return 0;
}

int http_proxy_parse(const char *text, char **ret_host, uint16_t *ret_port) {
        const char *rest = startswith(text, "http://") ?: startswith(text, "https://");

        return rest ? http_host_port_parse(rest, ret_host, ret_port) : -EINVAL;
}
