/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Header lines of both directions.
 *
 * Request: libcurl takes a curl_slist and uses the strings where they are; its own curl_slist_append()
 * would leave an unerased copy of each bearer behind, so the nodes are made here. A line break in a value
 * would let a caller of ours add headers; it is refused, never mended.
 *
 * Answer: lines of interim answers (1xx) are dropped, trailers are ignored (they come after the checks of
 * the header), folded lines and control bytes are protocol faults. Bounded in number and bytes. */

#include <stdio.h>
#include <strings.h>

#include "http/headers.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

#define ANSWER_LINES_MAX 256U
#define ANSWER_SIZE_MAX  (64U * 1024U)

struct curl_slist *header_lines_free(struct curl_slist *lines) {
        while (lines) {
                struct curl_slist *next = lines->next;

                if (lines->data) {
                        erase(lines->data, strlen(lines->data));
                        free(lines->data);
                }
                free(lines);
                lines = next;
        }
        return NULL;
}

static bool header_name_is_legal(const char *name) {
        static const char *const reserved[] = { "Host", "Content-Length", "Transfer-Encoding", "Connection",
                "Expect" };
        size_t n = strlen(name);

        if (n == 0 || strspn(name, LETTERS "0123456789!#$%&'*+-.^_`|~") != n)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(reserved); i++)
                if (strcasecmp(name, reserved[i]) == 0)
                        return false;
        return true;
}

static bool header_value_is_legal(const char *value, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (((uint8_t)value[i] < 0x20 && value[i] != '\t') || value[i] == 0x7f)
                        return false;
        return true;
}

/* Puts one line in front. */
static int header_lines_push(struct curl_slist **lines, const char *name, const char *prefix,
                const char *value, size_t n) {
        size_t size = strlen(name) + 2 + strlen(prefix) + n + 1;
        struct curl_slist *node = calloc(1, sizeof(struct curl_slist));

        if (!node)
                return -ENOMEM;
        node->data = malloc(size);
        if (!node->data) {
                free(node);
                return -ENOMEM;
        }
        /* "Name:" would tell libcurl to leave the header out; an empty value is spelled "Name;". */
        int k = snprintf(node->data, size, n == 0 && isempty(prefix) ? "%s;" : "%s: %s", name, prefix);
        memcpy(node->data + k, value, n);
        node->data[(size_t)k + n] = 0;
        node->next = *lines;
        *lines = node;
        return 0;
}

static int header_lines_push_header(struct curl_slist **lines, const HttpHeader *header) {
        const char *prefix = header->prefix ?: "";
        const char *value = header->secret ? secret_text(header->secret) : header->value ?: "";
        size_t n = header->secret ? header->secret->size : strlen(value);

        if (!header_name_is_legal(header->name) || !header_value_is_legal(prefix, strlen(prefix)) ||
                        !header_value_is_legal(value, n))
                return -EINVAL;
        return header_lines_push(lines, header->name, prefix, value, n);
}

int header_lines_new(const HttpRequest *request, struct curl_slist **ret) {
        _cleanup_(header_lines_freep) struct curl_slist *lines = NULL;
        bool has_type = false;
        int r;

        for (size_t i = request->n_headers; i-- > 0;) {
                has_type = has_type || strcasecmp(request->headers[i].name, "Content-Type") == 0;
                r = header_lines_push_header(&lines, &request->headers[i]);
                if (r < 0)
                        return r;
        }
        if (request->content_type) {
                HttpHeader type = { .name = "Content-Type", .value = request->content_type };

                r = has_type ? -EINVAL : header_lines_push_header(&lines, &type);
                if (r < 0)
                        return r;
        }

        /* No "Expect: 100-continue", and no form type that libcurl would make up for a POST. */
        static const char *const suppressed[] = { "Expect:", "Content-Type:" };
        for (size_t i = 0; i < (request->content_type || has_type ? 1U : 2U); i++) {
                struct curl_slist *node = calloc(1, sizeof(struct curl_slist));

                if (!node)
                        return -ENOMEM;
                node->next = lines;
                lines = node;
                node->data = strdup(suppressed[i]);
                if (!node->data)
                        return -ENOMEM;
        }

        *ret = TAKE_PTR(lines);
        return 0;
}

void header_lines_done(HeaderLines *h) {
        for (size_t i = 0; i < h->n; i++) {
                erase(h->lines[i], strlen(h->lines[i]));
                free(h->lines[i]);
        }
        free(h->lines);
        *h = (HeaderLines){};
}

/* Splits "Name:  value " and stores it as "Name: value". */
static int header_lines_store(HeaderLines *h, const char *line, size_t n) {
        const char *colon = memchr(line, ':', n);
        char *copy;

        if (!colon || colon == line || line[0] == ' ' || line[0] == '\t' ||
                        !header_value_is_legal(line, n) || memchr(line, 0, n))
                return -EPROTO;
        if (h->n >= ANSWER_LINES_MAX)
                return -EMSGSIZE;

        const char *value = colon + 1, *end = line + n;
        while (value < end && (*value == ' ' || *value == '\t'))
                value++;
        while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
                end--;

        if (!h->lines) {
                h->lines = calloc(ANSWER_LINES_MAX + 1, sizeof(char *));
                if (!h->lines)
                        return -ENOMEM;
        }
        if (asprintf(&copy, "%.*s: %.*s", (int)(colon - line), line, (int)(end - value), value) < 0)
                return -ENOMEM;
        h->lines[h->n++] = copy;
        return 0;
}

int header_lines_add(HeaderLines *h, const char *line, size_t n, long status) {
        if (h->is_complete)
                return 0;
        h->size += n;
        if (h->size > ANSWER_SIZE_MAX)
                return -EMSGSIZE;
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
                n--;

        if (n >= 5 && memcmp(line, "HTTP/", 5) ==
                                        0) { /* the next answer begins; what an interim one said is void */
                size_t size = h->size;

                header_lines_done(h);
                h->size = size;
                return 0;
        }
        if (n == 0) {
                h->is_complete = status >= 200;
                return 0;
        }
        return header_lines_store(h, line, n);
}

const char *http_response_header(const HttpResponse *response, const char *name, unsigned n) {
        size_t size = strlen(name);

        for (char **line = response->headers; line && *line; line++)
                if (strncasecmp(*line, name, size) == 0 && startswith(*line + size, ": ") && n-- == 0)
                        return *line + size + 2;
        return NULL;
}
