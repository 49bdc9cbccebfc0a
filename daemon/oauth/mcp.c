/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A small MCP client for what the daemon itself has to ask a server: how to connect, whose account a token is, whether it still
 * works. It makes one request at a time and reads one answer; nothing of the protocol that a server may start by itself is here.
 *
 * Two eras are in use at the same addresses (reference: MCP revisions 2025-11-25, "Lifecycle" and "Streamable HTTP", and
 * 2026-07-28, "Transports"). The newer one has no handshake and no session: each request says in its _meta and headers what it
 * is. So server/discover is asked first, in the newer form; a server that does not know it answers with some error or
 * other, and is greeted the old way. Only what says nothing about the era ends the attempt: no answer at all, a request for
 * authorization, too many requests.
 *
 * The token goes to `url` alone, which the caller has checked to be what it is bound to (V8). What a server refuses with 401 or 403
 * is kept with its challenge, for the caller decides what that means. */

#include <strings.h>

#include "oauth/mcp.h"
#include "oauth/oauth-internal.h"
#include "util/clock.h"
#include "util/encode.h"

#define REVISION_STATELESS "2026-07-28"
#define REVISION_STATEFUL  "2025-11-25"
#define META_PREFIX        "io.modelcontextprotocol/"
#define TOOL_PAGES_MAX     16U
#define TOOL_NAME_MAX      128U
#define LEAVE_TIMEOUT_USEC (5 * USEC_PER_SEC)

typedef struct Message {
        const char *what, *method, *name;
        json_object *params;
        bool is_notification;
} Message;

static json_object *client_info(void) {
        return json_build("name", 's', "vaultd", "version", 's', VAULTD_VERSION, NULL);
}

/* "_meta" of each request since 2026-07-28. */
static json_object *stateless_meta(void) {
        return json_build(META_PREFIX "protocolVersion", 's', REVISION_STATELESS, META_PREFIX "clientInfo",
                        'o', client_info(), META_PREFIX "clientCapabilities", 'o', json_object_new_object(),
                        NULL);
}

/* Takes the params. */
static json_object *message_build(McpClient *c, Message *m) {
        _cleanup_(json_putp) json_object *params = m->params;
        json_object *message;

        m->params = NULL;
        if (c->is_stateless) {
                if (!params)
                        params = json_object_new_object();
                if (!params || json_add(params, "_meta", stateless_meta()) < 0)
                        return NULL;
        }
        message = json_build("jsonrpc", 's', "2.0", "method", 's', m->method, NULL);
        if (!message || (params && json_add(message, "params", TAKE_PTR(params)) < 0) ||
                        (!m->is_notification && json_add_int64(message, "id", ++c->last_id) < 0)) {
                json_object_put(message);
                return NULL;
        }
        return message;
}

/* Mcp-Method and Mcp-Name repeat the body (2026-07-28, "Standard Request Headers"). */
static size_t message_headers(const McpClient *c, const Message *m, HttpHeader headers[static 6]) {
        const char *revision = c->is_stateless ? REVISION_STATELESS : c->revision ?: REVISION_STATEFUL;
        size_t n = 0;

        if (c->token)
                headers[n++] = (HttpHeader){
                        .name = "Authorization", .prefix = "Bearer ", .secret = c->token
                };
        headers[n++] = (HttpHeader){ .name = "Accept", .value = "application/json, text/event-stream" };
        headers[n++] = (HttpHeader){ .name = "MCP-Protocol-Version", .value = revision };
        if (c->is_stateless)
                headers[n++] = (HttpHeader){ .name = "Mcp-Method", .value = m->method };
        if (c->is_stateless && m->name)
                headers[n++] = (HttpHeader){ .name = "Mcp-Name", .value = m->name };
        if (!c->is_stateless && c->session)
                headers[n++] = (HttpHeader){ .name = "Mcp-Session-Id", .value = c->session };
        return n;
}

/* Visible ASCII (2025-11-25, "Session Management"); what is none is not sent back. */
static int session_keep(McpClient *c, const HttpResponse *response) {
        const char *session = http_response_header(response, "Mcp-Session-Id", 0);
        size_t n = session ? strlen(session) : 0;

        if (c->is_stateless || c->session || n == 0 || n > 1024)
                return 0;
        for (size_t i = 0; i < n; i++)
                if (session[i] < 0x21 || session[i] > 0x7e)
                        return 0;
        c->session = strdup(session);
        return c->session ? 0 : -ENOMEM;
}

static int challenge_keep(McpClient *c, const HttpResponse *response) {
        const char *value;
        int r = 0;

        for (unsigned i = 0; r >= 0 && (value = http_response_header(response, "WWW-Authenticate", i)); i++)
                r = challenge_parse(value, &c->challenge);
        return r;
}

