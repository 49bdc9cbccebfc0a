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
 * Flows are kept by the digest of their state and not by uid; those of the vault are found by its id in their clear part.
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

static int aside_visit_flow(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        AsideWalk *walk = userdata;
        _cleanup_(flow_freep) Flow *flow = record_new(&flow_type);
        int r;

        if (!flow)
                return -ENOMEM;
        r = record_decode_clear(&flow_type, value, size, flow);
        if (r == -EBADMSG || (r >= 0 && (!flow->vault_id || !streq(flow->vault_id, walk->vault->id))))
                return 0;
        return r < 0 ? r : aside_move(walk, key, value, size);
}

int vault_set_aside(Store *s, StoreBatch *b, const Vault *v) {
        static const RecordKind kinds[] = { RECORD_VAULT, RECORD_CREDENTIAL, RECORD_REVOCATION,
                RECORD_AGENT_SESSION, RECORD_ACCOUNT };
        AsideWalk walk = { .batch = b, .vault = v };
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(kinds) && r >= 0; i++)
                r = store_foreach(s, kinds[i], v->uid, aside_visit, &walk);
        return r < 0 ? r : store_foreach(s, RECORD_FLOW, UID_INVALID, aside_visit_flow, &walk);
}
