/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Cleanup attributes, ownership and small arithmetic: the vocabulary every file here speaks. */

#define _cleanup_(f)   __attribute__((__cleanup__(f)))
#define _printf_(a, b) __attribute__((__format__(printf, a, b)))
#define _pure_         __attribute__((__pure__))
#define _unused_       __attribute__((__unused__))
#define _warn_unused_  __attribute__((__warn_unused_result__))
#define _public_       __attribute__((__visibility__("default")))
#define _noreturn_     __attribute__((__noreturn__))

#define ELEMENTSOF(x) (sizeof(x) / sizeof((x)[0]))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))
#define STRINGIFY_(x) #x
#define STRINGIFY(x)  STRINGIFY_(x)

/* Hands over ownership: evaluates to the old value and leaves NULL (or -1) behind. */
#define TAKE_PTR(p)                                                                                         \
        ({                                                                                                  \
                __typeof__(p) *_pp = &(p);                                                                  \
                __typeof__(p) _old = *_pp;                                                                  \
                *_pp = NULL;                                                                                \
                _old;                                                                                       \
        })
#define TAKE_FD(fd)                                                                                         \
        ({                                                                                                  \
                int *_pf = &(fd);                                                                           \
                int _old = *_pf;                                                                            \
                *_pf = -1;                                                                                  \
                _old;                                                                                       \
        })

/* Defines typep(T **), for _cleanup_(). */
#define DEFINE_CLEANUP(type, func)                                                                          \
        static inline void func##p(type *p) {                                                               \
                if (*p)                                                                                     \
                        *p = func(*p);                                                                      \
        }

static inline void freep(void *p) {
        free(*(void **)p);
}

/* Closes fd keeping errno; always returns -1, for `fd = safe_close(fd)`. */
static inline int safe_close(int fd) {
        if (fd >= 0) {
                int saved = errno;
                (void)close(fd);
                errno = saved;
        }
        return -1;
}

static inline void closep(int *fd) {
        (void)safe_close(*fd);
}

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}

/* streq() in which NULL equals NULL only. */
static inline bool streq_ptr(const char *a, const char *b) {
        return a && b ? streq(a, b) : a == b;
}

/* The rest of s behind prefix, or NULL if s does not begin with it. */
static inline const char *startswith(const char *s, const char *prefix) {
        size_t n = strlen(prefix);

        return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

static inline bool isempty(const char *s) {
        return !s || s[0] == 0;
}

#define USEC_PER_SEC  UINT64_C(1000000)
#define USEC_PER_MSEC UINT64_C(1000)
#define UID_INVALID   ((uid_t)-1)
/* The kernel's stand-in for an id that has no mapping (Documentation/admin-guide/sysctl/fs.rst: overflowuid). */
#define UID_OVERFLOW ((uid_t)65534)
