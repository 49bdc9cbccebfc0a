/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* The one URL parser of everything: outgoing requests, policy, OAuth metadata. Requirement V8, threat T18. */

typedef struct HttpUrl {
        char *scheme, *host, *path, *query; /* host lower case, IPv6 without brackets; path at least "/" */
        uint16_t port;                      /* explicit or default */
} HttpUrl;

/* Parses an absolute https URL of at most 2048 bytes (RFC 3986). -EINVAL for anything with two readings:
 * another scheme, userinfo, a fragment, bytes that RFC 3986 does not allow, a host with a trailing dot,
 * percent escapes, a zone or non-ASCII characters, port 0, a bad percent escape, dot segments (also
 * escaped). -ENOMEM. */
int http_url_parse(const char *text, HttpUrl *ret);
void http_url_done(HttpUrl *url);

/* "https://host[:port]" without the default port (RFC 6454 section 6.2). malloc()ed; NULL: no memory. */
char *http_url_origin(const HttpUrl *url);
bool http_url_same_origin(const HttpUrl *a, const HttpUrl *b);

/* Whether a request may carry what is bound to upstream (V8, T18): both parse, scheme, host and port are the same, and the request's path is
 * upstream's or lies below it, whole segments and byte for byte: an escape that stands for a letter is another path, upper case too. A query
 * that upstream has must be the request's; where it has none the request may have any. Anything else, also no memory, is false. */
bool url_is_bound(const char *upstream, const char *request);

/* Parses, and has neither path nor query: nothing but "https://host[:port]", with or without a slash behind it. */
bool url_is_origin(const char *text);

/* A host name, an IPv4 address, or "*." and a name of at least two parts, in the form that the platform and the guard know: lower case, no port, no IPv6,
 * no address in another spelling. */
bool url_host_pattern_is_legal(const char *pattern);
/* The request's host is one of the NULL-ended patterns, https, on port 443. "*.a.test" is every name below a.test and not a.test itself. */
bool url_is_for_hosts(const char *request, char *const *patterns);

/* "host:port", with an IPv6 address in brackets; the port must be there. *ret_host as in HttpUrl,
 * malloc()ed. -EINVAL, -ENOMEM. */
int http_host_port_parse(const char *text, char **ret_host, uint16_t *ret_port);

/* The same of "http://host:port" or "https://host:port", which is how a proxy is named. */
int http_proxy_parse(const char *text, char **ret_host, uint16_t *ret_port);
