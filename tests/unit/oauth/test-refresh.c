/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Refreshing, as far as it is a matter of records and answers alone: when a token is due, what an answer means, how a state is called, and when
 * a grant that failed may be tried again. The rest needs a provider (tests/scenario/test_refresh.py, tests/crash). */

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "oauth/refresh-internal.h"
#include "util/clock.h"

#define SECONDS(n) ((uint64_t)(n)*USEC_PER_SEC)
#define THEN       SECONDS(1800000000)

/* Obtained at THEN, with that life in seconds; 0: not told. */
static Credential *grant(unsigned life) {
        Credential *c = calloc(1, sizeof(Credential));

        assert_non_null(c);
        c->custody = CUSTODY_HOST;
        c->created_usec = THEN - SECONDS(1000000);
        c->obtained_usec = THEN;
        c->expires_usec = life > 0 ? THEN + SECONDS(life) : 0;
        c->authority.token_endpoint = strdup("https://issuer.example/token");
        assert_int_equal(secret_new_text("access", &c->access_token), 0);
        assert_int_equal(secret_new_text("refresh", &c->refresh_token), 0);
        return c;
}

static void grant_free(Credential *c) {
        free(c->authority.token_endpoint);
        (void)secret_free(c->access_token);
        (void)secret_free(c->refresh_token);
        free(c);
}

