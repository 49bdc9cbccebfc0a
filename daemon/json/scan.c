/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The strict scan: every foreign text passes here before anything else reads it (T25).
 *
 * Why: json-c 0.16, also in its strict mode, takes the last of two members with the same name, accepts NaN and single
 * quotes, cuts names at \u0000 and bends numbers that it cannot hold. A text with two readings is a way around every
 * check that a second parser repeats, so only texts with one reading get in: exactly RFC 8259 within the limits, with
 * two deliberate refusals on top. A name may never hold \u0000 (C parsers cut it there, so that "a\u0000b" would be
 * "a"), and where int64_only is set an integer must be exact as int64_t (-0 is not) and other numbers finite.
 *
 * How: one pass from left to right, never back, with an explicit stack of open objects and arrays instead of
 * recursion, so neither a deep nor a long text costs stack. Time is linear in the text, also against a sender who picks
 * the names (key-set.c). Memory: 16 bytes a level beyond the first 32, and the names of the open objects.
 *
 * Invariants: text[0 … at) is a correct beginning of a JSON text; nothing at or beyond n is read. Libc only, no
 * logging, no state between calls: any thread may call. */

#include "json/key-set.h"
#include "json/number.h"
#include "json/text.h"

#define INLINE_DEPTH 32

const JsonLimits json_limits_wire = {
        .max_size = 1024 * 1024,
        .max_depth = 32,
        .max_members = 256,
        .int64_only = true,
};

const JsonLimits json_limits_mcp = {
        .max_size = 16 * 1024 * 1024,
        .max_depth = 128,
        .max_members = 65536,
        .allow_nul = true,
};

/* What may come next. */
typedef enum Expect {
        EXPECT_VALUE,
        EXPECT_VALUE_OR_END, /* behind '[' */
        EXPECT_KEY,
        EXPECT_KEY_OR_END, /* behind '{' */
        EXPECT_COMMA_OR_END,
        EXPECT_NOTHING, /* the text is complete */
} Expect;

typedef struct Frame {
        bool is_object;
        size_t first_key; /* where its names begin in the key set */
} Frame;

typedef struct Scanner {
        const char *text;
        size_t n;
        size_t at;
        const JsonLimits *limits;
        Expect expect;
        Frame *frames;
        unsigned depth;
        JsonKeySet keys;
        Frame inline_frames[INLINE_DEPTH];
} Scanner;

static void scanner_done(Scanner *s) {
        if (s->frames != s->inline_frames)
                free(s->frames);
        json_key_set_done(&s->keys);
}

