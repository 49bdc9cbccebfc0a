/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every record type: what is written is read back, lists and look-ups, and that of two writers one learns that it lost. */

#include "samples.h"
#include "store/record.h"

#define SAME_TEXT(member)   assert_string_equal(a->member, b->member)
#define SAME_NUMBER(member) assert_true(a->member == b->member)
#define SAME_BYTES(member)  assert_memory_equal(a->member, b->member, sizeof(a->member))
#define SAME_SECRET(member) assert_string_equal(secret_text(a->member), secret_text(b->member))
#define SAME_AUTHORITY()                                                                                    \
        do {                                                                                                \
                SAME_TEXT(authority.issuer);                                                                \
                SAME_TEXT(authority.authorization_endpoint);                                                \
                SAME_TEXT(authority.token_endpoint);                                                        \
                SAME_TEXT(authority.revocation_endpoint);                                                   \
                SAME_TEXT(authority.userinfo_endpoint);                                                     \
                SAME_TEXT(authority.client_id);                                                             \
                SAME_TEXT(authority.client_auth_method);                                                    \
                SAME_TEXT(authority.revocation);                                                            \
                SAME_TEXT(authority.revoked_answers);                                                       \
                SAME_NUMBER(authority.iss_supported);                                                       \
        } while (0)

static void vault_round_trips(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *a = NULL, *b = NULL;
        StoreBatch *batch = batch_new();

        assert_int_equal(vault_new(f->keyring, 1000, "alice", &a), 0);
        assert_memory_equal(a->id, "v-", 2);
        assert_int_equal(strlen(a->id), 34);
        assert_int_equal(a->state, VAULT_ACTIVE);
        assert_true(a->created_usec > 0);
        a->state = VAULT_LOCKED;
        a->platform_vault_id = strdup("vlt_1");
        a->platform_nonce = strdup("00112233445566778899aabbccddeeff");
        a->platform_nonce_usec = 42;
        assert_int_equal(vault_record_read(f->store, f->keyring, 1000, &b), -ENOENT);
        assert_int_equal(vault_record_put(batch, f->keyring, a), 0);
        assert_int_equal(commit(f, batch), 0);
        fixture_reopen(f, f->map_size);
        assert_int_equal(vault_record_read(f->store, f->keyring, 1000, &b), 0);
        SAME_NUMBER(uid);
        SAME_TEXT(id);
        SAME_TEXT(user);
        SAME_NUMBER(state);
        SAME_NUMBER(created_usec);
        SAME_TEXT(platform_vault_id);
        SAME_TEXT(platform_nonce);
        SAME_NUMBER(platform_nonce_usec);
        assert_true(secret_equal(b->key, a->key->bytes, a->key->size));
        assert_true(b->stored.size > 0);
}

static void credential_round_trips(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = vault_of(f, 1000, "alice");
        _cleanup_(credential_freep) Credential *a = sample_credential(1000, "notion", "work/home"),
                                               *b = NULL;

        save_credential(f, v, a);
        assert_int_equal(credential_record_read(f->store, v, "notion", "work/home", &b), 0);
        SAME_NUMBER(uid);
        SAME_TEXT(service);
        SAME_TEXT(label);
        SAME_TEXT(id);
        SAME_TEXT(upstream);
        SAME_TEXT(resource);
        SAME_AUTHORITY();
        SAME_TEXT(scope);
        SAME_TEXT(asked_scope);
        SAME_TEXT(account_id);
        SAME_TEXT(account_name);
        SAME_NUMBER(created_usec);
        SAME_NUMBER(expires_usec);
        SAME_NUMBER(custody);
        SAME_NUMBER(state);
        SAME_TEXT(state_reason);
        SAME_NUMBER(level);
        SAME_TEXT(platform_credential_id);
        SAME_SECRET(access_token);
        SAME_SECRET(refresh_token);
        SAME_SECRET(client_secret);
}

static void data_key_leaves_the_cipher_with_its_vault(void **state) {
        Fixture *f = *state;
        _cleanup_(credential_freep) Credential *a = sample_credential(1000, "notion", "default"), *b = NULL;
        Vault *v = vault_of(f, 1000, "alice");

        save_credential(f, v, a);
        assert_int_equal(credential_record_read(f->store, v, "notion", "default", &b), 0);
        assert_true(seal_keeps_key(SEAL_VAULT));
        (void)vault_free(v);
        assert_false(seal_keeps_key(SEAL_VAULT));
        assert_int_equal(vault_record_read(f->store, f->keyring, 1000, &v), 0);
        assert_true(seal_keeps_key(SEAL_VAULT));
        (void)vault_free(v);
        assert_false(seal_keeps_key(SEAL_VAULT));
        assert_false(seal_keeps_key(SEAL_ONCE));
}

