/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a rekeying would meet: how much there is, and whether every sealed record opens with the keys that are there.
 *
 * After a rekeying the old keys are gone, so a record that does not open before it never will; and a sealed record of a kind that
 * this version does not know would be left under a key that is gone. Both are said before anything is changed.
 *
 * Who may call: the loop's thread, on a fiber. It reads a few vaults between two turns of the loop. */

#include "store/record.h"
#include "store/rekey.h"
#include "util/fiber.h"

#define CHUNK_VAULTS    64U
#define LISTED_PER_TURN 2048U

typedef struct CheckWalk {
        const Vault *vault;
        Keyring *keyring;
        RekeyCheck *check;
        bool is_damaged;
} CheckWalk;

/* The types of what is sealed under a vault's key, and of what else is a vault's. */
static const struct {
        RecordKind kind;
        const RecordType *type;
} types[] = {
        { RECORD_CREDENTIAL, &credential_type },
        { RECORD_REVOCATION, &credential_type },
        { RECORD_FLOW, &flow_type },
        { RECORD_AGENT_SESSION, &agent_session_type },
        { RECORD_ACCOUNT, &pinned_account_type },
};

static int open_record(const StoreKey *key, const Vault *v, const uint8_t *value, size_t size) {
        const RecordSeal seal = { v->key, v->uid, v->id, NULL };
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(types); i++) {
                void *object;

                if (types[i].kind != key->kind)
                        continue;
                object = record_new(types[i].type);
                if (!object)
                        return -ENOMEM;
                r = record_decode(types[i].type, key, types[i].type->is_sealed ? &seal : NULL, value, size,
                                object);
                (void)record_free(types[i].type, object);
        }
        return r;
}

static int record_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        CheckWalk *walk = userdata;
        int r;

        if (key->kind == RECORD_VAULT)
                return 0;
        walk->check->n_records++;
        r = open_record(key, walk->vault, value, size);
        walk->is_damaged |= r == -EBADMSG;
        return r == -EBADMSG ? 0 : r;
}

typedef struct UidList {
        uid_t *uids;
        size_t n, n_allocated;
} UidList;

static int uid_visit(uid_t uid, const VaultSummary *summary, void *userdata) {
        UidList *list = userdata;

        if (list->n == list->n_allocated) {
                size_t n = MAX(2 * list->n_allocated, (size_t)1024);
                uid_t *uids = reallocarray(list->uids, n, sizeof(uid_t));

                if (!uids)
                        return -ENOMEM;
                list->uids = uids;
                list->n_allocated = n;
        }
        list->uids[list->n++] = uid;
        return 0;
}

int rekey_list_vaults(Store *s, uid_t **ret, size_t *ret_n) {
        UidList list = {};
        uid_t from = 0;
        int r;

        while ((r = vault_record_walk(s, &from, LISTED_PER_TURN, uid_visit, &list)) == VAULTS_GO_ON) {
                r = fiber_sleep(0);
                if (r < 0)
                        break;
        }
        if (r < 0) {
                free(list.uids);
                return r;
        }
        *ret = list.uids;
        *ret_n = list.n;
        return 0;
}

static int note_damaged(RekeyCheck *c, uid_t uid) {
        uid_t *uids = reallocarray(c->damaged, c->n_damaged + 1, sizeof(uid_t));

        if (!uids)
                return -ENOMEM;
        c->damaged = uids;
        c->damaged[c->n_damaged++] = uid;
        return 0;
}

static int check_vault(Store *s, Keyring *k, uid_t uid, RekeyCheck *c) {
        _cleanup_(vault_freep) Vault *v = NULL;
        CheckWalk walk = { .keyring = k, .check = c };
        int r;

        r = vault_record_read(s, k, uid, &v);
        if (r == -ENOENT)
                return 0;
        c->n_vaults++;
        if (r == -EBADMSG)
                return note_damaged(c, uid);
        if (r < 0)
                return r;
        walk.vault = v;
        r = vault_records_foreach(s, uid, v->id, record_visit, &walk);
        return r < 0 || !walk.is_damaged ? r : note_damaged(c, uid);
}

/* Vaults that were set aside open by themselves; their records lie behind them, under keys that say of which vault they are. */
typedef struct AsideWalk {
        Keyring *keyring;
        Vault *vault;
        RekeyCheck *check;
} AsideWalk;

static int aside_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        AsideWalk *walk = userdata;
        StoreKey inner;
        size_t head;
        int r;

        r = vault_aside_decode(key, value, size, &inner, &head);
        if (r >= 0 && inner.kind == RECORD_VAULT) {
                walk->vault = vault_free(walk->vault);
                walk->check->n_aside++;
                r = vault_decode(walk->keyring, &inner, value + head, size - head, &walk->vault);
        } else if (r >= 0)
                r = walk->vault && vault_aside_is_of(key, walk->vault)
                                    ? open_record(&inner, walk->vault, value + head, size - head)
                                    : -EBADMSG;
        walk->check->n_other_damaged += r == -EBADMSG;
        return r == -EBADMSG ? 0 : r;
}

static int unknown_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        return record_is_sealed(value, size) == 1;
}

/* Every kind but those that rekey-seal.c seals anew, and the notes, which are no records of this form. */
static int check_unknown(Store *s, RekeyCheck *c) {
        static const RecordKind known[] = { RECORD_META, RECORD_VAULT, RECORD_CREDENTIAL,
                RECORD_REVOCATION, RECORD_FLOW, RECORD_CLIENT, RECORD_ASIDE };
        int r = 0;

        for (unsigned kind = 0; kind < 256 && r == 0; kind++) {
                bool is_known = false;

                for (size_t i = 0; i < ELEMENTSOF(known); i++)
                        is_known |= known[i] == (RecordKind)kind;
                if (!is_known)
                        r = store_foreach(s, (RecordKind)kind, UID_INVALID, unknown_visit, NULL);
        }
        c->has_unknown = r > 0;
        return r < 0 ? r : 0;
}

static int check_all(Store *s, Keyring *k, RekeyCheck *c) {
        _cleanup_(freep) uid_t *uids = NULL;
        AsideWalk aside = { .keyring = k, .check = c };
        uint64_t n_damaged = 0;
        size_t n = 0;
        int r;

        r = check_unknown(s, c);
        if (r >= 0)
                r = rekey_list_vaults(s, &uids, &n);
        for (size_t i = 0; i < n && r >= 0; i++) {
                r = check_vault(s, k, uids[i], c);
                if (r >= 0 && i % CHUNK_VAULTS == CHUNK_VAULTS - 1)
                        r = fiber_sleep(0);
        }
        if (r >= 0)
                r = store_foreach(s, RECORD_ASIDE, UID_INVALID, aside_visit, &aside);
        (void)vault_free(aside.vault);
        if (r >= 0)
                r = client_record_check(s, k, &c->n_clients, &n_damaged);
        c->n_other_damaged += n_damaged;
        return r;
}

int rekey_check(Store *s, Keyring *k, RekeyCheck *ret) {
        RekeyCheck c = {};
        int r;

        r = check_all(s, k, &c);
        if (r < 0) {
                rekey_check_done(&c);
                return r;
        }
        *ret = c;
        return 0;
}

void rekey_check_done(RekeyCheck *c) {
        free(c->damaged);
        *c = (RekeyCheck){};
}
