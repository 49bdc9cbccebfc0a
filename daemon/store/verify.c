/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whether records open, and by what name a person knows those that do not.
 *
 * A read that meets damage answers -EBADMSG, which says neither which record nor whose. Whoever has to tell a user or an
 * administrator asks here afterwards, at leisure: all that a call of that uid may have read is tried once more. Nothing is
 * kept in memory about damage, so what is mended is no longer named.
 *
 * All kinds are here, each opened by its own code; a kind that this file does not know does not compile (-Wswitch).
 *
 * Who may call: the loop's thread. */

#include <stdio.h>

#include "store/internal.h"
#include "store/record.h"
#include "store/records.h"
#include "store/recovery.h"
#include "store/rekey.h"
#include "store/scrub.h"
#include "store/verify.h"
#include "util/encode.h"

static bool id_is(const StoreKey *key, const char *id) {
        return key->id_size == strlen(id) && memcmp(key->id, id, key->id_size) == 0;
}

static int meta_verify(Store *s, Keyring *k, const StoreKey *key, const uint8_t *value, size_t size) {
        uint8_t public[RECOVERY_KEY_SIZE];
        uint32_t version;
        StoreChain chain;

        if (id_is(key, "schema"))
                return schema_decode(value, size, &version) < 0 || version != STORE_SCHEMA_VERSION ? -EBADMSG
                                                                                                   : 0;
        if (id_is(key, "chain"))
                return chain_decode(value, size, &chain);
        if (id_is(key, "behind"))
                return behind_decode(value, size, &chain);
        if (id_is(key, "recovery"))
                return recovery_record_read(s, k, public, NULL);
        if (id_is(key, "key") || id_is(key, "rekey"))
                return rekey_note_verify(k, key, value, size);
        if (id_is(key, "scrub"))
                return scrub_note_verify(key, value, size);
        return -ENOTSUP;
}

static int plain_verify(const RecordType *type, const StoreKey *key, const RecordSeal *seal,
                const uint8_t *value, size_t size) {
        void *object = record_new(type);
        int r;

        if (!object)
                return -ENOMEM;
        r = record_decode(type, key, seal, value, size, object);
        (void)record_free(type, object);
        return r;
}

static int vault_verify(Keyring *k, const StoreKey *key, const uint8_t *value, size_t size, Vault **ret) {
        _cleanup_(vault_freep) Vault *v = NULL;
        int r;

        r = vault_decode(k, key, value, size, &v);
        if (r >= 0 && ret)
                *ret = TAKE_PTR(v);
        return r;
}

/* With the vault at hand whose record it is. */
static int sealed_verify(const Vault *v, const StoreKey *key, const uint8_t *value, size_t size) {
        const RecordSeal seal = { v->key, v->uid, v->id, NULL };

        return plain_verify(
                        key->kind == RECORD_FLOW ? &flow_type : &credential_type, key, &seal, value, size);
}

static int credential_verify(Store *s, Keyring *k, const StoreKey *key, const uint8_t *value, size_t size) {
        _cleanup_(vault_freep) Vault *v = NULL;
        int r;

        r = vault_record_read(s, k, key->uid, &v);
        if (r < 0)
                return r == -ENOENT ? -EBADMSG : r;
        return sealed_verify(v, key, value, size);
}

static int flow_verify(Store *s, Keyring *k, const StoreKey *key, const uint8_t *value, size_t size) {
        _cleanup_(flow_freep) Flow *f = NULL;

        return flow_decode(s, k, UID_INVALID, key, value, size, &f);
}

static int client_verify(Keyring *k, const StoreKey *key, const uint8_t *value, size_t size) {
        _cleanup_(client_freep) Client *c = record_new(&client_type);

        return c ? client_decode(k, key, value, size, c) : -ENOMEM;
}

