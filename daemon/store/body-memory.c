/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The memory body: a store without a file, for tests of what only needs a store.
 *
 * The records are a sorted array of counted rows, and a version is never changed once it is visible: a commit makes the next
 * version (rows that stay are shared) and puts it in the place of the last one. A reader holds on to the version that it began
 * with, so it sees one committed state as with LMDB. Copying an array of pointers at each commit is dear for many
 * records and free of surprises for the few that a test has.
 *
 * It has no limits but memory's: full maps and disks, files and crashes are the LMDB body's affair alone.
 *
 * Who may call: nobody in the daemon. Reads are the loop's, the commit is the writer thread's; the mutex guards `current` and the
 * counts. */

#include "store/internal.h"

typedef struct Row {
        unsigned n_references;
        size_t key_size, size;
        uint8_t bytes[]; /* key, then value */
} Row;

typedef struct Version {
        unsigned n_references;
        size_t n;
        Row *rows[];
} Version;

typedef struct MemoryBody {
        pthread_mutex_t mutex;
        Version *current;
        Version *reading;
} MemoryBody;

static Version *version_new(size_t n) {
        Version *v = calloc(1, sizeof(Version) + n * sizeof(Row *));

        if (v)
                v->n_references = 1;
        return v;
}

/* Both with the mutex held. */
static void row_unref(Row *row) {
        if (row && --row->n_references == 0)
                free(row);
}

static void version_unref(Version *v) {
        if (!v || --v->n_references > 0)
                return;
        for (size_t i = 0; i < v->n; i++)
                row_unref(v->rows[i]);
        free(v);
}

static int key_compare(const Row *row, const uint8_t *key, size_t size) {
        int r = memcmp(row->bytes, key, MIN(row->key_size, size));

        return r != 0 ? r : (row->key_size > size) - (row->key_size < size);
}

