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
        free(t->account_id);
        free(t->account_name);
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

/* Where the token's own members are: TokenMember= where the answer has it, else the answer itself. Borrowed. */
static json_object *token_holder(json_object *object, const ServiceProfile *p) {
        json_object *member = NULL;

        if (p && p->token_member && json_get_object(object, p->token_member, &member) >= 0)
                return member;
        return object;
}

static bool token_type_is_bearer(const char *type, const ServiceProfile *p) {
        return !type || strcasecmp(type, "bearer") == 0 ||
               (p && p->token_type && strcasecmp(type, p->token_type) == 0);
}

/* What a yes says. */
static int token_read(json_object *object, json_object *holder, const ServiceProfile *p, uint64_t now_usec,
                TokenAnswer *ret) {
        const char *refresh = json_string(holder, "refresh_token"), *scope = json_string(holder, "scope");
        int64_t life = token_life(holder);
        int r;

        r = secret_new_text(json_string(holder, "access_token"), &ret->access_token);
        if (r >= 0 && !isempty(refresh))
                r = secret_new_text(refresh, &ret->refresh_token);
        if (r >= 0 && scope)
                r = scope_normalise(scope, &ret->scope);
        if (r >= 0 && p && p->account_source == ACCOUNT_SOURCE_TOKEN)
                r = account_from_object(object, p->account_id_field ?: "id", p->account_name_field ?: "name",
                                &ret->account_id, &ret->account_name);
        if (r < 0)
                return r;
        if (life > 0)
                ret->expires_usec = now_usec + (uint64_t)life * USEC_PER_SEC;
        else if (p && p->token_life_usec > 0)
                ret->expires_usec = now_usec + p->token_life_usec;
        return 0;
}

int token_answer_parse(json_object *object, const ServiceProfile *p, uint64_t now_usec, TokenAnswer *ret,
                char **ret_error) {
        json_object *holder = token_holder(object, p);
        const char *error = json_string(object, "error"), *type = json_string(holder, "token_type");
        TokenAnswer t = {};
        bool ok = true;
        int r;

        (void)json_get_bool(object, "ok", &ok);
        if (isempty(json_string(holder, "access_token")) || error || !ok) {
                *ret_error = printable(error ?: "no token in the answer", 100);
                return *ret_error ? FAILED : -ENOMEM;
        }
        if (!token_type_is_bearer(type, p)) {
                *ret_error = strdup("the token is not of type Bearer");
                return *ret_error ? FAILED : -ENOMEM;
        }
        r = token_read(object, holder, p, now_usec, &t);
        if (r < 0) {
                token_answer_done(&t);
                return r;
        }
        *ret = t;
        return 0;
}

bool token_error_is_final(const ServiceProfile *p, const char *error) {
        for (char **each = p ? p->grant_errors : NULL; each && *each; each++)
                if (streq(*each, error))
                        return true;
        return streq(error, "invalid_grant");
}
