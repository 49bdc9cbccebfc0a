/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Rekeying: afterwards everything opens with the new key and nothing with the old one, whatever happened in between. */

#include "samples.h"
#include "store/record.h"
#include "store/recovery.h"
#include "store/rekey.h"
#include "util/fiber.h"

#define N_VAULTS 40U
#define FIRST    1000U

typedef struct World {
        Fixture *f;
        Secret *kek, *next_kek;
        Keyring *next;
        /* For the run. */
        uint64_t stop_at; /* vaults; 0: never */
        Fiber *fiber;
        int (*function)(struct World *w);
        int result;
        bool is_done;
} World;

static int world_setup(void **state) {
        World *w = calloc(1, sizeof(World));
        void *fixture;

        assert_int_equal(fixture_setup(&fixture), 0);
        w->f = fixture;
        assert_int_equal(secret_new_random(32, &w->kek), 0);
        assert_int_equal(secret_new_random(32, &w->next_kek), 0);
        (void)keyring_free(w->f->keyring);
        assert_int_equal(keyring_new(w->kek, &w->f->keyring), 0);
        assert_int_equal(rekey_open(w->f->store, w->f->keyring), 0);
        assert_int_equal(commit(w->f, batch_new()), 0); /* the note is on its way */
        *state = w;
        return 0;
}

static int world_teardown(void **state) {
        World *w = *state;
        void *fixture = w->f;

        (void)keyring_free(w->next);
        (void)secret_free(w->kek);
        (void)secret_free(w->next_kek);
        (void)fixture_teardown(&fixture);
        free(w);
        return 0;
}

static int fiber_run(void *userdata) {
        World *w = userdata;

        w->fiber = fiber_current();
        return w->function(w);
}

static void fiber_is_done(int result, void *userdata) {
        World *w = userdata;

        w->result = result;
        w->is_done = true;
}

static void start(World *w, int (*function)(World *w)) {
        w->function = function;
        w->is_done = false;
        assert_true(fiber_spawn(w->f->event, fiber_run, fiber_is_done, w, NULL) >= 0);
}

static int finish(World *w) {
        while (!w->is_done)
                assert_true(sd_event_run(w->f->event, UINT64_MAX) >= 0);
        return w->result;
}

static int on_fiber(World *w, int (*function)(World *w)) {
        start(w, function);
        return finish(w);
}

static int prepare(World *w) {
        Keyring *next = NULL;
        int r = rekey_prepare(w->f->store, w->f->keyring, w->next_kek, &next);

        if (r >= 0) {
                (void)keyring_free(w->next);
                w->next = next;
        }
        return r;
}

static int begin(World *w) {
        return rekey_begin(w->f->store, w->f->keyring, &w->next);
}

static void on_progress(uint64_t n_done, uint64_t n_total, void *userdata) {
        World *w = userdata;

        if (w->stop_at > 0 && n_done >= w->stop_at)
                fiber_cancel(w->fiber);
}

static int run(World *w) {
        return rekey_run(w->f->store, w->f->keyring, on_progress, w, NULL);
}

/* A process that is started with that key. */
static int restart(World *w, const Secret *kek) {
        fixture_reopen(w->f, UINT64_C(64) << 20);
        w->next = keyring_free(w->next);
        w->f->keyring = keyring_free(w->f->keyring);
        assert_int_equal(keyring_new(kek, &w->f->keyring), 0);
        return rekey_open(w->f->store, w->f->keyring);
}

static void fill(World *w) {
        Fixture *f = w->f;
        uint8_t public[32] = "public";
        StoreBatch *b = batch_new();
        _cleanup_(client_freep) Client *client = sample_client();

        for (uid_t uid = FIRST; uid < FIRST + N_VAULTS; uid++) {
                _cleanup_(vault_freep) Vault *v = vault_of(f, uid, "somebody");
                _cleanup_(credential_freep) Credential *one = sample_credential(uid, "notion", "default");
                _cleanup_(credential_freep) Credential *two = sample_credential(uid, "slack", "work");
                _cleanup_(agent_session_freep) AgentSession *session = sample_agent_session(uid, "sesn_1");

                save_credential(f, v, one);
                save_credential(f, v, two);
                save_agent_session(f, session);
                if (uid % 4 == 0) {
                        _cleanup_(flow_freep) Flow *flow = sample_flow(v, (uint8_t)uid);

                        flow->state = FLOW_QUARANTINED;
                        save_flow(f, v, flow);
                }
                if (uid % 4 == 1)
                        save_revocation(f, v, "linear");
        }
        save_client(f, client);
        assert_int_equal(recovery_record_put(b, f->keyring, public, 7), 0);
        assert_int_equal(commit(f, b), 0);
}

