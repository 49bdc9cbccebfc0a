/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "json/scan.h"

/* Pull access to an admitted text without building a tree, for programs that must not link json-c (pam_vaultd.so). Run json_scan() first.
 * path is a chain of member names, NULL terminated: json_read_string(text, n, &s, "error", NULL). */

/* 0 and a malloc()ed decoded string; -ENOENT when absent or null; -EINVAL when of another type; -ENOMEM. */
int json_read_string(const char *text, size_t n, char **ret, ...) __attribute__((__sentinel__));
int json_read_int64(const char *text, size_t n, int64_t *ret, ...) __attribute__((__sentinel__));
int json_read_bool(const char *text, size_t n, bool *ret, ...) __attribute__((__sentinel__));
