/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* UID_MIN and UID_MAX of login.defs(5) text: the range of login users. What is missing or malformed leaves
 * *uid_min and *uid_max as they were. Pure. */
void login_defs_parse(const char *text, uid_t *uid_min, uid_t *uid_max);
