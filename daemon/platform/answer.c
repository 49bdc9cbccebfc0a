/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading what the platform says. Pure: no descriptor, no log, no waiting.
 *
 * Answers are as untrusted as any other foreign bytes. They have passed the strict scan, which gives
 * them one reading; here each member is taken only in the type it should have, unknown members are
 * passed over, and text that may reach a person is made printable and short. An id becomes part of the
 * next request's path, so it is taken only from a harmless alphabet. The words of an error are the
 * platform's own: they may repeat what was sent, therefore never the words about a request that carried
 * a secret, and never any that contain the workspace key. */

#include <stdarg.h>
#include <stdio.h>

#include "platform/platform-internal.h"
#include "util/encode.h"

#define WORDS_MAX       200U  /* bytes of the platform's message in ours */
#define RETRY_AFTER_MAX 86400 /* seconds; beyond this a number is not a waiting time */

int platform_failure(Failure *failure, const char *what, const char *format, ...) {
        _cleanup_(freep) char *text = NULL;
        va_list args;
        int n;

        va_start(args, format);
        n = vasprintf(&text, format, args);
        va_end(args);
        if (n < 0) {
                text = NULL;
                return -ENOMEM;
        }
        return failure_set(failure, FAILURE_PLATFORM, NULL, "Claude Platform: cannot %s: %s", what, text);
}

int64_t answer_retry_after(const HttpResponse *response) {
        const char *text = http_response_header(response, "retry-after", 0);
        size_t n = text ? strspn(text, "0123456789") : 0;

        if (n == 0 || n > 5 || text[n] != 0)
                return -1;
        int64_t seconds = strtol(text, NULL, 10);
        return seconds <= RETRY_AFTER_MAX ? seconds : -1;
}

/* What the platform itself says, when that can be shown; NULL otherwise. */
static char *answer_words(const Request *request, unsigned status, json_object *answer, const Secret *key) {
        json_object *error = NULL;
        const char *message;

        if (request->has_secret || status == 401 || json_get_object(answer, "error", &error) < 0)
                return NULL;
        message = json_string(error, "message");
        if (isempty(message) || strstr(message, secret_text(key)))
                return NULL;
        return printable(message, WORDS_MAX);
}

static const char *status_text(unsigned status) {
        static const struct {
                unsigned status;
                const char *text;
        } texts[] = {
                { 400, "it refuses the request" },
                { 401, "it does not accept the workspace key" },
                { 402, "the workspace is out of credit" },
                { 403, "the workspace key does not permit this" },
                { 404, "it knows no such object" },
                { 409, "it conflicts with what is there" },
                { 413, "the request is too large for it" },
                { 429, "it is asked too often at the moment" },
                { 529, "it is overloaded at the moment" },
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if (texts[i].status == status)
                        return texts[i].text;
        return status >= 500   ? "it has a fault at the moment"
               : status >= 400 ? "it refuses the request"
                               : "its answer makes no sense";
}

static int status_hint(unsigned status, int64_t retry_after, char **ret) {
        int n = 0;

        if (status == 401 || status == 402 || status == 403)
                n = asprintf(ret, "Ask the administrator of this host to check the workspace and its key");
        else if (retry_after > 0)
                n = asprintf(ret, "Try again in %d seconds", (int)retry_after);
        else if (status == 429 || status >= 500)
                n = asprintf(ret, "Try again later");
        return n < 0 ? -ENOMEM : 0;
}

int answer_failure(const Request *request, const HttpResponse *response, json_object *answer,
                const Secret *key, Failure *failure) {
        _cleanup_(freep) char *words = answer_words(request, response->status, answer, key), *hint = NULL;
        int64_t retry_after = answer_retry_after(response);
        const char *id =
                        http_response_header(response, "request-id", 0) ?: json_string(answer, "request_id");
        int r;

        r = status_hint(response->status, retry_after, &hint);
        if (r < 0) {
                hint = NULL;
                return r;
        }
        r = failure_set(failure, FAILURE_PLATFORM, hint, "Claude Platform: cannot %s: %s (status %u)%s%s",
                        request->what, status_text(response->status), response->status, words ? ": " : "",
                        words ?: "");
        if (r != FAILED)
                return r;
        failure->status = response->status;
        failure->retry_after = retry_after;
        if (id) {
                failure->request_id = printable(id, PLATFORM_ID_MAX);
                if (!failure->request_id)
                        return -ENOMEM;
        }
        return FAILED;
}

const char *object_id(json_object *object, const char *prefix) {
        const char *id = json_string(object, "id"), *rest;
        size_t n;

        rest = id ? startswith(id, prefix) : NULL;
        if (!rest)
                return NULL;
        n = strspn(rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
        return n > 0 && rest[n] == 0 && strlen(id) <= PLATFORM_ID_MAX ? id : NULL;
}

const char *object_metadata(json_object *object, const char *name) {
        json_object *metadata = NULL;

        return json_get_object(object, "metadata", &metadata) < 0 ? NULL : json_string(metadata, name);
}

bool object_is_archived(json_object *object) {
        json_object *value = NULL;

        /* Anything but null or absent: a form that we do not know must not pass for "not archived". */
        return json_object_object_get_ex(object, "archived_at", &value) && value;
}

bool server_url_equal(const char *a, const char *b) {
        HttpUrl x = {}, y = {};
        bool is_equal = false;

        if (!a || !b)
                return false;
        if (http_url_parse(a, &x) >= 0 && http_url_parse(b, &y) >= 0) {
                for (HttpUrl *u = &x;; u = &y) {
                        for (size_t n = strlen(u->path); n > 0 && u->path[n - 1] == '/'; n--)
                                u->path[n - 1] = 0;
                        if (u == &y)
                                break;
                }
                is_equal = streq(x.host, y.host) && x.port == y.port && streq(x.path, y.path) &&
                           streq_ptr(x.query, y.query);
        } else
                is_equal = streq(a, b);
        http_url_done(&x);
        http_url_done(&y);
        return is_equal;
}

static bool member_covers(const char *name, json_object *sent, json_object *answered) {
        if (streq(name, "url") && json_object_is_type(sent, json_type_string) &&
                        json_object_is_type(answered, json_type_string))
                return server_url_equal(json_object_get_string(sent), json_object_get_string(answered));
        if (streq(name, "model") && json_object_is_type(sent, json_type_string) &&
                        json_object_is_type(answered, json_type_object))
                return streq_ptr(json_object_get_string(sent), json_string(answered, "id"));
        return json_covers(sent, answered);
}

/* Recursion is as deep as what we sent, which is ours. */
bool json_covers(json_object *sent, json_object *answered) {
        json_object *other;

        if (!sent || !answered)
                return sent == answered;
        switch (json_object_get_type(sent)) {
        case json_type_object: {
                json_object_object_foreach(sent, name, value) {
                        if (!json_object_object_get_ex(answered, name, &other) ||
                                        !member_covers(name, value, other))
                                return false;
                }
                return true;
        }
        case json_type_array:
                if (!json_object_is_type(answered, json_type_array) ||
                                json_object_array_length(sent) != json_object_array_length(answered))
                        return false;
                for (size_t i = 0; i < json_object_array_length(sent); i++)
                        if (!json_covers(json_object_array_get_idx(sent, i),
                                            json_object_array_get_idx(answered, i)))
                                return false;
                return true;
        default:
                return json_object_equal(sent, answered) != 0;
        }
}
