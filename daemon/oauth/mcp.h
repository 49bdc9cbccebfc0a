/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "json/object.h"
#include "oauth/challenge.h"
#include "oauth/oauth.h"

/* A small MCP client: asks one server a few things, in whichever revision it speaks. For the files of oauth/ only; on a fiber. */

/* What a server said to one request (JSON-RPC 2.0, section 5). */
typedef struct McpAnswer {
        json_object *result; /* NULL: an error */
        int64_t error;       /* its code */
        char *message;       /* its text, printable; NULL */
} McpAnswer;
/* From a body (JSON, or SSE when is_stream) the answer to request id. Pure. FAILED: there is none. */
int mcp_answer_read(const char *body, size_t n, bool is_stream, int64_t id, McpAnswer *ret);
/* Puts other words in the place of an error's text that has the token in it, or the beginning of it. -ENOMEM. */
int mcp_answer_conceal(McpAnswer *a, const char *token);
void mcp_answer_done(McpAnswer *a);

typedef struct McpClient {
        Oauth *oauth;
        const char *title;   /* the service's, for messages */
        const char *url;     /* what the token is bound to */
        const Secret *token; /* NULL: without */
        /* What came of it. */
        char *revision;    /* that both speak, "2026-07-28"; NULL: not known yet */
        bool is_stateless; /* from 2026-07-28 on: no initialize, no session */
        char *session;     /* Mcp-Session-Id, as the server gave it */
        int64_t last_id;
        unsigned status;     /* HTTP, of the last exchange; 0: there was no answer */
        Challenge challenge; /* of the last exchange, if it was a 401 or 403 */
} McpClient;

/* Finds out what the server speaks: 2026-07-28 by server/discover, else the handshake of 2025-11-25. 0; FAILED, see status. */
int mcp_greet(McpClient *c, Failure *failure);
/* One request after mcp_greet(). what: for messages. name: the tool's with tools/call, else NULL. params are taken, may be NULL. 0 with an answer, which
 * may be an error; FAILED: none that is understood, see status. */
int mcp_request(McpClient *c, const char *what, const char *method, const char *name, json_object *params,
                McpAnswer *ret, Failure *failure);
/* The result of a tool. arguments: a JSON object, NULL for none. FAILED also when the server answers with an error. */
int mcp_call_tool(McpClient *c, const char *what, const char *tool, const char *arguments,
                json_object **ret_result, Failure *failure);
/* The names of the server's tools, NULL-ended, at most MCP_TOOLS_MAX and of those only printable ones. */
#define MCP_TOOLS_MAX 512U
int mcp_list_tools(McpClient *c, char ***ret, Failure *failure);
/* Ends the session that the server keeps, if there is one (2025-11-25, "Session Management"). Whether the server takes note is its business. */
void mcp_leave(McpClient *c);
void mcp_client_done(McpClient *c);
