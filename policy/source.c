/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Finding and believing configuration files.
 *
 * Whoever can write policy decides what agents may do, so a file counts only if its owner is root and
 * nobody else may write it, and the same holds for the folder it lies in (who may write the folder may
 * replace the file). All checks are made on opened descriptors, never on names, so that nothing can be
 * exchanged between check and use. Group write is refused too; it also shows where an access control list
 * gives somebody write permission (acl(5): the mask is in the group bits). Symbolic links are refused
 * except to /dev/null, since what they point at lies in a folder that was not checked.
 *
 * A vendor file that is masked is not opened. Names that do not end in ".conf" or begin with "." are
 * editors' and package managers' left-overs and are passed over, as systemd does.
 *
 * Invariants: descriptors close on exec, never block, and are closed on return. */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "policy/source.h"
#include "util/encode.h"
#include "util/failure.h"

void source_list_done(SourceList *l) {
        for (size_t i = 0; i < l->n_sources; i++) {
                free(l->sources[i].name);
                free(l->sources[i].path);
                free(l->sources[i].text);
        }
        free(l->sources);
        *l = (SourceList){};
}

/* Nobody but root (or, for tests, the caller) may write what is open here. */
static bool source_is_believed(
                const struct stat *st, bool is_trusting_owner, const char *path, FaultList *faults) {
        const char *what = S_ISDIR(st->st_mode) ? "folder" : "file";

        if (st->st_uid != 0 && !(is_trusting_owner && st->st_uid == geteuid())) {
                fault_add(faults, path, 0, "%s belongs to uid %u, expected root", what,
                                (unsigned)st->st_uid);
                return false;
        }
        if (st->st_mode & (S_IWGRP | S_IWOTH)) {
                fault_add(faults, path, 0, "%s may be written by others than root (mode %04o)", what,
                                st->st_mode & 07777U);
                return false;
        }
        return true;
}

/* -1 in *ret_fd: there is none, or it is not believed (a fault then). */
static void source_open_folder(int parent, const char *name, const SourceRoots *roots, const char *path,
                FaultList *faults, int *ret_fd) {
        _cleanup_(closep) int fd = -1;
        struct stat st;

        *ret_fd = -1;
        fd = openat(parent, name,
                        O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK |
                                        (parent == AT_FDCWD ? 0 : O_NOFOLLOW));
        if (fd < 0 && errno == ENOENT)
                return;
        if (fd < 0 || fstat(fd, &st) < 0) {
                fault_add(faults, path, 0, "folder cannot be opened: %s", strerror(errno));
                return;
        }
        if (source_is_believed(&st, roots->is_trusting_owner, path, faults))
                *ret_fd = TAKE_FD(fd);
}

/* Whether this name is a link to /dev/null. */
static bool is_link_to_null(int folder, const char *name) {
        char target[sizeof("/dev/null")];
        ssize_t n = readlinkat(folder, name, target, sizeof(target));

        return n == (ssize_t)strlen("/dev/null") && memcmp(target, "/dev/null", (size_t)n) == 0;
}

/* At most SOURCE_SIZE_MAX bytes. 0, -E2BIG or the errno of read(2). */
static int source_read_text(int fd, char **ret_text, size_t *ret_size) {
        _cleanup_(freep) char *text = malloc(SOURCE_SIZE_MAX + 1);
        size_t n = 0;

        if (!text)
                return -ENOMEM;
        while (n <= SOURCE_SIZE_MAX) {
                ssize_t k = read(fd, text + n, SOURCE_SIZE_MAX + 1 - n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t)k;
        }
        if (n > SOURCE_SIZE_MAX)
                return -E2BIG;

        char *fitting = realloc(text, n + 1);
        if (!fitting)
                return -ENOMEM;
        text = fitting;
        text[n] = 0;
        *ret_text = TAKE_PTR(text);
        *ret_size = n;
        return 0;
}

/* One file. *ret_text stays NULL when it is masked or faulty. -ENOENT: not there. */
static int source_read_file(int folder, const char *name, const SourceRoots *roots, const char *path,
                FaultList *faults, char **ret_text, size_t *ret_size) {
        _cleanup_(closep) int fd =
                        openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
        struct stat st;
        int r;

        if (fd < 0 && errno == ENOENT)
                return -ENOENT;
        if (fd < 0 && errno == ELOOP) {
                if (!is_link_to_null(folder, name))
                        fault_add(faults, path, 0,
                                        "file is a symbolic link (only one to /dev/null is accepted, it "
                                        "masks)");
                return 0;
        }
        if (fd < 0 || fstat(fd, &st) < 0) {
                fault_add(faults, path, 0, "file cannot be opened: %s", strerror(errno));
                return 0;
        }
        if (!S_ISREG(st.st_mode)) {
                fault_add(faults, path, 0, "not a regular file");
                return 0;
        }
        if (!source_is_believed(&st, roots->is_trusting_owner, path, faults))
                return 0;

        r = source_read_text(fd, ret_text, ret_size);
        if (r == -E2BIG)
                fault_add(faults, path, 0, "file is larger than 1 MiB");
        else if (r < 0 && r != -ENOMEM)
                fault_add(faults, path, 0, "file cannot be read: %s", strerror(-r));
        if (r == -ENOMEM)
                return r;
        if (*ret_text && *ret_size == 0) {
                free(*ret_text);
                *ret_text = NULL;
        }
        return 0;
}

