/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The vault record: which vault belongs to a uid, and its wrapped data key.
 *
 * A uid has at most one vault because its key is (kind, uid) and a new one is written only where none is: of two logins that
 * both make one, the second gets STORE_CONFLICT and reads the first's (V1). Reading unwraps the data key, which proves
 * that key-encryption key, uid and vault id belong together; the trailer, sealed under the data key, covers
 * user name and state, so a vault that was sealed because its uid was recycled (I8, T7) cannot be opened again by
 * editing the file.
 *
 * The data key is wrapped once in its life and the wrapped bytes are carried along from then on. So they tell whether a vault
 * still has the key that somebody read a while ago (vault_expect_key()), and there is one form of them to be
 * found in the file when the vault is destroyed.
 *
 * Who may call: the loop's thread. A Vault in hand holds the data key in secure memory: free it soon. */

#include <stdio.h>

#include "store/record.h"
#include "store/records.h"
#include "util/clock.h"
#include "util/encode.h"

/* What a summary is made of. */
enum {
        TAG_ID = 3,
        TAG_USER = 4,
        TAG_STATE = 5,
        TAG_PLATFORM_VAULT_ID = 7,
        TAG_PLATFORM_NONCE = 8,
};

static const Field vault_fields[] = {
        FIELD_OF(2, FIELD_NUMBER, Vault, uid, .max = UINT32_MAX - 1, .is_required = true),
        FIELD_OF(TAG_ID, FIELD_TEXT, Vault, id, .is_required = true),
        FIELD_OF(TAG_USER, FIELD_TEXT, Vault, user, .is_required = true),
        FIELD_OF(TAG_STATE, FIELD_NUMBER, Vault, state, .max = VAULT_LOCKED, .is_required = true),
        FIELD_OF(6, FIELD_NUMBER, Vault, created_usec, .max = UINT64_MAX),
        FIELD_OF(TAG_PLATFORM_VAULT_ID, FIELD_TEXT, Vault, platform_vault_id),
        FIELD_OF(TAG_PLATFORM_NONCE, FIELD_TEXT, Vault, platform_nonce),
        FIELD_OF(9, FIELD_NUMBER, Vault, platform_nonce_usec, .max = UINT64_MAX),
        FIELD_OF(10, FIELD_TEXT, Vault, reason),
        FIELD_OF(11, FIELD_NUMBER, Vault, state_usec, .max = UINT64_MAX),
        FIELD_OF(12, FIELD_NUMBER, Vault, verified_usec, .max = UINT64_MAX),
        FIELD_OF(13, FIELD_NUMBER, Vault, key_usec, .max = UINT64_MAX),
};
const RecordType vault_type = RECORD_TYPE(Vault, vault_fields, true);

Vault *vault_free(Vault *v) {
        if (v) {
                seal_forget(SEAL_VAULT);
                (void)secret_free(TAKE_PTR(v->key));
                buffer_done(&v->wrapped);
        }
        return record_free(&vault_type, v);
}

int vault_new(Keyring *k, uid_t uid, const char *user, Vault **ret) {
        _cleanup_(vault_freep) Vault *v = NULL;
        _cleanup_(freep) char *hex = NULL;
        uint8_t random[16];
        int r;

        if (uid == UID_INVALID)
                return -EINVAL;
        v = record_new(&vault_type);
        if (!v)
                return -ENOMEM;
        random_bytes(random, sizeof(random));
        hex = hex_encode(random, sizeof(random));
        if (!hex)
                return -ENOMEM;
        if (asprintf(&v->id, "v-%s", hex) < 0) {
                v->id = NULL;
                return -ENOMEM;
        }
        v->uid = uid;
        v->state = VAULT_ACTIVE;
        v->created_usec = v->verified_usec = v->key_usec = now_realtime();
        v->user = strdup(user);
        if (!v->user)
                return -ENOMEM;
        r = keyring_new_data_key(k, uid, v->id, &v->key, &v->wrapped);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(v);
        return 0;
}

