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

#include "web/target.h"

void target_done(Target *t) {
        if (t->segment)
                explicit_bzero(t->segment, strlen(t->segment));
        free(t->segment);
        parameters_done(&t->parameters);
        *t = (Target){};
}

static int query_parse(Target *t, const char *query) {
        int r = parameters_parse(query, strlen(query), &t->parameters);

        return r == PARAMETERS_MALFORMED ? TARGET_MALFORMED : r == PARAMETERS_REPEATED ? TARGET_REPEATED : r;
}

static bool is_segment(const char *text, size_t n) {
        static const char admitted[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";

        return n > 0 && n <= TARGET_SEGMENT_MAX && strspn(text, admitted) >= n && text[0] != '.';
}

static int path_parse(Target *t, const char *path, size_t n) {
        static const struct {
                const char *prefix;
                TargetRoute route;
                bool has_segment;
        } routes[] = {
                { "/", TARGET_ROOT, false },
                { "/connect/", TARGET_CONNECT, true },
                { "/callback/", TARGET_CALLBACK, true },
                { "/client/", TARGET_CLIENT, true },
                { "/open/", TARGET_OPEN, true },
                { "/begin", TARGET_BEGIN, false },
                { "/offer", TARGET_OFFER, false },
                { "/leave", TARGET_LEAVE, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(routes); i++) {
                size_t n_prefix = strlen(routes[i].prefix);

                if (n < n_prefix || memcmp(path, routes[i].prefix, n_prefix) != 0 ||
                                (n > n_prefix && !routes[i].has_segment))
                        continue;
                t->route = routes[i].route;
                if (!routes[i].has_segment)
                        return 0;
                if (!is_segment(path + n_prefix, n - n_prefix))
                        return TARGET_UNKNOWN;
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
        return parameters_get(&t->parameters, name);
}
