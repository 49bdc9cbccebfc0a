/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Dynamic client registration (RFC 7591): what this host says of itself, and what an authorization server makes of it.
 *
 * We say which grants we use, refresh tokens among them, and what kind of application we are: servers take "web" for granted
 * and then refuse the loopback address (OpenID Connect Registration section 2; MCP authorization 2026-07-28). What comes back counts: the
 * server may choose another way of authentication than we named. An answer that names one which we do not have, or that
 * needs a secret and brings none, is no registration.
 *
 * registration_read(), registration_scope() and registration_is_good() are pure. Who may call: client.c. */

#include <stdio.h>

#include "oauth/device.h"
#include "util/clock.h"

/* How long a registration counts for good although somebody did not come back from the provider with it. */
#define DOUBT_AGE_USEC (UINT64_C(24) * 3600 * USEC_PER_SEC)

int registration_choose_method(ClientAuth auth, const Discovery *d, bool has_secret, char **ret) {
        const char *method = !has_secret                      ? "none"
                             : auth == CLIENT_AUTH_BASIC      ? "client_secret_basic"
                             : auth == CLIENT_AUTH_POST       ? "client_secret_post"
                             : d->auth_basic || !d->auth_post ? "client_secret_basic"
                                                              : "client_secret_post";

        *ret = strdup(method);
        return *ret ? 0 : -ENOMEM;
}

static json_object *registration_body(
                Oauth *o, const Discovery *d, const char *redirect_uri, const char *scope) {
        const char *method = d->auth_none    ? "none"
                             : d->auth_basic ? "client_secret_basic"
                                             : "client_secret_post";
        bool is_device = streq(redirect_uri, DEVICE_GRANT);
        bool is_loopback = startswith(redirect_uri, "http://");
        json_object *uris = json_object_new_array(), *grants = json_object_new_array(),
                    *types = json_object_new_array();
        _cleanup_(freep) char *name = NULL;

        if (!uris || !grants || !types || asprintf(&name, "vaultd on %s", o->hostname) < 0 ||
                        (!is_device && (json_array_add_string(uris, redirect_uri) < 0 ||
                                                       json_array_add_string(types, "code") < 0)) ||
                        json_array_add_string(grants, is_device ? DEVICE_GRANT : "authorization_code") < 0 ||
                        json_array_add_string(grants, "refresh_token") < 0) {
                json_object_put(uris);
                json_object_put(grants);
                json_object_put(types);
                return NULL;
        }
        return json_build("client_name", 's', name, "redirect_uris", 'o', uris, "grant_types", 'o', grants,
                        "response_types", 'o', types, "token_endpoint_auth_method", 's', method,
                        "application_type", 's', is_loopback || is_device ? "native" : "web", "scope", 's',
                        scope, NULL);
}

int registration_read(json_object *answer, const Discovery *d, const char *redirect_uri, const char *scope,
                Client **ret) {
        _cleanup_(client_freep) Client *c = calloc(1, sizeof(Client));
        const char *id = json_string(answer, "client_id"), *secret = json_string(answer, "client_secret");
        const char *method = json_string(answer, "token_endpoint_auth_method");
        const char *management = json_string(answer, "registration_access_token");
        int64_t expires = 0;
        int r = 0;

        if (!c)
                return -ENOMEM;
        if (isempty(id))
                return FAILED;
        c->issuer = strdup(d->authority.issuer);
        c->redirect_uri = strdup(redirect_uri);
        c->client_id = strdup(id);
        if (method)
                c->auth_method = strdup(method);
        else
                r = registration_choose_method(CLIENT_AUTH_AUTO, d, secret, &c->auth_method);
        if (r < 0 || !c->issuer || !c->redirect_uri || !c->client_id || !c->auth_method)
                return -ENOMEM;
        if (!streq(c->auth_method, "none") &&
                        (!secret || (!streq(c->auth_method, "client_secret_basic") &&
                                                    !streq(c->auth_method, "client_secret_post"))))
                return FAILED;
        if (secret && (r = secret_new_text(secret, &c->client_secret)) < 0)
                return r;
        if (management && (r = secret_new_text(management, &c->registration_access_token)) < 0)
                return r;
        c->registered_usec = now_realtime();
        if (scope && !(c->scope = strdup(scope)))
                return -ENOMEM;
        if (json_get_int64(answer, "client_secret_expires_at", &expires) >= 0 && expires > 0 &&
                        expires <= INT64_MAX / (int64_t)USEC_PER_SEC)
                c->secret_expires_usec = (uint64_t)expires * USEC_PER_SEC;
        *ret = TAKE_PTR(c);
        return 0;
}

int registration_ask(Oauth *o, const ServiceProfile *p, const Discovery *d, const char *redirect_uri,
                const char *scope, Client **ret, Failure *failure) {
        _cleanup_(json_putp) json_object *body = NULL;
        json_object *answer = NULL;
        unsigned status;
        int r;

        body = registration_body(o, d, redirect_uri, scope);
        const char *text = body ? json_text(body) : NULL;
        if (!text)
                return -ENOMEM;
        const Exchange x = { p->title, "registering this host",
                { .method = "POST",
                                .url = d->registration_endpoint,
                                .body = text,
                                .body_size = strlen(text),
                                .content_type = "application/json" } };
        r = exchange_json(o, &x, &status, &answer, NULL, failure);
        if (r != 0)
                return r;
        r = (status == 200 || status == 201) && answer
                            ? registration_read(answer, d, redirect_uri, scope, ret)
                            : FAILED;
        json_scrub(&answer);
        if (r == FAILED)
                return exchange_failure(&x, failure,
                                "the authorization server refused to register this host, HTTP %u", status);
        return r;
}

int registration_scope(const Client *known, const char *wanted, char **ret) {
        /* This order: the list is bounded, and what another user had added must not push out what is asked for now. */
        return scope_union(wanted, known ? known->scope : NULL, ret);
}

bool registration_is_good(const Client *c, const char *scope, const char *unanswered, uint64_t now_usec) {
        if (c->secret_expires_usec != 0 && c->secret_expires_usec <= now_usec + 60 * USEC_PER_SEC)
                return false;
        /* A server that has forgotten the client says so on a page of its own, and nobody tells us. */
        if (streq_ptr(c->client_id, unanswered) && c->registered_usec + DOUBT_AGE_USEC <= now_usec)
                return false;
        /* Some servers let a client ask for nothing else than what it was registered with. */
        return !c->scope || scope_covers(c->scope, scope);
}
