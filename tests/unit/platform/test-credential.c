/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Credentials in the user's platform vault: what each custody sends, what is updated and what is made
 * anew (V4), against the emulator. */

#include "tests/unit/platform/support.h"
#include "util/clock.h"

static json_object *credentials(World *w, size_t *ret_n) {
        _cleanup_(freep) char *path = NULL;

        assert_true(asprintf(&path, "/v1/vaults/%s/credentials", w->vault->platform_vault_id) > 0);
        return listed(w, path, ret_n);
}

/* The one active credential of the vault; *ret_archived counts the others. */
static json_object *only_active(World *w, size_t *ret_archived) {
        json_object *list, *found = NULL;
        size_t n;

        list = credentials(w, &n);
        *ret_archived = 0;
        for (size_t i = 0; i < n; i++) {
                json_object *c = json_object_array_get_idx(list, i);

                if (object_is_archived(c)) {
                        (*ret_archived)++;
                        continue;
                }
                assert_null(found);
                found = json_object_get(c);
        }
        json_object_put(list);
        return found;
}

/* Puts, and holds that exactly our credential is active there and the record names it. */
static void puts_one(World *w, Credential **c, size_t archived) {
        _cleanup_(json_putp) json_object *active = NULL;
        size_t n;
        int r = put_credential(w, c);

        if (r != 0)
                print_error("%d: %s\n", r, w->failure.message ?: "-");
        assert_int_equal(r, 0);
        active = only_active(w, &n);
        assert_non_null(active);
        assert_int_equal(n, archived);
        assert_string_equal(json_string(active, "id"), (*c)->platform_credential_id);
        assert_string_equal(object_metadata(active, "vaultd_credential"), (*c)->id);
}

static json_object *auth_of(json_object *credential, const char *member) {
        json_object *auth, *value = NULL;

        assert_int_equal(json_get_object(credential, "auth", &auth), 0);
        (void)json_get_object(auth, member, &value);
        return value;
}

static const char *auth_text(json_object *credential, const char *member) {
        json_object *auth;

        assert_int_equal(json_get_object(credential, "auth", &auth), 0);
        return json_string(auth, member);
}

static bool has_refresh(World *w) {
        size_t n;
        json_object *active = only_active(w, &n);
        bool is_there = auth_of(active, "refresh") != NULL;

        json_object_put(active);
        return is_there;
}

static void mirror_push_has_no_refresh_block(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_MIRROR);

        puts_one(w, &c, 0);
        assert_false(has_refresh(w));
        assert_non_null(c->refresh_token);
        assert_string_equal(secret_text(c->refresh_token), REFRESH_TOKEN);
        /* Nor does an update bring one. */
        puts_one(w, &c, 0);
        assert_false(has_refresh(w));
}

static void platform_custody_forgets_the_refresh_token(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_PLATFORM),
                                               *stored = NULL;
        json_object *active, *refresh;
        size_t n;

        puts_one(w, &c, 0);
        assert_null(c->refresh_token);
        active = only_active(w, &n);
        refresh = auth_of(active, "refresh");
        assert_non_null(refresh);
        assert_string_equal(json_string(refresh, "client_id"), "client-1");
        assert_string_equal(json_string(refresh, "token_endpoint"), "https://auth.test/token");
        json_object_put(active);

        world_restart(w);
        assert_int_equal(credential_record_read(w->fixture->store, w->vault, "notion", "default", &stored),
                        0);
        assert_null(stored->refresh_token);
}

static void platform_owned_grant_is_not_overwritten(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_PLATFORM);
        _cleanup_(freep) char *path = NULL;

        puts_one(w, &c, 0);
        assert_true(asprintf(&path, "/v1/vaults/%s/credentials/%s", w->vault->platform_vault_id,
                                    c->platform_credential_id) > 0);
        fault(w, "");
        puts_one(w, &c, 0);
        assert_int_equal(asked(w, "POST", path), 0);
}

