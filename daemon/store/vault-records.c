/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is a vault's: its own record and all others that belong to its uid. One list, so that setting a vault aside, destroying it
 * and saying how large it is cannot differ about it. A kind of record that is new and belongs to a uid has a row here.
 *
 * Flows are kept by the digest of their state and not by uid; those of the vault are found by its id in their clear part. A flow
 * whose clear part is damaged names no vault and is passed over; it is erased when its time is up.
 *
 * Who may call: the loop's thread. */

#include "store/record.h"
#include "store/records.h"

static const RecordKind kinds[] = { RECORD_VAULT, RECORD_CREDENTIAL, RECORD_REVOCATION, RECORD_AGENT_SESSION,
        RECORD_ACCOUNT };

typedef struct FlowVisit {
        const char *vault_id;
        StoreVisit visit;
        void *userdata;
} FlowVisit;

static int flow_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(flow_freep) Flow *flow = record_new(&flow_type);
        FlowVisit *v = userdata;
        int r;

        if (!flow)
                return -ENOMEM;
        r = record_decode_clear(&flow_type, value, size, flow);
        if (r == -EBADMSG || (r >= 0 && (!flow->vault_id || !streq(flow->vault_id, v->vault_id))))
                return 0;
        return r < 0 ? r : v->visit(key, value, size, v->userdata);
}

int vault_records_foreach(Store *s, uid_t uid, const char *vault_id, StoreVisit visit, void *userdata) {
        FlowVisit flows = { vault_id, visit, userdata };
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(kinds) && r == 0; i++)
                r = store_foreach(s, kinds[i], uid, visit, userdata);
        return r != 0 ? r : store_foreach(s, RECORD_FLOW, UID_INVALID, flow_visit, &flows);
}

typedef struct DestroyWalk {
        StoreBatch *batch;
        uint64_t *n;
} DestroyWalk;

static int destroy_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        DestroyWalk *walk = userdata;

        (*walk->n)++;
        return store_batch_delete(walk->batch, key);
}

int vault_destroy(Store *s, StoreBatch *b, uid_t uid, const char *vault_id, uint64_t *ret_n) {
        uint64_t n = 0;
        DestroyWalk walk = { b, &n };
        int r;

        r = vault_records_foreach(s, uid, vault_id, destroy_visit, &walk);
        if (r >= 0)
                *ret_n = n;
        return r;
}

int vault_destroy_aside(Store *s, StoreBatch *b, uid_t uid, uint64_t *ret_n) {
        uint64_t n = 0;
        DestroyWalk walk = { b, &n };
        int r;

        r = store_foreach(s, RECORD_ASIDE, uid, destroy_visit, &walk);
        if (r >= 0)
                *ret_n = n;
        return r;
}
