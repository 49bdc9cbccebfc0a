/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pull access to an admitted text: walk to a value by member names, then read it.
 *
 * Why not json-c: pam_vaultd.so lives inside sshd, su and login and may link nothing but libc and libpam. Each call
 * walks from the start, which is nothing for the short replies that the module reads; whoever reads many members of a
 * large text wants object.c.
 *
 * Correctness rests on the scan: names are unique, brackets match. Memory safety does not: every step is bounded by n
 * and a text that was never scanned gives -EINVAL or a wrong answer, not a stray read. No recursion, libc only. */

#include <stdarg.h>

#include "json/number.h"
#include "json/reader.h"
#include "json/text.h"

typedef struct Cursor {
        const char *text;
        size_t n;
        size_t at;
} Cursor;

static bool cursor_is(const Cursor *c, char byte) {
        return c->at < c->n && c->text[c->at] == byte;
}

static void skip_space(Cursor *c) {
        while (cursor_is(c, ' ') || cursor_is(c, '\t') || cursor_is(c, '\n') || cursor_is(c, '\r'))
                c->at++;
}

/* Takes one structural byte and the space around it. */
static bool take(Cursor *c, char byte) {
        skip_space(c);
        if (!cursor_is(c, byte))
                return false;
        c->at++;
        skip_space(c);
        return true;
}

/* Takes the string literal at c and says whether it decodes to these n bytes (bytes NULL: no matter). */
static int take_string(Cursor *c, const char *bytes, size_t n, bool *ret_equal) {
        bool equal = true;
        size_t done = 0;

        if (!cursor_is(c, '"'))
                return -EINVAL;
        c->at++;
        for (;;) {
                char piece[4];
                size_t size;

                if (json_text_next(c->text, c->n, &c->at, piece, &size) != 0)
                        return -EINVAL;
                if (size == 0)
                        break;
                if (!bytes || !equal)
                        continue;
                equal = size <= n - done && memcmp(bytes + done, piece, size) == 0;
                done += equal ? size : 0;
        }
        c->at++;
        if (ret_equal)
                *ret_equal = equal && done == n;
        return 0;
}

/* Takes any value: brackets are counted, not matched, since the scan has matched them. */
static int skip_value(Cursor *c) {
        size_t depth = 0;

        do {
                skip_space(c);
                if (c->at >= c->n)
                        return -EINVAL;
                switch (c->text[c->at]) {
                case '"': {
                        int r = take_string(c, NULL, 0, NULL);

                        if (r < 0)
                                return r;
                        break;
                }
                case '{':
                case '[':
                        depth++;
                        c->at++;
                        break;
                case '}':
                case ']':
                        if (depth == 0)
                                return -EINVAL;
                        depth--;
                        c->at++;
                        break;
                case ',':
                case ':':
                        if (depth == 0)
                                return -EINVAL;
                        c->at++;
                        break;
                default:
                        while (c->at < c->n && !strchr(" \t\n\r,:{}[]\"", c->text[c->at]))
                                c->at++;
                        /* strchr() also finds the terminator: a NUL byte would stop us for ever. */
                        if (cursor_is(c, 0))
                                return -EINVAL;
                        break;
                }
        } while (depth > 0);
        return 0;
}

static bool at_null(const Cursor *c) {
        return c->n - c->at >= 4 && memcmp(c->text + c->at, "null", 4) == 0;
}

/* From an object to the value of one of its members. 0; -ENOENT; -EINVAL when this is no object. */
static int enter_member(Cursor *c, const char *name) {
        if (at_null(c))
                return -ENOENT;
        if (!take(c, '{'))
                return -EINVAL;
        if (cursor_is(c, '}'))
                return -ENOENT;
        do {
                bool equal;
                int r;

                r = take_string(c, name, strlen(name), &equal);
                if (r < 0)
                        return r;
                if (!take(c, ':'))
                        return -EINVAL;
                if (equal)
                        return 0;
                r = skip_value(c);
                if (r < 0)
                        return r;
        } while (take(c, ','));
        return cursor_is(c, '}') ? -ENOENT : -EINVAL;
}

/* The value that the path leads to. 0; -ENOENT when a part is absent or null; -EINVAL when a part is no object. */
static int find(const char *text, size_t n, va_list path, Cursor *ret) {
        Cursor c = { .text = text, .n = n };
        const char *name;

        skip_space(&c);
        while ((name = va_arg(path, const char *))) {
                int r;

                r = enter_member(&c, name);
                if (r < 0)
                        return r;
        }
        if (c.at >= c.n)
                return -EINVAL;
        if (at_null(&c))
                return -ENOENT;
        *ret = c;
        return 0;
}

/* The string at c, decoded. */
static int decode_string(Cursor c, char **ret) {
        _cleanup_(freep) char *s = NULL;
        size_t start = c.at, used = 0;
        int r;

        r = take_string(&c, NULL, 0, NULL);
        if (r < 0)
                return r;
        /* What is decoded is never longer than what is written. */
        s = malloc(c.at - start);
        if (!s)
                return -ENOMEM;

        for (c.at = start + 1;;) {
                char piece[4];
                size_t size;

                if (json_text_next(c.text, c.n, &c.at, piece, &size) != 0)
                        return -EINVAL;
                if (size == 0)
                        break;
                if (piece[0] == 0)
                        return -EINVAL; /* a C string cannot hold it */
                memcpy(s + used, piece, size);
                used += size;
        }
        s[used] = 0;
        *ret = TAKE_PTR(s);
        return 0;
}

int json_read_string(const char *text, size_t n, char **ret, ...) {
        va_list path;
        Cursor c;
        int r;

        va_start(path, ret);
        r = find(text, n, path, &c);
        va_end(path);
        if (r < 0)
                return r;
        return decode_string(c, ret);
}

int json_read_int64(const char *text, size_t n, int64_t *ret, ...) {
        JsonNumber number;
        va_list path;
        Cursor c;
        int r;

        va_start(path, ret);
        r = find(text, n, path, &c);
        va_end(path);
        if (r < 0)
                return r;
        if (json_number_next(c.text, c.n, &c.at, &number) != 0 || !number.is_int64)
                return -EINVAL;
        *ret = number.value;
        return 0;
}

int json_read_bool(const char *text, size_t n, bool *ret, ...) {
        va_list path;
        Cursor c;
        int r;

        va_start(path, ret);
        r = find(text, n, path, &c);
        va_end(path);
        if (r < 0)
                return r;
        if (c.n - c.at >= 4 && memcmp(c.text + c.at, "true", 4) == 0)
                *ret = true;
        else if (c.n - c.at >= 5 && memcmp(c.text + c.at, "false", 5) == 0)
                *ret = false;
        else
                return -EINVAL;
        return 0;
}
