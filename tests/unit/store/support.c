/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the store's tests share: a store in a temporary folder, commits that wait, raw access to rows, children. */

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "support.h"

#define MAP_SIZE (UINT64_C(64) << 20)

static void kek_write(const char *path) {
        uint8_t bytes[SEAL_KEY_SIZE];
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        random_bytes(bytes, sizeof(bytes));
        assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
        (void)safe_close(fd);
}

bool on_disk;

static bool is_memory(void) {
        const char *body = getenv("VAULTD_TEST_STORE");

        return body && streq(body, "memory");
}

LmdbBody *lmdb_of(Fixture *f) {
        assert_false(is_memory());
        return f->store->data;
}

/* The gate stands before the body's own commit. One fixture at a time, as each test has its own. */
static pthread_mutex_t *gate;
static const StoreBody *gated;

static void gate_commit(Store *s, StoreBatch *group) {
        (void)pthread_mutex_lock(gate);
        (void)pthread_mutex_unlock(gate);
        gated->commit(s, group);
}

static void gate_install(Fixture *f) {
        static StoreBody body;

        gate = &f->commit_gate;
        gated = f->store->body;
        body = *gated;
        body.commit = gate_commit;
        f->store->body = &body;
}

int fixture_open(Fixture *f, uint64_t map_size) {
        char state[80];
        int r;

        (void)snprintf(state, sizeof(state), "%s/state", f->dir);
        f->map_size = map_size;
        r = is_memory() ? store_open_memory(f->event, &f->store)
                        : store_open(state, map_size, f->event, &f->store);
        if (r >= 0)
                gate_install(f);
        return r;
}

void fixture_close(Fixture *f) {
        f->store = store_free(f->store);
}

void fixture_reopen(Fixture *f, uint64_t map_size) {
        if (is_memory())
                return;
        fixture_close(f);
        assert_int_equal(fixture_open(f, map_size), 0);
}

