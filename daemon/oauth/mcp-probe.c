/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Does a token still work at its MCP server? The server is greeted, its tools are listed, and one of them is called where somebody
 * asks for that; how far it let us come is the answer (O8).
 *
 * Three kinds of no have to be told apart, since each has another way out: the token is refused (401: a new one, or a new
 * connect), its scopes are too few for this request (403 with insufficient_scope, RFC 6750 section 3.1: a step-up), and
 * all that says nothing about the token (no answer, a fault of the server's, too many requests). A 403 of another kind is the
 * last: many servers say so of a single tool.
 *
 * What a server asks for is only told; nobody's rights are widened by an answer. Who widens them is the user, at the service, after
 * `vaultctl connect SERVICE --scope …` (scope.c).
 *
 * Who may call: on a fiber. */

#include "oauth/mcp.h"
#include "oauth/oauth-internal.h"
#include "util/url.h"

void probe_done(Probe *p) {
        free(p->reason);
        free(p->scope);
        free(p->revision);
        strv_free(p->tools);
        *p = (Probe){};
}

static ProbeVerdict verdict_of(const McpClient *c) {
        if (c->status == 401)
                return PROBE_REFUSED;
        if (c->status == 403 && streq_ptr(c->challenge.error, "insufficient_scope"))
                return PROBE_NARROW;
        return PROBE_UNKNOWN;
}

static int probe_work(McpClient *c, const char *tool, Probe *p, Failure *failure) {
        json_object *result = NULL;
        int r;

        r = mcp_greet(c, failure);
        if (r == 0)
                r = mcp_list_tools(c, &p->tools, failure);
        if (r == 0 && tool) {
                r = mcp_call_tool(c, "calling its tool", tool, NULL, &result, failure);
                json_scrub(&result); /* somebody's data, of no use here */
        }
        return r;
}

int oauth_probe(Oauth *o, const ServiceProfile *profile, const char *upstream, const Secret *token,
                const char *tool, Probe *ret) {
        McpClient client = { .oauth = o, .title = profile->title, .url = upstream, .token = token };
        Failure failure = {};
        Probe p = {};
        int r;

        if (!url_is_bound(profile->url, upstream))
                return -EPERM;
        r = probe_work(&client, tool, &p, &failure);
        if (r >= 0)
                mcp_leave(&client); /* scripts ask again and again */
        if (r == FAILED) {
                p.verdict = verdict_of(&client);
                p.reason = TAKE_PTR(failure.message);
                if (p.verdict == PROBE_NARROW && client.challenge.scope &&
                                scope_is_legal(client.challenge.scope))
                        p.scope = TAKE_PTR(client.challenge.scope);
                r = 0;
        }
        p.revision = TAKE_PTR(client.revision);
        mcp_client_done(&client);
        failure_done(&failure);
        if (r < 0) {
                probe_done(&p);
                return r;
        }
        *ret = p;
        return 0;
}
