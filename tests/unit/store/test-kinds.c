/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Records of every kind: a byte that is changed in any of them, or two that change places, are found and named (T8).
 *
 * The rows are made by the records' own code for two users, one of whom has a vault that was set aside as well. A kind without
 * a row fails, and so does an id of RECORD_META that the table at the head of store.h has and these rows have not. */

#include <stdio.h>

#include "samples.h"
#include "store/record.h"
#include "store/recovery.h"
#include "store/rekey.h"
#include "store/scrub.h"
#include "store/verify.h"

#define ROWS_MAX 64U

typedef struct Row {
        StoreKey key;
        Buffer value;
} Row;

typedef struct World {
        Fixture *f;
        Row rows[ROWS_MAX];
        size_t n_rows;
} World;

/* Of a credential that is moved there and whose place is then taken again. */
static void save_revocation_of(Fixture *f, const Vault *v, uint8_t fill) {
        _cleanup_(credential_freep) Credential *c = sample_credential(v->uid, "linear", "default");
        StoreBatch *b = batch_new();
        Credential **list = NULL;
        size_t n = 0, n_damaged = 0;

        c->id[2] = (char)('0' + fill % 10);
        save_credential(f, v, c);
        assert_int_equal(revocation_record_begin(f->store, b, v, "linear", &list, &n, &n_damaged), 0);
        assert_int_equal(n, 1);
        credential_list_free(list, n);
        assert_int_equal(commit(f, b), 0);
}

static void save_for(Fixture *f, uid_t uid, const char *user, const char *service, const char *session,
                uint8_t fill) {
        _cleanup_(vault_freep) Vault *v = vault_of(f, uid, user);
        _cleanup_(credential_freep) Credential *credential = sample_credential(uid, service, "default"),
                                               *other = sample_credential(uid, service, "work");
        _cleanup_(agent_session_freep) AgentSession *s = sample_agent_session(uid, session);
        _cleanup_(pinned_account_freep) PinnedAccount *account = sample_pinned_account(uid, service);
        _cleanup_(flow_freep) Flow *flow = sample_flow(v, fill);

        save_credential(f, v, credential);
        save_credential(f, v, other);
        save_agent_session(f, s);
        save_pinned_account(f, account);
        save_flow(f, v, flow);
        save_revocation_of(f, v, fill);
}

static void save_shared(Fixture *f) {
        _cleanup_(client_freep) Client *client = sample_client(), *other = sample_client();
        _cleanup_(platform_object_freep)
                        PlatformObject *agent = sample_platform_object(RECORD_AGENT),
                                       *environment = sample_platform_object(RECORD_ENVIRONMENT);
        uint8_t public[RECOVERY_KEY_SIZE];
        Secret *text = NULL;
        StoreBatch *b = batch_new();

        save_client(f, client);
        other->issuer[8] = 'X';
        save_client(f, other);
        save_platform_object(f, agent);
        save_platform_object(f, environment);
        assert_int_equal(recovery_new(public, &text), 0);
        (void)secret_free(text);
        assert_int_equal(recovery_record_put(b, f->keyring, public, 5), 0);
        assert_int_equal(store_batch_put_behind(b, &(StoreChain){ .sequence = 7, .head = "newest" }), 0);
        assert_int_equal(scrub_note_put(b), 0);
        assert_int_equal(rekey_note_put(NULL, b, f->keyring, f->keyring), 0);
        assert_int_equal(commit(f, b), 0);
        assert_int_equal(rekey_open(f->store, f->keyring), 0);
        assert_int_equal(commit(f, batch_new()), 0);
}

static void set_aside(Fixture *f, uid_t uid) {
        _cleanup_(vault_freep) Vault *v = NULL;
        StoreBatch *b = batch_new();

        assert_int_equal(vault_record_read(f->store, f->keyring, uid, &v), 0);
        assert_int_equal(vault_set_aside(f->store, b, v), 0);
        assert_int_equal(commit(f, b), 0);
}

static int row_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        World *w = userdata;

        assert_true(w->n_rows < ROWS_MAX);
        w->rows[w->n_rows].key = *key;
        assert_int_equal(buffer_append(&w->rows[w->n_rows].value, value, size), 0);
        w->n_rows++;
        return 0;
}

static void world_build(World *w, Fixture *f) {
        *w = (World){ .f = f };
        save_for(f, 1000, "alice", "notion", "sesn_1", 9);
        save_for(f, 1001, "bob", "notion", "sesn_2", 10);
        set_aside(f, 1001);
        save_for(f, 1001, "bobby", "notion", "sesn_3", 11);
        save_shared(f);
        for (RecordKind kind = first_kind(); kind != 0; kind = next_kind(kind))
                assert_int_equal(store_foreach(f->store, kind, UID_INVALID, row_visit, w), 0);
}

