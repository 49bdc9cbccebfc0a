/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Makes a store with many vaults for the benches and tests, through the store's own door: records by population.c, in batches
 * that the writer thread commits, some at a time. What comes out is what a daemon
 * would have made in years, chain included; only the batches are larger.
 *
 * A few batches are in work at once, so that sealing (here) and writing (the thread) each have a CPU.
 *
 * usage: bench-fill STATE-DIR KEK-FILE COUNT FIRST-UID [EXPIRED]
 * DIR must exist and have no store; uids are FIRST-UID and up; the tokens of the last EXPIRED of them have ended. One line of JSON: vaults, records, seconds, bytes (of the file). */

#include <stdio.h>
#include <sys/stat.h>

#include "population.h"
#include "util/clock.h"

#define VAULTS_PER_BATCH 500U
#define BATCHES_IN_WORK  6U
#define MAP_SIZE         (UINT64_C(64) << 30)

static unsigned n_in_work, n_good;
static int first_error;

static _Noreturn void fail(const char *what, int error) {
        (void)fprintf(stderr, "bench-fill: %s: %s\n", what,
                        error == STORE_CONFLICT ? "there is one already" : strerror(-error));
        exit(EXIT_FAILURE);
}

static void on_committed(int result, void *userdata) {
        n_in_work--;
        if (result != 0 && first_error == 0)
                first_error = result;
}

/* The vaults from the i-th on. */
static int add_batch(Store *s, Keyring *k, uid_t first, unsigned i, unsigned n) {
        _cleanup_(store_batch_freep) StoreBatch *b = NULL;
        int r;

        r = store_batch_new(&b);
        for (unsigned end = i + n; i < end && r >= 0; i++)
                r = population_add(b, k, first + i, i >= n_good);
        if (r >= 0)
                r = store_commit_async(s, TAKE_PTR(b), on_committed, NULL);
        if (r >= 0)
                n_in_work++;
        return r;
}

static void await(sd_event *event, unsigned n) {
        while (n_in_work > n) {
                int r = sd_event_run(event, UINT64_MAX);

                if (r < 0)
                        fail("event loop", r);
        }
        if (first_error != 0)
                fail("commit", first_error);
}

int main(int argc, char *argv[]) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(keyring_freep) Keyring *keyring = NULL;
        _cleanup_(freep) char *file = NULL;
        bool is_used_well = argc == 5 || argc == 6;
        unsigned count = is_used_well ? (unsigned)atol(argv[3]) : 0;
        uid_t first = is_used_well ? (uid_t)atol(argv[4]) : 0;
        uint64_t started = now_monotonic();
        Store *store = NULL;
        struct stat st;
        int r;

        if (count == 0 || first == 0 || count >= UID_INVALID - first) {
                (void)fputs("usage: bench-fill STATE-DIR KEK-FILE COUNT FIRST-UID [EXPIRED]\n", stderr);
                return 2;
        }
        n_good = count - MIN(argc == 6 ? (unsigned)atol(argv[5]) : 0, count);
        r = keyring_load(argv[2], argv[1], &keyring);
        if (r < 0)
                fail(argv[2], r);
        r = sd_event_new(&event);
        if (r >= 0)
                r = store_open(argv[1], MAP_SIZE, event, &store);
        if (r < 0)
                fail(argv[1], r);
        for (unsigned done = 0, n; done < count; done += n) {
                n = MIN(count - done, VAULTS_PER_BATCH);
                await(event, BATCHES_IN_WORK - 1);
                r = add_batch(store, keyring, first, done, n);
                if (r < 0)
                        fail("vaults", r);
        }
        await(event, 0);
        (void)store_free(store);
        if (asprintf(&file, "%s/vaultd.mdb", argv[1]) < 0 || stat(file, &st) < 0)
                fail("vaultd.mdb", -errno);
        (void)printf("{\"vaults\":%u,\"records\":%u,\"seconds\":%.1f,\"bytes\":%llu}\n", count,
                        count * (1 + POPULATION_SERVICES),
                        (double)(now_monotonic() - started) / USEC_PER_SEC, (unsigned long long)st.st_size);
        return 0;
}
