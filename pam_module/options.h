/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* What stands behind the module's name in a PAM service file. */
typedef struct Options {
        const char *socket;    /* socket=PATH, absolute; borrowed from the arguments */
        uint64_t timeout_usec; /* timeout=SECONDS, a fraction allowed, above 0 and at most 60 */
        bool is_required;      /* required: no vault, no session */
        bool is_quiet;         /* quiet: no line about a login without a vault */
        bool is_debug;         /* debug: a line about each step */
        bool is_notifying;     /* notify=yes: who logs in is told which connections have to be made again */
} Options;

/* Takes one argument. 0; -EINVAL when it is unknown or its value is out of range: the option keeps what it had. */
int options_take(Options *options, const char *argument);
void options_init(Options *ret);
