/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The abort hook of test builds: see crash-point.h. The counter is shared by all threads, since the writer thread's
 * commits count too; the process dies by SIGKILL, so nothing is flushed, freed or closed in good order. */

#include "util/crash-point.h"

#if ENABLE_TEST_HOOKS
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

void crash_point(const char *name) {
        static atomic_uint count;
        const char *at = getenv("VAULTD_TEST_CRASH_AT"), *file = getenv("VAULTD_TEST_CRASH_LOG");
        unsigned n = atomic_fetch_add(&count, 1) + 1;

        if (file) {
                int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

                if (fd >= 0) {
                        (void)dprintf(fd, "%u %s\n", n, name);
                        (void)safe_close(fd);
                }
        }
        if (at && strtoul(at, NULL, 10) == n)
                (void)kill(getpid(), SIGKILL);
}
#endif
