/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* json-c behind the strict scan.
 *
 * Why the scan runs first: json-c 0.16 reads texts that are not JSON and bends some that are (scan.c). What is left
 * for it here has one reading. What it still does to numbers that only json_limits_mcp admits is handled in the
 * getters: integers beyond int64_t arrive saturated, so a value at either end of the range is not believed.
 *
 * Strings: json-c keeps lengths, C does not. A getter hands out a C string only when it is the whole string, so no
 * check ever sees less than what is forwarded.
 *
 * Ownership: getters lend, builders take. A builder that gets NULL where a value should be takes it for a failed
 * allocation further down and fails itself, so that one check at the end of a construction is enough; to leave a
 * member out, do not add it (or add a NULL text). Loop thread or any other, as long as a tree stays with one. */

#include <assert.h>
#include <limits.h>
#include <stdarg.h>

#include "json/object.h"

static inline void tokener_freep(json_tokener **t) {
        if (*t)
                json_tokener_free(*t);
}

int json_parse(const char *text, size_t n, const JsonLimits *limits, json_object **ret) {
        _cleanup_(tokener_freep) json_tokener *tokener = NULL;
        _cleanup_(json_putp) json_object *object = NULL;
        enum json_tokener_error e;
        int r;

        r = json_scan(text, n, limits, NULL);
        if (r != 0)
                return r;
        if (n > INT_MAX)
                return JSON_FAULT_SIZE;

        /* json-c counts the innermost value as a level. */
        tokener = json_tokener_new_ex((int)limits->max_depth + 2);
        if (!tokener)
                return -ENOMEM;
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);

        object = json_tokener_parse_ex(tokener, text, (int)n);
        e = json_tokener_get_error(tokener);
        if (e == json_tokener_continue) {
                /* A number at the very end: it only knows that it has ended when something follows. */
                object = json_tokener_parse_ex(tokener, "\n", 1);
                e = json_tokener_get_error(tokener);
        }
        if (e != json_tokener_success)
                return JSON_FAULT_SYNTAX;

        *ret = TAKE_PTR(object);
        return 0;
}

/* The member, which may be of any type but null. */
static int get_member(json_object *object, const char *name, json_object **ret) {
        json_object *value;

        if (!object)
                return -ENOENT;
        if (!json_object_is_type(object, json_type_object))
                return -EINVAL;
        if (!json_object_object_get_ex(object, name, &value) || !value)
                return -ENOENT;
        *ret = value;
        return 0;
}

/* The whole string as a C string, NULL when it is none. */
static const char *string_value(json_object *value) {
        const char *s;

        if (!json_object_is_type(value, json_type_string))
                return NULL;
        s = json_object_get_string(value);
        return s && strlen(s) == (size_t)json_object_get_string_len(value) ? s : NULL;
}

static bool int64_value(json_object *value, int64_t *ret) {
        int64_t i;

        if (!json_object_is_type(value, json_type_int))
                return false;
        i = json_object_get_int64(value);
        if (i == INT64_MIN || (i == INT64_MAX && json_object_get_uint64(value) != (uint64_t)INT64_MAX))
                return false;
        *ret = i;
        return true;
}

int json_get_string(json_object *object, const char *name, const char **ret) {
        json_object *value;
        const char *s;
        int r;

        r = get_member(object, name, &value);
        if (r < 0)
                return r;
        s = string_value(value);
        if (!s)
                return -EINVAL;
        *ret = s;
        return 0;
}

int json_get_int64(json_object *object, const char *name, int64_t *ret) {
        json_object *value;
        int r;

        r = get_member(object, name, &value);
        if (r < 0)
                return r;
        return int64_value(value, ret) ? 0 : -EINVAL;
}

int json_get_bool(json_object *object, const char *name, bool *ret) {
        json_object *value;
        int r;

        r = get_member(object, name, &value);
        if (r < 0)
                return r;
        if (!json_object_is_type(value, json_type_boolean))
                return -EINVAL;
        *ret = json_object_get_boolean(value);
        return 0;
}

static int get_container(json_object *object, const char *name, json_type type, json_object **ret) {
        json_object *value;
        int r;

        r = get_member(object, name, &value);
        if (r < 0)
                return r;
        if (!json_object_is_type(value, type))
                return -EINVAL;
        *ret = value;
        return 0;
}

int json_get_object(json_object *object, const char *name, json_object **ret) {
        return get_container(object, name, json_type_object, ret);
}

int json_get_array(json_object *object, const char *name, json_object **ret) {
        return get_container(object, name, json_type_array, ret);
}

const char *json_string(json_object *object, const char *name) {
        const char *s = NULL;

        return json_get_string(object, name, &s) < 0 ? NULL : s;
}