static void assert_opens(World *w, uid_t uid) {
        Fixture *f = w->f;
        _cleanup_(vault_freep) Vault *v = NULL;
        Credential **list = NULL;
        Flow **flows = NULL;
        size_t n = 0;

        assert_int_equal(vault_record_read(f->store, f->keyring, uid, &v), 0);
        assert_int_equal(keyring_wraps(f->keyring, uid, v->id, v->wrapped.bytes, v->wrapped.size), 1);
        assert_int_equal(credential_record_list(f->store, v, NULL, &list, &n), 0);
        assert_int_equal(n, 2);
        assert_string_equal(secret_text(list[0]->access_token), "access-token-canary");
        assert_string_equal(list[1]->service, "slack");
        assert_string_equal(secret_text(list[1]->refresh_token), "refresh-token-canary");
        credential_list_free(list, n);
        assert_int_equal(flow_record_list(f->store, f->keyring, uid, &flows, &n), 0);
        assert_int_equal(n, uid % 4 == 0);
        flow_list_free(flows, n);
        assert_int_equal(revocation_record_list(f->store, f->keyring, uid, &list, &n), 0);
        assert_int_equal(n, uid % 4 == 1);
        if (n > 0)
                assert_string_equal(secret_text(list[0]->refresh_token), "refresh-token-canary");
        credential_list_free(list, n);
}

/* All is there under the new key, and the store is done with the old one. */
static void assert_rekeyed(World *w) {
        Fixture *f = w->f;
        _cleanup_(keyring_freep) Keyring *old = NULL;
        _cleanup_(client_freep) Client *client = NULL, *sample = sample_client();
        StoreKey note = key_of(RECORD_META, 0, "rekey");
        uint8_t public[32];
        uint64_t created;

        assert_int_equal(restart(w, w->kek), -EKEYREJECTED);
        assert_int_equal(restart(w, w->next_kek), 0);
        assert_false(keyring_has_previous(f->keyring));
        assert_false(is_stored(f, &note));
        for (uid_t uid = FIRST; uid < FIRST + N_VAULTS; uid++)
                assert_opens(w, uid);
        assert_int_equal(client_record_read(f->store, f->keyring, sample->issuer, sample->redirect_uri,
                                         &client),
                        0);
        assert_string_equal(secret_text(client->client_secret), secret_text(sample->client_secret));
        assert_int_equal(recovery_record_read(f->store, f->keyring, public, &created), 0);
        assert_string_equal(public, "public");
        assert_int_equal(created, 7);
        assert_true(rekey_key_created(f->store, f->keyring) > 0);

        assert_int_equal(keyring_new(w->kek, &old), 0);
        for (uid_t uid = FIRST; uid < FIRST + N_VAULTS; uid++) {
                Vault *v = NULL;

                assert_int_equal(vault_record_read(f->store, old, uid, &v), -EBADMSG);
        }
        assert_int_equal(client_record_read(f->store, old, sample->issuer, sample->redirect_uri, &client),
                        -EBADMSG);
        assert_int_equal(recovery_record_read(f->store, old, public, NULL), -EBADMSG);
}

static void everything_opens_with_the_new_key_and_nothing_with_the_old(void **state) {
        World *w = *state;

        fill(w);
        assert_int_equal(on_fiber(w, prepare), 0);
        assert_int_equal(on_fiber(w, begin), 0);
        assert_int_equal(on_fiber(w, run), 0);
        for (uid_t uid = FIRST; uid < FIRST + N_VAULTS; uid++)
                assert_opens(w, uid);
        assert_rekeyed(w);
}

