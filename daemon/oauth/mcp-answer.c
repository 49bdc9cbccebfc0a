/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What an MCP server answers to a request: one JSON-RPC message, or a stream of server-sent events one of which is it.
 *
 * Servers choose the form for each answer (MCP "Streamable HTTP"), put requests and notifications of their own before it, and
 * keep lines of any kind in between. So the stream is read event by event until one has the id that was asked for; the rest is
 * passed over. Everything goes through the strict scan, and text that people may see is made printable here.
 *
 * Pure functions of texts; any thread. */

#include "oauth/mcp.h"
#include "oauth/oauth-internal.h"
#include "util/encode.h"

#define MESSAGE_SHOWN_MAX 200U
/* So much of a token is as good as all of it: the text may have been cut behind. */
#define TOKEN_FRONT 16U

void mcp_answer_done(McpAnswer *a) {
        json_object_put(a->result);
        free(a->message);
        *a = (McpAnswer){};
}

int mcp_answer_conceal(McpAnswer *a, const char *token) {
        _cleanup_(freep) char *front = strndup(token, TOKEN_FRONT);
        char *other;

        if (!front)
                return -ENOMEM;
        if (!a->message || !strstr(a->message, front))
                return 0;
        other = strdup("its words, which repeat the token, are not shown");
        if (!other)
                return -ENOMEM;
        explicit_bzero(a->message, strlen(a->message));
        free(a->message);
        a->message = other;
        return 0;
}

/* One JSON-RPC message. */
static int message_read(const char *text, size_t n, int64_t id, McpAnswer *ret) {
        _cleanup_(json_putp) json_object *message = NULL;
        json_object *member = NULL;
        McpAnswer answer = {};
        int64_t answered;
        int r;

        r = json_parse(text, n, &json_limits_wire, &message);
        if (r < 0)
                return r;
        if (r > 0 || json_get_int64(message, "id", &answered) < 0 || answered != id)
                return FAILED;
        if (json_get_object(message, "result", &member) >= 0)
                answer.result = json_object_get(member);
        else if (json_get_object(message, "error", &member) >= 0 &&
                        json_get_int64(member, "code", &answer.error) >= 0) {
                answer.message = printable(json_string(member, "message") ?: "", MESSAGE_SHOWN_MAX);
                if (!answer.message)
                        return -ENOMEM;
        } else
                return FAILED;
        *ret = answer;
        return 0;
}

/* The data of one server-sent event: its data lines joined (WHATWG HTML, section 9.2.6). */
static int event_read(const char *event, size_t n, int64_t id, McpAnswer *ret) {
        Buffer data = {};
        int r = 0;

        for (size_t at = 0; at < n && r >= 0;) {
                size_t length = strcspn(event + at, "\r\n");
                const char *line = event + at;

                if (length > n - at)
                        length = n - at;
                if (length >= 5 && memcmp(line, "data:", 5) == 0) {
                        size_t skip = length > 5 && line[5] == ' ' ? 6 : 5;

                        if (data.size > 0)
                                r = buffer_append(&data, "\n", 1);
                        if (r >= 0)
                                r = buffer_append(&data, line + skip, length - skip);
                }
                at += length + 1;
        }
        if (r >= 0)
                r = data.size > 0 ? message_read((char *)data.bytes, data.size, id, ret) : FAILED;
        buffer_done(&data);
        return r;
}

/* Bytes up to and with the empty line that ends an event; all of them where none does. Lines end with LF or CRLF, as servers send them. */
static size_t event_size(const char *text, size_t n) {
        for (size_t i = 0; i + 1 < n; i++)
                if (text[i] == '\n' && (text[i + 1] == '\n' || (text[i + 1] == '\r' && i + 2 < n &&
                                                                               text[i + 2] == '\n')))
                        return i + (text[i + 1] == '\n' ? 2 : 3);
        return n;
}

int mcp_answer_read(const char *body, size_t n, bool is_stream, int64_t id, McpAnswer *ret) {
        if (!is_stream)
                return message_read(body, n, id, ret);

        for (size_t at = 0; at < n;) {
                size_t size = event_size(body + at, n - at);
                int r = event_read(body + at, size, id, ret);

                if (r <= 0)
                        return r;
                at += size;
        }
        return FAILED;
}

int mcp_answer_parse(const char *body, size_t n, bool is_stream, int64_t id, json_object **ret_result) {
        McpAnswer answer = {};
        int r;

        r = mcp_answer_read(body, n, is_stream, id, &answer);
        if (r == 0 && !answer.result)
                r = FAILED;
        if (r == 0)
                *ret_result = TAKE_PTR(answer.result);
        mcp_answer_done(&answer);
        return r;
}
