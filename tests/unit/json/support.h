/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/macro.h"

/* A copy of n bytes with nothing behind them, so that Address Sanitizer sees a read at n. Free with free(). */
static inline char *exact_copy(const char *bytes, size_t n) {
        char *copy = malloc(n > 0 ? n : 1);

        assert_non_null(copy);
        if (n > 0)
                memcpy(copy, bytes, n);
        return copy;
}
