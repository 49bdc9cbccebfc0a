/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Destroying a vault: its records are gone, and so is its data key, from the file too and not only from what LMDB shows. */

#include <fcntl.h>
#include <sys/stat.h>

#include "samples.h"
#include "store/body-lmdb.h"
#include "store/record.h"
#include "store/scrub.h"
#include "util/fiber.h"

#define N_VAULTS 40U
#define FIRST    1000U
#define VICTIM   1017U

typedef struct Job {
        Fixture *fixture;
        int (*function)(Fixture *f);
        int result;
        bool is_done;
} Job;

static int job_run(void *userdata) {
        Job *job = userdata;

        return job->function(job->fixture);
}

static void job_done(int result, void *userdata) {
        Job *job = userdata;

        job->result = result;
        job->is_done = true;
}

static int on_fiber(Fixture *f, int (*function)(Fixture *f)) {
        Job job = { f, function, 0, false };

        assert_true(fiber_spawn(f->event, job_run, job_done, &job, NULL) >= 0);
        while (!job.is_done)
                assert_true(sd_event_run(f->event, UINT64_MAX) >= 0);
        return job.result;
}

static int scrub(Fixture *f) {
        return store_scrub(f->store, f->event);
}

static Buffer file_read(Fixture *f) {
        Buffer all = {};
        char path[128];
        struct stat st;

        (void)snprintf(path, sizeof(path), "%s/state/vaultd.mdb", f->dir);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(buffer_reserve(&all, (size_t)st.st_size), 0);
        assert_int_equal(pread(fd, all.bytes, (size_t)st.st_size, 0), st.st_size);
        all.size = (size_t)st.st_size;
        (void)safe_close(fd);
        return all;
}

/* How often the file has a piece of these bytes. */
static size_t traces(Fixture *f, const uint8_t *bytes, size_t size) {
        _cleanup_(buffer_done) Buffer all = file_read(f);
        size_t n = 0;

        for (size_t at = 0; at + 12 <= size; at += 6)
                for (const uint8_t *p = all.bytes;
                                (p = memmem(p, all.size - (size_t)(p - all.bytes), bytes + at, 12)); p++)
                        n++;
        return n;
}

static void save_vault(Fixture *f, Vault **v) {
        uid_t uid = (*v)->uid;
        StoreBatch *b = batch_new();

        assert_int_equal(vault_record_put(b, f->keyring, *v), 0);
        assert_int_equal(commit(f, b), 0);
        (void)vault_free(*v);
        assert_int_equal(vault_record_read(f->store, f->keyring, uid, v), 0);
}

/* Vaults with small and large records, written several times, so that their bytes lie in many places. */
static void fill(Fixture *f) {
        for (uid_t uid = FIRST; uid < FIRST + N_VAULTS; uid++) {
                Vault *v = vault_of(f, uid, "somebody");

                for (unsigned round = 0; round < 4; round++) {
                        static const char *const services[] = { "notion", "slack", "jira" };

                        for (size_t i = 0; i < ELEMENTSOF(services); i++) {
                                Credential *c = NULL, *stored = NULL;
                                char token[9000];

                                memset(token, 'a' + (int)round, sizeof(token));
                                token[i == 0 ? 100 * (round + 1) : i == 1 ? 2000 : 8000 - 900 * round] = 0;
                                c = sample_credential(uid, services[i], "default");
                                (void)secret_free(c->access_token);
                                c->access_token = secret_of(token);
                                if (credential_record_read(f->store, v, services[i], "default", &stored) ==
                                                0) {
                                        c->stored = stored->stored;
                                        stored->stored = (Buffer){};
                                        (void)credential_free(stored);
                                }
                                save_credential(f, v, c);
                                (void)credential_free(c);
                        }
                        free(v->reason);
                        v->reason = calloc(1, 20 * (4 - round) + 1);
                        memset(v->reason, 'r', 20 * (4 - round));
                        save_vault(f, &v);
                }
                (void)vault_free(v);
        }
}

static void check_others(Fixture *f) {
        for (uid_t uid = FIRST; uid < FIRST + N_VAULTS; uid++) {
                _cleanup_(vault_freep) Vault *v = NULL;
                Credential **list = NULL;
                size_t n = 0;

                int r = vault_record_read(f->store, f->keyring, uid, &v);
                if (uid == VICTIM) {
                        assert_int_equal(r, -ENOENT);
                        continue;
                }
                assert_int_equal(r, 0);
                assert_int_equal(credential_record_list(f->store, v, NULL, &list, &n), 0);
                assert_int_equal(n, 3);
                credential_list_free(list, n);
        }
}

