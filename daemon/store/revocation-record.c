/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Revocation records: credentials that are gone on this host and not yet, or not surely, at their services.
 *
 * The same bytes as a credential's under another kind and the credential's own id, so that one commit takes a grant out of use and
 * writes down what is still to be done about it: no crash can leave a grant that nobody uses and nobody revokes, whether an administrator
 * took it away or its own user gave it up. The place of the credential is free at once; a user who connects anew does not wait for a
 * provider that is away.
 *
 * A kind of its own, since what is to be done is looked for at each start, and must not cost a walk through everybody's credentials.
 *
 * A credential that does not open is left where it is: a read answers -EBADMSG, so nobody uses it, and there is no token to revoke.
 * It keeps no other from being revoked.
 *
 * Who may call: the loop's thread. */

#include "store/record.h"
#include "store/records.h"
#include "util/clock.h"

static int revocation_key(StoreKey *ret, const Credential *c) {
        return store_key_init(ret, RECORD_REVOCATION, c->uid, c->id, strlen(c->id));
}

/* From where it is to where it is revoked from. */
static int move(StoreBatch *b, const Vault *v, Credential *c) {
        const RecordSeal seal = { v->key, v->uid, v->id, NULL };
        _cleanup_(buffer_done) Buffer value = {};
        StoreKey key;
        int r;

        r = credential_record_delete(b, c);
        if (r >= 0)
                r = revocation_key(&key, c);
        if (r < 0)
                return r;
        c->state = CREDENTIAL_DISCONNECTING;
        c->revoked_usec = now_realtime();
        r = record_encode(&credential_type, &key, &seal, c, &value);
        if (r >= 0)
                r = store_batch_expect_absent(b, &key);
        return r < 0 ? r : store_batch_put(b, &key, value.bytes, value.size);
}

int revocation_record_move(StoreBatch *b, const Vault *v, Credential *c) {
        int r;

        if (c->uid != v->uid)
                return -EINVAL;
        r = vault_expect_key(b, v);
        return r < 0 ? r : move(b, v, c);
}

typedef struct BeginWalk {
        StoreBatch *batch;
        const Vault *vault;
        const char *service;
        RecordList list;
        size_t n_damaged;
} BeginWalk;

static int begin_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(credential_freep) Credential *c = record_new(&credential_type);
        BeginWalk *walk = userdata;
        const RecordSeal seal = { walk->vault->key, walk->vault->uid, walk->vault->id, NULL };
        size_t n = walk->service ? strlen(walk->service) : 0;
        int r;

        if (!c)
                return -ENOMEM;
        if (walk->service &&
                        (key->id_size <= n || memcmp(key->id, walk->service, n) != 0 || key->id[n] != '/'))
                return 0;
        r = record_decode(&credential_type, key, &seal, value, size, c);
        if (r == -EBADMSG) {
                walk->n_damaged++;
                return 0;
        }
        if (r >= 0)
                r = move(walk->batch, walk->vault, c);
        if (r >= 0)
                r = record_list_add(&walk->list, c);
        if (r < 0)
                return r;
        (void)TAKE_PTR(c);
        return 0;
}

int revocation_record_begin(Store *s, StoreBatch *b, const Vault *v, const char *service, Credential ***ret,
                size_t *ret_n, size_t *ret_n_damaged) {
        BeginWalk walk = { .batch = b, .vault = v, .service = service };
        int r;

        r = vault_expect_key(b, v);
        if (r >= 0)
                r = store_foreach(s, RECORD_CREDENTIAL, v->uid, begin_visit, &walk);
        if (r < 0) {
                record_list_free(&credential_type, walk.list.objects, walk.list.n);
                return r;
        }
        *ret = (Credential **)walk.list.objects;
        *ret_n = walk.list.n;
        *ret_n_damaged = walk.n_damaged;
        return 0;
}

typedef struct ListWalk {
        Store *store;
        Keyring *keyring;
        Vault *vault; /* of the last record; those of a uid are neighbours */
        RecordList list;
} ListWalk;

static int list_vault(ListWalk *walk, uid_t uid) {
        if (walk->vault && walk->vault->uid == uid)
                return 0;
        walk->vault = vault_free(walk->vault);
        return vault_record_read(walk->store, walk->keyring, uid, &walk->vault);
}

static int list_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(credential_freep) Credential *c = record_new(&credential_type);
        ListWalk *walk = userdata;
        int r;

        if (!c)
                return -ENOMEM;
        r = list_vault(walk, key->uid);
        if (r >= 0) {
                const RecordSeal seal = { walk->vault->key, walk->vault->uid, walk->vault->id, NULL };

                r = record_decode(&credential_type, key, &seal, value, size, c);
        }
        if (r == -ENOENT || r == -EBADMSG)
                return 0;
        if (r >= 0)
                r = record_list_add(&walk->list, c);
        if (r < 0)
                return r;
        (void)TAKE_PTR(c);
        return 0;
}

int revocation_record_list(Store *s, Keyring *k, uid_t uid, Credential ***ret, size_t *ret_n) {
        ListWalk walk = { .store = s, .keyring = k };
        int r;

        r = store_foreach(s, RECORD_REVOCATION, uid, list_visit, &walk);
        (void)vault_free(walk.vault);
        if (r < 0) {
                record_list_free(&credential_type, walk.list.objects, walk.list.n);
                return r;
        }
        *ret = (Credential **)walk.list.objects;
        *ret_n = walk.list.n;
        return 0;
}

int revocation_record_read(Store *s, const Vault *v, const char *id, Credential **ret) {
        void *object;
        StoreKey key;
        int r;

        r = store_key_init(&key, RECORD_REVOCATION, v->uid, id, strlen(id));
        if (r >= 0)
                r = record_read(s, &credential_type, &key, &(RecordSeal){ v->key, v->uid, v->id, NULL },
                                &object);
        if (r < 0)
                return r;
        *ret = object;
        return 0;
}

int revocation_record_delete(StoreBatch *b, const Credential *c) {
        StoreKey key;
        int r;

        r = revocation_key(&key, c);
        return r < 0 ? r : record_delete(b, &credential_type, &key, c);
}
