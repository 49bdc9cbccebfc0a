/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Stored values that somebody or something changed: no byte of them is believed (T8), and no user's damage reaches another. */

#include <fcntl.h>
#include <sys/stat.h>

#include "samples.h"
#include "store/record.h"

/* One row of each type, and how it is read. */
typedef struct World {
        Fixture *f;
        Vault *alice, *bob;
        uint8_t digest[32];
} World;

typedef int (*Reader)(World *w);

static int read_vault(World *w) {
        _cleanup_(vault_freep) Vault *v = NULL;
        return vault_record_read(w->f->store, w->f->keyring, 1000, &v);
}

static int read_credential(World *w) {
        _cleanup_(credential_freep) Credential *c = NULL;
        return credential_record_read(w->f->store, w->alice, "notion", "default", &c);
}

static int read_flow(World *w) {
        _cleanup_(flow_freep) Flow *flow = NULL;
        return flow_record_read(w->f->store, w->f->keyring, w->digest, &flow);
}

static int read_client(World *w) {
        _cleanup_(client_freep) Client *c = NULL;
        return client_record_read(w->f->store, w->f->keyring, "https://issuer.example",
                        "http://127.0.0.1:876/callback/x", &c);
}

static int read_agent_session(World *w) {
        _cleanup_(agent_session_freep) AgentSession *a = NULL;
        return agent_session_record_read(w->f->store, 1000, "sesn_1", &a);
}

static int read_agent(World *w) {
        _cleanup_(platform_object_freep) PlatformObject *o = NULL;
        return platform_object_record_read(w->f->store, RECORD_AGENT, "deadbeef", &o);
}

static int read_pinned_account(World *w) {
        _cleanup_(pinned_account_freep) PinnedAccount *p = NULL;
        return pinned_account_record_read(w->f->store, 1000, "notion", "default", &p);
}

static const struct {
        RecordKind kind;
        Reader reader;
} types[] = {
        { RECORD_VAULT, read_vault },
        { RECORD_CREDENTIAL, read_credential },
        { RECORD_FLOW, read_flow },
        { RECORD_CLIENT, read_client },
        { RECORD_AGENT_SESSION, read_agent_session },
        { RECORD_AGENT, read_agent },
        { RECORD_ACCOUNT, read_pinned_account },
};

static void world_build(World *w, Fixture *f) {
        _cleanup_(credential_freep) Credential *credential = sample_credential(1000, "notion", "default");
        _cleanup_(client_freep) Client *client = sample_client();
        _cleanup_(agent_session_freep) AgentSession *session = sample_agent_session(1000, "sesn_1");
        _cleanup_(platform_object_freep) PlatformObject *agent = sample_platform_object(RECORD_AGENT);
        _cleanup_(pinned_account_freep) PinnedAccount *account = sample_pinned_account(1000, "notion");
        _cleanup_(flow_freep) Flow *flow = NULL;

        *w = (World){ .f = f, .alice = vault_of(f, 1000, "alice"), .bob = vault_of(f, 1001, "bob") };
        flow = sample_flow(w->alice, 9);
        memcpy(w->digest, flow->state_digest, 32);
        save_credential(f, w->alice, credential);
        save_flow(f, w->alice, flow);
        save_client(f, client);
        save_agent_session(f, session);
        save_platform_object(f, agent);
        save_pinned_account(f, account);
}

static void world_done(World *w) {
        (void)vault_free(w->alice);
        (void)vault_free(w->bob);
}

static int take_first(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        *(StoreKey *)userdata = *key;
        return 1;
}

/* The first key that is not the one in *userdata. */
static int take_other(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        StoreKey *known = userdata;

        if (memcmp(key->id, known->id, key->id_size) == 0)
                return 0;
        *known = *key;
        return 1;
}

static StoreKey only_key(Fixture *f, RecordKind kind) {
        StoreKey key = {};

        assert_int_equal(store_foreach(f->store, kind, UID_INVALID, take_first, &key), 1);
        return key;
}

