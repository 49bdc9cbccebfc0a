/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Restoring: each record of a backup becomes one of this host.
 *
 * Two things change. What a data key is wrapped under: the other host's key-encryption key is not here, so vaults and
 * registrations are opened with the keys that the backup carries and written under this host's. And the state of
 * credentials: since the backup was made a refresh token may have been used up, and to use the old one again makes a
 * provider revoke the whole grant (T21); a credential may also have been given up. So each starts as needs-reconnect, tokens
 * kept but not used, unless it is known that nothing newer existed: then they go on.
 *
 * All else is copied as it is, byte for byte, sealed under data keys that stay the same. A record that does not open is
 * copied too: it did not open before, and to leave it out would look as if it had never been. Its data key is wrapped under a
 * key that is not here, or is another, so it cannot be what it does not say.
 *
 * The records are foreign until they have opened under the keys of the file; kinds that nothing is known of end the restore,
 * since something would be lost.
 *
 * Who may call: see restore.h. */

#include "store/restore.h"
#include "store/body-lmdb.h"
#include "store/record.h"
#include "store/records.h"
#include "store/replacement.h"
#include "util/clock.h"

#define REASON "It was restored from a backup, and may be out of date"

struct Restore {
        BackupReader *reader;
        StoreReplacement *target;
        Keyring *ours, *theirs;
        Vault *vault;                           /* of the records that come now */
        Vault *aside;                           /* likewise of records that were set aside */
        RestoreOptions options;                 /* without what it points at */
        uint8_t used_public[RECOVERY_KEY_SIZE]; /* of the recovery key that opens the file */
        RestoreResult result;
};

Restore *restore_free(Restore *r) {
        if (!r)
                return NULL;
        (void)backup_reader_free(r->reader);
        (void)store_replacement_free(r->target);
        (void)vault_free(r->vault);
        (void)vault_free(r->aside);
        (void)keyring_free(r->ours);
        (void)keyring_free(r->theirs);
        free(r);
        return NULL;
}

uint64_t restore_records(const Restore *r) {
        return r->result.n_records;
}

static int on_header(const BackupHeader *header, void *userdata) {
        const StoreChain *mine = &header->chain, *known;
        Restore *r = userdata;
        bool is_newest;

        if (header->schema != STORE_SCHEMA_VERSION)
                return -EPROTONOSUPPORT;
        known = &r->options.head;
        is_newest = r->options.has_head && memcmp(known->head, mine->head, sizeof(mine->head)) == 0 &&
                    (known->sequence == 0 || known->sequence == mine->sequence);
        r->result.header = *header;
        r->result.needs_reconnect = !is_newest;
        return 0;
}

static int on_keys(const Secret *keys, void *userdata) {
        Restore *r = userdata;

        return keyring_import(keys, &r->theirs);
}

/* What did not open in its own store. Anything else is not to be passed over. */
static bool is_damage(int error) {
        return error == -EBADMSG;
}

static int copy(Restore *r, const StoreKey *at, const uint8_t *value, size_t size) {
        return store_replacement_put(r->target, at, value, size);
}

static int copy_damaged(Restore *r, const StoreKey *at, const uint8_t *value, size_t size) {
        r->result.n_damaged++;
        return copy(r, at, value, size);
}

/* A record becomes: 0 and the batch that puts it, under its own key; -EBADMSG: it does not open. */

static int convert_vault(Restore *r, const StoreKey *key, const uint8_t *value, size_t size, StoreBatch *b,
                Vault **ret) {
        _cleanup_(vault_freep) Vault *v = NULL;
        int k;

        k = vault_decode(r->theirs, key, value, size, &v);
        if (k >= 0)
                k = vault_rewrap(r->ours, v);
        if (k >= 0)
                k = vault_record_put(b, r->ours, v);
        if (k >= 0)
                *ret = TAKE_PTR(v);
        return k;
}