int fixture_setup(void **state) {
        Fixture *f = calloc(1, sizeof(Fixture));
        char path[80];

        assert_non_null(f);
        assert_int_equal(secret_global_init(), 0);
        assert_int_equal(pthread_mutex_init(&f->commit_gate, NULL), 0);
        (void)snprintf(f->dir, sizeof(f->dir), "%s/vaultd-store-XXXXXX",
                        access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        assert_non_null(mkdtemp(f->dir));
        (void)snprintf(path, sizeof(path), "%s/state", f->dir);
        assert_int_equal(mkdir(path, 0700), 0);
        (void)snprintf(f->kek_file, sizeof(f->kek_file), "%s/kek", f->dir);
        kek_write(f->kek_file);
        assert_int_equal(keyring_load(f->kek_file, path, &f->keyring), 0);
        assert_true(sd_event_new(&f->event) >= 0);
        assert_int_equal(fixture_open(f, MAP_SIZE), 0);
        *state = f;
        return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        return remove(path);
}

int fixture_teardown(void **state) {
        Fixture *f = *state;

        fixture_close(f);
        (void)keyring_free(f->keyring);
        sd_event_unref(f->event);
        (void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        free(f);
        return 0;
}

RecordKind first_kind(void) {
        return RECORD_META;
}

#pragma GCC diagnostic error "-Wswitch"
RecordKind next_kind(RecordKind kind) {
        switch (kind) {
        case RECORD_META:
                return RECORD_VAULT;
        case RECORD_VAULT:
                return RECORD_CREDENTIAL;
        case RECORD_CREDENTIAL:
                return RECORD_REVOCATION;
        case RECORD_REVOCATION:
                return RECORD_FLOW;
        case RECORD_FLOW:
                return RECORD_CLIENT;
        case RECORD_CLIENT:
                return RECORD_AGENT_SESSION;
        case RECORD_AGENT_SESSION:
                return RECORD_AGENT;
        case RECORD_AGENT:
                return RECORD_ENVIRONMENT;
        case RECORD_ENVIRONMENT:
                return RECORD_ASIDE;
        case RECORD_ASIDE:
                return RECORD_ACCOUNT;
        case RECORD_ACCOUNT:
                break;
        }
        return (RecordKind)0;
}

StoreKey key_of(RecordKind kind, uid_t uid, const char *id) {
        StoreKey key;

        assert_int_equal(store_key_init(&key, kind, uid, id, strlen(id)), 0);
        return key;
}

StoreBatch *batch_new(void) {
        StoreBatch *b = NULL;

        assert_int_equal(store_batch_new(&b), 0);
        return b;
}

StoreBatch *batch_put(const StoreKey *key, const void *value, size_t size) {
        StoreBatch *b = batch_new();

        assert_int_equal(store_batch_put(b, key, value, size), 0);
        return b;
}

typedef struct Outcome {
        bool is_there;
        int result;
} Outcome;

static void on_outcome(int result, void *userdata) {
        *(Outcome *)userdata = (Outcome){ true, result };
}

int commit(Fixture *f, StoreBatch *batch) {
        Outcome outcome = {};

        assert_int_equal(store_commit_async(f->store, batch, on_outcome, &outcome), 0);
        while (!outcome.is_there)
                assert_true(sd_event_run(f->event, UINT64_MAX) >= 0);
        return outcome.result;
}

int put_text(Fixture *f, uid_t uid, const char *id, const char *text) {
        StoreKey key = key_of(RECORD_AGENT, uid, id);

        return commit(f, batch_put(&key, text, strlen(text)));
}

void assert_stored(Fixture *f, uid_t uid, const char *id, const char *text) {
        StoreKey key = key_of(RECORD_AGENT, uid, id);
        _cleanup_(buffer_done) Buffer value = {};
        int r;

        r = store_get(f->store, &key, &value);
        assert_int_equal(r, text ? 0 : -ENOENT);
        if (text) {
                assert_int_equal(value.size, strlen(text));
                assert_memory_equal(value.bytes, text, value.size);
        }
}

Buffer stored_value(Fixture *f, const StoreKey *key) {
        Buffer value = {};

        assert_int_equal(store_get(f->store, key, &value), 0);
        return value;
}

bool is_stored(Fixture *f, const StoreKey *key) {
        _cleanup_(buffer_done) Buffer value = {};
        int r;

        r = store_get(f->store, key, &value);
        assert_true(r == 0 || r == -ENOENT);
        return r == 0;
}

void put_raw(Fixture *f, const StoreKey *key, const void *value, size_t size) {
        assert_int_equal(commit(f, batch_put(key, value, size)), 0);
}

void writer_hold(Fixture *f) {
        assert_int_equal(pthread_mutex_lock(&f->commit_gate), 0);
}

void writer_release(Fixture *f) {
        assert_int_equal(pthread_mutex_unlock(&f->commit_gate), 0);
}

static void on_collect(int result, void *userdata) {
        Slot *slot = userdata;
        Collector *c = slot->collector;

        c->results[slot->index] = result;
        c->order[c->n++] = slot->index;
}

void collect(Fixture *f, Slot *slot, StoreBatch *batch) {
        assert_int_equal(store_commit_async(f->store, batch, on_collect, slot), 0);
}

void run_until(Fixture *f, const size_t *n, size_t wanted) {
        while (*n < wanted)
                assert_true(sd_event_run(f->event, UINT64_MAX) >= 0);
}

size_t transactions(Fixture *f) {
        StoreChain chain;

        assert_int_equal(store_chain(f->store, &chain), 0);
        return chain.sequence;
}

int run_group(const char *name, const struct CMUnitTest *tests, size_t n) {
        struct CMUnitTest *chosen = calloc(n, sizeof(struct CMUnitTest));
        size_t n_chosen = 0;
        int n_failed;

        assert_non_null(chosen);
        for (size_t i = 0; i < n; i++)
                if (!is_memory() || tests[i].initial_state != &on_disk)
                        chosen[n_chosen++] = tests[i];
        n_failed = _cmocka_run_group_tests(name, chosen, n_chosen, NULL, NULL);
        free(chosen);
        return n_failed;
}

int in_child(int (*function)(void *), void *userdata, char **ret_stderr) {
        char path[] = "/tmp/vaultd-child-XXXXXX";
        int fd = mkstemp(path), status;
        pid_t pid;

        assert_true(fd >= 0);
        (void)unlink(path);
        (void)fflush(NULL);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                (void)dup2(fd, STDERR_FILENO);
                _exit(function(userdata));
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);

        char *text = calloc(1, 65536);
        assert_non_null(text);
        assert_true(pread(fd, text, 65535, 0) >= 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 99)
                print_message("# child: %s\n", text);
        if (ret_stderr)
                *ret_stderr = text;
        else
                free(text);
        (void)safe_close(fd);
        return status;
}

Secret *secret_of(const char *text) {
        Secret *s = NULL;

        assert_int_equal(secret_new_text(text, &s), 0);
        return s;
}

Vault *vault_of(Fixture *f, uid_t uid, const char *user) {
        _cleanup_(vault_freep) Vault *made = NULL;
        Vault *v = NULL;
        StoreBatch *b = batch_new();

        assert_int_equal(vault_new(f->keyring, uid, user, &made), 0);
        assert_int_equal(vault_record_put(b, f->keyring, made), 0);
        assert_int_equal(commit(f, b), 0);
        assert_int_equal(vault_record_read(f->store, f->keyring, uid, &v), 0);
        return v;
}
