/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* A secret in libgcrypt's secure memory: locked, erased on release, never printable by accident. */
typedef struct Secret {
        size_t size;
        uint8_t *bytes; /* NUL terminated behind size, so a text secret can be handed to a C API */
} Secret;

/* Sets up libgcrypt (secure memory pool of 1 MiB that grows) once per process. -ENOTSUP when it is unusable. */
int secret_global_init(void);

/* Copies n bytes. -ENOMEM. Free with secret_free(), which erases. */
int secret_new(const void *bytes, size_t n, Secret **ret);
int secret_new_text(const char *text, Secret **ret);
/* n random bytes of key quality. */
int secret_new_random(size_t n, Secret **ret);
/* The first line of a regular file of less than 4 KiB. -EPERM when group or others have any right to it (not asked with is_credential: the service
 * manager guards its credentials by their folder), -ENODATA when the line is empty, else what open(2) and read(2) say. */
int secret_read_file(const char *path, bool is_credential, Secret **ret);
Secret *secret_free(Secret *s);
DEFINE_CLEANUP(Secret *, secret_free)

/* The bytes as a C string. The secret stays owner. */
const char *secret_text(const Secret *s);
/* Constant time in the length of b. */
bool secret_equal(const Secret *a, const void *b, size_t n);

/* Constant-time comparison of two buffers of the same size. */
bool bytes_equal_constant_time(const void *a, const void *b, size_t n);
/* Overwrites in a way that the compiler keeps. */
void erase(void *p, size_t n);
/* Fills p with n random bytes (nonce quality or better); never fails once secret_global_init() succeeded. */
void random_bytes(void *p, size_t n);
/* SHA-256 of n bytes. */
void sha256(const void *bytes, size_t n, uint8_t ret_digest[static 32]);