static void platform_owned_grant_that_is_gone_needs_a_new_connection(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_PLATFORM);
        _cleanup_(freep) char *path = NULL;

        puts_one(w, &c, 0);
        assert_true(asprintf(&path, "/v1/vaults/%s/credentials/%s/archive", w->vault->platform_vault_id,
                                    c->platform_credential_id) > 0);
        json_object_put(ask(w, "POST", path, NULL, 200));
        assert_int_equal(put_credential(w, &c), FAILED);
        assert_int_equal(w->failure.kind, FAILURE_NOT_CONNECTED);
        assert_string_equal(w->failure.service, "notion");
        assert_string_equal(w->failure.title, "Notion");
        assert_string_equal(w->failure.hint, "Run: vaultctl connect notion");
        /* The record says so from now on. */
        _cleanup_(credential_freep) Credential *stored = NULL;
        assert_int_equal(credential_record_read(w->fixture->store, w->vault, "notion", "default", &stored),
                        0);
        assert_int_equal(stored->state, CREDENTIAL_NEEDS_RECONNECT);
        assert_non_null(strstr(stored->state_reason, "removed from the Claude Platform"));
}

static void host_custody_sends_nothing(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_HOST);

        fault(w, "");
        assert_int_equal(put_credential(w, &c), FAILED);
        assert_int_equal(w->failure.kind, FAILURE_NOT_ALLOWED);
        assert_int_equal(asked(w, "POST", "/v1/vaults"), 0);
}

static void credential_of_another_user_is_refused(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_MIRROR);

        c->uid = BOB;
        assert_int_equal(put_credential(w, &c), -EPERM);
        assert_int_equal(archive_credential(w, c), -EPERM);
}

static void same_address_is_updated_in_place(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_MIRROR);
        _cleanup_(freep) char *id = NULL;

        puts_one(w, &c, 0);
        id = strdup(c->platform_credential_id);
        puts_one(w, &c, 0);
        assert_string_equal(c->platform_credential_id, id);
}

/* Changes the stored record as a new connection would. */
static void credential_change(World *w, Credential **c, const char *upstream, Custody custody) {
        StoreBatch *batch = batch_new();
        Credential *stored = NULL;

        if (upstream) {
                free((*c)->upstream);
                (*c)->upstream = strdup(upstream);
        }
        (*c)->custody = (int)custody;
        assert_int_equal(credential_record_put(batch, w->vault, *c), 0);
        assert_int_equal(commit(w->fixture, batch), 0);
        assert_int_equal(credential_record_read(
                                         w->fixture->store, w->vault, (*c)->service, "default", &stored),
                        0);
        (void)credential_free(*c);
        *c = stored;
}

static void immutable_url_change_archives_and_creates(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_MIRROR);
        _cleanup_(freep) char *id = NULL;

        puts_one(w, &c, 0);
        id = strdup(c->platform_credential_id);
        credential_change(w, &c, "https://mcp.notion.test/v2", CUSTODY_MIRROR);
        puts_one(w, &c, 1);
        assert_string_not_equal(c->platform_credential_id, id);
}

static void custody_change_archives_and_creates(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_MIRROR);

        puts_one(w, &c, 0);
        credential_change(w, &c, NULL, CUSTODY_PLATFORM);
        puts_one(w, &c, 1);
        assert_true(has_refresh(w));
        assert_null(c->refresh_token);
}

/* Changes the stored record as connecting with a token instead of a grant would. */
static void credential_make_static(World *w, Credential **c, CredentialKind kind, Custody custody) {
        (*c)->kind = kind;
        (*c)->expires_usec = 0;
        (*c)->refresh_token = secret_free((*c)->refresh_token);
        if (kind == CREDENTIAL_ENVIRONMENT) {
                (*c)->variable = strdup("GH_TOKEN");
                (*c)->allowed_hosts = calloc(2, sizeof(char *));
                (*c)->allowed_hosts[0] = strdup("api.github.test");
        }
        credential_change(w, c, NULL, custody);
}

/* The type of what is there cannot be changed. */
static void kind_change_archives_and_creates(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_MIRROR);
        _cleanup_(json_putp) json_object *bearer = NULL, *variable = NULL;
        size_t archived;

        puts_one(w, &c, 0);
        credential_make_static(w, &c, CREDENTIAL_STATIC_BEARER, CUSTODY_MIRROR);
        puts_one(w, &c, 1);
        bearer = only_active(w, &archived);
        assert_string_equal(auth_text(bearer, "type"), "static_bearer");
        assert_string_equal(auth_text(bearer, "mcp_server_url"), c->upstream);
        credential_make_static(w, &c, CREDENTIAL_ENVIRONMENT, CUSTODY_MIRROR);
        puts_one(w, &c, 2);
        variable = only_active(w, &archived);
        assert_string_equal(auth_text(variable, "type"), "environment_variable");
        assert_string_equal(auth_text(variable, "secret_name"), "GH_TOKEN");
        assert_null(auth_text(variable, "mcp_server_url"));
        /* And the same again is an update. */
        puts_one(w, &c, 2);
}

