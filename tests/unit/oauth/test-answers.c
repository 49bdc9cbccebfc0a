/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Answers of token endpoints and MCP servers: what counts as a yes, and every way in which it is not one. */

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "oauth/mcp.h"
#include "oauth/oauth-internal.h"

#define NOW (UINT64_C(1800000000) * USEC_PER_SEC)

static int parse_token(const char *text, TokenAnswer *ret, char **ret_reason) {
        _cleanup_(json_putp) json_object *o = NULL;

        assert_int_equal(json_parse(text, strlen(text), &json_limits_wire, &o), 0);
        return token_answer_parse(o, NULL, NOW, ret, ret_reason);
}

static void token_is_taken(void **state) {
        _cleanup_(freep) char *reason = NULL;
        TokenAnswer t = {};

        assert_int_equal(parse_token("{\"access_token\":\"at\",\"refresh_token\":\"rt\",\"token_type\":"
                                     "\"bEaReR\",\"expires_in\":3600,\"scope\":\"a b\"}",
                                         &t, &reason),
                        0);
        assert_string_equal(secret_text(t.access_token), "at");
        assert_string_equal(secret_text(t.refresh_token), "rt");
        assert_string_equal(t.scope, "a b");
        assert_true(t.expires_usec == NOW + UINT64_C(3600) * USEC_PER_SEC);
        assert_null(reason);
        token_answer_done(&t);

        /* The least that is a yes; also what Slack adds to one. */
        assert_int_equal(parse_token("{\"ok\":true,\"access_token\":\"at\",\"refresh_token\":\"\"}", &t,
                                         &reason),
                        0);
        assert_true(!t.refresh_token && !t.scope && t.expires_usec == 0);
        token_answer_done(&t);
}

