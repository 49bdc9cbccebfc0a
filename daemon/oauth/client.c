/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who we are at an authorization server: the client that root registered, else the address of a document about us where the server
 * takes such and we have one, else a client registered dynamically (RFC 7591) once per issuer and redirect address and
 * kept. Credentials of one issuer are never shown to another: when a service moves to another authorization server, the
 * look-up by issuer finds nothing, and this host registers there anew. */

#include <stdio.h>

#include "oauth/device.h"
#include "util/clock.h"

static int client_choose_method(ClientAuth auth, Discovery *d, bool has_secret, char **ret) {
        const char *method = !has_secret                      ? "none"
                             : auth == CLIENT_AUTH_BASIC      ? "client_secret_basic"
                             : auth == CLIENT_AUTH_POST       ? "client_secret_post"
                             : d->auth_basic || !d->auth_post ? "client_secret_basic"
                                                              : "client_secret_post";

        *ret = strdup(method);
        return *ret ? 0 : -ENOMEM;
}

static int client_preregistered(
                const ServiceProfile *p, Discovery *d, Secret **ret_secret, Failure *failure) {
        _cleanup_(secret_freep) Secret *secret = NULL;
        int r;

        if (p->client_secret_file) {
                r = secret_read_file(p->client_secret_file, false, &secret);
                if (r < 0)
                        return failure_set(failure, FAILURE_NOT_CONFIGURED, NULL,
                                        "%s: the client secret file %s cannot be used: %s", p->title,
                                        p->client_secret_file, strerror(-r));
        }
        d->authority.client_id = strdup(p->client_id);
        if (!d->authority.client_id)
                return -ENOMEM;
        r = client_choose_method(p->client_auth, d, secret, &d->authority.client_auth_method);
        if (r >= 0)
                *ret_secret = TAKE_PTR(secret);
        return r;
}

static json_object *client_registration_body(Oauth *o, Discovery *d, const char *redirect_uri) {
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
                        "application_type", 's', is_loopback || is_device ? "native" : "web", "scope", 's', d->scope,
                        NULL);
}

/* From the answer to a registration (RFC 7591 section 3.2.1). */
static int client_from_answer(json_object *answer, Discovery *d, const char *redirect_uri, Client **ret) {
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
                r = client_choose_method(CLIENT_AUTH_AUTO, d, secret, &c->auth_method);
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
        if (json_get_int64(answer, "client_secret_expires_at", &expires) >= 0 && expires > 0)
                c->secret_expires_usec = (uint64_t)expires * USEC_PER_SEC;
        *ret = TAKE_PTR(c);
        return 0;
}

static int client_register(Oauth *o, const ServiceProfile *p, Discovery *d, const char *redirect_uri,
                Client **ret, Failure *failure) {
        _cleanup_(json_putp) json_object *body = NULL;
        json_object *answer = NULL;
        unsigned status;
        int r;

        body = client_registration_body(o, d, redirect_uri);
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
        r = (status == 200 || status == 201) && answer ? client_from_answer(answer, d, redirect_uri, ret)
                                                       : FAILED;
        json_scrub(&answer);
        if (r == FAILED)
                return exchange_failure(&x, failure,
                                "the authorization server refused to register this host, HTTP %u", status);
        return r;
}

static int client_use(const Client *c, Discovery *d, Secret **ret_secret) {
        d->authority.client_id = strdup(c->client_id);
        d->authority.client_auth_method = strdup(c->auth_method);
        if (!d->authority.client_id || !d->authority.client_auth_method)
                return -ENOMEM;
        return c->client_secret ? secret_new(c->client_secret->bytes, c->client_secret->size, ret_secret)
                                : 0;
}

/* The address of a document that says who we are (OAuth Client ID Metadata Document), which is the client id: one that root names, or the one that
 * vaultd-web serves for this issuer's callback. NULL: the server takes none, or there is none. */
static int client_document(Oauth *o, const ServiceProfile *p, const Discovery *d, const char *redirect_uri, char **ret) {
        _cleanup_(freep) char *digest = NULL;

        *ret = NULL;
        if (!d->takes_client_metadata || streq(redirect_uri, DEVICE_GRANT))
                return 0;
        if (p->client_metadata_url)
                return (*ret = strdup(p->client_metadata_url)) ? 0 : -ENOMEM;
        if (!o->config->has_client_metadata || !o->config->external_url)
                return 0;
        digest = issuer_digest(d->authority.issuer);
        if (!digest || asprintf(ret, "%s/client/%s", o->config->external_url, digest) < 0) {
                *ret = NULL;
                return -ENOMEM;
        }
        return 0;
}

int client_ensure(Oauth *o, const ServiceProfile *p, Discovery *d, const char *redirect_uri,
                Secret **ret_secret, Failure *failure) {
        _cleanup_(client_freep) Client *known = NULL, *fresh = NULL;
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        int r;

        if (p->client_id)
                return client_preregistered(p, d, ret_secret, failure);

        r = client_document(o, p, d, redirect_uri, &d->authority.client_id);
        if (r < 0)
                return r;
        if (d->authority.client_id)
                return (d->authority.client_auth_method = strdup("none")) ? 0 : -ENOMEM;

        r = client_record_read(o->store, o->keyring, d->authority.issuer, redirect_uri, &known);
        if (r < 0 && r != -ENOENT)
                return r;
        if (known && (known->secret_expires_usec == 0 ||
                                     known->secret_expires_usec > now_realtime() + 60 * USEC_PER_SEC))
                return client_use(known, d, ret_secret);
        if (!d->registration_endpoint)
                return failure_set(failure, FAILURE_NOT_CONFIGURED, NULL,
                                "%s: its authorization server takes no registrations; an administrator has "
                                "to set ClientId= in services.d/%s.conf",
                                p->title, p->name);

        r = client_register(o, p, d, redirect_uri, &fresh, failure);
        if (r != 0)
                return r;
        if (known) {
                /* Replace the expired one; the expectation is that of the record that was read. */
                fresh->stored = known->stored;
                known->stored = (Buffer){};
        }
        r = store_batch_new(&batch);
        if (r >= 0)
                r = client_record_put(batch, o->keyring, fresh);
        if (r >= 0)
                r = store_commit(o->store, TAKE_PTR(batch));
        if (r < 0)
                return r;
        if (r == STORE_CONFLICT) {
                /* Two flows registered at once: the first one's is used by both, so that one client serves the issuer. */
                known = client_free(known);
                r = client_record_read(o->store, o->keyring, d->authority.issuer, redirect_uri, &known);
                return r < 0 ? r : client_use(known, d, ret_secret);
        }
        return client_use(fresh, d, ret_secret);
}
