/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/backup-format.h"
#include "store/keyring.h"

/* The store as a backup: one committed state, as bytes of a file that the recovery key opens. */

typedef struct Backup Backup;

/* In the loop's thread: the state as of now, for the recovery key of this store. -ENOENT: there is none; -EBADMSG: its record, or the
 * chain's, is damaged; -ENOMEM, -EIO. */
int backup_new(Store *s, Keyring *k, const char *host, Backup **ret);
/* In the loop's thread, before the store goes. */
Backup *backup_free(Backup *b);
DEFINE_CLEANUP(Backup *, backup_free)

const BackupHeader *backup_header(const Backup *b);
/* How many records it will look at. */
uint64_t backup_total(const Backup *b);

/* In any one thread: appends the next bytes, some tens of KiB. 1: there are more; 0: these were the last; -EDQUOT: the store grew too
 * much since it began (snapshot.h); -EIO, -ENOMEM. */
int backup_next(Backup *b, Buffer *ret_bytes);
/* Whether it ought to be given up: for whoever waits to hand the bytes on. */
bool backup_is_too_dear(Backup *b);
/* The records that were written, so far. */
uint64_t backup_written(const Backup *b);