static void token_is_due_in_its_last_minute_or_fifth(void **state) {
        static const struct {
                unsigned life, least, from; /* due from that second of its life on */
        } rows[] = {
                { 3600, 0, 3540 },   /* the last minute */
                { 300, 0, 240 },     /* which is a fifth */
                { 100, 0, 80 },      /* the last fifth where that is less */
                { 5, 0, 4 },         /* and of very little */
                { 3600, 120, 3480 }, /* who hands it on wants more */
                { 3600, 10, 3540 },  /* but never less than the others */
                { 100, 120, 50 },    /* and at most half a life, or each use would be a refresh */
                { 86400, 0, 86340 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Credential *c = grant(rows[i].life);

                assert_false(refresh_is_due(c, THEN, SECONDS(rows[i].least)));
                assert_false(refresh_is_due(c, THEN + SECONDS(rows[i].from) - 1, SECONDS(rows[i].least)));
                assert_true(refresh_is_due(c, THEN + SECONDS(rows[i].from), SECONDS(rows[i].least)));
                assert_true(refresh_is_due(c, THEN + SECONDS(10 * rows[i].life), SECONDS(rows[i].least)));
                grant_free(c);
        }
}

static void first_token_was_obtained_when_the_credential_was_made(void **state) {
        Credential *c = grant(100);

        c->obtained_usec = 0;
        c->created_usec = THEN;
        assert_false(refresh_is_due(c, THEN + SECONDS(79), 0));
        assert_true(refresh_is_due(c, THEN + SECONDS(80), 0));
        grant_free(c);
}

static void life_that_was_not_told_is_not_guessed(void **state) {
        Credential *c = grant(0);

        assert_false(refresh_is_due(c, THEN + SECONDS(100000000), SECONDS(3600)));
        grant_free(c);
}

/* Only what this host alone owns, and what is in use. */
static void nothing_else_is_ever_due(void **state) {
        for (unsigned i = 0; i < 9; i++) {
                Credential *c = grant(3600);
                const char *reason;

                assert_true(refresh_is_due(c, THEN + SECONDS(3600), 0));
                switch (i) {
                case 0:
                        c->custody = CUSTODY_PLATFORM;
                        break;
                case 1:
                        c->kind = CREDENTIAL_STATIC_BEARER;
                        break;
                case 2:
                        c->kind = CREDENTIAL_ENVIRONMENT;
                        break;
                case 3:
                        c->refresh_token = secret_free(c->refresh_token);
                        break;
                case 4:
                        c->state = CREDENTIAL_NEEDS_RECONNECT;
                        break;
                case 5:
                        c->state = CREDENTIAL_DISCONNECTING;
                        break;
                case 6:
                        free(TAKE_PTR(c->authority.token_endpoint));
                        break;
                case 7:
                        c->access_token = secret_free(c->access_token);
                        break;
                case 8:
                        c->custody = CUSTODY_AUTO;
                        break;
                }
                assert_false(refresh_is_due(c, THEN + SECONDS(3600), 0));
                assert_false(oauth_can_refresh(c));
                (void)oauth_credential_state(c, &reason);
                grant_free(c);
        }
        Credential *c = grant(3600);
        c->custody = CUSTODY_MIRROR;
        assert_true(refresh_is_due(c, THEN + SECONDS(3600), 0));
        grant_free(c);
}

/* What a crash left half-way is finished by the next use, once. */
static void attempt_that_is_open_is_due_at_once_and_two_are_the_end(void **state) {
        Credential *c = grant(3600);

        c->refresh_attempt = 1;
        assert_true(refresh_is_due(c, THEN, 0));
        c->refresh_attempt = REFRESH_ATTEMPTS_MAX;
        assert_false(refresh_is_due(c, THEN + SECONDS(3599), 0));
        assert_true(refresh_is_due(c, THEN + SECONDS(3600), 0));
        grant_free(c);
}

static void state_is_never_better_than_what_is_known(void **state) {
        uint64_t now = now_realtime();
        const char *reason;
        Credential *c = grant(0);

        c->expires_usec = now + SECONDS(3600);
        assert_string_equal(oauth_credential_state(c, &reason), "active");
        assert_null(reason);
        c->refresh_attempt = 1;
        assert_string_equal(oauth_credential_state(c, &reason), "refreshing");
        c->expires_usec = now - SECONDS(1); /* it can still be had */
        assert_string_equal(oauth_credential_state(c, &reason), "refreshing");
        c->refresh_attempt = 0;
        assert_string_equal(oauth_credential_state(c, &reason), "active");
        c->refresh_attempt = REFRESH_ATTEMPTS_MAX;
        assert_string_equal(oauth_credential_state(c, &reason), "needs-reconnect");
        assert_string_equal(reason, REFRESH_REASON_LOST);
        c->refresh_attempt = 0;
        c->refresh_token = secret_free(c->refresh_token);
        assert_string_equal(oauth_credential_state(c, &reason), "needs-reconnect");
        assert_non_null(strstr(reason, "expired"));
        c->custody = CUSTODY_PLATFORM; /* which refreshes it over there */
        assert_string_equal(oauth_credential_state(c, &reason), "active");
        c->state = CREDENTIAL_NEEDS_RECONNECT;
        c->state_reason = strdup("gone");
        assert_string_equal(oauth_credential_state(c, &reason), "needs-reconnect");
        assert_string_equal(reason, "gone");
        free(TAKE_PTR(c->state_reason));
        grant_free(c);
}

static void answers_mean_what_they_say(void **state) {
        static const struct {
                unsigned status;
                const char *body; /* NULL: no JSON object */
                RefreshVerdict verdict;
        } rows[] = {
                { 200, "{\"access_token\":\"a\",\"expires_in\":60}", REFRESH_DONE },
                { 500, "{\"access_token\":\"a\"}", REFRESH_DONE }, /* whatever the status */
                { 400, "{\"error\":\"invalid_grant\"}", REFRESH_DEAD },
                { 401, "{\"error\":\"invalid_grant\"}", REFRESH_DEAD },
                { 403, "{\"error\":\"invalid_grant\",\"error_description\":\"x\"}", REFRESH_DEAD },
                { 200, "{\"error\":\"invalid_grant\"}", REFRESH_DEAD },
                { 200, "{\"ok\":false,\"error\":\"invalid_grant\"}", REFRESH_DEAD },
                { 500, "{\"error\":\"invalid_grant\"}", REFRESH_DEAD },
                { 401, "{\"error\":\"invalid_client\"}", REFRESH_DEAD },
                { 400, "{\"error\":\"unauthorized_client\"}", REFRESH_DEAD },
                /* Errors of which none says that the grant has ended. */
                { 400, "{\"error\":\"invalid_request\"}", REFRESH_LATER },
                { 400, "{\"error\":\"temporarily_unavailable\"}", REFRESH_LATER },
                { 200, "{\"ok\":false,\"error\":\"ratelimited\"}", REFRESH_LATER },
                { 200, "{\"ok\":false}", REFRESH_LATER },
                { 400, "{\"error\":\"Invalid_Grant\"}", REFRESH_LATER },
                { 429, "{}", REFRESH_LATER },
                { 429, NULL, REFRESH_LATER },
                { 500, NULL, REFRESH_LATER },
                { 502, NULL, REFRESH_LATER },
                { 503, "{\"error\":\"x\"}", REFRESH_LATER },
                { 302, NULL, REFRESH_LATER },
                { 404, NULL, REFRESH_LATER },
                { 403, NULL, REFRESH_LATER }, /* somebody else's wall before the server */
                /* It says that it was done, and what came of it cannot be read. */
                { 200, NULL, REFRESH_LOST },
                { 200, "{}", REFRESH_LOST },
                { 201, "{\"token_type\":\"Bearer\"}", REFRESH_LOST },
                { 200, "{\"access_token\":\"\"}", REFRESH_LOST },
                { 200, "{\"access_token\":7}", REFRESH_LOST },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(json_putp) json_object *object = NULL;
                RefreshAnswer answer = {};

                if (rows[i].body)
                        assert_int_equal(json_parse(rows[i].body, strlen(rows[i].body), &json_limits_wire,
                                                         &object),
                                        0);
                assert_int_equal(refresh_judge(rows[i].status, object, NULL, THEN, &answer), 0);
                if (answer.verdict != rows[i].verdict)
                        fail_msg("HTTP %u, %s: verdict %d instead of %d", rows[i].status,
                                        rows[i].body ?: "no object", (int)answer.verdict,
                                        (int)rows[i].verdict);
                assert_true((answer.tokens.access_token != NULL) == (rows[i].verdict == REFRESH_DONE));
                if (rows[i].verdict == REFRESH_DEAD)
                        assert_non_null(answer.error);
                refresh_answer_done(&answer);
        }
}

static void server_in_trouble_is_asked_less_and_less(void **state) {
        Oauth o = {};
        uint64_t last = 0;

        assert_null(refresh_pace_find(&o, "c-1"));
        for (unsigned i = 0; i < 9; i++) {
                assert_int_equal(refresh_pace_failed(&o, "c-1", 0, "why"), 0);
                const RefreshPace *p = refresh_pace_find(&o, "c-1");
                assert_non_null(p);
                assert_string_equal(refresh_pace_why(p), "why");
                uint64_t seconds = refresh_pace_seconds(p);
                assert_in_range(seconds, i == 0 ? 4 : MIN(2 * last, UINT64_C(300)) - 2,
                                i == 0 ? 5 : MIN(2 * last, UINT64_C(300)));
                last = seconds;
        }
        assert_null(refresh_pace_find(&o, "c-2")); /* another grant's trouble is its own */
        refresh_pace_succeeded(&o, "c-1");
        assert_null(refresh_pace_find(&o, "c-1"));
        assert_int_equal(refresh_pace_failed(&o, "c-1", 0, "why"), 0);
        assert_in_range(refresh_pace_seconds(refresh_pace_find(&o, "c-1")), 4, 5);
        refresh_pace_free(&o);
}

static void wish_of_a_server_is_heard_within_reason(void **state) {
        Oauth o = {};

        assert_int_equal(refresh_pace_failed(&o, "c-1", SECONDS(77), "why"), 0);
        assert_in_range(refresh_pace_seconds(refresh_pace_find(&o, "c-1")), 76, 77);
        assert_int_equal(refresh_pace_failed(&o, "c-2", SECONDS(1), "why"), 0);
        assert_in_range(refresh_pace_seconds(refresh_pace_find(&o, "c-2")), 4, 5);
        assert_int_equal(refresh_pace_failed(&o, "c-3", SECONDS(1000000), "why"), 0);
        assert_in_range(refresh_pace_seconds(refresh_pace_find(&o, "c-3")), 3599, 3600);
        refresh_pace_free(&o);
}

static void refusal_counts_once_a_minute_for_each_grant(void **state) {
        Oauth o = {};

        assert_true(refresh_pace_admits_refusal(&o, "c-1"));
        for (unsigned i = 0; i < 100; i++)
                assert_false(refresh_pace_admits_refusal(&o, "c-1"));
        refresh_pace_succeeded(&o, "c-1"); /* a refresh in between changes nothing */
        assert_false(refresh_pace_admits_refusal(&o, "c-1"));
        assert_true(refresh_pace_admits_refusal(&o, "c-2"));
        assert_null(refresh_pace_find(&o, "c-1")); /* and keeps nobody from a refresh that is due */
        refresh_pace_free(&o);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(token_is_due_in_its_last_minute_or_fifth),
                cmocka_unit_test(first_token_was_obtained_when_the_credential_was_made),
                cmocka_unit_test(life_that_was_not_told_is_not_guessed),
                cmocka_unit_test(nothing_else_is_ever_due),
                cmocka_unit_test(attempt_that_is_open_is_due_at_once_and_two_are_the_end),
                cmocka_unit_test(state_is_never_better_than_what_is_known),
                cmocka_unit_test(answers_mean_what_they_say),
                cmocka_unit_test(server_in_trouble_is_asked_less_and_less),
                cmocka_unit_test(wish_of_a_server_is_heard_within_reason),
                cmocka_unit_test(refusal_counts_once_a_minute_for_each_grant),
        };

        if (secret_global_init() < 0)
                return 1;
        return cmocka_run_group_tests_name("oauth-refresh", tests, NULL, NULL);
}