static void environment_credential_round_trips(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = vault_of(f, 1000, "alice");
        _cleanup_(credential_freep) Credential *a = sample_environment_credential(1000, "github", "default"),
                                               *b = NULL;

        save_credential(f, v, a);
        assert_int_equal(credential_record_read(f->store, v, "github", "default", &b), 0);
        SAME_NUMBER(kind);
        SAME_NUMBER(level);
        SAME_TEXT(state_reason);
        SAME_TEXT(variable);
        SAME_SECRET(access_token);
        assert_null(b->refresh_token);
        for (size_t i = 0; i < 2; i++)
                SAME_TEXT(allowed_hosts[i]);
        assert_null(b->allowed_hosts[2]);
}

/* The bytes that were written before there were kinds: the table without the later members. */
static void credential_of_before_kinds_is_a_users_grant(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = vault_of(f, 1000, "alice");
        _cleanup_(credential_freep) Credential *a = sample_credential(1000, "notion", "default"), *b = NULL;
        _cleanup_(store_batch_freep) StoreBatch *batch = batch_new();
        StoreKey key = key_of(RECORD_CREDENTIAL, 1000, "notion/default");
        RecordType old = credential_type;
        Field fields[64];

        old.n_fields = 0;
        for (size_t i = 0; i < credential_type.n_fields; i++)
                if (credential_type.fields[i].tag < 28 || credential_type.fields[i].tag > 32)
                        fields[old.n_fields++] = credential_type.fields[i];
        assert_true(old.n_fields < credential_type.n_fields);
        old.fields = fields;
        assert_int_equal(record_put(batch, &old, &key, &(RecordSeal){ v->key, v->uid, v->id, NULL }, a), 0);
        assert_int_equal(commit(f, TAKE_PTR(batch)), 0);
        assert_int_equal(credential_record_read(f->store, v, "notion", "default", &b), 0);
        assert_int_equal(b->kind, CREDENTIAL_OAUTH);
        assert_int_equal(b->level, CREDENTIAL_USER);
        assert_null(b->state_reason);
        assert_null(b->variable);
        assert_null(b->allowed_hosts);
        SAME_SECRET(refresh_token);
}

/* What would be sent anywhere, or could not work, is not written. */
static void half_a_kind_is_refused(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = vault_of(f, 1000, "alice");
        _cleanup_(credential_freep) Credential *c = sample_environment_credential(1000, "github", "default");
        _cleanup_(store_batch_freep) StoreBatch *b = batch_new();
        char *variable = TAKE_PTR(c->variable), **hosts = c->allowed_hosts;

        assert_int_equal(credential_record_put(b, v, c), -EINVAL);
        c->variable = variable;
        c->allowed_hosts = NULL;
        assert_int_equal(credential_record_put(b, v, c), -EINVAL);
        c->allowed_hosts = &(char *){ NULL };
        assert_int_equal(credential_record_put(b, v, c), -EINVAL);
        c->allowed_hosts = hosts;
        c->kind = CREDENTIAL_STATIC_BEARER;
        assert_int_equal(credential_record_put(b, v, c), -EINVAL);
        c->kind = CREDENTIAL_OAUTH;
        assert_int_equal(credential_record_put(b, v, c), -EINVAL);
        c->kind = CREDENTIAL_ENVIRONMENT + 1;
        assert_int_equal(credential_record_put(b, v, c), -EINVAL);
        c->kind = CREDENTIAL_ENVIRONMENT;
        c->level = CREDENTIAL_GLOBAL + 1;
        assert_int_equal(credential_record_put(b, v, c), -EINVAL);
        c->level = CREDENTIAL_USER;
        c->refresh_token = secret_of("refresh");
        assert_int_equal(credential_record_put(b, v, c), -EINVAL);
        c->refresh_token = secret_free(c->refresh_token);
        assert_null(b->changes);
        assert_int_equal(credential_record_put(b, v, c), 0);
}

