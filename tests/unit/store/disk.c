/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Notes what is done to the database file, by standing before the C library.
 *
 * LMDB (0.9.24) writes pages by pwrite(2), or lseek(2) and writev(2) for neighbours, then calls fdatasync(2), then writes the meta
 * page by pwrite(2) on a second descriptor that has O_DSYNC. Each such call is done first and noted when it is over, so an
 * acknowledgement that follows it is noted behind it. Calls that the replay could not imitate are noted as
 * DISK_FOREIGN, and the test fails on them.
 *
 * The functions have the C library's names through assembler labels: a definition under the header's name would get the one
 * for large files, which is another symbol. */

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "disk.h"

#define FDS_MAX 1024

typedef enum FileKind { FILE_NONE, FILE_DATA, FILE_DATA_SYNC, FILE_FOLDER } FileKind;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FileKind kinds[FDS_MAX];
static DiskEvent *events;
static size_t n_events, n_allocated;
static int is_recording;

static FileKind kind_of(int fd) {
        return fd >= 0 && fd < FDS_MAX ? kinds[fd] : FILE_NONE;
}

static void *next_of(const char *name) {
        void *function = dlsym(RTLD_NEXT, name);

        if (!function)
                abort();
        return function;
}

#define REAL(name, type) ((type)next_of(name))

static void note(DiskEventType type, uint64_t offset, const void *bytes, size_t size) {
        (void)pthread_mutex_lock(&lock);
        if (is_recording) {
                if (n_events == n_allocated) {
                        n_allocated = 2 * n_allocated + 256;
                        events = realloc(events, n_allocated * sizeof(DiskEvent));
                        if (!events)
                                abort();
                }
                events[n_events] = (DiskEvent){ type, offset, size, size > 0 ? malloc(size) : NULL };
                if (size > 0) {
                        if (!events[n_events].bytes)
                                abort();
                        memcpy(events[n_events].bytes, bytes, size);
                }
                n_events++;
        }
        (void)pthread_mutex_unlock(&lock);
}

void disk_record_start(void) {
        (void)pthread_mutex_lock(&lock);
        for (size_t i = 0; i < n_events; i++)
                free(events[i].bytes);
        n_events = 0;
        is_recording = 1;
        (void)pthread_mutex_unlock(&lock);
}

void disk_record_stop(void) {
        (void)pthread_mutex_lock(&lock);
        is_recording = 0;
        (void)pthread_mutex_unlock(&lock);
}

void disk_mark(uint64_t number) {
        note(DISK_MARK, number, NULL, 0);
}

const DiskEvent *disk_events(size_t *ret_n) {
        *ret_n = n_events;
        return events;
}

static int ends_with(const char *text, const char *end) {
        size_t n = strlen(text), m = strlen(end);

        return n >= m && strcmp(text + n - m, end) == 0;
}

#define INTERPOSE __attribute__((visibility("default"), used))

int disk_open(const char *path, int flags, ...) __asm__("open") INTERPOSE;
int disk_open64(const char *path, int flags, ...) __asm__("open64") INTERPOSE;
int disk_close(int fd) __asm__("close") INTERPOSE;
ssize_t disk_write(int fd, const void *bytes, size_t n) __asm__("write") INTERPOSE;
ssize_t disk_pwrite(int fd, const void *bytes, size_t n, off_t offset) __asm__("pwrite") INTERPOSE;
ssize_t disk_writev(int fd, const struct iovec *parts, int n) __asm__("writev") INTERPOSE;
int disk_fdatasync(int fd) __asm__("fdatasync") INTERPOSE;
int disk_fsync(int fd) __asm__("fsync") INTERPOSE;
int disk_ftruncate(int fd, off_t size) __asm__("ftruncate") INTERPOSE;
int disk_msync(void *p, size_t n, int flags) __asm__("msync") INTERPOSE;
void *disk_mmap(void *p, size_t n, int protection, int flags, int fd, off_t offset) __asm__(
                "mmap") INTERPOSE;
int disk_rename(const char *from, const char *to) __asm__("rename") INTERPOSE;

static int opened(const char *path, int flags, int fd) {
        if (fd < 0 || fd >= FDS_MAX)
                return fd;
        kinds[fd] = FILE_NONE;
        if (!is_recording)
                return fd;
        if (ends_with(path, "/vaultd.mdb") || ends_with(path, "/vaultd.mdb.new"))
                kinds[fd] = flags & O_DSYNC ? FILE_DATA_SYNC : FILE_DATA;
        else if (flags & O_DIRECTORY)
                kinds[fd] = FILE_FOLDER;
        return fd;
}

