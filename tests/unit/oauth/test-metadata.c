/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The two metadata documents: where they are looked for, and what in them is believed. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "oauth/oauth-internal.h"

#define SERVER "https://m.test/v1/mcp"
#define ISSUER "https://as.test"

static void assert_urls(int (*make)(const char *, char ***), const char *from, const char *const *expected) {
        char **urls = NULL;
        size_t n = 0;

        assert_int_equal(make(from, &urls), 0);
        for (; urls[n]; n++) {
                assert_non_null(expected[n]);
                assert_string_equal(urls[n], expected[n]);
        }
        assert_null(expected[n]);
        strv_free(urls);
}

static void authority_is_looked_for_in_order(void **state) {
        static const char *const plain[] = { ISSUER "/.well-known/oauth-authorization-server",
                ISSUER "/.well-known/openid-configuration", NULL };
        static const char *const path[] = { ISSUER "/.well-known/oauth-authorization-server/t/1",
                ISSUER "/.well-known/openid-configuration/t/1",
                ISSUER "/t/1/.well-known/openid-configuration", NULL };
        static const char *const port[] = { ISSUER ":8443/.well-known/oauth-authorization-server",
                ISSUER ":8443/.well-known/openid-configuration", NULL };

        assert_urls(metadata_authority_urls, ISSUER, plain);
        assert_urls(metadata_authority_urls, ISSUER "/", plain);
        assert_urls(metadata_authority_urls, ISSUER "/t/1", path);
        assert_urls(metadata_authority_urls, ISSUER "/t/1/", path);
        assert_urls(metadata_authority_urls, ISSUER ":8443", port);
}

static void resource_is_looked_for_in_order(void **state) {
        static const char *const root[] = { "https://m.test/.well-known/oauth-protected-resource", NULL };
        static const char *const path[] = { "https://m.test/.well-known/oauth-protected-resource/v1/mcp",
                "https://m.test/.well-known/oauth-protected-resource", NULL };

        assert_urls(metadata_resource_urls, "https://m.test", root);
        assert_urls(metadata_resource_urls, SERVER, path);
}

static void what_is_no_https_address_has_no_metadata(void **state) {
        static const char *const bad[] = { "", "http://as.test", "as.test", "https://user@as.test",
                "https://as.test/#x", "https://as.test./", "ftp://as.test" };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                char **urls = NULL;

                assert_int_equal(metadata_authority_urls(bad[i], &urls), -EINVAL);
                assert_int_equal(metadata_resource_urls(bad[i], &urls), -EINVAL);
                assert_null(urls);
        }
}

static json_object *document(const char *text) {
        json_object *o = NULL;

        assert_int_equal(json_parse(text, strlen(text), &json_limits_wire, &o), 0);
        return o;
}

/* Reads a resource document about SERVER; returns whether it was believed. */
static bool read_resource(const char *text, char **ret_resource, char **ret_issuer, char **ret_scope) {
        _cleanup_(json_putp) json_object *o = document(text);
        const char *reason = NULL;
        int r = metadata_read_resource(o, SERVER, NULL, ret_resource, ret_issuer, ret_scope, &reason);

        assert_true(r == 0 || r == FAILED);
        assert_true((r == FAILED) == (reason != NULL));
        return r == 0;
}

static bool resource_is_believed(const char *resource) {
        _cleanup_(freep) char *text = NULL, *got = NULL, *issuer = NULL, *scope = NULL;

        assert_true(asprintf(&text, "{\"resource\":\"%s\",\"authorization_servers\":[\"" ISSUER "/x\"]}",
                                    resource) > 0);
        if (!read_resource(text, &got, &issuer, &scope))
                return false;
        assert_string_equal(got, resource); /* byte for byte */
        assert_string_equal(issuer, ISSUER "/x");
        return true;
}

