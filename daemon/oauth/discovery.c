/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From an MCP server's address to everything a flow needs (MCP authorization 2025-11-25 and 2026-07-28): ask the server
 * without credentials, follow its challenge to the resource metadata, and that to the authorization server's. What
 * the challenge names is fetched and nothing else; without a hint the well-known addresses are tried in order. */

#include "oauth/mcp.h"
#include "oauth/oauth-internal.h"
#include "util/log.h"
#include "util/url.h"

/* What a document told that was not to be believed. */
static void discovery_forget(Discovery *d) {
        free(d->registration_endpoint);
        free(d->device_authorization_endpoint);
        free(d->pushed_endpoint);
        authority_done(&d->authority);
        *d = (Discovery){ .resource = d->resource, .scope = d->scope };
}

void discovery_done(Discovery *d) {
        discovery_forget(d);
        free(d->resource);
        free(d->scope);
        *d = (Discovery){};
}

/* Asks without a token until the server asks for one; what it says then is taken over. *ret_is_open: it never did, and listed its tools: some want
 * a token only for what a tool does. */
static int discovery_challenge(
                Oauth *o, const ServiceProfile *p, Challenge *ret, bool *ret_is_open, Failure *failure) {
        McpClient client = { .oauth = o, .title = p->title, .url = p->url };
        char **tools = NULL;
        int r;

        r = mcp_greet(&client, failure);
        if (r == 0)
                r = mcp_list_tools(&client, &tools, failure);
        strv_free(tools);
        *ret_is_open = r == 0;
        if (r == FAILED && client.status == 401) {
                failure_done(failure);
                *ret = client.challenge;
                client.challenge = (Challenge){};
                r = 0;
        }
        mcp_client_done(&client);
        return r;
}

/* Fetches the first document that is there. */
static int discovery_fetch(Oauth *o, const ServiceProfile *p, const char *what, char **urls,
                json_object **ret, Failure *failure) {
        const HttpHeader accept = { .name = "Accept", .value = "application/json" };
        Exchange x = { p->title, what,
                { .method = "GET",
                                .url = urls[0],
                                .headers = &accept,
                                .n_headers = 1,
                                .max_response = 256 * 1024 } };
        unsigned status = 0;
        int r;

        for (char **url = urls; *url; url++) {
                _cleanup_(json_putp) json_object *object = NULL;

                x.request.url = *url;
                r = exchange_json(o, &x, &status, &object, NULL, failure);
                if (r != 0)
                        return r;
                if (status == 200 && object) {
                        *ret = TAKE_PTR(object);
                        return 0;
                }
        }
        return exchange_failure(&x, failure, "there is no usable document, HTTP %u", status);
}

static int discovery_resource(
                Oauth *o, const ServiceProfile *p, Discovery *d, char **ret_issuer, Failure *failure) {
        _cleanup_(strv_freep) char **urls = NULL;
        _cleanup_(json_putp) json_object *document = NULL;
        _cleanup_(freep) char *supported = NULL;
        Challenge challenge = {};
        const char *reason = NULL;
        bool is_open = false;
        int r;

        r = discovery_challenge(o, p, &challenge, &is_open, failure);
        if (r == 0 && challenge.resource_metadata) {
                urls = calloc(2, sizeof(char *));
                if (urls)
                        urls[0] = TAKE_PTR(challenge.resource_metadata);
                else
                        r = -ENOMEM;
        } else if (r == 0)
                r = metadata_resource_urls(p->url, &urls);
        if (r == 0)
                r = discovery_fetch(o, p, "its resource metadata", urls, &document, failure);
        if (r == 0)
                r = metadata_read_resource(document, p->url, p->resource, &d->resource, ret_issuer,
                                &supported, &reason);
        if (r == 0 && url_is_origin(d->resource) && !url_is_origin(p->url))
                log_info("%s: its tokens are good for all of %s", p->title, d->resource);
        if (r == FAILED && reason)
                r = failure_set(failure, FAILURE_UPSTREAM, NULL, "%s: %s", p->title, reason);
        if (r == 0)
                d->scope = challenge.scope && scope_is_legal(challenge.scope) ? TAKE_PTR(challenge.scope)
                                                                              : TAKE_PTR(supported);
        challenge_done(&challenge);
        return r;
}

static int discovery_authority(Oauth *o, const ServiceProfile *p, const char *issuer, Discovery *d,
                bool *ret_offline, Failure *failure) {
        _cleanup_(strv_freep) char **urls = NULL;
        const char *reason = NULL;
        int r;

        r = metadata_authority_urls(issuer, &urls);
        if (r < 0)
                return r;
        /* A document that is about another issuer is as good as none: the next address may hold the right one. Nothing of it is kept. */
        for (char **url = urls; *url; url++) {
                _cleanup_(json_putp) json_object *document = NULL;
                char *one[] = { *url, NULL };

                r = discovery_fetch(o, p, "its authorization server's metadata", one, &document, failure);
                if (r < 0)
                        return r;
                if (r == FAILED)
                        continue;
                discovery_forget(d);
                r = metadata_read_authority(document, issuer, p->issuer, d, ret_offline, &reason);
                if (r <= 0)
                        return r;
        }
        if (reason)
                return failure_set(failure, FAILURE_UPSTREAM, NULL, "%s: %s", p->title, reason);
        return FAILED;
}

static int discovery_scope(const ServiceProfile *p, Discovery *d, bool offers_offline) {
        _cleanup_(freep) char *discovered = TAKE_PTR(d->scope);

        return scope_base(p, discovered, offers_offline, &d->scope);
}

int discovery_run(Oauth *o, const ServiceProfile *p, Discovery *ret, Failure *failure) {
        _cleanup_(freep) char *issuer = NULL;
        bool offers_offline = false;
        Discovery d = {};
        int r;

        if (service_has_endpoints(p))
                return discovery_from_profile(p, ret);
        r = discovery_resource(o, p, &d, &issuer, failure);
        if (r == 0)
                r = discovery_authority(o, p, issuer, &d, &offers_offline, failure);
        if (r == 0)
                r = discovery_scope(p, &d, offers_offline);
        if (r == 0)
                r = discovery_override(p, &d);
        if (r != 0) {
                discovery_done(&d);
                return r;
        }
        *ret = d;
        return 0;
}
