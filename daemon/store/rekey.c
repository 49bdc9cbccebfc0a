/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Rekeying: another key-encryption key and another data key for every vault, while the store serves.
 *
 *   prepare   the old key, sealed under the new one, is noted in the store. A process with either key opens everything.
 *   (root puts the new key in the place of the old one)
 *   begin     one commit: the note of the key in force names the new one. A process with the old key refuses to start.
 *   run       vault after vault, each in one commit: a new data key, every record sealed under it anew.
 *   end       the note of the old key is deleted. Whoever has the old key opens nothing any more.
 *
 * What a crash leaves is decided by the two notes alone. Only the old key is ever noted, and under the new one: the other way round
 * somebody with the old key and any copy of the file, taken meanwhile or found in its free pages, would have the new one.
 *
 * A vault is done when the key in force wraps its data key, so a run may be broken off anywhere and begun again. What is
 * read for a vault and what is written is the same state (store_exclusive()), and who has read the vault before
 * and writes after gets STORE_CONFLICT (vault_expect_key()). So no record is left behind under a key that is gone. A flow
 * that has just sent its code to a token endpoint is waited for: its tokens are to find the record as it was.
 *
 * A record that does not open stops the run, since after the end nothing could mend it. rekey_check() finds it before.
 *
 * Who may call: the loop's thread; all but rekey_open() on a fiber. */

#include "store/record.h"
#include "store/rekey.h"
#include "store/recovery.h"
#include "util/clock.h"
#include "util/fiber.h"

#define NOTE_VERSION 1U
#define KEY_ID       "key"
#define REKEY_ID     "rekey"
#define PREPARED_MAX 8U
#define CHUNK_VAULTS 16U
#define DEFER_USEC   (UINT64_C(180) * USEC_PER_SEC)
#define DEFER_STEP   (100 * USEC_PER_MSEC)
#define SEALED_SIZE  (2U * SEAL_KEY_SIZE + KEYRING_ID_SIZE + SEAL_OVERHEAD)

/* META "key": the key in force. mac: keyring_mac("key", id ‖ created) of that key. */
typedef struct KeyNote {
        struct {
                uint8_t id[KEYRING_ID_SIZE];
                uint64_t created_usec;
        } key;
        uint8_t mac[32];
        Buffer stored;
} KeyNote;

/* META "rekey": the former key as often as a key was prepared, each time sealed under that one. */
typedef struct RekeyNote {
        unsigned n;
        uint8_t sealed[PREPARED_MAX * SEALED_SIZE];
        Buffer stored;
} RekeyNote;

static const Field key_fields[] = {
        FIELD_OF(2, FIELD_BYTES, KeyNote, key.id, .is_required = true),
        FIELD_OF(3, FIELD_NUMBER, KeyNote, key.created_usec, .max = UINT64_MAX, .is_required = true),
        FIELD_OF(4, FIELD_BYTES, KeyNote, mac, .is_required = true),
};
static const RecordType key_type = RECORD_TYPE(KeyNote, key_fields, false);
static const Field rekey_fields[] = {
        FIELD_OF(2, FIELD_NUMBER, RekeyNote, n, .max = PREPARED_MAX, .is_required = true),
        FIELD_OF(3, FIELD_BYTES, RekeyNote, sealed, .is_required = true),
};
static const RecordType rekey_type = RECORD_TYPE(RekeyNote, rekey_fields, false);

static int note_key(const char *id, StoreKey *ret) {
        return store_key_init(ret, RECORD_META, 0, id, strlen(id));
}

static int note_get(Store *s, const char *id, const RecordType *type, void *ret) {
        _cleanup_(buffer_done) Buffer value = {};
        StoreKey key;
        int r;

        r = note_key(id, &key);
        if (r >= 0)
                r = store_get(s, &key, &value);
        return r < 0 ? r : record_decode(type, &key, NULL, value.bytes, value.size, ret);
}

