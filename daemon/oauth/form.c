/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Answers and requests as forms (application/x-www-form-urlencoded, WHATWG URL section 5), read into the same objects as JSON.
 *
 * GitHub's token endpoint answers so unless asked otherwise, others do whatever they are asked. What is read here goes the way of
 * every foreign text: in the end it passes the strict scan, so no byte gets in that could not have come as JSON. A name twice is two
 * answers and therefore none.
 *
 * Pure. Who may call: exchange.c and token.c, which know from the content type what they have. */

#include "oauth/oauth-internal.h"
#include "util/encode.h"

#define PAIRS_MAX     64U
#define NAME_MAX_SIZE 64U

static bool form_name_is_legal(const char *name) {
        size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");

        return n > 0 && n <= NAME_MAX_SIZE && name[n] == 0;
}

/* One name=value. FAILED: it is none. */
static int form_pair(const char *text, size_t n, json_object *object) {
        const char *equals = memchr(text, '=', n);
        _cleanup_(freep) char *name = NULL, *value = NULL;
        int r;

        if (!equals)
                return FAILED;
        r = percent_decode(text, (size_t)(equals - text), true, &name);
        if (r >= 0)
                r = percent_decode(equals + 1, n - (size_t)(equals - text) - 1, true, &value);
        if (r == -ENOMEM)
                return r;
        if (r < 0 || !form_name_is_legal(name) || json_object_object_get_ex(object, name, NULL))
                r = FAILED;
        else
                r = json_add_string(object, name, value);
        if (value)
                explicit_bzero(value, strlen(value));
        return r;
}

int form_parse(const char *text, size_t n, json_object **ret) {
        json_object *object = json_object_new_object(), *scanned = NULL;
        size_t n_pairs = 0;
        int r = object ? 0 : -ENOMEM;

        for (size_t at = 0; at < n && r == 0;) {
                const char *end = memchr(text + at, '&', n - at);
                size_t size = end ? (size_t)(end - text) - at : n - at;

                r = ++n_pairs <= PAIRS_MAX ? form_pair(text + at, size, object) : FAILED;
                at += size + 1;
        }
        if (r == 0 && n_pairs == 0)
                r = FAILED;
        if (r == 0) {
                const char *json = json_text(object);

                r = json ? json_parse(json, strlen(json), &json_limits_wire, &scanned) : -ENOMEM;
                if (r > 0)
                        r = FAILED; /* not UTF-8 */
        }
        json_scrub(&object);
        if (r == 0)
                *ret = scanned;
        return r;
}

int form_to_json(const Buffer *form, Buffer *ret) {
        json_object *object = NULL;
        Buffer body = {};
        int r;

        r = form_parse((const char *)form->bytes, form->size, &object);
        if (r == FAILED)
                return -EINVAL;
        if (r < 0)
                return r;
        const char *text = json_text(object);
        r = text ? buffer_append_text(&body, text) : -ENOMEM;
        json_scrub(&object);
        if (r < 0) {
                buffer_done(&body);
                return r;
        }
        *ret = body;
        return 0;
}