static void flow_round_trips(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = vault_of(f, 1000, "alice");
        _cleanup_(flow_freep) Flow *a = sample_flow(v, 7), *b = NULL;

        save_flow(f, v, a);
        assert_int_equal(flow_record_read(f->store, f->keyring, a->state_digest, &b), 0);
        SAME_BYTES(state_digest);
        SAME_NUMBER(uid);
        SAME_TEXT(id);
        SAME_TEXT(vault_id);
        SAME_TEXT(user);
        SAME_TEXT(host);
        SAME_TEXT(service);
        SAME_TEXT(label);
        SAME_TEXT(upstream);
        SAME_TEXT(resource);
        SAME_TEXT(scope);
        SAME_TEXT(asked_scope);
        SAME_TEXT(pushed_endpoint);
        SAME_TEXT(redirect_uri);
        SAME_AUTHORITY();
        SAME_NUMBER(state);
        SAME_NUMBER(way);
        SAME_NUMBER(created_usec);
        SAME_NUMBER(expires_usec);
        SAME_BYTES(ticket_digest);
        SAME_BYTES(claim_mac);
        SAME_NUMBER(tries_left);
        SAME_NUMBER(is_replacing_account);
        SAME_TEXT(account_id);
        SAME_TEXT(account_name);
        SAME_NUMBER(token_expires_usec);
        SAME_SECRET(state_text);
        SAME_SECRET(device_code);
        SAME_SECRET(code_verifier);
        SAME_SECRET(client_secret);
        SAME_SECRET(access_token);
        SAME_SECRET(refresh_token);
}

static void client_round_trips(void **state) {
        Fixture *f = *state;
        _cleanup_(client_freep) Client *a = sample_client(), *b = NULL;
        Client *other = NULL;

        save_client(f, a);
        assert_int_equal(client_record_read(f->store, f->keyring, a->issuer, a->redirect_uri, &b), 0);
        SAME_TEXT(issuer);
        SAME_TEXT(redirect_uri);
        SAME_TEXT(client_id);
        SAME_TEXT(auth_method);
        SAME_TEXT(scope);
        SAME_NUMBER(registered_usec);
        SAME_NUMBER(secret_expires_usec);
        SAME_SECRET(client_secret);
        SAME_SECRET(registration_access_token);
        assert_int_equal(client_record_read(f->store, f->keyring, a->issuer, "http://other/", &other),
                        -ENOENT);
        assert_int_equal(client_record_read(f->store, f->keyring, "https://other", a->redirect_uri, &other),
                        -ENOENT);
}

static void agent_session_round_trips(void **state) {
        Fixture *f = *state;
        _cleanup_(agent_session_freep) AgentSession *a = sample_agent_session(1000, "sesn_1"), *b = NULL;

        save_agent_session(f, a);
        assert_int_equal(agent_session_record_read(f->store, 1000, "sesn_1", &b), 0);
        SAME_NUMBER(uid);
        SAME_TEXT(id);
        SAME_TEXT(nonce);
        SAME_TEXT(title);
        SAME_TEXT(agent_id);
        SAME_NUMBER(agent_version);
        SAME_TEXT(environment_id);
        SAME_TEXT(platform_vault_id);
        for (int i = 0; i < 2; i++) {
                SAME_TEXT(servers[i]);
                SAME_TEXT(accounts[i]);
        }
        assert_null(b->servers[2]);
        assert_null(b->accounts[2]);
        SAME_NUMBER(created_usec);
}

static void platform_object_round_trips(void **state) {
        Fixture *f = *state;
        static const RecordKind kinds[] = { RECORD_AGENT, RECORD_ENVIRONMENT };

        for (size_t i = 0; i < 2; i++) {
                _cleanup_(platform_object_freep) PlatformObject *a = sample_platform_object(kinds[i]),
                                                                *b = NULL;

                assert_int_equal(platform_object_record_read(f->store, kinds[i], a->digest, &b), -ENOENT);
                save_platform_object(f, a);
                assert_int_equal(platform_object_record_read(f->store, kinds[i], a->digest, &b), 0);
                SAME_NUMBER(kind);
                SAME_TEXT(digest);
                SAME_TEXT(nonce);
                SAME_NUMBER(nonce_usec);
                SAME_TEXT(platform_id);
                SAME_NUMBER(version);
        }
}

