/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The one way text gets into a page.
 *
 * Nearly all that our pages show comes from elsewhere: the account's name from an upstream service, messages that
 * quote authorization servers, query parameters that anybody may send. A template language of one verb leaves no
 * second, unescaped way: templates are literals in pages.c and arguments are always inert. Escaping alone would
 * leave text that reorders or hides its neighbours (threat T28), so arguments also pass the filter for terminals.
 *
 * Who may call: pages.c. */

#include <assert.h>
#include <stdarg.h>

#include "util/encode.h"
#include "web/html.h"

static void html_append(HtmlWriter *w, const char *bytes, size_t n) {
        if (w->error == 0)
                w->error = buffer_append(&w->buffer, bytes, n);
}

static void html_append_text(HtmlWriter *w, const char *text) {
        html_append(w, text, strlen(text));
}

static void html_append_escaped(HtmlWriter *w, const char *text) {
        for (const char *p = text; *p; p++)
                switch (*p) {
                case '&':
                        html_append_text(w, "&amp;");
                        break;
                case '<':
                        html_append_text(w, "&lt;");
                        break;
                case '>':
                        html_append_text(w, "&gt;");
                        break;
                case '"':
                        html_append_text(w, "&quot;");
                        break;
                case '\'':
                        html_append_text(w, "&#39;");
                        break;
                default:
                        html_append(w, p, 1);
                }
}

static void html_append_foreign(HtmlWriter *w, const char *text) {
        char *shown;

        if (!text || w->error != 0)
                return;
        shown = printable(text, HTML_TEXT_MAX);
        if (!shown) {
                w->error = -ENOMEM;
                return;
        }
        html_append_escaped(w, shown);
        if (strlen(text) > HTML_TEXT_MAX)
                html_append_text(w, "…");
        /* It may have been a claim code. */
        explicit_bzero(shown, strlen(shown));
        free(shown);
}

void html_put(HtmlWriter *w, const char *template, ...) {
        va_list args;

        va_start(args, template);
        for (const char *p = template; *p;) {
                size_t n = strcspn(p, "%");

                html_append(w, p, n);
                p += n;
                if (*p == 0)
                        break;
                assert(p[1] == 's' || p[1] == '%');
                if (p[1] == 's')
                        html_append_foreign(w, va_arg(args, const char *));
                else
                        html_append(w, "%", 1);
                p += 2;
        }
        va_end(args);
}

void html_done(HtmlWriter *w) {
        buffer_done(&w->buffer);
        w->error = 0;
}
