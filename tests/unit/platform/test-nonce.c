/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Exactly one platform vault per local vault, whatever goes wrong in between (V3, T35), against the
 * emulator over TLS. */

#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/platform/support.h"
#include "util/clock.h"
#include "util/fiber.h"

static size_t n_vaults(World *w) {
        size_t n;

        json_object_put(listed(w, "/v1/vaults", &n));
        return n;
}

/* Ensures, and holds that there is one vault, of that id, and that the record says so after a restart
 * too. */
static void ensures_one(World *w) {
        _cleanup_(freep) char *path = NULL, *id = NULL;
        int r = ensure_vault(w, &w->vault);

        if (r != 0)
                print_error("%d: %s\n", r, w->failure.message ?: "-");
        assert_int_equal(r, 0);
        assert_non_null(w->vault->platform_vault_id);
        id = strdup(w->vault->platform_vault_id);
        assert_true(asprintf(&path, "/v1/vaults/%s", id) > 0);
        json_object_put(ask(w, "GET", path, NULL, 200));
        world_restart(w);
        assert_string_equal(w->vault->platform_vault_id, id);
}

static void vault_created_once(void **state) {
        World *w = *state;
        size_t n;

        fault(w, "");
        ensures_one(w);
        assert_int_equal(ensure_vault(w, &w->vault), 0);
        assert_int_equal(n_vaults(w), 1);
        assert_int_equal(asked(w, "POST", "/v1/vaults"), 1);

        json_object *list = listed(w, "/v1/vaults", &n), *vault = json_object_array_get_idx(list, 0);
        assert_string_equal(json_string(vault, "display_name"), "vaultd " HOST "/alice");
        assert_string_equal(object_metadata(vault, "vaultd_nonce"), w->vault->platform_nonce);
        assert_int_equal(strlen(w->vault->platform_nonce), 32);
        json_object_put(list);
}

static void nonce_is_durable_before_the_create(void **state) {
        World *w = *state;
        _cleanup_(vault_freep) Vault *stored = NULL;

        /* Nothing can be sent: what is left in the store is what was written before. A refusal would
         * take it away again, so it is cut. */
        fault(w, "{\"match\":\"POST /v1/vaults\",\"kind\":\"cut-before-write\",\"times\":-1}");
        assert_int_equal(ensure_vault(w, &w->vault), FAILED);
        assert_platform_failure(w, -1);
        assert_int_equal(vault_record_read(w->fixture->store, w->fixture->keyring, ALICE, &stored), 0);
        assert_non_null(stored->platform_nonce);
        assert_null(stored->platform_vault_id);
        fault(w, "");
        ensures_one(w);
        assert_int_equal(n_vaults(w), 1);
}

static void cut_answer_adopts_not_doubles(void **state) {
        World *w = *state;
        static const char *const kinds[] = { "cut-after-write", "cut-mid-answer", "status-after-write" };

        for (uid_t i = 0; i < ELEMENTSOF(kinds); i++) {
                _cleanup_(vault_freep) Vault *v = world_vault(w, 2000 + i, "carol");
                _cleanup_(freep) char *order = NULL;

                assert_true(asprintf(&order, "{\"match\":\"POST /v1/vaults\",\"kind\":\"%s\"}", kinds[i]) >
                                0);
                fault(w, order);
                assert_int_equal(ensure_vault(w, &v), 0);
                assert_int_equal(asked(w, "POST", "/v1/vaults"), 1);
                assert_int_equal(n_vaults(w), i + 1);
        }
}

static void late_write_is_waited_for(void **state) {
        World *w = *state;

        fault(w, "{\"match\":\"POST /v1/vaults\",\"kind\":\"late-write\",\"seconds\":0.6}");
        ensures_one(w);
        assert_int_equal(asked(w, "POST", "/v1/vaults"), 1);
        assert_int_equal(n_vaults(w), 1);
}

static void request_without_effect_is_sent_again_with_the_same_nonce(void **state) {
        World *w = *state;

        w->config.adopt_wait_usec = 100 * USEC_PER_MSEC;
        fault(w, "{\"match\":\"POST /v1/vaults\",\"kind\":\"cut-before-write\"}");
        ensures_one(w);
        assert_int_equal(asked(w, "POST", "/v1/vaults"), 2);
        assert_int_equal(n_vaults(w), 1);
}

