/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Client records: this host's dynamic registration at an issuer, per redirect URI (RFC 7591: the redirect URI is part of
 * what was registered, so another listener address needs another registration).
 *
 * A registration belongs to the host and no user, so its data key cannot come from a vault: each record carries a key of its
 * own, wrapped for uid UID_INVALID and vault id "host", which no user's record can have.
 *
 * Who may call: the loop's thread. */

#include "store/record.h"
#include "store/records.h"

#define HOST_VAULT_ID "host"

static const Field client_fields[] = {
        FIELD_OF(2, FIELD_TEXT, Client, issuer, .is_required = true),
        FIELD_OF(3, FIELD_TEXT, Client, redirect_uri, .is_required = true),
        FIELD_OF(4, FIELD_TEXT, Client, client_id, .is_required = true),
        FIELD_OF(5, FIELD_TEXT, Client, auth_method),
        FIELD_OF(6, FIELD_NUMBER, Client, secret_expires_usec, .max = UINT64_MAX),
        FIELD_OF(7, FIELD_NUMBER, Client, registered_usec, .max = UINT64_MAX),
        FIELD_OF(8, FIELD_TEXT, Client, scope),
        FIELD_OF(40, FIELD_SECRET, Client, client_secret),
        FIELD_OF(41, FIELD_SECRET, Client, registration_access_token),
};
const RecordType client_type = RECORD_TYPE(Client, client_fields, true);

Client *client_free(Client *c) {
        return record_free(&client_type, c);
}

/* SHA-256(issuer ‖ NUL ‖ redirect URI) */
static int client_key_init(StoreKey *ret, const char *issuer, const char *redirect_uri) {
        _cleanup_(buffer_done) Buffer text = {};
        uint8_t digest[32];
        int r;

        r = buffer_append(&text, issuer, strlen(issuer) + 1);
        if (r >= 0)
                r = buffer_append_text(&text, redirect_uri);
        if (r < 0)
                return r;
        sha256(text.bytes, text.size, digest);
        return store_key_init(ret, RECORD_CLIENT, 0, digest, sizeof(digest));
}

int client_decode(Keyring *k, const StoreKey *key, const uint8_t *value, size_t size, Client *ret) {
        _cleanup_(secret_freep) Secret *data_key = NULL;
        const uint8_t *wrapped;
        size_t wrapped_size;
        int r;

        r = record_peek(value, size, RECORD_TAG_WRAPPED, &wrapped, &wrapped_size);
        if (r < 0)
                return r == -ENODATA ? -EBADMSG : r;
        r = keyring_unwrap(k, UID_INVALID, HOST_VAULT_ID, wrapped, wrapped_size, &data_key);
        if (r < 0)
                return r;
        return record_decode(&client_type, key, &(RecordSeal){ data_key, UID_INVALID, HOST_VAULT_ID, NULL },
                        value, size, ret);
}

int client_record_read(Store *s, Keyring *k, const char *issuer, const char *redirect_uri, Client **ret) {
        _cleanup_(buffer_done) Buffer value = {};
        _cleanup_(client_freep) Client *c = NULL;
        StoreKey key;
        int r;

        r = client_key_init(&key, issuer, redirect_uri);
        if (r < 0)
                return r;
        r = store_get(s, &key, &value);
        if (r < 0)
                return r;
        c = record_new(&client_type);
        if (!c)
                return -ENOMEM;
        r = client_decode(k, &key, value.bytes, value.size, c);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

int client_record_put(StoreBatch *b, Keyring *k, const Client *c) {
        _cleanup_(buffer_done) Buffer wrapped = {};
        _cleanup_(secret_freep) Secret *data_key = NULL;
        StoreKey key;
        int r;

        if (!c->issuer || !c->redirect_uri)
                return -EINVAL;
        r = client_key_init(&key, c->issuer, c->redirect_uri);
        if (r < 0)
                return r;
        r = keyring_new_data_key(k, UID_INVALID, HOST_VAULT_ID, &data_key, &wrapped);
        if (r < 0)
                return r;
        return record_put(b, &client_type, &key,
                        &(RecordSeal){ data_key, UID_INVALID, HOST_VAULT_ID, &wrapped }, c);
}

int client_record_delete(StoreBatch *b, const Client *c) {
        StoreKey key;
        int r;

        r = client_key_init(&key, c->issuer, c->redirect_uri);
        return r < 0 ? r : record_delete(b, &client_type, &key, c);
}

typedef struct ClientWalk {
        Keyring *keyring;
        StoreBatch *batch;
        uint64_t n, n_damaged;
} ClientWalk;

static int rekey_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(client_freep) Client *c = record_new(&client_type);
        ClientWalk *walk = userdata;
        const uint8_t *wrapped;
        size_t wrapped_size;
        int r;

        if (!c)
                return -ENOMEM;
        r = record_peek(value, size, RECORD_TAG_WRAPPED, &wrapped, &wrapped_size);
        if (r < 0)
                return r == -ENODATA ? -EBADMSG : r;
        r = keyring_wraps(walk->keyring, UID_INVALID, HOST_VAULT_ID, wrapped, wrapped_size);
        if (r != 0)
                return r < 0 ? r : 0;
        r = client_decode(walk->keyring, key, value, size, c);
        if (r < 0)
                return r;
        walk->n++;
        return client_record_put(walk->batch, walk->keyring, c);
}

int client_record_rekey(Store *s, Keyring *k, StoreBatch *b, size_t *ret_n) {
        ClientWalk walk = { .keyring = k, .batch = b };
        int r;

        r = store_foreach(s, RECORD_CLIENT, UID_INVALID, rekey_visit, &walk);
        if (r >= 0)
                *ret_n = walk.n;
        return r;
}

static int check_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(client_freep) Client *c = record_new(&client_type);
        ClientWalk *walk = userdata;
        int r;

        if (!c)
                return -ENOMEM;
        r = client_decode(walk->keyring, key, value, size, c);
        walk->n++;
        walk->n_damaged += r == -EBADMSG;
        return r == -EBADMSG ? 0 : r;
}

int client_record_check(Store *s, Keyring *k, uint64_t *ret_n, uint64_t *ret_damaged) {
        ClientWalk walk = { .keyring = k };
        int r;

        r = store_foreach(s, RECORD_CLIENT, UID_INVALID, check_visit, &walk);
        if (r < 0)
                return r;
        *ret_n = walk.n;
        *ret_damaged = walk.n_damaged;
        return 0;
}
