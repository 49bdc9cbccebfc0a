/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Flow records: pending connections, found by the digest of the OAuth state.
 *
 * The callback arrives from a browser that has no uid, so the key holds none; the uid that began stands in the record, is part of
 * what the seal is bound to, and says whose data key opens it. What is unsealed: names for the page and the digests to
 * look up by. A flow is therefore read in two steps: clear fields, the vault of the uid they name, then the seal,
 * which refuses a record whose uid or vault id was changed.
 *
 * One user's damaged flow must not keep the timer or a page of another from working, and a damaged uid could name anybody: lists
 * pass over what does not open, since a flow lives ten minutes and can be begun anew. A look-up of that very flow
 * says -EBADMSG.
 *
 * Who may call: the loop's thread. */

#include "store/record.h"
#include "store/records.h"

static const Field flow_fields[] = {
        FIELD_OF(2, FIELD_BYTES, Flow, state_digest, .is_required = true),
        FIELD_OF(3, FIELD_NUMBER, Flow, uid, .max = UINT32_MAX - 1, .is_required = true),
        FIELD_OF(4, FIELD_TEXT, Flow, id, .is_required = true),
        FIELD_OF(5, FIELD_TEXT, Flow, vault_id, .is_required = true),
        FIELD_OF(6, FIELD_TEXT, Flow, user),
        FIELD_OF(7, FIELD_TEXT, Flow, host),
        FIELD_OF(8, FIELD_TEXT, Flow, service, .is_required = true),
        FIELD_OF(9, FIELD_TEXT, Flow, label, .is_required = true),
        AUTHORITY_FIELDS(10, Flow, authority),
        FIELD_OF(20, FIELD_TEXT, Flow, upstream),
        FIELD_OF(21, FIELD_TEXT, Flow, resource),
        FIELD_OF(22, FIELD_TEXT, Flow, scope),
        FIELD_OF(23, FIELD_TEXT, Flow, redirect_uri),
        FIELD_OF(24, FIELD_NUMBER, Flow, state, .max = FLOW_REVOKING, .is_required = true),
        FIELD_OF(25, FIELD_NUMBER, Flow, way, .max = FLOW_WAY_DEVICE, .is_required = true),
        FIELD_OF(26, FIELD_NUMBER, Flow, created_usec, .max = UINT64_MAX),
        FIELD_OF(27, FIELD_NUMBER, Flow, expires_usec, .max = UINT64_MAX, .is_required = true),
        FIELD_OF(28, FIELD_BYTES, Flow, ticket_digest, .is_required = true),
        FIELD_OF(29, FIELD_BYTES, Flow, claim_mac, .is_required = true),
        FIELD_OF(30, FIELD_NUMBER, Flow, tries_left, .max = UINT32_MAX, .is_required = true),
        FIELD_OF(31, FIELD_NUMBER, Flow, is_replacing_account, .max = 1),
        FIELD_OF(32, FIELD_TEXT, Flow, account_id),
        FIELD_OF(33, FIELD_TEXT, Flow, account_name),
        FIELD_OF(34, FIELD_NUMBER, Flow, token_expires_usec, .max = UINT64_MAX),
        FIELD_OF(40, FIELD_SECRET, Flow, state_text),
        FIELD_OF(41, FIELD_SECRET, Flow, code_verifier),
        FIELD_OF(42, FIELD_SECRET, Flow, client_secret),
        FIELD_OF(43, FIELD_SECRET, Flow, access_token),
        FIELD_OF(44, FIELD_SECRET, Flow, refresh_token),
        FIELD_OF(50, FIELD_TEXT, Flow, asked_scope),
        FIELD_OF(51, FIELD_TEXT, Flow, pushed_endpoint),
        FIELD_OF(45, FIELD_SECRET, Flow, device_code),
};
const RecordType flow_type = RECORD_TYPE(Flow, flow_fields, true);

#define TAG_TICKET_DIGEST 28U

Flow *flow_free(Flow *f) {
        return record_free(&flow_type, f);
}

void flow_list_free(Flow **list, size_t n) {
        record_list_free(&flow_type, (void **)list, n);
}