static int note_put(StoreBatch *b, const char *id, const RecordType *type, const void *note) {
        _cleanup_(buffer_done) Buffer value = {};
        StoreKey key;
        int r;

        r = note_key(id, &key);
        if (r >= 0)
                r = record_encode(type, &key, NULL, note, &value);
        return r < 0 ? r : store_batch_put(b, &key, value.bytes, value.size);
}

static int key_note_put(StoreBatch *b, Keyring *k) {
        KeyNote note = { .key.created_usec = now_realtime() };
        int r;

        keyring_id(k, note.key.id);
        r = keyring_mac(k, KEY_ID, &note.key, sizeof(note.key), note.mac);
        return r < 0 ? r : note_put(b, KEY_ID, &key_type, &note);
}

/* 1: it names the key in force; 0: another; -EBADMSG. */
static int key_note_judge(Keyring *k, const KeyNote *note) {
        uint8_t id[KEYRING_ID_SIZE];
        int r;

        keyring_id(k, id);
        if (memcmp(id, note->key.id, sizeof(id)) != 0)
                return 0;
        r = keyring_mac_matches(k, KEY_ID, &note->key, sizeof(note->key), note->mac);
        return r == 0 ? -EBADMSG : r;
}

/* The same of the stored one, or -ENOENT. */
static int key_note_check(Store *s, Keyring *k, KeyNote *ret) {
        KeyNote note = {};
        int r;

        r = note_get(s, KEY_ID, &key_type, &note);
        buffer_done(&note.stored);
        if (r >= 0)
                r = key_note_judge(k, &note);
        if (r >= 0 && ret)
                *ret = note;
        return r;
}

int rekey_note_verify(Keyring *k, const StoreKey *key, const uint8_t *value, size_t size) {
        RekeyNote rekey = {};
        KeyNote note = {};
        int r;

        if (key->id_size == strlen(KEY_ID)) {
                r = record_decode(&key_type, key, NULL, value, size, &note);
                buffer_done(&note.stored);
                if (r >= 0)
                        r = key_note_judge(k, &note);
                return r == 0 ? -EBADMSG : MIN(r, 0);
        }
        r = record_decode(&rekey_type, key, NULL, value, size, &rekey);
        buffer_done(&rekey.stored);
        return r;
}

uint64_t rekey_key_created(Store *s, Keyring *k) {
        KeyNote note;

        return key_note_check(s, k, &note) > 0 ? note.key.created_usec : 0;
}

/* Finds the former key in the note: 1 and the keyring knows it; 0: it is not there for us. */
static int take_over(Store *s, Keyring *k, uint8_t ret_id[static KEYRING_ID_SIZE]) {
        RekeyNote note = {};
        int r;

        r = note_get(s, REKEY_ID, &rekey_type, &note);
        buffer_done(&note.stored);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        for (unsigned i = 0; i < note.n; i++) {
                r = keyring_take_over(k, note.sealed + i * SEALED_SIZE, SEALED_SIZE, ret_id);
                if (r != -EBADMSG)
                        return r < 0 ? r : 1;
        }
        return 0;
}

int rekey_note_put(Store *s, StoreBatch *b, const Keyring *from, const Keyring *to) {
        _cleanup_(buffer_done) Buffer sealed = {};
        RekeyNote note = {};
        int r = 0;

        if (s)
                r = note_get(s, REKEY_ID, &rekey_type, &note);
        buffer_done(&note.stored);
        if (r < 0 && r != -ENOENT)
                return r;
        if (note.n == PREPARED_MAX)
                return -EUSERS;
        r = keyring_hand_over(from, to, &sealed);
        if (r < 0)
                return r;
        memcpy(note.sealed + note.n++ * SEALED_SIZE, sealed.bytes, SEALED_SIZE);
        return note_put(b, REKEY_ID, &rekey_type, &note);
}

typedef struct FirstVaults {
        Keyring *keyring;
        unsigned n_seen, n_opened;
} FirstVaults;

