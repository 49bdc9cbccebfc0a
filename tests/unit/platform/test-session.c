/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Agent sessions: bound to exactly one vault, with an agent whose tools are off but for what policy
 * names (S1, S3), against the emulator. */

#include "tests/unit/platform/support.h"
#include "util/clock.h"

typedef struct Scene {
        const ServiceProfile *services[2];
        const ServerPolicy *policies[2];
        const Credential *credentials[2];
        Credential *owned[2];
        SessionPlan plan;
} Scene;

static void scene_init(World *w, Scene *s, bool is_reversed) {
        assert_int_equal(ensure_vault(w, &w->vault), 0);
        for (size_t i = 0; i < 2; i++) {
                size_t j = is_reversed ? 1 - i : i;

                s->services[i] = &w->services[j];
                s->policies[i] = &w->policies[j];
                if (!s->owned[i])
                        s->owned[i] = world_credential(w, w->services[j].name, CUSTODY_MIRROR);
                s->credentials[i] = s->owned[i];
        }
        s->plan = (SessionPlan){ s->services, s->policies, s->credentials, 2, w->config.platform_model };
}

static void scene_done(Scene *s) {
        for (size_t i = 0; i < 2; i++)
                (void)credential_free(s->owned[i]);
}

static json_object *session_there(World *w, const char *id) {
        _cleanup_(freep) char *path = NULL;

        assert_true(asprintf(&path, "/v1/sessions/%s", id) > 0);
        return ask(w, "GET", path, NULL, 200);
}

static size_t n_of(World *w, const char *path) {
        size_t n;

        json_object_put(listed(w, path, &n));
        return n;
}

static size_t n_records(World *w) {
        AgentSession **list = NULL;
        size_t n = 0;

        assert_int_equal(agent_session_record_list(w->fixture->store, ALICE, &list, &n), 0);
        agent_session_list_free(list, n);
        return n;
}

/* Starts, and holds that one record stands for it, under the platform's id. */
static AgentSession *starts(World *w, const Scene *s, const char *message) {
        AgentSession *session = NULL, *stored = NULL;
        int r = start_session(w, &s->plan, message, &session);

        if (r != 0)
                print_error("%d: %s\n", r, w->failure.message ?: "-");
        assert_int_equal(r, 0);
        assert_non_null(startswith(session->id, "sesn_"));
        assert_int_equal(agent_session_record_read(w->fixture->store, ALICE, session->id, &stored), 0);
        assert_string_equal(stored->platform_vault_id, w->vault->platform_vault_id);
        (void)agent_session_free(stored);
        return session;
}

static void session_bound_to_exactly_one_vault(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};
        _cleanup_(agent_session_freep) AgentSession *session = NULL;
        _cleanup_(vault_freep) Vault *bob = world_vault(w, BOB, "bob");
        json_object *there, *vaults;

        assert_int_equal(ensure_vault(w, &bob), 0);
        scene_init(w, &s, false);
        session = starts(w, &s, NULL);
        there = session_there(w, session->id);
        assert_int_equal(json_get_array(there, "vault_ids", &vaults), 0);
        assert_int_equal(json_object_array_length(vaults), 1);
        assert_string_equal(json_object_get_string(json_object_array_get_idx(vaults, 0)),
                        w->vault->platform_vault_id);
        assert_string_not_equal(w->vault->platform_vault_id, bob->platform_vault_id);
        assert_string_equal(json_string(there, "status"), "idle");
        assert_string_equal(json_string(there, "title"), "a title");
        json_object_put(there);

        assert_int_equal(session->uid, ALICE);
        assert_string_equal(session->servers[0], "jira");
        assert_string_equal(session->servers[1], "notion");
        assert_string_equal(session->accounts[1], "alice@test");
        assert_null(session->accounts[2]);
        assert_int_equal(n_records(w), 1);
}

static void message_starts_it(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};
        _cleanup_(agent_session_freep) AgentSession *session = NULL;
        _cleanup_(freep) char *path = NULL;
        json_object *events;

        scene_init(w, &s, false);
        session = starts(w, &s, "say \"hi\"\n");
        assert_true(asprintf(&path, "/v1/sessions/%s/events", session->id) > 0);
        events = ask(w, "GET", path, NULL, 200);
        assert_non_null(strstr(json_text(events), "\"user.message\""));
        assert_non_null(strstr(json_text(events), "say \\\"hi\\\"\\n"));
        json_object_put(events);
}

