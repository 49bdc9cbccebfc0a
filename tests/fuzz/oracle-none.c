/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* For builds without Jansson: no second word. */

#include "oracle.h"

Verdict oracle_judge(const char *text, size_t n) {
        return VERDICT_NONE;
}
