/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The LMDB body: opening and reading.
 *
 * One process has the environment: an exclusive flock on DIR/lock keeps a second daemon out (LMDB itself would let it
 * in and both would believe that they alone decide). A new file is prepared under another name and renamed when its
 * schema record is on disk, so a crash never leaves a half-made file that the next start would have to guess about;
 * for the same reason a file without a schema record is not ours, whatever it holds.
 *
 * Reads use one transaction that is renewed for each call and reset at its end (MDB_NOTLS: its slot belongs to the
 * Store, not to a thread). None outlives a call: an open reader keeps LMDB from reusing pages and the file would
 * grow.
 *
 * The map is as large as the database may ever become; only touched pages take memory or disk, so there is no
 * resizing, which LMDB cannot do beside open transactions. MDB_NORDAHEAD because records are small and random.
 *
 * Who may call: the loop's thread only. */

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "store/body-lmdb.h"

#define STORE_FILE_NEW "vaultd.mdb.new"
#define STORE_LOCK     "lock"

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

int lmdb_environment_open(const char *path, uint64_t map_size, unsigned flags, MDB_env **ret) {
        _cleanup_(environment_closep) MDB_env *env = NULL;
        int r;

        if (__builtin_add_overflow(map_size, STORE_MAP_RESERVE, &map_size) || map_size > SIZE_MAX)
                return -EINVAL;
        r = mdb_env_create(&env);
        if (r == 0)
                r = mdb_env_set_mapsize(env, (size_t)map_size);
        if (r == 0)
                r = mdb_env_set_assert(env, fault_assert);
        if (r == 0)
                r = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NORDAHEAD | MDB_NOTLS | flags, 0600);
        if (r != 0)
                return store_errno(r);
        *ret = TAKE_PTR(env);
        return 0;
}

int lmdb_directory_sync(const char *dir) {
        _cleanup_(closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0 || fsync(fd) < 0)
                return -errno;
        return 0;
}

void lmdb_remove(const char *path) {
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
        lmdb_remove(unfinished);
        r = lmdb_environment_open(unfinished, map_size, 0, &env);
        if (r >= 0)
                r = schema_write(env, STORE_SCHEMA_VERSION);
        if (env)
                mdb_env_close(env);
        if (r >= 0 && rename(unfinished, path) < 0)
                r = -errno;
        if (r >= 0)
                r = lmdb_directory_sync(dir);
        lmdb_remove(unfinished);
        return r;
}

/* Leaves the reader reset, ready for read_begin(). */
static int reader_open(LmdbBody *body) {
        int r;

        r = mdb_txn_begin(body->env, NULL, MDB_RDONLY, &body->reader);
        if (r != 0)
                return store_errno(r);
        r = store_errno(mdb_dbi_open(body->reader, NULL, 0, &body->dbi));
        mdb_txn_reset(body->reader);
        return r;
}

static int lmdb_read_begin(Store *s) {
        LmdbBody *body = s->data;
        int r = store_errno(mdb_txn_renew(body->reader));

        if (r >= 0)
                fault_enter();
        return r;
}

static void lmdb_read_end(Store *s) {
        LmdbBody *body = s->data;

        fault_leave();
        mdb_txn_reset(body->reader);
}

static int lmdb_get(Store *s, const uint8_t *key, size_t key_size, const uint8_t **ret, size_t *ret_size) {
        LmdbBody *body = s->data;
        MDB_val k = { key_size, (void *)key }, value;
        int r;

        r = store_errno(mdb_get(body->reader, body->dbi, &k, &value));
        if (r < 0)
                return r;
        *ret = value.mv_data;
        *ret_size = value.mv_size;
        return 0;
}

static int cursor_visit(MDB_cursor *cursor, const uint8_t *first, size_t first_size, size_t prefix_size,
                StoreVisit visit, void *userdata) {
        MDB_val key = { first_size, (void *)first }, value;
        int r;

        for (MDB_cursor_op op = MDB_SET_RANGE;; op = MDB_NEXT) {
                StoreKey decoded = {};

                r = mdb_cursor_get(cursor, &key, &value, op);
                if (r == MDB_NOTFOUND)
                        return 0;
                if (r != 0)
                        return store_errno(r);
                if (key.mv_size < prefix_size || memcmp(key.mv_data, first, prefix_size) != 0)
                        return 0;
                r = store_key_decode(key.mv_data, key.mv_size, &decoded);
                if (r < 0)
                        return r;
                r = visit(&decoded, value.mv_data, value.mv_size, userdata);
                if (r != 0)
                        return r;
        }
}

static int lmdb_walk(Store *s, const uint8_t *first, size_t first_size, size_t prefix_size, StoreVisit visit,
                void *userdata) {
        LmdbBody *body = s->data;
        MDB_cursor *cursor;
        int r;

        r = store_errno(mdb_cursor_open(body->reader, body->dbi, &cursor));
        if (r < 0)
                return r;
        r = cursor_visit(cursor, first, first_size, prefix_size, visit, userdata);
        mdb_cursor_close(cursor);
        return r;
}

static void lmdb_close(Store *s) {
        LmdbBody *body = s->data;

        if (body->reader)
                mdb_txn_abort(body->reader);
        if (body->env)
                mdb_env_close(body->env);
        (void)safe_close(body->lock_fd);
        free(body);
}

const StoreBody lmdb_body = {
        .read_begin = lmdb_read_begin,
        .read_end = lmdb_read_end,
        .get = lmdb_get,
        .walk = lmdb_walk,
        .commit = lmdb_commit,
        .scrub = scrub_lmdb,
        .close = lmdb_close,
};

/* Opens or makes the file and brings it to our schema. What is made stays in body also on failure, for lmdb_close(). */
static int body_open(LmdbBody *body, const char *dir, uint64_t map_size) {
        _cleanup_(freep) char *path = NULL;
        struct stat st;
        int r;

        r = store_lock(dir, &body->lock_fd);
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

        r = lmdb_environment_open(path, map_size, 0, &body->env);
        if (r >= 0)
                r = schema_upgrade(body->env);
        return r < 0 ? r : reader_open(body);
}

int store_open(const char *dir, uint64_t map_size, sd_event *event, Store **ret) {
        _cleanup_(store_freep) Store *s = NULL;
        LmdbBody *body = calloc(1, sizeof(LmdbBody));
        StoreChain chain;
        int r;

        if (!body)
                return -ENOMEM;
        body->lock_fd = -1;
        body->map_size = map_size;
        r = store_new(&lmdb_body, body, &s);
        if (r >= 0)
                r = fault_watch();
        if (r >= 0) {
                fault_enter();
                r = body_open(body, dir, map_size);
                fault_leave();
        }
        if (r >= 0)
                r = store_chain(s, &chain);
        if (r >= 0)
                r = writer_start(s, event);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}