static void each_byte_counts(void **state) {
        _cleanup_(world_done) World w = {};

        world_build(&w, *state);
        for (size_t t = 0; t < ELEMENTSOF(types); t++) {
                StoreKey key = only_key(w.f, types[t].kind);
                _cleanup_(buffer_done) Buffer value = stored_value(w.f, &key);

                assert_int_equal(types[t].reader(&w), 0);
                for (size_t i = 0; i < value.size; i++)
                        for (int k = 0; k < 3; k++) {
                                uint8_t flip = (uint8_t)(k == 0 ? 1 : k == 1 ? 0x80 : 0xff);

                                value.bytes[i] ^= flip;
                                put_raw(w.f, &key, value.bytes, value.size);
                                if (types[t].reader(&w) != -EBADMSG)
                                        fail_msg("kind %c: byte %zu ^ %#x was believed", types[t].kind, i,
                                                        flip);
                                value.bytes[i] ^= flip;
                        }
                put_raw(w.f, &key, value.bytes, value.size);
                assert_int_equal(types[t].reader(&w), 0);
        }
}

static void each_truncation_and_any_addition_is_found(void **state) {
        _cleanup_(world_done) World w = {};

        world_build(&w, *state);
        for (size_t t = 0; t < ELEMENTSOF(types); t++) {
                StoreKey key = only_key(w.f, types[t].kind);
                _cleanup_(buffer_done) Buffer value = stored_value(w.f, &key);
                static const uint8_t field[] = { 200, 0, 0, 0, 0 };

                for (size_t n = 0; n < value.size; n++) {
                        put_raw(w.f, &key, value.bytes, n);
                        assert_int_equal(types[t].reader(&w), -EBADMSG);
                        put_raw(w.f, &key, value.bytes + value.size - n, n);
                        assert_int_equal(types[t].reader(&w), -EBADMSG);
                }
                assert_int_equal(buffer_append(&value, field, sizeof(field)), 0);
                put_raw(w.f, &key, value.bytes, value.size);
                assert_int_equal(types[t].reader(&w), -EBADMSG);
                /* Unknown fields are fine for a reader, but not ones that the trailer does not cover. */
                memmove(value.bytes + 1 + sizeof(field), value.bytes + 1, value.size - 1 - sizeof(field));
                memcpy(value.bytes + 1, field, sizeof(field));
                put_raw(w.f, &key, value.bytes, value.size);
                assert_int_equal(types[t].reader(&w), -EBADMSG);
        }
}

static void row_of_another_kind_is_refused(void **state) {
        _cleanup_(world_done) World w = {};

        world_build(&w, *state);
        for (size_t to = 0; to < ELEMENTSOF(types); to++) {
                StoreKey key = only_key(w.f, types[to].kind);
                _cleanup_(buffer_done) Buffer own = stored_value(w.f, &key);

                for (size_t from = 0; from < ELEMENTSOF(types); from++) {
                        StoreKey foreign_key = only_key(w.f, types[from].kind);
                        _cleanup_(buffer_done) Buffer foreign = stored_value(w.f, &foreign_key);

                        if (from == to)
                                continue;
                        put_raw(w.f, &key, foreign.bytes, foreign.size);
                        assert_int_equal(types[to].reader(&w), -EBADMSG);
                }
                put_raw(w.f, &key, own.bytes, own.size);
        }
}

static void copy_row(Fixture *f, const StoreKey *from, const StoreKey *to) {
        _cleanup_(buffer_done) Buffer value = stored_value(f, from);

        put_raw(f, to, value.bytes, value.size);
}

static void row_of_another_uid_is_refused(void **state) {
        Fixture *f = *state;
        _cleanup_(world_done) World w = {};
        StoreKey alice, bob;
        Vault *v = NULL;
        Credential *c = NULL;
        AgentSession *a = NULL;
        PinnedAccount *p = NULL;

        world_build(&w, f);
        alice = key_of(RECORD_CREDENTIAL, 1000, "notion/default");
        bob = key_of(RECORD_CREDENTIAL, 1001, "notion/default");
        copy_row(f, &alice, &bob);
        assert_int_equal(credential_record_read(f->store, w.bob, "notion", "default", &c), -EBADMSG);
        /* Also with the vault that the row was made for: the uid binds, not just the key. */
        Vault mixed = { .uid = 1001, .id = w.alice->id, .key = w.alice->key };
        assert_int_equal(credential_record_read(f->store, &mixed, "notion", "default", &c), -EBADMSG);
        alice = key_of(RECORD_AGENT_SESSION, 1000, "sesn_1");
        bob = key_of(RECORD_AGENT_SESSION, 1001, "sesn_1");
        copy_row(f, &alice, &bob);
        assert_int_equal(agent_session_record_read(f->store, 1001, "sesn_1", &a), -EBADMSG);
        alice = key_of(RECORD_ACCOUNT, 1000, "notion/default");
        bob = key_of(RECORD_ACCOUNT, 1001, "notion/default");
        copy_row(f, &alice, &bob);
        assert_int_equal(pinned_account_record_read(f->store, 1001, "notion", "default", &p), -EBADMSG);
        alice = key_of(RECORD_VAULT, 1000, "");
        bob = key_of(RECORD_VAULT, 1001, "");
        copy_row(f, &alice, &bob);
        assert_int_equal(vault_record_read(f->store, f->keyring, 1001, &v), -EBADMSG);
}