/* The index of the first row that is not before the key. */
static size_t version_find(const Version *v, const uint8_t *key, size_t size, bool *ret_is_there) {
        size_t low = 0, high = v->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (key_compare(v->rows[middle], key, size) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        *ret_is_there = low < v->n && key_compare(v->rows[low], key, size) == 0;
        return low;
}

static int memory_read_begin(Store *s) {
        MemoryBody *body = s->data;

        (void)pthread_mutex_lock(&body->mutex);
        body->reading = body->current;
        body->reading->n_references++;
        (void)pthread_mutex_unlock(&body->mutex);
        return 0;
}

static void memory_read_end(Store *s) {
        MemoryBody *body = s->data;

        (void)pthread_mutex_lock(&body->mutex);
        version_unref(TAKE_PTR(body->reading));
        (void)pthread_mutex_unlock(&body->mutex);
}

static int memory_get(Store *s, const uint8_t *key, size_t key_size, const uint8_t **ret, size_t *ret_size) {
        const MemoryBody *body = s->data;
        bool is_there;
        size_t i = version_find(body->reading, key, key_size, &is_there);

        if (!is_there)
                return -ENOENT;
        *ret = body->reading->rows[i]->bytes + key_size;
        *ret_size = body->reading->rows[i]->size;
        return 0;
}

static int memory_walk(Store *s, const uint8_t *first, size_t first_size, size_t prefix_size,
                StoreVisit visit, void *userdata) {
        const Version *v = ((MemoryBody *)s->data)->reading;
        bool is_there;
        int r;

        for (size_t i = version_find(v, first, first_size, &is_there); i < v->n; i++) {
                const Row *row = v->rows[i];
                StoreKey key = {};

                if (row->key_size < prefix_size || memcmp(row->bytes, first, prefix_size) != 0)
                        return 0;
                r = store_key_decode(row->bytes, row->key_size, &key);
                if (r >= 0)
                        r = visit(&key, row->bytes + row->key_size, row->size, userdata);
                if (r != 0)
                        return r;
        }
        return 0;
}

/* Puts a row (or, with value NULL, nothing) in the place of what is under the key. v has room for one more. */
static int version_set(Version *v, const uint8_t *key, size_t key_size, const uint8_t *value, size_t size) {
        bool is_there;
        size_t i = version_find(v, key, key_size, &is_there);
        Row *row = NULL;

        if (value) {
                row = malloc(sizeof(Row) + key_size + size);
                if (!row)
                        return -ENOMEM;
                *row = (Row){ 1, key_size, size };
                memcpy(row->bytes, key, key_size);
                if (size > 0)
                        memcpy(row->bytes + key_size, value, size);
        }
        if (is_there)
                row_unref(v->rows[i]);
        if (row && !is_there)
                memmove(v->rows + i + 1, v->rows + i, (v->n++ - i) * sizeof(Row *));
        else if (!row && is_there)
                memmove(v->rows + i, v->rows + i + 1, (--v->n - i) * sizeof(Row *));
        if (row)
                v->rows[i] = row;
        return 0;
}

static bool expectation_holds(const Version *v, const BatchOperation *e) {
        bool is_there;
        size_t i = version_find(v, e->key, e->key_size, &is_there);

        if (!is_there)
                return e->type == BATCH_EXPECT_ABSENT;
        if (e->type == BATCH_EXPECT_ABSENT || v->rows[i]->size < e->size ||
                        (e->type == BATCH_EXPECT && v->rows[i]->size != e->size))
                return false;
        return e->size == 0 || memcmp(v->rows[i]->bytes + e->key_size, e->value, e->size) == 0;
}

static bool batch_holds(const Version *v, const StoreBatch *b) {
        for (const BatchOperation *e = b->expectations; e; e = e->next)
                if (!expectation_holds(v, e))
                        return false;
        return true;
}

static int version_link(Version *v, const StoreBatch *group) {
        _cleanup_(buffer_done) Buffer next = {};
        uint8_t bytes[STORE_KEY_MAX];
        bool is_there;
        StoreKey key;
        int r;

        r = chain_key(&key);
        if (r < 0)
                return r;
        size_t size = store_key_encode(&key, bytes), i = version_find(v, bytes, size, &is_there);
        r = is_there ? chain_link(v->rows[i]->bytes + size, v->rows[i]->size, group, NULL, &next)
                     : chain_link(NULL, 0, group, NULL, &next);
        return r < 0 ? r : version_set(v, bytes, size, next.bytes, next.size);
}

/* Applies the group to v, with the mutex held; *ret_is_changing: there is something to show. */
static int version_apply(Version *v, StoreBatch *group, bool *ret_is_changing) {
        bool is_changing = false;
        int r = 0;

        for (StoreBatch *b = group; b && r >= 0; b = b->next) {
                b->result = batch_holds(v, b) ? 0 : STORE_CONFLICT;
                if (b->result != 0)
                        continue;
                for (const BatchOperation *c = b->changes; c && r >= 0; c = c->next) {
                        is_changing = true;
                        r = version_set(v, c->key, c->key_size, c->type == BATCH_PUT ? c->value : NULL,
                                        c->size);
                }
        }
        if (r >= 0 && is_changing)
                r = version_link(v, group);
        *ret_is_changing = is_changing;
        return r;
}

static size_t group_changes(const StoreBatch *group) {
        size_t n = 0;

        for (const StoreBatch *b = group; b; b = b->next)
                for (const BatchOperation *c = b->changes; c; c = c->next)
                        n++;
        return n;
}

static void memory_commit(Store *s, StoreBatch *group) {
        MemoryBody *body = s->data;
        bool is_changing = false;
        Version *next;
        int r = -ENOMEM;

        (void)pthread_mutex_lock(&body->mutex);
        next = version_new(body->current->n + group_changes(group) + 1); /* the chain */
        if (next) {
                next->n = body->current->n;
                for (size_t i = 0; i < next->n; i++) {
                        next->rows[i] = body->current->rows[i];
                        next->rows[i]->n_references++;
                }
                r = version_apply(next, group, &is_changing);
        }
        if (r >= 0 && is_changing) {
                Version *last = body->current;

                body->current = TAKE_PTR(next);
                version_unref(last);
        }
        version_unref(next);
        (void)pthread_mutex_unlock(&body->mutex);
        if (r < 0)
                for (StoreBatch *b = group; b; b = b->next)
                        b->result = r;
}

static void memory_close(Store *s) {
        MemoryBody *body = s->data;

        version_unref(body->current);
        (void)pthread_mutex_destroy(&body->mutex);
        free(body);
}

static const StoreBody memory_body = {
        .read_begin = memory_read_begin,
        .read_end = memory_read_end,
        .get = memory_get,
        .walk = memory_walk,
        .commit = memory_commit,
        .close = memory_close,
};

int store_open_memory(sd_event *event, Store **ret) {
        _cleanup_(store_freep) Store *s = NULL;
        MemoryBody *body = calloc(1, sizeof(MemoryBody));
        int r;

        if (!body)
                return -ENOMEM;
        (void)pthread_mutex_init(&body->mutex, NULL);
        r = store_new(&memory_body, body, &s);
        if (r < 0)
                return r;
        body->current = version_new(0);
        if (!body->current)
                return -ENOMEM;
        r = writer_start(s, event);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}
