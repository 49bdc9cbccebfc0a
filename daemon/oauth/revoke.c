/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Taking a grant back at the service (O9): the ways that services have for it.
 *
 * RFC 7009 is one of them. The token is sent in a request's body or header and never in an address. A service that has no
 * way is named as such, since only its user can then take the access back, in the account there. Where and how a grant is
 * revoked was written into its record when it began, so that it can be revoked after the service was taken off this host.
 *
 * Who may call: this folder, on fibers; api through oauth_revoke_credential(). */

#include "oauth/oauth-internal.h"

static int token_revoke_one(Oauth *o, const char *title, const Authority *a, const Secret *client_secret,
                const Secret *token, const char *hint, Failure *failure) {
        Exchange x = { title, "revoking the grant", { .url = a->revocation_endpoint } };
        _cleanup_(json_putp) json_object *object = NULL;
        unsigned status = 0;
        Buffer form = {};
        int r;

        if ((r = form_add(&form, "token", secret_text(token))) >= 0 &&
                        (r = form_add(&form, "token_type_hint", hint)) >= 0)
                r = token_post(o, &x, a, client_secret, &form, &status, &object, failure);
        buffer_done(&form);
        if (r != 0)
                return r;
        /* 200 also for tokens that are unknown by now (RFC 7009 section 2.2). */
        return status == 200 || status == 204
                               ? 0
                               : exchange_failure(&x, failure, "the authorization server answered HTTP %u",
                                                 status);
}

int token_revoke(Oauth *o, const char *title, const Authority *a, const Secret *client_secret,
                const Secret *access_token, const Secret *refresh_token, Failure *failure) {
        int r = 0;

        if (!access_token && !refresh_token)
                return 0;
        if (!a->revocation_endpoint)
                return failure_set(failure, FAILURE_UPSTREAM, NULL,
                                "%s offers no way to revoke; remove the access in your account there",
                                title);
        /* The refresh token first: at most servers the whole family goes with it. */
        if (refresh_token)
                r = token_revoke_one(o, title, a, client_secret, refresh_token, "refresh_token", failure);
        if (r == 0 && access_token)
                r = token_revoke_one(o, title, a, client_secret, access_token, "access_token", failure);
        return r;
}

int oauth_revoke_credential(Oauth *o, const Credential *c, Failure *failure) {
        const ServiceProfile *p = config_find_service(o->config, c->service);

        if (c->kind != CREDENTIAL_OAUTH)
                return failure_set(failure, FAILURE_UPSTREAM, NULL,
                                "%s hands out such tokens by hand; take this one back there",
                                p ? p->title : c->service);
        return token_revoke(o, p ? p->title : c->service, &c->authority, c->client_secret, c->access_token,
                        c->refresh_token, failure);
}
