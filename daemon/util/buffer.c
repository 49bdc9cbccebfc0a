/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Growable bytes with a limit. Growth doubles, so appending is linear; a failed append leaves the buffer as it was,
 * so a caller can answer "too large" and go on. Released content is erased because many buffers have held a token.
 * Libc only: pam_vaultd.so and vaultctl use it. */

#include <stdarg.h>
#include <stdio.h>

#include "util/buffer.h"

int buffer_reserve(Buffer *b, size_t n) {
        size_t need, size;

        if (__builtin_add_overflow(b->size, n, &need) || (b->limit > 0 && need > b->limit))
                return -ENOBUFS;
        if (__builtin_add_overflow(need, (size_t)1, &need))
                return -ENOBUFS;
        if (need <= b->allocated)
                return 0;

        size = MAX(b->allocated * 2, MAX(need, (size_t)128));
        /* No realloc(): it would leave the old copy of a secret behind. */
        uint8_t *bytes = malloc(size);
        if (!bytes)
                return -ENOMEM;
        if (b->size > 0)
                memcpy(bytes, b->bytes, b->size);
        bytes[b->size] = 0;
        if (b->bytes)
                explicit_bzero(b->bytes, b->allocated);
        free(b->bytes);
        b->bytes = bytes;
        b->allocated = size;
        return 0;
}

int buffer_append(Buffer *b, const void *bytes, size_t n) {
        int r;

        r = buffer_reserve(b, n);
        if (r < 0)
                return r;
        if (n > 0)
                memcpy(b->bytes + b->size, bytes, n);
        b->size += n;
        b->bytes[b->size] = 0;
        return 0;
}

int buffer_append_text(Buffer *b, const char *text) {
        return buffer_append(b, text, strlen(text));
}

int buffer_printf(Buffer *b, const char *format, ...) {
        va_list args;
        int n, r;

        va_start(args, format);
        n = vsnprintf(NULL, 0, format, args);
        va_end(args);
        if (n < 0)
                return -EINVAL;
        r = buffer_reserve(b, (size_t)n);
        if (r < 0)
                return r;
        va_start(args, format);
        (void)vsnprintf((char *)b->bytes + b->size, (size_t)n + 1, format, args);
        va_end(args);
        b->size += (size_t)n;
        return 0;
}

void buffer_consume(Buffer *b, size_t n) {
        if (n >= b->size)
                n = b->size;
        if (n == 0)
                return;
        memmove(b->bytes, b->bytes + n, b->size - n);
        explicit_bzero(b->bytes + b->size - n, n);
        b->size -= n;
        b->bytes[b->size] = 0;
}

void buffer_done(Buffer *b) {
        if (b->bytes)
                explicit_bzero(b->bytes, b->allocated);
        free(b->bytes);
        *b = (Buffer){ .limit = b->limit };
}
