/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What services mean that do not answer like the RFCs: tokens, accounts and revocations, each as a profile says. */

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "oauth/oauth-internal.h"
#include "util/encode.h"

#define NOW (UINT64_C(1800000000) * USEC_PER_SEC)

static json_object *object_of(const char *text) {
        json_object *o = NULL;

        assert_int_equal(json_parse(text, strlen(text), &json_limits_wire, &o), 0);
        return o;
}

static int parse_token(const ServiceProfile *p, const char *text, TokenAnswer *ret, char **ret_error) {
        _cleanup_(json_putp) json_object *o = object_of(text);

        return token_answer_parse(o, p, NOW, ret, ret_error);
}

/* A bot's token stands beside the user's and is never taken for it. */
static void token_is_taken_from_where_the_profile_says(void **state) {
        static const struct {
                const char *text, *token, *error;
        } rows[] = {
                { "{\"ok\":true,\"access_token\":\"bot\",\"token_type\":\"bot\",\"authed_user\":{\"access_"
                  "token\":"
                  "\"mine\",\"token_type\":\"user\"}}",
                                "mine", NULL },
                { "{\"ok\":true,\"access_token\":\"mine\",\"token_type\":\"user\"}", "mine", NULL },
                { "{\"ok\":true,\"access_token\":\"mine\",\"token_type\":\"Bearer\",\"authed_user\":\"x\"}",
                                "mine", NULL },
                { "{\"ok\":true,\"access_token\":\"bot\",\"token_type\":\"bot\"}", NULL,
                                "the token is not of type Bearer" },
                { "{\"ok\":true,\"access_token\":\"bot\",\"token_type\":\"bot\",\"authed_user\":{\"id\":"
                  "\"U1\"}}",
                                NULL, "no token in the answer" },
                { "{\"ok\":false,\"error\":\"x\",\"authed_user\":{\"access_token\":\"mine\"}}", NULL, "x" },
                { "{\"error\":\"x\",\"authed_user\":{\"access_token\":\"mine\"}}", NULL, "x" },
        };
        const ServiceProfile p = { .token_member = (char *)"authed_user", .token_type = (char *)"user" };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(freep) char *error = NULL;
                TokenAnswer t = {};

                assert_int_equal(parse_token(&p, rows[i].text, &t, &error), rows[i].token ? 0 : FAILED);
                if (rows[i].token)
                        assert_string_equal(secret_text(t.access_token), rows[i].token);
                else
                        assert_string_equal(error, rows[i].error);
                token_answer_done(&t);
        }
        /* Without the profile's word for it the same is refused. */
        _cleanup_(freep) char *error = NULL;
        TokenAnswer t = {};
        assert_int_equal(parse_token(NULL, "{\"access_token\":\"x\",\"token_type\":\"user\"}", &t, &error),
                        FAILED);
}

static void life_of_the_profile_is_for_answers_without_one(void **state) {
        const ServiceProfile p = { .token_life_usec = UINT64_C(600) * USEC_PER_SEC };
        _cleanup_(freep) char *error = NULL;
        TokenAnswer t = {};

        assert_int_equal(parse_token(&p, "{\"access_token\":\"x\"}", &t, &error), 0);
        assert_true(t.expires_usec == NOW + UINT64_C(600) * USEC_PER_SEC);
        token_answer_done(&t);
        assert_int_equal(parse_token(&p, "{\"access_token\":\"x\",\"expires_in\":\"60\"}", &t, &error), 0);
        assert_true(t.expires_usec == NOW + UINT64_C(60) * USEC_PER_SEC);
        token_answer_done(&t);
}

