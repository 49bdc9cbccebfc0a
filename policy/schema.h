/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "policy/ini.h"

/* Sections as tables of keys: which exist, what they hold, where it goes. */

#define EXPECTED_MAX 160U

typedef struct KeyRule KeyRule;

/* Reads a value into the field. -EINVAL with what would have been right in expected; -ENOMEM. The old
 * content of the field is released. */
typedef int ValueFunction(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);

struct KeyRule {
        const char *key;
        ValueFunction *parse;
        size_t offset;     /* of the field in the object */
        uint64_t min, max; /* of numbers, in the field's unit */
        bool is_list;      /* a char **: may be repeated, adds up */
        bool is_required;
};

typedef struct SectionRule {
        const char *name;
        const KeyRule *keys;
        size_t n_keys;
        bool has_argument; /* [Server notion] */
} SectionRule;

/* Reads the entries of a section into object. Unknown keys, repeated scalars, bad values and missing
 * required keys are faults. -ENOMEM. */
int section_apply(const char *file, const IniSection *section, const SectionRule *rule, void *object,
                FaultList *faults);

/* The same for a section that says only what is to be different: nothing is required, and a list replaces what was there. */
int section_apply_over(const char *file, const IniSection *section, const SectionRule *rule, void *object,
                FaultList *faults);

/* The rule for a section; NULL with a fault when there is none or its argument is missing or too much
 * (without a fault for a section whose heading was faulty already). */
const SectionRule *section_find(const char *file, const IniSection *section, const SectionRule *rules,
                size_t n, FaultList *faults);

/* The candidate that a misspelt word comes close to, or NULL. Pure. */
const char *nearest_word(const char *word, const char *const *candidates, size_t n);
