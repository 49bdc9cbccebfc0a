/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Secrets, randomness and digests: the thin layer over libgcrypt.
 *
 * Secret memory comes from libgcrypt's pool, which is locked (no swap), excluded from core dumps by the process
 * being undumpable, and erased when it is released. The pool grows when it is exhausted, so a host with many flows
 * does not fail; grown parts are locked as far as RLIMIT_MEMLOCK allows. Small secrets share slabs of it, which are kept for the next
 * ones; a block in there is zeros as soon as its secret is released.
 *
 * Who may call: everybody above json. Nothing here prints. */

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include <gcrypt.h>

#include "util/secret.h"

#define SECURE_POOL_SIZE (1024 * 1024)

int secret_global_init(void) {
        if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
                return 0;
        if (!gcry_check_version("1.10.0"))
                return -ENOTSUP;

        gcry_control(GCRYCTL_SUSPEND_SECMEM_WARN);
        gcry_control(GCRYCTL_AUTO_EXPAND_SECMEM, 256 * 1024);
        if (gcry_control(GCRYCTL_INIT_SECMEM, SECURE_POOL_SIZE, 0) != 0)
                return -ENOTSUP;
        gcry_control(GCRYCTL_RESUME_SECMEM_WARN);
        gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
        return 0;
}

/* Where the bytes of a secret are. */
typedef struct Block {
        struct Block *next; /* while it is free */
        size_t size;        /* of the whole: one of the sizes below, or what was asked of libgcrypt */
        uint8_t bytes[];
} Block;

/* libgcrypt looks for room by going through all that is allocated, each time. Secrets are small and live shortly, so blocks that were
 * erased are kept for the next ones. Slabs are never given back: there are as many as there have ever been secrets at once. */
static const size_t block_sizes[] = { 64, 192, 512, 2048 };
#define SLAB_SIZE 8192U

static struct {
        pthread_mutex_t lock;
        Block *free[ELEMENTSOF(block_sizes)];
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* With the lock held: one more slab of that size. */
static int pool_grow(size_t class) {
        size_t size = block_sizes[class];
        uint8_t *slab = gcry_calloc_secure(1, SLAB_SIZE);

        if (!slab)
                return -ENOMEM;
        for (size_t at = 0; at + size <= SLAB_SIZE; at += size) {
                Block *b = (Block *)(slab + at);

                b->size = size;
                b->next = pool.free[class];
                pool.free[class] = b;
        }
        return 0;
}

static Block *pool_take(size_t class) {
        Block *b;

        (void)pthread_mutex_lock(&pool.lock);
        if (!pool.free[class])
                (void)pool_grow(class);
        b = pool.free[class];
        if (b)
                pool.free[class] = b->next;
        (void)pthread_mutex_unlock(&pool.lock);
        return b;
}

static void pool_give(size_t class, Block *b) {
        (void)pthread_mutex_lock(&pool.lock);
        b->next = pool.free[class];
        pool.free[class] = b;
        (void)pthread_mutex_unlock(&pool.lock);
}

/* The smallest class with room for so many bytes; ELEMENTSOF(block_sizes): none. */
static size_t class_of(size_t size) {
        size_t class = 0;

        while (class < ELEMENTSOF(block_sizes) && block_sizes[class] < size)
                class ++;
        return class;
}

/* n bytes of zeros. */
static uint8_t *bytes_allocate(size_t n) {
        size_t class, size;
        Block *b;

        if (__builtin_add_overflow(n, sizeof(Block), &size))
                return NULL;
        class = class_of(size);
        b = class < ELEMENTSOF(block_sizes) ? pool_take(class) : gcry_calloc_secure(1, size);
        if (b)
                b->size = class < ELEMENTSOF(block_sizes) ? block_sizes[class] : size;
        return b ? b->bytes : NULL;
}

static void bytes_free(uint8_t *bytes) {
        Block *b = (Block *)(bytes - offsetof(Block, bytes));
        size_t class = class_of(b->size);

        /* All of it: what is given out again is zeros. */
        erase(b->bytes, b->size - sizeof(Block));
        if (class < ELEMENTSOF(block_sizes))
                pool_give(class, b);
        else
                gcry_free(b);
}

static int secret_allocate(size_t n, Secret **ret) {
        _cleanup_(secret_freep) Secret *s = NULL;

        if (n >= SIZE_MAX - 1)
                return -ENOMEM;
        s = calloc(1, sizeof(Secret));
        if (!s)
                return -ENOMEM;
        s->bytes = bytes_allocate(n + 1);
        if (!s->bytes)
                return -ENOMEM;
        s->size = n;
        *ret = TAKE_PTR(s);
        return 0;
}

int secret_new(const void *bytes, size_t n, Secret **ret) {
        Secret *s = NULL;
        int r;

        r = secret_allocate(n, &s);
        if (r < 0)
                return r;
        if (n > 0)
                memcpy(s->bytes, bytes, n);
        *ret = s;
        return 0;
}

int secret_new_text(const char *text, Secret **ret) {
        return secret_new(text, strlen(text), ret);
}

int secret_new_random(size_t n, Secret **ret) {
        Secret *s = NULL;
        int r;

        r = secret_allocate(n, &s);
        if (r < 0)
                return r;
        gcry_randomize(s->bytes, n, GCRY_STRONG_RANDOM);
        *ret = s;
        return 0;
}

int secret_read_file(const char *path, bool is_credential, Secret **ret) {
        _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        char text[4096];
        struct stat st;
        ssize_t n;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || (!is_credential && (st.st_mode & 0077)))
                return -EPERM;
        n = read(fd, text, sizeof(text) - 1);
        if (n < 0)
                return -errno;
        text[n] = 0;
        text[strcspn(text, "\r\n")] = 0;
        r = text[0] ? secret_new_text(text, ret) : -ENODATA;
        erase(text, sizeof(text));
        return r;
}

Secret *secret_free(Secret *s) {
        if (!s)
                return NULL;
        if (s->bytes)
                bytes_free(s->bytes);
        free(s);
        return NULL;
}

const char *secret_text(const Secret *s) {
        return (const char *)s->bytes;
}

bool bytes_equal_constant_time(const void *a, const void *b, size_t n) {
        const volatile uint8_t *x = a, *y = b;
        uint8_t difference = 0;

        for (size_t i = 0; i < n; i++)
                difference |= (uint8_t)(x[i] ^ y[i]);
        return difference == 0;
}

bool secret_equal(const Secret *a, const void *b, size_t n) {
        return a->size == n && bytes_equal_constant_time(a->bytes, b, n);
}

void erase(void *p, size_t n) {
        if (n > 0)
                explicit_bzero(p, n);
}

void random_bytes(void *p, size_t n) {
        gcry_randomize(p, n, GCRY_STRONG_RANDOM);
}

void sha256(const void *bytes, size_t n, uint8_t ret_digest[static 32]) {
        gcry_md_hash_buffer(GCRY_MD_SHA256, ret_digest, bytes, n);
}
