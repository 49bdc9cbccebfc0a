/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Makes a file to be kept (see test-kept.c): keep DIR KEK-FILE writes a store with a record of every kind to DIR, compacts it to
 * DIR/kept.mdb and prints the ids of its vaults. Run it once with the version whose schema is to be kept. */

#include "samples.h"

static void save_vault(Fixture *f, Vault *v) {
        StoreBatch *b = batch_new();

        v->platform_vault_id = strdup("vlt_1");
        v->platform_nonce = strdup("00112233445566778899aabbccddeeff");
        v->platform_nonce_usec = 11;
        v->reason = strdup("left");
        v->state = VAULT_LOCKED;
        v->state_usec = 12;
        v->verified_usec = 13;
        assert_int_equal(vault_record_put(b, f->keyring, v), 0);
        assert_int_equal(commit(f, b), 0);
}

static void save_all(Fixture *f, const Vault *v) {
        _cleanup_(credential_freep) Credential *credential = sample_credential(v->uid, "notion", "default");
        _cleanup_(flow_freep) Flow *flow = sample_flow(v, 9);
        _cleanup_(client_freep) Client *client = sample_client();
        _cleanup_(agent_session_freep) AgentSession *session = sample_agent_session(v->uid, "sesn_1");
        _cleanup_(platform_object_freep) PlatformObject *agent = sample_platform_object(RECORD_AGENT);
        _cleanup_(platform_object_freep) PlatformObject *environment =
                        sample_platform_object(RECORD_ENVIRONMENT);
        _cleanup_(pinned_account_freep) PinnedAccount *account = sample_pinned_account(v->uid, "notion");

        save_credential(f, v, credential);
        save_flow(f, v, flow);
        save_client(f, client);
        save_agent_session(f, session);
        save_platform_object(f, agent);
        save_platform_object(f, environment);
        save_pinned_account(f, account);
}

/* A vault with a credential that is set aside, and the next one of the same uid. */
static void save_aside(Fixture *f) {
        _cleanup_(vault_freep) Vault *bob = vault_of(f, 1001, "bob"), *bobby = NULL;
        _cleanup_(credential_freep) Credential *credential = sample_credential(1001, "github", "work");
        StoreBatch *b = batch_new();

        save_credential(f, bob, credential);
        assert_int_equal(vault_set_aside(f->store, b, bob), 0);
        assert_int_equal(commit(f, b), 0);
        bobby = vault_of(f, 1001, "bobby");
        printf("1001 %s, set aside\n1001 %s\n", bob->id, bobby->id);
}

int main(int argc, char **argv) {
        _cleanup_(vault_freep) Vault *alice = NULL;
        Fixture f = {};
        char path[256];

        if (argc != 3) {
                fprintf(stderr, "usage: keep DIR KEK-FILE\n");
                return 2;
        }
        assert_int_equal(secret_global_init(), 0);
        assert_int_equal(keyring_load(argv[2], argv[1], &f.keyring), 0);
        assert_true(sd_event_new(&f.event) >= 0);
        assert_int_equal(store_open(argv[1], UINT64_C(1) << 20, f.event, &f.store), 0);
        alice = vault_of(&f, 1000, "alice");
        printf("1000 %s\n", alice->id);
        save_vault(&f, alice);
        save_all(&f, alice);
        save_aside(&f);
        (void)snprintf(path, sizeof(path), "%s/kept.mdb", argv[1]);
        assert_int_equal(mdb_env_copy2(lmdb_of(&f)->env, path, MDB_CP_COMPACT), 0);
        fixture_close(&f);
        (void)keyring_free(f.keyring);
        sd_event_unref(f.event);
        return 0;
}
