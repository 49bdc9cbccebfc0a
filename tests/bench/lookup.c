/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a look-up costs beyond the least that any sealed store in LMDB would do: take a read transaction, mdb_get(), open as
 * many bytes with AES-256-GCM under a key of that vault, give the transaction back.
 *
 * Both sides read the same rows of the same file, of vaults chosen at random from all there are, in turn and in the same order.
 * The bare side opens the whole value, clear members too, since they have to be authenticated either way; its tags do not
 * fit, which takes as long. Its key is the one at hand, set anew for each record, as each vault has its own. For a vault it
 * opens the wrapped data key as well.
 *
 * usage: bench-lookup STATE-DIR KEK-FILE COUNT FIRST-UID ROUNDS
 * of a store by bench-fill. One line of JSON: for vault, credential and both, [ours, bare] nanoseconds of each round. */

#include <gcrypt.h>
#include <stdio.h>
#include <time.h>

#include "population.h"
#include "store/body-lmdb.h"

#define MAP_SIZE         (UINT64_C(64) << 30)
#define LOOKUPS_A_ROUND  1000U
#define WRAPPED_KEY_SIZE (SEAL_KEY_SIZE + SEAL_OVERHEAD)

typedef struct World {
        Store *store;
        Keyring *keyring;
        MDB_txn *txn;
        gcry_cipher_hd_t cipher;
        unsigned count;
        uid_t first;
} World;

typedef enum What { WHAT_VAULT, WHAT_CREDENTIAL, WHAT_BOTH } What;

static _Noreturn void fail(const char *what, int r) {
        (void)fprintf(stderr, "bench-lookup: %s: %s\n", what, strerror(-r));
        exit(EXIT_FAILURE);
}

