/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "web/api.h"
#include "web/html.h"

/* The texts and the look of our pages. nonce admits the page's own style under its Content-Security-Policy. All write one complete
 * document; failures are in w->error. */

/* Who asks for what, and the one button. has_services: behind https, where it may have begun on the page of services. now_usec: CLOCK_REALTIME, for
 * "another n minutes". */
void page_connect(HtmlWriter *w, const char *nonce, const ApiPage *p, bool has_services, uint64_t now_usec);
/* Account, requester and claim code. */
void page_result(HtmlWriter *w, const char *nonce, const ApiResult *r, bool has_services, uint64_t now_usec);
/* What somebody sees who opens the bare address. */
void page_root(HtmlWriter *w, const char *nonce);

typedef struct PageFault {
        const char *headline; /* ours */
        const char *message;  /* what happened and to whom */
        const char *advice;   /* "Run: …" or a sentence; NULL: the usual command */
} PageFault;
void page_fault(HtmlWriter *w, const char *nonce, const PageFault *f);

/* The page of services and what belongs to it (page-services.c). */
void page_open(HtmlWriter *w, const char *nonce, const ApiInvitation *i, uint64_t now_usec);
void page_services(HtmlWriter *w, const char *nonce, const ApiServices *s, uint64_t now_usec);
void page_offer(HtmlWriter *w, const char *nonce, const ApiOffer *o, uint64_t now_usec);
/* There is no visit, or not any more; both texts are ours or vaultd's. */
void page_closed(HtmlWriter *w, const char *nonce, const char *headline, const char *message);
