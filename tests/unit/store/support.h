/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "store/body-lmdb.h"
#include "store/records.h"

/* A store in a folder of its own, on tmpfs where there is one (thousands of commits), with its loop and a keyring. With
 * VAULTD_TEST_STORE=memory in the environment it has the memory body: what holds for any store is tried with both. */
typedef struct Fixture {
        char dir[64];
        char kek_file[96];
        uint64_t map_size;
        sd_event *event;
        Store *store;
        Keyring *keyring;
        pthread_mutex_t commit_gate; /* held: the writer waits before its next commit */
} Fixture;

int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Closes and opens again; what is not on disk is lost. A store in memory stays as it is. */
void fixture_reopen(Fixture *f, uint64_t map_size);
void fixture_close(Fixture *f);
int fixture_open(Fixture *f, uint64_t map_size);

/* All kinds of records, one after the other; 0 behind the last. A kind that next_kind() does not know does not compile. */
RecordKind first_kind(void);
RecordKind next_kind(RecordKind kind);

StoreKey key_of(RecordKind kind, uid_t uid, const char *id);
StoreBatch *batch_new(void);
/* A batch of one put. */
StoreBatch *batch_put(const StoreKey *key, const void *value, size_t size);
/* Commits and runs the loop until the outcome is there. */
int commit(Fixture *f, StoreBatch *batch);
int put_text(Fixture *f, uid_t uid, const char *id, const char *text);
/* Asserts what is stored; text NULL: nothing. */
void assert_stored(Fixture *f, uid_t uid, const char *id, const char *text);
Buffer stored_value(Fixture *f, const StoreKey *key);
bool is_stored(Fixture *f, const StoreKey *key);
/* Overwrites a row with raw bytes. */
void put_raw(Fixture *f, const StoreKey *key, const void *value, size_t size);

/* Several commits whose outcomes are collected. While the writer is held, everything that is queued becomes one group. */
typedef struct Collector {
        size_t n;
        int results[2048];
        size_t order[2048];
} Collector;
typedef struct Slot {
        Collector *collector;
        size_t index;
} Slot;
void writer_hold(Fixture *f);
void writer_release(Fixture *f);
void collect(Fixture *f, Slot *slot, StoreBatch *batch);
void run_until(Fixture *f, const size_t *n, size_t wanted);
/* How many transactions were ever committed. */
size_t transactions(Fixture *f);

/* The LMDB body of the fixture's store, for what is about its file. */
LmdbBody *lmdb_of(Fixture *f);

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
/* A test of what only a file has; left out of a run with the memory body. */
extern bool on_disk;
#define TEST_ON_DISK(f)                                                                                     \
        cmocka_unit_test_prestate_setup_teardown(f, fixture_setup, fixture_teardown, &on_disk)
#define RUN_TESTS(name, tests) run_group((name), (tests), ELEMENTSOF(tests))
int run_group(const char *name, const struct CMUnitTest *tests, size_t n);

/* Runs function in a forked child (which must not use cmocka's assertions) and returns wait status; its stderr goes to *ret_stderr
 * (freed by the caller) when that is not NULL. */
int in_child(int (*function)(void *), void *userdata, char **ret_stderr);
#define CHECK(condition)                                                                                    \
        do {                                                                                                \
                if (!(condition)) {                                                                         \
                        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                     \
                        _exit(99);                                                                          \
                }                                                                                           \
        } while (0)

Secret *secret_of(const char *text);
/* A saved vault. */
Vault *vault_of(Fixture *f, uid_t uid, const char *user);
