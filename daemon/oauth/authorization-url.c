/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where the browser goes for the consent (RFC 6749 section 4.1.1, RFC 7636, RFC 8707), from the flow's record and what its
 * service's profile says of how it wants to be asked. A server that wants requests pushed (RFC 9126) gets them from us
 * beforehand; one that only offers that does not, for it is one more thing that can fail.
 *
 * What decides over the flow's safety (state, challenge, redirect address, resource, client) is the record's and
 * cannot be named in a profile; a profile that was changed since the flow began changes only what the page there looks like.
 *
 * Who may call: begin.c and api, which show the address to the one who began. */

#include "oauth/oauth-internal.h"
#include "util/encode.h"
#include "util/url.h"

#define REQUEST_URI_MAX 512U

/* The scopes as this service separates them. */
static int add_scope(Buffer *query, const ServiceProfile *p, const char *scope) {
        _cleanup_(freep) char *separated = scope ? strdup(scope) : NULL;

        if (scope && !separated)
                return -ENOMEM;
        for (char *c = separated; c && p && p->scope_separator == ',' && *c; c++)
                if (*c == ' ')
                        *c = ',';
        return form_add(query, p && p->scope_parameter ? p->scope_parameter : "scope", separated);
}

/* Those of the profile, and the consent that brings a refresh token (OpenID Connect Core section 11). */
static int add_parameters(Buffer *query, const ServiceProfile *p, const char *scope) {
        bool has_prompt = false;
        int r = 0;

        for (char **each = p ? p->authorization_parameters : NULL; each && *each && r >= 0; each++) {
                size_t n = strcspn(*each, "=");
                _cleanup_(freep) char *name = strndup(*each, n);

                if (!name)
                        return -ENOMEM;
                has_prompt = has_prompt || streq(name, "prompt");
                r = form_add(query, name, *each + n + 1);
        }
        if (r >= 0 && !has_prompt && scope && scope_covers(scope, "offline_access"))
                r = form_add(query, "prompt", "consent");
        return r;
}

/* All that is asked for. Pushed requests get the client's id with its authentication. */
static int add_request(Buffer *query, const ServiceProfile *p, const Flow *f, bool with_client) {
        const char *verifier = secret_text(f->code_verifier);
        uint8_t digest[32];
        int r;

        sha256(verifier, strlen(verifier), digest);
        _cleanup_(freep) char *challenge = base64url_encode(digest, sizeof(digest));
        if (!challenge)
                return -ENOMEM;
        if ((r = form_add(query, "response_type", "code")) >= 0 &&
                        (r = form_add(query, "client_id", with_client ? f->authority.client_id : NULL)) >=
                                        0 &&
                        (r = form_add(query, "redirect_uri", f->redirect_uri)) >= 0 &&
                        (r = add_scope(query, p, f->scope)) >= 0 &&
                        (r = form_add(query, "state", secret_text(f->state_text))) >= 0 &&
                        (r = form_add(query, "code_challenge", challenge)) >= 0 &&
                        (r = form_add(query, "code_challenge_method", "S256")) >= 0 &&
                        (r = form_add(query, "resource", f->resource)) >= 0)
                r = add_parameters(query, p, f->scope);
        return r;
}

int pushed_answer_read(unsigned status, json_object *object, char **ret) {
        const char *uri = object ? json_string(object, "request_uri") : NULL;
        size_t n = uri ? strlen(uri) : 0;

        if (status != 201 && status != 200) /* the former by the letter */
                return FAILED;
        for (size_t i = 0; i < n; i++)
                if (uri[i] <= ' ' || uri[i] > '~')
                        return FAILED;
        if (n == 0 || n > REQUEST_URI_MAX)
                return FAILED;
        *ret = strdup(uri);
        return *ret ? 0 : -ENOMEM;
}

/* Hands the request over beforehand; what the browser carries is its name (RFC 9126 section 2). */
static int push_request(Oauth *o, const ServiceProfile *p, const Flow *f, Buffer *query, Failure *failure) {
        const char *title = p ? p->title : f->service;
        bool is_basic = f->client_secret && streq(f->authority.client_auth_method, "client_secret_basic");
        Exchange x = { title, "announcing the request", { .url = f->pushed_endpoint }, .profile = p };
        _cleanup_(freep) char *uri = NULL;
        json_object *object = NULL;
        unsigned status = 0;
        Buffer form = {};
        int r;

        r = add_request(&form, p, f, is_basic);
        if (r >= 0)
                r = token_post(o, &x, &f->authority, f->client_secret, &form, &status, &object, failure);
        buffer_done(&form);
        if (r == 0)
                r = pushed_answer_read(status, object, &uri);
        if (r == FAILED && status != 0) {
                _cleanup_(freep) char *error =
                                printable(object ? json_string(object, "error") ?: "no reason given"
                                                 : "no JSON in the answer",
                                                100);

                r = error ? exchange_failure(&x, failure,
                                            "the authorization server refused the request: %s, HTTP %u",
                                            error, status)
                          : -ENOMEM;
        }
        json_scrub(&object);
        if (r != 0)
                return r;
        r = form_add(query, "client_id", f->authority.client_id);
        return r < 0 ? r : form_add(query, "request_uri", uri);
}

int oauth_authorization_url(Oauth *o, const Flow *f, char **ret, Failure *failure) {
        const ServiceProfile *p = config_find_service(o->config, f->service);
        const char *endpoint = f->authority.authorization_endpoint;
        _cleanup_(http_url_done) HttpUrl parsed = {};
        Buffer query = {}, url = {};
        int r;

        r = http_url_parse(endpoint, &parsed);
        if (r == 0)
                r = f->pushed_endpoint ? push_request(o, p, f, &query, failure)
                                       : add_request(&query, p, f, true);
        /* An endpoint may end in a question mark with nothing behind it. */
        const char *joint = parsed.query ? "&" : endpoint[strlen(endpoint) - 1] == '?' ? "" : "?";
        if (r == 0)
                r = buffer_printf(&url, "%s%s%s", endpoint, joint, (char *)query.bytes);
        buffer_done(&query);
        if (r != 0) {
                buffer_done(&url);
                return r;
        }
        *ret = (char *)url.bytes;
        return 0;
}
