/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* Another reader's word on a text, to hold the strict scan against. */
typedef enum Verdict {
        VERDICT_NONE, /* there is no other reader in this build, or it cannot tell */
        VERDICT_ADMITTED,
        VERDICT_REFUSED,
} Verdict;

Verdict oracle_judge(const char *text, size_t n);
