/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where the browser goes for the consent (RFC 6749 section 4.1.1, RFC 7636, RFC 8707), from the flow's record and what its
 * service's profile says of how it wants to be asked.
 *
 * What decides over the flow's safety (state, challenge, redirect address, resource, client) is the record's and
 * cannot be named in a profile; a profile that was changed since the flow began changes only what the page there looks like.
 *
 * Who may call: begin.c and api, which show the address to the one who began. */

#include "oauth/oauth-internal.h"
#include "util/encode.h"
#include "util/url.h"

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

int oauth_authorization_url(Oauth *o, const Flow *f, char **ret) {
        const ServiceProfile *p = config_find_service(o->config, f->service);
        const char *endpoint = f->authority.authorization_endpoint,
                   *verifier = secret_text(f->code_verifier);
        _cleanup_(http_url_done) HttpUrl parsed = {};
        Buffer query = {}, url = {};
        uint8_t digest[32];
        int r;

        r = http_url_parse(endpoint, &parsed);
        if (r < 0)
                return r;
        sha256(verifier, strlen(verifier), digest);
        _cleanup_(freep) char *challenge = base64url_encode(digest, sizeof(digest));
        if (!challenge)
                return -ENOMEM;
        if ((r = form_add(&query, "response_type", "code")) >= 0 &&
                        (r = form_add(&query, "client_id", f->authority.client_id)) >= 0 &&
                        (r = form_add(&query, "redirect_uri", f->redirect_uri)) >= 0 &&
                        (r = add_scope(&query, p, f->scope)) >= 0 &&
                        (r = form_add(&query, "state", secret_text(f->state_text))) >= 0 &&
                        (r = form_add(&query, "code_challenge", challenge)) >= 0 &&
                        (r = form_add(&query, "code_challenge_method", "S256")) >= 0 &&
                        (r = form_add(&query, "resource", f->resource)) >= 0)
                r = add_parameters(&query, p, f->scope);
        /* An endpoint may end in a question mark with nothing behind it. */
        const char *joint = parsed.query ? "&" : endpoint[strlen(endpoint) - 1] == '?' ? "" : "?";
        if (r >= 0)
                r = buffer_printf(&url, "%s%s%s", endpoint, joint, (char *)query.bytes);
        buffer_done(&query);
        if (r < 0) {
                buffer_done(&url);
                return r;
        }
        *ret = (char *)url.bytes;
        return 0;
}
