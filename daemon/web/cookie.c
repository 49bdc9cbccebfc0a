/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reads the Cookie header.
 *
 * Browsers send "name=value; name=value" (RFC 6265 section 4.2.1), with whatever else lives on this host name in between, so foreign pairs are
 * stepped over whatever they look like. Ours has to be there exactly once: a second one of the same name was put there by somebody who wants us
 * to take the wrong one, and then none counts. Names are compared byte for byte, as browsers do where they enforce the prefix.
 *
 * A pure parser: no descriptor, no log. Who may call: routes-visit.c, tests. */

#include "web/cookie.h"

bool cookie_is_legal(const char *value) {
        static const char admitted[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        size_t n = strlen(value);

        return n > 0 && n <= COOKIE_VALUE_MAX && strspn(value, admitted) == n;
}

static bool is_blank(char c) {
        return c == ' ' || c == '\t';
}

int cookie_find(const char *header, char **ret) {
        static const char name[] = COOKIE_NAME;
        const char *found = NULL;
        size_t n_found = 0;

        for (const char *p = header; *p;) {
                const char *end = p + strcspn(p, ";"), *next = *end ? end + 1 : end;

                while (p < end && is_blank(*p))
                        p++;
                while (end > p && is_blank(end[-1]))
                        end--;
                if ((size_t)(end - p) >= sizeof(name) && memcmp(p, name, sizeof(name) - 1) == 0 &&
                                p[sizeof(name) - 1] == '=') {
                        if (found)
                                return COOKIE_UNCLEAR;
                        found = p + sizeof(name);
                        n_found = (size_t)(end - found);
                }
                p = next;
        }
        if (!found)
                return COOKIE_ABSENT;
        char *value = strndup(found, n_found);
        if (!value)
                return -ENOMEM;
        if (!cookie_is_legal(value)) {
                explicit_bzero(value, strlen(value));
                free(value);
                return COOKIE_UNCLEAR;
        }
        *ret = value;
        return 0;
}
