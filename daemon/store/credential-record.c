/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Credential records: one per (uid, service, label).
 *
 * Tokens and client secret are sealed under the vault's data key and bound to uid, vault and "service/label". The rest is
 * clear, because it is an index, but covered by the sealed digest: above all the upstream address, since whoever could
 * change that would be sent the token (V8).
 *
 * Kind, level, reason, variable, hosts and what is known of refreshes came later: a record without them reads as what all were then, a user's grant. So the
 * bytes of old records stay as they are and need no migration.
 *
 * A damaged record makes the whole list -EBADMSG: to leave it out would look like "not connected" to the user, and the next
 * connect would meet it again.
 *
 * Who may call: the loop's thread. */

#include "store/record.h"
#include "store/records.h"

/* The largest value of enum Custody (policy/config.h, which lies beside this layer and cannot be included). */
#define CUSTODY_LAST 3

static const Field credential_fields[] = {
        FIELD_OF(2, FIELD_NUMBER, Credential, uid, .max = UINT32_MAX - 1, .is_required = true),
        FIELD_OF(3, FIELD_TEXT, Credential, service, .is_required = true),
        FIELD_OF(4, FIELD_TEXT, Credential, label, .is_required = true),
        FIELD_OF(5, FIELD_TEXT, Credential, id, .is_required = true),
        FIELD_OF(6, FIELD_TEXT, Credential, upstream, .is_required = true),
        FIELD_OF(7, FIELD_TEXT, Credential, resource),
        AUTHORITY_FIELDS(10, Credential, authority),
        FIELD_OF(20, FIELD_TEXT, Credential, scope),
        FIELD_OF(21, FIELD_TEXT, Credential, account_id),
        FIELD_OF(22, FIELD_TEXT, Credential, account_name),
        FIELD_OF(23, FIELD_NUMBER, Credential, created_usec, .max = UINT64_MAX),
        FIELD_OF(24, FIELD_NUMBER, Credential, expires_usec, .max = UINT64_MAX),
        FIELD_OF(25, FIELD_NUMBER, Credential, custody, .max = CUSTODY_LAST, .is_required = true),
        FIELD_OF(26, FIELD_NUMBER, Credential, state, .max = CREDENTIAL_DISCONNECTING, .is_required = true),
        FIELD_OF(27, FIELD_TEXT, Credential, platform_credential_id),
        /* Absent in the oldest records, which are users' grants. */
        FIELD_OF(28, FIELD_NUMBER, Credential, kind, .max = CREDENTIAL_ENVIRONMENT),
        FIELD_OF(29, FIELD_NUMBER, Credential, level, .max = CREDENTIAL_GLOBAL),
        FIELD_OF(30, FIELD_TEXT, Credential, state_reason),
        FIELD_OF(31, FIELD_TEXT, Credential, variable),
        FIELD_OF(32, FIELD_TEXTS, Credential, allowed_hosts),
        FIELD_OF(33, FIELD_NUMBER, Credential, revoked_usec, .max = UINT64_MAX),
        FIELD_OF(34, FIELD_NUMBER, Credential, obtained_usec, .max = UINT64_MAX),
        FIELD_OF(35, FIELD_NUMBER, Credential, refresh_attempt, .max = REFRESH_ATTEMPTS_MAX),
        FIELD_OF(40, FIELD_SECRET, Credential, access_token),
        FIELD_OF(41, FIELD_SECRET, Credential, refresh_token),
        FIELD_OF(42, FIELD_SECRET, Credential, client_secret),
        FIELD_OF(50, FIELD_TEXT, Credential, asked_scope),
};
const RecordType credential_type = RECORD_TYPE(Credential, credential_fields, true);

Credential *credential_free(Credential *c) {
        return record_free(&credential_type, c);
}

void credential_list_free(Credential **list, size_t n) {
        record_list_free(&credential_type, (void **)list, n);
}

int credential_record_read(
                Store *s, const Vault *v, const char *service, const char *label, Credential **ret) {
        void *object;
        StoreKey key;
        int r;

        r = service_key_init(&key, RECORD_CREDENTIAL, v->uid, service, label);
        if (r < 0)
                return r;
        r = record_read(s, &credential_type, &key, &(RecordSeal){ v->key, v->uid, v->id, NULL, SEAL_VAULT },
                        &object);
        if (r < 0)
                return r;
        *ret = object;
        return 0;
}

/* A variable without hosts would be sent anywhere, and hosts on anything else would be believed to bind it. A token that is not here
 * is at the platform. */
static bool kind_is_whole(const Credential *c) {
        bool is_variable = c->kind == CREDENTIAL_ENVIRONMENT;
        bool has_hosts = c->allowed_hosts && c->allowed_hosts[0];

        if (is_variable ? isempty(c->variable) || !has_hosts : c->variable || c->allowed_hosts)
                return false;
        return c->kind == CREDENTIAL_OAUTH ||
               ((c->access_token || c->platform_credential_id) && !c->refresh_token);
}

int credential_record_put(StoreBatch *b, const Vault *v, const Credential *c) {
        StoreKey key;
        int r;

        if (c->uid != v->uid || !c->service || !c->label || c->custody <= 0 || !kind_is_whole(c))
                return -EINVAL;
        r = service_key_init(&key, RECORD_CREDENTIAL, c->uid, c->service, c->label);
        if (r < 0)
                return r;
        r = vault_expect_key(b, v);
        if (r < 0)
                return r;
        return record_put(b, &credential_type, &key, &(RecordSeal){ v->key, v->uid, v->id, NULL }, c);
}

int credential_record_delete(StoreBatch *b, const Credential *c) {
        StoreKey key;
        int r;

        r = service_key_init(&key, RECORD_CREDENTIAL, c->uid, c->service, c->label);
        return r < 0 ? r : record_delete(b, &credential_type, &key, c);
}

typedef struct ListWalk {
        const Vault *vault;
        RecordList list;
} ListWalk;

static int list_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(credential_freep) Credential *c = NULL;
        ListWalk *walk = userdata;
        RecordSeal with = { walk->vault->key, walk->vault->uid, walk->vault->id, NULL, SEAL_VAULT };
        int r;

        c = record_new(&credential_type);
        if (!c)
                return -ENOMEM;
        r = record_decode(&credential_type, key, &with, value, size, c);
        if (r >= 0)
                r = record_list_add(&walk->list, c);
        if (r < 0)
                return r;
        (void)TAKE_PTR(c);
        return 0;
}

int credential_record_list(Store *s, const Vault *v, const char *service, Credential ***ret, size_t *ret_n) {
        size_t n = service ? strlen(service) : 0;
        char prefix[STORE_ID_MAX];
        ListWalk walk = { .vault = v };
        int r;

        if (n >= sizeof(prefix)) { /* no record has such a name */
                *ret = NULL;
                *ret_n = 0;
                return 0;
        }
        if (service) {
                memcpy(prefix, service, n);
                prefix[n++] = '/';
        }
        r = store_foreach_id(s, RECORD_CREDENTIAL, v->uid, prefix, n, list_visit, &walk);
        if (r < 0) {
                record_list_free(&credential_type, walk.list.objects, walk.list.n);
                return r;
        }
        *ret = (Credential **)walk.list.objects;
        *ret_n = walk.list.n;
        return 0;
}
