/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Revocations: a grant leaves use in the commit that writes down what is to be revoked; what was read before does not bring it back. */

#include "samples.h"

typedef struct Begun {
        Credential **list;
        size_t n, n_damaged;
} Begun;

static StoreBatch *begin(Fixture *f, const Vault *v, const char *service, Begun *ret) {
        StoreBatch *b = batch_new();

        *ret = (Begun){};
        assert_int_equal(revocation_record_begin(
                                         f->store, b, v, service, &ret->list, &ret->n, &ret->n_damaged),
                        0);
        return b;
}

static void begun_done(Begun *b) {
        credential_list_free(b->list, b->n);
}

static void connect(Fixture *f, const Vault *v, const char *service, const char *label, char id) {
        _cleanup_(credential_freep) Credential *c = sample_credential(v->uid, service, label);

        c->id[2] = id;
        save_credential(f, v, c);
}

static size_t n_credentials(Fixture *f, const Vault *v) {
        Credential **list = NULL;
        size_t n = 0;

        assert_int_equal(credential_record_list(f->store, v, NULL, &list, &n), 0);
        credential_list_free(list, n);
        return n;
}

static size_t n_revocations(Fixture *f, uid_t uid) {
        Credential **list = NULL;
        size_t n = 0;

        assert_int_equal(revocation_record_list(f->store, f->keyring, uid, &list, &n), 0);
        credential_list_free(list, n);
        return n;
}

static void what_is_revoked_is_out_of_use_and_keeps_its_tokens(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *alice = vault_of(f, 1000, "alice"), *bob = vault_of(f, 1001, "bob");
        _cleanup_(begun_done) Begun begun = {};
        Credential **list = NULL;
        size_t n = 0;

        connect(f, alice, "notion", "default", 'a');
        connect(f, alice, "notion", "work", 'b');
        connect(f, alice, "notion-eu", "default", 'c');
        connect(f, bob, "notion", "default", 'd');
        assert_int_equal(commit(f, begin(f, alice, "notion", &begun)), 0);
        assert_int_equal(begun.n, 2);
        assert_int_equal(begun.n_damaged, 0);
        assert_int_equal(n_credentials(f, alice), 1);
        assert_int_equal(n_credentials(f, bob), 1);

        fixture_reopen(f, f->map_size);
        assert_int_equal(n_revocations(f, 1001), 0);
        assert_int_equal(revocation_record_list(f->store, f->keyring, UID_INVALID, &list, &n), 0);
        assert_int_equal(n, 2);
        for (size_t i = 0; i < n; i++) {
                assert_string_equal(secret_text(list[i]->refresh_token), "refresh-token-canary");
                assert_string_equal(list[i]->platform_credential_id, "cred_1");
                assert_int_equal(list[i]->state, CREDENTIAL_DISCONNECTING);
                assert_true(list[i]->revoked_usec > 0);

                StoreBatch *b = batch_new();
                assert_int_equal(revocation_record_delete(b, list[i]), 0);
                assert_int_equal(commit(f, b), 0);
        }
        credential_list_free(list, n);
        assert_int_equal(n_revocations(f, UID_INVALID), 0);
}

/* Whoever read the credential before, a push to the platform or a claim, cannot write it back. */
static void who_read_it_before_does_not_bring_it_back(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *alice = vault_of(f, 1000, "alice");
        _cleanup_(credential_freep) Credential *held = NULL;
        _cleanup_(begun_done) Begun begun = {}, late = {};
        StoreBatch *b = batch_new(), *stale;

        connect(f, alice, "notion", "default", 'a');
        assert_int_equal(credential_record_read(f->store, alice, "notion", "default", &held), 0);
        stale = begin(f, alice, NULL, &late);
        assert_int_equal(commit(f, begin(f, alice, NULL, &begun)), 0);
        assert_int_equal(credential_record_put(b, alice, held), 0);
        assert_int_equal(commit(f, b), STORE_CONFLICT);
        assert_int_equal(commit(f, stale), STORE_CONFLICT);
        assert_int_equal(n_credentials(f, alice), 0);
        assert_int_equal(n_revocations(f, 1000), 1);
        /* Its place is free. */
        connect(f, alice, "notion", "default", 'e');
        assert_int_equal(n_credentials(f, alice), 1);
}

