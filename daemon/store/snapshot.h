/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/store.h"

/* One committed state of the store, for whoever reads all of it and takes longer than a turn of the loop. */

typedef struct StoreSnapshot StoreSnapshot;

/* In the loop's thread: the state as of now. It must be freed before the store. -EOPNOTSUPP: a store in memory; -ENOMEM, -EIO. */
int store_snapshot_new(Store *s, StoreSnapshot **ret);
StoreSnapshot *store_snapshot_free(StoreSnapshot *s);
DEFINE_CLEANUP(StoreSnapshot *, store_snapshot_free)

/* The following in any one thread at a time. */

const StoreChain *store_snapshot_chain(const StoreSnapshot *s);
/* The number of records, those of kind RECORD_META included. */
uint64_t store_snapshot_records(const StoreSnapshot *s);
/* The next record in key order: 1; 0 when there is none left; -EIO. *ret_value is borrowed until the snapshot is freed. */
int store_snapshot_next(StoreSnapshot *s, StoreKey *ret_key, const uint8_t **ret_value, size_t *ret_size);
/* One record, wherever next() is. -ENOENT, -EIO. */
int store_snapshot_get(StoreSnapshot *s, const StoreKey *key, const uint8_t **ret_value, size_t *ret_size);
/* As long as there is a snapshot no page that it sees is used again, so each write takes new ones. Whether the file has grown so much
 * since that the snapshot has to be given up (snapshot.c has the bound). */
bool store_snapshot_is_too_dear(StoreSnapshot *s);