static void resource_is_the_server_or_all_of_its_origin(void **state) {
        static const char *const good[] = { SERVER, SERVER "/", "https://m.test", "https://m.test/",
                "https://M.test/v1/mcp", "https://m.test:443/v1/mcp", "https://m.test:443" };
        static const char *const bad[] = { "https://m.test/v1", "https://m.test/v1/", "https://m.test/v",
                "https://m.test?x", "https://m.test/?x", "https://m.test/v1/mc", "https://m.test/v1/mcp/x",
                "https://m.test/v2", "https://m.test/V1", "https://m.test:8443/v1/mcp",
                "https://evil.test/v1/mcp", "https://m.test.evil.test/v1/mcp", "http://m.test/v1/mcp",
                "https://user@m.test/v1", "https://m.test/v1/mcp#f", "https://m.test/v1/mcp?tenant=1",
                "https://m.test/v1/../v1/mcp", "https://m.test/v1/%6dcp", "", "m.test" };

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                if (!resource_is_believed(good[i]))
                        fail_msg("%s should cover", good[i]);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                if (resource_is_believed(bad[i]))
                        fail_msg("%s should not cover", bad[i]);
}

static void resource_above_the_server_is_root_s_word(void **state) {
        static const char text[] =
                        "{\"resource\":\"https://m.test/v1\",\"authorization_servers\":[\"" ISSUER "\"]}";
        static const struct {
                const char *expected;
                bool is_good;
        } rows[] = { { "https://m.test/v1", true }, { "https://m.test/v1/", false },
                { "https://m.test", false }, { "https://m.test/v2", false }, { "", false },
                { NULL, false } };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(freep) char *resource = NULL, *issuer = NULL, *scope = NULL;
                _cleanup_(json_putp) json_object *o = document(text);
                const char *reason = NULL;
                int r = metadata_read_resource(
                                o, SERVER, rows[i].expected, &resource, &issuer, &scope, &reason);

                if ((r == 0) != rows[i].is_good)
                        fail_msg("expected %s: got %d", rows[i].expected ?: "nothing", r);
        }
}

static void resource_document_of_the_wrong_shape_is_refused(void **state) {
        static const char *const bad[] = {
                "{}",
                "{\"resource\":7,\"authorization_servers\":[\"" ISSUER "\"]}",
                "{\"resource\":[\"" SERVER "\"],\"authorization_servers\":[\"" ISSUER "\"]}",
                "{\"resource\":\"" SERVER "\"}",
                "{\"resource\":\"" SERVER "\",\"authorization_servers\":[]}",
                "{\"resource\":\"" SERVER "\",\"authorization_servers\":\"" ISSUER "\"}",
                "{\"resource\":\"" SERVER "\",\"authorization_servers\":{\"0\":\"" ISSUER "\"}}",
                "{\"resource\":\"" SERVER "\",\"authorization_servers\":[null,\"" ISSUER "\"]}",
                "{\"resource\":\"" SERVER "\",\"authorization_servers\":[\"http://as.test\"]}",
                "{\"resource\":\"" SERVER "\",\"authorization_servers\":[[\"" ISSUER "\"]]}",
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                char *resource = NULL, *issuer = NULL, *scope = NULL;

                if (read_resource(bad[i], &resource, &issuer, &scope))
                        fail_msg("believed: %s", bad[i]);
                assert_true(!resource && !issuer && !scope);
        }
}

static void only_scope_tokens_become_scopes(void **state) {
        _cleanup_(freep) char *resource = NULL, *issuer = NULL, *scope = NULL;

        assert_true(read_resource("{\"resource\":\"" SERVER "\",\"authorization_servers\":[\"" ISSUER "\"],"
                                  "\"scopes_supported\":[\"read\",7,\"two "
                                  "words\",null,\"\",\"q\\\"x\",\"b\\\\s\",\"write\",[\"x\"],\"l\\nf\"]}",
                        &resource, &issuer, &scope));
        assert_string_equal(scope, "read write");
}

#define ENDPOINTS "\"authorization_endpoint\":\"" ISSUER "/auth\",\"token_endpoint\":\"" ISSUER "/token\""
#define PKCE      "\"code_challenge_methods_supported\":[\"plain\",\"S256\"]"