static void platform_custody_forgets_a_static_token(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_MIRROR);
        _cleanup_(freep) char *id = NULL;

        credential_make_static(w, &c, CREDENTIAL_STATIC_BEARER, CUSTODY_PLATFORM);
        puts_one(w, &c, 0);
        assert_null(c->access_token);
        id = strdup(c->platform_credential_id);
        puts_one(w, &c, 0); /* nothing to send, and nothing that has to be */
        assert_string_equal(c->platform_credential_id, id);
}

static void address_written_another_way_is_the_same(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_MIRROR);

        option(w, "{\"stored-url\":\"normalised\"}");
        credential_change(w, &c, "https://MCP.notion.test:443/mcp/", CUSTODY_MIRROR);
        puts_one(w, &c, 0);
        puts_one(w, &c, 0);
        option(w, "{\"stored-url\":\"verbatim\"}");
}

/* The record does not know what the platform has: a crash between create and record. */
static void credential_lost_by_a_crash_is_taken_over(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_PLATFORM);
        Credential *again;
        _cleanup_(freep) char *id = NULL, *path = NULL, *own = strdup(c->id);
        StoreBatch *batch = batch_new();

        puts_one(w, &c, 0);
        id = TAKE_PTR(c->platform_credential_id);
        c->refresh_token = secret_of(REFRESH_TOKEN);
        assert_int_equal(credential_record_put(batch, w->vault, c), 0);
        assert_int_equal(commit(w->fixture, batch), 0);
        assert_int_equal(
                        credential_record_read(w->fixture->store, w->vault, "notion", "default", &again), 0);
        assert_null(again->platform_credential_id);
        /* The platform may have refreshed since: its tokens are not overwritten with ours. */
        assert_true(asprintf(&path, "/v1/vaults/%s/credentials/%s", w->vault->platform_vault_id, id) > 0);
        fault(w, "");
        puts_one(w, &again, 0);
        assert_int_equal(asked(w, "POST", path), 0);
        assert_string_equal(again->platform_credential_id, id);
        assert_string_equal(again->id, own);
        assert_null(again->refresh_token);
        (void)credential_free(again);
}

static void drift_in_our_vault_is_archived(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_MIRROR);
        _cleanup_(freep) char *path = NULL;

        assert_int_equal(ensure_vault(w, &w->vault), 0);
        assert_true(asprintf(&path, "/v1/vaults/%s/credentials", w->vault->platform_vault_id) > 0);
        json_object_put(ask(w, "POST", path,
                        "{\"metadata\":{\"vaultd_credential\":\"c-of-somebody\"},\"auth\":{\"type\":\"mcp_"
                        "oauth\","
                        "\"mcp_server_url\":\"https://mcp.notion.test/mcp\",\"access_token\":\"planted\"}}",
                        200));
        puts_one(w, &c, 1);
}

static void cut_answer_does_not_double(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_PLATFORM);

        assert_int_equal(ensure_vault(w, &w->vault), 0);
        fault(w, "{\"match\":\"POST /v1/vaults/*/credentials\",\"kind\":\"cut-after-write\"}");
        puts_one(w, &c, 0);
        assert_null(c->refresh_token);
}

static void failures_are_clear_and_keep_the_grant(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_PLATFORM);
        static const int statuses[] = { 400, 401, 429, 500 };

        w->config.adopt_wait_usec = 100 * USEC_PER_MSEC;
        assert_int_equal(ensure_vault(w, &w->vault), 0);
        for (size_t i = 0; i < ELEMENTSOF(statuses); i++) {
                _cleanup_(freep) char *order = NULL;
                Credential *stored;

                assert_true(asprintf(&order,
                                            "{\"match\":\"POST "
                                            "/v1/vaults/*/"
                                            "credentials\",\"kind\":\"status\",\"status\":%d,\"times\":-1}",
                                            statuses[i]) > 0);
                fault(w, order);
                assert_int_equal(put_credential(w, &c), FAILED);
                assert_platform_failure(w, statuses[i]);
                assert_int_equal(credential_record_read(
                                                 w->fixture->store, w->vault, "notion", "default", &stored),
                                0);
                assert_null(stored->platform_credential_id);
                assert_string_equal(secret_text(stored->refresh_token), REFRESH_TOKEN);
                (void)credential_free(stored);
        }
        fault(w, "");
        puts_one(w, &c, 0);
}

