/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "client/context.h"

/* The person at the terminal: what it can show, and what is typed. */

/* Columns of the terminal behind stream; 0 when it is none. */
size_t terminal_columns(FILE *stream);
/* Whether stream is a terminal that takes escape sequences (TERM is not dumb, NO_COLOR is not set, see no-color.org). */
bool terminal_is_styled(FILE *stream);
/* Whether the locale's variables promise UTF-8, without loading a locale. */
bool terminal_is_utf8(void);
/* Whether somebody can be asked: stdin and stderr are terminals. */
bool terminal_can_ask(void);
/* Whether this is a login over SSH, so that whoever sits there has their browser on another computer. */
bool terminal_is_remote(void);
/* Whether a browser started here would be seen by nobody: an SSH login, or no display. */
bool terminal_is_headless(void);

/* Reads one line from stdin without its end and without surrounding blanks; *ret is malloc()ed, the caller erases it when it
 * is a secret. 0; -ENODATA at the end of input; -EINTR after ^C, once interrupt_catch() was called; -EMSGSIZE when it is longer than a line may be (nothing of it is used). */
int terminal_read_line(char **ret);
/* The same behind a question on stderr, which is shown only when somebody can be asked. */
int terminal_ask_line(const char *question, char **ret);
/* 1 yes, 0 no (also an empty answer, and three that are neither); -ENODATA at the end of input; -EINTR likewise. */
int terminal_ask_yes(const char *question);

/* A line that is replaced by the next one; text NULL clears it. Only on a styled terminal behind stderr. */
void terminal_progress(const Context *c, const char *text);

/* Erases and frees a line that held a secret. */
static inline void erase_linep(char **line) {
        if (*line)
                explicit_bzero(*line, strlen(*line));
        free(*line);
}
