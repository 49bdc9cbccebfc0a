/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which key-encryption keys a store knows of: the notes that a start is decided by.
 *
 * META "key" names the key in force, and only who has that key can write it. META "rekey" holds the former key, sealed under each key that
 * was prepared to follow it: a process with any of these opens everything that the former key sealed. Only the old key is ever
 * noted, and under the new one: the other way round somebody with the old key and any copy of the file, taken meanwhile or found in
 * its free pages, would have the new one.
 *
 * A store from before there were notes is judged by its vaults, once.
 *
 * Who may call: the loop's thread; rekey_open() before anything is written. */

#include "store/record.h"
#include "store/rekey-internal.h"
#include "util/clock.h"

#define KEY_ID       "key"
#define REKEY_ID     "rekey"
#define PREPARED_MAX 8U
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

int rekey_key_note_put(StoreBatch *b, Keyring *k) {
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
                r = rekey_key_note_put(batch, k);
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

int rekey_key_note_check(Store *s, Keyring *k) {
        return key_note_check(s, k, NULL);
}

int rekey_note_delete(StoreBatch *b) {
        StoreKey key;
        int r;

        r = note_key(REKEY_ID, &key);
        return r < 0 ? r : store_batch_delete(b, &key);
}
