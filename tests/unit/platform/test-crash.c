/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The power goes at every place where it matters (test builds: util/crash-point.h), one run each: first platform vault, a
 * credential in the platform's custody, a session. Whatever the place, the next start of vaultd and the user's next try end with
 * one vault, one credential, one agent and one environment, and every session on the platform has its record. */

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/platform/support.h"
#include "util/clock.h"

static size_t n_of(World *w, const char *path) {
        size_t n;

        json_object_put(listed(w, path, &n));
        return n;
}

/* The user's way: vault, credential, session. */
static int everything(World *w, bool is_shown) {
        _cleanup_(agent_session_freep) AgentSession *session = NULL;
        _cleanup_(credential_freep) Credential *c = NULL;
        const ServiceProfile *services[] = { &w->services[1] };
        const ServerPolicy *policies[] = { &w->policies[1] };
        int r;

        r = credential_record_read(w->fixture->store, w->vault, "notion", "default", &c);
        if (r == 0)
                r = ensure_vault(w, &w->vault);
        if (r == 0)
                r = put_credential(w, &c);
        const SessionPlan plan = { services, policies, (const Credential **)&c, 1,
                w->config.platform_model };
        if (r == 0)
                r = start_session(w, &plan, "hello", &session);
        if (r != 0 && is_shown)
                print_error("%d: %s\n", r, w->failure.message ?: "-");
        return r;
}

/* How many places this process has passed. */
static unsigned passed(const char *log) {
        unsigned n = 0, last = 0;
        char line[128];
        FILE *f = fopen(log, "re");

        assert_non_null(f);
        while (fgets(line, sizeof(line), f))
                if (sscanf(line, "%u ", &n) == 1 && n > last)
                        last = n;
        (void)fclose(f);
        return last;
}

/* Whether the child was killed at its n-th place; false: it came to the end. */
static bool killed_at(World *w, const char *log, unsigned n) {
        unsigned before = passed(log);
        int status;
        pid_t pid;

        world_close(w);
        pid = fork();
        if (pid == 0) {
                char number[16];

                (void)snprintf(number, sizeof(number), "%u", before + n);
                (void)setenv("VAULTD_TEST_CRASH_AT", number, 1);
                w->fixture->event = NULL; /* a loop does not survive a fork */
                if (sd_event_new(&w->fixture->event) < 0)
                        _exit(90);
                world_open(w);
                _exit(everything(w, true) == 0 ? 0 : 91);
        }
        assert_true(pid > 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status)) {
                assert_int_equal(WEXITSTATUS(status), 0);
                return false;
        }
        assert_int_equal(WTERMSIG(status), SIGKILL);
        return true;
}

static void assert_whole(World *w) {
        _cleanup_(freep) char *path = NULL;
        AgentSession **list = NULL;
        json_object *credentials;
        size_t n, active = 0;

        assert_int_equal(n_of(w, "/v1/vaults"), 1);
        assert_int_equal(n_of(w, "/v1/agents"), 1);
        assert_int_equal(n_of(w, "/v1/environments"), 1);

        assert_true(asprintf(&path, "/v1/vaults/%s/credentials", w->vault->platform_vault_id) > 0);
        credentials = listed(w, path, &n);
        for (size_t i = 0; i < n; i++)
                active += !object_is_archived(json_object_array_get_idx(credentials, i));
        json_object_put(credentials);
        assert_int_equal(active, 1);

        assert_int_equal(agent_session_record_list(w->fixture->store, ALICE, &list, &n), 0);
        for (size_t i = 0; i < n; i++)
                assert_non_null(startswith(list[i]->id, "sesn_"));
        agent_session_list_free(list, n);
        assert_int_equal(n_of(w, "/v1/sessions"), n);
        assert_true(n == 1 || n == 2); /* a first one that was complete, or nearly so, is kept */
}

static void one_of_each_wherever_the_power_goes(void **state) {
        _cleanup_(freep) char *log = NULL;
        World *w = *state;
        bool was_killed = true;
        unsigned n;

        assert_true(asprintf(&log, "%s/points", w->fixture->dir) > 0);
        (void)close(open(log, O_CREAT | O_CLOEXEC | O_WRONLY, 0600));
        assert_int_equal(setenv("VAULTD_TEST_CRASH_LOG", log, 1), 0);
        for (n = 1; was_killed; n++) {
                void *fresh = NULL;

                assert_true(n < 500);
                assert_int_equal(world_setup(&fresh), 0);
                World *one = fresh;
                one->config.adopt_wait_usec = 20 * USEC_PER_MSEC;
                (void)credential_free(world_credential(one, "notion", CUSTODY_PLATFORM));
                was_killed = killed_at(one, log, n);
                world_open(one);
                assert_int_equal(recover(one), 0);
                if (was_killed) {
                        world_restart(one);
                        assert_int_equal(everything(one, true), 0);
                }
                assert_whole(one);
                assert_int_equal(world_teardown(&fresh), 0);
        }
        (void)unsetenv("VAULTD_TEST_CRASH_LOG");
        print_message("# %u places\n", n - 2);
        assert_true(n - 2 >= 20);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(
                                one_of_each_wherever_the_power_goes, world_setup, world_teardown),
        };

        return cmocka_run_group_tests(tests, emulator_start, server_stop);
}
