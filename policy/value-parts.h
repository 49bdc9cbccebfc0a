/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "policy/schema.h"

/* What the kinds of values are made of; for value.c and service-values.c only. */

/* Says what was expected. Always -EINVAL. */
int expect(char expected[static EXPECTED_MAX], const char *text);
/* A copy of value in the char * at field, in place of what it held. -ENOMEM, and then unchanged. */
int text_set(void *field, const char *value);
/* The word's place in a table, for enumerations. -EINVAL: it is not there. */
int word_index(const char *value, const char *const *words, size_t n);
/* Adds words between blanks to the list, all or none: -EINVAL, saying what was expected, for one that is not legal or beyond LIST_MAX; -ENOMEM. */
int list_parse(const char *value, bool (*is_legal)(const char *), const char *what, char ***list,
                char expected[static EXPECTED_MAX]);