static void row_of_another_service_is_refused(void **state) {
        Fixture *f = *state;
        _cleanup_(world_done) World w = {};
        StoreKey from, to;
        Credential *c = NULL;
        PinnedAccount *p = NULL;
        Client *client = NULL;

        world_build(&w, f);
        from = key_of(RECORD_CREDENTIAL, 1000, "notion/default");
        to = key_of(RECORD_CREDENTIAL, 1000, "github/default");
        copy_row(f, &from, &to);
        assert_int_equal(credential_record_read(f->store, w.alice, "github", "default", &c), -EBADMSG);
        to = key_of(RECORD_CREDENTIAL, 1000, "notion/work");
        copy_row(f, &from, &to);
        assert_int_equal(credential_record_read(f->store, w.alice, "notion", "work", &c), -EBADMSG);
        from = key_of(RECORD_ACCOUNT, 1000, "notion/default");
        to = key_of(RECORD_ACCOUNT, 1000, "github/default");
        copy_row(f, &from, &to);
        assert_int_equal(pinned_account_record_read(f->store, 1000, "github", "default", &p), -EBADMSG);

        /* A registration under the key of another issuer's. */
        from = only_key(f, RECORD_CLIENT);
        _cleanup_(client_freep) Client *other = sample_client();
        other->issuer[8] = 'X';
        save_client(f, other);
        to = from;
        assert_int_equal(store_foreach(f->store, RECORD_CLIENT, UID_INVALID, take_other, &to), 1);
        _cleanup_(buffer_done) Buffer one = stored_value(f, &from), two = stored_value(f, &to);
        put_raw(f, &from, two.bytes, two.size);
        put_raw(f, &to, one.bytes, one.size);
        assert_int_equal(read_client(&w), -EBADMSG);
        assert_int_equal(client_record_read(
                                         f->store, f->keyring, other->issuer, other->redirect_uri, &client),
                        -EBADMSG);
}

/* Both kinds of damage that a thief with write access would like best. */
static void clear_members_of_sealed_records_are_covered(void **state) {
        Fixture *f = *state;
        _cleanup_(world_done) World w = {};
        StoreKey key = key_of(RECORD_CREDENTIAL, 1000, "notion/default");

        world_build(&w, f);
        _cleanup_(buffer_done) Buffer value = stored_value(f, &key);
        uint8_t *upstream = memmem(value.bytes, value.size, "mcp.example/mcp", 15);
        assert_non_null(upstream);
        memcpy(upstream, "evil.host12/mcp", 15);
        put_raw(f, &key, value.bytes, value.size);
        assert_int_equal(read_credential(&w), -EBADMSG);

        key = key_of(RECORD_VAULT, 1000, "");
        _cleanup_(buffer_done) Buffer vault = stored_value(f, &key);
        uint8_t *user = memmem(vault.bytes, vault.size, "alice", 5);
        assert_non_null(user);
        memcpy(user, "carol", 5);
        put_raw(f, &key, vault.bytes, vault.size);
        assert_int_equal(read_vault(&w), -EBADMSG);
}

static void another_kek_opens_nothing(void **state) {
        Fixture *f = *state;
        _cleanup_(world_done) World w = {};
        char path[80];
        int fd;

        world_build(&w, f);
        f->keyring = keyring_free(f->keyring);
        (void)snprintf(path, sizeof(path), "%s/kek2", f->dir);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, "0123456789abcdef0123456789abcdef", 32), 32);
        (void)safe_close(fd);
        assert_int_equal(keyring_load(path, NULL, &f->keyring), 0);
        assert_int_equal(read_vault(&w), -EBADMSG);
        assert_int_equal(read_flow(&w), -EBADMSG);
        assert_int_equal(read_client(&w), -EBADMSG);
}