static int first_vaults_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(vault_freep) Vault *v = NULL;
        FirstVaults *first = userdata;
        int r;

        r = vault_decode(first->keyring, key, value, size, &v);
        if (r < 0 && r != -EBADMSG)
                return r;
        first->n_opened += r >= 0;
        return ++first->n_seen >= 8 || r >= 0;
}

/* A store from before there were notes: its vaults are the proof. */
static int key_note_make(Store *s, Keyring *k) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        FirstVaults first = { .keyring = k };
        StoreKey key;
        int r;

        r = store_foreach(s, RECORD_VAULT, UID_INVALID, first_vaults_visit, &first);
        if (r < 0)
                return r;
        if (first.n_seen > 0 && first.n_opened == 0)
                return -EKEYREJECTED;
        r = store_batch_new(&batch);
        if (r >= 0)
                r = note_key(KEY_ID, &key);
        if (r >= 0)
                r = store_batch_expect_absent(batch, &key);
        if (r >= 0)
                r = key_note_put(batch, k);
        return r < 0 ? r : store_commit_async(s, TAKE_PTR(batch), NULL, NULL);
}

int rekey_open(Store *s, Keyring *k) {
        uint8_t previous[KEYRING_ID_SIZE];
        KeyNote note;
        int r, found;

        r = key_note_check(s, k, &note);
        if (r == -ENOENT)
                return key_note_make(s, k);
        if (r < 0)
                return r;
        found = take_over(s, k, previous);
        if (found < 0 || r > 0)
                return found; /* a key that was prepared and not used is nobody's concern */
        /* Put in place, and not begun: the note names the key that ours has taken over from. */
        return found > 0 && memcmp(note.key.id, previous, KEYRING_ID_SIZE) == 0 ? 1 : -EKEYREJECTED;
}

int rekey_prepare(Store *s, Keyring *k, const Secret *kek, Keyring **ret_next) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        _cleanup_(keyring_freep) Keyring *next = NULL;
        uint8_t ours[KEYRING_ID_SIZE], theirs[KEYRING_ID_SIZE];
        int r;

        if (keyring_has_previous(k))
                return -EALREADY;
        r = keyring_new(kek, &next);
        if (r < 0)
                return r;
        keyring_id(k, ours);
        keyring_id(next, theirs);
        if (memcmp(ours, theirs, sizeof(ours)) == 0)
                return -EINVAL;
        r = store_batch_new(&batch);
        if (r >= 0)
                r = rekey_note_put(s, batch, k, next);
        if (r >= 0)
                r = store_commit(s, TAKE_PTR(batch));
        if (r < 0)
                return r;
        *ret_next = TAKE_PTR(next);
        return 0;
}

/* Batches that are on their way, and who waits for them. */
typedef struct Pending {
        Fiber *fiber;
        unsigned n;
        int result;
} Pending;

static void on_committed(int result, void *userdata) {
        Pending *p = userdata;

        if (result != 0 && p->result == 0)
                p->result = result == STORE_CONFLICT
                                            ? -EIO
                                            : result; /* nobody could write between our reading and this */
        if (--p->n == 0)
                fiber_resume(p->fiber, 0);
}

static int pending_commit(Store *s, Pending *p, StoreBatch *taken) {
        int r = store_commit_async(s, taken, on_committed, p);

        p->n += r >= 0;
        return r;
}

static int pending_wait(Pending *p, int r) {
        while (p->n > 0)
                (void)fiber_suspend_uncancellable();
        return r < 0 ? r : p->result;
}

typedef struct Begin {
        Store *store;
        Keyring *keyring, *next;
        Pending pending;
} Begin;

/* The recovery key's digest is of the key in force, too. One that is damaged is left to be found. */
static int begin_batch(Begin *begin, StoreBatch *b) {
        uint8_t public[RECOVERY_KEY_SIZE];
        uint64_t created;
        int r;

        r = recovery_record_read(begin->store, begin->keyring, public, &created);
        if (r >= 0)
                r = recovery_record_put(b, begin->next, public, created);
        if (r < 0 && r != -ENOENT && r != -EBADMSG)
                return r;
        return key_note_put(b, begin->next);
}