static int source_compare(const void *a, const void *b) {
        return strcmp(((const Source *)a)->name, ((const Source *)b)->name);
}

static bool source_list_has(const SourceList *l, const char *name) {
        for (size_t i = 0; i < l->n_sources; i++)
                if (streq(l->sources[i].name, name))
                        return true;
        return false;
}

/* Takes the file in unless a file of that name is there already; one that is masked or faulty stays as a
 * name, so that it masks. */
static int source_list_add(SourceList *l, int folder, const char *folder_path, const char *name,
                const SourceRoots *roots, FaultList *faults) {
        _cleanup_(freep) char *path = NULL, *shown = printable(name, 128);
        Source source = {};
        int r;

        if (source_list_has(l, name))
                return 0;
        if (!shown || asprintf(&path, "%s/%s", folder_path, shown) < 0)
                return -ENOMEM;
        if (l->n_sources >= SOURCE_FILES_MAX) {
                fault_add(faults, folder_path, 0, "folder has more than %u files", SOURCE_FILES_MAX);
                return 0;
        }

        r = source_read_file(folder, name, roots, path, faults, &source.text, &source.size);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        source.name = strdup(name);
        Source *grown = reallocarray(l->sources, l->n_sources + 1, sizeof(Source));
        if (!source.name || !grown) {
                if (grown)
                        l->sources = grown;
                free(source.name);
                free(source.text);
                return -ENOMEM;
        }
        l->sources = grown;
        source.path = TAKE_PTR(path);
        l->sources[l->n_sources++] = source;
        return 0;
}

static bool is_drop_in(const char *name) {
        size_t n = strlen(name);

        return name[0] != '.' && n > strlen(".conf") && streq(name + n - strlen(".conf"), ".conf");
}

static void closedirp(DIR **d) {
        if (*d)
                (void)closedir(*d);
}

/* Every drop-in of one folder. Takes over fd. */
static int source_list_add_folder(
                SourceList *l, int fd, const char *path, const SourceRoots *roots, FaultList *faults) {
        _cleanup_(closedirp) DIR *d = fdopendir(fd);
        int r;

        if (!d) {
                (void)close(fd);
                return -ENOMEM;
        }
        for (;;) {
                errno = 0;
                const struct dirent *entry = readdir(d);
                if (!entry) {
                        if (errno != 0)
                                fault_add(faults, path, 0, "folder cannot be read: %s", strerror(errno));
                        return 0;
                }
                if (!is_drop_in(entry->d_name))
                        continue;
                r = source_list_add(l, dirfd(d), path, entry->d_name, roots, faults);
                if (r < 0)
                        return r;
        }
}

/* What one of the two roots adds. */
static int source_read_root(SourceList *l, const char *root, const SourceRoots *roots, const char *folder,
                const char *name, FaultList *faults) {
        _cleanup_(closep) int top = -1;
        _cleanup_(freep) char *path = NULL;
        int fd;

        source_open_folder(AT_FDCWD, root, roots, root, faults, &top);
        if (top < 0)
                return 0;
        if (!folder)
                return source_list_add(l, top, root, name, roots, faults);
        if (asprintf(&path, "%s/%s", root, folder) < 0)
                return -ENOMEM;
        source_open_folder(top, folder, roots, path, faults, &fd);
        return fd < 0 ? 0 : source_list_add_folder(l, fd, path, roots, faults);
}

/* Forgets the names that only mask, and puts the rest in order. */
static void source_list_settle(SourceList *l) {
        size_t n = 0;

        for (size_t i = 0; i < l->n_sources; i++) {
                if (l->sources[i].text)
                        l->sources[n++] = l->sources[i];
                else {
                        free(l->sources[i].name);
                        free(l->sources[i].path);
                }
        }
        l->n_sources = n;
        if (n > 1)
                qsort(l->sources, n, sizeof(Source), source_compare);
}

