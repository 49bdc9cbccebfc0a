/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "web/html.h"
#include "web/site.h"

/* A request, as far as it matters. Texts are borrowed; NULL: absent. */
typedef struct Request {
        const char *method;
        const char *target; /* as it stood in the request line */
        const char *host, *origin, *fetch_site, *fetch_dest, *content_type;
        bool has_repeated_header; /* one of these occurs twice */
        const char *cookie;
        bool is_cookie_repeated;
        const char *body; /* of a POST; n_body bytes */
        size_t n_body;
        bool is_body_too_large;
        uint16_t port;            /* of the listener */
        const char *local, *peer; /* "address:port" of the TCP connection */
} Request;

typedef struct Reply {
        unsigned status;
        const char *allow;       /* for 405 */
        char *location;          /* for 303 */
        char *set_cookie;        /* NULL: none */
        const char *content_type; /* NULL: a page */
        const char *form_action; /* where forms of the page may lead; NULL: nowhere */
        char nonce[32];          /* of the page's style */
        HtmlWriter page;
        const char *name; /* of the route, for the access log: never a ticket or parameter */
} Reply;

void reply_done(Reply *r);

typedef struct RouteContext {
        const char *socket; /* of io.vaultd.Web */
        Site site;
} RouteContext;

/* Answers a request, calling vaultd where the page needs it; may block as long as the calls of api.h do. Any thread. 0 with *ret filled
 * whatever went wrong with the request; -errno only when not even an error page could be made. */
int route_answer(const RouteContext *context, const Request *request, Reply *ret);

/* A page without a call: too many requests at once. */
int route_answer_busy(Reply *ret);
