/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whose account is it? Asked of the service itself, with the token just received, before anybody may use it (O7): the
 * MCP tool that the profile names (AccountTool=), otherwise the authorization server's userinfo endpoint, or for what is no
 * grant the address that the profile names (AccountUrl=). The answer is foreign text: bounded, printable, shown and pinned, and
 * never the name of a Unix user. The token goes nowhere else than where it is bound to: the upstream of its own record, or an
 * address that root wrote or the server's own metadata named (V8). */

#include <strings.h>

#include "oauth/oauth-internal.h"
#include "util/encode.h"
#include "util/url.h"

#define MCP_PROTOCOL_VERSION "2025-11-25"
#define ACCOUNT_TEXT_MAX     200U

/* One JSON-RPC message; the wanted answer's result (taken) or NULL. */
static int mcp_message_result(const char *text, size_t n, int64_t id, json_object **ret_result) {
        _cleanup_(json_putp) json_object *message = NULL;
        json_object *result = NULL;
        int64_t answered;
        int r;

        r = json_parse(text, n, &json_limits_wire, &message);
        if (r < 0)
                return r;
        if (r > 0 || json_get_int64(message, "id", &answered) < 0 || answered != id ||
                        json_get_object(message, "result", &result) < 0)
                return FAILED;
        *ret_result = json_object_get(result);
        return 0;
}

/* The data of one server-sent event: its data lines joined (WHATWG HTML, section 9.2.6). */
static int sse_event_result(const char *event, size_t n, int64_t id, json_object **ret_result) {
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
                r = data.size > 0 ? mcp_message_result((char *)data.bytes, data.size, id, ret_result)
                                  : FAILED;
        buffer_done(&data);
        return r;
}

/* Bytes up to and with the empty line that ends an event; all of them where none does. Lines end with LF or CRLF, as servers send them. */
static size_t sse_event_size(const char *text, size_t n) {
        for (size_t i = 0; i + 1 < n; i++)
                if (text[i] == '\n' && (text[i + 1] == '\n' || (text[i + 1] == '\r' && i + 2 < n &&
                                                                               text[i + 2] == '\n')))
                        return i + (text[i + 1] == '\n' ? 2 : 3);
        return n;
}

int mcp_answer_parse(const char *body, size_t n, bool is_stream, int64_t id, json_object **ret_result) {
        if (!is_stream)
                return mcp_message_result(body, n, id, ret_result);

        for (size_t at = 0; at < n;) {
                size_t size = sse_event_size(body + at, n - at);
                int r = sse_event_result(body + at, size, id, ret_result);

                if (r <= 0)
                        return r;
                at += size;
        }
        return FAILED;
}

typedef struct McpProbe {
        Oauth *oauth;
        const ServiceProfile *profile;
        const char *upstream;              /* what the token is bound to */
        const char *userinfo;              /* where to ask otherwise; NULL: nowhere */
        const char *id_field, *name_field; /* of that answer */
        const Secret *token;
        char *session; /* Mcp-Session-Id */
        Failure *failure;
} McpProbe;

/* Posts one message; with id > 0 its result is wanted. */
static int mcp_post(
                McpProbe *p, const char *what, json_object *message, int64_t id, json_object **ret_result) {
        _cleanup_(json_putp) json_object *owned = message;
        HttpHeader headers[] = {
                { .name = "Authorization", .prefix = "Bearer ", .secret = p->token },
                { .name = "Accept", .value = "application/json, text/event-stream" },
                { .name = "MCP-Protocol-Version", .value = MCP_PROTOCOL_VERSION },
                { .name = "Mcp-Session-Id", .value = p->session },
        };
        const char *text = owned ? json_text(owned) : NULL;
        HttpResponse response = {};
        int r;

        if (!text)
                return -ENOMEM;
        const Exchange x = { p->profile->title, what,
                { .method = "POST",
                                .url = p->upstream,
                                .headers = headers,
                                .n_headers = p->session ? 4 : 3,
                                .body = text,
                                .body_size = strlen(text),
                                .content_type = "application/json" } };
        r = http_perform(p->oauth->http, &x.request, &response, NULL);
        if (r == -ENOMEM || r == -ECANCELED)
                return r;
        if (r < 0)
                return exchange_failure(&x, p->failure, "%s", http_error_text(r));

        const char *session = http_response_header(&response, "Mcp-Session-Id", 0);
        if (session && !p->session)
                p->session = printable(session, 1024);
        const char *type = http_response_header(&response, "Content-Type", 0);
        if (response.status == 401)
                r = exchange_failure(&x, p->failure, "the server does not accept the token, HTTP 401");
        else if (response.status / 100 != 2)
                r = exchange_failure(&x, p->failure, "the server answered HTTP %u", response.status);
        else if (id > 0) {
                bool is_stream = type && strncasecmp(type, "text/event-stream", 17) == 0;

                r = mcp_answer_parse((const char *)response.body.bytes ?: "", response.body.size, is_stream,
                                id, ret_result);
                if (r == FAILED)
                        r = exchange_failure(&x, p->failure, "the server's answer is not understood");
        } else
                r = 0;
        http_response_done(&response);
        return r;
}

static json_object *mcp_request(int64_t id, const char *method, json_object *params) {
        if (id == 0)
                return json_build("jsonrpc", 's', "2.0", "method", 's', method, NULL);
        return json_build("jsonrpc", 's', "2.0", "id", 'i', id, "method", 's', method, "params", 'o', params,
                        NULL);
}