/* Writes the nonce and its time into the record, as a crash after the first commit leaves it. */
static void plant_nonce(World *w, const char *nonce) {
        StoreBatch *batch = batch_new();

        w->vault->platform_nonce = strdup(nonce);
        w->vault->platform_nonce_usec = now_realtime();
        assert_int_equal(vault_record_put(batch, w->fixture->keyring, w->vault), 0);
        assert_int_equal(commit(w->fixture, batch), 0);
        world_restart(w);
}

#define NONCE "00112233445566778899aabbccddeeff"

static void plant_vault(World *w, const char *name, const char *nonce) {
        _cleanup_(freep) char *body = NULL;

        assert_true(asprintf(&body,
                                    "{\"display_name\":\"%s\",\"metadata\":{\"uid\":\"1000\",\"user\":"
                                    "\"alice\"%s%s%s}}",
                                    name, nonce ? ",\"vaultd_nonce\":\"" : "", nonce ?: "",
                                    nonce ? "\"" : "") > 0);
        json_object_put(ask(w, "POST", "/v1/vaults", body, 200));
}

static void decoy_with_the_same_name_and_tags_is_never_adopted(void **state) {
        World *w = *state;
        size_t n;

        /* One from before our nonce, one from after it, both without knowing it; one that guessed. */
        plant_vault(w, "vaultd " HOST "/alice", NULL);
        plant_nonce(w, NONCE);
        plant_vault(w, "vaultd " HOST "/alice", NULL);
        plant_vault(w, "vaultd " HOST "/alice", "ffffffffffffffffffffffffffffffff");
        w->config.adopt_wait_usec = 300 * USEC_PER_MSEC;
        ensures_one(w);
        assert_int_equal(n_vaults(w), 4);

        json_object *list = listed(w, "/v1/vaults", &n);
        for (size_t i = 0; i < n; i++) {
                json_object *vault = json_object_array_get_idx(list, i);

                assert_int_equal(streq(json_string(vault, "id"), w->vault->platform_vault_id),
                                streq_ptr(object_metadata(vault, "vaultd_nonce"), NONCE));
        }
        json_object_put(list);
}

static void vault_with_our_nonce_that_was_used_is_not_adopted(void **state) {
        World *w = *state;
        _cleanup_(freep) char *path = NULL;
        size_t n;

        plant_nonce(w, NONCE);
        plant_vault(w, "x", NONCE);
        json_object *list = listed(w, "/v1/vaults", &n);
        assert_true(asprintf(&path, "/v1/vaults/%s/credentials",
                                    json_string(json_object_array_get_idx(list, 0), "id")) > 0);
        json_object_put(list);
        json_object_put(ask(w, "POST", path,
                        "{\"auth\":{\"type\":\"static_bearer\",\"mcp_server_url\":\"https://evil.test/"
                        "mcp\",\"token\":\"t\"}}",
                        200));
        w->config.adopt_wait_usec = 300 * USEC_PER_MSEC;
        ensures_one(w);
        assert_null(strstr(path, w->vault->platform_vault_id));
}

static void archived_vault_with_our_nonce_is_not_adopted(void **state) {
        World *w = *state;
        _cleanup_(freep) char *path = NULL;
        size_t n;

        plant_nonce(w, NONCE);
        plant_vault(w, "x", NONCE);
        json_object *list = listed(w, "/v1/vaults", &n);
        assert_true(asprintf(&path, "/v1/vaults/%s/archive",
                                    json_string(json_object_array_get_idx(list, 0), "id")) > 0);
        json_object_put(list);
        json_object_put(ask(w, "POST", path, NULL, 200));
        w->config.adopt_wait_usec = 300 * USEC_PER_MSEC;
        ensures_one(w);
        assert_null(strstr(path, w->vault->platform_vault_id));
}

static void vault_from_before_the_nonce_is_not_adopted(void **state) {
        World *w = *state;
        StoreBatch *batch = batch_new();

        plant_vault(w, "x", NONCE);
        w->vault->platform_nonce = strdup(NONCE);
        w->vault->platform_nonce_usec = now_realtime() +
                                        3600 * USEC_PER_SEC; /* the vault there is an hour older than that */
        assert_int_equal(vault_record_put(batch, w->fixture->keyring, w->vault), 0);
        assert_int_equal(commit(w->fixture, batch), 0);
        world_restart(w);
        w->config.adopt_wait_usec = 300 * USEC_PER_MSEC;
        ensures_one(w);
        assert_int_equal(n_vaults(w), 2);
}

