/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

#include "util/macro.h"

/* What every command is given: where vaultd is, and how to answer. */

/* The exit codes of the command line; scripts rely on them. */
typedef enum ExitCode {
        EXIT_CODE_DONE = 0,
        EXIT_CODE_FAILED = 1,
        EXIT_CODE_USAGE = 2,
        EXIT_CODE_NOT_CONNECTED = 3,
        EXIT_CODE_REFUSED = 4,
        EXIT_CODE_UNREACHABLE = 5,
        EXIT_CODE_UPSTREAM = 6,
} ExitCode;

typedef struct Context {
        const char *socket_path;
        bool is_control;       /* a command for root; see command.h */
        bool is_system_socket; /* the path of the installed system, whose listener must be root */
        bool is_json;
        bool is_styled; /* colours and links may go to human */
        FILE *human;    /* where sentences and tables go; NULL: nowhere (with --json) */
} Context;
