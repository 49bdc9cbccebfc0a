/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Times whole processes: starts a command again and again, output thrown away, and waits for each.
 *
 * posix_spawn(3) shares our memory until the exec, so the size of this program does not enter the figure. The exit
 * status must be that of a command that worked: one that fails early would look fast.
 *
 * usage: bench-spawn COUNT EXIT-STATUS COMMAND [ARGUMENT]... One line of JSON: p50 and p99 in microseconds. */

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "util/macro.h"

extern char **environ;

static uint64_t now_nsec(void) {
        struct timespec t;

        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return x < y ? -1 : x > y;
}

int main(int argc, char *argv[]) {
        posix_spawn_file_actions_t actions;
        long count = argc > 3 ? atol(argv[1]) : 0;
        uint64_t *taken = count > 0 && count < 1000000 ? calloc((size_t)count, sizeof(uint64_t)) : NULL;

        if (!taken || posix_spawn_file_actions_init(&actions) != 0 ||
                        posix_spawn_file_actions_addopen(
                                        &actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) != 0) {
                (void)fputs("usage: bench-spawn COUNT EXIT-STATUS COMMAND [ARGUMENT]...\n", stderr);
                return 2;
        }
        for (long i = 0; i < count; i++) {
                uint64_t started = now_nsec();
                int status;
                pid_t pid;

                if (posix_spawnp(&pid, argv[3], &actions, NULL, argv + 3, environ) != 0 ||
                                waitpid(pid, &status, 0) != pid) {
                        perror(argv[3]);
                        return EXIT_FAILURE;
                }
                taken[i] = now_nsec() - started;
                if (!WIFEXITED(status) || WEXITSTATUS(status) != atoi(argv[2])) {
                        (void)fprintf(stderr, "bench-spawn: %s ended with status %d\n", argv[3], status);
                        return EXIT_FAILURE;
                }
        }
        qsort(taken, (size_t)count, sizeof(uint64_t), compare);
        (void)printf("{\"p50\":%.1f,\"p99\":%.1f}\n", (double)taken[count / 2] / 1000,
                        (double)taken[count * 99 / 100] / 1000);
        free(taken);
        return 0;
}