static int refusal(McpClient *c, const Exchange *x, Failure *failure) {
        if (c->status == 401 && !c->token)
                return exchange_failure(x, failure, "the server asks for authorization, HTTP 401");
        if (c->status == 401)
                return exchange_failure(x, failure, "the server does not accept the token, HTTP 401");
        if (c->status == 403 && streq_ptr(c->challenge.error, "insufficient_scope"))
                return exchange_failure(x, failure, "the token's scopes are not enough for this, HTTP 403");
        return exchange_failure(x, failure, "the server answered HTTP %u", c->status);
}

static int response_read(McpClient *c, const Exchange *x, const Message *m, const HttpResponse *response,
                McpAnswer *ret, Failure *failure) {
        const char *type = http_response_header(response, "Content-Type", 0);
        bool is_stream = type && strncasecmp(type, "text/event-stream", 17) == 0;
        int r;

        c->status = response->status;
        r = session_keep(c, response);
        if (r >= 0 && (c->status == 401 || c->status == 403))
                r = challenge_keep(c, response);
        if (r < 0)
                return r;
        if (c->status / 100 != 2)
                return refusal(c, x, failure);
        if (m->is_notification)
                return 0;
        r = mcp_answer_read((const char *)response->body.bytes ?: "", response->body.size, is_stream,
                        c->last_id, ret);
        if (r == 0 && c->token && (r = mcp_answer_conceal(ret, secret_text(c->token))) < 0)
                mcp_answer_done(ret);
        return r == FAILED ? exchange_failure(x, failure, "the server's answer is not understood") : r;
}

/* Takes the message's params. */
static int mcp_post(McpClient *c, Message *m, McpAnswer *ret, Failure *failure) {
        _cleanup_(json_putp) json_object *message = message_build(c, m);
        const char *text = message ? json_text(message) : NULL;
        HttpResponse response = {};
        HttpHeader headers[6];
        int r;

        c->status = 0;
        challenge_done(&c->challenge);
        if (!text)
                return -ENOMEM;
        const Exchange x = { c->title, m->what,
                { .method = "POST",
                                .url = c->url,
                                .headers = headers,
                                .n_headers = message_headers(c, m, headers),
                                .body = text,
                                .body_size = strlen(text),
                                .content_type = "application/json" } };
        r = http_perform(c->oauth->http, &x.request, &response, NULL);
        if (r == -ENOMEM || r == -ECANCELED)
                return r;
        if (r < 0)
                return exchange_failure(&x, failure, "%s", http_error_text(r));
        r = response_read(c, &x, m, &response, ret, failure);
        http_response_done(&response);
        return r;
}

int mcp_request(McpClient *c, const char *what, const char *method, const char *name, json_object *params,
                McpAnswer *ret, Failure *failure) {
        Message m = { .what = what, .method = method, .name = name, .params = params };

        return mcp_post(c, &m, ret, failure);
}

/* Whether the server has 2026-07-28. 0 with *ret_is_known; FAILED: it does not say so, and the old way would not do either. */
static int discover(McpClient *c, bool *ret_is_known, Failure *failure) {
        json_object *versions = NULL;
        McpAnswer answer = {};
        int r;

        c->is_stateless = true;
        r = mcp_request(c, "asking what the server speaks", "server/discover", NULL, NULL, &answer, failure);
        c->is_stateless = false;
        *ret_is_known = false;
        if (r == FAILED && c->status != 0 && c->status != 401 && c->status != 403 && c->status != 429) {
                failure_done(failure);
                return 0;
        }
        if (r == 0 && answer.result)
                (void)json_get_array(answer.result, "supportedVersions", &versions);
        for (size_t i = 0; versions && i < json_object_array_length(versions) && !*ret_is_known; i++) {
                json_object *version = json_object_array_get_idx(versions, i);

                *ret_is_known = json_object_is_type(version, json_type_string) &&
                                streq(json_object_get_string(version), REVISION_STATELESS);
        }
        mcp_answer_done(&answer);
        return r;
}

/* What the server chose, if it can be said again in a header; else what we asked for. */
static int revision_keep(McpClient *c, const char *chosen) {
        bool is_date = chosen && strlen(chosen) == 10 && strspn(chosen, "0123456789-") == 10;

        c->revision = strdup(is_date ? chosen : REVISION_STATEFUL);
        return c->revision ? 0 : -ENOMEM;
}