static int mcp_call_tool(McpProbe *p, const char *tool, json_object **ret_result) {
        json_object *hello = NULL;
        int r;

        r = mcp_post(p, "greeting the server",
                        mcp_request(1, "initialize",
                                        json_build("protocolVersion", 's', MCP_PROTOCOL_VERSION,
                                                        "capabilities", 'o', json_object_new_object(),
                                                        "clientInfo", 'o',
                                                        json_build("name", 's', "vaultd", "version", 's',
                                                                        VAULTD_VERSION, NULL),
                                                        NULL)),
                        1, &hello);
        if (r != 0)
                return r;
        json_object_put(hello);
        r = mcp_post(p, "greeting the server", mcp_request(0, "notifications/initialized", NULL), 0, NULL);
        if (r != 0)
                return r;
        return mcp_post(p, "asking whose account it is",
                        mcp_request(2, "tools/call",
                                        json_build("name", 's', tool, "arguments", 'o',
                                                        json_object_new_object(), NULL)),
                        2, ret_result);
}

/* structuredContent, or the first text block that is itself a JSON object. */
static int mcp_tool_object(json_object *result, json_object **ret) {
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

static int account_from_object(json_object *object, const char *id_field, const char *name_field,
                char **ret_id, char **ret_name) {
        _cleanup_(freep) char *id = NULL, *name = NULL;
        json_object *value = NULL;

        /* Some services number their accounts. */
        if (!json_object_object_get_ex(object, id_field, &value) ||
                        (!json_object_is_type(value, json_type_string) &&
                                        !json_object_is_type(value, json_type_int)))
                return FAILED;
        const char *text = json_object_get_string(value);
        if (isempty(text) || strlen(text) > ACCOUNT_TEXT_MAX)
                return FAILED;
        id = printable(text, ACCOUNT_TEXT_MAX);
        name = printable(json_string(object, name_field) ?: text, ACCOUNT_TEXT_MAX);
        if (!id || !name)
                return -ENOMEM;
        if (!streq(id, text))
                return FAILED; /* an id that cannot be shown cannot be compared by a person */
        *ret_id = TAKE_PTR(id);
        *ret_name = TAKE_PTR(name);
        return 0;
}

static int account_by_tool(McpProbe *p, char **ret_id, char **ret_name) {
        _cleanup_(json_putp) json_object *result = NULL, *object = NULL;
        const ServiceProfile *profile = p->profile;
        int r;

        r = mcp_call_tool(p, profile->account_tool, &result);
        if (r != 0)
                return r;
        r = mcp_tool_object(result, &object);
        if (r == 0)
                r = account_from_object(object, profile->account_id_field ?: "id",
                                profile->account_name_field ?: "name", ret_id, ret_name);
        if (r == FAILED)
                r = failure_set(p->failure, FAILURE_UPSTREAM, NULL,
                                "%s: its tool %s does not say whose account it is", profile->title,
                                profile->account_tool);
        return r;
}

static int account_by_userinfo(McpProbe *p, char **ret_id, char **ret_name) {
        const HttpHeader headers[] = {
                { .name = "Authorization", .prefix = "Bearer ", .secret = p->token },
                { .name = "Accept", .value = "application/json" },
        };
        const Exchange x = {
                p->profile->title, "asking whose account it is",
                { .method = "GET", .url = p->userinfo, .headers = headers, .n_headers = ELEMENTSOF(headers) }
        };
        _cleanup_(json_putp) json_object *object = NULL;
        unsigned status;
        int r;

        r = exchange_json(p->oauth, &x, &status, &object, NULL, p->failure);
        if (r != 0)
                return r;
        r = status == 200 && object
                            ? account_from_object(object, p->id_field, p->name_field, ret_id, ret_name)
                            : FAILED;
        if (r == FAILED)
                return exchange_failure(&x, p->failure,
                                "the answer does not say whose account it is, HTTP %u", status);
        return r;
}

/* *ret_is_told false: nothing says it. */
static int account_find(McpProbe *p, char **ret_id, char **ret_name, bool *ret_is_told) {
        int r = 0;

        *ret_is_told = p->profile->account_tool || p->userinfo;
        /* What is asked with the token is what the token is for. */
        if (p->profile->account_tool && !url_is_bound(p->profile->url, p->upstream))
                return -EPERM;
        if (p->profile->account_tool)
                r = account_by_tool(p, ret_id, ret_name);
        else if (p->userinfo)
                r = account_by_userinfo(p, ret_id, ret_name);
        free(p->session);
        return r;
}

int account_ask(Oauth *o, const ServiceProfile *profile, const Flow *flow, const Secret *token,
                char **ret_id, char **ret_name, Failure *failure) {
        McpProbe p = { .oauth = o,
                .profile = profile,
                .upstream = flow->upstream,
                .userinfo = flow->authority.userinfo_endpoint,
                .id_field = profile->account_id_field ?: "sub",
                .name_field = profile->account_name_field ?: "email",
                .token = token,
                .failure = failure };
        bool is_told;
        int r;

        r = account_find(&p, ret_id, ret_name, &is_told);
        if (r == 0 && !is_told)
                r = failure_set(failure, FAILURE_NOT_CONFIGURED, NULL,
                                "%s: nobody can say whose account it is; an administrator has to set "
                                "AccountTool= in services.d/%s.conf",
                                profile->title, profile->name);
        return r;
}

int account_ask_for_token(Oauth *o, const ServiceProfile *profile, const Secret *token, char **ret_id,
                char **ret_name, Failure *failure) {
        McpProbe p = { .oauth = o,
                .profile = profile,
                .upstream = profile->url,
                .userinfo = profile->account_url,
                .id_field = profile->account_id_field ?: "id",
                .name_field = profile->account_name_field ?: "name",
                .token = token,
                .failure = failure };
        bool is_told;

        return account_find(&p, ret_id, ret_name, &is_told);
}
