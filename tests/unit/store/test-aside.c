/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Setting a vault aside: all of it goes, nothing of anybody else's, and every byte of it is still there (I8). */

#include "samples.h"

static const RecordKind kinds[] = { RECORD_VAULT, RECORD_CREDENTIAL, RECORD_AGENT_SESSION, RECORD_ACCOUNT,
        RECORD_FLOW };

static int count_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        (*(size_t *)userdata)++;
        return 0;
}

static size_t count_of(Fixture *f, RecordKind kind, uid_t uid) {
        size_t n = 0;

        assert_int_equal(store_foreach(f->store, kind, uid, count_visit, &n), 0);
        return n;
}

/* One of each kind for the vault. */
static Vault *fill(Fixture *f, uid_t uid, const char *user, uint8_t flow_fill) {
        Vault *v = vault_of(f, uid, user);
        _cleanup_(credential_freep) Credential *c = sample_credential(uid, "notion", "default");
        _cleanup_(agent_session_freep) AgentSession *s =
                        sample_agent_session(uid, uid == 1000 ? "sesn_1" : "sesn_2");
        _cleanup_(pinned_account_freep) PinnedAccount *p = sample_pinned_account(uid, "notion");
        _cleanup_(flow_freep) Flow *flow = sample_flow(v, flow_fill);

        save_credential(f, v, c);
        save_agent_session(f, s);
        save_pinned_account(f, p);
        save_flow(f, v, flow);
        return v;
}

static int set_aside(Fixture *f, const Vault *v) {
        StoreBatch *batch = batch_new();

        assert_int_equal(vault_set_aside(f->store, batch, v), 0);
        return commit(f, batch);
}

static void all_of_it_goes_and_nothing_of_anothers(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *alice = fill(f, 1000, "alice", 7), *bob = fill(f, 1001, "bob", 9);

        assert_int_equal(bob->uid, 1001);
        assert_int_equal(set_aside(f, alice), 0);
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (kinds[i] == RECORD_FLOW)
                        assert_int_equal(count_of(f, RECORD_FLOW, UID_INVALID), 1);
                else {
                        assert_int_equal(count_of(f, kinds[i], 1000), 0);
                        assert_int_equal(count_of(f, kinds[i], 1001), 1);
                }
        assert_int_equal(count_of(f, RECORD_ASIDE, 1000), ELEMENTSOF(kinds));
        assert_int_equal(count_of(f, RECORD_ASIDE, 1001), 0);
}

typedef struct Expected {
        const Buffer *value;
        const char *id;
        bool is_found;
} Expected;

static int whole_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        Expected *e = userdata;
        size_t n = strlen(e->id);

        if (size == 2 + n + e->value->size && value[0] == RECORD_AGENT_SESSION && value[1] == n &&
                        memcmp(value + 2, e->id, n) == 0 &&
                        memcmp(value + 2 + n, e->value->bytes, e->value->size) == 0)
                e->is_found = true;
        return 0;
}

static void every_byte_and_its_place_are_kept(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = fill(f, 1000, "alice", 7);
        StoreKey key = key_of(RECORD_AGENT_SESSION, 1000, "sesn_1");
        _cleanup_(buffer_done) Buffer before = stored_value(f, &key);
        Expected expected = { .value = &before, .id = "sesn_1" };

        assert_int_equal(set_aside(f, v), 0);
        assert_int_equal(store_foreach(f->store, RECORD_ASIDE, 1000, whole_visit, &expected), 0);
        assert_true(expected.is_found);
}

static void a_second_vault_of_the_uid_goes_beside_the_first(void **state) {
        Fixture *f = *state;

        for (size_t i = 1; i <= 2; i++) {
                _cleanup_(vault_freep) Vault *v = fill(f, 1000, "alice", (uint8_t)i);

                assert_int_equal(set_aside(f, v), 0);
                assert_int_equal(count_of(f, RECORD_ASIDE, 1000), i * ELEMENTSOF(kinds));
        }
}

static void what_is_written_meanwhile_stops_it(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = fill(f, 1000, "alice", 7);
        StoreKey key = key_of(RECORD_AGENT_SESSION, 1000, "sesn_1");
        StoreBatch *batch = batch_new();

        assert_int_equal(vault_set_aside(f->store, batch, v), 0);
        put_raw(f, &key, "other", 5);
        assert_int_equal(commit(f, batch), STORE_CONFLICT);
        assert_int_equal(count_of(f, RECORD_ASIDE, 1000), 0);
        assert_int_equal(count_of(f, RECORD_VAULT, 1000), 1);
}

typedef struct Seen {
        uid_t uids[8];
        size_t n, n_half_made, n_unreadable;
        uid_t stop_at;
} Seen;

