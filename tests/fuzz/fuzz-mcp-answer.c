/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the reader of MCP answers, plain JSON and server-sent events alike.
 *
 * Properties: a result is an object that was asked for; a plain answer that was understood is understood alike as the
 * data of one event, with either line end and behind other events, as long as it has no line ends of its own. */

#include <stdio.h>

#include "oauth/mcp.h"
#include "oauth/oauth-internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *property) {
        if (!holds) {
                (void)fprintf(stderr, "violated: %s\n", property);
                abort();
        }
}

/* An answer is a result or an error; the error's text can be shown. */
static void check_answer(const char *text, size_t n, bool is_stream) {
        McpAnswer answer = {};
        int r = mcp_answer_read(text, n, is_stream, 2, &answer);

        check(r == 0 || r == FAILED || r == -ENOMEM, "a documented outcome");
        check((r == 0) == (answer.result || answer.message), "an answer exactly on success");
        check(!answer.result || !answer.message, "a result or an error");
        for (const char *p = answer.message; p && *p; p++)
                check((unsigned char)*p >= ' ' && *p != 0x7f, "the error's text is printable");
        mcp_answer_done(&answer);
}

/* What vaultd has in hand is NUL-ended behind its size, like this copy. */
static json_object *parse(const void *bytes, size_t n, bool is_stream) {
        json_object *result = NULL;
        char *copy = malloc(n + 1);
        int r;

        if (!copy)
                return NULL;
        memcpy(copy, bytes, n);
        copy[n] = 0;
        check_answer(copy, n, is_stream);
        r = mcp_answer_parse(copy, n, is_stream, 2, &result);
        check(r == 0 || r == FAILED || r == -ENOMEM, "a documented outcome");
        check((r == 0) == (result != NULL), "a result exactly on success");
        check(!result || json_object_is_type(result, json_type_object), "the result is an object");
        free(copy);
        return result;
}

static void check_framed(const uint8_t *data, size_t size, json_object *expected, const char *before,
                const char *after) {
        _cleanup_(json_putp) json_object *result = NULL;
        Buffer stream = {};

        if (buffer_append_text(&stream, before) >= 0 && buffer_append(&stream, data, size) >= 0 &&
                        buffer_append_text(&stream, after) >= 0) {
                result = parse(stream.bytes, stream.size, true);
                check(result && json_object_equal(result, expected), "the same in an event");
        }
        buffer_done(&stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(json_putp) json_object *plain = parse(data, size, false);

        json_object_put(parse(data, size, true));
        if (!plain || memchr(data, '\n', size) || memchr(data, '\r', size))
                return 0;
        check_framed(data, size, plain, "data: ", "\n\n");
        check_framed(data, size, plain, "event: message\r\ndata:", "\r\n\r\n");
        check_framed(data, size, plain, ": hi\n\ndata: {}\n\ndata: ", "\n\ndata: x\n\n");
        return 0;
}