static void two_vaults_with_our_nonce_are_refused(void **state) {
        World *w = *state;
        size_t n;

        plant_nonce(w, NONCE);
        plant_vault(w, "vaultd " HOST "/alice", NONCE);
        plant_vault(w, "vaultd " HOST "/alice", NONCE);
        assert_int_equal(ensure_vault(w, &w->vault), FAILED);
        assert_platform_failure(w, -1);
        assert_null(w->vault->platform_vault_id);
        assert_int_equal(n_vaults(w), 2);

        json_object *list = listed(w, "/v1/vaults", &n);
        for (size_t i = 0; i < n; i++)
                assert_non_null(strstr(
                                w->failure.message, json_string(json_object_array_get_idx(list, i), "id")));
        json_object_put(list);
}

static void ours_is_found_behind_a_page_of_others(void **state) {
        World *w = *state;

        plant_nonce(w, NONCE);
        plant_vault(w, "ours", NONCE);
        for (unsigned i = 0; i < 120; i++)
                plant_vault(w, "another", NULL);
        fault(w, "");
        ensures_one(w);
        assert_int_equal(asked(w, "POST", "/v1/vaults"), 0);
}

static void refusal_is_clear_and_leaves_no_nonce(void **state) {
        World *w = *state;
        static const int statuses[] = { 400, 401, 403, 409, 429 };

        for (size_t i = 0; i < ELEMENTSOF(statuses); i++) {
                _cleanup_(freep) char *order = NULL;

                assert_true(asprintf(&order,
                                            "{\"match\":\"POST "
                                            "/v1/vaults\",\"kind\":\"status\",\"status\":%d%s}",
                                            statuses[i],
                                            statuses[i] == 429 ? ",\"retry_after\":17" : "") > 0);
                fault(w, order);
                assert_int_equal(ensure_vault(w, &w->vault), FAILED);
                assert_platform_failure(w, statuses[i]);
                assert_int_equal(w->failure.retry_after, statuses[i] == 429 ? 17 : -1);
                if (statuses[i] == 429)
                        assert_string_equal(w->failure.hint, "Try again in 17 seconds");
                assert_int_equal(asked(w, "POST", "/v1/vaults"), 1);
                assert_int_equal(asked(w, "GET", "/v1/vaults"), 0);
                world_restart(w);
                assert_null(w->vault->platform_nonce);
                assert_null(w->vault->platform_vault_id);
        }
        fault(w, "");
        ensures_one(w);
        assert_int_equal(n_vaults(w), 1);
}

static void create_is_not_repeated_when_the_platform_is_busy(void **state) {
        World *w = *state;

        fault(w, "{\"match\":\"POST "
                 "/v1/"
                 "vaults\",\"kind\":\"status\",\"status\":429,\"retry_after\":1,\"should_retry\":true,"
                 "\"times\":-1}");
        assert_int_equal(ensure_vault(w, &w->vault), FAILED);
        assert_platform_failure(w, 429);
        assert_int_equal(asked(w, "POST", "/v1/vaults"), 1);
        fault(w, "");
}

static void server_fault_is_clear_and_heals(void **state) {
        World *w = *state;

        w->config.adopt_wait_usec = 100 * USEC_PER_MSEC;
        fault(w, "{\"match\":\"POST /v1/vaults\",\"kind\":\"status\",\"status\":500,\"times\":-1}");
        assert_int_equal(ensure_vault(w, &w->vault), FAILED);
        assert_platform_failure(w, 500);
        assert_int_equal(asked(w, "POST", "/v1/vaults"), 2);
        assert_null(w->vault->platform_vault_id);
        assert_int_equal(n_vaults(w), 0);
        fault(w, "");
        world_restart(w);
        ensures_one(w);
        assert_int_equal(n_vaults(w), 1);
}

static void wrong_key_is_not_shown(void **state) {
        World *w = *state;

        (void)secret_free(w->key);
        w->key = secret_of("sk-ant-canary-wrong");
        w->platform = platform_free(w->platform);
        world_restart(w);
        assert_int_equal(ensure_vault(w, &w->vault), FAILED);
        assert_platform_failure(w, 401);
}