static int initialize(McpClient *c, Failure *failure) {
        json_object *params = json_build("protocolVersion", 's', REVISION_STATEFUL, "capabilities", 'o',
                        json_object_new_object(), "clientInfo", 'o', client_info(), NULL);
        Message ready = {
                .what = "greeting the server", .method = "notifications/initialized", .is_notification = true
        };
        McpAnswer answer = {};
        int r;

        if (!params)
                return -ENOMEM;
        r = mcp_request(c, "greeting the server", "initialize", NULL, params, &answer, failure);
        if (r == 0 && !answer.result)
                r = failure_set(failure, FAILURE_UPSTREAM, NULL, "%s: the server refused the greeting: %s",
                                c->title, answer.message);
        if (r == 0)
                r = revision_keep(c, json_string(answer.result, "protocolVersion"));
        mcp_answer_done(&answer);
        return r == 0 ? mcp_post(c, &ready, NULL, failure) : r;
}

int mcp_greet(McpClient *c, Failure *failure) {
        bool is_known;
        int r;

        r = discover(c, &is_known, failure);
        if (r != 0)
                return r;
        if (!is_known)
                return initialize(c, failure);
        c->is_stateless = true;
        c->revision = strdup(REVISION_STATELESS);
        return c->revision ? 0 : -ENOMEM;
}

int mcp_call_tool(McpClient *c, const char *what, const char *tool, const char *arguments,
                json_object **ret_result, Failure *failure) {
        const char *text = arguments ?: "{}";
        json_object *object = NULL, *params;
        McpAnswer answer = {};
        int r;

        r = json_parse(text, strlen(text), &json_limits_wire, &object);
        if (r != 0)
                return r < 0 ? r : -EINVAL;
        params = json_build("name", 's', tool, "arguments", 'o', object, NULL);
        if (!params)
                return -ENOMEM;
        r = mcp_request(c, what, "tools/call", tool, params, &answer, failure);
        if (r == 0 && !answer.result)
                r = failure_set(failure, FAILURE_UPSTREAM, NULL, "%s: its tool %s cannot be called: %s",
                                c->title, tool, answer.message);
        if (r == 0)
                *ret_result = TAKE_PTR(answer.result);
        mcp_answer_done(&answer);
        return r;
}

/* Appends the names of one page. */
static int tools_add(json_object *result, char **tools, size_t *n) {
        json_object *list = NULL;

        (void)json_get_array(result, "tools", &list);
        for (size_t i = 0; list && i < json_object_array_length(list) && *n < MCP_TOOLS_MAX; i++) {
                const char *name = json_string(json_object_array_get_idx(list, i), "name");
                _cleanup_(freep) char *shown = name ? printable(name, TOOL_NAME_MAX) : NULL;

                if (name && !shown)
                        return -ENOMEM;
                if (name && *name && streq(name, shown))
                        tools[(*n)++] = TAKE_PTR(shown);
        }
        return 0;
}

int mcp_list_tools(McpClient *c, char ***ret, Failure *failure) {
        _cleanup_(strv_freep) char **tools = calloc(MCP_TOOLS_MAX + 1, sizeof(char *));
        _cleanup_(freep) char *cursor = NULL;
        size_t n = 0;

        if (!tools)
                return -ENOMEM;
        for (unsigned page = 0; page < TOOL_PAGES_MAX; page++) {
                json_object *params = cursor ? json_build("cursor", 's', cursor, NULL) : NULL;
                McpAnswer answer = {};
                int r;

                if (cursor && !params)
                        return -ENOMEM;
                r = mcp_request(c, "listing its tools", "tools/list", NULL, params, &answer, failure);
                if (r == 0 && !answer.result)
                        r = failure_set(failure, FAILURE_UPSTREAM, NULL,
                                        "%s: its tools cannot be listed: %s", c->title, answer.message);
                if (r == 0)
                        r = tools_add(answer.result, tools, &n);
                const char *next = r == 0 ? json_string(answer.result, "nextCursor") : NULL;
                free(cursor);
                cursor = next ? strdup(next) : NULL;
                bool is_out_of_memory = next && !cursor;
                mcp_answer_done(&answer);
                if (r != 0 || is_out_of_memory)
                        return r != 0 ? r : -ENOMEM;
                if (!cursor)
                        break;
        }
        *ret = TAKE_PTR(tools);
        return 0;
}

void mcp_leave(McpClient *c) {
        const HttpHeader headers[] = {
                { .name = "Authorization", .prefix = "Bearer ", .secret = c->token },
                { .name = "MCP-Protocol-Version", .value = c->revision },
                { .name = "Mcp-Session-Id", .value = c->session },
        };
        const HttpRequest request = { .method = "DELETE",
                .url = c->url,
                .headers = headers,
                .n_headers = ELEMENTSOF(headers),
                .timeout_usec = LEAVE_TIMEOUT_USEC };
        HttpResponse response = {};

        if (!c->session || !c->token || !c->revision)
                return;
        if (http_perform(c->oauth->http, &request, &response, NULL) >= 0)
                http_response_done(&response);
}

void mcp_client_done(McpClient *c) {
        free(c->revision);
        free(c->session);
        challenge_done(&c->challenge);
        *c = (McpClient){};
}
