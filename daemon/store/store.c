/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The store, whatever it is made of: keys, reads, its end.
 *
 * There are two bodies. LMDB (body-lmdb.c) is what the daemon has. Memory (body-memory.c) is for tests of what only needs a
 * store; it is never linked into the daemon. The queue, the thread, the order of callbacks and the rules of batches are
 * one code for both, so what a test sees of them is what the daemon does.
 *
 * A read takes one committed state and gives it up at its end. A visitor may read again (a flow looks up its vault); it then
 * sees the same state, which is why reads are counted and the body's own begin and end do not nest.
 *
 * Who may call: the loop's thread only. */

#include <assert.h>

#include "store/internal.h"
#include "store/scrub.h"

int store_new(const StoreBody *body, void *data, Store **ret) {
        Store *s = calloc(1, sizeof(Store));

        if (!s) {
                body->close(&(Store){ .data = data });
                return -ENOMEM;
        }
        s->body = body;
        s->data = data;
        s->done_fd = -1;
        s->loop_thread = pthread_self();
        (void)pthread_mutex_init(&s->mutex, NULL);
        (void)pthread_cond_init(&s->wake, NULL);
        *ret = s;
        return 0;
}

Store *store_free(Store *s) {
        if (!s)
                return NULL;

        assert(s->n_reading == 0);
        writer_stop(s);
        s->body->close(s);
        (void)pthread_cond_destroy(&s->wake);
        (void)pthread_mutex_destroy(&s->mutex);
        free(s);
        return NULL;
}

static int store_read_begin(Store *s) {
        int r;

        assert(pthread_equal(s->loop_thread, pthread_self()));
        if (s->n_reading == 0) {
                r = s->body->read_begin(s);
                if (r < 0)
                        return r;
        }
        s->n_reading++;
        return 0;
}

static void store_read_end(Store *s) {
        if (--s->n_reading == 0)
                s->body->read_end(s);
}

int store_get(Store *s, const StoreKey *key, Buffer *ret_value) {
        uint8_t bytes[STORE_KEY_MAX];
        const uint8_t *value;
        size_t size;
        int r;

        r = store_read_begin(s);
        if (r < 0)
                return r;
        r = s->body->get(s, bytes, store_key_encode(key, bytes), &value, &size);
        if (r >= 0)
                r = buffer_append(ret_value, value, size);
        store_read_end(s);
        return r;
}

int store_key_decode(const uint8_t *bytes, size_t size, StoreKey *ret) {
        if (size < STORE_KEY_HEAD || size > STORE_KEY_MAX)
                return -EIO;
        ret->kind = (RecordKind)bytes[0];
        ret->uid = (uid_t)bytes[1] << 24 | (uid_t)bytes[2] << 16 | (uid_t)bytes[3] << 8 | (uid_t)bytes[4];
        ret->id_size = size - STORE_KEY_HEAD;
        if (ret->id_size > 0)
                memcpy(ret->id, bytes + STORE_KEY_HEAD, ret->id_size);
        return 0;
}

int store_foreach(Store *s, RecordKind kind, uid_t uid, StoreVisit visit, void *userdata) {
        StoreKey first = { .kind = kind, .uid = uid };
        uint8_t prefix[STORE_KEY_MAX];
        size_t prefix_size = store_key_encode(&first, prefix);
        int r;

        if (uid == UID_INVALID)
                prefix_size = 1;
        r = store_read_begin(s);
        if (r < 0)
                return r;
        r = s->body->walk(s, prefix, prefix_size, prefix_size, visit, userdata);
        store_read_end(s);
        return r;
}

int store_foreach_id(Store *s, RecordKind kind, uid_t uid, const void *id, size_t id_size, StoreVisit visit,
                void *userdata) {
        uint8_t prefix[STORE_KEY_MAX];
        size_t prefix_size;
        StoreKey first;
        int r;

        r = store_key_init(&first, kind, uid, id, id_size);
        if (r >= 0)
                r = store_read_begin(s);
        if (r < 0)
                return r;
        prefix_size = store_key_encode(&first, prefix);
        r = s->body->walk(s, prefix, prefix_size, prefix_size, visit, userdata);
        store_read_end(s);
        return r;
}

int store_foreach_from(Store *s, RecordKind kind, uid_t first, StoreVisit visit, void *userdata) {
        StoreKey key = { .kind = kind, .uid = first };
        uint8_t bytes[STORE_KEY_MAX];
        int r;

        r = store_read_begin(s);
        if (r < 0)
                return r;
        r = s->body->walk(s, bytes, store_key_encode(&key, bytes), 1, visit, userdata);
        store_read_end(s);
        return r;
}

int store_scrub(Store *s, sd_event *event) {
        return s->body->scrub ? s->body->scrub(s, event) : 0;
}