static void scopes_are_words_whatever_separates_them(void **state) {
        static const struct {
                const char *scope, *expected;
        } rows[] = {
                { "repo,gist", "repo gist" },
                { "repo, gist", "repo gist" },
                { " repo  gist ", "repo gist" },
                { "repo", "repo" },
                { ",", "" },
                { "", "" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(freep) char *text = NULL, *error = NULL;
                TokenAnswer t = {};

                assert_true(asprintf(&text, "{\"access_token\":\"x\",\"scope\":\"%s\"}", rows[i].scope) > 0);
                assert_int_equal(parse_token(NULL, text, &t, &error), 0);
                assert_string_equal(t.scope, rows[i].expected);
                token_answer_done(&t);
        }
}

static void account_comes_with_the_token_where_the_profile_says_so(void **state) {
        static const char text[] =
                        "{\"access_token\":\"x\",\"data\":{\"gid\":\"12\",\"email\":\"a@b.test\"}}";
        ServiceProfile p = { .account_source = ACCOUNT_SOURCE_TOKEN,
                .account_id_field = (char *)"data.gid",
                .account_name_field = (char *)"data.email" };
        _cleanup_(freep) char *error = NULL;
        TokenAnswer t = {};

        assert_int_equal(parse_token(&p, text, &t, &error), 0);
        assert_string_equal(t.account_id, "12");
        assert_string_equal(t.account_name, "a@b.test");
        token_answer_done(&t);
        /* A refresh does not say it again. */
        assert_int_equal(parse_token(&p, "{\"access_token\":\"x\"}", &t, &error), 0);
        assert_true(!t.account_id && !t.account_name);
        token_answer_done(&t);
        p.account_source = ACCOUNT_SOURCE_AUTO;
        assert_int_equal(parse_token(&p, text, &t, &error), 0);
        assert_null(t.account_id);
        token_answer_done(&t);
}

static void only_known_words_end_a_grant(void **state) {
        char *words[] = { (char *)"invalid_refresh_token", NULL };
        const ServiceProfile p = { .grant_errors = words };

        assert_true(token_error_is_final(NULL, "invalid_grant"));
        assert_true(token_error_is_final(&p, "invalid_grant"));
        assert_true(token_error_is_final(&p, "invalid_refresh_token"));
        assert_false(token_error_is_final(NULL, "invalid_refresh_token"));
        assert_false(token_error_is_final(&p, "invalid_refresh"));
        assert_false(token_error_is_final(&p, "ratelimited"));
        assert_false(token_error_is_final(&p, ""));
}

static void form_is_read_like_json_or_not_at_all(void **state) {
        static const struct {
                const char *text, *json; /* NULL: it is none */
        } rows[] = {
                { "access_token=gho_1&scope=repo%2Cgist&token_type=bearer",
                                "{\"access_token\":\"gho_1\",\"scope\":\"repo,gist\",\"token_type\":"
                                "\"bearer\"}" },
                { "error=bad&error_description=The+code+passed",
                                "{\"error\":\"bad\",\"error_description\":\"The code "
                                "passed\"}" },
                { "a=", "{\"a\":\"\"}" },
                { "a=1&b=%22%5C%0A", "{\"a\":\"1\",\"b\":\"\\\"\\\\\\n\"}" },
                { "", NULL },
                { "a", NULL },
                { "a=1&", "{\"a\":\"1\"}" },
                { "a=1&&b=2", NULL },
                { "=1", NULL },
                { "a=1&a=2", NULL },
                { "a=%", NULL },
                { "a=%zz", NULL },
                { "a=%00", NULL },
                { "a=%ff", NULL },
                { "a b=1", NULL },
                { "{\"access_token\":\"x\"}", NULL },
                { "<html>a=b</html>", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(json_putp) json_object *o = NULL;
                int r = form_parse(rows[i].text, strlen(rows[i].text), &o);

                if (r != (rows[i].json ? 0 : FAILED))
                        fail_msg("row %zu: %d", i, r);
                if (rows[i].json)
                        assert_string_equal(json_text(o), rows[i].json);
        }
}

static void form_becomes_json_with_the_same_content(void **state) {
        Buffer form = {}, json = {};

        assert_true(form_add(&form, "code", "a&b=c\"\\\n\xc3\xa4") >= 0);
        assert_true(form_add(&form, "absent", NULL) >= 0);
        assert_true(form_add(&form, "empty", "") >= 0);
        assert_int_equal(form_to_json(&form, &json), 0);
        _cleanup_(json_putp) json_object *o = object_of((char *)json.bytes);
        assert_string_equal(json_string(o, "code"), "a&b=c\"\\\n\xc3\xa4");
        assert_int_equal(json_object_object_length(o), 1);
        buffer_done(&form);
        buffer_done(&json);
}

static void account_is_read_from_fields(void **state) {
        static const struct {
                const char *text, *ids, *names, *id, *name; /* id NULL: it does not say */
        } rows[] = {
                { "{\"id\":1,\"login\":\"a\"}", "id", "login", "1", "a" },
                { "{\"id\":\"x\"}", "id", "login", "x", "x" },
                { "{\"data\":{\"viewer\":{\"id\":\"x\"}}}", "data.viewer.id", "n", "x", "x" },
                { "{\"a.b\":\"x\",\"a\":{\"b\":\"y\"}}", "a.b", "n", "x", "x" },
                { "{\"team_id\":\"T\",\"user_id\":\"U\",\"user\":\"a\",\"team\":\"t\"}", "team_id user_id",
                                "user team", "T/U", "a/t" },
                { "{\"user_id\":\"U\"}", "team_id user_id", "n", NULL, NULL },
                /* Two accounts never look like one. */
                { "{\"team_id\":\"T/U\",\"user_id\":\"V\"}", "team_id user_id", "n", NULL, NULL },
                { "{\"id\":\"a/b\"}", "id", "n", "a/b", "a/b" },
                { "{\"id\":\"\"}", "id", "n", NULL, NULL },
                { "{\"id\":null}", "id", "n", NULL, NULL },
                { "{\"id\":1.5}", "id", "n", NULL, NULL },
                { "{\"id\":true}", "id", "n", NULL, NULL },
                { "{\"id\":{\"id\":1}}", "id", "n", NULL, NULL },
                { "{\"id\":\"a\\u001b[31m\"}", "id", "n", NULL, NULL },
                { "{\"id\":\"a\\u202e\"}", "id", "n", NULL, NULL },
                { "{\"ok\":false,\"id\":\"x\"}", "id", "n", NULL, NULL },
                { "{\"errors\":[{\"message\":\"no\"}],\"id\":\"x\"}", "id", "n", NULL, NULL },
                { "{\"errors\":[],\"id\":\"x\"}", "id", "n", "x", "x" },
                { "{\"a\":\"b\"}", "a.b.c", "n", NULL, NULL },
                /* A mail address that the service has not verified is what its owner likes (OpenID Connect Core section 5.1). */
                { "{\"sub\":\"1\",\"email\":\"a@b.test\"}", "sub", "email", "1", "a@b.test" },
                { "{\"sub\":\"1\",\"email\":\"a@b.test\",\"email_verified\":true}", "sub", "email", "1",
                                "a@b.test" },
                { "{\"sub\":\"1\",\"email\":\"a@b.test\",\"email_verified\":\"true\"}", "sub", "email", "1",
                                "a@b.test" },
                { "{\"sub\":\"1\",\"email\":\"a@b.test\",\"email_verified\":false}", "sub", "email", "1",
                                "1" },
                { "{\"sub\":\"1\",\"email\":\"a@b.test\",\"email_verified\":\"false\"}", "sub", "email", "1",
                                "1" },
                { "{\"sub\":\"1\",\"email\":\"a@b.test\",\"email_verified\":0}", "sub", "email", "1", "1" },
                { "{\"u\":{\"email\":\"a@b.test\",\"email_verified\":false}}", "u.email", "n", NULL, NULL },
                { "{\"email\":\"a@b.test\",\"email_verified\":false}", "email", "n", NULL, NULL },
                { "{}", "id", "n", NULL, NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(json_putp) json_object *o = object_of(rows[i].text);
                _cleanup_(freep) char *id = NULL, *name = NULL;
                int r = account_from_object(o, rows[i].ids, rows[i].names, &id, &name);

                if (r != (rows[i].id ? 0 : FAILED))
                        fail_msg("row %zu: %d", i, r);
                if (rows[i].id) {
                        assert_string_equal(id, rows[i].id);
                        assert_string_equal(name, rows[i].name);
                } else
                        assert_true(!id && !name);
        }
}

/* Whoever may choose a name may write into it what stands in front of the id. */
static void account_is_read_from_words_that_are_there_once(void **state) {
        static const struct {
                const char *text, *id, *name;
        } rows[] = {
                { "You are A. B. (a@b.test).\n\nYour ID is 123.", "123", "A. B." },
                { "Your ID is 123.", "123", "123" },
                { "You are M. Your ID is 7. (x (m@b.test).\n\nYour ID is 123.", NULL, NULL },
                { "You are You are X (a@b.test).\nYour ID is 123.", "123", "123" },
                { "Your ID is .", NULL, NULL },
                { "Your ID is 123", NULL, NULL },
                { "Your ID is 12\n3.", NULL, NULL },
                { "Your ID is 1\x1b[31m.", NULL, NULL },
                { "your id is 123.", NULL, NULL },
                { "", NULL, NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(freep) char *id = NULL, *name = NULL;
                int r = account_from_text(rows[i].text, "Your ID is *.", "You are * (", &id, &name);

                if (r != (rows[i].id ? 0 : FAILED))
                        fail_msg("row %zu: %d", i, r);
                if (rows[i].id) {
                        assert_string_equal(id, rows[i].id);
                        assert_string_equal(name, rows[i].name);
                }
        }
        /* To the end of the line. */
        _cleanup_(freep) char *id = NULL, *name = NULL;
        assert_int_equal(account_from_text("ID: 12 34\nx", "ID: *", NULL, &id, &name), 0);
        assert_string_equal(id, "12 34");
}

static void account_is_read_from_what_a_tool_says(void **state) {
        static const struct {
                const char *text, *id;
        } rows[] = {
                { "{\"content\":[{\"type\":\"text\",\"text\":\"hello\"},{\"type\":\"text\",\"text\":\"{"
                  "\\\"id\\\":7}\"}]}",
                                "7" },
                { "{\"structuredContent\":{\"id\":\"s\"},\"content\":[{\"text\":\"{\\\"id\\\":7}\"}]}",
                                "s" },
                { "{\"isError\":true,\"content\":[{\"text\":\"{\\\"id\\\":7}\"}]}", NULL },
                { "{\"isError\":true,\"structuredContent\":{\"id\":\"s\"}}", NULL },
                { "{\"content\":[]}", NULL },
                { "{\"content\":7}", NULL },
                { "{}", NULL },
        };
        const ServiceProfile fields = {}, words = { .account_id_text = (char *)"ID *" };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(json_putp) json_object *o = object_of(rows[i].text);
                _cleanup_(freep) char *id = NULL, *name = NULL;

                assert_int_equal(account_from_tool(o, &fields, &id, &name), rows[i].id ? 0 : FAILED);
                if (rows[i].id)
                        assert_string_equal(id, rows[i].id);
                free(id);
                id = NULL;
                free(name);
                name = NULL;
                assert_int_equal(account_from_tool(o, &words, &id, &name), FAILED);
        }
        _cleanup_(json_putp) json_object *o =
                        object_of("{\"content\":[{\"text\":\"x\"},{\"text\":\"ID 7\"}]}");
        _cleanup_(freep) char *id = NULL, *name = NULL;
        assert_int_equal(account_from_tool(o, &words, &id, &name), 0);
        assert_string_equal(id, "7");
}

static void revocation_is_done_only_where_the_answer_says_so(void **state) {
        static const struct {
                const char *done; /* RevokedAnswers= */
                unsigned status;
                const char *body, *error; /* error NULL: it is revoked */
        } rows[] = {
                { NULL, 200, "{}", NULL },
                { NULL, 200, NULL, NULL },
                { NULL, 204, NULL, NULL },
                { NULL, 200, "{\"ok\":true,\"revoked\":true}", NULL },
                { NULL, 200, "{\"ok\":false,\"error\":\"invalid_auth\"}", "invalid_auth" },
                { NULL, 200, "{\"ok\":false}", "no reason that is known" },
                { NULL, 200, "{\"error\":\"invalid_request\"}", "invalid_request" },
                { NULL, 400, "{\"error\":\"invalid_token\"}", "invalid_token" },
                { NULL, 404, NULL, "no reason that is known" },
                { NULL, 503, NULL, "no reason that is known" },
                { NULL, 302, NULL, "no reason that is known" },
                { NULL, 400, "{\"error\":\"\\u001b[31m\"}", "no reason that is known" },
                /* A server may say the token itself. */
                { NULL, 400, "{\"error\":\"token ghp_0123456789 is not known\"}",
                                "no reason that is known" },
                { "404", 404, NULL, NULL },
                { "404 410", 410, NULL, NULL },
                { "404", 40, NULL, "no reason that is known" },
                { "404", 4040, NULL, "no reason that is known" },
                { "token_revoked invalid_auth", 200, "{\"ok\":false,\"error\":\"invalid_auth\"}", NULL },
                { "token_revoked invalid_auth", 200, "{\"ok\":false,\"error\":\"invalid\"}", "invalid" },
                { "invalid_token", 400, "{\"error\":\"invalid_token\"}", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const Authority a = { .revoked_answers = (char *)rows[i].done };
                _cleanup_(json_putp) json_object *o = rows[i].body ? object_of(rows[i].body) : NULL;
                _cleanup_(freep) char *error = NULL;
                int r = revocation_judge(&a, rows[i].status, o, &error);

                if (r != (rows[i].error ? FAILED : rows[i].done ? REVOCATION_NOTHING_LEFT : 0))
                        fail_msg("row %zu: %d", i, r);
                if (rows[i].error)
                        assert_string_equal(error, rows[i].error);
        }
}

static void way_that_is_not_known_is_none(void **state) {
        static const struct {
                const char *text;
                RevocationWay way;
        } rows[] = { { NULL, REVOCATION_RFC7009 }, { "delete", REVOCATION_DELETE },
                { "bearer", REVOCATION_BEARER }, { "none", REVOCATION_NONE }, { "", REVOCATION_NONE },
                { "rfc9999", REVOCATION_NONE } };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const Authority a = { .revocation = (char *)rows[i].text };

                assert_int_equal(revocation_way(&a), rows[i].way);
        }
}

static void endpoints_of_a_profile_are_an_authority(void **state) {
        char *answers[] = { (char *)"404", (char *)"gone", NULL },
             *scopes[] = { (char *)"a", (char *)"b", NULL };
        ServiceProfile p = { .url = (char *)"https://m.test/mcp",
                .authorization_endpoint = (char *)"https://a.test:8443/authorize",
                .token_endpoint = (char *)"https://a.test:8443/token",
                .revocation = REVOCATION_DELETE,
                .revocation_endpoint = (char *)"https://a.test/{client_id}/grant",
                .revoked_answers = answers,
                .scopes = scopes };
        Discovery d = {};

        assert_int_equal(discovery_from_profile(&p, &d), 0);
        assert_string_equal(d.authority.issuer, "https://a.test:8443");
        assert_string_equal(d.authority.token_endpoint, "https://a.test:8443/token");
        assert_string_equal(d.authority.revocation, "delete");
        assert_string_equal(d.authority.revoked_answers, "404 gone");
        assert_string_equal(d.resource, "https://m.test/mcp");
        assert_string_equal(d.scope, "a b");
        assert_null(d.registration_endpoint);
        discovery_done(&d);

        p.issuer = (char *)"https://a.test/";
        p.resource = (char *)"";
        p.revocation = REVOCATION_RFC7009;
        p.revoked_answers = NULL;
        assert_int_equal(discovery_from_profile(&p, &d), 0);
        assert_string_equal(d.authority.issuer, "https://a.test/"); /* byte for byte */
        assert_string_equal(d.resource, "");
        assert_true(!d.authority.revocation && !d.authority.revoked_answers);
        discovery_done(&d);
}

static int setup(void **state) {
        return secret_global_init();
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(token_is_taken_from_where_the_profile_says),
                cmocka_unit_test(life_of_the_profile_is_for_answers_without_one),
                cmocka_unit_test(scopes_are_words_whatever_separates_them),
                cmocka_unit_test(account_comes_with_the_token_where_the_profile_says_so),
                cmocka_unit_test(only_known_words_end_a_grant),
                cmocka_unit_test(form_is_read_like_json_or_not_at_all),
                cmocka_unit_test(form_becomes_json_with_the_same_content),
                cmocka_unit_test(account_is_read_from_fields),
                cmocka_unit_test(account_is_read_from_words_that_are_there_once),
                cmocka_unit_test(account_is_read_from_what_a_tool_says),
                cmocka_unit_test(revocation_is_done_only_where_the_answer_says_so),
                cmocka_unit_test(way_that_is_not_known_is_none),
                cmocka_unit_test(endpoints_of_a_profile_are_an_authority),
        };

        return cmocka_run_group_tests_name("oauth-profile-answers", tests, setup, NULL);
}
