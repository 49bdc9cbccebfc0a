/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "util/buffer.h"
#include "util/macro.h"

/* Records under keys, in the one LMDB environment (or, for tests, in memory). Reads happen in the loop (microseconds) and see the last
 * committed state; writes are batches that a writer thread commits in groups, durably, all or nothing. Design: "Store".
 *
 * Records of kind RECORD_META, all of uid 0:
 *     id        written by               holds
 *     schema    schema.c                 magic and version of what lies under the keys
 *     chain     the writer, each commit  number and digest of the last commit (chain.c)
 *     key       rekey-note.c             which key-encryption key is in force, since when
 *     rekey     rekey-note.c             while keys are changed: the former one, sealed under the one to come
 *     recovery  recovery.c               public half of the recovery key
 *     behind    the start                the newest state that was known elsewhere when this one was found older (chain.c)
 *     scrub     scrub.c                  when the file was last begun to be erased of what is gone
 * A new id also goes into verify.c and into the rows of tests/unit/store/test-kinds.c. */

typedef struct Store Store;
typedef struct StoreBatch StoreBatch;

typedef enum RecordKind {
        RECORD_META = 'm',
        RECORD_VAULT = 'v',      /* uid */
        RECORD_CREDENTIAL = 'c', /* uid, service "/" label */
        RECORD_REVOCATION =
                        'r', /* uid, credential id: a credential that is gone here and is to be revoked upstream */
        RECORD_FLOW = 'f',          /* uid 0, SHA-256 of state */
        RECORD_CLIENT = 'i',        /* uid 0, SHA-256 of issuer and redirect URI */
        RECORD_AGENT_SESSION = 's', /* uid, platform session id or "new-" nonce */
        RECORD_AGENT = 'a',         /* uid 0, digest of what we write */
        RECORD_ENVIRONMENT = 'e',   /* uid 0, digest of what we write */
        RECORD_ASIDE = 'x', /* uid, vault id, number: a record of a vault that was set aside (vault-aside.c) */
        RECORD_ACCOUNT = 'p', /* uid, service "/" label: the pinned account, kept beyond disconnect (O7) */
} RecordKind;

#define STORE_ID_MAX 200U

typedef struct StoreKey {
        RecordKind kind;
        uid_t uid;
        size_t id_size;
        uint8_t id[STORE_ID_MAX];
} StoreKey;

/* -ENAMETOOLONG beyond STORE_ID_MAX, -EINVAL for UID_INVALID. */
int store_key_init(StoreKey *ret, RecordKind kind, uid_t uid, const void *id, size_t id_size);

/* Outcomes of a commit beside 0 and -errno. */
enum {
        STORE_CONFLICT = 1, /* an expectation did not hold; nothing of this batch was written */
};

/* Opens or creates dir/vaultd.mdb (0600) and checks the schema version. map_size: bytes, what the database may grow to; costs
 * address space only. Callbacks come from event.
 * -EPROTONOSUPPORT: a newer vaultd made it. -EINVAL: not our file. -EBADMSG: the chain is damaged. -EBUSY: another process has it open. -ENOSPC, -errno of open(2). */
int store_open(const char *dir, uint64_t map_size, sd_event *event, Store **ret);
/* A store in memory, empty, for tests: the same in all that is said here, but lost when it is freed and never full. */
int store_open_memory(sd_event *event, Store **ret);
/* Commits what is queued, ends the thread. Callbacks of what was queued have been called; one that queues more meanwhile gets
 * -ESHUTDOWN. Not from a callback. */
Store *store_free(Store *s);
DEFINE_CLEANUP(Store *, store_free)

/* 0 and the value appended to *ret_value (initialise it to {}); -ENOENT, -ENOMEM, -EIO (damaged file). */
int store_get(Store *s, const StoreKey *key, Buffer *ret_value);

/* Calls visit for every record of the kind (and of that uid unless UID_INVALID) in key order, until it returns non-zero, which is
 * returned. value is borrowed for the call; visit may read (it sees the same state), must not wait on a fiber. */
