/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "json/scan.h"

/* Characters of JSON string literals, for scan.c, reader.c, write.c and key-set.c. */

/* Decodes the character at *offset inside a string literal (behind the opening quote) into UTF-8. Returns 0 and moves
 * *offset behind it, with *ret_size its 1 to 4 bytes, or 0 bytes at the closing quote, where *offset stays.
 * Otherwise a JsonFault, *offset unchanged. Never reads at or beyond n. */
int json_text_next(const char *text, size_t n, size_t *offset, char ret_bytes[static 4], size_t *ret_size);

/* The size in bytes of the valid UTF-8 character (RFC 3629) at the start of these n bytes; 0 when there is none. */
size_t json_utf8_size(const char *text, size_t n);

/* Whether the byte stands for itself inside a string literal: printable ASCII but not quote or backslash. */
static inline bool json_text_is_plain(char c) {
        return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}
