/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* Starts the user's browser with our own short link. A provider's address is never passed here: argv is public. */

/* $BROWSER (a list separated by colons; %s is the address, otherwise it is appended), then xdg-open when there is a display.
 * Fork and exec, no shell. Returns true when a program was started and did not fail at once. */
bool browser_open(const char *url);

/* Whether browser_open() has something to try. */
bool browser_is_there(void);

/* Splits one entry of $BROWSER into argv, with %s (the address) and %% replaced. NULL when it is empty or on -ENOMEM. Free with strv_free(). */
char **browser_command(const char *entry, size_t n, const char *url);
char **strv_free(char **list);
DEFINE_CLEANUP(char **, strv_free)
