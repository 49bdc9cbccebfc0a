/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "client/fault.h"

/* Typed access to what vaultd answered. need: absent or of another type is a nonsense reply (FAULT_SET). All results are
 * borrowed from the object. */

int reply_need_string(json_object *object, const char *name, const char **ret, Fault *fault);
int reply_need_int64(json_object *object, const char *name, int64_t *ret, Fault *fault);
int reply_need_object(json_object *object, const char *name, json_object **ret, Fault *fault);
/* An array whose elements are all of this type. */
int reply_need_array(
                json_object *object, const char *name, enum json_type type, json_object **ret, Fault *fault);

/* "Alice (alice@notion.test)", from {id, name}; "-" for NULL or one without both. malloc()ed, NULL on -ENOMEM. */
char *format_account(json_object *account);
/* The name alone, for tables (ids are long); the id where there is no name, "-" for NULL. Borrowed from the account. */
const char *account_name(json_object *account);
/* "a, b, c" from an array of strings; "" for none. malloc()ed, NULL on -ENOMEM. */
char *format_list(json_object *array);
