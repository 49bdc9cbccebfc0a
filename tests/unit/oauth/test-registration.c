/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What an authorization server makes of this host, and of a request that was pushed: its answer counts, as far as it can be meant. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "oauth/oauth-internal.h"
#include "util/clock.h"

#define REDIRECT "http://127.0.0.1:876/callback/x"

static json_object *document(const char *text) {
        json_object *o = NULL;

        assert_int_equal(json_parse(text, strlen(text), &json_limits_wire, &o), 0);
        return o;
}

static int read_answer(const char *text, const Discovery *d, Client **ret) {
        _cleanup_(json_putp) json_object *o = document(text);

        return registration_read(o, d, REDIRECT, "read", ret);
}

static void answer_decides_over_the_way_of_authentication(void **state) {
        static const struct {
                const char *text;
                bool basic, post;
                const char *method; /* NULL: no registration */
        } rows[] = {
                { "{\"client_id\":\"c\"}", true, true, "none" },
                { "{\"client_id\":\"c\",\"client_secret\":\"s\"}", true, true, "client_secret_basic" },
                { "{\"client_id\":\"c\",\"client_secret\":\"s\"}", false, true, "client_secret_post" },
                { "{\"client_id\":\"c\",\"client_secret\":\"s\"}", false, false, "client_secret_basic" },
                { "{\"client_id\":\"c\",\"client_secret\":\"s\",\"token_endpoint_auth_method\":\"client_"
                  "secret_post\"}",
                                true, false, "client_secret_post" },
                { "{\"client_id\":\"c\",\"client_secret\":\"s\",\"token_endpoint_auth_method\":\"none\"}",
                                true, false, "none" },
                { "{\"client_id\":\"c\",\"token_endpoint_auth_method\":\"client_secret_basic\"}", true,
                                false, NULL },
                { "{\"client_id\":\"c\",\"client_secret\":\"s\",\"token_endpoint_auth_method\":\"private_"
                  "key_jwt\"}",
                                true, false, NULL },
                { "{\"client_id\":\"\"}", true, true, NULL },
                { "{\"client_id\":7}", true, true, NULL },
                { "{\"client_secret\":\"s\"}", true, true, NULL },
                { "{}", true, true, NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const Discovery d = { .authority.issuer = (char *)"https://as.test",
                        .auth_basic = rows[i].basic,
                        .auth_post = rows[i].post };
                _cleanup_(client_freep) Client *c = NULL;
                int r = read_answer(rows[i].text, &d, &c);

                if (r != (rows[i].method ? 0 : FAILED) || (c && !streq(c->auth_method, rows[i].method)))
                        fail_msg("%s: got %d, %s", rows[i].text, r, c ? c->auth_method : "nothing");
                if (c)
                        assert_true(streq(c->issuer, "https://as.test") &&
                                        streq(c->redirect_uri, REDIRECT) && streq(c->scope, "read") &&
                                        c->registered_usec > 0);
        }
}

static void secret_ends_when_the_answer_says(void **state) {
        static const struct {
                const char *expires;
                uint64_t usec;
        } rows[] = { { "4000000000", UINT64_C(4000000000) * USEC_PER_SEC }, { "0", 0 }, { "-1", 0 },
                { "\"4000000000\"", 0 }, { "9223372036854775807", 0 }, { "null", 0 } };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const Discovery d = { .authority.issuer = (char *)"https://as.test" };
                _cleanup_(client_freep) Client *c = NULL;
                char text[128];

                (void)snprintf(text, sizeof(text),
                                "{\"client_id\":\"c\",\"client_secret\":\"s\",\"client_secret_expires_at\":%"
                                "s}",
                                rows[i].expires);
                assert_int_equal(read_answer(text, &d, &c), 0);
                if (c->secret_expires_usec != rows[i].usec)
                        fail_msg("%s: got %llu", rows[i].expires,
                                        (unsigned long long)c->secret_expires_usec);
        }
}

static void registration_is_made_anew_when_it_will_not_do(void **state) {
        const uint64_t now = UINT64_C(1800000000) * USEC_PER_SEC, hour = UINT64_C(3600) * USEC_PER_SEC;
        const struct {
                uint64_t expires, registered;
                const char *registered_scope, *scope, *unanswered;
                bool is_good;
        } rows[] = {
                { 0, now - hour, "read", "read", NULL, true },
                { now + hour, now - hour, "read", "read", NULL, true },
                { now + USEC_PER_SEC, now - hour, "read", "read", NULL,
                                false }, /* its secret ends while somebody consents */
                { now - hour, now - 2 * hour, NULL, NULL, NULL, false },
                { 0, now - 23 * hour, "read", "read", "c", true },
                { 0, now - 25 * hour, "read", "read", "c", false },
                { 0, now - 25 * hour, "read", "read", "other", true }, /* somebody else's doubt */
                { 0, 0, "read", "read", "c", false }, /* a record of before times were kept */
                { 0, now - hour, "read write", "write", NULL, true },
                { 0, now - hour, "read", "read write", NULL, false },
                { 0, now - hour, NULL, "read write", NULL, true }, /* nothing was said of scopes */
                { 0, now - hour, "read", NULL, NULL, true },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const Client c = { .client_id = (char *)"c",
                        .scope = (char *)rows[i].registered_scope,
                        .registered_usec = rows[i].registered,
                        .secret_expires_usec = rows[i].expires };

                if (registration_is_good(&c, rows[i].scope, rows[i].unanswered, now) != rows[i].is_good)
                        fail_msg("row %zu", i);
        }
}

