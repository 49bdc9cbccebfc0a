/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Writing string literals without json-c, for pam_vaultd.so: its messages are fixed text with a few strings in them.
 *
 * Escaped is what RFC 8259 section 7 demands (quote, backslash, control characters) and nothing else; other
 * characters go through as UTF-8. Text that is not UTF-8 (a tty or host name can be anything) is refused instead of
 * mended, so the caller decides whether the member is left out. The size is measured before the first byte is
 * written: the buffer either has the whole literal or is as it was. */

#include "json/text.h"
#include "json/write.h"

/* The short escape of a byte, 0 when it has none. */
static char short_escape(char c) {
        switch (c) {
        case '"':
        case '\\':
                return c;
        case '\b':
                return 'b';
        case '\f':
                return 'f';
        case '\n':
                return 'n';
        case '\r':
                return 'r';
        case '\t':
                return 't';
        default:
                return 0;
        }
}

/* The size of the whole literal; 0 when text is not UTF-8. */
static size_t literal_size(const char *text, size_t n) {
        size_t size = 2;

        for (size_t i = 0, step; i < n; i += step) {
                step = json_utf8_size(text + i, n - i);
                if (step == 0)
                        return 0;
                if (short_escape(text[i]))
                        size += 2;
                else if ((unsigned char)text[i] < 0x20)
                        size += 6;
                else
                        size += step;
        }
        return size;
}

/* What stands for itself in a literal, as nearly every text does. */
static int write_plain(Buffer *b, const char *text, size_t n) {
        int r;

        r = buffer_reserve(b, n + 2);
        if (r < 0)
                return r;
        (void)buffer_append(b, "\"", 1);
        (void)buffer_append(b, text, n);
        return buffer_append(b, "\"", 1);
}

int json_write_string(Buffer *b, const char *text) {
        size_t n = 0, size;
        char *out;
        int r;

        while (json_text_is_plain(text[n]))
                n++;
        if (!text[n])
                return write_plain(b, text, n);
        n += strlen(text + n);
        size = literal_size(text, n);
        if (size == 0)
                return -EILSEQ;
        r = buffer_reserve(b, size);
        if (r < 0)
                return r;

        out = (char *)b->bytes + b->size;
        *out++ = '"';
        for (const char *p = text; *p; p++) {
                static const char digits[] = "0123456789abcdef";
                char escape = short_escape(*p);

                if (escape) {
                        *out++ = '\\';
                        *out++ = escape;
                } else if ((unsigned char)*p < 0x20) {
                        memcpy(out, "\\u00", 4);
                        out[4] = digits[(unsigned char)*p >> 4];
                        out[5] = digits[(unsigned char)*p & 0xf];
                        out += 6;
                } else
                        *out++ = *p;
        }
        *out++ = '"';
        *out = 0;
        b->size += size;
        return 0;
}
