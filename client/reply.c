/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading replies: a member that the interface promises is there and of its type, or the whole reply is refused.
 *
 * Members that we do not know are ignored (a newer daemon may say more), members that the interface marks with "?" are read
 * with json_get_*() where they are shown. Nothing here prints; texts are made printable at the door, in output.c and
 * table.c. */

#include "client/reply.h"
#include "json/object.h"
#include "util/buffer.h"

static int fail_member(Fault *f, const char *name) {
        _cleanup_(freep) char *what = NULL;

        if (asprintf(&what, "member '%s' is missing or of another type", name) < 0) {
                what = NULL;
                return fault_set_memory(f);
        }
        return fault_set_bad_reply(f, what);
}

int reply_need_string(json_object *object, const char *name, const char **ret, Fault *fault) {
        return json_get_string(object, name, ret) < 0 ? fail_member(fault, name) : 0;
}

int reply_need_int64(json_object *object, const char *name, int64_t *ret, Fault *fault) {
        return json_get_int64(object, name, ret) < 0 ? fail_member(fault, name) : 0;
}

int reply_need_object(json_object *object, const char *name, json_object **ret, Fault *fault) {
        return json_get_object(object, name, ret) < 0 ? fail_member(fault, name) : 0;
}

int reply_need_array(json_object *object, const char *name, enum json_type type, json_object **ret,
                Fault *fault) {
        json_object *array;

        if (json_get_array(object, name, &array) < 0)
                return fail_member(fault, name);
        for (size_t i = 0; i < json_object_array_length(array); i++)
                if (!json_object_is_type(json_object_array_get_idx(array, i), type))
                        return fail_member(fault, name);
        *ret = array;
        return 0;
}

char *format_account(json_object *account) {
        const char *id = account ? json_string(account, "id") : NULL,
                   *name = account ? json_string(account, "name") : NULL;
        char *text;

        if (isempty(id) || isempty(name) || streq(id, name))
                return strdup(!isempty(name) ? name : !isempty(id) ? id : "-");
        return asprintf(&text, "%s (%s)", name, id) < 0 ? NULL : text;
}

const char *account_name(json_object *account) {
        const char *id = account ? json_string(account, "id") : NULL,
                   *name = account ? json_string(account, "name") : NULL;

        return !isempty(name) ? name : !isempty(id) ? id : "-";
}

char *format_list(json_object *array) {
        Buffer b = {};
        int r;

        r = buffer_append_text(&b, "");
        for (size_t i = 0; array && i < json_object_array_length(array) && r >= 0; i++)
                r = buffer_printf(&b, "%s%s", i > 0 ? ", " : "",
                                json_object_get_string(json_object_array_get_idx(array, i)));
        if (r < 0) {
                buffer_done(&b);
                return NULL;
        }
        return (char *)b.bytes;
}