static int begin_now(void *userdata) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        Begin *begin = userdata;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = begin_batch(begin, batch);
        return r < 0 ? r : pending_commit(begin->store, &begin->pending, TAKE_PTR(batch));
}

int rekey_begin(Store *s, Keyring *k, Keyring **next) {
        Begin begin = { s, k, *next, { .fiber = fiber_current() } };
        int r;

        r = store_exclusive(s, begin_now, &begin);
        r = pending_wait(&begin.pending, r);
        if (r < 0)
                return r;
        keyring_become(k, TAKE_PTR(*next));
        return 0;
}

/* One chunk of the run. */
typedef struct Chunk {
        Store *store;
        Keyring *keyring;
        bool may_defer;
        bool has_flows;
        const uid_t *uids;
        size_t n_uids;
        uint64_t n_changed, n_deferred;
        uid_t failed_uid;
        Pending pending;
} Chunk;

/* One vault of it. */
typedef struct VaultWork {
        Chunk *chunk;
        StoreBatch *batch;
        RecordSeal from, to;
        bool is_deferred;
} VaultWork;

static int reseal(VaultWork *work, const StoreKey *key, const uint8_t *value, size_t size) {
        _cleanup_(buffer_done) Buffer fresh = {};
        int r;

        r = record_reseal(key, &work->from, &work->to, value, size, &fresh);
        if (r >= 0)
                r = store_batch_expect(work->batch, key, value, size);
        return r < 0 ? r : store_batch_put(work->batch, key, fresh.bytes, fresh.size);
}

static int credential_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        return reseal(userdata, key, value, size);
}

/* Flows lie under the digest of their state; the vault is named in their clear part. */
static int flow_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(flow_freep) Flow *flow = record_new(&flow_type);
        VaultWork *work = userdata;
        int r;

        if (!flow)
                return -ENOMEM;
        r = record_decode_clear(&flow_type, value, size, flow);
        if (r < 0) /* whose it is cannot be told; it ends with its time */
                return r == -EBADMSG ? 0 : r;
        if (flow->uid != work->from.uid || !streq(flow->vault_id, work->from.vault_id))
                return 0;
        if (flow->state == FLOW_EXCHANGING && work->chunk->may_defer) {
                work->is_deferred = true;
                return 1;
        }
        r = reseal(work, key, value, size);
        return r == -EBADMSG ? 0 : r;
}

static int vault_rekey(Chunk *chunk, uid_t uid) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        _cleanup_(secret_freep) Secret *old = NULL;
        _cleanup_(vault_freep) Vault *v = NULL;
        int r;

        r = vault_record_read(chunk->store, chunk->keyring, uid, &v);
        if (r == -ENOENT) /* destroyed meanwhile */
                return 0;
        if (r >= 0)
                r = keyring_wraps(chunk->keyring, uid, v->id, v->wrapped.bytes, v->wrapped.size);
        if (r != 0)
                return r < 0 ? r : 0;
        r = secret_new(v->key->bytes, v->key->size, &old);
        if (r >= 0)
                r = vault_new_key(chunk->keyring, v);
        if (r >= 0)
                r = store_batch_new(&batch);
        if (r >= 0)
                r = vault_record_put(batch, chunk->keyring, v);
        if (r < 0)
                return r;

        VaultWork work = { chunk, batch, { old, uid, v->id, NULL }, { v->key, uid, v->id, NULL }, false };
        r = store_foreach(chunk->store, RECORD_CREDENTIAL, uid, credential_visit, &work);
        if (r >= 0)
                r = store_foreach(chunk->store, RECORD_REVOCATION, uid, credential_visit, &work);
        if (r >= 0 && chunk->has_flows)
                r = store_foreach(chunk->store, RECORD_FLOW, UID_INVALID, flow_visit, &work);
        if (work.is_deferred) {
                chunk->n_deferred++;
                return 0;
        }
        if (r < 0)
                return r;
        chunk->n_changed++;
        return pending_commit(chunk->store, &chunk->pending, TAKE_PTR(batch));
}

