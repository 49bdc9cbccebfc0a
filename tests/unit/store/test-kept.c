/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Files of earlier versions open, and every record in them reads as it was written (V2).
 *
 * kept/schema-1.mdb was made by keep.c with the first version that had all kinds of records (commit 4f4dbb9, before the chain) and
 * with the key below; it is compacted and never changed. When a version changes what lies under the keys, the file of the
 * one before is added here with a row of its own: build keep.c at the old commit and run it with an empty folder. What is expected is
 * written out here and not taken from samples.c, which moves on. */

#include <fcntl.h>
#include <sys/stat.h>

#include "samples.h"
#include "store/record.h"

static const char kek[] = "kept with the tests: 32 bytes ok";

static void write_whole(const char *path, const void *bytes, size_t size) {
        _cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, bytes, size), size);
}

/* Puts a copy of the kept file in the place of the fixture's, and its key. */
static void kept_open(Fixture *f, const char *name) {
        _cleanup_(freep) uint8_t *bytes = malloc(1 << 20);
        _cleanup_(closep) int fd = -1;
        char path[512];
        ssize_t n;

        assert_non_null(bytes);
        (void)snprintf(path, sizeof(path), "%s/%s", KEPT_FOLDER, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        n = read(fd, bytes, 1 << 20);
        assert_in_range(n, 4096, (1 << 20) - 1);

        fixture_close(f);
        (void)snprintf(path, sizeof(path), "%s/state/vaultd.mdb", f->dir);
        write_whole(path, bytes, (size_t)n);
        (void)snprintf(path, sizeof(path), "%s/kept-kek", f->dir);
        write_whole(path, kek, 32);
        f->keyring = keyring_free(f->keyring);
        assert_int_equal(keyring_load(path, NULL, &f->keyring), 0);
        assert_int_equal(fixture_open(f, f->map_size), 0);
}

static void assert_secret(const Secret *s, const char *text) {
        assert_non_null(s);
        assert_string_equal(secret_text(s), text);
}

static void assert_authority(const Authority *a) {
        assert_string_equal(a->issuer, "https://issuer.example");
        assert_string_equal(a->authorization_endpoint, "https://issuer.example/authorize");
        assert_string_equal(a->token_endpoint, "https://issuer.example/token");
        assert_string_equal(a->revocation_endpoint, "https://issuer.example/revoke");
        assert_string_equal(a->userinfo_endpoint, "https://issuer.example/userinfo");
        assert_string_equal(a->client_id, "client-1");
        assert_string_equal(a->client_auth_method, "client_secret_basic");
        assert_true(!a->revocation && !a->revoked_answers); /* absent there: RFC 7009 */
        assert_true(a->iss_supported);
}

static void assert_vault(const Vault *v) {
        assert_int_equal(v->uid, 1000);
        assert_string_equal(v->id, "v-f58fcc43c05f566c9094b8da85d4f420");
        assert_string_equal(v->user, "alice");
        assert_int_equal(v->state, VAULT_LOCKED);
        assert_true(v->created_usec > UINT64_C(1600000000000000));
        assert_string_equal(v->platform_vault_id, "vlt_1");
        assert_string_equal(v->platform_nonce, "00112233445566778899aabbccddeeff");
        assert_int_equal(v->platform_nonce_usec, 11);
        assert_string_equal(v->reason, "left");
        assert_int_equal(v->state_usec, 12);
        assert_int_equal(v->verified_usec, 13);
}

static void assert_credential(const Credential *c) {
        assert_string_equal(c->id, "c-0123456789abcdef0123456789abcdef");
        assert_string_equal(c->upstream, "https://mcp.example/mcp");
        assert_string_equal(c->resource, "https://mcp.example");
        assert_authority(&c->authority);
        assert_string_equal(c->scope, "read write");
        assert_string_equal(c->account_id, "account-7");
        assert_string_equal(c->account_name, "Zo\xc3\xab");
        assert_int_equal(c->created_usec, 1234567890123456);
        assert_int_equal(c->expires_usec, UINT64_MAX);
        assert_int_equal(c->custody, 3);
        assert_int_equal(c->state, CREDENTIAL_NEEDS_RECONNECT);
        assert_string_equal(c->platform_credential_id, "cred_1");
        assert_secret(c->access_token, "access-token-canary");
        assert_secret(c->refresh_token, "refresh-token-canary");
        assert_secret(c->client_secret, "client-secret-canary");
        /* What it did not have yet. */
        assert_int_equal(c->kind, CREDENTIAL_OAUTH);
        assert_int_equal(c->level, CREDENTIAL_USER);
        assert_null(c->state_reason);
        assert_null(c->variable);
        assert_null(c->allowed_hosts);
}

static void assert_flow(const Flow *f) {
        uint8_t filled[32];

        assert_int_equal(f->uid, 1000);
        assert_string_equal(f->id, "f-0123456789abcdef0123456789abcdef");
        assert_string_equal(f->vault_id, "v-f58fcc43c05f566c9094b8da85d4f420");
        assert_string_equal(f->user, "alice");
        assert_string_equal(f->host, "host.example");
        assert_string_equal(f->service, "notion");
        assert_string_equal(f->label, "default");
        assert_string_equal(f->upstream, "https://mcp.example/mcp");
        assert_string_equal(f->resource, "https://mcp.example");
        assert_string_equal(f->scope, "read");
        assert_string_equal(f->redirect_uri, "http://127.0.0.1:876/callback/x");
        assert_authority(&f->authority);
        assert_int_equal(f->state, FLOW_QUARANTINED);
        assert_int_equal(f->way, FLOW_WAY_PASTE);
        assert_int_equal(f->created_usec, 1);
        assert_int_equal(f->expires_usec, UINT64_C(1) << 63);
        memset(filled, 9 ^ 0x55, sizeof(filled));
        assert_memory_equal(f->ticket_digest, filled, sizeof(filled));
        memset(filled, 9 ^ 0xaa, sizeof(filled));
        assert_memory_equal(f->claim_mac, filled, sizeof(filled));
        assert_int_equal(f->tries_left, 3);
        assert_true(f->is_replacing_account);
        assert_string_equal(f->account_id, "account-7");
        assert_string_equal(f->account_name, "Alice");
        assert_int_equal(f->token_expires_usec, 77);
        assert_secret(f->state_text, "state-canary");
        assert_secret(f->code_verifier, "verifier-canary");
        assert_secret(f->client_secret, "client-secret-canary");
        assert_secret(f->access_token, "access-token-canary");
        assert_secret(f->refresh_token, "refresh-token-canary");
}

static void check_sealed(Fixture *f) {
        static const uint8_t state[32] = { 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9,
                9, 9, 9, 9, 9, 9, 9, 9, 9, 9 };
        _cleanup_(vault_freep) Vault *v = NULL;
        _cleanup_(credential_freep) Credential *c = NULL;
        _cleanup_(flow_freep) Flow *flow = NULL;
        _cleanup_(client_freep) Client *client = NULL;

        assert_int_equal(vault_record_read(f->store, f->keyring, 1000, &v), 0);
        assert_vault(v);
        assert_int_equal(credential_record_read(f->store, v, "notion", "default", &c), 0);
        assert_credential(c);
        assert_int_equal(flow_record_read(f->store, f->keyring, state, &flow), 0);
        assert_flow(flow);
        assert_int_equal(client_record_read(f->store, f->keyring, "https://issuer.example",
                                         "http://127.0.0.1:876/callback/x", &client),
                        0);
        assert_string_equal(client->client_id, "client-1");
        assert_string_equal(client->auth_method, "client_secret_basic");
        assert_int_equal(client->secret_expires_usec, 99);
        assert_secret(client->client_secret, "client-secret-canary");
        assert_secret(client->registration_access_token, "registration-canary");
}

static void check_agent_session(Fixture *f) {
        _cleanup_(agent_session_freep) AgentSession *a = NULL;

        assert_int_equal(agent_session_record_read(f->store, 1000, "sesn_1", &a), 0);
        assert_string_equal(a->nonce, "00112233445566778899aabbccddeeff");
        assert_string_equal(a->title, "Title");
        assert_string_equal(a->agent_id, "agent_1");
        assert_int_equal(a->agent_version, -5);
        assert_string_equal(a->environment_id, "env_1");
        assert_string_equal(a->platform_vault_id, "vlt_1");
        assert_string_equal(a->servers[0], "github");
        assert_string_equal(a->servers[1], "notion");
        assert_null(a->servers[2]);
        assert_string_equal(a->accounts[0], "alice");
        assert_string_equal(a->accounts[1], "");
        assert_null(a->accounts[2]);
        assert_int_equal(a->created_usec, 5);
}

static void check_clear(Fixture *f) {
        _cleanup_(pinned_account_freep) PinnedAccount *p = NULL;

        check_agent_session(f);
        for (int i = 0; i < 2; i++) {
                _cleanup_(platform_object_freep) PlatformObject *o = NULL;

                assert_int_equal(platform_object_record_read(f->store, i ? RECORD_AGENT : RECORD_ENVIRONMENT,
                                                 "deadbeef", &o),
                                0);
                assert_string_equal(o->nonce, "00112233445566778899aabbccddeeff");
                assert_int_equal(o->nonce_usec, 6);
                assert_string_equal(o->platform_id, "agent_1");
                assert_int_equal(o->version, INT64_MAX);
        }
        assert_int_equal(pinned_account_record_read(f->store, 1000, "notion", "default", &p), 0);
        assert_string_equal(p->account_id, "account-7");
        assert_string_equal(p->account_name, "Alice");
}

/* The value of what was set aside under that number, without its head. */
typedef struct Aside {
        uint8_t number;
        Buffer record;
        StoreKey key; /* where it was */
} Aside;

static int aside_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        Aside *a = userdata;

        if (key->id[key->id_size - 1] != a->number)
                return 0;
        assert_true(size > 2 && size > 2U + value[1]);
        assert_int_equal(store_key_init(&a->key, (RecordKind)value[0], key->uid, value + 2, value[1]), 0);
        assert_int_equal(buffer_append(&a->record, value + 2 + value[1], size - 2 - value[1]), 0);
        return 1;
}