static json_object *element(json_object *object, const char *array, size_t i, size_t n) {
        json_object *list;

        assert_int_equal(json_get_array(object, array, &list), 0);
        assert_int_equal(json_object_array_length(list), n);
        return json_object_array_get_idx(list, i);
}

static void assert_switched(json_object *config, bool is_enabled, const char *policy) {
        json_object *object;
        bool enabled;

        assert_int_equal(json_get_bool(config, "enabled", &enabled), 0);
        assert_int_equal(enabled, is_enabled);
        if (policy) {
                assert_int_equal(json_get_object(config, "permission_policy", &object), 0);
                assert_string_equal(json_string(object, "type"), policy);
        }
}

static void agent_tools_are_off_by_default(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};
        _cleanup_(agent_session_freep) AgentSession *session = NULL;
        json_object *there, *agent, *tools, *object;

        scene_init(w, &s, false);
        session = starts(w, &s, NULL);
        there = session_there(w, session->id);
        assert_int_equal(json_get_object(there, "agent", &agent), 0);
        assert_string_equal(json_string(agent, "name"), "vaultd: jira, notion");

        /* The built-in toolset: all off. */
        tools = element(agent, "tools", 0, 3);
        assert_string_equal(json_string(tools, "type"), "agent_toolset_20260401");
        assert_int_equal(json_get_object(tools, "default_config", &object), 0);
        assert_switched(object, false, NULL);
        assert_int_equal(json_get_array(tools, "configs", &object), 0);
        assert_int_equal(json_object_array_length(object), 0);

        /* Notion: search on, fetch (in both lists) and create asked about, wipe denied and so not there;
         * the rest off. */
        tools = element(agent, "tools", 2, 3);
        assert_string_equal(json_string(tools, "mcp_server_name"), "notion");
        assert_int_equal(json_get_object(tools, "default_config", &object), 0);
        assert_switched(object, false, "always_ask");
        static const struct {
                const char *name, *policy;
        } expected[] = { { "search", "always_allow" }, { "fetch", "always_ask" },
                { "create", "always_ask" } };
        for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
                object = element(tools, "configs", i, ELEMENTSOF(expected));
                assert_string_equal(json_string(object, "name"), expected[i].name);
                assert_switched(object, true, expected[i].policy);
        }
        json_object_put(there);
}

static void server_without_policy_has_no_tool(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};
        _cleanup_(agent_session_freep) AgentSession *session = NULL;
        json_object *there, *agent, *object;

        scene_init(w, &s, false);
        s.policies[0] = s.policies[1] = NULL;
        session = starts(w, &s, NULL);
        there = session_there(w, session->id);
        assert_int_equal(json_get_object(there, "agent", &agent), 0);
        for (size_t i = 1; i < 3; i++) {
                assert_int_equal(json_get_object(element(agent, "tools", i, 3), "default_config", &object),
                                0);
                assert_switched(object, false, NULL);
                assert_int_equal(json_get_array(element(agent, "tools", i, 3), "configs", &object), 0);
                assert_int_equal(json_object_array_length(object), 0);
        }
        json_object_put(there);
}

static void network_is_limited_to_the_mcp_servers(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};
        _cleanup_(agent_session_freep) AgentSession *session = NULL;
        json_object *list, *config, *networking, *hosts;
        bool allowed;
        size_t n;

        scene_init(w, &s, false);
        session = starts(w, &s, NULL);
        list = listed(w, "/v1/environments", &n);
        assert_int_equal(n, 1);
        assert_string_equal(json_string(json_object_array_get_idx(list, 0), "id"), session->environment_id);
        assert_int_equal(json_get_object(json_object_array_get_idx(list, 0), "config", &config), 0);
        assert_int_equal(json_get_object(config, "networking", &networking), 0);
        assert_string_equal(json_string(networking, "type"), "limited");
        assert_int_equal(json_get_bool(networking, "allow_mcp_servers", &allowed), 0);
        assert_true(allowed);
        assert_int_equal(json_get_bool(networking, "allow_package_managers", &allowed), 0);
        assert_false(allowed);
        assert_int_equal(json_get_array(networking, "allowed_hosts", &hosts), 0);
        assert_int_equal(json_object_array_length(hosts), 0);
        json_object_put(list);
}