static int destroy_now(StoreBatch *b, void *userdata) {
        Fixture *f = userdata;
        _cleanup_(vault_freep) Vault *v = NULL;
        uint64_t n = 0;
        int r;

        r = vault_record_read(f->store, f->keyring, VICTIM, &v);
        if (r >= 0)
                r = vault_destroy(f->store, b, v->uid, v->id, &n);
        assert_int_equal(n, 4);
        return r;
}

static int destroy(Fixture *f) {
        return store_commit_exclusive(f->store, destroy_now, f);
}

/* Something small in many places, as a day does. */
static void go_on(Fixture *f) {
        for (unsigned round = 0; round < 5; round++)
                for (uid_t uid = FIRST; uid < FIRST + N_VAULTS; uid++) {
                        Vault *v = NULL;

                        if (uid == VICTIM)
                                continue;
                        assert_int_equal(vault_record_read(f->store, f->keyring, uid, &v), 0);
                        v->verified_usec++;
                        save_vault(f, &v);
                        (void)vault_free(v);
                }
}

static void destroyed_vault_leaves_no_key_and_no_token_in_the_file(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = NULL;
        _cleanup_(credential_freep) Credential *small = NULL, *large = NULL;

        fill(f);
        assert_int_equal(vault_record_read(f->store, f->keyring, VICTIM, &v), 0);
        assert_int_equal(credential_record_read(f->store, v, "notion", "default", &small), 0);
        assert_int_equal(credential_record_read(f->store, v, "jira", "default", &large), 0);
        assert_true(traces(f, v->wrapped.bytes, v->wrapped.size) > 0);

        assert_int_equal(on_fiber(f, destroy), 0);
        check_others(f);
        /* This is why there is more to do than to delete. */
        assert_true(traces(f, v->wrapped.bytes, v->wrapped.size) > 0);
        assert_int_equal(on_fiber(f, scrub), 0);
        assert_int_equal(traces(f, v->wrapped.bytes, v->wrapped.size), 0);
        /* The ends of the stored values are what was sealed. */
        assert_int_equal(traces(f, small->stored.bytes + small->stored.size - 150, 150), 0);
        assert_int_equal(traces(f, large->stored.bytes + large->stored.size - 5000, 5000), 0);
        check_others(f);

        /* Nothing comes back out of LMDB's buffers, and the file is whole. */
        go_on(f);
        assert_int_equal(traces(f, v->wrapped.bytes, v->wrapped.size), 0);
        fixture_reopen(f, UINT64_C(64) << 20);
        check_others(f);
}

static void scrubbed_file_holds_what_is_stored_and_zeros(void **state) {
        Fixture *f = *state;
        _cleanup_(buffer_done) Buffer before = {}, after = {};
        size_t n_before = 0, n_after = 0;

        fill(f);
        assert_int_equal(on_fiber(f, destroy), 0);
        before = file_read(f);
        assert_int_equal(on_fiber(f, scrub), 0);
        after = file_read(f);
        for (size_t i = 0; i < before.size; i++)
                n_before += before.bytes[i] != 0;
        for (size_t i = 0; i < after.size; i++)
                n_after += after.bytes[i] != 0;
        assert_true(n_after < n_before);
        check_others(f);
        /* And again: there is nothing left to do, so nothing is written but the notes. */
        assert_int_equal(on_fiber(f, scrub), 0);
        check_others(f);
}

/* In one commit, so that it needs many buffers. */
static void put_all(Fixture *f, char fill_with, size_t size) {
        StoreBatch *b = batch_new();
        char text[4096] = {};

        memset(text, fill_with, size);
        for (uid_t uid = 1; uid <= 60; uid++) {
                StoreKey key = key_of(RECORD_AGENT, uid, "large");

                assert_int_equal(store_batch_put(b, &key, text, size), 0);
        }
        assert_int_equal(commit(f, b), 0);
}

/* A value of such a size has a page for itself, whose end is what the buffer held before. */
static void no_byte_of_a_former_value_is_left_or_comes_back(void **state) {
        static const uint8_t former[] = "yyyyyyyyyyyy";
        Fixture *f = *state;

        put_all(f, 'y', 4000);
        put_all(f, 'x', 3000);
        assert_true(traces(f, former, 12) > 0);
        assert_int_equal(on_fiber(f, scrub), 0);
        assert_int_equal(traces(f, former, 12), 0);
        put_all(f, 'z', 2500);
        assert_int_equal(traces(f, former, 12), 0);
}

