/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Sentences, JSON documents and times.
 *
 * Nearly every text here has a foreign part: account names, titles, messages of a service. So the filter sits in the only
 * door instead of at each caller (T28): a line is formatted first and passes printable() as a whole; our own wording has no
 * control bytes to lose, and style is added outside. JSON keeps its content exactly, but characters that a terminal would
 * obey are written as \u escapes, since `vaultctl --json` is also looked at.
 *
 * With --json stdout carries documents alone: the human stream is NULL then, or stderr where a question is asked. */

#include <stdarg.h>
#include <time.h>

#include "client/output.h"
#include "json/object.h"
#include "util/buffer.h"
#include "util/clock.h"
#include "util/encode.h"

/* No line of ours is longer; a hostile message cannot fill the screen. */
#define LINE_MAX_BYTES 4096
#define LINK_MAX_BYTES 32768
#define LINK_MAX_OSC8  2000 /* longer targets are dropped by terminals */

static const char *const style_on[] = {
        [STYLE_PLAIN] = "",
        [STYLE_BOLD] = "\033[1m",
        [STYLE_GOOD] = "\033[32m",
        [STYLE_WARNING] = "\033[33m",
        [STYLE_BAD] = "\033[31m",
};

static void print_line(FILE *stream, const char *before, const char *after, const char *format, va_list args)
                __attribute__((__format__(printf, 4, 0)));

static void print_line(
                FILE *stream, const char *before, const char *after, const char *format, va_list args) {
        _cleanup_(freep) char *line = NULL, *safe = NULL;

        if (vasprintf(&line, format, args) < 0)
                line = NULL;
        else
                safe = printable(line, LINE_MAX_BYTES);
        (void)fprintf(stream, "%s%s%s\n", before, safe ?: "Out of memory", after);
}

void say(const Context *c, const char *format, ...) {
        va_list args;

        if (!c->human)
                return;
        va_start(args, format);
        print_line(c->human, "", "", format, args);
        va_end(args);
}

void say_styled(const Context *c, Style style, const char *format, ...) {
        bool is_styled = c->is_styled && style != STYLE_PLAIN;
        va_list args;

        if (!c->human)
                return;
        va_start(args, format);
        print_line(c->human, is_styled ? style_on[style] : "", is_styled ? "\033[0m" : "", format, args);
        va_end(args);
}

void say_link(const Context *c, const char *url) {
        _cleanup_(freep) char *safe = printable(url, LINK_MAX_BYTES);

        if (!c->human || !safe)
                return;
        if (c->is_styled && strlen(safe) <= LINK_MAX_OSC8)
                (void)fprintf(c->human, "\033]8;;%s\033\\%s\033]8;;\033\\\n", safe, safe);
        else
                (void)fprintf(c->human, "%s\n", safe);
}

void complain(const char *format, ...) {
        va_list args;

        (void)fflush(stdout);
        va_start(args, format);
        print_line(stderr, "", "", format, args);
        va_end(args);
}

/* Appends the UTF-8 text with DEL, C1 controls, separators and bidirectional marks escaped. All of them are two- or
 * three-byte sequences (DEL apart) that can stand only inside JSON strings. */
static int append_escaped(Buffer *b, const char *text) {
        const uint8_t *p = (const uint8_t *)text;
        int r = 0;

        for (size_t length; *p && r >= 0; p += length) {
                uint32_t c = p[0];

                length = 1;
                if ((p[0] & 0xe0) == 0xc0 && p[1])
                        c = (p[0] & 0x1fU) << 6 | (p[1] & 0x3fU), length = 2;
                else if ((p[0] & 0xf0) == 0xe0 && p[1] && p[2])
                        c = (p[0] & 0x0fU) << 12 | (p[1] & 0x3fU) << 6 | (p[2] & 0x3fU), length = 3;
                if (c == 0x7f || (length == 2 && c < 0xa0) ||
                                (length == 3 && ((c >= 0x200b && c <= 0x200f) ||
                                                                (c >= 0x2028 && c <= 0x202e) ||
                                                                (c >= 0x2060 && c <= 0x206f) ||
                                                                c == 0xfeff)))
                        r = buffer_printf(b, "\\u%04x", c);
                else
                        r = buffer_append(b, p, length);
        }
        return r;
}

char *json_text_for_terminal(json_object *document) {
        Buffer b = {};
        const char *text = json_text(document);

        if (!text || append_escaped(&b, text) < 0) {
                buffer_done(&b);
                return NULL;
        }
        return (char *)b.bytes;
}

void output_json(json_object *document) {
        _cleanup_(freep) char *text = document ? json_text_for_terminal(document) : NULL;

        if (!text)
                return;
        (void)fprintf(stdout, "%s\n", text);
        (void)fflush(stdout); /* a reader of a stream of states waits for each */
}

ExitCode output_finish(ExitCode code) {
        if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_CODE_DONE) {
                complain("Cannot write the answer: %s", strerror(errno));
                return EXIT_CODE_FAILED;
        }
        return code;
}

char *format_until(int64_t realtime_usec) {
        int64_t left, seconds;
        char *text = NULL;
        int r;

        if (__builtin_sub_overflow(realtime_usec, (int64_t)now_realtime(), &left) || left < 0)
                return strdup("expired");
        seconds = left / (int64_t)USEC_PER_SEC;
        if (seconds < 90)
                r = asprintf(&text, "in %lld s", (long long)seconds);
        else if (seconds < 90 * 60)
                r = asprintf(&text, "in %lld min", (long long)((seconds + 30) / 60));
        else if (seconds < 36 * 3600)
                r = asprintf(&text, "in %lld h", (long long)((seconds + 1800) / 3600));
        else
                r = asprintf(&text, "in %lld days", (long long)((seconds + 43200) / 86400));
        return r < 0 ? NULL : text;
}

char *format_moment(int64_t realtime_usec) {
        time_t seconds = (time_t)(realtime_usec / (int64_t)USEC_PER_SEC);
        char text[32];
        struct tm t;

        if (realtime_usec < 0 || !localtime_r(&seconds, &t) ||
                        strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &t) == 0)
                return strdup("unknown");
        return strdup(text);
}
