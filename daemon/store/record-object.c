/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Records as objects: their life, and their way to and from the store.
 *
 * Every write carries the expectation that the stored value is still the one its object was read from (or absent for a new
 * object). Two fibers that read the same record and both write it back therefore cannot lose one of the changes: the
 * second gets STORE_CONFLICT and reads again. A delete expects the same, otherwise it could erase a refresh
 * token that was stored a moment ago and that nobody revoked.
 *
 * Who may call: the record files. */

#include "store/record.h"

static Buffer *stored_of(const RecordType *type, const void *object) {
        return (Buffer *)((uint8_t *)object + type->stored_offset);
}

void *record_new(const RecordType *type) {
        return calloc(1, type->size);
}

void *record_free(const RecordType *type, void *object) {
        if (!object)
                return NULL;
        for (size_t i = 0; i < type->n_fields; i++) {
                const Field *f = &type->fields[i];
                void **member = (void **)((uint8_t *)object + f->offset);

                switch (f->type) {
                case FIELD_TEXT:
                        free(*member);
                        break;
                case FIELD_TEXTS:
                        for (char **t = *member; t && *t; t++)
                                free(*t);
                        free(*member);
                        break;
                case FIELD_SECRET:
                        (void)secret_free(*member);
                        break;
                case FIELD_NUMBER:
                case FIELD_BYTES:
                        break;
                }
        }
        buffer_done(stored_of(type, object));
        free(object);
        return NULL;
}

static int expect_stored(StoreBatch *b, const StoreKey *key, const Buffer *stored) {
        if (stored->size == 0)
                return store_batch_expect_absent(b, key);
        return store_batch_expect(b, key, stored->bytes, stored->size);
}

int record_put(StoreBatch *b, const RecordType *type, const StoreKey *key, const RecordSeal *seal,
                const void *object) {
        _cleanup_(buffer_done) Buffer value = {};
        int r;

        r = record_encode(type, key, seal, object, &value);
        if (r >= 0)
                r = expect_stored(b, key, stored_of(type, object));
        if (r >= 0)
                r = store_batch_put(b, key, value.bytes, value.size);
        return r;
}

int record_delete(StoreBatch *b, const RecordType *type, const StoreKey *key, const void *object) {
        int r;

        r = expect_stored(b, key, stored_of(type, object));
        return r < 0 ? r : store_batch_delete(b, key);
}

int record_read(Store *s, const RecordType *type, const StoreKey *key, const RecordSeal *seal, void **ret) {
        _cleanup_(buffer_done) Buffer value = {};
        void *object;
        int r;

        r = store_get(s, key, &value);
        if (r < 0)
                return r;
        object = record_new(type);
        if (!object)
                return -ENOMEM;
        r = record_decode_clear(type, value.bytes, value.size, object);
        if (r >= 0)
                r = record_decode_trailer_taking(type, key, seal, &value, object);
        if (r < 0) {
                (void)record_free(type, object);
                return r;
        }
        *ret = object;
        return 0;
}

int record_list_add(RecordList *list, void *object) {
        if (list->n == list->allocated) {
                size_t allocated = MAX(2 * list->allocated, (size_t)8);
                void **objects = reallocarray(list->objects, allocated, sizeof(void *));

                if (!objects)
                        return -ENOMEM;
                list->objects = objects;
                list->allocated = allocated;
        }
        list->objects[list->n++] = object;
        return 0;
}

void record_list_free(const RecordType *type, void **objects, size_t n) {
        for (size_t i = 0; i < n; i++)
                (void)record_free(type, objects[i]);
        free(objects);
}

int service_key_init(StoreKey *ret, RecordKind kind, uid_t uid, const char *service, const char *label) {
        size_t service_size = strlen(service), label_size = strlen(label);
        char id[STORE_ID_MAX + 1];

        if (service_size == 0 || label_size == 0 || strchr(service, '/'))
                return -EINVAL;
        if (service_size + label_size > STORE_ID_MAX)
                return -ENAMETOOLONG;
        memcpy(id, service, service_size);
        id[service_size] = '/';
        memcpy(id + service_size + 1, label, label_size);
        return store_key_init(ret, kind, uid, id, service_size + 1 + label_size);
}
