/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who we are at an authorization server: the client that root registered, else the address of a document about us where the server
 * takes such and we have one, else a client registered dynamically (RFC 7591) once per issuer and redirect address and
 * kept. Credentials of one issuer are never shown to another: when a service moves to another authorization server, the
 * look-up by issuer finds nothing, and this host registers there anew. The secret of a client that root registered goes to
 * root's endpoints, or to the issuer that root wrote (Issuer=). */

#include <stdio.h>

#include "oauth/device.h"
#include "util/clock.h"
#include "util/log.h"

bool client_secret_is_for(const ServiceProfile *p, const Discovery *d) {
        /* What a server's metadata name is the server's choice, and anybody's may name the issuer that root wrote as their own. */
        return service_has_endpoints(p) || !p->issuer ||
               (streq_ptr(d->authority.issuer, p->issuer) && !d->has_other_name);
}

static int client_preregistered(
                const ServiceProfile *p, Discovery *d, Secret **ret_secret, Failure *failure) {
        _cleanup_(secret_freep) Secret *secret = NULL;
        int r;

        if (p->client_secret_file && !client_secret_is_for(p, d))
                return failure_set(failure, FAILURE_NOT_CONFIGURED, "Ask an administrator of this host",
                                "%s: its server does not lead to %s, whom the client secret belongs to; it "
                                "was not sent",
                                p->title, p->issuer);
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
        r = registration_choose_method(p->client_auth, d, secret, &d->authority.client_auth_method);
        if (r >= 0)
                *ret_secret = TAKE_PTR(secret);
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
static int client_document(Oauth *o, const ServiceProfile *p, const Discovery *d, const char *redirect_uri,
                char **ret) {
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

/* In place of the known one, if there is one. */
static int client_renew(Oauth *o, const ServiceProfile *p, Discovery *d, const char *redirect_uri,
                Client *known, Secret **ret_secret, Failure *failure) {
        _cleanup_(client_freep) Client *fresh = NULL, *other = NULL;
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        _cleanup_(freep) char *scope = NULL;
        int r;

        r = registration_scope(known, d->scope, &scope);
        if (r < 0)
                return r;
        r = registration_ask(o, p, d, redirect_uri, scope, &fresh, failure);
        if (r != 0)
                return r;
        if (known) {
                /* The expectation is that of the record that was read. */
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
        if (r != STORE_CONFLICT)
                return client_use(fresh, d, ret_secret);
        /* Two flows registered at once: the first one's is used by both, so that one client serves the issuer. */
        r = client_record_read(o->store, o->keyring, d->authority.issuer, redirect_uri, &other);
        return r < 0 ? r : client_use(other, d, ret_secret);
}

int client_ensure(Oauth *o, const ServiceProfile *p, Discovery *d, const char *redirect_uri,
                const char *unanswered, Secret **ret_secret, Failure *failure) {
        _cleanup_(client_freep) Client *known = NULL;
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
        if (known && registration_is_good(known, d->scope, unanswered, now_realtime()))
                return client_use(known, d, ret_secret);
        if (!d->registration_endpoint)
                return failure_set(failure, FAILURE_NOT_CONFIGURED, NULL,
                                "%s: its authorization server takes no registrations; an administrator has "
                                "to set ClientId= in services.d/%s.conf",
                                p->title, p->name);
        return client_renew(o, p, d, redirect_uri, known, ret_secret, failure);
}

static int client_forget_one(Oauth *o, const Authority *a, const char *redirect_uri) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        _cleanup_(client_freep) Client *known = NULL;
        int r;

        r = client_record_read(o->store, o->keyring, a->issuer, redirect_uri, &known);
        if (r == -ENOENT || (r == 0 && !streq_ptr(known->client_id, a->client_id)))
                return 0;
        if (r >= 0)
                r = store_batch_new(&batch);
        if (r >= 0)
                r = client_record_delete(batch, known);
        if (r >= 0)
                r = store_commit(o->store, TAKE_PTR(batch));
        return MIN(r, 0); /* a conflict: somebody else has just registered anew */
}

void client_forget(Oauth *o, const ServiceProfile *p, const Authority *a) {
        _cleanup_(freep) char *redirect_uri = NULL;
        int r;

        if (!a->issuer || p->client_id)
                return;
        r = flow_redirect_uri(o, p, a->issuer, &redirect_uri);
        if (r == 0)
                r = client_forget_one(o, a, redirect_uri);
        if (r == 0)
                r = client_forget_one(o, a, DEVICE_GRANT);
        if (r < 0)
                log_warning("%s: a registration that is not known there any more cannot be erased: %s",
                                p->title, strerror(-r));
}
