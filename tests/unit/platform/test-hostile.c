/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Answers that the platform never gives (hostile.py): each is a failure that a person can read, none is
 * believed. Also the pure readers. */

#include "tests/unit/platform/support.h"
#include "util/clock.h"
#include "util/encode.h"

static void nonsense_is_a_failure(void **state) {
        World *w = *state;
        static const char *const behaviours[] = {
                "not-json",
                "nothing",
                "array",
                "number",
                "null-members",
                "wrong-types",
                "strings-for-objects",
                "path-in-id",
                "foreign-id",
                "nul-in-id",
                "long-id",
                "duplicate-keys",
                "deep",
                "not-utf8",
                "huge",
        };

        w->config.adopt_wait_usec = 0;
        for (size_t i = 0; i < ELEMENTSOF(behaviours); i++) {
                _cleanup_(vault_freep) Vault *v = world_vault(w, 3000 + (uid_t)i, "dave");

                world_aim(w, behaviours[i]);
                int r = ensure_vault(w, &v);
                if (r != FAILED || v->platform_vault_id)
                        print_error("%s: %d\n", behaviours[i], r);
                assert_int_equal(r, FAILED);
                assert_null(v->platform_vault_id);
                assert_int_equal(w->failure.kind, FAILURE_PLATFORM);
                assert_false(isempty(w->failure.message));
                assert_true(strlen(w->failure.message) < 1024);
                assert_no_secret(w);
        }
}

static void creates_are_bounded(void **state) {
        World *w = *state;

        w->config.adopt_wait_usec = 0;
        world_aim(w, "wrong-types");
        unsigned before = hostile_saw("POST wrong-types /v1/vaults");
        assert_int_equal(ensure_vault(w, &w->vault), FAILED);
        /* Its list cannot be read either: nothing is concluded, so nothing is created again. */
        assert_int_equal(hostile_saw("POST wrong-types /v1/vaults") - before, 1);
}

static void refusals_in_a_strange_form_are_refusals(void **state) {
        World *w = *state;
        static const char *const behaviours[] = { "redirect", "teapot", "bad-error", "terminal" };

        for (size_t i = 0; i < ELEMENTSOF(behaviours); i++) {
                world_aim(w, behaviours[i]);
                assert_int_equal(ensure_vault(w, &w->vault), FAILED);
                assert_int_equal(w->failure.kind, FAILURE_PLATFORM);
                assert_string_equal(w->failure.request_id, "req_1");
                assert_true(w->failure.status == 302 || w->failure.status == 418 ||
                                w->failure.status == 400);
                assert_true(strlen(w->failure.message) < 512);
                for (const char *c = w->failure.message; *c; c++)
                        assert_true((unsigned char)*c >= 0x20);
                assert_null(strstr(w->failure.message, "\u202e"));
                assert_null(w->vault->platform_nonce);
        }
}

static void words_with_the_key_in_them_are_not_repeated(void **state) {
        World *w = *state;

        world_aim(w, "echo");
        assert_int_equal(ensure_vault(w, &w->vault), FAILED);
        assert_int_equal(w->failure.status, 400);
        assert_int_equal(w->failure.retry_after, -1);
        assert_no_secret(w);
}

static void words_about_a_secret_are_not_repeated(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_PLATFORM);

        world_aim(w, "echo-credentials");
        assert_int_equal(put_credential(w, &c), FAILED);
        assert_int_equal(w->failure.status, 400);
        assert_no_secret(w);
        assert_null(strstr(w->failure.message, "mcp_oauth"));
}

static void list_without_end_is_a_failure(void **state) {
        World *w = *state;
        static const char *const behaviours[] = { "endless", "same-cursor" };

        w->config.adopt_wait_usec = 0;
        for (size_t i = 0; i < ELEMENTSOF(behaviours); i++) {
                _cleanup_(vault_freep) Vault *v = world_vault(w, 3100 + (uid_t)i, "dave");

                world_aim(w, behaviours[i]);
                assert_int_equal(ensure_vault(w, &v), FAILED);
                assert_int_equal(w->failure.kind, FAILURE_PLATFORM);
                assert_null(v->platform_vault_id);
        }
        assert_true(hostile_saw("GET endless") <= 1000);
        assert_int_equal(hostile_saw("GET same-cursor"), 2);
}

