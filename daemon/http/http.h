/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "util/buffer.h"
#include "util/macro.h"
#include "util/secret.h"
#include "util/url.h"

/* Outgoing HTTPS: a curl multi handle inside the event loop. Requirements O11, T18. */

typedef struct Http Http;

typedef struct HttpOptions {
        const char *ca_file; /* NULL: the system's */
        const char *proxy;   /* NULL: none; never from the environment */
        const char *const *
                        allow_private; /* NULL-ended "host:port" list that may resolve to loopback or private addresses */
        const char *user_agent;
} HttpOptions;

typedef struct HttpHeader {
        const char *name;
        const char *value;    /* either value … */
        const Secret *secret; /* … or prefix + secret */
        const char *prefix;   /* e.g. "Bearer " */
} HttpHeader;

typedef struct HttpRequest {
        const char *method; /* GET, POST, DELETE */
        const char *url;
        const HttpHeader *headers;
        size_t n_headers;
        const void *body; /* NULL: none (and no content-type) */
        size_t body_size;
        const char *content_type;
        size_t max_response;   /* bytes; 0: 1 MiB */
        uint64_t timeout_usec; /* whole exchange; 0: 30 s */
        bool is_awaited; /* once it may have reached the server the answer is waited for, also by a cancelled fiber: for what must not get lost */
} HttpRequest;

typedef struct HttpResponse {
        unsigned status;
        Buffer body;
        char **headers; /* NULL-ended "Name: value" lines of the final answer, repeated ones kept */
} HttpResponse;

int http_new(sd_event *event, const HttpOptions *options, Http **ret);
Http *http_free(Http *h); /* fibers must have ended */
DEFINE_CLEANUP(Http *, http_free)

/* Performs one request on the current fiber. 0 whatever the HTTP status is; redirects are not followed (status 3xx is returned).
 * -ECANCELED; -EPERM: address or scheme refused by the guard; -ENXIO: name not resolved; -ECONNREFUSED/-EHOSTUNREACH/-ECONNRESET; -ETIMEDOUT;
 * -EPROTO: TLS or protocol failure; -EMSGSIZE: answer too large; -EMSGSIZE for headers too.
 * *ret_sent (optional) tells whether the request may have reached the server (false: certainly not, safe to repeat). */
int http_perform(Http *h, const HttpRequest *request, HttpResponse *ret_response, bool *ret_sent);
void http_response_done(HttpResponse *response);
/* Text for people: "connection refused by mcp.notion.com:443". Static or from errno. */
const char *http_error_text(int r);

/* n-th (0…) value of a header, name case-insensitive, or NULL. */
const char *http_response_header(const HttpResponse *response, const char *name, unsigned n);