static void pinned_account_round_trips(void **state) {
        Fixture *f = *state;
        _cleanup_(pinned_account_freep) PinnedAccount *a = sample_pinned_account(1000, "notion"), *b = NULL;
        PinnedAccount *other = NULL;

        save_pinned_account(f, a);
        assert_int_equal(pinned_account_record_read(f->store, 1000, "notion", "default", &b), 0);
        SAME_NUMBER(uid);
        SAME_TEXT(service);
        SAME_TEXT(label);
        SAME_TEXT(account_id);
        SAME_TEXT(account_name);
        assert_int_equal(pinned_account_record_read(f->store, 1001, "notion", "default", &other), -ENOENT);
        assert_int_equal(pinned_account_record_read(f->store, 1000, "notion", "work", &other), -ENOENT);
}

static void absent_members_stay_absent(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = vault_of(f, 1000, "alice");
        _cleanup_(credential_freep) Credential *a = sample_credential(1000, "notion", "default"), *b = NULL;
        _cleanup_(agent_session_freep) AgentSession *s = sample_agent_session(1000, "x"), *read = NULL;

        a->refresh_token = secret_free(a->refresh_token);
        free(TAKE_PTR(a->scope));
        a->account_name[0] = 0; /* empty is not absent */
        save_credential(f, v, a);
        assert_int_equal(credential_record_read(f->store, v, "notion", "default", &b), 0);
        assert_null(b->refresh_token);
        assert_null(b->scope);
        assert_string_equal(b->account_name, "");

        for (int i = 0; i < 2; i++) {
                free(TAKE_PTR(s->servers[i]));
                free(TAKE_PTR(s->accounts[i]));
        }
        save_agent_session(f, s);
        assert_int_equal(agent_session_record_read(f->store, 1000, "x", &read), 0);
        assert_non_null(read->servers);
        assert_null(read->servers[0]);
}

static void record_without_required_member_is_not_written(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = vault_of(f, 1000, "alice"), *bob = vault_of(f, 1001, "bob");
        _cleanup_(credential_freep) Credential *c = sample_credential(1000, "notion", "default");
        _cleanup_(agent_session_freep) AgentSession *a = sample_agent_session(1000, "x");
        _cleanup_(platform_object_freep) PlatformObject *o = sample_platform_object(RECORD_VAULT);
        _cleanup_(store_batch_freep) StoreBatch *b = batch_new();
        char *upstream = TAKE_PTR(c->upstream);

        assert_int_equal(credential_record_put(b, v, c), -EINVAL);
        c->upstream = upstream;
        c->custody = 0;
        assert_int_equal(credential_record_put(b, v, c), -EINVAL);
        c->custody = 4;
        assert_int_equal(credential_record_put(b, v, c), -EINVAL);
        c->custody = 1;
        c->state = CREDENTIAL_DISCONNECTING + 1;
        assert_int_equal(credential_record_put(b, v, c), -EINVAL);
        c->state = CREDENTIAL_ACTIVE;
        assert_int_equal(credential_record_put(b, bob, c), -EINVAL);
        c->service[0] = '/';
        assert_int_equal(credential_record_put(b, v, c), -EINVAL);
        free(TAKE_PTR(a->accounts[1]));
        assert_int_equal(agent_session_record_put(b, a), -EINVAL);
        assert_int_equal(platform_object_record_put(b, o), -EINVAL);
        assert_null(b->changes);
}

static void second_new_vault_loses(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *a = NULL, *b = NULL, *read = NULL;
        StoreBatch *first = batch_new(), *second = batch_new();

        assert_int_equal(vault_new(f->keyring, 1000, "alice", &a), 0);
        assert_int_equal(vault_new(f->keyring, 1000, "alice", &b), 0);
        assert_string_not_equal(a->id, b->id);
        assert_int_equal(vault_record_put(first, f->keyring, a), 0);
        assert_int_equal(vault_record_put(second, f->keyring, b), 0);
        assert_int_equal(commit(f, first), 0);
        assert_int_equal(commit(f, second), STORE_CONFLICT);
        assert_int_equal(vault_record_read(f->store, f->keyring, 1000, &read), 0);
        assert_string_equal(read->id, a->id);
}

