/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One request with a refresh token (RFC 6749 section 6), and what its answer means.
 *
 * The token goes to the token endpoint of its own record, with the client and the resource of the consent (RFC 8707), whatever discovery
 * or the profile say by now: it is worth something nowhere else and would be given away (T18).
 *
 * Four outcomes, because a refresh token may be single-use and an answer may get lost:
 *
 *   done    there is an access token, whatever the HTTP status was
 *   dead    the service says that the grant has ended (its profile knows its words), or that it does not know this client any more:
 *           the grant was given to that client and to no other
 *   later   certainly nothing happened: the request did not leave, or the server said that it failed (429, 5xx, an error that says
 *           nothing about the grant). A server that fails *after* it used the token up cannot be told from that; the next
 *           try is then refused, which is found. To count those as lost would end every grant after two bad gateways in a row
 *   lost    the request may have arrived and the answer is not known: cut, too late, or no answer that anybody understands
 *
 * Who may call: refresh-step.c, on its fiber; refresh_judge() anybody. */

#include "oauth/refresh-internal.h"
#include "util/clock.h"
#include "util/encode.h"

/* Callers wait for this, and so does the end of the process: an answer that is not taken would cost the grant. */
#define REQUEST_TIMEOUT_USEC (10 * USEC_PER_SEC)

void refresh_answer_done(RefreshAnswer *a) {
        token_answer_done(&a->tokens);
        free(a->error);
        *a = (RefreshAnswer){};
}

/* RFC 6749 section 5.2: the client that the grant was given to is unknown by now, or may not do this. */
static bool error_is_of_client(const char *error) {
        return streq(error, "invalid_client") || streq(error, "unauthorized_client");
}

/* Errors are lower case words with underscores. What is shown and logged is nothing else, for a server may say the token itself. */
bool error_is_word(const char *error) {
        size_t n = strlen(error);

        return n > 0 && n <= 40 && strspn(error, "abcdefghijklmnopqrstuvwxyz_") == n;
}

int refresh_judge(unsigned status, json_object *object, const ServiceProfile *profile, uint64_t now_usec,
                RefreshAnswer *ret) {
        _cleanup_(freep) char *error = NULL;
        TokenAnswer tokens = {};
        int r = FAILED;

        if (object)
                r = token_answer_parse(object, profile, now_usec, &tokens, &error);
        if (r < 0)
                return r;
        if (r == 0) {
                *ret = (RefreshAnswer){ .verdict = REFRESH_DONE, .tokens = tokens };
                return 0;
        }
        bool is_told = object && (json_object_object_get_ex(object, "error", NULL) ||
                                                 json_object_object_get_ex(object, "ok", NULL));
        *ret = (RefreshAnswer){ .verdict = REFRESH_LATER };
        if (is_told && (token_error_is_final(profile, error) || error_is_of_client(error)))
                ret->verdict = REFRESH_DEAD;
        else if (status / 100 == 2 && !is_told)
                ret->verdict = REFRESH_LOST;
        if (ret->verdict == REFRESH_DEAD || (is_told && error_is_word(error)))
                ret->error = TAKE_PTR(error);
        return 0;
}

static int refresh_form(const Credential *c, Buffer *form) {
        int r;

        r = form_add(form, "grant_type", "refresh_token");
        if (r >= 0)
                r = form_add(form, "refresh_token", secret_text(c->refresh_token));
        return r < 0 ? r : form_add(form, "resource", isempty(c->resource) ? NULL : c->resource);
}

int refresh_ask(Oauth *o, const Credential *c, RefreshAnswer *ret, Failure *failure) {
        const ServiceProfile *p = config_find_service(o->config, c->service);
        ExchangeNotes notes = {};
        Exchange x = { p ? p->title : c->service, "refreshing the access",
                { .url = c->authority.token_endpoint,
                                .timeout_usec = REQUEST_TIMEOUT_USEC,
                                .is_awaited = true },
                &notes, p };
        json_object *object = NULL;
        unsigned status = 0;
        Buffer form = {};
        int r;

        *ret = (RefreshAnswer){ .verdict = REFRESH_LATER };
        r = refresh_form(c, &form);
        if (r >= 0)
                r = token_post(o, &x, &c->authority, c->client_secret, &form, &status, &object, failure);
        buffer_done(&form);
        if (r != 0) {
                ret->verdict = notes.is_sent ? REFRESH_LOST : REFRESH_LATER;
                return r == FAILED ? 0 : r;
        }
        r = refresh_judge(status, object, p, now_realtime(), ret);
        json_scrub(&object);
        if (r < 0) {
                ret->verdict = REFRESH_LOST; /* no memory for what was in it */
                return r;
        }
        if (ret->verdict == REFRESH_DONE)
                return 0;
        ret->retry_usec = notes.retry_usec;
        r = exchange_failure(&x, failure, "the authorization server did not give a new token: %s, HTTP %u",
                        ret->error ?: "no reason that is known", status);
        return r == FAILED ? 0 : r;
}
