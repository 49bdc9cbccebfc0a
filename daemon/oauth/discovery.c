/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From an MCP server's address to everything a flow needs (MCP authorization 2025-11-25 and 2026-07-28): ask the server
 * without credentials, follow its challenge to the resource metadata, and that to the authorization server's. What
 * the challenge names is fetched and nothing else; without a hint the well-known addresses are tried in order. */

#include "oauth/challenge.h"
#include "oauth/oauth-internal.h"

#define MCP_PROTOCOL_VERSION "2025-11-25"

void discovery_done(Discovery *d) {
        free(d->resource);
        free(d->scope);
        free(d->registration_endpoint);
        authority_done(&d->authority);
        *d = (Discovery){};
}

/* The server's challenge to an initialize request without credentials. */
static int discovery_challenge(Oauth *o, const ServiceProfile *p, Challenge *ret, Failure *failure) {
        static const char body[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{"
                                   "\"protocolVersion\":\"" MCP_PROTOCOL_VERSION "\","
                                   "\"capabilities\":{},\"clientInfo\":{\"name\":\"vaultd\",\"version\":"
                                   "\"" VAULTD_VERSION "\"}}}";
        const HttpHeader headers[] = {
                { .name = "Accept", .value = "application/json, text/event-stream" },
                { .name = "MCP-Protocol-Version", .value = MCP_PROTOCOL_VERSION },
        };
        const Exchange x = { p->title, "asking the server how to connect",
                { .method = "POST",
                                .url = p->url,
                                .headers = headers,
                                .n_headers = ELEMENTSOF(headers),
                                .body = body,
                                .body_size = strlen(body),
                                .content_type = "application/json" } };
        HttpResponse response = {};
        json_object *object = NULL;
        unsigned status;
        int r;

        r = exchange_json(o, &x, &status, &object, &response, failure);
        if (r != 0)
                return r;
        json_scrub(&object);
        for (unsigned i = 0; r >= 0; i++) {
                const char *value = http_response_header(&response, "WWW-Authenticate", i);

                if (!value)
                        break;
                r = challenge_parse(value, ret);
        }
        http_response_done(&response);
        if (r < 0)
                return r;
        if (status != 401)
                return exchange_failure(&x, failure,
                                "the server answered HTTP %u where a request for authorization was expected",
                                status);
        return 0;
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
        int r;

        r = discovery_challenge(o, p, &challenge, failure);
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
                r = metadata_read_resource(document, p->url, &d->resource, ret_issuer, &supported, &reason);
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
        /* A document that is about another issuer is as good as none: the next address may hold the right one. */
        for (char **url = urls; *url; url++) {
                _cleanup_(json_putp) json_object *document = NULL;
                char *one[] = { *url, NULL };

                r = discovery_fetch(o, p, "its authorization server's metadata", one, &document, failure);
                if (r < 0)
                        return r;
                if (r == FAILED)
                        continue;
                authority_done(&d->authority);
                r = metadata_read_authority(document, issuer, d, ret_offline, &reason);
                if (r <= 0)
                        return r;
        }
        if (reason)
                return failure_set(failure, FAILURE_UPSTREAM, NULL, "%s: %s", p->title, reason);
        return FAILED;
}

/* The scopes to ask for: what root wrote, else the challenge's, else all of the resource's; offline_access where the server knows it. */
static int discovery_scope(const ServiceProfile *p, Discovery *d, bool offers_offline) {
        Buffer scope = {};
        int r = 0;

        if (p->scopes)
                for (char **s = p->scopes; *s && r >= 0; s++)
                        r = buffer_printf(&scope, "%s%s", scope.size > 0 ? " " : "", *s);
        else if (d->scope)
                r = buffer_append_text(&scope, d->scope);
        if (r >= 0 && offers_offline && scope.size > 0 && !strstr((char *)scope.bytes, "offline_access"))
                r = buffer_append_text(&scope, " offline_access");
        if (r < 0) {
                buffer_done(&scope);
                return r;
        }
        free(d->scope);
        d->scope = (char *)scope.bytes;
        return 0;
}

int discovery_run(Oauth *o, const ServiceProfile *p, Discovery *ret, Failure *failure) {
        _cleanup_(freep) char *issuer = NULL;
        bool offers_offline = false;
        Discovery d = {};
        int r;

        r = discovery_resource(o, p, &d, &issuer, failure);
        if (r == 0)
                r = discovery_authority(o, p, issuer, &d, &offers_offline, failure);
        if (r == 0)
                r = discovery_scope(p, &d, offers_offline);
        if (r != 0) {
                discovery_done(&d);
                return r;
        }
        *ret = d;
        return 0;
}