static int any_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        return 1;
}

static int chunk_now(void *userdata) {
        Chunk *chunk = userdata;
        int r;

        r = store_foreach(chunk->store, RECORD_FLOW, UID_INVALID, any_visit, NULL);
        chunk->has_flows = r > 0;
        for (size_t i = 0; i < chunk->n_uids && r >= 0; i++) {
                r = vault_rekey(chunk, chunk->uids[i]);
                if (r == -EBADMSG)
                        chunk->failed_uid = chunk->uids[i];
        }
        return r < 0 ? r : 0;
}

/* A vault that was set aside: its records lie under other keys and belong where they came from (vault-aside.c). */
typedef struct AsideWork {
        VaultWork vault;
        Keyring *keyring;
        Vault *found; /* the next one that is not done yet */
        bool is_done; /* of `found`: this record is of it */
} AsideWork;

static int aside_find_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(vault_freep) Vault *v = NULL;
        AsideWork *work = userdata;
        StoreKey inner;
        size_t head;
        int r;

        r = vault_aside_decode(key, value, size, &inner, &head);
        if (r < 0 || inner.kind != RECORD_VAULT)
                return r;
        r = vault_decode(work->keyring, &inner, value + head, size - head, &v);
        if (r >= 0)
                r = keyring_wraps(work->keyring, v->uid, v->id, v->wrapped.bytes, v->wrapped.size);
        if (r != 0)
                return r < 0 ? r : 0;
        work->found = TAKE_PTR(v);
        return 1;
}

static int aside_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(buffer_done) Buffer fresh = {};
        AsideWork *work = userdata;
        Vault *v = work->found;
        StoreKey inner;
        size_t head;
        int r;

        r = vault_aside_decode(key, value, size, &inner, &head);
        if (r < 0)
                return r;
        if (!vault_aside_is_of(key, v))
                return 0;
        r = buffer_append(&fresh, value, head);
        if (r < 0)
                return r;
        if (inner.kind == RECORD_VAULT)
                r = record_encode(&vault_type, &inner, &(RecordSeal){ v->key, v->uid, v->id, &v->wrapped },
                                v, &fresh);
        else if (record_is_sealed(value + head, size - head) == 0)
                return 0;
        else
                r = record_reseal(&inner, &work->vault.from, &work->vault.to, value + head, size - head,
                                &fresh);
        if (r >= 0)
                r = store_batch_expect(work->vault.batch, key, value, size);
        return r < 0 ? r : store_batch_put(work->vault.batch, key, fresh.bytes, fresh.size);
}

/* The next vault that was set aside and is not done. */
static int aside_now(void *userdata) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        _cleanup_(secret_freep) Secret *old = NULL;
        _cleanup_(vault_freep) Vault *v = NULL;
        Chunk *chunk = userdata;
        AsideWork work = { .keyring = chunk->keyring };
        int r;

        r = store_foreach(chunk->store, RECORD_ASIDE, UID_INVALID, aside_find_visit, &work);
        if (r <= 0)
                return r;
        v = work.found;
        r = secret_new(v->key->bytes, v->key->size, &old);
        if (r >= 0)
                r = vault_new_key(chunk->keyring, v);
        if (r >= 0)
                r = store_batch_new(&batch);
        if (r < 0)
                return r;
        work.vault = (VaultWork){ chunk, batch, { old, v->uid, v->id, NULL },
                { v->key, v->uid, v->id, NULL }, false };
        r = store_foreach(chunk->store, RECORD_ASIDE, v->uid, aside_visit, &work);
        if (r < 0)
                return r;
        chunk->n_changed++;
        return pending_commit(chunk->store, &chunk->pending, TAKE_PTR(batch));
}

