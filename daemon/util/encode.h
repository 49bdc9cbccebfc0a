/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* Text encodings. All *ret are malloc()ed and NUL terminated; errors: -ENOMEM, -EBADMSG (decoding). */

char *hex_encode(const void *bytes, size_t n);
/* Exactly 2·n hexadecimal digits into n bytes. */
int hex_decode(const char *text, void *ret_bytes, size_t n);
/* RFC 4648 section 5, without padding. */
char *base64url_encode(const void *bytes, size_t n);
/* RFC 4648 section 4, with padding. */
char *base64_encode(const void *bytes, size_t n);
/* n characters of Crockford's base32 (no I, L, O, U) from a uniform source: 5 bits each. Writes n + 1 bytes. */
void base32_random(char *ret_text, size_t n);
/* Such a text as a person types it: upper case, without blanks and dashes, and with Crockford's readings of look-alikes (O is 0, I and L are 1).
 * -EINVAL: more than size - 1 characters. */
int base32_read(const char *text, char *ret, size_t size);
/* Percent-encodes everything but unreserved characters (RFC 3986 section 2.3). */
char *percent_encode(const char *text);
/* RFC 3986 percent-decoding; with is_form also '+' to space. Refuses NUL and bad escapes. */
int percent_decode(const char *text, size_t n, bool is_form, char **ret);
/* A copy that is safe on a terminal and in a log: control bytes, invalid UTF-8 and bidirectional overrides replaced by '?', at most max bytes. */
char *printable(const char *text, size_t max);
bool utf8_is_valid(const char *text, size_t n);