static void old_data_key_opens_nothing_of_the_new(void **state) {
        World *w = *state;
        _cleanup_(vault_freep) Vault *before = NULL, *after = NULL;
        Credential *c = NULL;

        fill(w);
        assert_int_equal(vault_record_read(w->f->store, w->f->keyring, FIRST, &before), 0);
        assert_int_equal(on_fiber(w, prepare), 0);
        assert_int_equal(on_fiber(w, begin), 0);
        assert_int_equal(on_fiber(w, run), 0);
        assert_int_equal(vault_record_read(w->f->store, w->f->keyring, FIRST, &after), 0);
        assert_false(secret_equal(before->key, after->key->bytes, after->key->size));
        assert_string_equal(before->id, after->id);
        assert_int_equal(before->created_usec, after->created_usec);
        assert_int_equal(credential_record_read(w->f->store, before, "notion", "default", &c), -EBADMSG);
}

static void run_goes_on_where_another_process_left_off(void **state) {
        World *w = *state;

        fill(w);
        assert_int_equal(on_fiber(w, prepare), 0);
        assert_int_equal(on_fiber(w, begin), 0);
        for (w->stop_at = 16; w->stop_at < N_VAULTS; w->stop_at += 16) {
                assert_int_equal(on_fiber(w, run), -ECANCELED);
                /* Half of it is under either key, and all of it opens. */
                for (uid_t uid = FIRST; uid < FIRST + N_VAULTS; uid++) {
                        _cleanup_(vault_freep) Vault *v = NULL;

                        assert_int_equal(vault_record_read(w->f->store, w->f->keyring, uid, &v), 0);
                }
                assert_int_equal(restart(w, w->kek), -EKEYREJECTED);
                assert_int_equal(restart(w, w->next_kek), 1);
        }
        w->stop_at = 0;
        assert_int_equal(on_fiber(w, run), 0);
        assert_rekeyed(w);
}

static void prepared_key_that_was_not_used_changes_nothing(void **state) {
        World *w = *state;

        fill(w);
        assert_int_equal(on_fiber(w, prepare), 0);
        assert_int_equal(restart(w, w->kek), 0);
        assert_false(keyring_has_previous(w->f->keyring));
        for (uid_t uid = FIRST; uid < FIRST + N_VAULTS; uid++)
                assert_opens(w, uid);
        assert_int_equal(on_fiber(w, run), 0);
        assert_int_equal(restart(w, w->kek), 0);
}

/* The new key was put in place, and then the machine fell over. */
static void prepared_key_that_is_in_place_begins_by_itself(void **state) {
        World *w = *state;
        Secret *first = w->next_kek;

        fill(w);
        assert_int_equal(on_fiber(w, prepare), 0);
        assert_int_equal(secret_new_random(32, &w->next_kek), 0);
        assert_int_equal(on_fiber(w, prepare), 0);
        /* Of several that were prepared, any. */
        (void)secret_free(w->next_kek);
        w->next_kek = first;
        assert_int_equal(restart(w, w->next_kek), 1);
        for (uid_t uid = FIRST; uid < FIRST + N_VAULTS; uid++) {
                _cleanup_(vault_freep) Vault *v = NULL;

                assert_int_equal(vault_record_read(w->f->store, w->f->keyring, uid, &v), 0);
        }
        assert_int_equal(on_fiber(w, run), 0);
        assert_rekeyed(w);
}

static void key_that_was_not_prepared_is_refused(void **state) {
        World *w = *state;
        _cleanup_(secret_freep) Secret *stranger = NULL;

        fill(w);
        assert_int_equal(secret_new_random(32, &stranger), 0);
        assert_int_equal(restart(w, stranger), -EKEYREJECTED);
        assert_int_equal(restart(w, w->kek), 0);
        assert_int_equal(on_fiber(w, prepare), 0);
        assert_int_equal(restart(w, stranger), -EKEYREJECTED);
}

/* One from before there was a note. */
static void store_without_a_note_is_judged_by_its_vaults(void **state) {
        World *w = *state;
        StoreKey note = key_of(RECORD_META, 0, "key");
        StoreBatch *b = batch_new();

        fill(w);
        assert_int_equal(store_batch_delete(b, &note), 0);
        assert_int_equal(commit(w->f, b), 0);
        assert_int_equal(restart(w, w->next_kek), -EKEYREJECTED);
        assert_int_equal(restart(w, w->kek), 0);
        assert_int_equal(restart(w, w->next_kek), -EKEYREJECTED);
}

