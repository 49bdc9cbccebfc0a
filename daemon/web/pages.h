/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "web/api.h"
#include "web/html.h"

/* The texts and the look of our pages. nonce admits the page's own style under its Content-Security-Policy. All write one complete
 * document; failures are in w->error. */

/* Who asks for what, and the one button. now_usec: CLOCK_REALTIME, for "another n minutes". */
void page_connect(HtmlWriter *w, const char *nonce, const ApiPage *p, uint64_t now_usec);
/* Account, requester and claim code. */
void page_result(HtmlWriter *w, const char *nonce, const ApiResult *r, uint64_t now_usec);
/* What somebody sees who opens the bare address. */
void page_root(HtmlWriter *w, const char *nonce);

typedef struct PageFault {
        const char *headline; /* ours */
        const char *message;  /* what happened and to whom */
        const char *advice;   /* "Run: …" or a sentence; NULL: the usual command */
} PageFault;
void page_fault(HtmlWriter *w, const char *nonce, const PageFault *f);
