/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <curl/curl.h>

#include "http/http.h"

/* The lines of a request's header as libcurl takes them, in memory that is erased on release. */
struct curl_slist *header_lines_free(struct curl_slist *lines);
DEFINE_CLEANUP(struct curl_slist *, header_lines_free)

/* -EINVAL for names that are no token (RFC 9110 section 5.1) or that the transfer itself decides (Host,
 * Content-Length, Transfer-Encoding, Connection, Expect), and for values with control bytes. -ENOMEM. */
int header_lines_new(const HttpRequest *request, struct curl_slist **ret);

/* The lines of an answer, collected one by one as libcurl hands them over. */
typedef struct HeaderLines {
        char **lines; /* NULL-ended "Name: value" */
        size_t n, size;
        bool is_complete;
} HeaderLines;

/* status: what libcurl knows of the present answer. -EMSGSIZE, -EPROTO for folded or unclean lines,
 * -ENOMEM. */
int header_lines_add(HeaderLines *h, const char *line, size_t n, long status);
void header_lines_done(HeaderLines *h);
