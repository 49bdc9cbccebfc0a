/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "client/arguments.h"

/* One command is one file and one row of the table in command.c. */

typedef struct Command {
        const char *name;       /* one word, or two: "session start" */
        const char *synopsis;   /* behind the name: "SERVICE [--as LABEL]" */
        const char *summary;    /* one line of `vaultctl --help` */
        const char *help;       /* the rest of its own --help: options and an example; ends with a newline */
        const Option *options;  /* ended by a NULL name; NULL: none of its own */
        size_t n_least, n_most; /* words */
        bool is_control;        /* for root: speaks to the control socket; $VAULTD_SOCKET does not move it */
        ExitCode (*run)(const Context *c, const Arguments *a);
} Command;

extern const Command command_status, command_whoami, command_services, command_doctor, command_connect,
                command_claim, command_check, command_disconnect, command_token, command_web, command_session_start,
                command_session_list, command_session_show, command_admin_users, command_admin_lock,
                command_admin_unlock, command_admin_unseal, command_admin_init, command_admin_vault,
                command_admin_backup, command_admin_restore, command_admin_accept, command_admin_rekey,
                command_admin_revoke;

/* The table, in the order of --help; ended by NULL. */
extern const Command *const commands[];

/* The command whose name argv begins with, or NULL; *ret_n_words says how many words the name took. */
const Command *command_find(int argc, char **argv, int *ret_n_words);
/* Whether some command's name has this first word and a second one. */
bool command_is_group(const char *word);
/* The full name of the nearest command, or NULL when none is near. */
const char *command_suggest(int argc, char **argv);
