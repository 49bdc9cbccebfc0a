/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Taking a grant back at the service (O9): the ways that services have for it (Revocation=).
 *
 *   RFC 7009   a form with the token, the refresh token first: at most servers the whole family goes with it
 *   delete     the client deletes the grant of the token's owner, showing itself and the token (GitHub)
 *   bearer     the token revokes itself (Slack)
 *   none       there is no way; only the user can take the access back, in the account there
 *
 * The token is sent in a request's body or header and never in an address. Where and how was written into the grant's record when it
 * began, so that it can be revoked after the service was taken off this host, and so that a token never goes to an address
 * that was written later. What says that nothing was left to revoke (RevokedAnswers=) is a success, for the user may have removed the access
 * there already, but one that is looked into: an access token that ran out is renewed and shown instead, and one that still works where an
 * address can be asked belies the answer.
 *
 * Who may call: this folder, on fibers; revocation_judge() anybody; api through oauth_revoke_credential(). */

#include <stdio.h>

#include "oauth/refresh-internal.h"
#include "util/encode.h"

#define CLIENT_ID "{client_id}"

RevocationWay revocation_way(const Authority *a) {
        if (!a->revocation)
                return REVOCATION_RFC7009;
        /* What an older or newer version wrote and this one does not know has no way. */
        return streq(a->revocation, "delete")   ? REVOCATION_DELETE
               : streq(a->revocation, "bearer") ? REVOCATION_BEARER
                                                : REVOCATION_NONE;
}

/* Whether one of the words is this. */
static bool words_have(const char *words, const char *word) {
        for (const char *p = words ?: ""; *p; p += strspn(p, " ")) {
                size_t n = strcspn(p, " ");

                if (strlen(word) == n && memcmp(p, word, n) == 0)
                        return true;
                p += n;
        }
        return false;
}

int revocation_judge(const Authority *a, unsigned status, json_object *object, char **ret_error) {
        const char *error = object ? json_string(object, "error") : NULL;
        char number[16];
        bool ok = true;

        if (object)
                (void)json_get_bool(object, "ok", &ok);
        (void)snprintf(number, sizeof(number), "%u", status);
        if (words_have(a->revoked_answers, number) || (error && words_have(a->revoked_answers, error)))
                return REVOCATION_NOTHING_LEFT;
        /* 200 also for tokens that are unknown by now (RFC 7009 section 2.2). */
        if ((status == 200 || status == 204) && ok && !error)
                return 0;
        *ret_error = strdup(error && error_is_word(error) ? error : "no reason that is known");
        return *ret_error ? FAILED : -ENOMEM;
}

static int revocation_finish(const Authority *a, const Exchange *x, unsigned status, json_object *object,
                Failure *failure) {
        _cleanup_(freep) char *error = NULL;
        int r;

        r = revocation_judge(a, status, object, &error);
        return r == FAILED ? exchange_failure(x, failure, "the service did not revoke it: %s, HTTP %u",
                                             error, status)
                           : r;
}

/* The address with the client's id in its place. */
static int revocation_url(const Authority *a, char **ret) {
        const char *place = strstr(a->revocation_endpoint, CLIENT_ID);
        _cleanup_(freep) char *id = place ? percent_encode(a->client_id) : NULL;
        int n;

        if (!place) {
                *ret = strdup(a->revocation_endpoint);
                return *ret ? 0 : -ENOMEM;
        }
        if (!id)
                return -ENOMEM;
        n = asprintf(ret, "%.*s%s%s", (int)(place - a->revocation_endpoint), a->revocation_endpoint, id,
                        place + strlen(CLIENT_ID));
        if (n < 0)
                *ret = NULL;
        return n < 0 ? -ENOMEM : 0;
}

static int revoke_by_form(Oauth *o, Exchange *x, const Authority *a, const Secret *client_secret,
                const Secret *token, const char *hint, Failure *failure) {
        _cleanup_(json_putp) json_object *object = NULL;
        unsigned status = 0;
        Buffer form = {};
        int r;

        if ((r = form_add(&form, "token", secret_text(token))) >= 0 &&
                        (r = form_add(&form, "token_type_hint", hint)) >= 0)
                r = token_post(o, x, a, client_secret, &form, &status, &object, failure);
        buffer_done(&form);
        return r == 0 ? revocation_finish(a, x, status, object, failure) : r;
}

static int revoke_by_delete(Oauth *o, Exchange *x, const Authority *a, const Secret *client_secret,
                const Secret *token, Failure *failure) {
        _cleanup_(secret_freep) Secret *basic = NULL;
        _cleanup_(json_putp) json_object *object = NULL;
        json_object *body;
        unsigned status = 0;
        int r;

        if (!client_secret)
                return failure_set(failure, FAILURE_UPSTREAM, NULL,
                                "%s: the client has no secret, and revoking takes it", x->title);
        r = token_basic_credentials(a->client_id, client_secret, &basic);
        if (r < 0)
                return r;
        body = json_build("access_token", 's', secret_text(token), NULL);
        const char *text = body ? json_text(body) : NULL;
        const HttpHeader headers[] = {
                { .name = "Accept", .value = "application/json" },
                { .name = "Authorization", .prefix = "Basic ", .secret = basic },
        };
        x->request.method = "DELETE";
        x->request.headers = headers;
        x->request.n_headers = ELEMENTSOF(headers);
        x->request.body = text;
        x->request.body_size = text ? strlen(text) : 0;
        x->request.content_type = "application/json";
        r = text ? exchange_json(o, x, &status, &object, NULL, failure) : -ENOMEM;
        json_scrub(&body);
        return r == 0 ? revocation_finish(a, x, status, object, failure) : r;
}