int flow_decode(Store *s, Keyring *k, uid_t uid, const StoreKey *key, const uint8_t *value, size_t size,
                Flow **ret) {
        _cleanup_(vault_freep) Vault *v = NULL;
        _cleanup_(flow_freep) Flow *f = NULL;
        int r;

        f = record_new(&flow_type);
        if (!f)
                return -ENOMEM;
        r = record_decode_clear(&flow_type, value, size, f);
        if (r < 0)
                return r;
        if (uid != UID_INVALID && f->uid != uid)
                return -ENOENT;
        r = vault_record_read(s, k, f->uid, &v);
        if (r < 0)
                return r == -ENOENT ? -EBADMSG : r;
        if (!streq(v->id, f->vault_id))
                return -EBADMSG;
        r = record_decode_trailer(
                        &flow_type, key, &(RecordSeal){ v->key, v->uid, v->id, NULL }, value, size, f);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(f);
        return 0;
}

int flow_record_read(Store *s, Keyring *k, const uint8_t state_digest[static 32], Flow **ret) {
        _cleanup_(buffer_done) Buffer value = {};
        StoreKey key;
        int r;

        r = store_key_init(&key, RECORD_FLOW, 0, state_digest, 32);
        if (r < 0)
                return r;
        r = store_get(s, &key, &value);
        return r < 0 ? r : flow_decode(s, k, UID_INVALID, &key, value.bytes, value.size, ret);
}

typedef struct FlowWalk {
        Store *store;
        Keyring *keyring;
        uid_t uid;
        const uint8_t *ticket_digest;
        Flow *found;
        RecordList list;
} FlowWalk;

static int find_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        FlowWalk *walk = userdata;
        const uint8_t *bytes;
        size_t n;
        int r;

        if (record_peek(value, size, TAG_TICKET_DIGEST, &bytes, &n) < 0 || n != 32 ||
                        !bytes_equal_constant_time(bytes, walk->ticket_digest, 32))
                return 0;
        r = flow_decode(walk->store, walk->keyring, UID_INVALID, key, value, size, &walk->found);
        return r < 0 ? r : 1;
}

int flow_record_find_ticket(Store *s, Keyring *k, const uint8_t ticket_digest[static 32], Flow **ret) {
        FlowWalk walk = { .store = s, .keyring = k, .ticket_digest = ticket_digest };
        int r;

        r = store_foreach(s, RECORD_FLOW, UID_INVALID, find_visit, &walk);
        if (r < 0)
                return r;
        if (!walk.found)
                return -ENOENT;
        *ret = walk.found;
        return 0;
}

static int list_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(flow_freep) Flow *f = NULL;
        FlowWalk *walk = userdata;
        int r;

        r = flow_decode(walk->store, walk->keyring, walk->uid, key, value, size, &f);
        if (r == -ENOENT || r == -EBADMSG)
                return 0;
        if (r >= 0)
                r = record_list_add(&walk->list, f);
        if (r < 0)
                return r;
        (void)TAKE_PTR(f);
        return 0;
}

int flow_record_list(Store *s, Keyring *k, uid_t uid, Flow ***ret, size_t *ret_n) {
        FlowWalk walk = { .store = s, .keyring = k, .uid = uid };
        int r;

        r = store_foreach(s, RECORD_FLOW, UID_INVALID, list_visit, &walk);
        if (r < 0) {
                record_list_free(&flow_type, walk.list.objects, walk.list.n);
                return r;
        }
        *ret = (Flow **)walk.list.objects;
        *ret_n = walk.list.n;
        return 0;
}

int flow_record_put(StoreBatch *b, const Vault *v, const Flow *f) {
        StoreKey key;
        int r;

        if (f->uid != v->uid || !f->vault_id || !streq(f->vault_id, v->id))
                return -EINVAL;
        r = store_key_init(&key, RECORD_FLOW, 0, f->state_digest, sizeof(f->state_digest));
        if (r < 0)
                return r;
        r = vault_expect_key(b, v);
        if (r < 0)
                return r;
        return record_put(b, &flow_type, &key, &(RecordSeal){ v->key, v->uid, v->id, NULL }, f);
}

int flow_record_delete(StoreBatch *b, const Flow *f) {
        StoreKey key;
        int r;

        r = store_key_init(&key, RECORD_FLOW, 0, f->state_digest, sizeof(f->state_digest));
        return r < 0 ? r : record_delete(b, &flow_type, &key, f);
}
