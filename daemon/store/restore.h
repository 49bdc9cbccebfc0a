/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/backup-format.h"
#include "store/keyring.h"

/* A backup as a store of this host: reads the file's bytes, writes the database file that takes the present one's place. */

typedef struct RestoreOptions {
        const char *dir; /* of the store */
        uint64_t map_size;
        const Secret *private; /* the recovery key */
        const Secret *keys; /* keyring_export() of this host's keyring: what the data keys are wrapped under from now on */
        /* The newest state that is known of the store that was backed up, from elsewhere. A backup of exactly that state is not old. The
         * sequence is looked at unless 0. */
        bool has_head;
        StoreChain head;
        /* This store's recovery key, which it keeps; without one it takes that of the backup. */
        bool has_recovery;
        uint8_t recovery_public[RECOVERY_KEY_SIZE];
        uint64_t recovery_created_usec;
} RestoreOptions;

typedef struct RestoreResult {
        BackupHeader header;
        uint64_t n_records, n_vaults, n_credentials;
        uint64_t n_damaged;   /* did not open when the backup was made either; they are as they were */
        bool needs_reconnect; /* credentials were marked so */
} RestoreResult;

/* All in any one thread. */
typedef struct Restore Restore;
/* Copies what options point at. -ENOSPC, -ENOMEM, -EIO, -errno. */
int restore_new(const RestoreOptions *options, Restore **ret);
/* Removes what was begun, unless it is in place. */
Restore *restore_free(Restore *r);
DEFINE_CLEANUP(Restore *, restore_free)
/* The next bytes of the file. Errors as backup_reader_feed(), and -ENOSPC: map or disk are full; -EIO. */
int restore_feed(Restore *r, const uint8_t *bytes, size_t n);
/* All of the file was fed: checks, and makes the new database durable beside the present one. Its chain goes on behind least_sequence. */
int restore_finish(Restore *r, uint64_t least_sequence, RestoreResult *ret);
/* Puts it in place (replacement.h). */
int restore_install(Restore *r, const char *suffix);
/* So far. */
uint64_t restore_records(const Restore *r);