static int seen_visit(uid_t uid, const VaultSummary *summary, void *userdata) {
        Seen *seen = userdata;

        seen->uids[seen->n++] = uid;
        seen->n_half_made += summary && summary->is_half_made;
        seen->n_unreadable += !summary;
        return uid == seen->stop_at ? -ENOTUNIQ : 0;
}

static void vaults_are_walked_in_order_and_in_slices(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *c = vault_of(f, 70000, "carol"), *a = vault_of(f, 1000, "alice"),
                                     *b = vault_of(f, 1001, "bob");
        Seen seen = {};
        uid_t from = 0;

        assert_int_equal(vault_record_walk(f->store, &from, 2, seen_visit, &seen), VAULTS_GO_ON);
        assert_int_equal(seen.n, 2);
        assert_int_equal(from, 70000);
        assert_int_equal(vault_record_walk(f->store, &from, 2, seen_visit, &seen), 0);
        assert_int_equal(seen.n, 3);
        for (size_t i = 0; i < 3; i++)
                assert_int_equal(seen.uids[i], ((const uid_t[]){ 1000, 1001, 70000 })[i]);
        assert_int_equal(seen.n_half_made, 0);

        /* As many as there are is the end of it, and what a visitor says is not taken for anything else. */
        from = 1001;
        seen = (Seen){ .stop_at = 70000 };
        assert_int_equal(vault_record_walk(f->store, &from, 2, seen_visit, &seen), -ENOTUNIQ);
        assert_int_equal(seen.n, 2);
        assert_true(a && b && c);
}

static void a_half_made_vault_shows_without_its_key(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *a = vault_of(f, 1000, "alice"), *b = NULL;
        StoreBatch *batch = batch_new();
        Seen seen = {};
        StoreKey key;
        uid_t from = 0;

        assert_int_equal(a->uid, 1000);
        assert_int_equal(vault_record_read(f->store, f->keyring, 1000, &b), 0);
        b->platform_nonce = strdup("00112233445566778899aabbccddeeff");
        b->platform_nonce_usec = 1;
        assert_int_equal(vault_record_put(batch, f->keyring, b), 0);
        assert_int_equal(commit(f, batch), 0);
        assert_int_equal(vault_record_walk(f->store, &from, 2, seen_visit, &seen), 0);
        assert_int_equal(seen.n_half_made, 1);

        b = vault_free(b);
        assert_int_equal(vault_record_read(f->store, f->keyring, 1000, &b), 0);
        b->platform_vault_id = strdup("vlt_1");
        batch = batch_new();
        assert_int_equal(vault_record_put(batch, f->keyring, b), 0);
        assert_int_equal(store_key_init(&key, RECORD_VAULT, 1001, NULL, 0), 0);
        assert_int_equal(store_batch_put(batch, &key, "nonsense", 8), 0);
        assert_int_equal(commit(f, batch), 0);
        seen = (Seen){};
        assert_int_equal(vault_record_walk(f->store, &from, 2, seen_visit, &seen), 0);
        assert_int_equal(seen.n, 2);
        assert_int_equal(seen.n_half_made, 0);
        assert_int_equal(seen.n_unreadable, 1);
}

static void new_sessions_are_found_in_slices_that_end_with_a_user(void **state) {
        Fixture *f = *state;
        AgentSession **list = NULL;
        uid_t from = 0;
        size_t n = 0;

        for (size_t i = 0; i < 5; i++) {
                _cleanup_(agent_session_freep) AgentSession *s = sample_agent_session(i < 3 ? 1000 : 1001,
                                ((const char *const[]){ "new-a", "sesn_1", "new-b", "sesn_2", "new-c" })[i]);

                save_agent_session(f, s);
        }
        assert_int_equal(agent_session_record_walk_new(f->store, &from, 1, &list, &n), VAULTS_GO_ON);
        assert_int_equal(n, 2);
        assert_int_equal(from, 1001);
        assert_int_equal(agent_session_record_walk_new(f->store, &from, 1, &list, &n), 0);
        assert_int_equal(n, 3);
        assert_string_equal(list[1]->id, "new-b");
        assert_string_equal(list[2]->id, "new-c");
        agent_session_list_free(list, n);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(all_of_it_goes_and_nothing_of_anothers),
                TEST(every_byte_and_its_place_are_kept),
                TEST(a_second_vault_of_the_uid_goes_beside_the_first),
                TEST(what_is_written_meanwhile_stops_it),
                TEST(vaults_are_walked_in_order_and_in_slices),
                TEST(a_half_made_vault_shows_without_its_key),
                TEST(new_sessions_are_found_in_slices_that_end_with_a_user),
        };

        return RUN_TESTS("aside", tests);
}
