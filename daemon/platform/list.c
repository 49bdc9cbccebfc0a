/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Walking a list of the platform to its end.
 *
 * To conclude from a list that something is not there, all of it must have been seen: so every page is
 * read, and a list that is malformed, repeats its cursor or does not end is a failure, never a short
 * list. Cursors are opaque and foreign; they are encoded before they go into the next address. */

#include <stdio.h>

#include "platform/platform-internal.h"
#include "util/encode.h"

#define PAGES_MAX  1000U
#define CURSOR_MAX 1024U

static int page_path(const char *path, const char *query, const char *cursor, char **ret) {
        _cleanup_(freep) char *encoded = NULL;
        int n;

        if (cursor) {
                encoded = percent_encode(cursor);
                if (!encoded)
                        return -ENOMEM;
        }
        n = asprintf(ret, "%s%s%s%s%s%s", path, *query || cursor ? "?" : "", query,
                        *query && cursor ? "&" : "", cursor ? "page=" : "", encoded ?: "");
        return n < 0 ? -ENOMEM : 0;
}

static int page_read(Platform *p, const char *path, const char *what, json_object **ret_page,
                json_object **ret_data, Failure *failure) {
        const Request request = { .method = "GET", .path = path, .what = what, .is_repeatable = true };
        _cleanup_(json_putp) json_object *page = NULL;
        json_object *data = NULL;
        int r;

        r = request_perform(p, &request, &page, NULL, failure);
        if (r != 0)
                return r;
        if (json_get_array(page, "data", &data) < 0)
                return platform_failure(failure, what, "its list has no data");
        for (size_t i = 0; i < json_object_array_length(data); i++)
                if (!json_object_is_type(json_object_array_get_idx(data, i), json_type_object))
                        return platform_failure(failure, what, "its list holds something that is no object");
        *ret_page = TAKE_PTR(page);
        *ret_data = data;
        return 0;
}

/* The cursor of the next page, NULL at the end. */
static int page_next(json_object *page, const char *what, char **cursor, Failure *failure) {
        const char *next = NULL;
        int r;

        r = json_get_string(page, "next_page", &next);
        if (r == -ENOENT) {
                free(TAKE_PTR(*cursor));
                return 0;
        }
        if (r < 0 || strlen(next) == 0 || strlen(next) > CURSOR_MAX || streq_ptr(next, *cursor))
                return platform_failure(failure, what, "its list cannot be followed to the end");
        free(*cursor);
        *cursor = strdup(next);
        return *cursor ? 0 : -ENOMEM;
}

int list_walk(Platform *p, const char *path, const char *query, const char *what, ListVisit visit,
                void *userdata, Failure *failure) {
        _cleanup_(freep) char *cursor = NULL;
        int r;

        for (unsigned n = 0; n < PAGES_MAX; n++) {
                _cleanup_(json_putp) json_object *page = NULL;
                _cleanup_(freep) char *target = NULL;
                json_object *data = NULL;

                r = page_path(path, query, cursor, &target);
                if (r < 0) {
                        target = NULL;
                        return r;
                }
                r = page_read(p, target, what, &page, &data, failure);
                if (r != 0)
                        return r;
                for (size_t i = 0; i < json_object_array_length(data); i++) {
                        r = visit(json_object_array_get_idx(data, i), userdata);
                        if (r != 0)
                                return r < 0 ? r : 0;
                }
                r = page_next(page, what, &cursor, failure);
                if (r != 0 || !cursor)
                        return r;
        }
        return platform_failure(failure, what, "its list has more than %u pages", PAGES_MAX);
}