/* Takes value when it returns 0. */
static int vault_decode_taking(Keyring *k, const StoreKey *key, Buffer *value, Vault **ret) {
        _cleanup_(vault_freep) Vault *v = record_new(&vault_type);
        const uint8_t *wrapped;
        size_t wrapped_size;
        int r;

        if (!v)
                return -ENOMEM;
        r = record_decode_clear(&vault_type, value->bytes, value->size, v);
        if (r < 0)
                return r;
        r = record_peek(value->bytes, value->size, RECORD_TAG_WRAPPED, &wrapped, &wrapped_size);
        if (r < 0)
                return r == -ENODATA ? -EBADMSG : r;
        r = keyring_unwrap(k, key->uid, v->id, wrapped, wrapped_size, &v->key);
        if (r >= 0)
                r = buffer_append(&v->wrapped, wrapped, wrapped_size);
        if (r < 0)
                return r;
        r = record_decode_trailer_taking(&vault_type, key,
                        &(RecordSeal){ v->key, key->uid, v->id, NULL, SEAL_VAULT }, value, v);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(v);
        return 0;
}

int vault_decode(Keyring *k, const StoreKey *key, const uint8_t *value, size_t size, Vault **ret) {
        _cleanup_(buffer_done) Buffer copy = {};
        int r;

        r = buffer_append(&copy, value, size);
        return r < 0 ? r : vault_decode_taking(k, key, &copy, ret);
}

int vault_record_read(Store *s, Keyring *k, uid_t uid, Vault **ret) {
        _cleanup_(buffer_done) Buffer value = {};
        StoreKey key;
        int r;

        r = store_key_init(&key, RECORD_VAULT, uid, NULL, 0);
        if (r < 0)
                return r;
        r = store_get(s, &key, &value);
        return r < 0 ? r : vault_decode_taking(k, &key, &value, ret);
}

int vault_new_key(Keyring *k, Vault *v) {
        _cleanup_(buffer_done) Buffer wrapped = {};
        _cleanup_(secret_freep) Secret *key = NULL;
        int r;

        r = keyring_new_data_key(k, v->uid, v->id, &key, &wrapped);
        if (r < 0)
                return r;
        seal_forget(SEAL_VAULT);
        (void)secret_free(v->key);
        v->key = TAKE_PTR(key);
        buffer_done(&v->wrapped);
        v->wrapped = wrapped;
        wrapped = (Buffer){};
        v->key_usec = now_realtime();
        return 0;
}

int vault_rewrap(Keyring *k, Vault *v) {
        _cleanup_(buffer_done) Buffer wrapped = {};
        int r;

        r = keyring_wrap(k, v->uid, v->id, v->key, &wrapped);
        if (r < 0)
                return r;
        buffer_done(&v->wrapped);
        v->wrapped = wrapped;
        wrapped = (Buffer){};
        return 0;
}

/* Copies a text of the clear part into size bytes, with its NUL. */
static int peek_text(const uint8_t *value, size_t value_size, uint8_t tag, char *ret, size_t size) {
        const uint8_t *bytes;
        size_t n;
        int r;

        r = record_peek(value, value_size, tag, &bytes, &n);
        if (r < 0)
                return r == -ENODATA ? -EBADMSG : r;
        if (n == 0 || n >= size || memchr(bytes, 0, n))
                return -EBADMSG;
        memcpy(ret, bytes, n);
        ret[n] = 0;
        return 0;
}

static int peek_state(const uint8_t *value, size_t size, VaultState *ret) {
        const uint8_t *bytes;
        size_t n;
        int r;

        r = record_peek(value, size, TAG_STATE, &bytes, &n);
        if (r < 0 || n != 8 || bytes[0] > VAULT_LOCKED)
                return r < 0 && r != -ENODATA ? r : -EBADMSG;
        for (size_t i = 1; i < n; i++) /* little endian */
                if (bytes[i] != 0)
                        return -EBADMSG;
        *ret = (VaultState)bytes[0];
        return 0;
}

