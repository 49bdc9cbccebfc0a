/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Questions and answers at a terminal.
 *
 * Input is read byte by byte from descriptor 0, never through stdio: the connect conversation polls stdin beside the
 * connection to vaultd, and a byte that sat in a stdio buffer would be invisible to poll(). Questions go to stderr, so that
 * stdout stays what a script asked for. A terminal in canonical mode hands over whole lines of at most 4095 bytes (N_TTY,
 * termios(3)) and drops the rest without a word, so a line of that length is refused as cut instead of being used.
 *
 * A terminal proves nothing: whoever runs as this user can make one. These questions guard against mistakes alone. */

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "client/interrupt.h"
#include "client/output.h"
#include "client/terminal.h"
#include "util/buffer.h"
#include "util/encode.h"

/* Redirect URLs are a few hundred bytes, at some providers some thousand. */
#define LINE_MAX_INPUT   32768
#define CANONICAL_LENGTH 4095

size_t terminal_columns(FILE *stream) {
        struct winsize size;

        if (!stream || ioctl(fileno(stream), TIOCGWINSZ, &size) < 0)
                return 0;
        return size.ws_col;
}

bool terminal_is_styled(FILE *stream) {
        const char *term = getenv("TERM");

        return stream && isatty(fileno(stream)) && isempty(getenv("NO_COLOR")) && !isempty(term) &&
               !streq(term, "dumb");
}

bool terminal_is_utf8(void) {
        const char *names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                const char *value = getenv(names[i]);

                if (!isempty(value))
                        return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
        }
        return false;
}

bool terminal_can_ask(void) {
        return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

bool terminal_is_remote(void) {
        return !isempty(getenv("SSH_CONNECTION")) || !isempty(getenv("SSH_TTY"));
}

bool terminal_is_headless(void) {
        return terminal_is_remote() ||
               (isempty(getenv("DISPLAY")) && isempty(getenv("WAYLAND_DISPLAY")));
}

/* The next byte of stdin: 1, 0 at the end, or an error; -EINTR after ^C where that is caught. */
static int read_byte(char *ret) {
        for (;;) {
                struct pollfd fds[] = {
                        { .fd = STDIN_FILENO, .events = POLLIN },
                        { .fd = interrupt_fd(), .events = POLLIN },
                };
                ssize_t n;

                if (interrupt_fd() >= 0) {
                        (void)poll(fds, ELEMENTSOF(fds), -1);
                        if (interrupt_came())
                                return -EINTR;
                }
                n = read(STDIN_FILENO, ret, 1);
                if (n >= 0)
                        return (int)n;
                if (errno == EAGAIN) { /* somebody before us left the descriptor non-blocking */
                        struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

                        (void)poll(&p, 1, -1);
                } else if (errno == EIO)
                        return 0; /* the terminal went away */
                else if (errno != EINTR)
                        return -errno;
        }
}

static char *trimmed_copy(const char *line) {
        size_t n;

        line += strspn(line, " \t\r");
        n = strlen(line);
        while (n > 0 && strchr(" \t\r", line[n - 1]))
                n--;
        return strndup(line, n);
}

int terminal_read_line(char **ret) {
        _cleanup_(buffer_done) Buffer line = { .limit = LINE_MAX_INPUT };
        bool is_too_long = false;
        char *text, c = 0;
        int r;

        while ((r = read_byte(&c)) > 0 && c != '\n')
                if (!is_too_long && buffer_append(&line, &c, 1) < 0)
                        is_too_long = true; /* read on to the line's end, so that the rest is no second answer */
        if (r < 0)
                return r;
        if (r == 0 && line.size == 0)
                return -ENODATA;
        if (is_too_long || (isatty(STDIN_FILENO) && line.size >= CANONICAL_LENGTH) ||
                        (line.size > 0 && memchr(line.bytes, 0, line.size)))
                return -EMSGSIZE;
        text = trimmed_copy(line.size > 0 ? (const char *)line.bytes : "");
        if (!text)
                return -ENOMEM;
        *ret = text;
        return 0;
}

int terminal_ask_line(const char *question, char **ret) {
        _cleanup_(freep) char *safe = printable(question, 1024);
        int r;

        (void)fflush(stdout);
        if (terminal_can_ask() && safe)
                (void)fprintf(stderr, "%s ", safe);
        r = terminal_read_line(ret);
        if ((r == -ENODATA || r == -EINTR) && terminal_can_ask())
                (void)fputc('\n', stderr);
        return r;
}

int terminal_ask_yes(const char *question) {
        for (unsigned tries = 3; tries > 0; tries--) {
                _cleanup_(freep) char *answer = NULL;
                int r;

                r = terminal_ask_line(question, &answer);
                if (r < 0)
                        return r;
                if (strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0)
                        return 1;
                if (isempty(answer) || strcasecmp(answer, "n") == 0 || strcasecmp(answer, "no") == 0)
                        return 0;
                complain("Please answer yes or no.");
        }
        return 0;
}

void terminal_progress(const Context *c, const char *text) {
        if (c->is_json || !terminal_is_styled(stderr))
                return;
        (void)fflush(stdout);
        (void)fprintf(stderr, "\r\033[K%s", text ?: "");
}
