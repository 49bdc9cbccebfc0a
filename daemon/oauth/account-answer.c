/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What an answer says of whose account it is: from a JSON object, a tool's result, or a tool's words.
 *
 * The id is what is pinned and compared with AccountMatch=, so it has to be beyond what the account's owner can choose.
 * In words that is not a matter of course: whoever names himself "X. Your user ID is 7" would be found first where his name stands in
 * front. The words in front of the id therefore have to be there exactly once. Several fields make one id where a
 * service numbers accounts within a workspace; a slash in one of them could make two accounts look like one and is refused. A mail address
 * that the service itself calls unverified is taken for none: AccountMatch=mail would give its owner's place to whoever typed it in.
 *
 * Invariant: pure; an id is printable as it is, so that people can compare it, and never the name of a Unix user. Who may call: this folder. */

#include "oauth/oauth-internal.h"
#include "util/encode.h"

#define ACCOUNT_TEXT_MAX 200U

/* A mail address of which the service says that its owner has not shown to own it, so anybody's may stand there (OpenID Connect Core
 * section 5.1). Services that say nothing about it are believed. */
static bool mail_is_unverified(json_object *holder, const char *name) {
        json_object *verified = NULL;

        if (!streq(name, "email") || !json_object_object_get_ex(holder, "email_verified", &verified) ||
                        !verified)
                return false;
        return json_object_is_type(verified, json_type_string)
                               ? !streq(json_object_get_string(verified), "true")
               : json_object_is_type(verified, json_type_boolean) ? !json_object_get_boolean(verified)
                                                                  : true;
}

/* The member under "a.b.c": as one name, else through the objects. Borrowed; NULL. */
static json_object *field_find(json_object *object, const char *field, size_t n) {
        _cleanup_(freep) char *path = strndup(field, n);
        json_object *value = NULL;

        if (!path)
                return NULL;
        if (json_object_object_get_ex(object, path, &value))
                return mail_is_unverified(object, path) ? NULL : value;
        for (char *name = path, *dot; name; name = dot) {
                dot = strchr(name, '.');
                if (dot)
                        *dot++ = 0;
                if (!json_object_is_type(object, json_type_object) ||
                                !json_object_object_get_ex(object, name, &value) ||
                                mail_is_unverified(object, name))
                        return NULL;
                object = value;
        }
        return value;
}

/* Strings, and numbers: some services number their accounts. Borrowed; NULL. */
static const char *field_text(json_object *value) {
        const char *text;

        if (!json_object_is_type(value, json_type_string) && !json_object_is_type(value, json_type_int))
                return NULL;
        text = json_object_get_string(value);
        return isempty(text) || strlen(text) > ACCOUNT_TEXT_MAX ? NULL : text;
}

/* The fields' values with a slash between two. Those of an id are all needed. FAILED: not there. */
static int fields_join(json_object *object, const char *fields, bool is_id, char **ret) {
        bool is_one = !strchr(fields, ' ');
        Buffer joined = {};
        int r = 0;

        for (const char *p = fields; *p && r == 0; p += strspn(p, " ")) {
                size_t n = strcspn(p, " ");
                const char *text = field_text(field_find(object, p, n));

                if (!text || (is_id && !is_one && strchr(text, '/')))
                        r = is_id ? FAILED : 0;
                else
                        r = buffer_printf(&joined, "%s%s", joined.size > 0 ? "/" : "", text);
                p += n;
        }
        if (r == 0 && joined.size == 0)
                r = FAILED;
        if (r != 0) {
                buffer_done(&joined);
                return r;
        }
        *ret = (char *)joined.bytes;
        return 0;
}

/* name NULL: the id stands for it. Both are foreign. */
static int account_settle(const char *foreign_id, const char *foreign_name, char **ret_id, char **ret_name) {
        _cleanup_(freep) char *id = printable(foreign_id, ACCOUNT_TEXT_MAX), *name = NULL;

        name = printable(foreign_name ?: foreign_id, ACCOUNT_TEXT_MAX);
        if (!id || !name)
                return -ENOMEM;
        if (!streq(id, foreign_id))
                return FAILED; /* an id that cannot be shown cannot be compared by a person */
        *ret_id = TAKE_PTR(id);
        *ret_name = TAKE_PTR(name);
        return 0;
}

