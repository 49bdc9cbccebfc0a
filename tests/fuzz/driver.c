/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs a libFuzzer harness over every file of the folders and files that the arguments name, once each, so that the
 * corpus is an ordinary test under any compiler and sanitizer. Input is handed over in memory of its exact size: a
 * read behind the end is seen. A corpus that has gone missing is a failure, not a success. */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "util/macro.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path) {
        _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        _cleanup_(freep) uint8_t *data = NULL;
        size_t done = 0, size;
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return 0;
        size = (size_t)st.st_size;
        data = malloc(MAX(size, (size_t)1));
        if (!data)
                return -ENOMEM;
        while (done < size) {
                ssize_t n = read(fd, data + done, size - done);

                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                done += (size_t)n;
        }
        (void)LLVMFuzzerTestOneInput(data, size);
        return 1;
}

/* The number of inputs run, or -errno. */
static int run_folder(const char *path) {
        struct dirent **entries;
        int n, r = 0, count = 0;

        n = scandir(path, &entries, NULL, alphasort);
        if (n < 0)
                return errno == ENOTDIR ? run_file(path) : -errno;
        for (int i = 0; i < n; i++) {
                _cleanup_(freep) char *file = NULL;

                if (r >= 0 && entries[i]->d_name[0] != '.') {
                        r = asprintf(&file, "%s/%s", path, entries[i]->d_name) < 0 ? -ENOMEM
                                                                                   : run_file(file);
                        count += MAX(r, 0);
                }
                free(entries[i]);
        }
        free(entries);
        return r < 0 ? r : count;
}

int main(int argc, char *argv[]) {
        int count = 0;

        for (int i = 1; i < argc; i++) {
                int r = run_folder(argv[i]);

                if (r <= 0) {
                        (void)fprintf(stderr, "%s: %s\n", argv[i], r < 0 ? strerror(-r) : "no input");
                        return 1;
                }
                count += r;
        }
        (void)printf("%d inputs\n", count);
        return count > 0 ? 0 : 1;
}