static void reads_are_repeated_while_the_platform_is_busy(void **state) {
        World *w = *state;
        uint64_t begin_usec;

        plant_nonce(w, NONCE);
        plant_vault(w, "ours", NONCE);
        w->config.adopt_wait_usec = 0;
        fault(w, "{\"match\":\"GET "
                 "/v1/vaults\",\"kind\":\"status\",\"status\":429,\"retry_after\":1},{\"match\":\"GET "
                 "/v1/vaults\",\"kind\":\"cut-before-write\"}");
        begin_usec = now_monotonic();
        assert_int_equal(ensure_vault(w, &w->vault), 0);
        assert_true(now_monotonic() - begin_usec >= USEC_PER_SEC);
        assert_int_equal(asked(w, "GET", "/v1/vaults"), 3);
        assert_int_equal(asked(w, "POST", "/v1/vaults"), 0);
}

static void platform_that_cannot_be_reached_is_a_failure(void **state) {
        World *w = *state;

        /* Port 9 of loopback is allowed here and nobody listens. */
        w->platform = platform_free(w->platform);
        w->http = http_free(w->http);
        free(w->config.platform_url);
        w->config.platform_url = strdup("https://127.0.0.1:9");
        assert_int_equal(
                        http_new(w->fixture->event,
                                        &(HttpOptions){ .allow_private =
                                                                        (const char *const[]){ "127.0.0.1:9",
                                                                                        NULL },
                                                        .user_agent = "t" },
                                        &w->http),
                        0);
        assert_int_equal(platform_new(&(PlatformOptions){ w->http, w->fixture->store, w->fixture->keyring,
                                                      &w->config, w->key, HOST },
                                         &w->platform),
                        0);
        assert_int_equal(ensure_vault(w, &w->vault), FAILED);
        assert_platform_failure(w, -1);
        assert_non_null(strstr(w->failure.message, "refused"));
        assert_null(w->vault->platform_nonce); /* it certainly never left this host */
}

/* Two connects of one user at once. */
typedef struct Both {
        Vault *vaults[2];
        unsigned n_done;
        int results[2];
        Failure failures[2];
        World *world;
} Both;

static int both_entry(Both *b, size_t i) {
        b->results[i] = platform_ensure_vault(b->world->platform, &b->vaults[i], &b->failures[i]);
        return 0;
}
static int both_first(void *userdata) {
        return both_entry(userdata, 0);
}
static int both_second(void *userdata) {
        return both_entry(userdata, 1);
}
static void both_done(int result, void *userdata) {
        ((Both *)userdata)->n_done++;
}

static void two_at_once_make_one(void **state) {
        World *w = *state;
        Both b = { .world = w };

        fault(w, "{\"match\":\"POST /v1/vaults\",\"kind\":\"slow\",\"seconds\":0.2}");
        for (size_t i = 0; i < 2; i++) {
                assert_int_equal(vault_record_read(w->fixture->store, w->fixture->keyring, ALICE,
                                                 &b.vaults[i]),
                                0);
                assert_int_equal(fiber_spawn(w->fixture->event, i ? both_second : both_first, both_done, &b,
                                                 NULL),
                                0);
        }
        while (b.n_done < 2)
                assert_true(sd_event_run(w->fixture->event, UINT64_MAX) >= 0);
        assert_int_equal(b.results[0], 0);
        assert_int_equal(b.results[1], 0);
        assert_string_equal(b.vaults[0]->platform_vault_id, b.vaults[1]->platform_vault_id);
        assert_int_equal(asked(w, "POST", "/v1/vaults"), 1);
        for (size_t i = 0; i < 2; i++)
                (void)vault_free(b.vaults[i]);
}

static void cancelled_while_waiting_in_line(void **state) {
        World *w = *state;
        Both b = { .world = w };
        Fiber *second;

        fault(w, "{\"match\":\"POST /v1/vaults\",\"kind\":\"slow\",\"seconds\":0.3}");
        for (size_t i = 0; i < 2; i++)
                assert_int_equal(vault_record_read(w->fixture->store, w->fixture->keyring, ALICE,
                                                 &b.vaults[i]),
                                0);
        assert_int_equal(fiber_spawn(w->fixture->event, both_first, both_done, &b, NULL), 0);
        assert_int_equal(fiber_spawn(w->fixture->event, both_second, both_done, &b, &second), 0);
        for (unsigned i = 0; i < 6; i++)
                assert_true(sd_event_run(w->fixture->event, 0) >= 0);
        fiber_cancel(second);
        while (b.n_done < 2)
                assert_true(sd_event_run(w->fixture->event, UINT64_MAX) >= 0);
        assert_int_equal(b.results[0], 0);
        assert_int_equal(b.results[1], -ECANCELED);
        assert_null(w->platform->gates);
        for (size_t i = 0; i < 2; i++)
                (void)vault_free(b.vaults[i]);
}