static void twin_is_adopted_only_when_it_fits(void **state) {
        World *w = *state;
        static const char *const unfit[] = { "twin-archived", "twin-archived-strangely", "twin-without-time",
                "twin-with-a-strange-time", "twin-with-a-strange-id" };

        w->config.adopt_wait_usec = 0;
        for (size_t i = 0; i < ELEMENTSOF(unfit); i++) {
                _cleanup_(vault_freep) Vault *v = world_vault(w, 3200 + (uid_t)i, "dave");

                world_aim(w, unfit[i]);
                if (ensure_vault(w, &v) == 0)
                        print_error("%s\n", unfit[i]);
                assert_null(v->platform_vault_id);
        }
        /* Listed twice, it is still one. */
        world_aim(w, "twin");
        assert_int_equal(ensure_vault(w, &w->vault), 0);
        assert_string_equal(w->vault->platform_vault_id, "vlt_twin");
}

static void session_bound_to_anything_else_is_ended(void **state) {
        World *w = *state;
        static const char *const behaviours[] = { "other-vault", "two-vaults", "no-vaults",
                "vaults-as-text" };
        const ServiceProfile *services[] = { &w->services[0] };
        const SessionPlan plan = { .services = services, .n = 1, .model = w->config.platform_model };
        StoreBatch *batch = batch_new();
        AgentSession **list = NULL, *session = NULL;
        size_t n = 0;

        w->vault->platform_vault_id = strdup("vlt_own");
        assert_int_equal(vault_record_put(batch, w->fixture->keyring, w->vault), 0);
        assert_int_equal(commit(w->fixture, batch), 0);
        for (size_t i = 0; i < ELEMENTSOF(behaviours); i++) {
                char archived[64], interrupted[64];

                world_aim(w, behaviours[i]);
                assert_int_equal(start_session(w, &plan, "hello", &session), FAILED);
                assert_int_equal(w->failure.kind, FAILURE_PLATFORM);
                assert_non_null(strstr(w->failure.message, "other vaults"));
                assert_non_null(strstr(w->failure.message, "ended at once"));
                (void)snprintf(archived, sizeof(archived), "POST %s /v1/sessions/sesn_1/archive",
                                behaviours[i]);
                (void)snprintf(interrupted, sizeof(interrupted), "POST %s /v1/sessions/sesn_1/events",
                                behaviours[i]);
                assert_int_equal(hostile_saw(archived), 2);
                assert_int_equal(hostile_saw(interrupted), 1);
                assert_int_equal(agent_session_record_list(w->fixture->store, ALICE, &list, &n), 0);
                assert_int_equal(n, 0);
                agent_session_list_free(list, n);
        }
}

/* ---- pure ---- */

static void addresses_are_compared_as_the_platform_does(void **state) {
        assert_true(server_url_equal("https://a.test/mcp", "https://A.test:443/mcp/"));
        assert_true(server_url_equal("https://a.test", "https://a.test/"));
        assert_false(server_url_equal("https://a.test/mcp", "https://a.test/MCP"));
        assert_false(server_url_equal("https://a.test/mcp", "https://a.test:8443/mcp"));
        assert_false(server_url_equal("https://a.test/mcp", "https://b.test/mcp"));
        assert_false(server_url_equal("https://a.test/mcp?u=1", "https://a.test/mcp?u=2"));
        assert_false(server_url_equal("https://a.test/mcp", "https://a.test/mcp?u=2"));
        assert_false(server_url_equal("https://a.test/mcp", NULL));
}

static bool covers(const char *sent, const char *answered) {
        _cleanup_(json_putp) json_object *a = NULL, *b = NULL;

        assert_int_equal(json_parse(sent, strlen(sent), &json_limits_wire, &a), 0);
        assert_int_equal(json_parse(answered, strlen(answered), &json_limits_wire, &b), 0);
        return json_covers(a, b);
}

