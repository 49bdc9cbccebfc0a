/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is said when LMDB's file cannot be read through its map.
 *
 * LMDB reads pages as memory. Where the disk fails or the file is shorter than it was, the kernel answers a read with SIGBUS, and
 * where a damaged page leads to an address that is none, with SIGSEGV. LMDB checks little of a page before it follows it, and to
 * check them all at each start would take minutes for a large store. So the process ends, as it must, but with a word about
 * why and what to do, instead of a crash that looks like a fault of the program.
 *
 * Whether a thread is at work in the database is noted around each use, because a wild address says nothing by itself. A
 * fault at any other time is none of the store's business and is left to whoever had the signal before.
 *
 * A handler runs between any two instructions, so it does nothing but look, write(2) and give the signal back; it returns, the
 * instruction faults again, and that time it ends the process.
 *
 * Who may call: the LMDB body, around all that touches the map. */

#include <signal.h>

#include "store/body-lmdb.h"
#include "util/log.h"

#define ADVICE "If it happens again, restore a backup: vaultctl admin restore"

static const char text[] = "<2>store: the database cannot be read: its disk failed, or the file was damaged "
                           "or cut short; ending. " ADVICE "\n";

static const int signals[] = { SIGSEGV, SIGBUS };
static struct sigaction before[ELEMENTSOF(signals)];
static _Thread_local volatile sig_atomic_t depth;

static void on_fault(int number, siginfo_t *info, void *context) {
        int error = errno;

        if (depth > 0) {
                ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);
                (void)n;
        }
        for (size_t i = 0; i < ELEMENTSOF(signals); i++)
                if (signals[i] == number)
                        (void)sigaction(number, &before[i], NULL);
        /* One that somebody sent is not repeated by the instruction. */
        if (info->si_code <= 0)
                (void)raise(number);
        errno = error;
}

int fault_watch(void) {
        struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

        (void)sigemptyset(&action.sa_mask);
        for (size_t i = 0; i < ELEMENTSOF(signals); i++) {
                struct sigaction was;

                if (sigaction(signals[i], &action, &was) < 0)
                        return -errno;
                if (was.sa_sigaction != on_fault) /* of a store that was open before */
                        before[i] = was;
        }
        return 0;
}

void fault_enter(void) {
        depth++;
}

void fault_leave(void) {
        depth--;
}

void fault_assert(MDB_env *env, const char *message) {
        log_full(LOG_CRIT, NULL, 0,
                        "store: the database's pages contradict each other (%s); ending. " ADVICE, message);
        log_close();
        abort();
}
