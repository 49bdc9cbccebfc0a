/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One HTTP exchange with a service or its authorization server. Whatever comes back is untrusted: it passes the
 * strict scan, and text from it is made printable before it may enter a message. */

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "oauth/oauth-internal.h"
#include "util/encode.h"

#define URL_SHOWN_MAX     200U
#define RETRY_MAX_SECONDS 3600UL

int exchange_failure(const Exchange *x, Failure *failure, const char *format, ...) {
        /* The address may be one that a server named, any bytes it liked. */
        _cleanup_(freep) char *text = NULL, *url = printable(x->request.url, URL_SHOWN_MAX);
        va_list args;
        int n, r;

        if (!url)
                return -ENOMEM;

        va_start(args, format);
        n = vasprintf(&text, format, args);
        va_end(args);
        if (n < 0) {
                text = NULL;
                return -ENOMEM;
        }
        r = failure_set(failure, FAILURE_UPSTREAM, NULL, "%s: %s (%s, %s)", x->title, text, x->what, url);
        if (r == FAILED)
                failure->title = strdup(x->title);
        return r;
}

/* Delta seconds; a date, the header's other form, is taken for no wish (RFC 9110 section 10.2.3). */
static uint64_t retry_after(const HttpResponse *response) {
        const char *text = http_response_header(response, "Retry-After", 0);
        unsigned long seconds;
        char *end;

        if (!text || *text < '0' || *text > '9')
                return 0;
        errno = 0;
        seconds = strtoul(text, &end, 10);
        if (*end)
                return 0;
        return MIN(errno != 0 ? RETRY_MAX_SECONDS : seconds, RETRY_MAX_SECONDS) * USEC_PER_SEC;
}

/* Only what is called a form is read as one: any text is a form to who looks for one. */
static int response_form(const HttpResponse *response, json_object **ret) {
        static const char form[] = "application/x-www-form-urlencoded";
        const char *type = http_response_header(response, "Content-Type", 0);
        size_t n = type ? strcspn(type, "; \t") : 0;
        int r;

        if (n != strlen(form) || strncasecmp(type, form, n) != 0)
                return 0;
        r = form_parse((const char *)response->body.bytes ?: "", response->body.size, ret);
        return r < 0 ? r : 0;
}

int exchange_json(Oauth *o, const Exchange *x, unsigned *ret_status, json_object **ret_object,
                HttpResponse *ret_response, Failure *failure) {
        HttpResponse response = {};
        json_object *object = NULL;
        int r;

        r = http_perform(o->http, &x->request, &response, x->notes ? &x->notes->is_sent : NULL);
        if (r == 0 && x->notes)
                x->notes->retry_usec = retry_after(&response);
        if (r == -ENOMEM || r == -ECANCELED)
                return r;
        if (r < 0)
                return exchange_failure(x, failure, "%s", http_error_text(r));

        r = json_parse((const char *)response.body.bytes ?: "", response.body.size, &json_limits_wire,
                        &object);
        if (r < 0) {
                http_response_done(&response);
                return r;
        }
        if (r > 0 || !json_object_is_type(object, json_type_object))
                json_scrub(&object);
        r = !object && x->takes_form ? response_form(&response, &object) : 0;
        if (r < 0) {
                http_response_done(&response);
                return r;
        }

        *ret_status = response.status;
        *ret_object = object;
        if (ret_response)
                *ret_response = response;
        else
                http_response_done(&response);
        return 0;
}

void json_scrub(json_object **object) {
        if (!*object)
                return;
        switch (json_object_get_type(*object)) {
        case json_type_object: {
                json_object_object_foreach(*object, name, value) {
                        (void)name;
                        json_object *member = value ? json_object_get(value) : NULL;
                        json_scrub(&member);
                }
                break;
        }
        case json_type_array:
                for (size_t i = 0; i < json_object_array_length(*object); i++) {
                        json_object *value = json_object_array_get_idx(*object, i);
                        json_object *element = value ? json_object_get(value) : NULL;
                        json_scrub(&element);
                }
                break;
        case json_type_string:
                /* json-c has no way to ask for this; the text is its own buffer of exactly this length. */
                explicit_bzero((char *)(uintptr_t)json_object_get_string(*object),
                                (size_t)json_object_get_string_len(*object));
                break;
        default:
                break;
        }
        json_object_put(*object);
        *object = NULL;
}

int form_add(Buffer *form, const char *name, const char *value) {
        _cleanup_(freep) char *encoded = NULL;
        int r;

        if (isempty(value))
                return 0;
        encoded = percent_encode(value);
        if (!encoded)
                return -ENOMEM;
        r = buffer_printf(form, "%s%s=", form->size > 0 ? "&" : "", name);
        if (r >= 0)
                r = buffer_append_text(form, encoded);
        explicit_bzero(encoded, strlen(encoded));
        return r;
}