/* A state that somebody reads is left as it is. */
static void what_a_reader_sees_is_not_erased(void **state) {
        Fixture *f = *state;
        MDB_txn *old = NULL;
        MDB_cursor *cursor;
        MDB_val key, value;
        size_t n = 0;
        Job job = { f, scrub, 0, false };
        LmdbBody *body = f->store->data;

        fill(f);
        assert_int_equal(mdb_txn_begin(body->env, NULL, MDB_RDONLY, &old), 0);
        assert_int_equal(on_fiber(f, destroy), 0);
        go_on(f);
        assert_true(fiber_spawn(f->event, job_run, job_done, &job, NULL) >= 0);
        for (unsigned i = 0; i < 400 && !job.is_done; i++)
                assert_true(sd_event_run(f->event, 10 * USEC_PER_MSEC) >= 0);
        assert_false(job.is_done);
        assert_int_equal(mdb_cursor_open(old, body->dbi, &cursor), 0);
        while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
                StoreKey decoded = {};

                assert_int_equal(store_key_decode(key.mv_data, key.mv_size, &decoded), 0);
                assert_true(decoded.kind == RECORD_META ||
                                record_is_sealed(value.mv_data, value.mv_size) == 1);
                n++;
        }
        assert_true(n >= 4 * N_VAULTS);
        mdb_cursor_close(cursor);
        mdb_txn_abort(old);
        while (!job.is_done)
                assert_true(sd_event_run(f->event, UINT64_MAX) >= 0);
        assert_int_equal(job.result, 0);
        check_others(f);
}

/* Commits and reads go on while the file is gone through. */
static void commits_go_on_beside_it(void **state) {
        Fixture *f = *state;
        Job job = { f, scrub, 0, false };
        unsigned n = 0;

        fill(f);
        assert_int_equal(on_fiber(f, destroy), 0);
        assert_true(fiber_spawn(f->event, job_run, job_done, &job, NULL) >= 0);
        while (!job.is_done || n < 50) {
                char text[5000];

                memset(text, 'x', sizeof(text));
                text[(n * 37) % 4999] = 0;
                assert_int_equal(put_text(f, 1 + n % 20, "beside", text), 0);
                assert_stored(f, 1 + n % 20, "beside", text);
                n++;
        }
        assert_int_equal(job.result, 0);
        check_others(f);
        fixture_reopen(f, UINT64_C(64) << 20);
        check_others(f);
}

static void record_of_a_destroyed_vault_is_not_written(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = vault_of(f, VICTIM, "victim"), *again = NULL;
        _cleanup_(credential_freep) Credential *c = sample_credential(VICTIM, "notion", "default");
        _cleanup_(flow_freep) Flow *flow = sample_flow(v, 7);
        StoreBatch *b = batch_new();
        uint64_t n;

        assert_int_equal(vault_destroy(f->store, b, v->uid, v->id, &n), 0);
        assert_int_equal(commit(f, b), 0);
        b = batch_new();
        assert_int_equal(credential_record_put(b, v, c), 0);
        assert_int_equal(commit(f, b), STORE_CONFLICT);
        b = batch_new();
        assert_int_equal(flow_record_put(b, v, flow), 0);
        assert_int_equal(commit(f, b), STORE_CONFLICT);
        /* Nor under the next vault of the uid. */
        again = vault_of(f, VICTIM, "victim");
        b = batch_new();
        assert_int_equal(credential_record_put(b, v, c), 0);
        assert_int_equal(commit(f, b), STORE_CONFLICT);
        b = batch_new();
        assert_int_equal(credential_record_put(b, again, c), 0);
        assert_int_equal(commit(f, b), 0);
}

static void vault_that_changed_otherwise_takes_records(void **state) {
        Fixture *f = *state;
        _cleanup_(vault_freep) Vault *v = vault_of(f, VICTIM, "victim"), *other = NULL;
        _cleanup_(credential_freep) Credential *c = sample_credential(VICTIM, "notion", "default");
        StoreBatch *b = batch_new();

        assert_int_equal(vault_record_read(f->store, f->keyring, VICTIM, &other), 0);
        other->state = VAULT_LOCKED;
        save_vault(f, &other);
        assert_int_equal(credential_record_put(b, v, c), 0);
        assert_int_equal(commit(f, b), 0);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                TEST(destroyed_vault_leaves_no_key_and_no_token_in_the_file),
                TEST(scrubbed_file_holds_what_is_stored_and_zeros),
                TEST(no_byte_of_a_former_value_is_left_or_comes_back),
                TEST(what_a_reader_sees_is_not_erased),
                TEST(commits_go_on_beside_it),
                TEST(record_of_a_destroyed_vault_is_not_written),
                TEST(vault_that_changed_otherwise_takes_records),
        };

        return RUN_TESTS("destroy", tests);
}