/* The head of what was set aside: *ret is the key where it was. */
static int aside_parse(const StoreKey *key, const uint8_t *value, size_t size, StoreKey *ret,
                const uint8_t **ret_value, size_t *ret_size) {
        size_t head;

        if (size < 2 || key->id_size < 4)
                return -EBADMSG;
        head = 2U + value[1];
        if (size < head || value[1] > STORE_ID_MAX)
                return -EBADMSG;
        /* Flows are nobody's by their key. */
        if (store_key_init(ret, (RecordKind)value[0], value[0] == RECORD_FLOW ? 0 : key->uid, value + 2,
                            value[1]) < 0)
                return -EBADMSG;
        *ret_value = value + head;
        *ret_size = size - head;
        return 0;
}

/* The vault that was set aside under this key's vault id is the first of its records. */
static int aside_vault(Store *s, Keyring *k, const StoreKey *key, Vault **ret) {
        _cleanup_(vault_freep) Vault *v = NULL;
        _cleanup_(buffer_done) Buffer stored = {};
        StoreKey first = *key, was;
        const uint8_t *value;
        size_t size;
        int r;

        if (key->id_size < 4)
                return -EBADMSG;
        memset(first.id + first.id_size - 4, 0, 4);
        r = store_get(s, &first, &stored);
        if (r < 0)
                return r == -ENOENT ? -EBADMSG : r;
        r = aside_parse(&first, stored.bytes, stored.size, &was, &value, &size);
        if (r >= 0)
                r = was.kind == RECORD_VAULT ? vault_verify(k, &was, value, size, &v) : -EBADMSG;
        if (r < 0)
                return r;
        if (strlen(v->id) != key->id_size - 4 || memcmp(v->id, key->id, key->id_size - 4) != 0)
                return -EBADMSG;
        *ret = TAKE_PTR(v);
        return 0;
}

static int aside_verify(
                Store *s, Keyring *k, const StoreKey *key, const uint8_t *stored, size_t stored_size) {
        _cleanup_(vault_freep) Vault *v = NULL;
        const uint8_t *value;
        StoreKey was;
        size_t size;
        int r;

        r = aside_parse(key, stored, stored_size, &was, &value, &size);
        if (r >= 0)
                r = aside_vault(s, k, key, &v);
        if (r < 0)
                return r;
        switch (was.kind) {
        case RECORD_VAULT:
                return vault_verify(k, &was, value, size, NULL);
        case RECORD_CREDENTIAL:
        case RECORD_REVOCATION:
        case RECORD_FLOW:
                return sealed_verify(v, &was, value, size);
        case RECORD_AGENT_SESSION:
        case RECORD_ACCOUNT:
                return record_verify(s, k, &was, value, size);
        case RECORD_META:
        case RECORD_CLIENT:
        case RECORD_AGENT:
        case RECORD_ENVIRONMENT:
        case RECORD_ASIDE:
                break;
        }
        return -EBADMSG;
}

int record_verify(Store *s, Keyring *k, const StoreKey *key, const uint8_t *value, size_t size) {
        switch (key->kind) {
        case RECORD_META:
                return meta_verify(s, k, key, value, size);
        case RECORD_VAULT:
                return vault_verify(k, key, value, size, NULL);
        case RECORD_CREDENTIAL:
        case RECORD_REVOCATION:
                return credential_verify(s, k, key, value, size);
        case RECORD_FLOW:
                return flow_verify(s, k, key, value, size);
        case RECORD_CLIENT:
                return client_verify(k, key, value, size);
        case RECORD_AGENT_SESSION:
                return plain_verify(&agent_session_type, key, NULL, value, size);
        case RECORD_AGENT:
        case RECORD_ENVIRONMENT:
                return plain_verify(&platform_object_type, key, NULL, value, size);
        case RECORD_ASIDE:
                return aside_verify(s, k, key, value, size);
        case RECORD_ACCOUNT:
                return plain_verify(&pinned_account_type, key, NULL, value, size);
        }
        return -ENOTSUP;
}