static void changed_note_is_refused(void **state) {
        World *w = *state;
        StoreKey key = key_of(RECORD_META, 0, "key");

        _cleanup_(buffer_done) Buffer value = stored_value(w->f, &key);
        for (size_t i = 0; i < value.size; i++) {
                value.bytes[i] ^= 1;
                put_raw(w->f, &key, value.bytes, value.size);
                int r = rekey_open(w->f->store, w->f->keyring);
                assert_true(r == -EBADMSG || r == -EKEYREJECTED);
                value.bytes[i] ^= 1;
        }
        put_raw(w->f, &key, value.bytes, value.size);
        assert_int_equal(rekey_open(w->f->store, w->f->keyring), 0);
}

static int prepare_present(World *w) {
        return rekey_prepare(w->f->store, w->f->keyring, w->kek, &w->next);
}

static void key_in_force_is_no_new_one(void **state) {
        World *w = *state;

        assert_int_equal(on_fiber(w, prepare_present), -EINVAL);
        for (unsigned i = 0; i < 8; i++)
                assert_int_equal(on_fiber(w, prepare), 0);
        assert_int_equal(on_fiber(w, prepare), -EUSERS);
        assert_int_equal(on_fiber(w, begin), 0);
        assert_int_equal(on_fiber(w, prepare), -EALREADY);
}

/* Others write all the time, with vaults that they read earlier. */
typedef struct Writer {
        World *w;
        unsigned n_written, n_conflicts;
        bool is_stopping;
        bool is_done;
} Writer;

static int writer_run(void *userdata) {
        Writer *writer = userdata;
        Fixture *f = writer->w->f;

        for (unsigned n = 0; !writer->is_stopping; n++) {
                uid_t uid = FIRST + n * 7 % N_VAULTS;
                _cleanup_(vault_freep) Vault *v = NULL;
                _cleanup_(credential_freep) Credential *c = NULL;
                StoreBatch *b = NULL;
                int r;

                assert_int_equal(vault_record_read(f->store, f->keyring, uid, &v), 0);
                r = fiber_sleep(n % 3 * 300);
                if (r < 0)
                        return r;
                r = credential_record_read(f->store, v, "notion", "default", &c);
                if (r == -EBADMSG) { /* the key changed while we slept */
                        writer->n_conflicts++;
                        continue;
                }
                assert_int_equal(r, 0);
                c->expires_usec = n;
                assert_int_equal(store_batch_new(&b), 0);
                assert_int_equal(credential_record_put(b, v, c), 0);
                r = fiber_sleep(n % 2 * 200);
                if (r < 0) {
                        (void)store_batch_free(b);
                        return r;
                }
                r = store_commit(f->store, b);
                assert_true(r == 0 || r == STORE_CONFLICT);
                writer->n_written += r == 0;
                writer->n_conflicts += r != 0;
        }
        return 0;
}

static void writer_is_done(int result, void *userdata) {
        ((Writer *)userdata)->is_done = true;
}

static void writes_go_on_meanwhile_and_none_is_lost(void **state) {
        World *w = *state;
        Writer writers[4] = {};

        fill(w);
        for (size_t i = 0; i < ELEMENTSOF(writers); i++) {
                writers[i].w = w;
                assert_true(fiber_spawn(w->f->event, writer_run, writer_is_done, &writers[i], NULL) >= 0);
        }
        assert_int_equal(on_fiber(w, prepare), 0);
        assert_int_equal(on_fiber(w, begin), 0);
        assert_int_equal(on_fiber(w, run), 0);
        unsigned n_written = 0;
        for (size_t i = 0; i < ELEMENTSOF(writers); i++) {
                writers[i].is_stopping = true;
                while (!writers[i].is_done)
                        assert_true(sd_event_run(w->f->event, UINT64_MAX) >= 0);
                n_written += writers[i].n_written;
        }
        assert_true(n_written > 0);
        assert_rekeyed(w);
}

static void record_under_the_former_key_is_not_written(void **state) {
        World *w = *state;
        _cleanup_(vault_freep) Vault *v = NULL;
        _cleanup_(credential_freep) Credential *c = sample_credential(FIRST, "fresh", "default");
        StoreBatch *b = batch_new();

        fill(w);
        assert_int_equal(vault_record_read(w->f->store, w->f->keyring, FIRST, &v), 0);
        assert_int_equal(on_fiber(w, prepare), 0);
        assert_int_equal(on_fiber(w, begin), 0);
        assert_int_equal(on_fiber(w, run), 0);
        assert_int_equal(credential_record_put(b, v, c), 0);
        assert_int_equal(commit(w->f, b), STORE_CONFLICT);
}

