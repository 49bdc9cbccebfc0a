/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "client/fault.h"

/* The words behind a command. */

typedef enum OptionKind {
        OPTION_FLAG, /* --yes */
        OPTION_TEXT, /* --as LABEL or --as=LABEL, once */
        OPTION_LIST, /* the same, any number of times */
} OptionKind;

typedef struct Option {
        const char *name; /* without the dashes */
        OptionKind kind;
} Option;

typedef struct GivenOption {
        const char *name;
        const char *value; /* NULL for flags; borrowed from argv */
} GivenOption;

typedef struct Arguments {
        GivenOption *given;
        size_t n_given;
        const char **words; /* what is no option; borrowed from argv */
        size_t n_words;
} Arguments;

/* The options that every command takes, and that may also stand before it. */
extern const Option global_options[];

/* Sorts argv[0 … argc) into options of the two tables (ended by a NULL name; options may be NULL) and words. "--" ends the
 * options, "-" is a word. With stops_at_word it stops before the first word and *ret_used (optional) says how many were read.
 * Unknown, doubled or valueless options and text that is not UTF-8 are usage faults. 0 or FAULT_SET. */
int arguments_parse(int argc, char **argv, const Option *options, bool stops_at_word, Arguments *ret,
                int *ret_used, Fault *fault);
void arguments_done(Arguments *a);

bool arguments_has(const Arguments *a, const char *name);
/* The value, or NULL. */
const char *arguments_value(const Arguments *a, const char *name);
/* The index-th word, or NULL. */
const char *arguments_word(const Arguments *a, size_t index);