#define OPEN(name)                                                                                          \
        va_list arguments;                                                                                  \
        int mode;                                                                                           \
                                                                                                            \
        va_start(arguments, flags);                                                                         \
        mode = flags & O_CREAT ? va_arg(arguments, int) : 0;                                                \
        va_end(arguments);                                                                                  \
        return opened(path, flags, REAL(name, int (*)(const char *, int, ...))(path, flags, mode))

int disk_open(const char *path, int flags, ...) {
        OPEN("open");
}

int disk_open64(const char *path, int flags, ...) {
        OPEN("open64");
}

int disk_close(int fd) {
        if (fd >= 0 && fd < FDS_MAX)
                kinds[fd] = FILE_NONE;
        return REAL("close", int (*)(int))(fd);
}

static void wrote(int fd, const void *bytes, ssize_t n, off_t offset) {
        FileKind kind = kind_of(fd);

        if (n > 0 && (kind == FILE_DATA || kind == FILE_DATA_SYNC))
                note(kind == FILE_DATA ? DISK_WRITE : DISK_WRITE_THROUGH, (uint64_t)offset, bytes,
                                (size_t)n);
}

ssize_t disk_write(int fd, const void *bytes, size_t n) {
        off_t offset = kind_of(fd) == FILE_NONE ? 0 : lseek(fd, 0, SEEK_CUR);
        ssize_t done = REAL("write", ssize_t(*)(int, const void *, size_t))(fd, bytes, n);

        wrote(fd, bytes, done, offset);
        return done;
}

ssize_t disk_pwrite(int fd, const void *bytes, size_t n, off_t offset) {
        ssize_t done = REAL("pwrite", ssize_t(*)(int, const void *, size_t, off_t))(fd, bytes, n, offset);

        wrote(fd, bytes, done, offset);
        return done;
}

ssize_t disk_writev(int fd, const struct iovec *parts, int n) {
        off_t offset = kind_of(fd) == FILE_NONE ? 0 : lseek(fd, 0, SEEK_CUR);
        ssize_t done = REAL("writev", ssize_t(*)(int, const struct iovec *, int))(fd, parts, n), left = done;

        /* Each part is a write of its own: the disk may take them in any order. */
        for (int i = 0; i < n && left > 0; i++) {
                ssize_t size = (ssize_t)parts[i].iov_len < left ? (ssize_t)parts[i].iov_len : left;

                wrote(fd, parts[i].iov_base, size, offset);
                offset += size;
                left -= size;
        }
        return done;
}

static int synced(int fd, int r) {
        FileKind kind = kind_of(fd);

        if (r == 0 && kind != FILE_NONE)
                note(kind == FILE_FOLDER ? DISK_SYNC_DIRECTORY : DISK_SYNC, 0, NULL, 0);
        return r;
}

int disk_fdatasync(int fd) {
        return synced(fd, REAL("fdatasync", int (*)(int))(fd));
}

int disk_fsync(int fd) {
        return synced(fd, REAL("fsync", int (*)(int))(fd));
}

int disk_ftruncate(int fd, off_t size) {
        if (kind_of(fd) == FILE_DATA || kind_of(fd) == FILE_DATA_SYNC)
                note(DISK_FOREIGN, 0, NULL, 0);
        return REAL("ftruncate", int (*)(int, off_t))(fd, size);
}

int disk_msync(void *p, size_t n, int flags) {
        note(DISK_FOREIGN, 0, NULL, 0);
        return REAL("msync", int (*)(void *, size_t, int))(p, n, flags);
}

void *disk_mmap(void *p, size_t n, int protection, int flags, int fd, off_t offset) {
        if ((flags & MAP_SHARED) && (protection & PROT_WRITE) && kind_of(fd) != FILE_NONE)
                note(DISK_FOREIGN, 0, NULL, 0);
        return REAL("mmap", void *(*)(void *, size_t, int, int, int, off_t))(
                        p, n, protection, flags, fd, offset);
}

int disk_rename(const char *from, const char *to) {
        int r = REAL("rename", int (*)(const char *, const char *))(from, to);

        if (r == 0 && ends_with(to, "/vaultd.mdb"))
                note(DISK_RENAME, 0, NULL, 0);
        return r;
}