static void ended_access_is_not_pushed(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_MIRROR);

        c->expires_usec = now_realtime() - USEC_PER_SEC;
        credential_change(w, &c, NULL, CUSTODY_MIRROR);
        assert_int_equal(put_credential(w, &c), FAILED);
        assert_int_equal(w->failure.kind, FAILURE_NOT_CONNECTED);
}

static void disconnected_meanwhile_is_not_pushed(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_MIRROR);
        StoreBatch *batch = batch_new();
        size_t n;

        assert_int_equal(credential_record_delete(batch, c), 0);
        assert_int_equal(commit(w->fixture, batch), 0);
        assert_int_equal(put_credential(w, &c), FAILED);
        assert_int_equal(w->failure.kind, FAILURE_NOT_CONNECTED);
        json_object_put(credentials(w, &n));
        assert_int_equal(n, 0);
}

static void archive_ends_it_and_is_repeatable(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_MIRROR);
        static const char *const again[] = { "unchanged", "400", "404" };
        size_t n;

        puts_one(w, &c, 0);
        for (size_t i = 0; i < ELEMENTSOF(again); i++) {
                _cleanup_(freep) char *order = NULL;

                assert_true(asprintf(&order, "{\"archive-again\":\"%s\"}", again[i]) > 0);
                option(w, order);
                assert_int_equal(archive_credential(w, c), 0);
                assert_null(only_active(w, &n));
        }
        option(w, "{\"archive-again\":\"unchanged\"}");
        /* Pushed anew, it is a new one. */
        puts_one(w, &c, 1);
}

static void archive_finds_what_a_crash_kept_out_of_the_record(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_MIRROR),
                                               *other = world_credential(w, "jira", CUSTODY_MIRROR);
        json_object *active;
        size_t n;

        puts_one(w, &c, 0);
        assert_int_equal(put_credential(w, &other), 0);
        free(TAKE_PTR(c->platform_credential_id));
        assert_int_equal(archive_credential(w, c), 0);
        active = only_active(w, &n);
        assert_string_equal(object_metadata(active, "vaultd_credential"), other->id);
        json_object_put(active);
}

static void unknown_response_fields_are_ignored(void **state) {
        World *w = *state;
        _cleanup_(credential_freep) Credential *c = world_credential(w, "notion", CUSTODY_MIRROR);

        option(w, "{\"extra-fields\":true}");
        puts_one(w, &c, 0);
        puts_one(w, &c, 0);
        option(w, "{\"extra-fields\":false}");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(mirror_push_has_no_refresh_block),
                TEST(platform_custody_forgets_the_refresh_token),
                TEST(platform_owned_grant_is_not_overwritten),
                TEST(platform_owned_grant_that_is_gone_needs_a_new_connection),
                TEST(host_custody_sends_nothing),
                TEST(credential_of_another_user_is_refused),
                TEST(same_address_is_updated_in_place),
                TEST(immutable_url_change_archives_and_creates),
                TEST(custody_change_archives_and_creates),
                TEST(kind_change_archives_and_creates),
                TEST(platform_custody_forgets_a_static_token),
                TEST(address_written_another_way_is_the_same),
                TEST(credential_lost_by_a_crash_is_taken_over),
                TEST(drift_in_our_vault_is_archived),
                TEST(cut_answer_does_not_double),
                TEST(failures_are_clear_and_keep_the_grant),
                TEST(ended_access_is_not_pushed),
                TEST(disconnected_meanwhile_is_not_pushed),
                TEST(archive_ends_it_and_is_repeatable),
                TEST(archive_finds_what_a_crash_kept_out_of_the_record),
                TEST(unknown_response_fields_are_ignored),
        };

        return cmocka_run_group_tests(tests, emulator_start, server_stop);
}