static int summary_decode(const uint8_t *value, size_t size, VaultSummary *ret) {
        const uint8_t *bytes;
        size_t n;
        int r;

        r = peek_text(value, size, TAG_ID, ret->id, sizeof(ret->id));
        if (r >= 0)
                r = peek_text(value, size, TAG_USER, ret->user, sizeof(ret->user));
        if (r >= 0)
                r = peek_state(value, size, &ret->state);
        if (r < 0)
                return r;
        ret->is_half_made = record_peek(value, size, TAG_PLATFORM_NONCE, &bytes, &n) == 0 &&
                            record_peek(value, size, TAG_PLATFORM_VAULT_ID, &bytes, &n) == -ENODATA;
        return 0;
}

int vault_record_peek(Store *s, uid_t uid, VaultSummary *ret) {
        _cleanup_(buffer_done) Buffer value = {};
        VaultSummary summary;
        StoreKey key;
        int r;

        r = store_key_init(&key, RECORD_VAULT, uid, NULL, 0);
        if (r >= 0)
                r = store_get(s, &key, &value);
        if (r >= 0)
                r = summary_decode(value.bytes, value.size, &summary);
        if (r < 0)
                return r;
        *ret = summary;
        return 0;
}

typedef struct VaultWalk {
        VaultVisit visit;
        void *userdata;
        size_t n_left;
        uid_t next;
        int result; /* of visit */
} VaultWalk;

/* The result of visit is kept apart, so that whatever it is there is no mistaking it for ours. */
static int walk_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        VaultWalk *walk = userdata;
        VaultSummary summary;

        if (walk->n_left == 0) {
                walk->next = key->uid;
                return VAULTS_GO_ON;
        }
        walk->n_left--;
        walk->result = walk->visit(key->uid, summary_decode(value, size, &summary) < 0 ? NULL : &summary,
                        walk->userdata);
        return walk->result != 0;
}

int vault_record_walk(Store *s, uid_t *from, size_t n_max, VaultVisit visit, void *userdata) {
        VaultWalk walk = { .visit = visit, .userdata = userdata, .n_left = n_max };
        int r;

        r = store_foreach_from(s, RECORD_VAULT, *from, walk_visit, &walk);
        if (r < 0 || walk.result != 0)
                return r < 0 ? r : walk.result;
        if (r == VAULTS_GO_ON)
                *from = walk.next;
        return r;
}

int vault_record_put(StoreBatch *b, Keyring *k, const Vault *v) {
        StoreKey key;
        int r;

        if (!v->id || !v->key || v->wrapped.size == 0)
                return -EINVAL;
        r = store_key_init(&key, RECORD_VAULT, v->uid, NULL, 0);
        if (r < 0)
                return r;
        return record_put(b, &vault_type, &key, &(RecordSeal){ v->key, v->uid, v->id, &v->wrapped }, v);
}

int vault_expect_key(StoreBatch *b, const Vault *v) {
        _cleanup_(buffer_done) Buffer prefix = {};
        StoreKey key;
        int r;

        /* One that is put in the same batch, which expects that there is none. */
        if (v->stored.size == 0)
                return 0;
        r = store_key_init(&key, RECORD_VAULT, v->uid, NULL, 0);
        if (r >= 0)
                r = record_encode_prefix(&v->wrapped, &prefix);
        return r < 0 ? r : store_batch_expect_prefix(b, &key, prefix.bytes, prefix.size);
}

typedef struct UidList {
        uid_t *uids;
        size_t n;
} UidList;

static int uids_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        UidList *list = userdata;
        uid_t *uids = reallocarray(list->uids, list->n + 1, sizeof(uid_t));

        if (!uids)
                return -ENOMEM;
        list->uids = uids;
        list->uids[list->n++] = key->uid;
        return 0;
}

int vault_record_uids(Store *s, uid_t **ret, size_t *ret_n) {
        UidList list = {};
        int r;

        r = store_foreach(s, RECORD_VAULT, UID_INVALID, uids_visit, &list);
        if (r < 0) {
                free(list.uids);
                return r;
        }
        *ret = list.uids;
        *ret_n = list.n;
        return 0;
}
