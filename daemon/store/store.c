/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The store's reading side: opening, the schema version, get and foreach.
 *
 * One process has the environment: an exclusive flock on DIR/lock keeps a second daemon out (LMDB itself would let it
 * in and both would believe that they alone decide). A new file is prepared under another name and renamed when its
 * schema record is on disk, so a crash never leaves a half-made file that the next start would have to guess about;
 * for the same reason a file without a schema record is not ours, whatever it holds.
 *
 * Reads use one transaction that is renewed for each call and reset at its end (MDB_NOTLS: its slot belongs to the
 * Store, not to a thread). None outlives a call: an open reader keeps LMDB from reusing pages and the file would
 * grow. A visitor may read again (a flow looks up its vault); it then sees the same snapshot.
 *
 * The map is as large as the database may ever become; only touched pages take memory or disk, so there is no
 * resizing, which LMDB cannot do beside open transactions. MDB_NORDAHEAD because records are small and random.
 *
 * Who may call: the loop's thread only. */

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "store/internal.h"

#define STORE_FILE     "vaultd.mdb"
#define STORE_FILE_NEW "vaultd.mdb.new"
#define STORE_LOCK     "lock"
#define SCHEMA_ID      "schema"
#define SCHEMA_MAGIC   "vaultd"

/* The schema record: magic, then the version, little endian. */
typedef struct Schema {
        char magic[8];
        uint8_t version[4];
} Schema;

int store_errno(int mdb_result) {
        switch (mdb_result) {
        case 0:
                return 0;
        case MDB_NOTFOUND:
                return -ENOENT;
        case MDB_MAP_FULL:
        case MDB_TXN_FULL:
        case ENOSPC:
        case EDQUOT:
        case EFBIG:
                return -ENOSPC;
        case MDB_INVALID:
        case MDB_VERSION_MISMATCH:
                return -EINVAL;
        default:
                return mdb_result > 0 ? -mdb_result : -EIO;
        }
}

