/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Text encodings of RFC 4648 and RFC 3986, and the filter that makes foreign text safe to show.
 *
 * Libc only, no state. base32_random() draws from getrandom(2) directly, so that the client library may link this
 * without libgcrypt; five bits per character, no modulo, so codes are uniform. */

#include <sys/random.h>

#include "util/encode.h"

char *hex_encode(const void *bytes, size_t n) {
        static const char digits[] = "0123456789abcdef";
        const uint8_t *p = bytes;
        char *text = malloc(n * 2 + 1);

        if (!text)
                return NULL;
        for (size_t i = 0; i < n; i++) {
                text[2 * i] = digits[p[i] >> 4];
                text[2 * i + 1] = digits[p[i] & 15];
        }
        text[2 * n] = 0;
        return text;
}

static int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

int hex_decode(const char *text, void *ret_bytes, size_t n) {
        uint8_t *p = ret_bytes;

        if (strlen(text) != 2 * n)
                return -EBADMSG;
        for (size_t i = 0; i < n; i++) {
                int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

                if (high < 0 || low < 0)
                        return -EBADMSG;
                p[i] = (uint8_t)(high << 4 | low);
        }
        return 0;
}

static char *base64_with(const char *alphabet, bool is_padded, const void *bytes, size_t n) {
        const uint8_t *p = bytes;
        char *text = malloc((n + 2) / 3 * 4 + 1), *q = text;

        if (!text)
                return NULL;
        for (size_t i = 0; i < n; i += 3) {
                size_t left = MIN(n - i, (size_t)3);
                uint32_t group = (uint32_t)p[i] << 16;

                if (left > 1)
                        group |= (uint32_t)p[i + 1] << 8;
                if (left > 2)
                        group |= p[i + 2];
                for (size_t k = 0; k < 4; k++)
                        if (k <= left)
                                *q++ = alphabet[group >> (18 - 6 * k) & 63];
                        else if (is_padded)
                                *q++ = '=';
        }
        *q = 0;
        return text;
}

char *base64url_encode(const void *bytes, size_t n) {
        return base64_with(
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", false, bytes, n);
}

char *base64_encode(const void *bytes, size_t n) {
        return base64_with(
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", true, bytes, n);
}

void base32_random(char *ret_text, size_t n) {
        static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

        for (size_t i = 0; i < n; i++) {
                uint8_t byte;

                while (getrandom(&byte, 1, 0) != 1)
                        ;
                ret_text[i] = alphabet[byte & 31];
        }
        ret_text[n] = 0;
}

int base32_read(const char *text, char *ret, size_t size) {
        size_t n = 0;

        for (; *text; text++) {
                char c = *text >= 'a' && *text <= 'z' ? (char)(*text - 'a' + 'A') : *text;

                if (c == '-' || c == ' ')
                        continue;
                if (n + 1 >= size)
                        return -EINVAL;
                ret[n++] = c == 'O' ? '0' : c == 'I' || c == 'L' ? '1' : c;
        }
        ret[n] = 0;
        return 0;
}

static bool is_unreserved(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
               c == '.' || c == '_' || c == '~';
}

char *percent_encode(const char *text) {
        static const char digits[] = "0123456789ABCDEF";
        char *encoded = malloc(strlen(text) * 3 + 1), *q = encoded;

        if (!encoded)
                return NULL;
        for (const char *p = text; *p; p++)
                if (is_unreserved(*p))
                        *q++ = *p;
                else {
                        *q++ = '%';
                        *q++ = digits[(uint8_t)*p >> 4];
                        *q++ = digits[(uint8_t)*p & 15];
                }
        *q = 0;
        return encoded;
}

int percent_decode(const char *text, size_t n, bool is_form, char **ret) {
        _cleanup_(freep) char *decoded = malloc(n + 1);
        size_t size = 0;

        if (!decoded)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                char c = text[i];

                if (c == '%') {
                        if (n - i < 3)
                                return -EBADMSG;
                        int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
                        if (high < 0 || low < 0)
                                return -EBADMSG;
                        c = (char)(high << 4 | low);
                        i += 2;
                } else if (c == '+' && is_form)
                        c = ' ';
                if (c == 0)
                        return -EBADMSG;
                decoded[size++] = c;
        }
        decoded[size] = 0;
        *ret = TAKE_PTR(decoded);
        return 0;
}

/* Length of the well-formed UTF-8 sequence at p (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF), or 0. */
static size_t utf8_sequence(const char *text, size_t n, uint32_t *ret_character) {
        const uint8_t *p = (const uint8_t *)text;
        uint32_t c, least;
        size_t length;

        if (n == 0)
                return 0;
        if (p[0] < 0x80) {
                *ret_character = p[0];
                return 1;
        }
        if ((p[0] & 0xe0) == 0xc0)
                length = 2, c = p[0] & 0x1f, least = 0x80;
        else if ((p[0] & 0xf0) == 0xe0)
                length = 3, c = p[0] & 0x0f, least = 0x800;
        else if ((p[0] & 0xf8) == 0xf0)
                length = 4, c = p[0] & 0x07, least = 0x10000;
        else
                return 0;
        if (n < length)
                return 0;
        for (size_t i = 1; i < length; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (p[i] & 0x3f);
        }
        if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                return 0;
        *ret_character = c;
        return length;
}

bool utf8_is_valid(const char *text, size_t n) {
        for (size_t i = 0; i < n;) {
                uint32_t c;
                size_t length = utf8_sequence(text + i, n - i, &c);

                if (length == 0)
                        return false;
                i += length;
        }
        return true;
}

/* Controls, line and paragraph separators, bidirectional marks and overrides, interlinear marks, byte order mark, tags. */
static bool is_deceptive(uint32_t c) {
        return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || (c >= 0x200b && c <= 0x200f) ||
               (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
               (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe0fff);
}

char *printable(const char *text, size_t max) {
        size_t n = strlen(text), size = 0;
        char *shown = malloc(MIN(n, max) + 1);

        if (!shown)
                return NULL;
        for (size_t i = 0; i < n;) {
                uint32_t c = 0;
                size_t length = utf8_sequence(text + i, n - i, &c);
                bool is_bad = length == 0 || is_deceptive(c);
                size_t put = is_bad ? 1 : length;

                if (size + put > max)
                        break;
                if (is_bad)
                        shown[size] = '?';
                else
                        memcpy(shown + size, text + i, length);
                size += put;
                i += MAX(length, (size_t)1);
        }
        shown[size] = 0;
        return shown;
}
