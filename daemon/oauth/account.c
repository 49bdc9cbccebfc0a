/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whose account is it? Asked of the service itself, with the token just received, before anybody may use it (O7): the
 * MCP tool that the profile names (AccountTool=), otherwise the authorization server's userinfo endpoint, or for what is no
 * grant the address that the profile names (AccountUrl=). The answer is foreign text: bounded, printable, shown and pinned, and
 * never the name of a Unix user. The token goes nowhere else than where it is bound to: the upstream of its own record, or an
 * address that root wrote or the server's own metadata named (V8). */

#include "oauth/mcp.h"
#include "oauth/oauth-internal.h"
#include "util/encode.h"
#include "util/url.h"

#define ACCOUNT_TEXT_MAX 200U

typedef struct AccountProbe {
        Oauth *oauth;
        const ServiceProfile *profile;
        const char *upstream;              /* what the token is bound to */
        const char *userinfo;              /* where to ask otherwise; NULL: nowhere */
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
                r = mcp_call_tool(&client, "asking whose account it is", tool, ret_result, p->failure);
        mcp_client_done(&client);
        return r;
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

static int account_by_tool(AccountProbe *p, char **ret_id, char **ret_name) {
        _cleanup_(json_putp) json_object *result = NULL, *object = NULL;
        const ServiceProfile *profile = p->profile;
        int r;

        r = account_call_tool(p, profile->account_tool, &result);
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

static int account_by_userinfo(AccountProbe *p, char **ret_id, char **ret_name) {
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
static int account_find(AccountProbe *p, char **ret_id, char **ret_name, bool *ret_is_told) {
        int r = 0;

        *ret_is_told = p->profile->account_tool || p->userinfo;
        /* What is asked with the token is what the token is for. */
        if (p->profile->account_tool && !url_is_bound(p->profile->url, p->upstream))
                return -EPERM;
        if (p->profile->account_tool)
                r = account_by_tool(p, ret_id, ret_name);
        else if (p->userinfo)
                r = account_by_userinfo(p, ret_id, ret_name);
        return r;
}

int account_ask(Oauth *o, const ServiceProfile *profile, const Flow *flow, const Secret *token,
                char **ret_id, char **ret_name, Failure *failure) {
        AccountProbe p = { .oauth = o,
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
        AccountProbe p = { .oauth = o,
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
