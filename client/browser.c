/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Opening the link.
 *
 * Only vaultctl starts a browser, as the user who asked; the daemon spawns nothing. No shell sees the address: an entry of
 * $BROWSER is split at blanks and executed as it stands. What is passed is the short link of our own page, because every
 * local user can read argv, and the provider's address holds the flow's state.
 *
 * $BROWSER is honoured also without a display: whoever set it (an editor's remote session, a script) knows how to reach a
 * browser. xdg-open is tried only when somebody could see a window. The browser gets no terminal and none of our output,
 * so that its chatter disturbs neither the conversation nor a JSON stream. A command that ends with an error within
 * moments counts as not started, and the next one is tried; one that is still running is the browser itself. */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "client/browser.h"
#include "client/interrupt.h"
#include "client/terminal.h"
#include "util/buffer.h"

#define PATIENCE_MSEC 1500
#define WORDS_MAX     32

char **strv_free(char **list) {
        for (size_t i = 0; list && list[i]; i++)
                free(list[i]);
        free(list);
        return NULL;
}

/* One word with %s and %% replaced; malloc()ed. */
static char *expand_word(const char *word, size_t n, const char *url, bool *ret_has_url) {
        Buffer b = {};
        int r = 0;

        for (size_t i = 0; i < n && r >= 0; i++)
                if (word[i] == '%' && i + 1 < n && word[i + 1] == 's') {
                        r = buffer_append_text(&b, url);
                        *ret_has_url = true;
                        i++;
                } else if (word[i] == '%' && i + 1 < n && word[i + 1] == '%') {
                        r = buffer_append_text(&b, "%");
                        i++;
                } else
                        r = buffer_append(&b, word + i, 1);
        if (r < 0)
                buffer_done(&b);
        return (char *)b.bytes;
}

char **browser_command(const char *entry, size_t n, const char *url) {
        _cleanup_(strv_freep) char **argv = calloc(WORDS_MAX + 2, sizeof(char *));
        bool has_url = false;
        size_t n_words = 0;

        if (!argv)
                return NULL;
        for (size_t i = 0; i < n && n_words < WORDS_MAX;) {
                size_t length = 0;

                while (i < n && entry[i] == ' ')
                        i++;
                while (i + length < n && entry[i + length] != ' ')
                        length++;
                if (length == 0)
                        break;
                argv[n_words] = expand_word(entry + i, length, url, &has_url);
                if (!argv[n_words++])
                        return NULL;
                i += length;
        }
        if (n_words == 0)
                return NULL;
        if (!has_url && !(argv[n_words] = strdup(url)))
                return NULL;
        return TAKE_PTR(argv);
}

/* In the child: no terminal, no descriptors of ours, then the program. */
static _noreturn_ void run_child(char *const *argv) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        interrupt_release();
        (void)setsid();
        if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
                _exit(127);
        (void)execvp(argv[0], argv);
        _exit(127);
}

static bool start(char *const *argv) {
        _cleanup_(closep) int pidfd = -1;
        int status;
        pid_t pid;

        pid = fork();
        if (pid < 0)
                return false;
        if (pid == 0)
                run_child(argv);
        pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (pidfd >= 0) {
                struct pollfd p = { .fd = pidfd, .events = POLLIN };

                (void)poll(&p, 1, PATIENCE_MSEC);
        }
        if (waitpid(pid, &status, WNOHANG) != pid)
                return true;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool browser_is_there(void) {
        return !isempty(getenv("BROWSER")) || !terminal_is_headless();
}

bool browser_open(const char *url) {
        const char *list = getenv("BROWSER");

        while (!isempty(list)) {
                size_t n = strcspn(list, ":");
                _cleanup_(strv_freep) char **argv = browser_command(list, n, url);

                if (argv && start(argv))
                        return true;
                list += n;
                list += *list == ':';
        }
        if (terminal_is_headless())
                return false;

        char *const fallback[] = { (char *)"xdg-open", (char *)url, NULL };
        return start(fallback);
}
