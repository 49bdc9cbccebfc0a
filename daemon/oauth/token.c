/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Requests to the token endpoint, with the client's own authentication: redeeming a code.
 *
 * What the answer means is token-answer.c's. The address and the way of authentication are those of the Authority that was
 * written down when the flow began, never what discovery says by now. */

#include "oauth/oauth-internal.h"
#include "util/clock.h"
#include "util/encode.h"

int token_basic_credentials(const char *id, const Secret *client_secret, Secret **ret) {
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

int token_post(Oauth *o, Exchange *x, const Authority *a, const Secret *client_secret, Buffer *form,
                unsigned *ret_status, json_object **ret_object, Failure *failure) {
        _cleanup_(secret_freep) Secret *basic = NULL;
        HttpHeader headers[2] = { { .name = "Accept", .value = "application/json" } };
        size_t n_headers = 1;
        Buffer json = {};
        int r = 0;

        if (client_secret && streq(a->client_auth_method, "client_secret_basic")) {
                r = token_basic_credentials(a->client_id, client_secret, &basic);
                headers[n_headers++] =
                                (HttpHeader){ .name = "Authorization", .prefix = "Basic ", .secret = basic };
        } else {
                r = form_add(form, "client_id", a->client_id);
                if (r >= 0 && client_secret)
                        r = form_add(form, "client_secret", secret_text(client_secret));
        }
        if (r < 0)
                return r;
        bool is_json = x->profile && x->profile->is_token_request_json;
        if (is_json && (r = form_to_json(form, &json)) < 0)
                return r;
        x->request.method = "POST";
        x->request.headers = headers;
        x->request.n_headers = n_headers;
        x->request.body = is_json ? json.bytes : form->bytes;
        x->request.body_size = is_json ? json.size : form->size;
        x->request.content_type = is_json ? "application/json" : "application/x-www-form-urlencoded";
        x->takes_form = true;
        r = exchange_json(o, x, ret_status, ret_object, NULL, failure);
        buffer_done(&json);
        if (r == 0 && x->profile && streq_ptr(json_string(*ret_object, "error"), "invalid_client"))
                client_forget(o, x->profile, a);
        return r;
}

int token_redeem(Oauth *o, const Flow *f, const char *title, const char *code, TokenAnswer *ret,
                Failure *failure) {
        const ServiceProfile *p = config_find_service(o->config, f->service);
        Exchange x = { title, "exchanging the code", { .url = f->authority.token_endpoint }, .profile = p };
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
                r = token_answer_parse(object, p, now_realtime(), ret, &reason);
        json_scrub(&object);
        if (r == 0 && !ret->access_token)
                r = FAILED;
        if (r == FAILED)
                return exchange_failure(&x, failure,
                                "the authorization server did not give a token: %s, HTTP %u",
                                reason ?: "no JSON in the answer", status);
        return r;
}