typedef int (*StoreVisit)(const StoreKey *key, const uint8_t *value, size_t size, void *userdata);
int store_foreach(Store *s, RecordKind kind, uid_t uid, StoreVisit visit, void *userdata);
/* Of those the ones whose id begins with these bytes; the others are not touched. -ENAMETOOLONG, -EINVAL: what store_key_init() refuses. */
int store_foreach_id(Store *s, RecordKind kind, uid_t uid, const void *id, size_t id_size, StoreVisit visit,
                void *userdata);
/* The same for the records of that uid and of all higher ones: for going through many in several turns of the loop. */
int store_foreach_from(Store *s, RecordKind kind, uid_t first, StoreVisit visit, void *userdata);

/* Where the history of the store stands, as of the last commit that the loop can see: sequence counts commits (groups of
 * batches), head is a digest over all that was ever written (chain.c has the formula). {0, zeros} before the first commit.
 * -EBADMSG: the record is damaged; -ENOMEM, -EIO. */
typedef struct StoreChain {
        uint64_t sequence;
        uint8_t head[32];
} StoreChain;
int store_chain(Store *s, StoreChain *ret);

/* Calls changed() in the loop whenever commits have become visible (NULL: no more). */
void store_watch(Store *s, void (*changed)(void *userdata), void *userdata);

/* From now on every commit is -ESHUTDOWN; those that are queued come to their ends. For a store whose file is about to be replaced. */
void store_set_frozen(Store *s, bool is_frozen);

/* Whether an older database was put in this one's place (T8), and which newest state was known elsewhere. The note stays until somebody
 * has looked at it, whatever is written meanwhile. store_behind(): -ENOENT: it was not; -EBADMSG. Ending it makes the chain go on,
 * from the one that stands now, behind the newest. */
int store_behind(Store *s, StoreChain *ret_newest);
int store_batch_put_behind(StoreBatch *b, const StoreChain *newest);
int store_batch_end_behind(StoreBatch *b, StoreChain chain, const StoreChain *newest);

/* A batch: expectations are checked first, inside the write transaction, then all puts and deletes are applied in order. The
 * functions copy what they are given. -ENOMEM, -EINVAL, -E2BIG. */
int store_batch_new(StoreBatch **ret);
StoreBatch *store_batch_free(StoreBatch *b);
DEFINE_CLEANUP(StoreBatch *, store_batch_free)
int store_batch_put(StoreBatch *b, const StoreKey *key, const void *value, size_t size);
int store_batch_delete(StoreBatch *b, const StoreKey *key); /* absent is fine */
/* The record must be absent … */
int store_batch_expect_absent(StoreBatch *b, const StoreKey *key);
/* … or have exactly this value. */
int store_batch_expect(StoreBatch *b, const StoreKey *key, const void *value, size_t size);
/* … or begin with these bytes. */
int store_batch_expect_prefix(StoreBatch *b, const StoreKey *key, const void *prefix, size_t size);

/* On a fiber: queues the batch (takes it over, also on failure), waits until it is on disk. 0, STORE_CONFLICT, -ENOSPC (map or disk
 * full; nothing was written, later batches may succeed), -ENOMEM, -ESHUTDOWN. A cancelled fiber still waits for the outcome of what
 * it queued (a commit is never left unknown), so this never returns -ECANCELED. */
int store_commit(Store *s, StoreBatch *batch);
/* The same with a callback (may be NULL) from the loop, in queue order, for code that is not on a fiber. When this fails the
 * callback is not called. */
typedef void (*StoreCommitted)(int result, void *userdata);
int store_commit_async(Store *s, StoreBatch *batch, StoreCommitted done, void *userdata);

/* On a fiber: waits until nothing is on its way to the disk, then calls function from the loop, once. What it reads is what the
 * batches meet that it queues (store_commit_async()): whatever others queue meanwhile comes after them. So it can be sure to
 * have seen all records of a kind, which expectations alone cannot say. It must not wait. Returns its result; -ECANCELED. */
int store_exclusive(Store *s, int (*function)(void *userdata), void *userdata);
/* The same for one batch, which build fills from what it reads; waits until it is on disk. Results as of store_commit(), or what build
 * returns when that is negative: then nothing is written. */
int store_commit_exclusive(Store *s, int (*build)(StoreBatch *batch, void *userdata), void *userdata);

/* A failed write or sync that is not for lack of room, or MDB_PANIC, leaves memory and disk in doubt: the writer logs and ends the
 * process with SIGABRT; the service manager starts it anew. */