static const char *kind_name(RecordKind kind) {
        switch (kind) {
        case RECORD_META:
                return "store record";
        case RECORD_VAULT:
                return "vault";
        case RECORD_CREDENTIAL:
                return "credential";
        case RECORD_REVOCATION:
                return "revocation";
        case RECORD_FLOW:
                return "unfinished connection";
        case RECORD_CLIENT:
                return "registration";
        case RECORD_AGENT_SESSION:
                return "agent session";
        case RECORD_AGENT:
                return "agent";
        case RECORD_ENVIRONMENT:
                return "environment";
        case RECORD_ASIDE:
                return "record set aside";
        case RECORD_ACCOUNT:
                return "pinned account";
        }
        return "record";
}

char *record_name(const StoreKey *key) {
        _cleanup_(freep) char *id = NULL;
        char *name;
        bool is_text = key->kind != RECORD_FLOW && key->kind != RECORD_CLIENT && key->kind != RECORD_ASIDE;

        if (key->id_size == 0)
                return strdup(kind_name(key->kind));
        if (is_text) {
                _cleanup_(freep) char *text = strndup((const char *)key->id, key->id_size);

                id = text ? printable(text, STORE_ID_MAX) : NULL;
        } else /* enough of a digest to find it by; of what was set aside, the vault's id */
                id = key->kind == RECORD_ASIDE && key->id_size > 4
                                     ? strndup((const char *)key->id, key->id_size - 4)
                                     : hex_encode(key->id, MIN(key->id_size, (size_t)8));
        if (!id || asprintf(&name, "%s %s", kind_name(key->kind), id) < 0)
                return NULL;
        return name;
}

typedef struct DamageWalk {
        Store *store;
        Keyring *keyring;
        uid_t uid;
        bool is_vault_damaged;
        Buffer names;
} DamageWalk;

static int damage_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(freep) char *name = NULL;
        DamageWalk *walk = userdata;
        int r;

        r = record_verify(walk->store, walk->keyring, key, value, size);
        if (r != -EBADMSG)
                return r;
        walk->is_vault_damaged = walk->is_vault_damaged || key->kind == RECORD_VAULT;
        name = record_name(key);
        if (!name)
                return -ENOMEM;
        r = walk->names.size > 0 ? buffer_append_text(&walk->names, ", ") : 0;
        return r < 0 ? r : buffer_append_text(&walk->names, name);
}

static int damage_visit_flow(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(flow_freep) Flow *f = record_new(&flow_type);
        DamageWalk *walk = userdata;

        if (!f)
                return -ENOMEM;
        /* Whose it is cannot be told when even that is damaged; readers pass over it. */
        if (record_decode_clear(&flow_type, value, size, f) < 0 || f->uid != walk->uid)
                return 0;
        return damage_visit(key, value, size, walk);
}

int store_find_damage(Store *s, Keyring *k, uid_t uid, char **ret) {
        static const RecordKind own[] = { RECORD_VAULT, RECORD_CREDENTIAL, RECORD_REVOCATION,
                RECORD_AGENT_SESSION, RECORD_ACCOUNT };
        static const RecordKind shared[] = { RECORD_CLIENT, RECORD_AGENT, RECORD_ENVIRONMENT };
        DamageWalk walk = { .store = s, .keyring = k, .uid = uid };
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(own) && r >= 0; i++)
                /* What a damaged vault's key seals would all be named, and none of it need be damaged. */
                if ((own[i] != RECORD_CREDENTIAL && own[i] != RECORD_REVOCATION) || !walk.is_vault_damaged)
                        r = store_foreach(s, own[i], uid, damage_visit, &walk);
        if (r >= 0 && !walk.is_vault_damaged)
                r = store_foreach(s, RECORD_FLOW, UID_INVALID, damage_visit_flow, &walk);
        for (size_t i = 0; i < ELEMENTSOF(shared) && r >= 0; i++)
                r = store_foreach(s, shared[i], UID_INVALID, damage_visit, &walk);
        if (r < 0 || walk.names.size == 0) {
                buffer_done(&walk.names);
                return MIN(r, 0);
        }
        *ret = (char *)TAKE_PTR(walk.names.bytes);
        return 1;
}