static void flow_that_exchanges_its_code_is_waited_for(void **state) {
        World *w = *state;
        _cleanup_(vault_freep) Vault *v = vault_of(w->f, FIRST, "somebody");
        _cleanup_(flow_freep) Flow *flow = sample_flow(v, 3), *stored = NULL;

        flow->state = FLOW_EXCHANGING;
        save_flow(w->f, v, flow);
        assert_int_equal(flow_record_read(w->f->store, w->f->keyring, flow->state_digest, &stored), 0);
        assert_int_equal(on_fiber(w, prepare), 0);
        assert_int_equal(on_fiber(w, begin), 0);
        start(w, run);
        for (unsigned i = 0; i < 50 && !w->is_done; i++)
                assert_true(sd_event_run(w->f->event, 10 * USEC_PER_MSEC) >= 0);
        assert_false(w->is_done);
        /* Its tokens arrive, and find the vault as it was. */
        StoreBatch *b = batch_new();
        stored->state = FLOW_QUARANTINED;
        assert_int_equal(flow_record_put(b, v, stored), 0);
        assert_int_equal(commit(w->f, b), 0);
        assert_int_equal(finish(w), 0);
        flow = flow_free(flow);
        assert_int_equal(flow_record_read(w->f->store, w->f->keyring, stored->state_digest, &flow), 0);
        assert_int_equal(flow->state, FLOW_QUARANTINED);
}

static void vault_that_was_set_aside_gets_new_keys_too(void **state) {
        World *w = *state;
        Fixture *f = w->f;
        uid_t uid = FIRST + 4;
        _cleanup_(vault_freep) Vault *v = NULL, *again = NULL;
        StoreBatch *b = batch_new();

        fill(w);
        assert_int_equal(vault_record_read(f->store, f->keyring, uid, &v), 0);
        assert_int_equal(vault_set_aside(f->store, b, v), 0);
        assert_int_equal(commit(f, b), 0);
        assert_int_equal(on_fiber(w, prepare), 0);
        assert_int_equal(on_fiber(w, begin), 0);
        assert_int_equal(on_fiber(w, run), 0);
        assert_int_equal(restart(w, w->next_kek), 0);

        /* Put back by hand, it is the vault that it was. */
        b = batch_new();
        for (uint32_t i = 0; i < 16; i++) {
                uint8_t id[64];
                size_t n = strlen(v->id), head;
                StoreKey key, inner;
                Buffer value = {};

                memcpy(id, v->id, n);
                memcpy(id + n, (uint8_t[]){ 0, 0, 0, (uint8_t)i }, 4);
                assert_int_equal(store_key_init(&key, RECORD_ASIDE, uid, id, n + 4), 0);
                if (store_get(f->store, &key, &value) < 0)
                        break;
                assert_int_equal(vault_aside_decode(&key, value.bytes, value.size, &inner, &head), 0);
                assert_int_equal(store_batch_put(b, &inner, value.bytes + head, value.size - head), 0);
                buffer_done(&value);
        }
        assert_int_equal(commit(f, b), 0);
        assert_opens(w, uid);
        assert_int_equal(vault_record_read(f->store, f->keyring, uid, &again), 0);
        assert_false(secret_equal(v->key, again->key->bytes, again->key->size));
}

static void damaged_record_stops_the_run_and_costs_nothing_else(void **state) {
        World *w = *state;
        StoreKey key = key_of(RECORD_CREDENTIAL, FIRST + 20, "notion/default");
        StoreBatch *b = batch_new();

        fill(w);
        _cleanup_(buffer_done) Buffer value = stored_value(w->f, &key);
        value.bytes[value.size / 2] ^= 1;
        put_raw(w->f, &key, value.bytes, value.size);
        assert_int_equal(on_fiber(w, prepare), 0);
        assert_int_equal(on_fiber(w, begin), 0);
        assert_int_equal(on_fiber(w, run), -EBADMSG);
        assert_true(keyring_has_previous(w->f->keyring));
        /* Mended, it goes on. */
        value.bytes[value.size / 2] ^= 1;
        assert_int_equal(store_batch_put(b, &key, value.bytes, value.size), 0);
        assert_int_equal(commit(w->f, b), 0);
        assert_int_equal(on_fiber(w, run), 0);
        assert_rekeyed(w);
}

