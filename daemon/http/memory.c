/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* libcurl copies header lines and bodies into buffers of its own and releases them as they are: a token
 * would stay in the heap until something else happens to be written there. So libcurl gets an allocator
 * that erases what it releases. What OpenSSL copies is out of reach; its record buffers are overwritten by
 * the encryption in place.
 *
 * The size to erase comes from malloc_usable_size(3), so blocks of this and of the plain allocator mix
 * (libcurl's URL API may have been used before).
 *
 * Set up once per process and never undone: libcurl's threads of hanging look-ups may outlive every Http. */

#include <curl/curl.h>
#include <malloc.h>
#include <pthread.h>

#include "http/memory.h"
#include "util/macro.h"
#include "util/secret.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int init_result;

static void erasing_free(void *p) {
        if (!p)
                return;
        erase(p, malloc_usable_size(p));
        free(p);
}

static void *erasing_realloc(void *p, size_t n) {
        void *q = malloc(n);

        if (!q || !p)
                return q;
        memcpy(q, p, MIN(malloc_usable_size(p), n));
        erasing_free(p);
        return q;
}

static void http_global_init_once(void) {
        /* With this variable libcurl would write the TLS session keys to a file. */
        (void)unsetenv("SSLKEYLOGFILE");
        if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, erasing_free, erasing_realloc, strdup,
                            calloc) != CURLE_OK)
                init_result = -EIO;
}

int http_global_init(void) {
        (void)pthread_once(&once, http_global_init_once);
        return init_result;
}