static int read_authority(const char *text, const char *issuer, Discovery *d, bool *ret_offline) {
        _cleanup_(json_putp) json_object *o = document(text);
        const char *reason = NULL;
        int r = metadata_read_authority(o, issuer, NULL, d, ret_offline, &reason);

        assert_true((r == FAILED) == (reason != NULL));
        return r;
}

static bool authority_is_believed(const char *text, const char *issuer) {
        bool offline = false;
        Discovery d = {};
        int r = read_authority(text, issuer, &d, &offline);

        if (r == 0)
                assert_string_equal(d.authority.issuer, issuer);
        discovery_done(&d);
        return r == 0;
}

static void issuer_is_the_same_byte_for_byte(void **state) {
        static const char *const others[] = { ISSUER "/", "https://AS.test", ISSUER ":443",
                "https://as.test.evil.test", "", ISSUER "/t" };

        assert_true(authority_is_believed("{\"issuer\":\"" ISSUER "\"," ENDPOINTS "," PKCE "}", ISSUER));
        assert_true(authority_is_believed(
                        "{\"issuer\":\"" ISSUER "/\"," ENDPOINTS "," PKCE "}", ISSUER "/"));
        for (size_t i = 0; i < ELEMENTSOF(others); i++) {
                _cleanup_(freep) char *text = NULL;

                assert_true(asprintf(&text, "{\"issuer\":\"%s\"," ENDPOINTS "," PKCE "}", others[i]) > 0);
                if (authority_is_believed(text, ISSUER))
                        fail_msg("taken for " ISSUER ": %s", others[i]);
        }
        assert_false(authority_is_believed("{" ENDPOINTS "," PKCE "}", ISSUER));
        assert_false(authority_is_believed("{\"issuer\":[\"" ISSUER "\"]," ENDPOINTS "," PKCE "}", ISSUER));
}

static void issuer_may_have_the_other_name_that_root_wrote(void **state) {
        static const struct {
                const char *name, *alias;
                bool is_good;
        } rows[] = { { ISSUER, NULL, true }, { ISSUER "/", ISSUER "/", true }, { ISSUER, ISSUER "/", true },
                { ISSUER "/", NULL, false }, { ISSUER "/x", ISSUER "/", false },
                { "https://evil.test", ISSUER "/", false } };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(json_putp) json_object *o = NULL;
                _cleanup_(freep) char *text = NULL;
                const char *reason = NULL;
                bool offline = false;
                Discovery d = {};

                assert_true(asprintf(&text, "{\"issuer\":\"%s\"," ENDPOINTS "," PKCE "}", rows[i].name) > 0);
                o = document(text);
                int r = metadata_read_authority(o, ISSUER, rows[i].alias, &d, &offline, &reason);
                if ((r == 0) != rows[i].is_good)
                        fail_msg("%s beside %s: got %d", rows[i].name, rows[i].alias ?: "nothing", r);
                if (r == 0)
                        assert_string_equal(
                                        d.authority.issuer, rows[i].name); /* what iss is compared with */
                if (r == 0)
                        assert_true(d.has_other_name == !streq(rows[i].name, ISSUER));
                discovery_done(&d);
        }
}

static void server_without_s256_is_refused(void **state) {
        static const char *const bad[] = { "\"x\":1", "\"code_challenge_methods_supported\":[]",
                "\"code_challenge_methods_supported\":[\"plain\"]",
                "\"code_challenge_methods_supported\":\"S256\"",
                "\"code_challenge_methods_supported\":[[\"S256\"]]",
                "\"code_challenge_methods_supported\":[\"s256\"]",
                "\"code_challenge_methods_supported\":null" };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_(freep) char *text = NULL;

                assert_true(asprintf(&text, "{\"issuer\":\"" ISSUER "\"," ENDPOINTS ",%s}", bad[i]) > 0);
                if (authority_is_believed(text, ISSUER))
                        fail_msg("believed: %s", bad[i]);
        }
}

