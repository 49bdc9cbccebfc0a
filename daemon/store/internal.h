/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pthread.h>

#include <lmdb.h>

#include "store/store.h"

/* What store.c, writer.c and batch.c share. Nobody else includes this but their unit tests. */

/* kind, uid (big endian), id: byte order is key order, so a uid's records of a kind are neighbours. */
#define STORE_KEY_HEAD 5U
#define STORE_KEY_MAX  (STORE_KEY_HEAD + STORE_ID_MAX)

/* What LMDB's map is larger than asked for, and what is kept allocated on disk behind the last page: a delete copies pages before
 * it frees any, so without room of its own a full store could never be emptied. */
#define STORE_MAP_RESERVE  (UINT64_C(32) << 20)
#define STORE_DISK_RESERVE (UINT64_C(256) << 10)
/* How far ahead the disk is reserved at once, where there is room: each new reservation makes the next sync several times dearer. */
#define STORE_DISK_AHEAD (UINT64_C(4) << 20)

/* The version of what lies under the keys. A newer one is refused, an older one will be converted by whoever raises this. */
#define STORE_SCHEMA_VERSION 1U

typedef enum BatchOperationType {
        BATCH_EXPECT,
        BATCH_EXPECT_ABSENT,
        BATCH_PUT,
        BATCH_DELETE,
} BatchOperationType;

typedef struct BatchOperation {
        struct BatchOperation *next;
        BatchOperationType type;
        size_t key_size;
        uint8_t key[STORE_KEY_MAX];
        size_t size;
        uint8_t value[];
} BatchOperation;

struct StoreBatch {
        BatchOperation *expectations, **expectations_end;
        BatchOperation *changes, **changes_end;
        size_t weight; /* bytes, for the size of a group */
        /* While queued, owned by the store: */
        StoreBatch *next;
        StoreCommitted done;
        void *userdata;
        int result;
};

struct Store {
        MDB_env *env;
        MDB_dbi dbi;
        uint64_t map_size;     /* as asked for */
        uint64_t reserved_end; /* writer thread: the file is allocated up to here */
        int lock_fd;
        /* The loop's side. */
        pthread_t loop_thread;
        MDB_txn *reader; /* reset between calls */
        unsigned n_reading;
        sd_event_source *done_source;
        /* Between the loop and the writer. */
        pthread_mutex_t mutex;
        pthread_cond_t wake;
        StoreBatch *queued, **queued_end;
        StoreBatch *finished, **finished_end;
        bool is_stopping;
        int done_fd; /* eventfd: finished is not empty */
        pthread_t writer;
        bool has_writer;
};

/* Returns the size of the encoded key. */
size_t store_key_encode(const StoreKey *key, uint8_t ret[static STORE_KEY_MAX]);

/* An LMDB result as -errno: full map or disk is -ENOSPC, a file that is not LMDB's -EINVAL, damage -EIO. */
int store_errno(int mdb_result);

/* The chain's record (chain.c). Decoding: -EBADMSG, -ENOMEM. */
int chain_key(StoreKey *ret);
int chain_decode(const uint8_t *value, size_t size, StoreChain *ret);
int chain_encode(const StoreChain *chain, Buffer *ret);
/* Moves the chain on over the changes of the batches from first up to, not including, end whose result is 0. -ENOMEM. */
int chain_advance(StoreChain *chain, const StoreBatch *first, const StoreBatch *end);

/* Starts the writer thread and its event source. */
int writer_start(Store *s, sd_event *event);
/* Commits what is queued, ends the thread, calls what callbacks are left. */
void writer_stop(Store *s);
