/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/store.h"
#include "util/secret.h"

/* Sealing. KEK (32 bytes, never beside the database) wraps one data key per vault, the data key seals records. AES-256-GCM, random 96-bit nonce;
 * authenticated data = {format version, kind, uid, vault id, record id}, so bytes moved between users, kinds or records do not open (V2, T8). */

typedef struct Keyring Keyring;

/* From a file of exactly 32 bytes. Refuses (-EPERM) a file that group or others may read unless it lies in $CREDENTIALS_DIRECTORY, and one inside state_dir. */
int keyring_load(const char *kek_file, const char *state_dir, Keyring **ret);
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

/* *ret gets nonce ‖ ciphertext ‖ tag appended. */
int seal(const Secret *key, const SealContext *context, const void *plain, size_t size, Buffer *ret);
/* -EBADMSG when it does not authenticate. */
int unseal(const Secret *key, const SealContext *context, const void *sealed, size_t size, Secret **ret);

/* Data keys. */
int keyring_new_data_key(Keyring *k, uid_t uid, const char *vault_id, Secret **ret_key, Buffer *ret_wrapped);
int keyring_unwrap(Keyring *k, uid_t uid, const char *vault_id, const void *wrapped, size_t size, Secret **ret_key);
/* HMAC-SHA256 under a key derived from the KEK for this purpose ("claim", "ticket", …): low-entropy codes are stored only like that. */
int keyring_mac(Keyring *k, const char *purpose, const void *bytes, size_t n, uint8_t ret[static 32]);
