/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jansson, a reader of RFC 8259 that shares no line with json-c or with us. It keeps numbers as int64 and double and
 * depth within 2048, so what fails for a number's size or for depth says nothing about the text. */

#include <jansson.h>

#include "oracle.h"

Verdict oracle_judge(const char *text, size_t n) {
        json_error_t error;

        /* It passes over a NUL byte behind a number (seen with 2.14), so its word on such a text is worth nothing. */
        if (memchr(text, 0, n))
                return VERDICT_NONE;
        json_t *value = json_loadb(
                        text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

        if (value) {
                json_decref(value);
                return VERDICT_ADMITTED;
        }
        switch (json_error_code(&error)) {
        case json_error_numeric_overflow:
        case json_error_stack_overflow:
        case json_error_out_of_memory:
                return VERDICT_NONE;
        default:
                return VERDICT_REFUSED;
        }
}