int source_read_all(const SourceRoots *roots, const char *folder, const char *name, FaultList *faults,
                SourceList *ret) {
        _cleanup_(source_list_done) SourceList list = {};
        int r;

        r = source_read_root(&list, roots->admin_dir, roots, folder, name, faults);
        if (r < 0)
                return r;
        r = source_read_root(&list, roots->vendor_dir, roots, folder, name, faults);
        if (r < 0)
                return r;
        source_list_settle(&list);
        *ret = list;
        list = (SourceList){};
        return 0;
}

/* Whether root/folder has something of that name. */
static bool source_exists(const char *root, const char *folder, const char *name, size_t n) {
        _cleanup_(freep) char *path = NULL;
        struct stat st;

        if (asprintf(&path, "%s/%s/%.*s", root, folder, (int)n, name) < 0) {
                path = NULL;
                return true; /* no fault for want of memory */
        }
        return lstat(path, &st) == 0;
}

int source_check_drop_in_folders(const SourceRoots *roots, const char *folder, FaultList *faults) {
        const char *const both[] = { roots->admin_dir, roots->vendor_dir };

        for (size_t i = 0; i < ELEMENTSOF(both); i++) {
                _cleanup_(freep) char *path = NULL;
                _cleanup_(closedirp) DIR *d = NULL;
                const struct dirent *entry;

                if (asprintf(&path, "%s/%s", both[i], folder) < 0) {
                        path = NULL;
                        return -ENOMEM;
                }
                d = opendir(path);
                while (d && (entry = readdir(d))) {
                        size_t n = strlen(entry->d_name);
                        _cleanup_(freep) char *shown = NULL;

                        if (entry->d_name[0] == '.' || n <= strlen(".conf.d") ||
                                        !streq(entry->d_name + n - strlen(".conf.d"), ".conf.d"))
                                continue;
                        n -= strlen(".d");
                        if (source_exists(roots->admin_dir, folder, entry->d_name, n) ||
                                        source_exists(roots->vendor_dir, folder, entry->d_name, n))
                                continue;
                        shown = printable(entry->d_name, 128);
                        if (!shown)
                                return -ENOMEM;
                        fault_add(faults, path, 0, "%s belongs to no file: there is no %.*s", shown,
                                        (int)(strlen(shown) - strlen(".d")), shown);
                }
        }
        return 0;
}

/* A folder on the way to a file: who may not rename or remove what root has in it cannot exchange it. */
static bool source_folder_is_believed(const struct stat *st, bool is_last, bool is_trusting_owner,
                const char *path, FaultList *faults) {
        struct stat shown = *st;

        if (!is_last && (st->st_mode & S_ISVTX))
                shown.st_mode &= ~(mode_t)(S_IWGRP | S_IWOTH);
        return source_is_believed(&shown, is_trusting_owner, path, faults);
}

/* Opens the folder that the path's last part is in. FAILED with a fault. */
static int source_open_parent(const char *path, bool is_trusting_owner, FaultList *faults, int *ret_fd,
                const char **ret_name) {
        _cleanup_(closep) int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        for (const char *p = path + 1;; p += strcspn(p, "/") + 1) {
                size_t n = strcspn(p, "/");
                _cleanup_(freep) char *folder = strndup(path, MAX((size_t)(p - path) - 1, (size_t)1)),
                                      *name = strndup(p, n);
                struct stat st;

                if (!folder || !name)
                        return -ENOMEM;
                if (fd < 0 || fstat(fd, &st) < 0) {
                        fault_add(faults, folder, 0, "folder cannot be opened: %s", strerror(errno));
                        return FAILED;
                }
                if (!source_folder_is_believed(&st, p[n] == 0, is_trusting_owner, folder, faults))
                        return FAILED;
                if (p[n] == 0) {
                        *ret_fd = TAKE_FD(fd);
                        *ret_name = p;
                        return 0;
                }
                int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
                closep(&fd);
                fd = next;
        }
}

int source_read_path(const char *path, bool is_trusting_owner, FaultList *faults, char **ret_text,
                size_t *ret_size) {
        const SourceRoots roots = { .is_trusting_owner = is_trusting_owner };
        _cleanup_(closep) int folder = -1;
        char *text = NULL;
        const char *name;
        size_t size = 0;
        int r;

        r = source_open_parent(path, is_trusting_owner, faults, &folder, &name);
        if (r != 0)
                return r;
        r = source_read_file(folder, name, &roots, path, faults, &text, &size);
        if (r == -ENOENT) {
                fault_add(faults, path, 0, "there is no such file");
                return FAILED;
        }
        if (r < 0)
                return r;
        if (!text) {
                if (faults->list.n_faults == 0)
                        fault_add(faults, path, 0, "file is empty");
                return FAILED;
        }
        *ret_text = text;
        *ret_size = size;
        return 0;
}
