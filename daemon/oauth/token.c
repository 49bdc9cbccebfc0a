/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The token endpoint: redeeming a code, revoking what came of it.
 *
 * Services differ in how they say no (Slack and GitHub answer errors with HTTP 200), so success is: an access_token
 * string, no error member, and ok absent or true, whatever the status. Numbers may come as strings. A missing
 * expires_in is legal and is not replaced by a guess. */

#include <strings.h>

#include "oauth/oauth-internal.h"
#include "util/clock.h"
#include "util/encode.h"

void token_answer_done(TokenAnswer *t) {
        t->access_token = secret_free(t->access_token);
        t->refresh_token = secret_free(t->refresh_token);
        free(t->scope);
        *t = (TokenAnswer){};
}

/* expires_in as a number or a decimal string; 0 when absent or senseless. */
static int64_t token_life(json_object *object) {
        const char *text = json_string(object, "expires_in");
        int64_t seconds = 0;
        char *end;

        if (text) {
                errno = 0;
                seconds = strtoll(text, &end, 10);
                if (errno != 0 || end == text || *end)
                        return 0;
        } else if (json_get_int64(object, "expires_in", &seconds) < 0)
                return 0;
        return seconds > 0 && seconds <= INT64_C(10) * 365 * 24 * 3600 ? seconds : 0;
}

int token_answer_parse(json_object *object, uint64_t now_usec, TokenAnswer *ret, char **ret_reason) {
        const char *access = json_string(object, "access_token"),
                   *refresh = json_string(object, "refresh_token");
        const char *error = json_string(object, "error"), *type = json_string(object, "token_type"),
                   *scope = json_string(object, "scope");
        TokenAnswer t = {};
        bool ok = true;
        int r = 0;

        (void)json_get_bool(object, "ok", &ok);
        if (isempty(access) || error || !ok) {
                *ret_reason = printable(error ?: "no token in the answer", 100);
                return *ret_reason ? FAILED : -ENOMEM;
        }
        if (type && strcasecmp(type, "bearer") != 0) {
                *ret_reason = strdup("the token is not of type Bearer");
                return *ret_reason ? FAILED : -ENOMEM;
        }
        r = secret_new_text(access, &t.access_token);
        if (r >= 0 && !isempty(refresh))
                r = secret_new_text(refresh, &t.refresh_token);
        if (r >= 0 && scope) {
                t.scope = printable(scope, 4096);
                r = t.scope ? 0 : -ENOMEM;
        }
        if (r < 0) {
                token_answer_done(&t);
                return r;
        }
        int64_t life = token_life(object);
        if (life > 0)
                t.expires_usec = now_usec + (uint64_t)life * USEC_PER_SEC;
        *ret = t;
        return 0;
}

/* base64(form(id) ":" form(secret)), RFC 6749 section 2.3.1. */
static int basic_credentials(const char *id, const Secret *client_secret, Secret **ret) {
        _cleanup_(freep) char *encoded_id = percent_encode(id),
                              *encoded_secret = percent_encode(secret_text(client_secret));
        Buffer pair = {};
        int r;

        if (!encoded_id || !encoded_secret)
                return -ENOMEM;
        r = buffer_printf(&pair, "%s:%s", encoded_id, encoded_secret);
        explicit_bzero(encoded_secret, strlen(encoded_secret));
        if (r >= 0) {
                char *text = base64_encode(pair.bytes, pair.size);

                r = text ? secret_new_text(text, ret) : -ENOMEM;
                if (text)
                        explicit_bzero(text, strlen(text));
                free(text);
        }
        buffer_done(&pair);
        return r;
}

/* Sends a form with the client's authentication added. */
static int token_post(Oauth *o, Exchange *x, const Authority *a, const Secret *client_secret, Buffer *form,
                unsigned *ret_status, json_object **ret_object, Failure *failure) {
        _cleanup_(secret_freep) Secret *basic = NULL;
        HttpHeader headers[2] = { { .name = "Accept", .value = "application/json" } };
        size_t n_headers = 1;
        int r = 0;

        if (client_secret && streq(a->client_auth_method, "client_secret_basic")) {
                r = basic_credentials(a->client_id, client_secret, &basic);
                headers[n_headers++] =
                                (HttpHeader){ .name = "Authorization", .prefix = "Basic ", .secret = basic };
        } else {
                r = form_add(form, "client_id", a->client_id);
                if (r >= 0 && client_secret)
                        r = form_add(form, "client_secret", secret_text(client_secret));
        }
        if (r < 0)
                return r;
        x->request.method = "POST";
        x->request.headers = headers;
        x->request.n_headers = n_headers;
        x->request.body = form->bytes;
        x->request.body_size = form->size;
        x->request.content_type = "application/x-www-form-urlencoded";
        return exchange_json(o, x, ret_status, ret_object, NULL, failure);
}

int token_redeem(Oauth *o, const Flow *f, const char *title, const char *code, TokenAnswer *ret,
                Failure *failure) {
        Exchange x = { title, "exchanging the code", { .url = f->authority.token_endpoint } };
        _cleanup_(freep) char *reason = NULL;
        json_object *object = NULL;
        unsigned status = 0;
        Buffer form = {};
        int r;

        if ((r = form_add(&form, "grant_type", "authorization_code")) >= 0 &&
                        (r = form_add(&form, "code", code)) >= 0 &&
                        (r = form_add(&form, "redirect_uri", f->redirect_uri)) >= 0 &&
                        (r = form_add(&form, "resource", f->resource)) >= 0 &&
                        (r = form_add(&form, "code_verifier", secret_text(f->code_verifier))) >= 0)
                r = token_post(o, &x, &f->authority, f->client_secret, &form, &status, &object, failure);
        buffer_done(&form);
        if (r != 0)
                return r;
        if (object)
                r = token_answer_parse(object, now_realtime(), ret, &reason);
        json_scrub(&object);
        if (r == 0 && !ret->access_token)
                r = FAILED;
        if (r == FAILED)
                return exchange_failure(&x, failure,
                                "the authorization server did not give a token: %s, HTTP %u",
                                reason ?: "no JSON in the answer", status);
        return r;
}

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