static int revoke_by_bearer(
                Oauth *o, Exchange *x, const Authority *a, const Secret *token, Failure *failure) {
        const HttpHeader headers[] = {
                { .name = "Accept", .value = "application/json" },
                { .name = "Authorization", .prefix = "Bearer ", .secret = token },
        };
        _cleanup_(json_putp) json_object *object = NULL;
        unsigned status = 0;
        int r;

        x->request.method = "POST";
        x->request.headers = headers;
        x->request.n_headers = ELEMENTSOF(headers);
        x->request.body = "";
        x->request.content_type = "application/x-www-form-urlencoded";
        r = exchange_json(o, x, &status, &object, NULL, failure);
        return r == 0 ? revocation_finish(a, x, status, object, failure) : r;
}

/* 0, REVOCATION_NOTHING_LEFT, FAILED, -errno. */
static int revoke_by_way(Oauth *o, const char *title, const Authority *a, const Secret *client_secret,
                const Secret *access_token, const Secret *refresh_token, Failure *failure) {
        RevocationWay way = revocation_way(a);
        _cleanup_(freep) char *url = NULL;
        int r;

        if (!access_token && !refresh_token)
                return 0;
        /* The two ways that show the access token have nothing to show without one. */
        if (way == REVOCATION_NONE || !a->revocation_endpoint ||
                        (way != REVOCATION_RFC7009 && !access_token))
                return failure_set(failure, FAILURE_UPSTREAM, NULL,
                                "%s offers no way to revoke; remove the access in your account there",
                                title);
        r = revocation_url(a, &url);
        if (r < 0)
                return r;
        Exchange x = { title, "revoking the grant", { .url = url } };
        if (way == REVOCATION_DELETE)
                return revoke_by_delete(o, &x, a, client_secret, access_token, failure);
        if (way == REVOCATION_BEARER)
                return revoke_by_bearer(o, &x, a, access_token, failure);
        if (refresh_token)
                r = revoke_by_form(o, &x, a, client_secret, refresh_token, "refresh_token", failure);
        if ((r == 0 || r == REVOCATION_NOTHING_LEFT) && access_token)
                r = revoke_by_form(o, &x, a, client_secret, access_token, "access_token", failure);
        return r;
}

int token_revoke(Oauth *o, const char *title, const Authority *a, const Secret *client_secret,
                const Secret *access_token, const Secret *refresh_token, Failure *failure) {
        int r = revoke_by_way(o, title, a, client_secret, access_token, refresh_token, failure);

        return r == REVOCATION_NOTHING_LEFT ? 0 : r;
}

static int failure_still_works(const char *title, Failure *failure) {
        return failure_set(failure, FAILURE_UPSTREAM, NULL,
                        "%s says that there is nothing to revoke, but the token still works; remove the "
                        "access "
                        "in your account there",
                        title);
}

/* Gets an access token for the one purpose of being shown. It is not stored: if this is cut off behind the refresh, nobody has the grant's tokens any more,
 * and the next try hears that it has ended. */
static int revoke_renewed(Oauth *o, const char *title, const Credential *c, Failure *failure) {
        RefreshAnswer answer = {};
        int r;

        r = refresh_ask(o, c, &answer, failure);
        if (r == 0 && answer.verdict == REFRESH_DONE) {
                r = revoke_by_way(o, title, &c->authority, c->client_secret, answer.tokens.access_token,
                                NULL, failure);
                if (r == REVOCATION_NOTHING_LEFT)
                        r = failure_still_works(title, failure);
        } else if (r == 0 && answer.verdict == REFRESH_DEAD)
                failure_done(failure); /* there is nothing left to revoke */
        else if (r == 0)
                r = FAILED;
        refresh_answer_done(&answer);
        return r;
}

/* "Not found" is also what a service says to a client whose secret was changed. FAILED: the token is good for asking whose it is. */
static int revocation_verify(Oauth *o, const ServiceProfile *p, const Credential *c, Failure *failure) {
        _cleanup_(freep) char *id = NULL, *name = NULL;
        Failure ignored = {};
        int r;

        /* AccountUrl= is the profile's of today, and a profile that leads elsewhere by now has another server's there. */
        if (!p || !p->account_url || !c->access_token || !streq_ptr(p->url, c->upstream))
                return 0;
        r = account_ask_for_token(o, p, c->access_token, &id, &name, &ignored);
        failure_done(&ignored);
        return r < 0 ? r : id ? failure_still_works(p->title, failure) : 0;
}

int oauth_revoke_credential(Oauth *o, const Credential *c, Failure *failure) {
        const ServiceProfile *p = config_find_service(o->config, c->service);
        const char *title = p ? p->title : c->service;
        int r;

        if (c->kind != CREDENTIAL_OAUTH)
                return failure_set(failure, FAILURE_UPSTREAM, NULL,
                                "%s hands out such tokens by hand; take this one back there", title);
        r = revoke_by_way(o, title, &c->authority, c->client_secret, c->access_token, c->refresh_token,
                        failure);
        if (r != REVOCATION_NOTHING_LEFT)
                return r;
        /* Where the access token is what is shown, it may be only that one whose time is over, and the grant lives on. */
        if (revocation_way(&c->authority) == REVOCATION_RFC7009 || !c->refresh_token)
                return revocation_verify(o, p, c, failure);
        return revoke_renewed(o, title, c, failure);
}