static void secrets_are_not_in_the_file(void **state) {
        Fixture *f = *state;
        _cleanup_(world_done) World w = {};
        static const char *const canaries[] = { "access-token-canary", "refresh-token-canary",
                "client-secret-canary", "state-canary", "verifier-canary", "registration-canary",
                "device-code-canary" };
        char path[96];
        struct stat st;
        int fd;

        world_build(&w, f);
        (void)snprintf(path, sizeof(path), "%s/state/vaultd.mdb", f->dir);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(fstat(fd, &st), 0);
        char *bytes = malloc((size_t)st.st_size);
        assert_non_null(bytes);
        assert_int_equal(pread(fd, bytes, (size_t)st.st_size, 0), st.st_size);
        /* The search itself works: this is clear on purpose. */
        assert_non_null(memmem(bytes, (size_t)st.st_size, "https://mcp.example/mcp", 23));
        for (size_t i = 0; i < ELEMENTSOF(canaries); i++)
                assert_null(memmem(bytes, (size_t)st.st_size, canaries[i], strlen(canaries[i])));
        assert_null(memmem(bytes, (size_t)st.st_size, w.alice->key->bytes, 16));
        free(bytes);
        (void)safe_close(fd);
}

static void damaged_flow_does_not_hide_those_of_others(void **state) {
        Fixture *f = *state;
        _cleanup_(world_done) World w = {};
        _cleanup_(flow_freep) Flow *of_bob = NULL, *found = NULL;
        StoreKey key;
        Flow **list = NULL, *none = NULL;
        size_t n;

        world_build(&w, f);
        key = only_key(f, RECORD_FLOW);
        of_bob = sample_flow(w.bob, 200);
        save_flow(f, w.bob, of_bob);
        _cleanup_(buffer_done) Buffer value = stored_value(f, &key);
        value.bytes[value.size - 1] ^= 1;
        put_raw(f, &key, value.bytes, value.size);

        assert_int_equal(flow_record_list(f->store, f->keyring, UID_INVALID, &list, &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(list[0]->uid, 1001);
        flow_list_free(list, n);
        assert_int_equal(flow_record_find_ticket(f->store, f->keyring, of_bob->ticket_digest, &found), 0);
        assert_int_equal(flow_record_list(f->store, f->keyring, 1001, &list, &n), 0);
        assert_int_equal(n, 1);
        flow_list_free(list, n);
        assert_int_equal(flow_record_list(f->store, f->keyring, 1000, &list, &n), 0);
        assert_int_equal(n, 0);
        flow_list_free(list, n);
        assert_int_equal(flow_record_read(f->store, f->keyring, w.digest, &none), -EBADMSG);

        value.bytes[0] = 77; /* not even its uid can be read */
        put_raw(f, &key, value.bytes, value.size);
        assert_int_equal(flow_record_list(f->store, f->keyring, UID_INVALID, &list, &n), 0);
        flow_list_free(list, n);
        assert_int_equal(flow_record_list(f->store, f->keyring, 1001, &list, &n), 0);
        assert_int_equal(n, 1);
        flow_list_free(list, n);
}

static void damaged_credential_is_not_left_out(void **state) {
        Fixture *f = *state;
        _cleanup_(world_done) World w = {};
        StoreKey key = key_of(RECORD_CREDENTIAL, 1000, "notion/default");
        _cleanup_(credential_freep) Credential *other = sample_credential(1000, "github", "default");
        Credential **list = NULL;
        size_t n;

        world_build(&w, f);
        save_credential(f, w.alice, other);
        put_raw(f, &key, "damaged", 7);
        assert_int_equal(credential_record_list(f->store, w.alice, NULL, &list, &n), -EBADMSG);
        assert_int_equal(credential_record_list(f->store, w.alice, "notion", &list, &n), -EBADMSG);
        assert_int_equal(credential_record_list(f->store, w.alice, "github", &list, &n), 0);
        assert_int_equal(n, 1);
        credential_list_free(list, n);
}

/* What a newer vaultd, which has more fields, wrote: still read. */
static void unknown_field_is_passed_over(void **state) {
        static const uint8_t fields[] = {
                99,
                3,
                0,
                0,
                0,
                'n',
                'e',
                'w',
                2,
                8,
                0,
                0,
                0,
                0xe8,
                3,
                0,
                0,
                0,
                0,
                0,
                0,
                3,
                1,
                0,
                0,
                0,
                's',
                4,
                1,
                0,
                0,
                0,
                'l',
                5,
                1,
                0,
                0,
                0,
                'a',
        };
        PinnedAccount *p = record_new(&pinned_account_type);

        assert_int_equal(record_decode_fields(&pinned_account_type, false, fields, sizeof(fields), p), 0);
        assert_int_equal(p->uid, 1000);
        assert_string_equal(p->service, "s");
        assert_string_equal(p->account_id, "a");
        assert_null(p->account_name);
        (void)pinned_account_free(p);
}

/* Each is one field more or less than what decodes, so nothing but the named fault can be the reason. */
static void ill_formed_fields_are_refused(void **state) {
        static const uint8_t rest[] = { 3, 1, 0, 0, 0, 's', 4, 1, 0, 0, 0, 'l', 5, 1, 0, 0, 0, 'a' };
        static const struct {
                const char *fault;
                int result;
                size_t size;
                uint8_t bytes[32];
        } cases[] = {
                { "none", 0, 13, { 2, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0 } },
                { "optional member", 0, 19, { 2, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 6, 1, 0, 0, 0, 'n' } },
                { "number of seven bytes", -EBADMSG, 12, { 2, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0 } },
                { "number of nine bytes", -EBADMSG, 14, { 2, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0 } },
                { "UID_INVALID", -EBADMSG, 13, { 2, 8, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0 } },
                { "beyond the member", -EBADMSG, 13, { 2, 8, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0 } },
                { "NUL in text", -EBADMSG, 21,
                                { 2, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 6, 3, 0, 0, 0, 'a', 0, 'b' } },
                { "text twice", -EBADMSG, 19,
                                { 2, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 's' } },
                { "required member absent", -EBADMSG, 0, {} },
                { "longer than all", -EBADMSG, 18,
                                { 2, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 99, 0xff, 0xff, 0xff, 0xff } },
                { "no whole head", -EBADMSG, 13, { 2, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0 } },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                PinnedAccount *p = record_new(&pinned_account_type);
                _cleanup_(buffer_done) Buffer fields = {};
                int r;

                assert_int_equal(buffer_append(&fields, rest, sizeof(rest)), 0);
                assert_int_equal(buffer_append(&fields, cases[i].bytes, cases[i].size), 0);
                if (i == ELEMENTSOF(cases) - 1)
                        assert_int_equal(buffer_append(&fields, "\x63\0\0\0", 4), 0);
                r = record_decode_fields(&pinned_account_type, false, fields.bytes, fields.size, p);
                if (r != cases[i].result)
                        fail_msg("%s: %d", cases[i].fault, r);
                (void)pinned_account_free(p);
        }
}

static void ill_formed_lists_are_refused(void **state) {
        static const uint8_t rest[] = { 2, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 'x' };
        static const struct {
                int result;
                size_t size;
                uint8_t bytes[32];
        } cases[] = {
                { 0, 5, { 10, 0, 0, 0, 0 } }, { 0, 14, { 10, 9, 0, 0, 0, 1, 0, 0, 0, 'a', 0, 0, 0, 0 } },
                { -EBADMSG, 13, { 10, 8, 0, 0, 0, 1, 0, 0, 0, 'a', 0, 0, 0 } }, /* a size that is cut */
                { -EBADMSG, 16,
                                { 10, 5, 0, 0, 0, 2, 0, 0, 0, 'a', 4, 1, 0, 0, 0,
                                                'n' } },                           /* into the next field */
                { -EBADMSG, 10, { 10, 5, 0, 0, 0, 0xfd, 0xff, 0xff, 0xff, 'a' } }, /* … by wrapping around */
                { -EBADMSG, 11, { 10, 6, 0, 0, 0, 2, 0, 0, 0, 'a', 0 } },          /* NUL */
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                AgentSession *a = record_new(&agent_session_type);
                _cleanup_(buffer_done) Buffer fields = {};

                assert_int_equal(buffer_append(&fields, rest, sizeof(rest)), 0);
                assert_int_equal(buffer_append(&fields, cases[i].bytes, cases[i].size), 0);
                assert_int_equal(record_decode_fields(
                                                 &agent_session_type, false, fields.bytes, fields.size, a),
                                cases[i].result);
                (void)agent_session_free(a);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(each_byte_counts),
                TEST(each_truncation_and_any_addition_is_found),
                TEST(row_of_another_kind_is_refused),
                TEST(row_of_another_uid_is_refused),
                TEST(row_of_another_service_is_refused),
                TEST(clear_members_of_sealed_records_are_covered),
                TEST(another_kek_opens_nothing),
                TEST_ON_DISK(secrets_are_not_in_the_file),
                TEST(damaged_flow_does_not_hide_those_of_others),
                TEST(damaged_credential_is_not_left_out),
                TEST(unknown_field_is_passed_over),
                TEST(ill_formed_fields_are_refused),
                TEST(ill_formed_lists_are_refused),
        };

        return RUN_TESTS("damage", tests);
}
