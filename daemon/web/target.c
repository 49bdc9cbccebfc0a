/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The request target, parsed by ourselves from the bytes that came in.
 *
 * libmicrohttpd would hand out decoded arguments, but it keeps malformed escapes as they are and lets the caller
 * choose among repeated names; with authorization responses both are ways to make two readers see two things
 * (RFC 6749 section 3.1 forbids repetition, names are compared after decoding here). A callback with one bad
 * parameter is refused as a whole. Unknown parameters are read, counted and then ignored, as RFC 6749 section
 * 4.1.2 asks.
 *
 * A pure parser: no descriptor, no log, no policy. Who may call: routes.c, and its tests. */

#include "util/encode.h"
#include "web/target.h"

static void free_erased(char *text) {
        if (text)
                explicit_bzero(text, strlen(text));
        free(text);
}

void target_done(Target *t) {
        free_erased(t->segment);
        for (size_t i = 0; i < t->n_parameters; i++) {
                free_erased(t->parameters[i].name);
                free_erased(t->parameters[i].value);
        }
        *t = (Target){};
}

static int decode_text(const char *text, size_t n, char **ret) {
        char *decoded;
        int r;

        r = percent_decode(text, n, true, &decoded);
        if (r == -EBADMSG)
                return TARGET_MALFORMED;
        if (r < 0)
                return r;
        if (!utf8_is_valid(decoded, strlen(decoded))) {
                free_erased(decoded);
                return TARGET_MALFORMED;
        }
        *ret = decoded;
        return 0;
}

/* One "name=value" of n bytes. */
static int parameter_parse(Target *t, const char *text, size_t n) {
        const char *equals = memchr(text, '=', n);
        size_t n_name = equals ? (size_t)(equals - text) : n;
        TargetParameter p = {};
        int r;

        r = decode_text(text, n_name, &p.name);
        if (r == 0)
                r = decode_text(equals ? equals + 1 : "", equals ? n - n_name - 1 : 0, &p.value);
        if (r == 0 && t->n_parameters == TARGET_PARAMETERS_MAX)
                r = TARGET_MALFORMED;
        if (r == 0 && target_get(t, p.name))
                r = TARGET_REPEATED;
        if (r != 0) {
                free_erased(p.name);
                free_erased(p.value);
                return r;
        }
        t->parameters[t->n_parameters++] = p;
        return 0;
}

static int query_parse(Target *t, const char *query) {
        for (const char *p = query; *p;) {
                size_t n = strcspn(p, "&");
                int r = n > 0 ? parameter_parse(t, p, n) : 0;

                if (r != 0)
                        return r;
                p += n;
                if (*p == '&')
                        p++;
        }
        return 0;
}

static bool is_segment(const char *text, size_t n) {
        static const char admitted[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";

        return n > 0 && n <= TARGET_SEGMENT_MAX && strspn(text, admitted) >= n && text[0] != '.';
}

static int path_parse(Target *t, const char *path, size_t n) {
        static const struct {
                const char *prefix;
                TargetRoute route;
        } routes[] = {
                { "/connect/", TARGET_CONNECT },
                { "/callback/", TARGET_CALLBACK },
        };

        if (n == 1 && path[0] == '/') {
                t->route = TARGET_ROOT;
                return 0;
        }
        for (size_t i = 0; i < ELEMENTSOF(routes); i++) {
                size_t n_prefix = strlen(routes[i].prefix);

                if (n < n_prefix || memcmp(path, routes[i].prefix, n_prefix) != 0)
                        continue;
                if (!is_segment(path + n_prefix, n - n_prefix))
                        return TARGET_UNKNOWN;
                t->route = routes[i].route;
                t->segment = strndup(path + n_prefix, n - n_prefix);
                return t->segment ? 0 : -ENOMEM;
        }
        return TARGET_UNKNOWN;
}

/* What RFC 3986 admits in path and query, plus what browsers leave unescaped in queries. */
static bool is_target_text(const char *text) {
        for (const char *p = text; *p; p++)
                if (*p <= ' ' || *p > '~' || *p == '#')
                        return false;
        return true;
}

int target_parse(const char *text, Target *ret) {
        Target t = {};
        const char *query;
        int r;

        if (strnlen(text, TARGET_MAX + 1) > TARGET_MAX)
                return TARGET_TOO_LONG;
        if (text[0] != '/' || !is_target_text(text))
                return TARGET_MALFORMED;
        query = strchr(text, '?');
        r = path_parse(&t, text, query ? (size_t)(query - text) : strlen(text));
        if (r == 0 && query)
                r = query_parse(&t, query + 1);
        if (r != 0) {
                target_done(&t);
                return r;
        }
        *ret = t;
        return 0;
}

const char *target_get(const Target *t, const char *name) {
        for (size_t i = 0; i < t->n_parameters; i++)
                if (streq(t->parameters[i].name, name))
                        return t->parameters[i].value;
        return NULL;
}
