/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "web/html.h"

/* The frame of every page. nonce admits the page's own style under its Content-Security-Policy; failures are in w->error. */

/* Up to <main>. is_wide: for a page of cards. */
void page_begin(HtmlWriter *w, const char *nonce, const char *title, bool is_wide);
/* From </main> on, with a sentence below it. */
void page_end(HtmlWriter *w, const char *footer);

/* "for another 9 minutes", rounded down so that it never promises too much. Times are CLOCK_REALTIME. */
void page_time_left(uint64_t expires_usec, uint64_t now_usec, char *ret, size_t size);