static void what_changed_since_is_looked_at_again(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *alice = vault_of(f, 1000, "alice");
        _cleanup_(credential_freep) Credential *held = NULL;
        _cleanup_(begun_done) Begun early = {}, begun = {};
        StoreBatch *b, *put = batch_new();

        connect(f, alice, "notion", "default", 'a');
        assert_int_equal(credential_record_read(f->store, alice, "notion", "default", &held), 0);
        b = begin(f, alice, NULL, &early);
        held->expires_usec = 7;
        assert_int_equal(credential_record_put(put, alice, held), 0);
        assert_int_equal(commit(f, put), 0);
        assert_int_equal(commit(f, b), STORE_CONFLICT); /* else the newer tokens would be lost unrevoked */
        assert_int_equal(commit(f, begin(f, alice, NULL, &begun)), 0);
        assert_int_equal(begun.list[0]->expires_usec, 7);
}

/* A user gives one account up: the service's others stay, and so does what was put in its place meanwhile. */
static void one_alone_is_moved_as_it_was_read(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *alice = vault_of(f, 1000, "alice"), *bob = vault_of(f, 1001, "bob");
        _cleanup_(credential_freep) Credential *held = NULL, *fresh = NULL;
        StoreBatch *b = batch_new(), *put = batch_new(), *stale = batch_new(), *others = batch_new();

        connect(f, alice, "notion", "default", 'a');
        connect(f, alice, "notion", "work", 'b');
        assert_int_equal(credential_record_read(f->store, alice, "notion", "default", &held), 0);
        assert_int_equal(credential_record_read(f->store, alice, "notion", "default", &fresh), 0);
        assert_int_equal(revocation_record_move(others, bob, held), -EINVAL);
        (void)store_batch_free(others);
        held->expires_usec = 7;
        assert_int_equal(credential_record_put(put, alice, held), 0);
        assert_int_equal(commit(f, put), 0);
        assert_int_equal(revocation_record_move(stale, alice, fresh), 0);
        assert_int_equal(commit(f, stale), STORE_CONFLICT); /* else the newer tokens would be lost unrevoked */
        assert_int_equal(n_revocations(f, 1000), 0);

        fresh = credential_free(fresh);
        assert_int_equal(credential_record_read(f->store, alice, "notion", "default", &fresh), 0);
        assert_int_equal(revocation_record_move(b, alice, fresh), 0);
        assert_int_equal(commit(f, b), 0);
        assert_int_equal(n_credentials(f, alice), 1);
        assert_int_equal(n_revocations(f, 1000), 1);
        held = credential_free(held);
        assert_int_equal(revocation_record_read(f->store, alice, fresh->id, &held), 0);
        assert_int_equal(held->expires_usec, 7);
        assert_true(held->revoked_usec > 0);
}

static void damaged_one_keeps_no_other_from_being_revoked(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *alice = vault_of(f, 1000, "alice");
        StoreKey key = key_of(RECORD_CREDENTIAL, 1000, "github/default");
        _cleanup_(begun_done) Begun begun = {};
        _cleanup_(buffer_done) Buffer value = {};

        connect(f, alice, "github", "default", 'a');
        connect(f, alice, "notion", "default", 'b');
        value = stored_value(f, &key);
        value.bytes[value.size / 2] ^= 1;
        put_raw(f, &key, value.bytes, value.size);
        assert_int_equal(commit(f, begin(f, alice, NULL, &begun)), 0);
        assert_int_equal(begun.n, 1);
        assert_int_equal(begun.n_damaged, 1);
        assert_string_equal(begun.list[0]->service, "notion");
        assert_int_equal(n_revocations(f, 1000), 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(what_is_revoked_is_out_of_use_and_keeps_its_tokens),
                TEST(who_read_it_before_does_not_bring_it_back),
                TEST(what_changed_since_is_looked_at_again),
                TEST(one_alone_is_moved_as_it_was_read),
                TEST(damaged_one_keeps_no_other_from_being_revoked),
        };

        return RUN_TESTS("revocation", tests);
}
