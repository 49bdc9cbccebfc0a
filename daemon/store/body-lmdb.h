/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <lmdb.h>

#include "store/internal.h"

/* The store on disk. For body-lmdb*.c, schema.c and their unit tests. */

/* What LMDB's map is larger than asked for, and what is kept allocated on disk behind the last page: a delete copies pages before
 * it frees any, so without room of its own a full store could never be emptied. */
#define STORE_MAP_RESERVE  (UINT64_C(32) << 20)
#define STORE_DISK_RESERVE (UINT64_C(256) << 10)
/* How far ahead the disk is reserved at once, where there is room: each new reservation makes the next sync several times dearer. */
#define STORE_DISK_AHEAD (UINT64_C(4) << 20)

typedef struct LmdbBody {
        MDB_env *env;
        MDB_dbi dbi;
        uint64_t map_size;     /* as asked for */
        uint64_t reserved_end; /* writer thread: the file is allocated up to here */
        uint64_t dirty_max;    /* under LMDB's write lock: no commit can have changed more pages than this */
        int lock_fd;
        MDB_txn *reader; /* the loop's; reset between calls */
} LmdbBody;

/* The file in the store's folder. */
#define STORE_FILE "vaultd.mdb"

extern const StoreBody lmdb_body;

/* Opens or makes a file, with these flags of LMDB beside our own. */
int lmdb_environment_open(const char *path, uint64_t map_size, unsigned flags, MDB_env **ret);
int lmdb_directory_sync(const char *dir);
/* Removes the file and LMDB's lock file beside it, if they are there. */
void lmdb_remove(const char *path);

/* An LMDB result as -errno: full map or disk is -ENOSPC, a file that is not LMDB's -EINVAL, damage -EIO. */
int store_errno(int mdb_result);

/* From now on a fault of memory on a thread between enter and leave says what it means before it ends the process (fault.c). */
int fault_watch(void);
void fault_enter(void);
void fault_leave(void);
/* For mdb_env_set_assert(). */
void fault_assert(MDB_env *env, const char *message);

/* StoreBody.commit */
void lmdb_commit(Store *s, StoreBatch *group);
/* StoreBody.scrub (scrub.c) */
int scrub_lmdb(Store *s, sd_event *event);

/* One step of a migration: changes what lies under the keys from a version to the next, inside the transaction that also writes the
 * new version, so a crash leaves either. Returns an LMDB result. It has no keys: what is sealed stays as it is. */
typedef struct SchemaMigration {
        uint32_t from, to;
        int (*function)(MDB_txn *txn, MDB_dbi dbi);
} SchemaMigration;

/* Writes the schema record of a new, empty environment. */
int schema_write(MDB_env *env, uint32_t version);
/* Brings an existing one to the version, step by step by the table. -EINVAL: no record of ours, or no way from there;
 * -EPROTONOSUPPORT: made by a newer vaultd; -ENOSPC, -EIO. */
int schema_migrate(MDB_env *env, uint32_t version, const SchemaMigration *table, size_t n);
/* The same to STORE_SCHEMA_VERSION by the table that is in force. */
int schema_upgrade(MDB_env *env);