static bool is_space(char c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int scan_literal(Scanner *s, const char *word) {
        for (; *word; word++, s->at++)
                if (s->at >= s->n || s->text[s->at] != *word)
                        return JSON_FAULT_SYNTAX;
        return 0;
}

static int scan_number(Scanner *s) {
        size_t start = s->at;
        JsonNumber number;
        int r;

        r = json_number_next(s->text, s->n, &s->at, &number);
        if (r != 0)
                return r;
        if (s->limits->int64_only && !(number.is_integer ? number.is_int64 : number.is_below_1e308)) {
                s->at = start;
                return JSON_FAULT_NUMBER;
        }
        return 0;
}

/* A string literal, at its opening quote; what it decodes to goes into hash when there is one. */
static int scan_string(Scanner *s, bool allow_nul, JsonKeyHash *hash) {
        s->at++;
        for (;;) {
                size_t start = s->at, size;
                char bytes[4];
                int r;

                while (s->at < s->n && json_text_is_plain(s->text[s->at]))
                        s->at++;
                if (hash)
                        json_key_hash_add(hash, s->text + start, s->at - start);

                start = s->at;
                r = json_text_next(s->text, s->n, &s->at, bytes, &size);
                if (r != 0)
                        return r;
                if (size == 0) {
                        s->at++;
                        return 0;
                }
                if (size == 1 && bytes[0] == 0 && !allow_nul) {
                        s->at = start;
                        return JSON_FAULT_NUL;
                }
                if (hash)
                        json_key_hash_add(hash, bytes, size);
        }
}

/* A member's name and the colon. */
static int scan_key(Scanner *s) {
        Frame *frame = &s->frames[s->depth - 1];
        size_t start = s->at;
        JsonKeyHash hash;
        int r;

        if (s->text[s->at] != '"')
                return JSON_FAULT_SYNTAX;
        if (s->keys.n_keys - frame->first_key >= s->limits->max_members)
                return JSON_FAULT_MEMBERS;

        json_key_hash_begin(&s->keys, &hash);
        r = scan_string(s, /* allow_nul= */ false, &hash);
        if (r != 0)
                return r;
        r = json_key_set_add(&s->keys, frame->first_key, &hash, start + 1);
        if (r != 0) {
                s->at = start;
                return r;
        }

        while (s->at < s->n && is_space(s->text[s->at]))
                s->at++;
        if (s->at >= s->n || s->text[s->at] != ':')
                return JSON_FAULT_SYNTAX;
        s->at++;
        s->expect = EXPECT_VALUE;
        return 0;
}

static int scan_open(Scanner *s, bool is_object) {
        if (s->depth >= s->limits->max_depth)
                return JSON_FAULT_DEPTH;
        if (s->depth == INLINE_DEPTH && s->frames == s->inline_frames) {
                Frame *frames = calloc(s->limits->max_depth, sizeof(Frame));

                if (!frames)
                        return -ENOMEM;
                memcpy(frames, s->inline_frames, sizeof(s->inline_frames));
                s->frames = frames;
        }
        s->frames[s->depth++] = (Frame){ .is_object = is_object, .first_key = s->keys.n_keys };
        s->expect = is_object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
        s->at++;
        return 0;
}

static int scan_close(Scanner *s) {
        const Frame *frame = &s->frames[s->depth - 1];

        if (s->text[s->at] != (frame->is_object ? '}' : ']'))
                return JSON_FAULT_SYNTAX;
        json_key_set_truncate(&s->keys, frame->first_key);
        s->depth--;
        s->at++;
        s->expect = s->depth > 0 ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
        return 0;
}

static int scan_value(Scanner *s) {
        int r;

        switch (s->text[s->at]) {
        case '{':
        case '[':
                return scan_open(s, s->text[s->at] == '{');
        case '"':
                r = scan_string(s, s->limits->allow_nul, NULL);
                break;
        case 't':
                r = scan_literal(s, "true");
                break;
        case 'f':
                r = scan_literal(s, "false");
                break;
        case 'n':
                r = scan_literal(s, "null");
                break;
        default:
                r = scan_number(s);
                break;
        }
        if (r == 0)
                s->expect = s->depth > 0 ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
        return r;
}

/* Takes one token, which begins at s->at. */
static int scan_step(Scanner *s) {
        char c = s->text[s->at];

        switch (s->expect) {
        case EXPECT_VALUE:
                return scan_value(s);
        case EXPECT_VALUE_OR_END:
                return c == ']' ? scan_close(s) : scan_value(s);
        case EXPECT_KEY:
                return scan_key(s);
        case EXPECT_KEY_OR_END:
                return c == '}' ? scan_close(s) : scan_key(s);
        case EXPECT_COMMA_OR_END:
                if (c != ',')
                        return scan_close(s);
                s->at++;
                s->expect = s->frames[s->depth - 1].is_object ? EXPECT_KEY : EXPECT_VALUE;
                return 0;
        case EXPECT_NOTHING:
                return JSON_FAULT_TRAILING;
        }
        return JSON_FAULT_SYNTAX;
}

static int scan_all(Scanner *s) {
        for (;;) {
                int r;

                while (s->at < s->n && is_space(s->text[s->at]))
                        s->at++;
                if (s->at >= s->n)
                        return s->expect == EXPECT_NOTHING ? 0 : JSON_FAULT_SYNTAX;
                r = scan_step(s);
                if (r != 0)
                        return r;
        }
}

int json_scan(const char *text, size_t n, const JsonLimits *limits, size_t *ret_offset) {
        Scanner s;
        int r;

        if (n > MIN(limits->max_size, (size_t)UINT32_MAX)) {
                if (ret_offset)
                        *ret_offset = limits->max_size;
                return JSON_FAULT_SIZE;
        }

        s.text = text;
        s.n = n;
        s.at = 0;
        s.limits = limits;
        s.expect = EXPECT_VALUE;
        s.frames = s.inline_frames;
        s.depth = 0;
        json_key_set_init(&s.keys, text, n);

        r = scan_all(&s);
        scanner_done(&s);
        if (r > 0 && ret_offset)
                *ret_offset = s.at;
        return r;
}

const char *json_fault_to_string(int fault) {
        switch (fault) {
        case JSON_OK:
                return "no fault";
        case JSON_FAULT_SYNTAX:
                return "not valid JSON";
        case JSON_FAULT_UTF8:
                return "not valid UTF-8";
        case JSON_FAULT_SURROGATE:
                return "half of a surrogate pair";
        case JSON_FAULT_DUPLICATE_KEY:
                return "two members of the same name";
        case JSON_FAULT_DEPTH:
                return "nested too deeply";
        case JSON_FAULT_SIZE:
                return "too large";
        case JSON_FAULT_MEMBERS:
                return "too many members in an object";
        case JSON_FAULT_NUMBER:
                return "a number out of range";
        case JSON_FAULT_NUL:
                return "a NUL character in a string";
        case JSON_FAULT_TRAILING:
                return "something behind the end of the JSON text";
        default:
                return "unknown fault";
        }
}
