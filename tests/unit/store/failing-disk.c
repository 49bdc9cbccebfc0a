/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A disk that fails, for the real daemon: to be preloaded.
 *
 * VAULTD_TEST_DISK names what fails from when on, as "KIND:N": the N-th call of that kind on vaultd.mdb and each later one is
 * answered with EIO and not done.
 *
 *     sync   fdatasync(2): what was written before may be on disk or not
 *     meta   a write through the descriptor with O_DSYNC, which LMDB has for the meta page
 *     data   any other write
 *
 * Only names that the C library exports once are defined here; the file is told by its descriptor's link in /proc, so nothing
 * has to be followed from open(2) on. */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define INTERPOSE __attribute__((visibility("default"), used))

ssize_t failing_pwrite(int fd, const void *bytes, size_t n, off_t offset) __asm__("pwrite") INTERPOSE;
ssize_t failing_writev(int fd, const struct iovec *parts, int n) __asm__("writev") INTERPOSE;
int failing_fdatasync(int fd) __asm__("fdatasync") INTERPOSE;

static int is_database(int fd) {
        static const char name[] = "/vaultd.mdb";
        char link[64], target[4096];
        ssize_t n;

        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, target, sizeof(target));
        return n >= (ssize_t)sizeof(name) - 1 &&
               memcmp(target + n - (sizeof(name) - 1), name, sizeof(name) - 1) == 0;
}

static int fails(const char *kind, int fd) {
        static atomic_uint count;
        const char *order = getenv("VAULTD_TEST_DISK");
        size_t n = strlen(kind);

        if (!order || strncmp(order, kind, n) != 0 || order[n] != ':' || !is_database(fd))
                return 0;
        if (atomic_fetch_add(&count, 1) + 1 < strtoul(order + n + 1, NULL, 10))
                return 0;
        errno = EIO;
        return 1;
}

static const char *write_kind(int fd) {
        int flags = fcntl(fd, F_GETFL);

        return flags >= 0 && (flags & O_DSYNC) ? "meta" : "data";
}

static void *next_of(const char *name) {
        void *function = dlsym(RTLD_NEXT, name);

        if (!function)
                abort();
        return function;
}

ssize_t failing_pwrite(int fd, const void *bytes, size_t n, off_t offset) {
        if (fails(write_kind(fd), fd))
                return -1;
        return ((ssize_t(*)(int, const void *, size_t, off_t))next_of("pwrite"))(fd, bytes, n, offset);
}

ssize_t failing_writev(int fd, const struct iovec *parts, int n) {
        if (fails(write_kind(fd), fd))
                return -1;
        return ((ssize_t(*)(int, const struct iovec *, int))next_of("writev"))(fd, parts, n);
}

int failing_fdatasync(int fd) {
        if (fails("sync", fd))
                return -1;
        return ((int (*)(int))next_of("fdatasync"))(fd);
}