static int convert_credential(const Restore *r, const StoreKey *key, const uint8_t *value, size_t size,
                const Vault *v, StoreBatch *b) {
        _cleanup_(credential_freep) Credential *c = NULL;
        int k;

        if (!v || v->uid != key->uid)
                return -EBADMSG;
        c = record_new(&credential_type);
        if (!c)
                return -ENOMEM;
        k = record_decode(
                        &credential_type, key, &(RecordSeal){ v->key, v->uid, v->id, NULL }, value, size, c);
        if (k < 0)
                return k;
        if (r->result.needs_reconnect && c->state == CREDENTIAL_ACTIVE) {
                c->state = CREDENTIAL_NEEDS_RECONNECT;
                free(c->state_reason);
                c->state_reason = strdup(REASON);
                if (!c->state_reason)
                        return -ENOMEM;
        }
        k = credential_record_put(b, v, c);
        return k == -EINVAL ? -EPROTONOSUPPORT : k; /* of a kind that is not known here */
}

static int convert_client(
                Restore *r, const StoreKey *key, const uint8_t *value, size_t size, StoreBatch *b) {
        _cleanup_(client_freep) Client *c = record_new(&client_type);
        int k;

        if (!c)
                return -ENOMEM;
        k = client_decode(r->theirs, key, value, size, c);
        return k < 0 ? k : client_record_put(b, r->ours, c);
}

/* The batch's record is that one: a value is bound to its key, and a key that says something else is damage. */
static int apply(Restore *r, const StoreBatch *b, const StoreKey *key) {
        uint8_t bytes[STORE_KEY_MAX];
        size_t n = store_key_encode(key, bytes);
        const BatchOperation *c = b->changes;

        if (!c || c->next || c->key_size != n || memcmp(c->key, bytes, n) != 0)
                return -EBADMSG;
        return store_replacement_apply(r->target, b);
}

static int restore_vault(Restore *r, const StoreKey *key, const uint8_t *value, size_t size) {
        _cleanup_(store_batch_freep) StoreBatch *b = NULL;
        _cleanup_(vault_freep) Vault *v = NULL;
        int k;

        k = store_batch_new(&b);
        if (k >= 0)
                k = convert_vault(r, key, value, size, b, &v);
        if (k >= 0)
                k = apply(r, b, key);
        if (is_damage(k))
                return copy_damaged(r, key, value, size);
        r->result.n_vaults += k >= 0;
        return k;
}

static int restore_credential(Restore *r, const StoreKey *key, const uint8_t *value, size_t size) {
        _cleanup_(store_batch_freep) StoreBatch *b = NULL;
        int k;

        k = store_batch_new(&b);
        if (k >= 0)
                k = convert_credential(r, key, value, size, r->vault, b);
        if (k >= 0)
                k = apply(r, b, key);
        if (is_damage(k))
                return copy_damaged(r, key, value, size);
        r->result.n_credentials += k >= 0;
        return k;
}

static int restore_client(Restore *r, const StoreKey *key, const uint8_t *value, size_t size) {
        _cleanup_(store_batch_freep) StoreBatch *b = NULL;
        int k;

        k = store_batch_new(&b);
        if (k >= 0)
                k = convert_client(r, key, value, size, b);
        if (k >= 0)
                k = apply(r, b, key);
        return is_damage(k) ? copy_damaged(r, key, value, size) : k;
}

/* A record of a vault that was set aside (vault-aside.c): the record within is converted, its place stays. The vault's own record comes
 * first of each vault. */