static int store_lock(const char *dir, int *ret_fd) {
        _cleanup_(freep) char *path = NULL;
        _cleanup_(closep) int fd = -1;

        if (asprintf(&path, "%s/" STORE_LOCK, dir) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? -EBUSY : -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static void environment_closep(MDB_env **env) {
        if (*env)
                mdb_env_close(*env);
}

static int environment_open(const char *path, uint64_t map_size, MDB_env **ret) {
        _cleanup_(environment_closep) MDB_env *env = NULL;
        int r;

        if (__builtin_add_overflow(map_size, STORE_MAP_RESERVE, &map_size) || map_size > SIZE_MAX)
                return -EINVAL;
        r = mdb_env_create(&env);
        if (r == 0)
                r = mdb_env_set_mapsize(env, (size_t)map_size);
        if (r == 0)
                r = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NORDAHEAD | MDB_NOTLS, 0600);
        if (r != 0)
                return store_errno(r);
        *ret = TAKE_PTR(env);
        return 0;
}

static MDB_val schema_key(uint8_t bytes[static STORE_KEY_MAX]) {
        StoreKey key;
        int r;

        r = store_key_init(&key, RECORD_META, 0, SCHEMA_ID, strlen(SCHEMA_ID));
        assert(r == 0);
        size_t size = store_key_encode(&key, bytes);
        return (MDB_val){ size, bytes };
}

static int schema_write(MDB_env *env) {
        uint8_t bytes[STORE_KEY_MAX];
        MDB_val key = schema_key(bytes);
        Schema schema = { SCHEMA_MAGIC, { STORE_SCHEMA_VERSION } };
        MDB_val value = { sizeof(schema), &schema };
        MDB_txn *txn;
        MDB_dbi dbi;
        int r;

        r = mdb_txn_begin(env, NULL, 0, &txn);
        if (r != 0)
                return store_errno(r);
        r = mdb_dbi_open(txn, NULL, 0, &dbi);
        if (r == 0)
                r = mdb_put(txn, dbi, &key, &value, 0);
        if (r != 0) {
                mdb_txn_abort(txn);
                return store_errno(r);
        }
        return store_errno(mdb_txn_commit(txn));
}

/* -EINVAL: no record of ours; -EPROTONOSUPPORT: made by a newer vaultd. */
static int schema_check(MDB_txn *txn, MDB_dbi dbi) {
        uint8_t bytes[STORE_KEY_MAX];
        MDB_val key = schema_key(bytes), value;
        Schema schema;
        uint32_t version;
        int r;

        r = mdb_get(txn, dbi, &key, &value);
        if (r == MDB_NOTFOUND)
                return -EINVAL;
        if (r != 0)
                return store_errno(r);
        if (value.mv_size != sizeof(schema))
                return -EINVAL;
        memcpy(&schema, value.mv_data, sizeof(schema));
        if (memcmp(schema.magic, (const char[8]){ SCHEMA_MAGIC }, sizeof(schema.magic)) != 0)
                return -EINVAL;
        version = (uint32_t)schema.version[0] | (uint32_t)schema.version[1] << 8 |
                  (uint32_t)schema.version[2] << 16 | (uint32_t)schema.version[3] << 24;
        if (version > STORE_SCHEMA_VERSION)
                return -EPROTONOSUPPORT;
        return version == STORE_SCHEMA_VERSION ? 0 : -EINVAL;
}

static int directory_sync(const char *dir) {
        _cleanup_(closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0 || fsync(fd) < 0)
                return -errno;
        return 0;
}

static void remove_unfinished(const char *path) {
        _cleanup_(freep) char *lock = NULL;

        (void)unlink(path);
        /* LMDB names its lock file so under MDB_NOSUBDIR. */
        if (asprintf(&lock, "%s-lock", path) < 0)
                lock = NULL;
        else
                (void)unlink(lock);
}

/* Makes path through an unfinished file beside it; a crash at any instant leaves either nothing or the whole. */
static int file_create(const char *dir, const char *path, uint64_t map_size) {
        _cleanup_(freep) char *unfinished = NULL;
        MDB_env *env = NULL;
        int r;

        if (asprintf(&unfinished, "%s/" STORE_FILE_NEW, dir) < 0) {
                unfinished = NULL;
                return -ENOMEM;
        }
        remove_unfinished(unfinished);
        r = environment_open(unfinished, map_size, &env);
        if (r >= 0)
                r = schema_write(env);
        if (env)
                mdb_env_close(env);
        if (r >= 0 && rename(unfinished, path) < 0)
                r = -errno;
        if (r >= 0)
                r = directory_sync(dir);
        remove_unfinished(unfinished);
        return r;
}

/* Leaves s->reader reset, ready for store_read_begin(). */
static int reader_open(Store *s) {
        int r;

        r = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->reader);
        if (r != 0)
                return store_errno(r);
        r = store_errno(mdb_dbi_open(s->reader, NULL, 0, &s->dbi));
        if (r >= 0)
                r = schema_check(s->reader, s->dbi);
        mdb_txn_reset(s->reader);
        return r;
}

static int chain_check(Store *s) {
        StoreChain chain;

        return store_chain(s, &chain);
}

