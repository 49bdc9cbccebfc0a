/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>

#include "json/scan.h"

/* json-c behind the strict scan: the only way foreign bytes become a json_object here. */

static inline void json_putp(json_object **o) {
        if (*o)
                json_object_put(*o);
}

/* Scans, then parses. 0 and a new reference; JsonFault > 0; -ENOMEM. */
int json_parse(const char *text, size_t n, const JsonLimits *limits, json_object **ret);

/* Typed look-up of one member. Borrowed results. 0; -ENOENT absent or null; -EINVAL other type. */
int json_get_string(json_object *object, const char *name, const char **ret);
int json_get_int64(json_object *object, const char *name, int64_t *ret);
int json_get_bool(json_object *object, const char *name, bool *ret);
int json_get_object(json_object *object, const char *name, json_object **ret);
int json_get_array(json_object *object, const char *name, json_object **ret);
/* The string, or NULL for whatever reason. */
const char *json_string(json_object *object, const char *name);

/* Builders: take ownership of value, keep going on NULL objects; add_* return -ENOMEM or 0. A NULL text adds nothing. */
int json_add(json_object *object, const char *name, json_object *value);
int json_add_string(json_object *object, const char *name, const char *text);
int json_add_int64(json_object *object, const char *name, int64_t value);
int json_add_bool(json_object *object, const char *name, bool value);
int json_array_add_string(json_object *array, const char *text);

/* One object from a list of (name, type, value) ended by NULL:
 *   json_build("name", 's', text, "n", 'i', (int64_t)4, "ok", 'b', true, "sub", 'o', object /taken/, NULL)
 * 's' with NULL text leaves the member out. NULL on -ENOMEM (all 'o' values are released then). */
json_object *json_build(const char *first_name, ...) __attribute__((__sentinel__));

/* Compact text without escaped slashes; owned by the object. */
const char *json_text(json_object *object);

/* Typed dispatch of a parameters object, refusing unknown members (Varlink: InvalidParameter names the field). */
typedef enum JsonFieldType {
        JSON_FIELD_STRING, /* const char ** */
        JSON_FIELD_INT64,  /* int64_t * */
        JSON_FIELD_BOOL,   /* bool * */
        JSON_FIELD_ARRAY,  /* json_object ** (borrowed) */
        JSON_FIELD_OBJECT, /* json_object ** (borrowed) */
} JsonFieldType;

typedef struct JsonField {
        const char *name;
        JsonFieldType type;
        size_t offset; /* of the output in the struct handed to json_dispatch() */
        bool is_required;
        size_t max_length; /* strings: bytes; 0: 4096 */
} JsonField;

/* 0; -EINVAL and *ret_bad_field (borrowed from table or object, valid as long as they are) naming the first bad, missing or unknown member. table ends with a NULL name. */
int json_dispatch(json_object *parameters, const JsonField *table, void *ret_struct,
                const char **ret_bad_field);