static void same_servers_share_agent_and_environment(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {}, reversed = {};
        char *more[] = { (char *)"search", (char *)"edit", NULL };

        scene_init(w, &s, false);
        (void)agent_session_free(starts(w, &s, NULL));
        world_restart(w);
        s.plan.model = w->config.platform_model;
        (void)agent_session_free(starts(w, &s, NULL));
        SessionPlan plan = s.plan;
        const ServiceProfile *services[] = { s.services[1], s.services[0] };
        const ServerPolicy *policies[] = { s.policies[1], s.policies[0] };
        plan.services = services;
        plan.policies = policies;
        reversed.plan = plan;
        (void)agent_session_free(starts(w, &reversed, NULL));
        assert_int_equal(n_of(w, "/v1/agents"), 1);
        assert_int_equal(n_of(w, "/v1/environments"), 1);
        assert_int_equal(n_of(w, "/v1/sessions"), 3);

        /* Another policy is another agent. */
        w->policies[0].tools = more;
        (void)agent_session_free(starts(w, &s, NULL));
        assert_int_equal(n_of(w, "/v1/agents"), 2);
}

static void session_keeps_the_version_that_we_made(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};
        _cleanup_(agent_session_freep) AgentSession *first = NULL, *second = NULL;
        _cleanup_(freep) char *path = NULL;
        json_object *there, *agent, *object;

        scene_init(w, &s, false);
        first = starts(w, &s, NULL);
        assert_true(asprintf(&path, "/v1/agents/%s", first->agent_id) > 0);
        json_object_put(ask(w, "POST", path,
                        "{\"mcp_servers\":[],\"tools\":[{\"type\":\"agent_toolset_20260401\",\"default_"
                        "config\":{\"enabled\":true}}]}",
                        200));
        second = starts(w, &s, NULL);
        assert_int_equal(second->agent_version, 1);
        there = session_there(w, second->id);
        assert_int_equal(json_get_object(there, "agent", &agent), 0);
        assert_int_equal(json_get_object(element(agent, "tools", 0, 3), "default_config", &object), 0);
        assert_switched(object, false, NULL);
        json_object_put(there);
}

static void shared_objects_that_are_gone_are_made_anew(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};
        _cleanup_(agent_session_freep) AgentSession *first = NULL, *second = NULL;
        _cleanup_(freep) char *agent = NULL, *environment = NULL;

        scene_init(w, &s, false);
        first = starts(w, &s, NULL);
        assert_true(asprintf(&agent, "/v1/agents/%s/archive", first->agent_id) > 0);
        assert_true(asprintf(&environment, "/v1/environments/%s/archive", first->environment_id) > 0);
        json_object_put(ask(w, "POST", agent, NULL, 200));
        json_object_put(ask(w, "POST", environment, NULL, 200));
        second = starts(w, &s, NULL);
        assert_string_not_equal(second->agent_id, first->agent_id);
        assert_string_not_equal(second->environment_id, first->environment_id);
        assert_int_equal(n_records(w), 2);
}

static void cut_answers_do_not_double(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};
        static const char *const paths[] = { "/v1/agents", "/v1/environments", "/v1/sessions" };

        scene_init(w, &s, false);
        fault(w, "{\"match\":\"POST /v1/agents\",\"kind\":\"cut-after-write\"},{\"match\":\"POST "
                 "/v1/environments\",\"kind\":\"cut-mid-answer\"},"
                 "{\"match\":\"POST /v1/sessions\",\"kind\":\"status-after-write\"}");
        (void)agent_session_free(starts(w, &s, "hello"));
        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                assert_int_equal(asked(w, "POST", paths[i]), 1);
                assert_int_equal(n_of(w, paths[i]), 1);
        }
        assert_int_equal(n_records(w), 1);
}

