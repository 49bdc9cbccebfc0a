/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/records.h"

/* Changing all keys of a store while it serves: rekey.c says how. Functions that take a callback or may wait run on a fiber. */

/* At the start of a process, before anything is written: holds the keyring against the store. 1: a rekeying is half done (the
 * keyring knows both keys then; rekey_run() goes on); 0: none is. -EKEYREJECTED: the store was made with another key. -EBADMSG: the
 * note about the key is damaged. A store without such a note gets one. */
int rekey_open(Store *s, Keyring *k);

/* Since when the key-encryption key is in force; 0 when it is not known. */
uint64_t rekey_key_created(Store *s, Keyring *k);

/* What is there and whether all of it opens. */
typedef struct RekeyCheck {
        uint64_t n_vaults, n_records, n_clients,
                        n_aside; /* records: of vaults, without the vaults themselves; aside: vaults */
        uid_t *damaged;          /* uids of vaults that do not open, or have a record that does not */
        size_t n_damaged;
        uint64_t n_other_damaged; /* records of no vault's: client registrations, what was set aside */
        bool has_unknown; /* sealed records of a kind that this version does not know: it must not rekey */
} RekeyCheck;
int rekey_check(Store *s, Keyring *k, RekeyCheck *ret);
void rekey_check_done(RekeyCheck *c);

/* The uids that have a vault, those whose vault is damaged with them, ascending; with turns of the loop in between. *ret is malloc()ed. */
int rekey_list_vaults(Store *s, uid_t **ret, size_t *ret_n);

/* Takes note of the key to come, so that a process that is started with it can open what the present one sealed. Nothing else
 * changes. -EINVAL: it is no key, or the present one. -EALREADY: a rekeying is half done. -EUSERS: too many keys were
 * prepared and none was used. */
int rekey_prepare(Store *s, Keyring *k, const Secret *kek, Keyring **ret_next);

/* Adds the note alone: whoever starts with the key of `to` can open what that of `from` sealed, and rekey_open() then says that there is
 * something to go on with. For whoever has both at hand, like a restore on another machine: with it a store of another key needs
 * no more than the next start. s: where a note may be already; NULL: none is. -EUSERS as rekey_prepare(). */
int rekey_note_put(Store *s, StoreBatch *b, const Keyring *from, const Keyring *to);
/* Whether a stored note is whole and, for that of the key in force, names that of the keyring. -EBADMSG. */
int rekey_note_verify(Keyring *k, const StoreKey *key, const uint8_t *value, size_t size);

/* From here on there is no way back: the key to come is in force, and the former one is the previous one. Call it only when the next start
 * of this process would be with the new key. *next is taken when this succeeds. */
int rekey_begin(Store *s, Keyring *k, Keyring **next);

/* Gives every vault, and all else that is sealed, new keys, and forgets the previous key at the end. progress may be NULL. May be
 * called again after any failure, in this process or another. -EBADMSG: a record does not open; *ret_uid (optional) says of
 * whose vault, UID_INVALID for none; all that comes before it is done. STORE_CONFLICT is never returned. */
typedef void (*RekeyProgress)(uint64_t n_done, uint64_t n_total, void *userdata);
int rekey_run(Store *s, Keyring *k, RekeyProgress progress, void *userdata, uid_t *ret_uid);