static void endpoints_are_https_or_not_there(void **state) {
        static const char *const bad[] = {
                "\"authorization_endpoint\":\"" ISSUER "/auth\"",
                "\"token_endpoint\":\"" ISSUER "/token\"",
                "\"authorization_endpoint\":\"http://as.test/auth\",\"token_endpoint\":\"" ISSUER "/token\"",
                "\"authorization_endpoint\":\"javascript:alert(1)\",\"token_endpoint\":\"" ISSUER "/token\"",
                "\"authorization_endpoint\":\"" ISSUER "/auth\",\"token_endpoint\":\"file:///etc/passwd\"",
                "\"authorization_endpoint\":\"" ISSUER "/auth\",\"token_endpoint\":7",
                "\"authorization_endpoint\":{},\"token_endpoint\":\"" ISSUER "/token\"",
        };
        bool offline = true;
        Discovery d = {};

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_(freep) char *text = NULL;

                assert_true(asprintf(&text, "{\"issuer\":\"" ISSUER "\"," PKCE ",%s}", bad[i]) > 0);
                if (authority_is_believed(text, ISSUER))
                        fail_msg("believed: %s", bad[i]);
        }
        /* Optional ones that cannot be used are as if absent. */
        assert_int_equal(read_authority("{\"issuer\":\"" ISSUER "\"," ENDPOINTS "," PKCE
                                        ",\"revocation_endpoint\":\"http://as.test/r\","
                                        "\"userinfo_endpoint\":false,\"registration_endpoint\":\"" ISSUER
                                        "/reg\"}",
                                         ISSUER, &d, &offline),
                        0);
        assert_null(d.authority.revocation_endpoint);
        assert_null(d.authority.userinfo_endpoint);
        assert_string_equal(d.registration_endpoint, ISSUER "/reg");
        assert_false(offline);
        assert_false(d.authority.iss_supported);
        discovery_done(&d);
}

static void promises_are_read_in_their_type_only(void **state) {
        bool offline = false;
        Discovery d = {};

        assert_int_equal(read_authority("{\"issuer\":\"" ISSUER "\"," ENDPOINTS "," PKCE
                                        ",\"authorization_response_iss_parameter_supported\":true,"
                                        "\"scopes_supported\":[\"openid\",\"offline_access\"],"
                                        "\"token_endpoint_auth_methods_supported\":[\"none\",7,\"client_"
                                        "secret_post\"]}",
                                         ISSUER, &d, &offline),
                        0);
        assert_true(offline && d.authority.iss_supported && d.auth_none && d.auth_post && !d.auth_basic);
        discovery_done(&d);
        d = (Discovery){};

        assert_int_equal(read_authority("{\"issuer\":\"" ISSUER "\"," ENDPOINTS "," PKCE
                                        ",\"authorization_response_iss_parameter_supported\":\"true\","
                                        "\"scopes_supported\":\"offline_access\"}",
                                         ISSUER, &d, &offline),
                        0);
        assert_false(offline || d.authority.iss_supported);
        assert_true(d.auth_basic && !d.auth_none && !d.auth_post); /* RFC 8414's default */
        discovery_done(&d);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(authority_is_looked_for_in_order),
                cmocka_unit_test(resource_is_looked_for_in_order),
                cmocka_unit_test(what_is_no_https_address_has_no_metadata),
                cmocka_unit_test(resource_is_the_server_or_all_of_its_origin),
                cmocka_unit_test(resource_above_the_server_is_root_s_word),
                cmocka_unit_test(resource_document_of_the_wrong_shape_is_refused),
                cmocka_unit_test(only_scope_tokens_become_scopes),
                cmocka_unit_test(issuer_is_the_same_byte_for_byte),
                cmocka_unit_test(issuer_may_have_the_other_name_that_root_wrote),
                cmocka_unit_test(server_without_s256_is_refused),
                cmocka_unit_test(endpoints_are_https_or_not_there),
                cmocka_unit_test(promises_are_read_in_their_type_only),
        };

        return cmocka_run_group_tests_name("oauth-metadata", tests, NULL, NULL);
}
