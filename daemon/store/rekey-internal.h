/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/rekey.h"
#include "util/fiber.h"

/* What the files of a rekeying have in common: rekey-note.c (which keys there are), rekey-seal.c (records under another key), rekey.c (the
 * order of things). Nobody else includes this. */

/* The note of the key in force. Adding one that names the keyring's; and 1: the stored one names it; 0: another; -ENOENT, -EBADMSG. */
int rekey_key_note_put(StoreBatch *b, Keyring *k);
int rekey_key_note_check(Store *s, Keyring *k);
/* The note of the former key goes. */
int rekey_note_delete(StoreBatch *b);

/* Batches that are on their way, and who waits for them. */
typedef struct RekeyPending {
        Fiber *fiber;
        unsigned n;
        int result;
} RekeyPending;
/* Takes the batch over. Nobody could write between our reading and this, so a conflict is -EIO. */
int rekey_pending_commit(Store *s, RekeyPending *p, StoreBatch *taken);
/* Waits for all of them, also when cancelled. r, when it is negative, else the first failure. */
int rekey_pending_wait(RekeyPending *p, int r);

/* One chunk of the run. */
typedef struct RekeyChunk {
        Store *store;
        Keyring *keyring;
        bool may_defer;
        bool has_flows;
        const uid_t *uids;
        size_t n_uids;
        uint64_t n_changed, n_deferred;
        uid_t failed_uid;
        RekeyPending pending;
} RekeyChunk;

/* For store_exclusive(), with a RekeyChunk: each adds the batches of what is not done yet. The vaults of the chunk; the next vault that was set
 * aside; the host's registrations. */
int rekey_vaults_now(void *userdata);
int rekey_aside_now(void *userdata);
int rekey_clients_now(void *userdata);
