/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Options and words of one command line.
 *
 * Not getopt_long(): commands want their faults as one JSON document when --json stands anywhere, abbreviations would make
 * every later option a change of meaning, and its messages go to stderr by themselves. Long options only, `--name VALUE` or
 * `--name=VALUE`; a separate value may not begin with "--", so that a forgotten value is a fault instead of eating the next
 * option (write --name=--value for such a text). All texts are borrowed from argv. */

#include "client/arguments.h"
#include "util/encode.h"

const Option global_options[] = {
        { "json", OPTION_FLAG },
        { "socket", OPTION_TEXT },
        { "help", OPTION_FLAG },
        { "version", OPTION_FLAG },
        {},
};

void arguments_done(Arguments *a) {
        free(a->given);
        free(a->words);
        *a = (Arguments){};
}

bool arguments_has(const Arguments *a, const char *name) {
        for (size_t i = 0; i < a->n_given; i++)
                if (streq(a->given[i].name, name))
                        return true;
        return false;
}

const char *arguments_value(const Arguments *a, const char *name) {
        for (size_t i = 0; i < a->n_given; i++)
                if (streq(a->given[i].name, name))
                        return a->given[i].value;
        return NULL;
}

const char *arguments_word(const Arguments *a, size_t index) {
        return index < a->n_words ? a->words[index] : NULL;
}

static int usage_fault(Fault *f, const char *what, const char *text) {
        return fault_set(f, EXIT_CODE_USAGE, "io.vaultd.client.Usage", NULL, "%s: %s", what, text);
}

static const Option *option_find(const Option *table, const char *name, size_t n) {
        for (const Option *o = table; o && o->name; o++)
                if (strlen(o->name) == n && memcmp(o->name, name, n) == 0)
                        return o;
        return NULL;
}

/* Reads the option at argv[0]; *ret_used is 1, or 2 when its value stood apart. */
static int option_parse(
                int argc, char **argv, const Option *options, Arguments *a, int *ret_used, Fault *fault) {
        const char *name = argv[0] + 2, *equals = strchr(name, '='), *value = NULL;
        size_t n = equals ? (size_t)(equals - name) : strlen(name);
        const Option *option = option_find(global_options, name, n) ?: option_find(options, name, n);

        *ret_used = 1;
        if (!option)
                return usage_fault(fault, "Unknown option", argv[0]);
        if (option->kind == OPTION_FLAG) {
                if (equals)
                        return usage_fault(fault, "Option takes no value", argv[0]);
        } else if (equals)
                value = equals + 1;
        else if (argc > 1 && !startswith(argv[1], "--")) {
                value = argv[1];
                *ret_used = 2;
        } else
                return usage_fault(fault, "Option needs a value", argv[0]);
        if (option->kind == OPTION_TEXT && arguments_has(a, option->name))
                return usage_fault(fault, "Option is given twice", argv[0]);
        a->given[a->n_given++] = (GivenOption){ option->name, value };
        return 0;
}

int arguments_parse(int argc, char **argv, const Option *options, bool stops_at_word, Arguments *ret,
                int *ret_used, Fault *fault) {
        _cleanup_(arguments_done) Arguments a = {
                .given = calloc((size_t)argc + 1, sizeof(GivenOption)),
                .words = calloc((size_t)argc + 1, sizeof(char *)),
        };
        bool is_past_options = false;
        int i, r, used;

        if (!a.given || !a.words)
                return fault_set_memory(fault);
        for (i = 0; i < argc; i += used) {
                used = 1;
                if (!utf8_is_valid(argv[i], strlen(argv[i])))
                        return usage_fault(fault, "Not valid UTF-8", argv[i]);
                if (!is_past_options && streq(argv[i], "--"))
                        is_past_options = true;
                else if (!is_past_options && startswith(argv[i], "--")) {
                        r = option_parse(argc - i, argv + i, options, &a, &used, fault);
                        if (r < 0)
                                return r;
                        if (used == 2 && !utf8_is_valid(argv[i + 1], strlen(argv[i + 1])))
                                return usage_fault(fault, "Not valid UTF-8", argv[i + 1]);
                } else if (!is_past_options && argv[i][0] == '-' && argv[i][1])
                        return usage_fault(fault, "Unknown option", argv[i]);
                else if (stops_at_word)
                        break;
                else
                        a.words[a.n_words++] = argv[i];
        }
        if (ret_used)
                *ret_used = i;
        *ret = a;
        a = (Arguments){};
        return 0;
}