static void definition_is_covered_by_what_says_the_same_and_more(void **state) {
        assert_true(covers("{\"a\":{\"b\":[1,{\"c\":true}]}}",
                        "{\"a\":{\"b\":[1,{\"c\":true,\"d\":null}],\"x\":1},\"y\":2}"));
        assert_true(covers("{\"model\":\"m\"}", "{\"model\":{\"id\":\"m\",\"speed\":\"fast\"}}"));
        assert_true(covers("{\"url\":\"https://a.test/m\"}", "{\"url\":\"https://a.test:443/m/\"}"));
        assert_false(covers("{\"model\":\"m\"}", "{\"model\":{\"id\":\"other\"}}"));
        assert_false(covers("{\"a\":false}", "{\"a\":true}"));
        assert_false(covers("{\"a\":false}", "{}"));
        assert_false(covers("{\"a\":[]}", "{\"a\":[1]}"));
        assert_false(covers("{\"a\":[1,2]}", "{\"a\":[2,1]}"));
        assert_false(covers("{\"a\":1}", "{\"a\":\"1\"}"));
        assert_false(covers("{\"url\":\"https://a.test/m\"}", "{\"url\":\"https://b.test/m\"}"));
}

static void ids_come_from_a_harmless_alphabet(void **state) {
        static const struct {
                const char *json;
                bool is_good;
        } cases[] = {
                { "{\"id\":\"vlt_01Ab-_\"}", true },
                { "{\"id\":\"vlt_\"}", false },
                { "{\"id\":\"vlt_a/b\"}", false },
                { "{\"id\":\"vlt_a?b\"}", false },
                { "{\"id\":\"vlt_a.b\"}", false },
                { "{\"id\":\"sesn_a\"}", false },
                { "{\"id\":7}", false },
                { "{}", false },
                { "{\"id\":\"vlt_a b\"}", false },
                { "{\"id\":\"vlt_a\\r\\nb\"}", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(json_putp) json_object *o = NULL;

                assert_int_equal(json_parse(cases[i].json, strlen(cases[i].json), &json_limits_wire, &o), 0);
                assert_int_equal(object_id(o, "vlt_") != NULL, cases[i].is_good);
        }
}

static void waiting_time_is_whole_seconds_within_a_day(void **state) {
        static const struct {
                const char *header;
                int64_t seconds;
        } cases[] = {
                { "retry-after: 7", 7 },
                { "Retry-After: 0", 0 },
                { "retry-after: 86400", 86400 },
                { "retry-after: 86401", -1 },
                { "retry-after: 99999999999999999999", -1 },
                { "retry-after: -1", -1 },
                { "retry-after: 1.5", -1 },
                { "retry-after: Fri, 31 Dec 1999 23:59:59 GMT", -1 },
                { "x: 7", -1 },
                { "retry-after: ", -1 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char *headers[] = { (char *)(uintptr_t)cases[i].header, NULL };

                assert_int_equal(answer_retry_after(&(HttpResponse){ .status = 429, .headers = headers }),
                                cases[i].seconds);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(nonsense_is_a_failure),
                TEST(creates_are_bounded),
                TEST(refusals_in_a_strange_form_are_refusals),
                TEST(words_with_the_key_in_them_are_not_repeated),
                TEST(words_about_a_secret_are_not_repeated),
                TEST(list_without_end_is_a_failure),
                TEST(twin_is_adopted_only_when_it_fits),
                TEST(session_bound_to_anything_else_is_ended),
                cmocka_unit_test(addresses_are_compared_as_the_platform_does),
                cmocka_unit_test(definition_is_covered_by_what_says_the_same_and_more),
                cmocka_unit_test(ids_come_from_a_harmless_alphabet),
                cmocka_unit_test(waiting_time_is_whole_seconds_within_a_day),
        };

        return cmocka_run_group_tests(tests, hostile_start, server_stop);
}