/* The host's registrations, all at once: there is one for each authorization server. */
static int clients_now(void *userdata) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        Chunk *chunk = userdata;
        size_t n = 0;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = client_record_rekey(chunk->store, chunk->keyring, batch, &n);
        if (r < 0 || n == 0)
                return r;
        chunk->n_changed += n;
        return pending_commit(chunk->store, &chunk->pending, TAKE_PTR(batch));
}

static int chunk_run(Chunk *chunk, int (*function)(void *userdata)) {
        int r;

        chunk->pending = (Pending){ .fiber = fiber_current() };
        r = store_exclusive(chunk->store, function, chunk);
        return pending_wait(&chunk->pending, r);
}

/* Every vault once. */
static int pass_vaults(Chunk *chunk, RekeyProgress progress, void *userdata) {
        _cleanup_(freep) uid_t *uids = NULL;
        size_t n = 0;
        int r;

        r = rekey_list_vaults(chunk->store, &uids, &n);
        for (size_t i = 0; i < n && r >= 0; i += chunk->n_uids) {
                chunk->uids = uids + i;
                chunk->n_uids = MIN(n - i, (size_t)CHUNK_VAULTS);
                r = chunk_run(chunk, chunk_now);
                if (r >= 0) /* what is ready goes first */
                        r = fiber_sleep(0);
                if (r >= 0 && progress)
                        progress(i + chunk->n_uids, n, userdata);
        }
        return r;
}

static int pass_rest(Chunk *chunk) {
        uint64_t before;
        int r;

        do {
                before = chunk->n_changed;
                r = chunk_run(chunk, aside_now);
        } while (r >= 0 && chunk->n_changed > before);
        return r < 0 ? r : chunk_run(chunk, clients_now);
}

static int note_delete(Store *s) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        StoreKey key;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = note_key(REKEY_ID, &key);
        if (r >= 0)
                r = store_batch_delete(batch, &key);
        return r < 0 ? r : store_commit(s, TAKE_PTR(batch));
}

/* A process that was started between prepare and begin: the note still names the former key. */
static int ensure_begun(Store *s, Keyring *k) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        uint8_t public[RECOVERY_KEY_SIZE];
        uint64_t created;
        int r;

        r = key_note_check(s, k, NULL);
        if (r != 0)
                return r < 0 ? r : 0;
        r = store_batch_new(&batch);
        if (r >= 0)
                r = key_note_put(batch, k);
        if (r < 0)
                return r;
        r = recovery_record_read(s, k, public, &created);
        if (r >= 0)
                r = recovery_record_put(batch, k, public, created);
        if (r < 0 && r != -ENOENT && r != -EBADMSG)
                return r;
        return store_commit(s, TAKE_PTR(batch));
}

int rekey_run(Store *s, Keyring *k, RekeyProgress progress, void *userdata, uid_t *ret_uid) {
        uint64_t deadline = now_monotonic() + DEFER_USEC;
        Chunk chunk = { .store = s, .keyring = k, .failed_uid = UID_INVALID };
        int r;

        if (!keyring_has_previous(k))
                return 0;
        r = ensure_begun(s, k);
        /* Until a pass finds nothing left to do: vaults may have been made in the instant when the key changed. */
        do {
                if (r >= 0 && chunk.n_deferred > 0)
                        r = fiber_sleep(DEFER_STEP);
                chunk.n_changed = chunk.n_deferred = 0;
                chunk.may_defer = now_monotonic() < deadline;
                if (r >= 0)
                        r = pass_vaults(&chunk, progress, userdata);
                if (r >= 0)
                        r = pass_rest(&chunk);
        } while (r >= 0 && (chunk.n_changed > 0 || chunk.n_deferred > 0));
        if (r >= 0)
                r = note_delete(s);
        if (r >= 0)
                keyring_forget_previous(k);
        if (r == -EBADMSG && ret_uid)
                *ret_uid = chunk.failed_uid;
        return r;
}
