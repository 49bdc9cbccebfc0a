/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a credential's record says of its access token: whether it is good, whether it has to be refreshed, and how all that is called.
 *
 * When a token is refreshed is a matter of its last minute, or of the last fifth of its life where that is less: early enough for a
 * request that is about to be made, and not so early that a server is asked for what nobody uses. A token whose life was not told is
 * good until a service refuses it; nothing is guessed (RFC 6749 section 5.1). Whoever hands a token on asks for more time, but for
 * no more than half a life: else each use of a short-lived one would be a refresh.
 *
 * A state is never better than what is known: an access that is over and cannot be renewed is no active one, whoever noticed it.
 *
 * Who may call: anybody. All but oauth_token_is_due() is pure but for the time. */

#include <stdio.h>

#include "oauth/refresh-internal.h"
#include "util/clock.h"

#define MARGIN_USEC (60 * USEC_PER_SEC)
#define MARGIN_PART 5U
#define LEAST_PART  2U
#define NEW_USEC    (60 * USEC_PER_SEC)

bool refresh_is_possible(const Credential *c) {
        return c->kind == CREDENTIAL_OAUTH && c->refresh_token && c->access_token &&
               !isempty(c->authority.token_endpoint) &&
               (c->custody == CUSTODY_HOST || c->custody == CUSTODY_MIRROR);
}

bool refresh_is_due(const Credential *c, uint64_t now_usec, uint64_t least_usec) {
        uint64_t obtained = c->obtained_usec ?: c->created_usec, margin = MARGIN_USEC;

        if (c->state != CREDENTIAL_ACTIVE || !refresh_is_possible(c))
                return false;
        if (c->refresh_attempt >= REFRESH_ATTEMPTS_MAX)
                return c->expires_usec <=
                       now_usec; /* nothing can be had any more: the token is good for what it is */
        if (c->refresh_attempt > 0)
                return true; /* cut off by a crash: the sooner the better, where a server bears with it for a while */
        if (c->expires_usec == 0)
                return false; /* not told: a refusal says it */
        if (c->expires_usec > obtained) {
                uint64_t life = c->expires_usec - obtained;

                margin = MIN(margin, life / MARGIN_PART);
                margin = MAX(margin, MIN(least_usec, life / LEAST_PART));
        }
        return c->expires_usec <= now_usec || c->expires_usec - now_usec <= margin;
}

bool credential_token_is_good(const Credential *c) {
        return c->access_token && (c->expires_usec == 0 || c->expires_usec > now_realtime());
}

bool oauth_token_is_new(const Credential *c) {
        uint64_t obtained = c->obtained_usec ?: c->created_usec, now = now_realtime();

        return obtained <= now && now - obtained < NEW_USEC;
}

bool oauth_can_refresh(const Credential *c) {
        return c->state == CREDENTIAL_ACTIVE && refresh_is_possible(c) &&
               (c->refresh_attempt < REFRESH_ATTEMPTS_MAX || credential_token_is_good(c));
}

bool oauth_token_is_due(Oauth *o, const Credential *c) {
        if (!refresh_is_due(c, now_realtime(), 0))
                return false;
        return !credential_token_is_good(c) || !refresh_pace_find(o, c->id);
}

int refresh_failure_reconnect(Failure *failure, const char *title, const char *service, const char *label,
                const char *what) {
        bool is_default = streq(label, "default");
        _cleanup_(freep) char *hint = NULL;
        int r;

        if (asprintf(&hint, "Run: vaultctl connect %s%s%s", service, is_default ? "" : " --as ",
                            is_default ? "" : label) < 0) {
                hint = NULL;
                return -ENOMEM;
        }
        r = failure_set(failure, FAILURE_NOT_CONNECTED, hint,
                        "%s credentials need to be connected again: %s", title, what);
        if (r != FAILED)
                return r;
        failure->service = strdup(service);
        failure->title = strdup(title);
        return failure->service && failure->title ? FAILED : -ENOMEM;
}

const char *oauth_credential_state(const Credential *c, const char **ret_reason) {
        static const char *const states[] = { "active", "needs-reconnect", "disconnecting" };
        bool is_ours = c->kind == CREDENTIAL_OAUTH && c->custody != CUSTODY_PLATFORM;

        *ret_reason = c->state == CREDENTIAL_NEEDS_RECONNECT ? c->state_reason : NULL;
        if (c->state != CREDENTIAL_ACTIVE)
                return states[c->state];
        if (is_ours && !credential_token_is_good(c) && !oauth_can_refresh(c)) {
                *ret_reason = c->refresh_attempt > 0 ? REFRESH_REASON_LOST
                                                     : "the access has expired, and the service gave "
                                                       "nothing to renew it with";
                return states[CREDENTIAL_NEEDS_RECONNECT];
        }
        return c->refresh_attempt > 0 ? "refreshing" : states[CREDENTIAL_ACTIVE];
}
