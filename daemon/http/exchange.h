/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <curl/curl.h>

#include "http/guard.h"
#include "http/headers.h"
#include "http/http.h"

/* What an Http was made with: own copies. */
typedef struct HttpSettings {
        char *ca_file, *proxy, *user_agent;
        char *proxy_host; /* of proxy; NULL without one */
        uint16_t proxy_port;
        Allowance *allowances;
        size_t n_allowances;
} HttpSettings;

/* One request and its answer: a curl easy handle with everything that its callbacks touch. Does not move
 * while the handle is in use. */
typedef struct Exchange {
        const HttpSettings *settings;
        const HttpRequest *request;
        HttpUrl url;
        CURL *easy;
        struct curl_slist *lines, *addresses;
        bool is_local_allowed; /* AllowPrivate= has this host and port */
        bool is_vetoed;        /* an address was refused */
        bool is_sent;          /* the request may have reached the server */
        bool is_repeated;      /* libcurl wanted to send it once more */
        int fault;             /* negative errno of a callback that ended the transfer */
        HeaderLines answer;
        Buffer body;
        void *userdata;
} Exchange;

/* Checks the request and makes the handle. -EPERM: refused target; -EINVAL: method or headers; -ENOMEM. */
int exchange_init(Exchange *x, const HttpSettings *settings, const HttpRequest *request, void *userdata);
/* How long the whole may take, microseconds. */
uint64_t exchange_timeout(const HttpRequest *request);
/* The host whose address is needed, the proxy if there is one, in the form of HttpUrl. NULL: it is an address already. */
const char *exchange_peer(const Exchange *x);
/* Where that host is, as resolver_find() says it, and how much is left of the request's time. -ENOMEM, -EOPNOTSUPP. */
int exchange_set_addresses(Exchange *x, const char *addresses, uint64_t timeout_usec);
/* The owner given to exchange_init() of the transfer behind a handle. */
void *exchange_userdata(CURL *easy);
/* What libcurl's result means, as http_perform() documents it. */
int exchange_result(const Exchange *x, CURLcode code);
/* Hands the answer over. Only after exchange_result() gave 0. */
void exchange_take_response(Exchange *x, HttpResponse *ret);
/* The handle must be out of the multi handle. */
void exchange_done(Exchange *x);
