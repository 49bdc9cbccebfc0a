/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whose account is it? Asked of the service itself, with the token just received, before anybody may use it (O7): the
 * MCP tool that the profile names (AccountTool=), else the address that it names (AccountUrl=), else the authorization server's
 * userinfo endpoint; or nobody is asked, because the answer that brought the token said it (Account=token). What such an answer means is
 * account-answer.c's. The token goes nowhere else than where it is bound to: the upstream of its own record, or an
 * address that root wrote or the server's own metadata named (V8). */

#include "oauth/mcp.h"
#include "oauth/oauth-internal.h"
#include "util/encode.h"
#include "util/url.h"

typedef struct AccountProbe {
        Oauth *oauth;
        const ServiceProfile *profile;
        const char *upstream;              /* what the token is bound to */
        const char *url;                   /* where to ask otherwise; NULL: nowhere */
        const char *id_field, *name_field; /* of that answer */
        const Secret *token;
        Failure *failure;
} AccountProbe;

static int account_call_tool(AccountProbe *p, const char *tool, json_object **ret_result) {
        McpClient client = {
                .oauth = p->oauth, .title = p->profile->title, .url = p->upstream, .token = p->token
        };
        int r;

        r = mcp_greet(&client, p->failure);
        if (r == 0)
                r = mcp_call_tool(&client, "asking whose account it is", tool, p->profile->account_arguments,
                                ret_result, p->failure);
        mcp_client_done(&client);
        return r;
}

static int account_by_tool(AccountProbe *p, char **ret_id, char **ret_name) {
        _cleanup_(json_putp) json_object *result = NULL;
        const ServiceProfile *profile = p->profile;
        int r;

        r = account_call_tool(p, profile->account_tool, &result);
        if (r != 0)
                return r;
        r = account_from_tool(result, profile, ret_id, ret_name);
        if (r == FAILED)
                r = failure_set(p->failure, FAILURE_UPSTREAM, NULL,
                                "%s: its tool %s does not say whose account it is", profile->title,
                                profile->account_tool);
        return r;
}

static int account_by_url(AccountProbe *p, char **ret_id, char **ret_name) {
        const HttpHeader headers[] = {
                { .name = "Authorization", .prefix = "Bearer ", .secret = p->token },
                { .name = "Accept", .value = "application/json" },
        };
        const char *body = p->profile->account_url ? p->profile->account_body : NULL;
        const Exchange x = { p->profile->title, "asking whose account it is",
                { .method = body ? "POST" : "GET",
                                .url = p->url,
                                .headers = headers,
                                .n_headers = ELEMENTSOF(headers),
                                .body = body,
                                .body_size = body ? strlen(body) : 0,
                                .content_type = "application/json" } };
        _cleanup_(json_putp) json_object *object = NULL;
        unsigned status;
        int r;

        r = exchange_json(p->oauth, &x, &status, &object, NULL, p->failure);
        if (r != 0)
                return r;
        r = status == 200 && object
                            ? account_from_object(object, p->id_field, p->name_field, ret_id, ret_name)
                            : FAILED;
        if (r == FAILED) {
                r = exchange_failure(&x, p->failure, "the answer does not say whose account it is, HTTP %u",
                                status);
                p->failure->status = status;
        }
        return r;
}

/* *ret_is_told false: nothing says it. */
static int account_find(AccountProbe *p, char **ret_id, char **ret_name, bool *ret_is_told) {
        int r = 0;

        *ret_is_told = p->profile->account_tool || p->url;
        /* What is asked with the token is what the token is for. */
        if (p->profile->account_tool && !url_is_bound(p->profile->url, p->upstream))
                return -EPERM;
        if (p->profile->account_tool)
                r = account_by_tool(p, ret_id, ret_name);
        else if (p->url)
                r = account_by_url(p, ret_id, ret_name);
        return r;
}

int account_ask(Oauth *o, const ServiceProfile *profile, const Flow *flow, const Secret *token,
                char **ret_id, char **ret_name, Failure *failure) {
        bool is_userinfo = !profile->account_url;
        AccountProbe p = { .oauth = o,
                .profile = profile,
                .upstream = flow->upstream,
                .url = profile->account_url ?: flow->authority.userinfo_endpoint,
                .id_field = profile->account_id_field ?: (is_userinfo ? "sub" : "id"),
                .name_field = profile->account_name_field ?: (is_userinfo ? "email" : "name"),
                .token = token,
                .failure = failure };
        bool is_told;
        int r;

        if (profile->account_source == ACCOUNT_SOURCE_NONE) {
                *ret_id = strdup("");
                *ret_name = strdup("unknown account");
                return *ret_id && *ret_name ? 0 : -ENOMEM;
        }
        if (profile->account_source == ACCOUNT_SOURCE_TOKEN)
                return flow->account_id ? 0
                                        : failure_set(failure, FAILURE_UPSTREAM, NULL,
                                                          "%s: its answer with the token does not say whose "
                                                          "account it is",
                                                          profile->title);
        r = account_find(&p, ret_id, ret_name, &is_told);
        if (r == 0 && !is_told)
                r = failure_set(failure, FAILURE_NOT_CONFIGURED, NULL,
                                "%s: nobody can say whose account it is; an administrator has to set "
                                "AccountTool= or AccountUrl= in services.d/%s.conf",
                                profile->title, profile->name);
        return r;
}

int account_ask_for_token(Oauth *o, const ServiceProfile *profile, const Secret *token, char **ret_id,
                char **ret_name, Failure *failure) {
        AccountProbe p = { .oauth = o,
                .profile = profile,
                .upstream = profile->url,
                .url = profile->account_url,
                .id_field = profile->account_id_field ?: "id",
                .name_field = profile->account_name_field ?: "name",
                .token = token,
                .failure = failure };
        bool is_told;

        return account_find(&p, ret_id, ret_name, &is_told);
}
