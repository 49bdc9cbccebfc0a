/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "platform/platform-internal.h"
#include "tests/unit/store/support.h"

/* The store's tests have a fixture of their own under that name. */
#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

/* What the platform's tests share: the emulator behind TLS (or a hostile server in its place), a store,
 * and calls that run on a fiber while the assertions stay on the test's own stack. Each test has a
 * workspace, a store and a user of its own. */

#define HOST  "host.test"
#define ALICE 1000U
#define BOB   1001U

typedef struct World {
        Fixture *fixture; /* store, keyring, loop */
        Http *http;
        Config config;
        ServiceProfile services[2]; /* jira, notion */
        ServerPolicy policies[2];
        Secret *key;
        Platform *platform;
        Vault *vault; /* of ALICE, without a platform vault */
        Failure failure;
} World;

/* Group fixtures: starts the server. */
int emulator_start(void **state);
int hostile_start(void **state);
int server_stop(void **state);
const char *server_url(void);
/* How many lines of the hostile server's journal begin with this. */
unsigned hostile_saw(const char *what);

/* Test fixtures. */
int world_setup(void **state);
int world_teardown(void **state);
/* Ends everything that is in memory, as a restart does, and begins anew. */
void world_restart(World *w);
void world_close(World *w);
void world_open(World *w);
/* Between close and open: enough to ask the emulator, while a child has the store. */
void world_ask_only(World *w);
/* A client of the hostile server in this behaviour. */
void world_aim(World *w, const char *behaviour);
Vault *world_vault(World *w, uid_t uid, const char *user);
/* A stored credential of w->vault, expiring in an hour. */
Credential *world_credential(World *w, const char *service, Custody custody);

/* Runs the function on a fiber until it has ended. */
typedef int (*OnFiber)(World *w, void *userdata);
int run(World *w, OnFiber function, void *userdata);

/* The client's calls, on a fiber, failure in w->failure. */
int ensure_vault(World *w, Vault **vault);
int put_credential(World *w, Credential **c);
int archive_credential(World *w, const Credential *c);
int start_session(World *w, const SessionPlan *plan, const char *message, AgentSession **ret);
int recover(World *w);

/* The emulator's side, with the test's workspace key. The answer must have that status. Freed by the
 * caller. */
json_object *ask(World *w, const char *method, const char *path, const char *body, unsigned status);
void fault(World *w, const char *order);
void option(World *w, const char *json);
/* Elements of a list, archived ones too. */
json_object *listed(World *w, const char *path, size_t *ret_n);
/* How many requests of this method and path (exact) the emulator has had since fault(). */
unsigned asked(World *w, const char *method, const char *path);

/* The failure is PLATFORM, with this status (-1: none), and has a request id when it has a status. */
void assert_platform_failure(World *w, int64_t status);
/* No secret of this world in the failure. */
void assert_no_secret(World *w);

#define ACCESS_TOKEN  "access-canary-7d1f"
#define REFRESH_TOKEN "refresh-canary-93ab"
#define CLIENT_SECRET "client-canary-55c0"
