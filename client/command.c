/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The table of commands and how a name is found in it.
 *
 * A new command is a file cmd-NAME.c with one Command and a row here; parsing, --help, --json and the check of its number of
 * words come with the row. Names of two words ("session start") are ordinary rows, so a group needs no code of its own.
 * A mistyped name gets the nearest one by edit distance; nothing is ever run by guess. */

#include "client/command.h"

const Command *const commands[] = {
        &command_status,
        &command_whoami,
        &command_services,
        &command_connect,
        &command_claim,
        &command_check,
        &command_disconnect,
        &command_web,
        &command_token,
        &command_session_start,
        &command_session_list,
        &command_session_show,
        &command_doctor,
        &command_admin_init,
        &command_admin_users,
        &command_admin_lock,
        &command_admin_unlock,
        &command_admin_unseal,
        &command_admin_vault,
        &command_admin_rekey,
        &command_admin_backup,
        &command_admin_restore,
        &command_admin_accept,
        &command_admin_revoke,
        NULL,
};

/* The second word of a name, or NULL. */
static const char *second_word(const char *name) {
        const char *blank = strchr(name, ' ');

        return blank ? blank + 1 : NULL;
}

static bool first_word_is(const char *name, const char *word) {
        size_t n = strcspn(name, " ");

        return strlen(word) == n && memcmp(name, word, n) == 0;
}

const Command *command_find(int argc, char **argv, int *ret_n_words) {
        for (size_t i = 0; argc > 0 && commands[i]; i++) {
                const char *second = second_word(commands[i]->name);

                if (!first_word_is(commands[i]->name, argv[0]))
                        continue;
                if (second && (argc < 2 || !streq(second, argv[1])))
                        continue;
                *ret_n_words = second ? 2 : 1;
                return commands[i];
        }
        return NULL;
}

bool command_is_group(const char *word) {
        for (size_t i = 0; commands[i]; i++)
                if (second_word(commands[i]->name) && first_word_is(commands[i]->name, word))
                        return true;
        return false;
}

#define DISTANCE_MAX 40

/* Levenshtein's distance of two short words; long ones count as far. */
static size_t edit_distance(const char *a, const char *b) {
        size_t n = strlen(a), m = strlen(b), row[DISTANCE_MAX + 1];

        if (n > DISTANCE_MAX || m > DISTANCE_MAX)
                return SIZE_MAX;
        for (size_t j = 0; j <= m; j++)
                row[j] = j;
        for (size_t i = 1; i <= n; i++) {
                size_t diagonal = row[0];

                row[0] = i;
                for (size_t j = 1; j <= m; j++) {
                        size_t changed = diagonal + (a[i - 1] != b[j - 1]);

                        diagonal = row[j];
                        row[j] = MIN(changed, MIN(row[j], row[j - 1]) + 1);
                }
        }
        return row[m];
}

const char *command_suggest(int argc, char **argv) {
        const char *best = NULL;
        size_t least = 3;

        if (argc < 1)
                return NULL;
        for (size_t i = 0; commands[i]; i++) {
                const char *name = commands[i]->name, *second = second_word(name);
                char first[DISTANCE_MAX + 1] = "";
                size_t distance;

                memcpy(first, name, MIN(strcspn(name, " "), (size_t)DISTANCE_MAX));
                distance = edit_distance(argv[0], first);
                /* A group alone, or with a second word that is near. */
                if (second && argc > 1 && distance < least)
                        distance += MIN(edit_distance(argv[1], second), (size_t)3);
                if (distance < least) {
                        least = distance;
                        best = name;
                }
        }
        return best;
}
