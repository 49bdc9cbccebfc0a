/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One reader for what stands in a query and in the body of a form, so that no two places here can read the same bytes differently.
 *
 * Names are compared after decoding, a name that occurs twice is refused (RFC 6749 section 3.1 demands it of authorization responses, and no
 * form of ours needs it), and one bad escape refuses the whole. The bytes may hold a NUL: it is no character of either.
 *
 * A pure parser: no descriptor, no log, no policy. Who may call: target.c, routes-visit.c, tests. */

#include "util/encode.h"
#include "web/parameters.h"

static void free_erased(char *text) {
        if (text)
                explicit_bzero(text, strlen(text));
        free(text);
}

static void parameter_done(Parameter *p) {
        free_erased(p->name);
        free_erased(p->value);
        *p = (Parameter){};
}

void parameters_done(Parameters *p) {
        for (size_t i = 0; i < p->n; i++)
                parameter_done(&p->list[i]);
        *p = (Parameters){};
}

static int decode(const char *text, size_t n, char **ret) {
        char *decoded;
        int r;

        r = percent_decode(text, n, true, &decoded);
        if (r == -EBADMSG)
                return PARAMETERS_MALFORMED;
        if (r < 0)
                return r;
        if (!utf8_is_valid(decoded, strlen(decoded))) {
                free_erased(decoded);
                return PARAMETERS_MALFORMED;
        }
        *ret = decoded;
        return 0;
}

/* One "name=value". */
static int parse_one(Parameters *p, const char *text, size_t n) {
        const char *equals = memchr(text, '=', n);
        size_t n_name = equals ? (size_t)(equals - text) : n;
        Parameter one = {};
        int r;

        r = decode(text, n_name, &one.name);
        if (r == 0)
                r = decode(equals ? equals + 1 : "", equals ? n - n_name - 1 : 0, &one.value);
        if (r == 0 && p->n == PARAMETERS_MAX)
                r = PARAMETERS_MALFORMED;
        if (r == 0 && parameters_get(p, one.name))
                r = PARAMETERS_REPEATED;
        if (r != 0) {
                parameter_done(&one);
                return r;
        }
        p->list[p->n++] = one;
        return 0;
}

int parameters_parse(const char *text, size_t n, Parameters *ret) {
        const char *end = text + n;
        Parameters p = {};
        int r = 0;

        while (text < end && r == 0) {
                const char *ampersand = memchr(text, '&', (size_t)(end - text)) ?: end;

                if (ampersand > text)
                        r = parse_one(&p, text, (size_t)(ampersand - text));
                text = ampersand < end ? ampersand + 1 : end;
        }
        if (r != 0) {
                parameters_done(&p);
                return r;
        }
        *ret = p;
        return 0;
}

const char *parameters_get(const Parameters *p, const char *name) {
        for (size_t i = 0; i < p->n; i++)
                if (streq(p->list[i].name, name))
                        return p->list[i].value;
        return NULL;
}