static void altered_agent_with_our_nonce_is_not_adopted(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};
        _cleanup_(definition_done) Definition d = {};
        _cleanup_(agent_session_freep) AgentSession *session = NULL;
        StoreBatch *batch = batch_new();
        PlatformObject o = { .kind = RECORD_AGENT,
                .nonce = (char *)"00112233445566778899aabbccddeeff",
                .nonce_usec = now_realtime() };
        json_object *planted;

        scene_init(w, &s, false);
        assert_int_equal(agent_definition(&s.plan, &d, &w->failure), 0);
        o.digest = d.digest;
        assert_int_equal(platform_object_record_put(batch, &o), 0);
        assert_int_equal(commit(w->fixture, batch), 0);
        planted = ask(w, "POST", "/v1/agents",
                        "{\"name\":\"vaultd: jira, "
                        "notion\",\"model\":\"claude-opus-4-5\",\"metadata\":{\"vaultd_nonce\":"
                        "\"00112233445566778899aabbccddeeff\"},\"tools\":[{\"type\":\"agent_toolset_"
                        "20260401\"}]}",
                        200);
        w->config.adopt_wait_usec = 200 * USEC_PER_MSEC;
        session = starts(w, &s, NULL);
        assert_string_not_equal(session->agent_id, json_string(planted, "id"));
        json_object_put(planted);
}

static void failures_are_clear_and_leave_no_half_record(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};
        static const char *const paths[] = { "/v1/agents", "/v1/environments", "/v1/sessions" };
        static const int statuses[] = { 400, 401, 409, 429, 500 };
        _cleanup_(agent_session_freep) AgentSession *session = NULL;

        scene_init(w, &s, false);
        w->config.adopt_wait_usec = 50 * USEC_PER_MSEC;
        for (size_t i = 0; i < ELEMENTSOF(paths); i++)
                for (size_t j = 0; j < ELEMENTSOF(statuses); j++) {
                        _cleanup_(freep) char *order = NULL;

                        assert_true(asprintf(&order,
                                                    "{\"match\":\"POST "
                                                    "%s\",\"kind\":\"status\",\"status\":%d,\"times\":-1,"
                                                    "\"retry_after\":9}",
                                                    paths[i], statuses[j]) > 0);
                        fault(w, order);
                        assert_int_equal(start_session(w, &s.plan, NULL, &session), FAILED);
                        assert_platform_failure(w, statuses[j]);
                        assert_int_equal(w->failure.retry_after, 9);
                        assert_int_equal(n_records(w), 0);
                }
        fault(w, "");
        session = starts(w, &s, NULL);
        assert_int_equal(n_records(w), 1);
        assert_int_equal(n_of(w, "/v1/agents"), 1);
        assert_int_equal(n_of(w, "/v1/sessions"), 1);
}

/* Leaves a record "new-…" with this nonce, and on the platform a session of that nonce unless told
 * otherwise. */
static void leave_half(World *w, Scene *s, const char *vault_id, bool is_created) {
        _cleanup_(agent_session_freep) AgentSession *first = NULL;
        StoreBatch *batch = batch_new();
        _cleanup_(freep) char *body = NULL;

        scene_init(w, s, false);
        first = starts(w, s, NULL);
        AgentSession half = *first;
        half.stored = (Buffer){};
        half.nonce = (char *)"00112233445566778899aabbccddeeff";
        half.id = (char *)"new-00112233445566778899aabbccddeeff";
        half.created_usec = now_realtime();
        assert_int_equal(agent_session_record_put(batch, &half), 0);
        assert_int_equal(commit(w->fixture, batch), 0);
        assert_true(asprintf(&body,
                                    "{\"agent\":{\"type\":\"agent\",\"id\":\"%s\",\"version\":1},"
                                    "\"environment_id\":\"%s\",\"vault_ids\":[\"%s\"],"
                                    "\"metadata\":{\"vaultd_nonce\":\"%s\"}}",
                                    half.agent_id, half.environment_id,
                                    vault_id ?: w->vault->platform_vault_id, half.nonce) > 0);
        if (is_created)
                json_object_put(ask(w, "POST", "/v1/sessions", body, 200));
        world_restart(w);
        s->plan.model = w->config.platform_model;
}

static void assert_all_finished(World *w, size_t expected) {
        AgentSession **list = NULL;
        size_t n = 0;

        assert_int_equal(agent_session_record_list(w->fixture->store, ALICE, &list, &n), 0);
        assert_int_equal(n, expected);
        for (size_t i = 0; i < n; i++)
                assert_non_null(startswith(list[i]->id, "sesn_"));
        agent_session_list_free(list, n);
}

static void start_up_keeps_a_session_that_is_found(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};

        leave_half(w, &s, NULL, true);
        assert_int_equal(recover(w), 0);
        assert_all_finished(w, 2);
}

static void start_up_forgets_a_session_that_is_not_there(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};

        leave_half(w, &s, NULL, false);
        assert_int_equal(n_records(w), 2);
        assert_int_equal(recover(w), 0);
        assert_int_equal(n_records(w), 1);
        assert_int_equal(n_of(w, "/v1/sessions"), 1);
}