static int restore_aside(Restore *r, const StoreKey *at, const uint8_t *value, size_t size) {
        _cleanup_(store_batch_freep) StoreBatch *b = NULL;
        _cleanup_(buffer_done) Buffer kept = {};
        const uint8_t *inner;
        size_t head, inner_size;
        StoreKey key;
        int k;

        head = size >= 2 ? 2U + value[1] : SIZE_MAX;
        if (head > size || store_key_init(&key, (RecordKind)value[0], at->uid, value + 2, value[1]) < 0)
                return copy_damaged(r, at, value, size);
        if (key.kind != RECORD_VAULT && key.kind != RECORD_CREDENTIAL)
                return copy(r, at, value, size);
        k = store_batch_new(&b);
        if (k >= 0 && key.kind == RECORD_VAULT) {
                r->aside = vault_free(r->aside);
                k = convert_vault(r, &key, value + head, size - head, b, &r->aside);
        } else if (k >= 0)
                k = convert_credential(r, &key, value + head, size - head, r->aside, b);
        if (is_damage(k))
                return copy_damaged(r, at, value, size);
        if (k >= 0)
                k = store_batch_peek(b, &inner, &inner_size);
        if (k >= 0)
                k = buffer_append(&kept, value, head);
        if (k >= 0)
                k = buffer_append(&kept, inner, inner_size);
        return k < 0 ? k : copy(r, at, kept.bytes, kept.size);
}

/* In front of the records of its uid. */
static int take_vault(Restore *r, const StoreKey *key, const uint8_t *value, size_t size) {
        int k;

        if (key->kind != RECORD_VAULT)
                return -EBADMSG;
        r->vault = vault_free(r->vault);
        k = vault_decode(r->theirs, key, value, size, &r->vault);
        return is_damage(k) ? 0 : k;
}

static int on_record(
                const StoreKey *key, const uint8_t *value, size_t size, bool is_in_advance, void *userdata) {
        Restore *r = userdata;

        if (is_in_advance)
                return take_vault(r, key, value, size);
        r->result.n_records++;
        switch (key->kind) {
        case RECORD_VAULT:
                return restore_vault(r, key, value, size);
        case RECORD_CREDENTIAL:
                return restore_credential(r, key, value, size);
        case RECORD_CLIENT:
                return restore_client(r, key, value, size);
        case RECORD_ASIDE:
                return restore_aside(r, key, value, size);
        case RECORD_REVOCATION: /* to revoke what is revoked does no harm */
        case RECORD_AGENT_SESSION:
        case RECORD_AGENT:
        case RECORD_ENVIRONMENT:
        case RECORD_ACCOUNT:
                return copy(r, key, value, size);
        case RECORD_META:
        case RECORD_FLOW:
                break;
        }
        return -EPROTONOSUPPORT;
}

int restore_new(const RestoreOptions *options, Restore **ret) {
        static const BackupVisitor visitor = { on_header, on_keys, on_record };
        _cleanup_(restore_freep) Restore *r = calloc(1, sizeof(Restore));
        int k;

        if (!r)
                return -ENOMEM;
        r->options = *options;
        k = keyring_import(options->keys, &r->ours);
        if (k >= 0)
                k = recovery_public(options->private, r->used_public);
        if (k >= 0)
                k = backup_reader_new(options->private, &visitor, r, &r->reader);
        if (k >= 0)
                k = store_replacement_new(options->dir, options->map_size, &r->target);
        if (k < 0)
                return k;
        *ret = TAKE_PTR(r);
        return 0;
}

int restore_feed(Restore *r, const uint8_t *bytes, size_t n) {
        return backup_reader_feed(r->reader, bytes, n);
}

static int put_recovery(Restore *r) {
        _cleanup_(store_batch_freep) StoreBatch *b = NULL;
        bool has = r->options.has_recovery;
        int k;

        k = store_batch_new(&b);
        if (k >= 0)
                k = recovery_record_put(b, r->ours, has ? r->options.recovery_public : r->used_public,
                                has ? r->options.recovery_created_usec : now_realtime());
        return k < 0 ? k : store_replacement_apply(r->target, b);
}

int restore_finish(Restore *r, uint64_t least_sequence, RestoreResult *ret) {
        int k;

        k = backup_reader_finish(r->reader);
        if (k >= 0)
                k = put_recovery(r);
        if (k >= 0)
                k = store_replacement_finish(r->target, &r->result.header.chain, least_sequence);
        if (k >= 0)
                *ret = r->result;
        return k;
}

int restore_install(Restore *r, const char *suffix) {
        return store_replacement_install(r->target, suffix);
}