static void world_done(World *w) {
        for (size_t i = 0; i < w->n_rows; i++)
                buffer_done(&w->rows[i].value);
}

static int verify(World *w, const Row *row, const uint8_t *value, size_t size) {
        return record_verify(w->f->store, w->f->keyring, &row->key, value, size);
}

static bool is_meta(const Row *row, const char *id) {
        return row->key.kind == RECORD_META && row->key.id_size == strlen(id) &&
               memcmp(row->key.id, id, row->key.id_size) == 0;
}

/* What the commits of the test itself would write over, or what is read from its place and not from a value in hand. */
static bool is_in_place(const Row *row) {
        return is_meta(row, "recovery");
}

static int verify_bytes(World *w, const Row *row, const Buffer *value) {
        if (is_in_place(row))
                put_raw(w->f, &row->key, value->bytes, value->size);
        return verify(w, row, value->bytes, value->size);
}

static void each_kind_has_a_row_and_opens(void **state) {
        _cleanup_(world_done) World w = {};

        world_build(&w, *state);
        for (RecordKind kind = first_kind(); kind != 0; kind = next_kind(kind)) {
                bool is_there = false;

                for (size_t i = 0; i < w.n_rows; i++)
                        is_there = is_there || w.rows[i].key.kind == kind;
                if (!is_there)
                        fail_msg("no row of kind %c", kind);
        }
        for (size_t i = 0; i < w.n_rows; i++)
                if (verify(&w, &w.rows[i], w.rows[i].value.bytes, w.rows[i].value.size) != 0)
                        fail_msg("row %zu of kind %c does not open", i, w.rows[i].key.kind);
}

/* "     id        written by …", one a line, until the comment ends. */
static void each_meta_id_has_a_row(void **state) {
        _cleanup_(world_done) World w = {};
        FILE *file = fopen(STORE_HEADER, "re");
        char line[300], id[32];
        bool is_table = false;
        size_t n = 0;

        assert_non_null(file);
        world_build(&w, *state);
        while (fgets(line, sizeof(line), file)) {
                if (strstr(line, "id        written by")) {
                        is_table = true;
                        continue;
                }
                if (!is_table)
                        continue;
                if (sscanf(line, " *     %31[a-z-]", id) != 1 || strncmp(line, " *     ", 7) != 0)
                        break;
                bool is_there = false;
                for (size_t i = 0; i < w.n_rows; i++)
                        is_there = is_there || is_meta(&w.rows[i], id);
                /* The store in memory has no version. */
                if (!is_there && !(streq(id, "schema") && getenv("VAULTD_TEST_STORE")))
                        fail_msg("RECORD_META has an id %s without a row here", id);
                n++;
        }
        (void)fclose(file);
        assert_true(n >= 3);
}

static void each_changed_byte_is_found(void **state) {
        static const uint8_t flips[] = { 0x01, 0x80, 0xff };
        _cleanup_(world_done) World w = {};

        world_build(&w, *state);
        for (size_t i = 0; i < w.n_rows; i++) {
                Row *row = &w.rows[i];
                size_t step = is_in_place(row) ? 3 : 1;

                for (size_t at = 0; at < row->value.size; at += step)
                        for (size_t k = 0; k < ELEMENTSOF(flips); k++) {
                                row->value.bytes[at] ^= flips[k];
                                if (verify_bytes(&w, row, &row->value) != -EBADMSG)
                                        fail_msg("kind %c: byte %zu ^ %#x was believed", row->key.kind, at,
                                                        flips[k]);
                                row->value.bytes[at] ^= flips[k];
                        }
                assert_int_equal(verify_bytes(&w, row, &row->value), 0);
        }
}

static void each_truncation_and_addition_is_found(void **state) {
        _cleanup_(world_done) World w = {};

        world_build(&w, *state);
        for (size_t i = 0; i < w.n_rows; i++) {
                Row *row = &w.rows[i];

                for (size_t n = 0; n < row->value.size && !is_in_place(row); n++)
                        assert_int_equal(verify(&w, row, row->value.bytes, n), -EBADMSG);
                assert_int_equal(buffer_append(&row->value, "", 1), 0);
                assert_int_equal(verify_bytes(&w, row, &row->value), -EBADMSG);
        }
}

/* What was set aside says itself where it was, and the number in its key says nothing, but that the vault is the first. */
static bool is_same_aside(const Row *a, const Row *b) {
        const size_t n = a->key.id_size;

        return a->key.kind == RECORD_ASIDE && b->key.kind == RECORD_ASIDE && a->key.uid == b->key.uid &&
               n == b->key.id_size && memcmp(a->key.id, b->key.id, n - 4) == 0 && a->key.id[n - 1] > 0 &&
               b->key.id[n - 1] > 0;
}

