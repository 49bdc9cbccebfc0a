/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/store.h"
#include "util/secret.h"

/* Sealing. A key that is derived from the KEK (32 bytes, never beside the database) wraps one data key per vault, the data key
 * seals records. AES-256-GCM, random 96-bit nonce; authenticated data = {format version, kind, uid, vault id, record id}, so
 * bytes moved between users, kinds or records do not open (V2, T8). */

#define SEAL_KEY_SIZE   32U
#define SEAL_NONCE_SIZE 12U
#define SEAL_TAG_SIZE   16U
#define SEAL_OVERHEAD   ((size_t)(SEAL_NONCE_SIZE + SEAL_TAG_SIZE))

typedef struct Keyring Keyring;

/* From a file of exactly 32 bytes, not all zero (otherwise -EINVAL). Refuses (-EPERM) a file inside state_dir (NULL: not
 * asked), one that group or others have any access to, and one of an owner other than root and ourselves; the last two do
 * not apply in $CREDENTIALS_DIRECTORY, where systemd answers for both. Also -errno of open(2). */
int keyring_load(const char *kek_file, const char *state_dir, Keyring **ret);
/* The same from the bytes themselves. -EINVAL: not 32, or all zero. */
int keyring_new(const Secret *kek, Keyring **ret);
Keyring *keyring_free(Keyring *k);
DEFINE_CLEANUP(Keyring *, keyring_free)

/* What a sealed value is bound to. */
typedef struct SealContext {
        RecordKind kind;
        uid_t uid;
        const char *vault_id;
        const void *record_id;
        size_t record_id_size;
} SealContext;

/* *ret gets nonce ‖ ciphertext ‖ tag appended: size + SEAL_OVERHEAD bytes. On failure it is unchanged. */
int seal(const Secret *key, const SealContext *context, const void *plain, size_t size, Buffer *ret);
/* -EBADMSG when it does not authenticate: damaged, another key, another context. */
int unseal(const Secret *key, const SealContext *context, const void *sealed, size_t size, Secret **ret);

/* The same, and the calling thread's cipher keeps the key for the next one, until another comes or seal_forget(). Whoever holds a key in
 * one of these slots says so when it lets go of it: the keyring, and vault_free(). */
typedef enum SealSlot { SEAL_ONCE, SEAL_WRAP, SEAL_VAULT, SEAL_SLOTS } SealSlot;
int unseal_in(SealSlot slot, const Secret *key, const SealContext *context, const void *sealed, size_t size,
                Secret **ret);
void seal_forget(SealSlot slot);
bool seal_keeps_key(SealSlot slot);

/* What the calling thread keeps for all of them is released: for a thread that ends before the process. */
void seal_thread_end(void);

/* Data keys. Wrapped ones are appended; wrapping the same key again gives other bytes. */
int keyring_new_data_key(Keyring *k, uid_t uid, const char *vault_id, Secret **ret_key, Buffer *ret_wrapped);
int keyring_wrap(Keyring *k, uid_t uid, const char *vault_id, const Secret *key, Buffer *ret_wrapped);
/* -EBADMSG as unseal(). */
int keyring_unwrap(Keyring *k, uid_t uid, const char *vault_id, const void *wrapped, size_t size,
                Secret **ret_key);
/* 1: it was wrapped by the key in force; 0: by the previous one or by none. */
int keyring_wraps(Keyring *k, uid_t uid, const char *vault_id, const void *wrapped, size_t size);
/* HMAC-SHA256 under a key derived from the KEK for this purpose ("claim", "ticket", …): low-entropy codes are stored only like
 * that. The same in every process that has the same KEK. */
int keyring_mac(Keyring *k, const char *purpose, const void *bytes, size_t n, uint8_t ret[static 32]);
/* 1: it is the digest of these bytes under the key in force, or under the one before that this process has known; 0: it is not.
 * For short-lived codes, which a change of the key is not to end. Constant time in the digests. */
int keyring_mac_matches(Keyring *k, const char *purpose, const void *bytes, size_t n,
                const uint8_t expected[static 32]);

/* Changing the key-encryption key (rekey.c). A keyring may know the previous key beside the one in force: it unwraps what either
 * wrapped, and wraps with the one in force. */

/* Tells keys apart and says nothing about them: from the key by HKDF. */
#define KEYRING_ID_SIZE 8U
void keyring_id(const Keyring *k, uint8_t ret[static KEYRING_ID_SIZE]);
/* Appends what `from` knows, sealed for whoever has the key of `to`. */
int keyring_hand_over(const Keyring *from, const Keyring *to, Buffer *ret);
/* Opens that again; the key becomes the previous one of k. -EBADMSG: sealed for another key. */
int keyring_take_over(Keyring *k, const void *sealed, size_t size, uint8_t ret_id[static KEYRING_ID_SIZE]);
/* The key of `taken`, which is freed, comes into force; the one that was becomes the previous one. */
void keyring_become(Keyring *k, Keyring *taken);
bool keyring_has_previous(const Keyring *k);
/* From now on nothing that the previous key wrapped opens. Codes that it made go on to match until this process ends. */
void keyring_forget_previous(Keyring *k);

/* All that the functions above need of a keyring, as bytes that a backup carries (sealed to the recovery key) and the restoring
 * host reads: so data keys open where the key-encryption key itself is not. keyring_import(): -EBADMSG for what keyring_export()
 * cannot have made; -ENOMEM. keyring_export(): -EBUSY while keys are being changed. */
int keyring_export(const Keyring *k, Secret **ret);
int keyring_import(const Secret *exported, Keyring **ret);
