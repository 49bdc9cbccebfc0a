/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading what a token endpoint says, whoever asked: a code that is redeemed, a refresh, a device that polls.
 *
 * Services differ in how they say no (Slack and GitHub answer errors with HTTP 200), so success is: an access_token
 * string, no error member, and ok absent or true, whatever the status. Some answer as a form (RFC 6749 says JSON, GitHub
 * does so only when asked), write numbers as strings and put commas between scopes; all that is read everywhere, since
 * none of it can be mistaken for something else. What one service means differently from others is never guessed but
 * written in its profile: where in the answer the token sits (TokenMember=), what it calls a bearer (TokenType=), how
 * long a token lives when the answer does not say (TokenLife=), which errors end a grant (InvalidGrant=).
 *
 * A missing expires_in is legal and is not replaced by a guess of ours.
 *
 * Invariant: pure functions of texts; outputs are written only on success. Who may call: the files of this folder. */

#include <strings.h>

#include "oauth/oauth-internal.h"
#include "util/clock.h"
#include "util/encode.h"

#define LIFE_MAX_SECONDS (INT64_C(10) * 365 * 24 * 3600)

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
        return seconds > 0 && seconds <= LIFE_MAX_SECONDS ? seconds : 0;
}

/* Printable and with one blank between two, whatever stood between them. */
static int scope_normalise(const char *scope, char **ret) {
        char *text = printable(scope, 4096), *to = text;

        if (!text)
                return -ENOMEM;
        for (const char *from = text; *from;) {
                size_t n;

                from += strspn(from, " ,");
                n = strcspn(from, " ,");
                if (n == 0)
                        break;
                if (to > text)
                        *to++ = ' ';
                memmove(to, from, n);
                to += n;
                from += n;
        }
        *to = 0;
        *ret = text;
        return 0;
}

int token_answer_parse(json_object *object, const ServiceProfile *p, uint64_t now_usec, TokenAnswer *ret,
                char **ret_error) {
        const char *access = json_string(object, "access_token"),
                   *refresh = json_string(object, "refresh_token");
        const char *error = json_string(object, "error"), *type = json_string(object, "token_type"),
                   *scope = json_string(object, "scope");
        TokenAnswer t = {};
        bool ok = true;
        int r = 0;

        (void)json_get_bool(object, "ok", &ok);
        if (isempty(access) || error || !ok) {
                *ret_error = printable(error ?: "no token in the answer", 100);
                return *ret_error ? FAILED : -ENOMEM;
        }
        if (type && strcasecmp(type, "bearer") != 0) {
                *ret_error = strdup("the token is not of type Bearer");
                return *ret_error ? FAILED : -ENOMEM;
        }
        r = secret_new_text(access, &t.access_token);
        if (r >= 0 && !isempty(refresh))
                r = secret_new_text(refresh, &t.refresh_token);
        if (r >= 0 && scope)
                r = scope_normalise(scope, &t.scope);
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

bool token_error_is_final(const ServiceProfile *p, const char *error) {
        return streq(error, "invalid_grant");
}
