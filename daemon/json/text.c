/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Characters of JSON string literals: UTF-8 by RFC 3629 and escapes by RFC 8259 section 7.
 *
 * Why one place: the scan that admits a text, the set that compares keys and the reader that decodes a value must
 * agree to the byte on what a literal says, otherwise a key could be one name for the check and another for the use.
 * Overlong forms, code points above U+10FFFF and surrogates, escaped alone or encoded as UTF-8, are faults: later
 * parsers replace or keep them, each in its own way.
 *
 * Pure functions over (text, n); nothing is read at or beyond n. */

#include "json/text.h"

size_t json_utf8_size(const char *text, size_t n) {
        const unsigned char *p = (const unsigned char *)text;
        unsigned char low = 0x80, high = 0xbf;
        size_t size;

        if (n == 0)
                return 0;
        if (p[0] < 0x80)
                return 1;

        /* RFC 3629 section 4: what the second byte may be depends on the first. */
        if (p[0] >= 0xc2 && p[0] <= 0xdf)
                size = 2;
        else if (p[0] >= 0xe0 && p[0] <= 0xef) {
                size = 3;
                low = p[0] == 0xe0 ? 0xa0 : low;
                high = p[0] == 0xed ? 0x9f : high;
        } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
                size = 4;
                low = p[0] == 0xf0 ? 0x90 : low;
                high = p[0] == 0xf4 ? 0x8f : high;
        } else
                return 0;

        if (n < size || p[1] < low || p[1] > high)
                return 0;
        for (size_t i = 2; i < size; i++)
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
        return size;
}

static size_t utf8_encode(uint32_t c, char ret[static 4]) {
        if (c < 0x80) {
                ret[0] = (char)c;
                return 1;
        }
        if (c < 0x800) {
                ret[0] = (char)(0xc0 | (c >> 6));
                ret[1] = (char)(0x80 | (c & 0x3f));
                return 2;
        }
        if (c < 0x10000) {
                ret[0] = (char)(0xe0 | (c >> 12));
                ret[1] = (char)(0x80 | ((c >> 6) & 0x3f));
                ret[2] = (char)(0x80 | (c & 0x3f));
                return 3;
        }
        ret[0] = (char)(0xf0 | (c >> 18));
        ret[1] = (char)(0x80 | ((c >> 12) & 0x3f));
        ret[2] = (char)(0x80 | ((c >> 6) & 0x3f));
        ret[3] = (char)(0x80 | (c & 0x3f));
        return 4;
}

/* Reads the four digits of "\uXXXX" whose backslash is at offset. */
static int unit_read(const char *text, size_t n, size_t offset, uint32_t *ret) {
        uint32_t unit = 0;

        if (n < 6 || offset > n - 6 || text[offset] != '\\' || text[offset + 1] != 'u')
                return JSON_FAULT_SYNTAX;
        for (size_t i = offset + 2; i < offset + 6; i++) {
                char c = text[i];
                int digit;

                if (c >= '0' && c <= '9')
                        digit = c - '0';
                else if (c >= 'a' && c <= 'f')
                        digit = c - 'a' + 10;
                else if (c >= 'A' && c <= 'F')
                        digit = c - 'A' + 10;
                else
                        return JSON_FAULT_SYNTAX;
                unit = unit << 4 | (uint32_t)digit;
        }
        *ret = unit;
        return 0;
}

/* One "\uXXXX", or two that make a surrogate pair (RFC 8259 section 7). */
static int unicode_read(const char *text, size_t n, size_t *offset, uint32_t *ret) {
        uint32_t high, low;
        int r;

        r = unit_read(text, n, *offset, &high);
        if (r != 0)
                return r;
        if (high >= 0xdc00 && high <= 0xdfff)
                return JSON_FAULT_SURROGATE;
        if (high < 0xd800 || high > 0xdbff) {
                *offset += 6;
                *ret = high;
                return 0;
        }
        if (unit_read(text, n, *offset + 6, &low) != 0 || low < 0xdc00 || low > 0xdfff)
                return JSON_FAULT_SURROGATE;
        *offset += 12;
        *ret = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        return 0;
}

static int escape_read(const char *text, size_t n, size_t *offset, uint32_t *ret) {
        static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
        const char *name;
        char c;

        if (n - *offset < 2)
                return JSON_FAULT_SYNTAX;
        c = text[*offset + 1];
        if (c == 'u')
                return unicode_read(text, n, offset, ret);
        name = c != 0 ? strchr(names, c) : NULL;
        if (!name)
                return JSON_FAULT_SYNTAX;
        *offset += 2;
        *ret = (uint32_t)values[name - names];
        return 0;
}

int json_text_next(const char *text, size_t n, size_t *offset, char ret_bytes[static 4], size_t *ret_size) {
        uint32_t c;
        size_t size;
        int r;

        if (*offset >= n || (unsigned char)text[*offset] < 0x20)
                return JSON_FAULT_SYNTAX;
        if (text[*offset] == '"') {
                *ret_size = 0;
                return 0;
        }
        if (text[*offset] == '\\') {
                r = escape_read(text, n, offset, &c);
                if (r != 0)
                        return r;
                *ret_size = utf8_encode(c, ret_bytes);
                return 0;
        }

        size = json_utf8_size(text + *offset, n - *offset);
        if (size == 0)
                return JSON_FAULT_UTF8;
        memcpy(ret_bytes, text + *offset, size);
        *offset += size;
        *ret_size = size;
        return 0;
}
