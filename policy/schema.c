/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Applying tables of keys to sections that were read.
 *
 * One table per section is the whole truth about its keys: the reader, the faults' texts and the map of
 * defaults in the tests follow from it. A repeated scalar is a fault rather than "the last one wins",
 * because whoever wrote the first line believes it is in force. A misspelt key is a fault with the nearest
 * known one, since ignoring "Denny=" would grant.
 *
 * Invariant: faults name keys, never values. Who may call: the readers of this folder. */

#include <assert.h>
#include <stdio.h>
#include <strings.h>

#include "policy/schema.h"
#include "policy/value.h"

#define WORD_MAX 40U

/* Levenshtein's distance without regard to case, bounded words. */
static size_t word_distance(const char *a, const char *b) {
        size_t row[WORD_MAX + 1], n_a = strlen(a), n_b = strlen(b);

        if (n_a > WORD_MAX || n_b > WORD_MAX)
                return SIZE_MAX;
        for (size_t j = 0; j <= n_b; j++)
                row[j] = j;
        for (size_t i = 1; i <= n_a; i++) {
                size_t diagonal = row[0];

                row[0] = i;
                for (size_t j = 1; j <= n_b; j++) {
                        size_t change = diagonal + (strncasecmp(a + i - 1, b + j - 1, 1) != 0);

                        diagonal = row[j];
                        row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
                }
        }
        return row[n_b];
}

const char *nearest_word(const char *word, const char *const *candidates, size_t n) {
        const char *nearest = NULL;
        size_t limit = MAX(strlen(word) / 3, (size_t)1), best = limit + 1;

        for (size_t i = 0; i < n; i++) {
                size_t distance = word_distance(word, candidates[i]);

                if (distance < best) {
                        best = distance;
                        nearest = candidates[i];
                }
        }
        return nearest;
}

/* "A B C" of n words that start `stride` bytes apart. */
static void words_join(const char *const *words, size_t n, char *text, size_t size) {
        size_t used = 0;

        text[0] = 0;
        for (size_t i = 0; i < n; i++) {
                int k = snprintf(text + used, size - used, "%s%s", i > 0 ? " " : "", words[i]);

                if (k < 0 || (size_t)k >= size - used)
                        return;
                used += (size_t)k;
        }
}

#define KEYS_MAX   96U
#define KEYS_SHOWN 24U /* more are no help in one line */

static void fault_unknown_key(const char *file, const IniSection *section, const IniEntry *entry,
                const SectionRule *rule, FaultList *faults) {
        const char *keys[KEYS_MAX];
        char all[512];
        size_t n = rule->n_keys;

        assert(n <= KEYS_MAX);
        for (size_t i = 0; i < n; i++)
                keys[i] = rule->keys[i].key;
        const char *nearest = nearest_word(entry->key, keys, n);
        if (nearest) {
                fault_add(faults, file, entry->line, "unknown key '%s' in [%s], did you mean '%s'?",
                                entry->key, section->name, nearest);
                return;
        }
        if (n > KEYS_SHOWN) {
                fault_add(faults, file, entry->line, "unknown key '%s' in [%s], vaultd.conf(5) has them all",
                                entry->key, section->name);
                return;
        }
        words_join(keys, n, all, sizeof(all));
        fault_add(faults, file, entry->line, "unknown key '%s' in [%s], expected one of %s", entry->key,
                        section->name, all);
}

/* The earlier entry of the same key, or NULL. */
static const IniEntry *entry_before(const IniSection *section, size_t index) {
        for (size_t i = 0; i < index; i++)
                if (streq(section->entries[i].key, section->entries[index].key))
                        return &section->entries[i];
        return NULL;
}

static const KeyRule *key_find(const SectionRule *rule, const char *key) {
        for (size_t i = 0; i < rule->n_keys; i++)
                if (streq(rule->keys[i].key, key))
                        return &rule->keys[i];
        return NULL;
}

static int entry_apply(const char *file, const IniSection *section, size_t index, const SectionRule *rule,
                void *object, FaultList *faults) {
        const IniEntry *entry = &section->entries[index];
        const KeyRule *key = key_find(rule, entry->key);
        char expected[EXPECTED_MAX] = "another value";
        int r;

        if (!key) {
                fault_unknown_key(file, section, entry, rule, faults);
                return 0;
        }
        const IniEntry *before = key->is_list ? NULL : entry_before(section, index);
        if (before) {
                fault_add(faults, file, entry->line, "%s= appears twice, first in line %u", entry->key,
                                before->line);
                return 0;
        }
        r = key->parse(key, entry->value, (uint8_t *)object + key->offset, expected);
        if (r == -EINVAL) {
                fault_add(faults, file, entry->line, "%s= expects %s", entry->key, expected);
                return 0;
        }
        return r;
}

static int entries_apply(const char *file, const IniSection *section, const SectionRule *rule, void *object,
                FaultList *faults) {
        int r;

        for (size_t i = 0; i < section->n_entries; i++) {
                r = entry_apply(file, section, i, rule, object, faults);
                if (r < 0)
                        return r;
        }
        return 0;
}

int section_apply_over(const char *file, const IniSection *section, const SectionRule *rule, void *object,
                FaultList *faults) {
        for (size_t i = 0; i < section->n_entries; i++) {
                const KeyRule *key = key_find(rule, section->entries[i].key);

                if (!key || !key->is_list)
                        continue;
                char ***list = (char ***)((uint8_t *)object + key->offset);
                text_list_free(*list);
                *list = NULL;
        }
        return entries_apply(file, section, rule, object, faults);
}

int section_apply(const char *file, const IniSection *section, const SectionRule *rule, void *object,
                FaultList *faults) {
        int r;

        r = entries_apply(file, section, rule, object, faults);
        if (r < 0)
                return r;
        for (size_t i = 0; i < rule->n_keys; i++) {
                bool is_there = !rule->keys[i].is_required;

                for (size_t k = 0; k < section->n_entries && !is_there; k++)
                        is_there = streq(section->entries[k].key, rule->keys[i].key);
                if (!is_there)
                        fault_add(faults, file, section->line, "[%s] lacks %s=", section->name,
                                        rule->keys[i].key);
        }
        return 0;
}

const SectionRule *section_find(const char *file, const IniSection *section, const SectionRule *rules,
                size_t n, FaultList *faults) {
        const char *names[KEYS_MAX];
        char all[512];

        if (!section->name)
                return NULL;
        for (size_t i = 0; i < n; i++) {
                if (!streq(rules[i].name, section->name))
                        continue;
                if (rules[i].has_argument == !!section->argument)
                        return &rules[i];
                fault_add(faults, file, section->line,
                                rules[i].has_argument ? "[%s] needs a name: [%s name]"
                                                      : "[%s] takes no name, expected [%s]",
                                section->name, section->name);
                return NULL;
        }
        for (size_t i = 0; i < MIN(n, (size_t)KEYS_MAX); i++)
                names[i] = rules[i].name;
        words_join(names, MIN(n, (size_t)KEYS_MAX), all, sizeof(all));
        fault_add(faults, file, section->line, "unknown section [%s], expected one of %s", section->name,
                        all);
        return NULL;
}