static void stale_writer_and_stale_deleter_lose(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = vault_of(f, 1000, "alice");
        _cleanup_(credential_freep) Credential *new = sample_credential(1000, "notion", "default"),
                                               *a = NULL, *b = NULL, *c = NULL;
        StoreBatch *batch;

        save_credential(f, v, new);
        assert_int_equal(credential_record_read(f->store, v, "notion", "default", &a), 0);
        assert_int_equal(credential_record_read(f->store, v, "notion", "default", &b), 0);
        save_credential(f, v, a);

        batch = batch_new();
        assert_int_equal(credential_record_put(batch, v, b), 0);
        assert_int_equal(commit(f, batch), STORE_CONFLICT);
        batch = batch_new();
        assert_int_equal(credential_record_delete(batch, b), 0);
        assert_int_equal(commit(f, batch), STORE_CONFLICT);
        batch = batch_new();
        assert_int_equal(credential_record_put(batch, v, new), 0);
        assert_int_equal(commit(f, batch), STORE_CONFLICT);

        assert_int_equal(credential_record_read(f->store, v, "notion", "default", &c), 0);
        batch = batch_new();
        assert_int_equal(credential_record_delete(batch, c), 0);
        assert_int_equal(commit(f, batch), 0);
        c = credential_free(c);
        assert_int_equal(credential_record_read(f->store, v, "notion", "default", &c), -ENOENT);
}

static void peek_shows_what_a_full_read_does(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = vault_of(f, 1000, "alice"), *sealed = NULL;
        StoreBatch *batch = NULL;
        VaultSummary seen = {};

        assert_int_equal(vault_record_peek(f->store, 1001, &seen), -ENOENT);
        assert_int_equal(vault_record_peek(f->store, 1000, &seen), 0);
        assert_string_equal(seen.id, v->id);
        assert_string_equal(seen.user, "alice");
        assert_int_equal(seen.state, VAULT_ACTIVE);

        assert_int_equal(vault_record_read(f->store, f->keyring, 1000, &sealed), 0);
        sealed->state = VAULT_SEALED;
        assert_int_equal(store_batch_new(&batch), 0);
        assert_int_equal(vault_record_put(batch, f->keyring, sealed), 0);
        assert_int_equal(commit(f, batch), 0);
        assert_int_equal(vault_record_peek(f->store, 1000, &seen), 0);
        assert_int_equal(seen.state, VAULT_SEALED);
}

static void peek_refuses_a_damaged_record(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = vault_of(f, 1000, "alice");
        _cleanup_(buffer_done) Buffer value = {};
        VaultSummary seen = { .id = "untouched" };
        StoreKey key;

        assert_int_equal(v->uid, 1000);
        assert_int_equal(store_key_init(&key, RECORD_VAULT, 1000, NULL, 0), 0);
        assert_int_equal(store_get(f->store, &key, &value), 0);
        for (size_t n = 0; n < value.size; n++) {
                StoreBatch *batch = NULL;

                assert_int_equal(store_batch_new(&batch), 0);
                assert_int_equal(store_batch_put(batch, &key, value.bytes, n), 0);
                assert_int_equal(commit(f, batch), 0);
                assert_int_equal(vault_record_peek(f->store, 1000, &seen), -EBADMSG);
        }
        assert_string_equal(seen.id, "untouched");
}

static void credential_list_is_of_this_vault_and_service(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = vault_of(f, 1000, "alice"), *bob = vault_of(f, 1001, "bob");
        static const char *const rows[][2] = { { "notion", "work" }, { "notion", "default" },
                { "notion2", "default" }, { "git", "x" } };
        Credential **list = NULL;
        size_t n = 7;

        assert_int_equal(credential_record_list(f->store, v, NULL, &list, &n), 0);
        assert_int_equal(n, 0);
        credential_list_free(list, n);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(credential_freep) Credential *c = sample_credential(1000, rows[i][0], rows[i][1]);
                save_credential(f, v, c);
        }
        _cleanup_(credential_freep) Credential *foreign = sample_credential(1001, "notion", "default");
        save_credential(f, bob, foreign);

        assert_int_equal(credential_record_list(f->store, v, NULL, &list, &n), 0);
        assert_int_equal(n, 4);
        assert_string_equal(list[0]->service, "git");
        assert_string_equal(list[3]->service, "notion2");
        credential_list_free(list, n);
        assert_int_equal(credential_record_list(f->store, v, "notion", &list, &n), 0);
        assert_int_equal(n, 2);
        assert_string_equal(list[0]->label, "default");
        assert_string_equal(list[1]->label, "work");
        assert_int_equal(list[0]->uid, 1000);
        credential_list_free(list, n);
}