static void put_back(Fixture *f, uid_t uid, uint8_t number) {
        Aside aside = { .number = number };

        assert_int_equal(store_foreach(f->store, RECORD_ASIDE, uid, aside_visit, &aside), 1);
        put_raw(f, &aside.key, aside.record.bytes, aside.record.size);
        buffer_done(&aside.record);
}

static void check_aside(Fixture *f) {
        _cleanup_(vault_freep) Vault *bobby = NULL, *bob = NULL;
        _cleanup_(credential_freep) Credential *c = NULL;

        assert_int_equal(vault_record_read(f->store, f->keyring, 1001, &bobby), 0);
        assert_string_equal(bobby->user, "bobby");
        put_back(f, 1001, 0);
        put_back(f, 1001, 1);
        assert_int_equal(vault_record_read(f->store, f->keyring, 1001, &bob), 0);
        assert_string_equal(bob->id, "v-399897849e81b291cbaa4d0d351cbb26");
        assert_string_equal(bob->user, "bob");
        assert_int_equal(credential_record_read(f->store, bob, "github", "work", &c), 0);
        assert_credential(c);
}

static void schema_1_reads_as_it_was_written(void **state) {
        Fixture *f = *state;
        StoreChain chain;

        kept_open(f, "schema-1.mdb");
        check_sealed(f);
        check_clear(f);
        /* It is from before the chain, which begins with the first write. */
        assert_int_equal(store_chain(f->store, &chain), 0);
        assert_int_equal(chain.sequence, 0);
        check_aside(f);
        assert_int_equal(store_chain(f->store, &chain), 0);
        assert_int_equal(chain.sequence, 2);
}