int store_open(const char *dir, uint64_t map_size, sd_event *event, Store **ret) {
        _cleanup_(store_freep) Store *s = NULL;
        _cleanup_(freep) char *path = NULL;
        struct stat st;
        int r;

        s = calloc(1, sizeof(Store));
        if (!s)
                return -ENOMEM;
        s->lock_fd = s->done_fd = -1;
        s->loop_thread = pthread_self();
        s->map_size = map_size;
        (void)pthread_mutex_init(&s->mutex, NULL);
        (void)pthread_cond_init(&s->wake, NULL);

        r = store_lock(dir, &s->lock_fd);
        if (r < 0)
                return r;
        if (asprintf(&path, "%s/" STORE_FILE, dir) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        if (lstat(path, &st) < 0) {
                if (errno != ENOENT)
                        return -errno;
                r = file_create(dir, path, map_size);
                if (r < 0)
                        return r;
        } else if (!S_ISREG(st.st_mode) || st.st_size == 0)
                return -EINVAL;

        r = environment_open(path, map_size, &s->env);
        if (r < 0)
                return r;
        r = reader_open(s);
        if (r < 0)
                return r;
        r = chain_check(s);
        if (r < 0)
                return r;
        r = writer_start(s, event);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

Store *store_free(Store *s) {
        if (!s)
                return NULL;

        assert(s->n_reading == 0);
        writer_stop(s);
        if (s->reader)
                mdb_txn_abort(s->reader);
        if (s->env)
                mdb_env_close(s->env);
        (void)pthread_cond_destroy(&s->wake);
        (void)pthread_mutex_destroy(&s->mutex);
        (void)safe_close(s->lock_fd);
        free(s);
        return NULL;
}

static int store_read_begin(Store *s) {
        int r;

        assert(pthread_equal(s->loop_thread, pthread_self()));
        if (s->n_reading == 0) {
                r = mdb_txn_renew(s->reader);
                if (r != 0)
                        return store_errno(r);
        }
        s->n_reading++;
        return 0;
}

static void store_read_end(Store *s) {
        if (--s->n_reading == 0)
                mdb_txn_reset(s->reader);
}

int store_get(Store *s, const StoreKey *key, Buffer *ret_value) {
        uint8_t bytes[STORE_KEY_MAX];
        MDB_val k = { store_key_encode(key, bytes), bytes }, value;
        int r;

        r = store_read_begin(s);
        if (r < 0)
                return r;
        r = store_errno(mdb_get(s->reader, s->dbi, &k, &value));
        if (r >= 0)
                r = buffer_append(ret_value, value.mv_data, value.mv_size);
        store_read_end(s);
        return r;
}

/* The inverse of store_key_encode(); -EIO for what it cannot have made. */
static int store_key_decode(const MDB_val *encoded, StoreKey *ret) {
        const uint8_t *bytes = encoded->mv_data;

        if (encoded->mv_size < STORE_KEY_HEAD || encoded->mv_size > STORE_KEY_MAX)
                return -EIO;
        ret->kind = (RecordKind)bytes[0];
        ret->uid = (uid_t)bytes[1] << 24 | (uid_t)bytes[2] << 16 | (uid_t)bytes[3] << 8 | (uid_t)bytes[4];
        ret->id_size = encoded->mv_size - STORE_KEY_HEAD;
        if (ret->id_size > 0)
                memcpy(ret->id, bytes + STORE_KEY_HEAD, ret->id_size);
        return 0;
}

static int cursor_visit(MDB_cursor *cursor, const uint8_t *prefix, size_t prefix_size, StoreVisit visit,
                void *userdata) {
        MDB_val key = { prefix_size, (void *)prefix }, value;
        int r;

        for (MDB_cursor_op op = MDB_SET_RANGE;; op = MDB_NEXT) {
                StoreKey decoded = {};

                r = mdb_cursor_get(cursor, &key, &value, op);
                if (r == MDB_NOTFOUND)
                        return 0;
                if (r != 0)
                        return store_errno(r);
                if (key.mv_size < prefix_size || memcmp(key.mv_data, prefix, prefix_size) != 0)
                        return 0;
                r = store_key_decode(&key, &decoded);
                if (r < 0)
                        return r;
                r = visit(&decoded, value.mv_data, value.mv_size, userdata);
                if (r != 0)
                        return r;
        }
}

int store_foreach(Store *s, RecordKind kind, uid_t uid, StoreVisit visit, void *userdata) {
        StoreKey first = { .kind = kind, .uid = uid };
        uint8_t prefix[STORE_KEY_MAX];
        size_t prefix_size = store_key_encode(&first, prefix);
        MDB_cursor *cursor;
        int r;

        if (uid == UID_INVALID)
                prefix_size = 1;
        r = store_read_begin(s);
        if (r < 0)
                return r;
        r = store_errno(mdb_cursor_open(s->reader, s->dbi, &cursor));
        if (r >= 0) {
                r = cursor_visit(cursor, prefix, prefix_size, visit, userdata);
                mdb_cursor_close(cursor);
        }
        store_read_end(s);
        return r;
}
