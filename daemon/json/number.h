/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "json/scan.h"

/* Numbers of JSON texts, for scan.c and reader.c. */

typedef struct JsonNumber {
        bool is_integer;     /* neither fraction nor exponent */
        bool is_int64;       /* an integer, and value is exactly what the text says; -0 is not */
        bool is_below_1e308; /* in magnitude, so that it is finite as a double */
        int64_t value;
} JsonNumber;

/* Takes the number at *offset and moves *offset behind it. 0, or JSON_FAULT_SYNTAX with *offset at the wrong byte.
 * Never reads at or beyond n. */
int json_number_next(const char *text, size_t n, size_t *offset, JsonNumber *ret);
