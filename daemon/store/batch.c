/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Batches: what is to be written, as plain bytes.
 *
 * A batch is built in the loop and read by the writer thread, so it owns copies of everything and points at nothing
 * of its maker's. Keys are encoded here, once, so the writer needs to know nothing of records. Expectations and changes
 * are separate lists because all expectations are judged against the state before the batch, whatever the order in
 * which they were added.
 *
 * Who may call: the loop's thread; a batch that was handed to store_commit() belongs to the store. */

#include "store/internal.h"

int store_key_init(StoreKey *ret, RecordKind kind, uid_t uid, const void *id, size_t id_size) {
        if (id_size > STORE_ID_MAX)
                return -ENAMETOOLONG;
        if (uid == UID_INVALID)
                return -EINVAL;

        *ret = (StoreKey){ .kind = kind, .uid = uid, .id_size = id_size };
        if (id_size > 0)
                memcpy(ret->id, id, id_size);
        return 0;
}

size_t store_key_encode(const StoreKey *key, uint8_t ret[static STORE_KEY_MAX]) {
        ret[0] = (uint8_t)key->kind;
        for (unsigned i = 0; i < 4; i++)
                ret[1 + i] = (uint8_t)(key->uid >> (24 - 8 * i));
        if (key->id_size > 0)
                memcpy(ret + STORE_KEY_HEAD, key->id, key->id_size);
        return STORE_KEY_HEAD + key->id_size;
}

int store_batch_new(StoreBatch **ret) {
        StoreBatch *b = calloc(1, sizeof(StoreBatch));

        if (!b)
                return -ENOMEM;
        b->expectations_end = &b->expectations;
        b->changes_end = &b->changes;
        *ret = b;
        return 0;
}

static void batch_operations_free(BatchOperation *list) {
        while (list) {
                BatchOperation *next = list->next;

                free(list);
                list = next;
        }
}

StoreBatch *store_batch_free(StoreBatch *b) {
        if (!b)
                return NULL;
        batch_operations_free(b->expectations);
        batch_operations_free(b->changes);
        free(b);
        return NULL;
}

static int batch_add(StoreBatch *b, BatchOperationType type, const StoreKey *key, const void *value,
                size_t size) {
        BatchOperation *operation;
        size_t total;

        if (key->id_size > STORE_ID_MAX || key->uid == UID_INVALID)
                return -EINVAL;
        /* LMDB stores sizes in 32 bits. */
        if (size > UINT32_MAX || __builtin_add_overflow(sizeof(BatchOperation), size, &total))
                return -E2BIG;
        operation = malloc(total);
        if (!operation)
                return -ENOMEM;

        operation->next = NULL;
        operation->type = type;
        operation->key_size = store_key_encode(key, operation->key);
        operation->size = size;
        if (size > 0)
                memcpy(operation->value, value, size);
        b->weight += total;

        BatchOperation ***end =
                        type == BATCH_PUT || type == BATCH_DELETE ? &b->changes_end : &b->expectations_end;
        **end = operation;
        *end = &operation->next;
        return 0;
}

int store_batch_put(StoreBatch *b, const StoreKey *key, const void *value, size_t size) {
        return batch_add(b, BATCH_PUT, key, value, size);
}

int store_batch_delete(StoreBatch *b, const StoreKey *key) {
        return batch_add(b, BATCH_DELETE, key, NULL, 0);
}

int store_batch_expect_absent(StoreBatch *b, const StoreKey *key) {
        return batch_add(b, BATCH_EXPECT_ABSENT, key, NULL, 0);
}

int store_batch_expect_prefix(StoreBatch *b, const StoreKey *key, const void *prefix, size_t size) {
        return batch_add(b, BATCH_EXPECT_PREFIX, key, prefix, size);
}

int store_batch_expect(StoreBatch *b, const StoreKey *key, const void *value, size_t size) {
        return batch_add(b, BATCH_EXPECT, key, value, size);
}