/* In the store itself, so that whatever the one needs of the other is changed, too. */
static void any_two_that_change_places_are_found(void **state) {
        _cleanup_(world_done) World w = {};
        size_t n_swaps = 0;

        world_build(&w, *state);
        for (size_t i = 0; i < w.n_rows; i++)
                for (size_t j = i + 1; j < w.n_rows; j++) {
                        Row *a = &w.rows[i], *b = &w.rows[j];

                        /* What the writer itself looks at is swapped by hand in test-store.c and test-chain.c. */
                        if (is_meta(a, "schema") || is_meta(a, "chain") || is_meta(b, "schema") ||
                                        is_meta(b, "chain")) {
                                assert_int_equal(verify_bytes(&w, a, &b->value), -EBADMSG);
                                assert_int_equal(verify_bytes(&w, b, &a->value), -EBADMSG);
                                assert_int_equal(verify_bytes(&w, a, &a->value), 0);
                                assert_int_equal(verify_bytes(&w, b, &b->value), 0);
                                continue;
                        }
                        put_raw(w.f, &a->key, b->value.bytes, b->value.size);
                        put_raw(w.f, &b->key, a->value.bytes, a->value.size);
                        int expected = is_same_aside(a, b) ? 0 : -EBADMSG;
                        if (verify(&w, a, b->value.bytes, b->value.size) != expected ||
                                        verify(&w, b, a->value.bytes, a->value.size) != expected)
                                fail_msg("rows %zu (kind %c) and %zu (kind %c) changed places unnoticed", i,
                                                a->key.kind, j, b->key.kind);
                        put_raw(w.f, &a->key, a->value.bytes, a->value.size);
                        put_raw(w.f, &b->key, b->value.bytes, b->value.size);
                        n_swaps++;
                }
        print_message("# %zu rows, %zu swaps\n", w.n_rows, n_swaps);
        assert_true(n_swaps > 200);
}

static void assert_damage(World *w, uid_t uid, const char *expected) {
        _cleanup_(freep) char *names = NULL;
        int r;

        r = store_find_damage(w->f->store, w->f->keyring, uid, &names);
        assert_int_equal(r, expected ? 1 : 0);
        if (expected)
                assert_string_equal(names, expected);
}

static void damage_key(World *w, const StoreKey *key) {
        _cleanup_(buffer_done) Buffer value = stored_value(w->f, key);

        value.bytes[value.size / 2] ^= 1;
        put_raw(w->f, key, value.bytes, value.size);
}

static void damage_is_named_to_those_whom_it_concerns(void **state) {
        _cleanup_(world_done) World w = {};
        StoreKey key;

        world_build(&w, *state);
        assert_damage(&w, 1000, NULL);
        assert_damage(&w, 1001, NULL);
        assert_damage(&w, 1002, NULL);

        key = key_of(RECORD_CREDENTIAL, 1000, "notion/work");
        damage_key(&w, &key);
        key = key_of(RECORD_ACCOUNT, 1000, "notion/default");
        damage_key(&w, &key);
        assert_damage(&w, 1000, "credential notion/work, pinned account notion/default");
        assert_damage(&w, 1001, NULL);

        key = key_of(RECORD_VAULT, 1001, "");
        damage_key(&w, &key);
        assert_damage(&w, 1001, "vault");

        /* What all share is everybody's. */
        key = key_of(RECORD_AGENT, 0, "deadbeef");
        damage_key(&w, &key);
        assert_damage(&w, 1001, "vault, agent deadbeef");
        assert_damage(&w, 1002, "agent deadbeef");
}

static void unknown_kinds_are_not_called_sound(void **state) {
        Fixture *f = *state;
        StoreKey key = key_of(RECORD_META, 0, "of a later version");

        assert_int_equal(record_verify(f->store, f->keyring, &key, (const uint8_t *)"x", 1), -ENOTSUP);
        key.kind = (RecordKind)'z';
        assert_int_equal(record_verify(f->store, f->keyring, &key, (const uint8_t *)"x", 1), -ENOTSUP);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(each_kind_has_a_row_and_opens),
                TEST(each_meta_id_has_a_row),
                TEST(each_changed_byte_is_found),
                TEST(each_truncation_and_addition_is_found),
                TEST(any_two_that_change_places_are_found),
                TEST(damage_is_named_to_those_whom_it_concerns),
                TEST(unknown_kinds_are_not_called_sound),
        };

        return RUN_TESTS("kinds", tests);
}