/* A child does the work and is killed while the answer is on its way: the vault exists, its id is
 * written nowhere. */
static void kill_between_create_and_record(World *w) {
        unsigned tries = 0;
        int status;
        pid_t pid;

        fault(w, "{\"match\":\"POST /v1/vaults\",\"kind\":\"slow\",\"seconds\":30}");
        world_close(w);
        pid = fork();
        if (pid == 0) {
                w->fixture->event = NULL; /* a loop does not survive a fork */
                if (sd_event_new(&w->fixture->event) < 0)
                        _exit(90);
                world_open(w);
                (void)ensure_vault(w, &w->vault);
                _exit(91);
        }
        assert_true(pid > 0);
        world_ask_only(w);
        while (n_vaults(w) == 0 && tries++ < 200)
                (void)usleep(50000);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        w->http = http_free(w->http);

        world_open(w);
        assert_non_null(w->vault->platform_nonce);
        assert_null(w->vault->platform_vault_id);
        assert_int_equal(n_vaults(w), 1);
        fault(w, "");
}

static void kill_between_create_and_record_recovers(void **state) {
        World *w = *state;

        kill_between_create_and_record(w);
        ensures_one(w);
        assert_int_equal(asked(w, "POST", "/v1/vaults"), 0);
}

static void start_up_finishes_what_the_kill_left(void **state) {
        World *w = *state;

        kill_between_create_and_record(w);
        assert_int_equal(recover(w), 0);
        world_restart(w);
        assert_non_null(w->vault->platform_vault_id);
        assert_int_equal(asked(w, "POST", "/v1/vaults"), 0);
}

static void start_up_creates_nothing(void **state) {
        World *w = *state;

        plant_nonce(w, NONCE);
        w->config.adopt_wait_usec = 300 * USEC_PER_MSEC;
        fault(w, "");
        assert_int_equal(recover(w), 0);
        assert_int_equal(asked(w, "POST", "/v1/vaults"), 0);
        world_restart(w);
        assert_string_equal(w->vault->platform_nonce, NONCE);
        ensures_one(w);
}

static void unknown_response_fields_are_ignored(void **state) {
        World *w = *state;

        option(w, "{\"extra-fields\":true}");
        plant_nonce(w, NONCE);
        plant_vault(w, "ours", NONCE);
        ensures_one(w);
        assert_int_equal(n_vaults(w), 1);
        option(w, "{\"extra-fields\":false}");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(vault_created_once),
                TEST(nonce_is_durable_before_the_create),
                TEST(cut_answer_adopts_not_doubles),
                TEST(late_write_is_waited_for),
                TEST(request_without_effect_is_sent_again_with_the_same_nonce),
                TEST(decoy_with_the_same_name_and_tags_is_never_adopted),
                TEST(vault_with_our_nonce_that_was_used_is_not_adopted),
                TEST(archived_vault_with_our_nonce_is_not_adopted),
                TEST(vault_from_before_the_nonce_is_not_adopted),
                TEST(two_vaults_with_our_nonce_are_refused),
                TEST(ours_is_found_behind_a_page_of_others),
                TEST(refusal_is_clear_and_leaves_no_nonce),
                TEST(create_is_not_repeated_when_the_platform_is_busy),
                TEST(server_fault_is_clear_and_heals),
                TEST(wrong_key_is_not_shown),
                TEST(reads_are_repeated_while_the_platform_is_busy),
                TEST(platform_that_cannot_be_reached_is_a_failure),
                TEST(two_at_once_make_one),
                TEST(cancelled_while_waiting_in_line),
                TEST(kill_between_create_and_record_recovers),
                TEST(start_up_finishes_what_the_kill_left),
                TEST(start_up_creates_nothing),
                TEST(unknown_response_fields_are_ignored),
        };

        return cmocka_run_group_tests(tests, emulator_start, server_stop);
}
