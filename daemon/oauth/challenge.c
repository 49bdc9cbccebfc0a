/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* WWW-Authenticate, as servers really send it: schemes and parameters in any case and order, quoted strings with
 * escapes, several challenges behind one another in one header, parameters nobody knows. A word followed by '=' is a
 * parameter of the challenge before it, any other word begins a new one. What does not parse ends the reading: what
 * was understood until then stands. A pure function. */

#include <ctype.h>
#include <strings.h>

#include "oauth/challenge.h"

static bool is_token_character(char c) {
        return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~/", c));
}

static const char *skip_space(const char *p, bool with_commas) {
        while (*p == ' ' || *p == '\t' || (with_commas && *p == ','))
                p++;
        return p;
}

/* Copies a token or quoted string. NULL *ret: neither. */
static int read_value(const char **p, char **ret) {
        const char *q = *p;
        size_t n = 0;
        char *value;

        value = malloc(strlen(q) + 1);
        if (!value)
                return -ENOMEM;
        if (*q == '"') {
                for (q++; *q && *q != '"'; q++) {
                        if (*q == '\\' && q[1])
                                q++;
                        value[n++] = *q;
                }
                if (*q != '"') {
                        free(value);
                        *ret = NULL;
                        return 0;
                }
                q++;
        } else
                for (; is_token_character(*q) || *q == ':' || *q == '='; q++)
                        value[n++] = *q;
        value[n] = 0;
        *p = q;
        *ret = value;
        return 0;
}

static char **challenge_field(Challenge *c, const char *name, size_t n) {
        if (n == strlen("resource_metadata") && strncasecmp(name, "resource_metadata", n) == 0)
                return &c->resource_metadata;
        if (n == strlen("scope") && strncasecmp(name, "scope", n) == 0)
                return &c->scope;
        if (n == strlen("error") && strncasecmp(name, "error", n) == 0)
                return &c->error;
        return NULL;
}

int challenge_parse(const char *value, Challenge *challenge) {
        bool is_bearer = false;
        const char *p = value;

        for (;;) {
                p = skip_space(p, true);
                const char *word = p;
                while (is_token_character(*p))
                        p++;
                size_t n = (size_t)(p - word);
                if (n == 0)
                        return 0;

                const char *after = skip_space(p, false);
                if (*after != '=') {
                        is_bearer = n == strlen("Bearer") && strncasecmp(word, "Bearer", n) == 0;
                        continue;
                }
                p = skip_space(after + 1, false);
                _cleanup_(freep) char *text = NULL;
                if (read_value(&p, &text) < 0)
                        return -ENOMEM;
                if (!text)
                        return 0;
                char **field = is_bearer ? challenge_field(challenge, word, n) : NULL;
                /* An empty value says nothing; it is also what the padding of a token68 looks like from here. */
                if (field && !*field && *text)
                        *field = TAKE_PTR(text);
        }
}

void challenge_done(Challenge *challenge) {
        free(challenge->resource_metadata);
        free(challenge->scope);
        free(challenge->error);
        *challenge = (Challenge){};
}
