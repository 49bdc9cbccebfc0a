/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Setting a vault aside: its uid belongs to somebody else for good, and that person is to get an empty one (I8).
 *
 * Nothing is destroyed, since an administrator may have been wrong: every record of the vault is copied, byte for byte, to
 * a key of kind RECORD_ASIDE and deleted where it was, in one batch. The copies are sealed as they were, under the old
 * vault's key and with the old key's place in the authenticated data, so they open for nobody until somebody puts them
 * back there:
 *
 *     value = kind u8 | size of id u8 | id | the record
 *
 * Who may call: the loop's thread, on behalf of root. */

#include "store/record.h"
#include "store/records.h"

typedef struct AsideWalk {
        StoreBatch *batch;
        const Vault *vault;
        uint32_t n;
} AsideWalk;

static int aside_move(AsideWalk *walk, const StoreKey *key, const uint8_t *value, size_t size) {
        _cleanup_(buffer_done) Buffer kept = {}, id = {};
        const uint8_t head[] = { (uint8_t)key->kind, (uint8_t)key->id_size };
        const uint8_t number[] = { (uint8_t)(walk->n >> 24), (uint8_t)(walk->n >> 16),
                (uint8_t)(walk->n >> 8), (uint8_t)walk->n };
        StoreKey aside;
        int r;

        r = buffer_append(&id, walk->vault->id, strlen(walk->vault->id));
        if (r >= 0)
                r = buffer_append(&id, number, sizeof(number));
        if (r >= 0)
                r = store_key_init(&aside, RECORD_ASIDE, walk->vault->uid, id.bytes, id.size);
        if (r >= 0)
                r = buffer_append(&kept, head, sizeof(head));
        if (r >= 0)
                r = buffer_append(&kept, key->id, key->id_size);
        if (r >= 0)
                r = buffer_append(&kept, value, size);
        if (r >= 0)
                r = store_batch_expect(walk->batch, key, value, size);
        if (r >= 0)
                r = store_batch_put(walk->batch, &aside, kept.bytes, kept.size);
        if (r >= 0)
                r = store_batch_delete(walk->batch, key);
        walk->n++;
        return r;
}

static int aside_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        return aside_move(userdata, key, value, size);
}

int vault_set_aside(Store *s, StoreBatch *b, const Vault *v) {
        AsideWalk walk = { .batch = b, .vault = v };

        return vault_records_foreach(s, v->uid, v->id, aside_visit, &walk);
}

int vault_aside_decode(const StoreKey *key, const uint8_t *value, size_t size, StoreKey *ret_inner,
                size_t *ret_head) {
        if (size < 2 || size - 2 < value[1] || value[1] > STORE_ID_MAX)
                return -EBADMSG;
        /* A flow is the one record that lies under no uid. */
        *ret_head = 2U + value[1];
        return store_key_init(ret_inner, (RecordKind)value[0], value[0] == RECORD_FLOW ? 0 : key->uid,
                        value + 2, value[1]);
}

bool vault_aside_is_of(const StoreKey *key, const Vault *v) {
        size_t n = strlen(v->id);

        return key->uid == v->uid && key->id_size == n + 4 && memcmp(key->id, v->id, n) == 0;
}