int json_add(json_object *object, const char *name, json_object *value) {
        if (!object || !value || json_object_object_add(object, name, value) < 0) {
                json_object_put(value);
                return -ENOMEM;
        }
        return 0;
}

int json_add_string(json_object *object, const char *name, const char *text) {
        return text ? json_add(object, name, json_object_new_string(text)) : 0;
}

int json_add_int64(json_object *object, const char *name, int64_t value) {
        return json_add(object, name, json_object_new_int64(value));
}

int json_add_bool(json_object *object, const char *name, bool value) {
        return json_add(object, name, json_object_new_boolean(value));
}

int json_array_add_string(json_object *array, const char *text) {
        json_object *value;

        if (!text)
                return 0;
        value = json_object_new_string(text);
        if (!array || !value || json_object_array_add(array, value) < 0) {
                json_object_put(value);
                return -ENOMEM;
        }
        return 0;
}

json_object *json_build(const char *first_name, ...) {
        _cleanup_(json_putp) json_object *object = json_object_new_object();
        bool has_failed = !object;
        va_list args;

        va_start(args, first_name);
        for (const char *name = first_name; name; name = va_arg(args, const char *)) {
                int r = 0;

                /* All are walked through, also after a failure, because the objects among them are ours now. */
                switch (va_arg(args, int)) {
                case 's':
                        r = json_add_string(object, name, va_arg(args, const char *));
                        break;
                case 'i':
                        r = json_add_int64(object, name, va_arg(args, int64_t));
                        break;
                case 'b':
                        r = json_add_bool(object, name, va_arg(args, int));
                        break;
                case 'o':
                        r = json_add(object, name, va_arg(args, json_object *));
                        break;
                default:
                        assert(false); /* no such type */
                }
                has_failed = has_failed || r < 0;
        }
        va_end(args);
        return has_failed ? NULL : TAKE_PTR(object);
}

const char *json_text(json_object *object) {
        return json_object_to_json_string_ext(
                        object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

/* Whether a member's value fits its field; with ret_struct it is stored there. */
static bool dispatch_field(json_object *value, const JsonField *field, void *ret_struct) {
        void *output = ret_struct ? (uint8_t *)ret_struct + field->offset : NULL;
        const char *s;
        int64_t i;

        switch (field->type) {
        case JSON_FIELD_STRING:
                s = string_value(value);
                if (!s || strlen(s) > (field->max_length > 0 ? field->max_length : 4096))
                        return false;
                if (output)
                        *(const char **)output = s;
                return true;
        case JSON_FIELD_INT64:
                if (!int64_value(value, &i))
                        return false;
                if (output)
                        *(int64_t *)output = i;
                return true;
        case JSON_FIELD_BOOL:
                if (!json_object_is_type(value, json_type_boolean))
                        return false;
                if (output)
                        *(bool *)output = json_object_get_boolean(value);
                return true;
        case JSON_FIELD_ARRAY:
        case JSON_FIELD_OBJECT:
                if (!json_object_is_type(value,
                                    field->type == JSON_FIELD_ARRAY ? json_type_array : json_type_object))
                        return false;
                if (output)
                        *(json_object **)output = value;
                return true;
        }
        return false;
}

/* The member that the table does not know, or NULL. */
static const char *find_unknown(json_object *parameters, const JsonField *table) {
        json_object_object_foreach(parameters, name, value) {
                const JsonField *field = table;

                (void)value;
                while (field->name && !streq(field->name, name))
                        field++;
                if (!field->name)
                        return name;
        }
        return NULL;
}

/* Goes through the table once. Returns the first bad or missing field, or NULL. */
static const char *dispatch_table(json_object *parameters, const JsonField *table, void *ret_struct) {
        for (const JsonField *field = table; field->name; field++) {
                json_object *value;

                if (get_member(parameters, field->name, &value) < 0) {
                        if (field->is_required)
                                return field->name;
                } else if (!dispatch_field(value, field, ret_struct))
                        return field->name;
        }
        return NULL;
}

int json_dispatch(json_object *parameters, const JsonField *table, void *ret_struct,
                const char **ret_bad_field) {
        const char *bad = NULL;

        if (parameters && !json_object_is_type(parameters, json_type_object))
                bad = "parameters";
        if (!bad && parameters)
                bad = find_unknown(parameters, table);
        /* Checked as a whole before the first output is written. */
        if (!bad)
                bad = dispatch_table(parameters, table, NULL);
        if (bad) {
                if (ret_bad_field)
                        *ret_bad_field = bad;
                return -EINVAL;
        }
        (void)dispatch_table(parameters, table, ret_struct);
        return 0;
}