static void no_is_heard_whatever_the_form(void **state) {
        static const struct {
                const char *text, *reason;
        } rows[] = {
                { "{}", "no token in the answer" },
                { "{\"ok\":false,\"error\":\"invalid_code\"}", "invalid_code" },
                { "{\"ok\":false,\"access_token\":\"at\"}", "no token in the answer" },
                { "{\"access_token\":\"at\",\"error\":\"bad_verification_code\"}", "bad_verification_code" },
                { "{\"error\":\"invalid_grant\",\"error_description\":\"x\"}", "invalid_grant" },
                { "{\"access_token\":\"\"}", "no token in the answer" },
                { "{\"access_token\":7}", "no token in the answer" },
                { "{\"access_token\":[\"at\"]}", "no token in the answer" },
                { "{\"access_token\":null}", "no token in the answer" },
                { "{\"access_token\":\"at\",\"token_type\":\"mac\"}", "the token is not of type Bearer" },
                { "{\"access_token\":\"at\",\"token_type\":\"DPoP\"}", "the token is not of type Bearer" },
                { "{\"error\":\"\\u001b[31mred\"}", "?[31mred" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(freep) char *reason = NULL;
                TokenAnswer t = {};

                assert_int_equal(parse_token(rows[i].text, &t, &reason), FAILED);
                assert_string_equal(reason, rows[i].reason);
                assert_true(!t.access_token && !t.refresh_token && !t.scope);
        }
}

static void life_is_a_number_or_a_decimal_string_or_not_told(void **state) {
        static const struct {
                const char *value;
                uint64_t seconds;
        } rows[] = {
                { "3600", 3600 },
                { "\"3600\"", 3600 },
                { "1", 1 },
                { "315360000", 315360000 },
                { "0", 0 },
                { "-5", 0 },
                { "\"-5\"", 0 },
                { "\"\"", 0 },
                { "\"soon\"", 0 },
                { "\"3600s\"", 0 },
                { "\"99999999999999999999\"", 0 },
                { "315360001", 0 },
                { "9223372036854775807", 0 },
                { "null", 0 },
                { "true", 0 },
                { "{}", 0 },
                { "[3600]", 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(freep) char *text = NULL, *reason = NULL;
                TokenAnswer t = {};

                assert_true(asprintf(&text, "{\"access_token\":\"at\",\"expires_in\":%s}", rows[i].value) >
                                0);
                assert_int_equal(parse_token(text, &t, &reason), 0);
                uint64_t expected = rows[i].seconds > 0 ? NOW + rows[i].seconds * USEC_PER_SEC : 0;
                if (t.expires_usec != expected)
                        fail_msg("expires_in %s: got %" PRIu64, rows[i].value, t.expires_usec);
                token_answer_done(&t);
        }
}

/* Parses a copy of exactly that size; returns the result's member "x", 0 when there is no result. */
static int64_t parse_mcp(const char *text, size_t n, bool is_stream) {
        _cleanup_(freep) char *copy = strndup(text, n);
        _cleanup_(json_putp) json_object *result = NULL;
        int64_t x = 0;
        int r;

        assert_non_null(copy);
        r = mcp_answer_parse(copy, n, is_stream, 2, &result);
        assert_true(r == 0 || r == FAILED);
        assert_true((r == 0) == (result != NULL));
        if (result)
                assert_int_equal(json_get_int64(result, "x", &x), 0);
        return x;
}

#define RESULT "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"x\":5}}"
#define OTHER  "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"x\":9}}"
#define NOTICE "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}"

static void result_of_our_request_is_found(void **state) {
        static const struct {
                bool is_stream;
                const char *text;
        } rows[] = {
                { false, RESULT },
                { false, " " RESULT "\r\n" },
                { true, "data: " RESULT "\n\n" },
                { true, "data:" RESULT "\n\n" },
                { true, "event: message\nid: 7\nretry: 10\ndata: " RESULT "\n\n" },
                { true, "event: message\r\ndata: " RESULT "\r\n\r\n" },
                { true, ": a comment\n\ndata: " NOTICE "\n\ndata: " OTHER "\n\ndata: " RESULT "\n\n" },
                { true, "data: " NOTICE "\r\n\r\ndata: " RESULT "\r\n\r\n" },
                { true, "data: {\"jsonrpc\":\"2.0\",\ndata: \"id\":2,\ndata:  \"result\":{\"x\":5}}\n\n" },
                { true, "data: {\"jsonrpc\":\"2.0\",\r\ndata: \"id\":2,\r\ndata: "
                        "\"result\":{\"x\":5}}\r\n\r\n" },
                { true, "data: no json\n\ndata: " RESULT "\n\n" },
                { true, "data: " RESULT "\n" },
                { true, "data: " RESULT },
                { true, "\n\n\ndata: " RESULT "\n\ndata: " OTHER "\n\n" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                if (parse_mcp(rows[i].text, strlen(rows[i].text), rows[i].is_stream) != 5)
                        fail_msg("not found in: %s", rows[i].text);
}

static void anything_else_is_no_answer(void **state) {
        static const struct {
                bool is_stream;
                const char *text;
        } rows[] = {
                { false, "" },
                { false, OTHER },
                { false, NOTICE },
                { false, "[" RESULT "]" },
                { false, "null" },
                { false, RESULT RESULT },
                { false, "{\"jsonrpc\":\"2.0\",\"id\":\"2\",\"result\":{\"x\":5}}" },
                { false, "{\"jsonrpc\":\"2.0\",\"id\":2.0,\"result\":{\"x\":5}}" },
                { false, "{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":{\"x\":5}}" },
                { false, "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":[]}" },
                { false, "{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":-32601,\"message\":\"no\"}}" },
                { false, "{\"jsonrpc\":\"2.0\",\"id\":2,\"id\":2,\"result\":{\"x\":5}}" },
                { false, "data: " RESULT "\n\n" },
                { true, "" },
                { true, "\n\n" },
                { true, RESULT },
                { true, "data\n\n" },
                { true, "data:\n\n" },
                { true, "date: " RESULT "\n\n" },
                { true, "data: " OTHER "\n\n" },
                { true, " data: " RESULT "\n\n" },
                { true, "data: {\"jsonrpc\":\"2.0\",\"id\":2,\n\ndata: \"result\":{\"x\":5}}\n\n" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                if (parse_mcp(rows[i].text, strlen(rows[i].text), rows[i].is_stream) != 0)
                        fail_msg("a result was seen in: %s", rows[i].text);
}

static void every_truncation_of_a_stream_is_harmless(void **state) {
        static const char whole[] = ": hi\r\n\r\nevent: message\r\ndata: " OTHER
                                    "\r\n\r\ndata: {\"jsonrpc\":\"2.0\",\r\ndata: "
                                    "\"id\":2,\"result\":{\"x\":5}}\r\n\r\n";
        size_t complete = sizeof(whole) - 1 - strlen("\r\n\r\n");

        for (size_t n = 0; n < sizeof(whole); n++)
                assert_int_equal(parse_mcp(whole, n, true), n >= complete ? 5 : 0);
        for (size_t n = 0; n < strlen(RESULT); n++)
                assert_int_equal(parse_mcp(RESULT, n, false), 0);
}

static int setup(void **state) {
        return secret_global_init();
}

/* What is given by hand: nothing that could end a header line, or that a service cannot have meant. */
static void only_a_token_is_taken_for_one(void **state) {
        static const ServiceProfile bearer = { .auth = SERVICE_AUTH_BEARER },
                                    both = { .auth = SERVICE_AUTH_BOTH },
                                    variable = { .auth = SERVICE_AUTH_ENVIRONMENT };
        static const struct {
                const char *text;
                bool is_bearer, is_value;
        } rows[] = {
                { "ghp_0123456789", true, true },
                { "a", true, true },
                { "!~a.b-c_d+e/f==", true, true },
                { "", false, false },
                { "a b", false, true },
                { "gr\xc3\xbcn", false, true },
                { " a", false, false },
                { "a ", false, false },
                { "a\n", false, false },
                { "a\r\nX-Other: b", false, false },
                { "a\tb", false, false },
                { "a\x1b[2J", false, false },
                { "a\x7f", false, false },
        };
        char longest[TOKEN_SIZE_MAX + 2];

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                if (token_is_legal(&bearer, rows[i].text) != rows[i].is_bearer ||
                                token_is_legal(&both, rows[i].text) != rows[i].is_bearer ||
                                token_is_legal(&variable, rows[i].text) != rows[i].is_value)
                        fail_msg("row %zu", i);
        memset(longest, 'x', sizeof(longest));
        longest[TOKEN_SIZE_MAX + 1] = 0;
        assert_false(token_is_legal(&bearer, longest));
        assert_false(token_is_legal(&variable, longest));
        longest[TOKEN_SIZE_MAX] = 0;
        assert_true(token_is_legal(&bearer, longest));
        assert_true(token_is_legal(&variable, longest));
}

/* What a server says of an error is shown to agents too, and stands in the journal. */
static void error_that_repeats_the_token_is_not_told(void **state) {
        static const struct {
                const char *text, *token;
                bool is_told;
        } rows[] = {
                { "the token ntn_0123456789abcdef is revoked", "ntn_0123456789abcdef", false },
                { "Bearer ntn_0123456789ab\\/cdefgh is revoked", "ntn_0123456789ab/cdefgh", false },
                { "ntn_0123456789abc... is revoked", "ntn_0123456789abcdefghijkl", false },
                { "ntn_... is revoked", "ntn_0123456789abcdef", true },
                { "short", "short", false },
                { "no such tool", "ntn_0123456789abcdef", true },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(mcp_answer_done) McpAnswer answer = {};
                char body[300];
                int n;

                n = snprintf(body, sizeof(body),
                                "{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":-1,\"message\":\"%s\"}}",
                                rows[i].text);
                assert_int_equal(mcp_answer_read(body, (size_t)n, false, 2, &answer), 0);
                assert_int_equal(mcp_answer_conceal(&answer, rows[i].token), 0);
                if (streq(answer.message, rows[i].text) != rows[i].is_told ||
                                (!rows[i].is_told && strstr(answer.message, "ntn_")))
                        fail_msg("row %zu: %s", i, answer.message);
        }
        assert_int_equal(mcp_answer_conceal(&(McpAnswer){}, "t"), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(token_is_taken),
                cmocka_unit_test(no_is_heard_whatever_the_form),
                cmocka_unit_test(life_is_a_number_or_a_decimal_string_or_not_told),
                cmocka_unit_test(result_of_our_request_is_found),
                cmocka_unit_test(anything_else_is_no_answer),
                cmocka_unit_test(every_truncation_of_a_stream_is_harmless),
                cmocka_unit_test(only_a_token_is_taken_for_one),
                cmocka_unit_test(error_that_repeats_the_token_is_not_told),
        };

        return cmocka_run_group_tests_name("oauth-answers", tests, setup, NULL);
}
