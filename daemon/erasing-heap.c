/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* free() and realloc() of this program, libraries included: what is released is overwritten first.
 *
 * Long-lived secrets are in libgcrypt's secure memory. On their way they pass through memory that is not ours to lay out: json-c's strings
 * and its text buffer, OpenSSL's, libcurl's. These libraries release it as it is, so a token would lie in the heap until
 * something else is written there, which in a quiet daemon may be days. Here the C library's two functions that release memory
 * are replaced for the whole program (the linker binds every library's calls to the program's own definition), by ones that erase and
 * then do what they did. It costs writing each block once more, when it is in the cache anyway.
 *
 * The pair stays with the C library's malloc(): __libc_free() is what free() is there. realloc() never moves a block by itself,
 * since the old place would be released unerased.
 *
 * What is left: memory that is in use, the kernel's socket buffers, registers and the stack of the loop. Fibers' stacks are erased when
 * they end (util/fiber.c).
 *
 * Not in builds with Address Sanitizer, which replaces the same functions. Who may call: everybody does. */

#include <malloc.h>

#include "util/macro.h"

#define EXPORTED __attribute__((visibility("default")))

/* Of glibc, which exports them for this purpose. */
extern void __libc_free(void *p);
extern void *__libc_malloc(size_t n);

EXPORTED void free(void *p);
EXPORTED void *realloc(void *p, size_t n);

void free(void *p) {
        int saved = errno;

        if (!p)
                return;
        explicit_bzero(p, malloc_usable_size(p));
        __libc_free(p);
        errno = saved;
}

void *realloc(void *p, size_t n) {
        size_t usable;
        void *q;

        if (!p)
                return __libc_malloc(n);
        if (n == 0) { /* as glibc's: it releases */
                free(p);
                return NULL;
        }
        usable = malloc_usable_size(p);
        /* What shrinks a little stays where it is, without its end. */
        if (n <= usable && n >= usable / 2) {
                explicit_bzero((uint8_t *)p + n, usable - n);
                return p;
        }
        q = __libc_malloc(n);
        if (!q)
                return NULL;
        memcpy(q, p, MIN(n, usable));
        free(p);
        return q;
}