/* What is read is written back by this version and read once more. */
static void schema_1_is_written_by_this_version(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = NULL;
        _cleanup_(credential_freep) Credential *c = NULL;

        kept_open(f, "schema-1.mdb");
        assert_int_equal(vault_record_read(f->store, f->keyring, 1000, &v), 0);
        assert_int_equal(credential_record_read(f->store, v, "notion", "default", &c), 0);
        StoreBatch *b = batch_new();
        assert_int_equal(vault_record_put(b, f->keyring, v), 0);
        assert_int_equal(credential_record_put(b, v, c), 0);
        assert_int_equal(commit(f, b), 0);
        fixture_reopen(f, f->map_size);
        check_sealed(f);
        check_clear(f);
}

static int count_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        (*(size_t *)userdata)++;
        return 0;
}

/* Else the test above would hold nothing of a kind. What came after schema 1 is named. */
static void schema_1_has_a_record_of_each_kind(void **state) {
        Fixture *f = *state;

        kept_open(f, "schema-1.mdb");
        for (RecordKind kind = first_kind(); kind != 0; kind = next_kind(kind)) {
                size_t n = 0;

                assert_int_equal(store_foreach(f->store, kind, UID_INVALID, count_visit, &n), 0);
                if (n == 0 && kind != RECORD_REVOCATION)
                        fail_msg("no record of kind %c", kind);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(schema_1_reads_as_it_was_written),
                TEST(schema_1_is_written_by_this_version),
                TEST(schema_1_has_a_record_of_each_kind),
        };

        return RUN_TESTS("kept", tests);
}
