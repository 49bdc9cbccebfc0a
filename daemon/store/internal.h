/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pthread.h>

#include "store/store.h"

/* What the files of the store share: keys, batches, the queue to the writer, and what a body has to do. Nobody else includes this
 * but their unit tests. */

/* kind, uid (big endian), id: byte order is key order, so a uid's records of a kind are neighbours. */
#define STORE_KEY_HEAD 5U
#define STORE_KEY_MAX  (STORE_KEY_HEAD + STORE_ID_MAX)

/* The version of what lies under the keys. A newer one is refused, an older one goes through the table in schema.c. Raise it, and
 * add a row there, when the meaning of bytes under existing keys changes; a new kind, field or META id needs neither. Then
 * also keep a file of the version that was (tests/unit/store/kept). */
#define STORE_SCHEMA_VERSION 1U

typedef enum BatchOperationType {
        BATCH_EXPECT,
        BATCH_EXPECT_ABSENT,
        BATCH_EXPECT_PREFIX,
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

/* Where the records are: LMDB (body-lmdb.c) or memory (body-memory.c). The loop's thread reads, the writer thread commits,
 * both at the same time. */
typedef struct StoreBody {
        /* What is read between begin and end is one committed state. Calls do not nest. */
        int (*read_begin)(Store *s);
        void (*read_end)(Store *s);
        /* Between the two. *ret is borrowed until read_end(). -ENOENT, -EIO. */
        int (*get)(Store *s, const uint8_t *key, size_t key_size, const uint8_t **ret, size_t *ret_size);
        /* Visits, in key order and from the key first on, what has the first prefix_size bytes of first, until visit returns non-zero.
         * -EIO for a key that is none. */
        int (*walk)(Store *s, const uint8_t *first, size_t first_size, size_t prefix_size, StoreVisit visit,
                        void *userdata);
        /* Commits the group as far as it goes and fills in each result. Whatever is left in doubt ends the process. */
        void (*commit)(Store *s, StoreBatch *group);
        /* store_scrub(), on a fiber; NULL: there is nothing to erase. */
        int (*scrub)(Store *s, sd_event *event);
        /* Releases s->data. */
        void (*close)(Store *s);
} StoreBody;

struct Store {
        const StoreBody *body;
        void *data; /* the body's */
        /* The loop's side. */
        pthread_t loop_thread;
        unsigned n_reading;
        sd_event_source *done_source;
        StoreBatch *called; /* finished; their callbacks come next */
        void (*changed)(void *userdata);
        void *changed_userdata;
        bool is_frozen;
        unsigned n_in_flight; /* queued or with the writer, or their callbacks not called yet */
        bool is_exclusive;    /* somebody waits for the former to be 0 … */
        struct Fiber *exclusive;
        StoreBatch *held, **held_end; /* … and these come after what he queues */
        /* Between the loop and the writer. */
        pthread_mutex_t mutex;
        pthread_cond_t wake;
        StoreBatch *queued, **queued_end;
        unsigned n_queued, n_wanted; /* n_wanted: at so many the writer is woken */
        StoreBatch *finished, **finished_end;
        bool is_stopping;
        int done_fd; /* eventfd: finished is not empty */
        pthread_t writer;
        bool has_writer;
};

/* A store without a writer. Takes data over, also when it fails (-ENOMEM). */
int store_new(const StoreBody *body, void *data, Store **ret);

/* Returns the size of the encoded key. */
size_t store_key_encode(const StoreKey *key, uint8_t ret[static STORE_KEY_MAX]);
/* The inverse; -EIO for what it cannot have made. */
int store_key_decode(const uint8_t *bytes, size_t size, StoreKey *ret);

/* The schema record (schema.c). -EINVAL: not ours. */
int schema_decode(const uint8_t *value, size_t size, uint32_t *ret_version);

/* The chain's record (chain.c). Decoding: -EBADMSG, -ENOMEM. */
int chain_key(StoreKey *ret);
int chain_decode(const uint8_t *value, size_t size, StoreChain *ret);
int chain_encode(const StoreChain *chain, Buffer *ret);
int behind_decode(const uint8_t *value, size_t size, StoreChain *ret);
/* Moves the chain on over the changes of the batches from first up to, not including, end whose result is 0. -ENOMEM. */
int chain_advance(StoreChain *chain, const StoreBatch *first, const StoreBatch *end);
/* The same from the stored value (NULL: none yet) to the one to be stored. */
int chain_link(const uint8_t *stored, size_t size, const StoreBatch *first, const StoreBatch *end,
                Buffer *ret);

/* Starts the writer thread and its event source. */
int writer_start(Store *s, sd_event *event);
/* Commits what is queued, ends the thread, calls what callbacks are left. */
void writer_stop(Store *s);