static void start_up_keeps_what_it_cannot_ask_about(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};

        leave_half(w, &s, NULL, false);
        fault(w, "{\"match\":\"GET /v1/sessions\",\"kind\":\"status\",\"status\":401,\"times\":-1}");
        assert_int_equal(recover(w), FAILED);
        assert_int_equal(n_records(w), 2);
        fault(w, "");
}

static void next_start_finishes_what_was_left(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};

        leave_half(w, &s, NULL, true);
        (void)agent_session_free(starts(w, &s, NULL));
        assert_all_finished(w, 3);
        assert_int_equal(n_of(w, "/v1/sessions"), 3);
}

static void session_of_another_vault_is_ended(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};
        _cleanup_(vault_freep) Vault *bob = world_vault(w, BOB, "bob");
        json_object *list;
        size_t n, archived = 0;

        assert_int_equal(ensure_vault(w, &bob), 0);
        leave_half(w, &s, bob->platform_vault_id, true);
        assert_int_equal(recover(w), FAILED);
        assert_int_equal(n_records(w), 1);
        list = listed(w, "/v1/sessions", &n);
        for (size_t i = 0; i < n; i++)
                archived += object_is_archived(json_object_array_get_idx(list, i));
        json_object_put(list);
        assert_int_equal(n, 2);
        assert_int_equal(archived, 1);
}

static void credential_of_another_user_is_refused(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};
        AgentSession *session = NULL;

        scene_init(w, &s, false);
        s.owned[1]->uid = BOB;
        fault(w, "");
        assert_int_equal(start_session(w, &s.plan, NULL, &session), -EPERM);
        assert_int_equal(asked(w, "POST", "/v1/sessions"), 0);
}

static int on_status(World *w, void *userdata) {
        void **arguments = userdata;

        return platform_session_status(w->platform, arguments[0], arguments[1], &w->failure);
}

static void status_is_the_platforms(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};
        _cleanup_(agent_session_freep) AgentSession *session = NULL;
        _cleanup_(freep) char *path = NULL;
        SessionStatus status = {};

        scene_init(w, &s, false);
        session = starts(w, &s, NULL);
        assert_int_equal(run(w, on_status, (void *[]){ session, &status }), 0);
        assert_string_equal(status.status, "idle");
        assert_string_equal(status.title, "a title");
        assert_string_equal(status.vault_ids[0], w->vault->platform_vault_id);
        assert_null(status.vault_ids[1]);
        session_status_done(&status);

        assert_true(asprintf(&path, "/v1/sessions/%s", session->id) > 0);
        json_object_put(ask(w, "DELETE", path, NULL, 200));
        assert_int_equal(run(w, on_status, (void *[]){ session, &status }), FAILED);
        assert_int_equal(w->failure.kind, FAILURE_NOT_FOUND);
}

static void unknown_response_fields_are_ignored(void **state) {
        World *w = *state;
        _cleanup_(scene_done) Scene s = {};

        option(w, "{\"extra-fields\":true}");
        scene_init(w, &s, false);
        (void)agent_session_free(starts(w, &s, NULL));
        option(w, "{\"extra-fields\":false}");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(session_bound_to_exactly_one_vault),
                TEST(message_starts_it),
                TEST(agent_tools_are_off_by_default),
                TEST(server_without_policy_has_no_tool),
                TEST(network_is_limited_to_the_mcp_servers),
                TEST(same_servers_share_agent_and_environment),
                TEST(session_keeps_the_version_that_we_made),
                TEST(shared_objects_that_are_gone_are_made_anew),
                TEST(cut_answers_do_not_double),
                TEST(altered_agent_with_our_nonce_is_not_adopted),
                TEST(failures_are_clear_and_leave_no_half_record),
                TEST(start_up_keeps_a_session_that_is_found),
                TEST(start_up_forgets_a_session_that_is_not_there),
                TEST(start_up_keeps_what_it_cannot_ask_about),
                TEST(next_start_finishes_what_was_left),
                TEST(session_of_another_vault_is_ended),
                TEST(credential_of_another_user_is_refused),
                TEST(status_is_the_platforms),
                TEST(unknown_response_fields_are_ignored),
        };

        return cmocka_run_group_tests(tests, emulator_start, server_stop);
}
