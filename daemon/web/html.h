/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/buffer.h"

/* Builds HTML such that foreign text cannot become markup. The first failure sticks; look at error at the end. */
typedef struct HtmlWriter {
        Buffer buffer;
        int error; /* 0, -ENOMEM, -ENOBUFS */
} HtmlWriter;

/* Adds template, which is ours and a literal, with every %s replaced by its argument as inert text: control bytes, bidirectional
 * overrides and invalid UTF-8 replaced by '?', at most HTML_TEXT_MAX bytes (an ellipsis shows a cut), and & < > " ' as references, so
 * that it is safe between tags and inside quoted attributes. %% is a percent sign; nothing else of printf(3) exists here. NULL counts as "". */
void html_put(HtmlWriter *w, const char *template, ...) _printf_(2, 3);

#define HTML_TEXT_MAX ((size_t)600)

void html_done(HtmlWriter *w);
