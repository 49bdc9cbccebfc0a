/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ^C as something to wait for.
 *
 * A handler would have to be short and race with every read(2): the signal may come between the look at a flag and the system call that
 * then blocks. So the signal is blocked and read from a descriptor (signalfd(2)), which each wait polls beside what it waits for.
 * Only SIGINT: who closes the terminal (SIGHUP) may go on with `vaultctl claim` elsewhere, and SIGTERM is for programs that hang.
 *
 * A blocked signal is queued even where it is ignored, so an ignored one is left alone: a shell ignores it for jobs in the background.
 *
 * Who may call: the commands that connect. */

#include <signal.h>
#include <sys/signalfd.h>

#include "client/interrupt.h"

static int descriptor = -1;
static bool has_come;

static void interrupt_set(sigset_t *ret) {
        (void)sigemptyset(ret);
        (void)sigaddset(ret, SIGINT);
}

void interrupt_catch(void) {
        struct sigaction action;
        sigset_t set;

        if (descriptor >= 0 || sigaction(SIGINT, NULL, &action) < 0 || action.sa_handler == SIG_IGN)
                return;
        interrupt_set(&set);
        descriptor = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (descriptor >= 0)
                (void)sigprocmask(SIG_BLOCK, &set, NULL);
}

int interrupt_fd(void) {
        return descriptor;
}

bool interrupt_came(void) {
        struct signalfd_siginfo info;

        if (!has_come && descriptor >= 0)
                has_come = read(descriptor, &info, sizeof(info)) == (ssize_t)sizeof(info);
        return has_come;
}

void interrupt_release(void) {
        sigset_t set;

        if (descriptor < 0)
                return;
        interrupt_set(&set);
        (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}