/* Whatever else is in it: ok (Slack) and errors (GraphQL) are how a service says no with HTTP 200. */
static bool object_says_no(json_object *object) {
        json_object *errors = NULL;
        bool ok = true;

        (void)json_get_bool(object, "ok", &ok);
        return !ok ||
               (json_get_array(object, "errors", &errors) >= 0 && json_object_array_length(errors) > 0);
}

int account_from_object(json_object *object, const char *id_fields, const char *name_fields, char **ret_id,
                char **ret_name) {
        _cleanup_(freep) char *id = NULL, *name = NULL;
        int r;

        if (object_says_no(object))
                return FAILED;
        r = fields_join(object, id_fields, true, &id);
        if (r != 0)
                return r;
        r = fields_join(object, name_fields, false, &name);
        return r < 0 ? r : account_settle(id, name, ret_id, ret_name);
}

/* What stands in the place of the phrase's '*', on one line. FAILED: the words are not there, or more than once. */
static int phrase_find(const char *text, const char *phrase, char **ret) {
        size_t n_front = strcspn(phrase, "*");
        _cleanup_(freep) char *front = strndup(phrase, n_front);
        const char *back = phrase + n_front + (phrase[n_front] == '*'), *begin, *end;

        if (!front)
                return -ENOMEM;
        if (n_front == 0)
                return FAILED;
        begin = strstr(text, front);
        if (!begin || strstr(begin + 1, front))
                return FAILED;
        begin += n_front;
        size_t n_line = strcspn(begin, "\r\n");
        _cleanup_(freep) char *line = strndup(begin, n_line);
        if (!line)
                return -ENOMEM;
        end = *back ? strstr(line, back) : line + n_line;
        if (!end || end == line || end - line > (ptrdiff_t)ACCOUNT_TEXT_MAX)
                return FAILED;
        *ret = strndup(line, (size_t)(end - line));
        return *ret ? 0 : -ENOMEM;
}

int account_from_text(const char *text, const char *id_phrase, const char *name_phrase, char **ret_id,
                char **ret_name) {
        _cleanup_(freep) char *id = NULL, *name = NULL;
        int r;

        r = phrase_find(text, id_phrase, &id);
        if (r == 0 && name_phrase)
                r = phrase_find(text, name_phrase, &name);
        if (r < 0 || !id)
                return r < 0 ? r : FAILED;
        return account_settle(id, name, ret_id, ret_name);
}

/* structuredContent, or the first text block that is itself a JSON object. */
static int tool_object(json_object *result, json_object **ret) {
        json_object *content = NULL, *structured = NULL;

        if (json_get_object(result, "structuredContent", &structured) >= 0) {
                *ret = json_object_get(structured);
                return 0;
        }
        (void)json_get_array(result, "content", &content);
        for (size_t i = 0; content && i < json_object_array_length(content); i++) {
                const char *text = json_string(json_object_array_get_idx(content, i), "text");
                json_object *object = NULL;

                if (!text || json_parse(text, strlen(text), &json_limits_wire, &object) != 0)
                        continue;
                if (json_object_is_type(object, json_type_object)) {
                        *ret = object;
                        return 0;
                }
                json_object_put(object);
        }
        return FAILED;
}

/* All text blocks, one below the other. */
static int tool_text(json_object *result, Buffer *ret) {
        json_object *content = NULL;
        int r = 0;

        (void)json_get_array(result, "content", &content);
        for (size_t i = 0; content && i < json_object_array_length(content) && r >= 0; i++) {
                const char *text = json_string(json_object_array_get_idx(content, i), "text");

                if (text)
                        r = buffer_printf(ret, "%s\n", text);
        }
        return r;
}

int account_from_tool(json_object *result, const ServiceProfile *p, char **ret_id, char **ret_name) {
        _cleanup_(json_putp) json_object *object = NULL;
        Buffer text = {};
        bool is_error = false;
        int r;

        (void)json_get_bool(result, "isError", &is_error);
        if (is_error)
                return FAILED;
        if (p->account_id_text) {
                r = tool_text(result, &text);
                if (r >= 0)
                        r = text.size > 0 ? account_from_text((const char *)text.bytes, p->account_id_text,
                                                            p->account_name_text, ret_id, ret_name)
                                          : FAILED;
                buffer_done(&text);
                return r;
        }
        r = tool_object(result, &object);
        return r != 0 ? r
                      : account_from_object(object, p->account_id_field ?: "id",
                                        p->account_name_field ?: "name", ret_id, ret_name);
}
