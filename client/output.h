/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>

#include "client/context.h"

/* What reaches the terminal. Everything that goes through here is stripped of bytes that act on one. */

typedef enum Style {
        STYLE_PLAIN,
        STYLE_BOLD,
        STYLE_GOOD,
        STYLE_WARNING,
        STYLE_BAD,
} Style;

/* One line on the context's human stream; nothing with --json. */
void say(const Context *c, const char *format, ...) _printf_(2, 3);
void say_styled(const Context *c, Style style, const char *format, ...) _printf_(3, 4);
/* An http or https address on a line of its own, bare, so that it can be copied; on a terminal also a link (OSC 8). */
void say_link(const Context *c, const char *url);
/* One line on stderr. */
void complain(const char *format, ...) _printf_(1, 2);

/* One document on one line of stdout. NULL prints nothing. */
void output_json(json_object *document);
/* The document's text with every character that acts on a terminal as \uXXXX: the same JSON, harmless to look at. malloc()ed. */
char *json_text_for_terminal(json_object *document);

/* Flushes; turns EXIT_CODE_DONE into EXIT_CODE_FAILED when stdout could not take everything. */
ExitCode output_finish(ExitCode code);

/* "in 9 min", "in 3 days", "expired"; realtime microseconds. */
char *format_until(int64_t realtime_usec);
/* "2026-11-21 23:13" in local time. */
char *format_moment(int64_t realtime_usec);
