/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the kinds of values are made of. Who may call: value.c and service-values.c. */

#include <stdio.h>

#include "policy/value-parts.h"
#include "policy/value.h"

int expect(char expected[static EXPECTED_MAX], const char *text) {
        (void)snprintf(expected, EXPECTED_MAX, "%s", text);
        return -EINVAL;
}

int text_set(void *field, const char *value) {
        char **text = field, *copy = strdup(value);

        if (!copy)
                return -ENOMEM;
        free(*text);
        *text = copy;
        return 0;
}

int word_index(const char *value, const char *const *words, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (streq(value, words[i]))
                        return (int)i;
        return -EINVAL;
}

int list_parse(const char *value, bool (*is_legal)(const char *), const char *what, char ***list,
                char expected[static EXPECTED_MAX]) {
        int r;

        /* All or nothing: a line with one bad word adds none. */
        for (int is_adding = 0; is_adding < 2; is_adding++)
                for (const char *p = value + strspn(value, " \t"); *p; p += strspn(p, " \t")) {
                        size_t n = strcspn(p, " \t");
                        _cleanup_(freep) char *word = strndup(p, n);

                        if (!word)
                                return -ENOMEM;
                        if (!is_legal(word))
                                return expect(expected, what);
                        r = is_adding ? text_list_add(list, word, n) : 0;
                        if (r == -E2BIG)
                                return expect(expected, "fewer words: the list is full");
                        if (r < 0)
                                return r;
                        p += n;
                }
        return 0;
}