static RekeyCheck checked;

static int check_now(World *w) {
        rekey_check_done(&checked);
        return rekey_check(w->f->store, w->f->keyring, &checked);
}

static void check_counts_and_finds_damage(void **state) {
        World *w = *state;
        static const struct {
                RecordKind kind;
                const char *id;
        } damaged[] = { { RECORD_VAULT, "" }, { RECORD_CREDENTIAL, "slack/work" },
                { RECORD_AGENT_SESSION, "sesn_1" } };

        fill(w);
        assert_int_equal(on_fiber(w, check_now), 0);
        assert_int_equal(checked.n_vaults, N_VAULTS);
        assert_int_equal(checked.n_records, 3 * N_VAULTS + N_VAULTS / 2);
        assert_int_equal(checked.n_clients, 1);
        assert_int_equal(checked.n_damaged + checked.n_other_damaged, 0);
        assert_false(checked.has_unknown);
        for (size_t i = 0; i < ELEMENTSOF(damaged); i++) {
                StoreKey key = key_of(damaged[i].kind, FIRST + 3 * (uid_t)i, damaged[i].id);
                _cleanup_(buffer_done) Buffer value = stored_value(w->f, &key);

                value.bytes[value.size - 1] ^= 1;
                put_raw(w->f, &key, value.bytes, value.size);
                assert_int_equal(on_fiber(w, check_now), 0);
                assert_int_equal(checked.n_damaged, i + 1);
                assert_int_equal(checked.damaged[i], FIRST + 3 * (uid_t)i);
        }
        rekey_check_done(&checked);
}

static void sealed_record_of_an_unknown_kind_is_said(void **state) {
        World *w = *state;
        StoreKey known = key_of(RECORD_CREDENTIAL, FIRST, "notion/default"),
                 unknown = key_of((RecordKind)'?', FIRST, "x");

        fill(w);
        _cleanup_(buffer_done) Buffer value = stored_value(w->f, &known);
        put_raw(w->f, &unknown, value.bytes, value.size);
        assert_int_equal(on_fiber(w, check_now), 0);
        assert_true(checked.has_unknown);
        rekey_check_done(&checked);
}

static void code_that_was_shown_before_still_matches(void **state) {
        World *w = *state;
        uint8_t mac[32];

        assert_int_equal(keyring_mac(w->f->keyring, "claim", "K7QF2M9X", 8, mac), 0);
        assert_int_equal(on_fiber(w, prepare), 0);
        assert_int_equal(on_fiber(w, begin), 0);
        assert_int_equal(on_fiber(w, run), 0);
        assert_int_equal(keyring_mac_matches(w->f->keyring, "claim", "K7QF2M9X", 8, mac), 1);
        assert_int_equal(keyring_mac_matches(w->f->keyring, "claim", "K7QF2M9Y", 8, mac), 0);
}

#define TEST_REKEY(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void) {
        static const struct CMUnitTest tests[] = {
                TEST_REKEY(everything_opens_with_the_new_key_and_nothing_with_the_old),
                TEST_REKEY(old_data_key_opens_nothing_of_the_new),
                TEST_REKEY(run_goes_on_where_another_process_left_off),
                TEST_REKEY(prepared_key_that_was_not_used_changes_nothing),
                TEST_REKEY(prepared_key_that_is_in_place_begins_by_itself),
                TEST_REKEY(key_that_was_not_prepared_is_refused),
                TEST_REKEY(store_without_a_note_is_judged_by_its_vaults),
                TEST_REKEY(changed_note_is_refused),
                TEST_REKEY(key_in_force_is_no_new_one),
                TEST_REKEY(writes_go_on_meanwhile_and_none_is_lost),
                TEST_REKEY(record_under_the_former_key_is_not_written),
                TEST_REKEY(flow_that_exchanges_its_code_is_waited_for),
                TEST_REKEY(vault_that_was_set_aside_gets_new_keys_too),
                TEST_REKEY(damaged_record_stops_the_run_and_costs_nothing_else),
                TEST_REKEY(check_counts_and_finds_damage),
                TEST_REKEY(sealed_record_of_an_unknown_kind_is_said),
                TEST_REKEY(code_that_was_shown_before_still_matches),
        };

        return RUN_TESTS("rekey", tests);
}