static void flow_is_found_by_ticket_and_listed_by_uid(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = vault_of(f, 1000, "alice"), *bob = vault_of(f, 1001, "bob");
        _cleanup_(flow_freep) Flow *one = sample_flow(v, 1), *two = sample_flow(bob, 2),
                                   *three = sample_flow(v, 3), *found = NULL;
        uint8_t unknown[32] = {};
        Flow **list = NULL;
        StoreBatch *b;
        size_t n;

        save_flow(f, v, one);
        save_flow(f, bob, two);
        save_flow(f, v, three);
        assert_int_equal(flow_record_find_ticket(f->store, f->keyring, two->ticket_digest, &found), 0);
        assert_int_equal(found->uid, 1001);
        assert_int_equal(found->state_digest[0], 2);
        Flow *none = NULL;
        assert_int_equal(flow_record_find_ticket(f->store, f->keyring, unknown, &none), -ENOENT);
        assert_int_equal(flow_record_read(f->store, f->keyring, unknown, &none), -ENOENT);

        assert_int_equal(flow_record_list(f->store, f->keyring, 1000, &list, &n), 0);
        assert_int_equal(n, 2);
        assert_int_equal(list[1]->state_digest[0], 3);
        flow_list_free(list, n);
        assert_int_equal(flow_record_list(f->store, f->keyring, UID_INVALID, &list, &n), 0);
        assert_int_equal(n, 3);
        flow_list_free(list, n);

        b = batch_new();
        assert_int_equal(flow_record_delete(b, found), 0);
        assert_int_equal(commit(f, b), 0);
        assert_int_equal(flow_record_find_ticket(f->store, f->keyring, two->ticket_digest, &none), -ENOENT);
}

static void agent_session_moves_from_nonce_to_platform_id(void **state) {
        Fixture *f = *state;
        _cleanup_(agent_session_freep) AgentSession *new = sample_agent_session(1000, "new-00"),
                                                    *pending = NULL, *made = NULL;
        AgentSession *gone = NULL, **list = NULL;
        StoreBatch *b = batch_new();
        size_t n;

        save_agent_session(f, new);
        assert_int_equal(agent_session_record_read(f->store, 1000, "new-00", &pending), 0);
        made = sample_agent_session(1000, "sesn_1");
        assert_int_equal(agent_session_record_delete(b, pending), 0);
        assert_int_equal(agent_session_record_put(b, made), 0);
        assert_int_equal(commit(f, b), 0);
        assert_int_equal(agent_session_record_read(f->store, 1000, "new-00", &gone), -ENOENT);
        assert_int_equal(agent_session_record_read(f->store, 1001, "sesn_1", &gone), -ENOENT);
        assert_int_equal(agent_session_record_list(f->store, 1000, &list, &n), 0);
        assert_int_equal(n, 1);
        assert_string_equal(list[0]->id, "sesn_1");
        agent_session_list_free(list, n);
        assert_int_equal(agent_session_record_list(f->store, 1001, &list, &n), 0);
        assert_int_equal(n, 0);
        agent_session_list_free(list, n);
}

static void authority_copy_owns_its_strings(void **state) {
        _cleanup_(authority_done) Authority a = { .issuer = strdup("i"),
                .client_id = strdup("c"),
                .iss_supported = true },
                                            b = {};

        assert_int_equal(authority_copy(&a, &b), 0);
        assert_string_equal(b.issuer, "i");
        assert_ptr_not_equal(a.issuer, b.issuer);
        assert_string_equal(b.client_id, "c");
        assert_null(b.token_endpoint);
        assert_true(b.iss_supported);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(vault_round_trips),
                TEST(credential_round_trips),
                TEST(data_key_leaves_the_cipher_with_its_vault),
                TEST(environment_credential_round_trips),
                TEST(credential_of_before_kinds_is_a_users_grant),
                TEST(half_a_kind_is_refused),
                TEST(flow_round_trips),
                TEST(client_round_trips),
                TEST(agent_session_round_trips),
                TEST(platform_object_round_trips),
                TEST(pinned_account_round_trips),
                TEST(absent_members_stay_absent),
                TEST(record_without_required_member_is_not_written),
                TEST(second_new_vault_loses),
                TEST(peek_shows_what_a_full_read_does),
                TEST(peek_refuses_a_damaged_record),
                TEST(stale_writer_and_stale_deleter_lose),
                TEST(credential_list_is_of_this_vault_and_service),
                TEST(flow_is_found_by_ticket_and_listed_by_uid),
                TEST(agent_session_moves_from_nonce_to_platform_id),
                TEST(authority_copy_owns_its_strings),
        };

        return RUN_TESTS("records", tests);
}