/* A registration is the host's, and what one user asked for stays in it: it must not crowd out what another one asks for. */
static void scope_that_is_asked_for_now_always_has_room(void **state) {
        _cleanup_(freep) char *crowd = calloc(1, 20000), *scope = NULL, *alone = NULL;
        Client known = { .client_id = (char *)"c" };

        for (size_t i = 0; i < 1500; i++)
                (void)snprintf(crowd + strlen(crowd), 20, "%s%zu", i > 0 ? " " : "", i);
        known.scope = crowd;
        assert_int_equal(registration_scope(&known, "read write", &scope), 0);
        assert_true(scope_covers(scope, "read write") && scope_covers(scope, "0 1 2"));
        known.scope = scope;
        assert_true(registration_is_good(&known, "read write", NULL, 0));

        assert_int_equal(registration_scope(NULL, "read", &alone), 0);
        assert_string_equal(alone, "read");
}

static void client_secret_goes_to_its_own_issuer_only(void **state) {
        static const struct {
                const char *written, *token_endpoint, *found;
                bool has_other_name, is_for;
        } rows[] = {
                { "https://as.test", NULL, "https://as.test", false, true },
                { "https://as.test", NULL, "https://evil.test", false, false },
                { "https://as.test", NULL, "https://as.test/", false, false },
                { "https://as.test", NULL, "https://as.test", true,
                                false }, /* evil.test says that it is as.test */
                { NULL, NULL, "https://as.test", false, true },
                { "https://as.test", "https://as.test/token", "https://as.test", false, true },
                { NULL, "https://as.test/token", "https://as.test", false, true },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const ServiceProfile p = { .issuer = (char *)rows[i].written,
                        .authorization_endpoint = (char *)rows[i].token_endpoint,
                        .token_endpoint = (char *)rows[i].token_endpoint };
                const Discovery d = { .authority.issuer = (char *)rows[i].found,
                        .has_other_name = rows[i].has_other_name };

                if (client_secret_is_for(&p, &d) != rows[i].is_for)
                        fail_msg("row %zu", i);
        }
}

static void pushed_request_has_a_name_or_is_none(void **state) {
        static const struct {
                unsigned status;
                const char *text, *uri;
        } rows[] = {
                { 201, "{\"request_uri\":\"urn:x\",\"expires_in\":60}", "urn:x" },
                { 200, "{\"request_uri\":\"urn:x\"}", "urn:x" },
                { 400, "{\"request_uri\":\"urn:x\"}", NULL },
                { 302, "{\"request_uri\":\"urn:x\"}", NULL },
                { 201, "{\"request_uri\":\"\"}", NULL },
                { 201, "{\"request_uri\":\"urn: x\"}", NULL },
                { 201, "{\"request_uri\":\"urn:\\u00e4\"}", NULL },
                { 201, "{\"request_uri\":[\"urn:x\"]}", NULL },
                { 201, "{}", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(json_putp) json_object *o = document(rows[i].text);
                _cleanup_(freep) char *uri = NULL;
                int r = pushed_answer_read(rows[i].status, o, &uri);

                if (r != (rows[i].uri ? 0 : FAILED) || !streq_ptr(uri, rows[i].uri))
                        fail_msg("%u %s: got %d, %s", rows[i].status, rows[i].text, r, uri ?: "nothing");
        }
        assert_int_equal(pushed_answer_read(201, NULL, &(char *){ NULL }), FAILED);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(answer_decides_over_the_way_of_authentication),
                cmocka_unit_test(secret_ends_when_the_answer_says),
                cmocka_unit_test(registration_is_made_anew_when_it_will_not_do),
                cmocka_unit_test(scope_that_is_asked_for_now_always_has_room),
                cmocka_unit_test(client_secret_goes_to_its_own_issuer_only),
                cmocka_unit_test(pushed_request_has_a_name_or_is_none),
        };

        return cmocka_run_group_tests_name("oauth-registration", tests, NULL, NULL);
}
