/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* A byte buffer that grows up to a limit. Always NUL terminated behind size once anything was added. */
typedef struct Buffer {
        uint8_t *bytes;
        size_t size;
        size_t allocated;
        size_t limit; /* 0: none */
} Buffer;

/* Adds n bytes. -ENOBUFS beyond the limit, -ENOMEM; the buffer is unchanged then. */
int buffer_append(Buffer *b, const void *bytes, size_t n);
int buffer_append_text(Buffer *b, const char *text);
/* Adds printf output. */
int buffer_printf(Buffer *b, const char *format, ...) _printf_(2, 3);
/* Makes room for n more bytes without adding them; write to b->bytes + b->size, then add to size. */
int buffer_reserve(Buffer *b, size_t n);
/* Drops the first n bytes. */
void buffer_consume(Buffer *b, size_t n);
/* Erases the content (it may have held a secret) and releases it. */
void buffer_done(Buffer *b);