/* Of this thread alone: nothing here waits, and what else runs on the machine is not what is measured. */
static uint64_t now_nsec(void) {
        struct timespec t;

        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The same order of uids and services for both sides (SplitMix64). */
static uint64_t next_number(uint64_t *state) {
        uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

        z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
        return z ^ (z >> 31);
}

static void open_bytes(World *w, const uint8_t *bytes, size_t n) {
        static const uint8_t key[SEAL_KEY_SIZE] = "its length is all that counts";
        static uint8_t plain[65536];
        uint8_t tag[SEAL_TAG_SIZE];

        if (n < SEAL_OVERHEAD || n > sizeof(plain) || gcry_cipher_setkey(w->cipher, key, sizeof(key)) ||
                        gcry_cipher_setiv(w->cipher, bytes, SEAL_NONCE_SIZE) ||
                        gcry_cipher_decrypt(w->cipher, plain, n - SEAL_OVERHEAD, bytes + SEAL_NONCE_SIZE,
                                        n - SEAL_OVERHEAD) ||
                        gcry_cipher_gettag(w->cipher, tag, sizeof(tag)))
                fail("AES-GCM", -EIO);
}

static void bare_read(World *w, RecordKind kind, uid_t uid, const char *id) {
        LmdbBody *body = w->store->data;
        uint8_t bytes[STORE_KEY_MAX];
        MDB_val k, value;
        StoreKey key;

        if (store_key_init(&key, kind, uid, id, strlen(id)) < 0)
                fail("key", -EINVAL);
        k = (MDB_val){ store_key_encode(&key, bytes), bytes };
        if (mdb_txn_renew(w->txn) != 0 || mdb_get(w->txn, body->dbi, &k, &value) != 0)
                fail("mdb_get", -EIO);
        open_bytes(w, value.mv_data, value.mv_size);
        if (kind == RECORD_VAULT)
                open_bytes(w, value.mv_data, WRAPPED_KEY_SIZE);
        mdb_txn_reset(w->txn);
}

static void bare_lookup(World *w, What what, uid_t uid, const char *service, const Vault *v) {
        char id[64];

        (void)snprintf(id, sizeof(id), "%s/default", service);
        if (what != WHAT_CREDENTIAL)
                bare_read(w, RECORD_VAULT, uid, "");
        if (what != WHAT_VAULT)
                bare_read(w, RECORD_CREDENTIAL, uid, id);
}

/* v: the vault in hand, for what is a look-up of a credential alone. */
static void our_lookup(World *w, What what, uid_t uid, const char *service, const Vault *v) {
        _cleanup_(credential_freep) Credential *c = NULL;
        _cleanup_(vault_freep) Vault *own = NULL;
        int r = 0;

        if (what != WHAT_CREDENTIAL)
                r = vault_record_read(w->store, w->keyring, uid, &own);
        if (r >= 0 && what != WHAT_VAULT)
                r = credential_record_read(w->store, own ?: v, service, "default", &c);
        if (r < 0)
                fail("look-up", r);
}

typedef struct Subject {
        uid_t uid;
        const char *service;
        Vault *vault; /* where only credentials are measured */
} Subject;

/* So many look-ups between two looks at the clock. Their vaults are in secure memory at once, where many blocks cost time. */
#define SUBJECTS 10U

/* Nanoseconds of one look-up in the mean. */
static uint64_t run(World *w, What what, bool is_ours, uint64_t seed) {
        uint64_t state = seed, taken = 0;

        for (unsigned n = 0; n < LOOKUPS_A_ROUND; n += SUBJECTS) {
                Subject subjects[SUBJECTS] = {};
                uint64_t started;

                for (unsigned i = 0; i < SUBJECTS; i++) {
                        subjects[i].uid = w->first + (uid_t)(next_number(&state) % w->count);
                        subjects[i].service = population_service(
                                        (unsigned)(next_number(&state) % POPULATION_SERVICES));
                        if (what == WHAT_CREDENTIAL &&
                                        vault_record_read(w->store, w->keyring, subjects[i].uid,
                                                        &subjects[i].vault) < 0)
                                fail("vault", -EIO);
                }
                started = now_nsec();
                for (unsigned i = 0; i < SUBJECTS; i++)
                        (is_ours ? our_lookup : bare_lookup)(
                                        w, what, subjects[i].uid, subjects[i].service, subjects[i].vault);
                taken += now_nsec() - started;
                for (unsigned i = 0; i < SUBJECTS; i++)
                        (void)vault_free(subjects[i].vault);
        }
        return taken / LOOKUPS_A_ROUND;
}

/* A run before each round brings its rows into memory, so that neither side waits for the disk or for the kernel to map pages. */
static void measure(World *w, What what, unsigned rounds, const char *name, const char *separator) {
        (void)printf("\"%s\":[", name);
        for (unsigned i = 0; i <= rounds; i++) {
                uint64_t taken[2], seed = i;

                (void)run(w, what, false, seed);
                for (unsigned side = 0; side < 2; side++)
                        taken[(side + i) % 2] = run(w, what, (side + i) % 2 == 0, seed);
                if (i > 0)
                        (void)printf("%s[%llu,%llu]", i > 1 ? "," : "", (unsigned long long)taken[0],
                                        (unsigned long long)taken[1]);
        }
        (void)printf("]%s", separator);
}

int main(int argc, char *argv[]) {
        World w = { .count = argc == 6 ? (unsigned)atol(argv[3]) : 0,
                .first = argc == 6 ? (uid_t)atol(argv[4]) : 0 };
        unsigned rounds = argc == 6 ? (unsigned)atol(argv[5]) : 0;
        sd_event *event = NULL;
        int r;

        if (w.count == 0 || w.first == 0 || rounds == 0) {
                (void)fputs("usage: bench-lookup STATE-DIR KEK-FILE COUNT FIRST-UID ROUNDS\n", stderr);
                return 2;
        }
        r = keyring_load(argv[2], argv[1], &w.keyring);
        if (r >= 0)
                r = sd_event_new(&event);
        if (r >= 0)
                r = store_open(argv[1], MAP_SIZE, event, &w.store);
        if (r < 0)
                fail(argv[1], r);
        if (mdb_txn_begin(((LmdbBody *)w.store->data)->env, NULL, MDB_RDONLY, &w.txn) != 0 ||
                        gcry_cipher_open(&w.cipher, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_GCM, 0))
                fail("set up", -ENOMEM);
        mdb_txn_reset(w.txn);
        (void)printf("{");
        measure(&w, WHAT_VAULT, rounds, "vault", ",");
        measure(&w, WHAT_CREDENTIAL, rounds, "credential", ",");
        measure(&w, WHAT_BOTH, rounds, "both", "}\n");
        mdb_txn_abort(w.txn);
        gcry_cipher_close(w.cipher);
        (void)store_free(w.store);
        (void)keyring_free(w.keyring);
        (void)sd_event_unref(event);
        return 0;
}
