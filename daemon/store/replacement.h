/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/store.h"

/* A database file that is made beside the one in use and takes its place at the next start, all or nothing. */

typedef struct StoreReplacement StoreReplacement;

/* Begins an empty one in dir, with nothing but the schema record; what an earlier attempt left is removed. Any one thread. */
int store_replacement_new(const char *dir, uint64_t map_size, StoreReplacement **ret);
/* Removes the unfinished file, unless it is in place. */
StoreReplacement *store_replacement_free(StoreReplacement *r);
DEFINE_CLEANUP(StoreReplacement *, store_replacement_free)

/* Puts a record under a key that has none (-EBADMSG otherwise). In key order the file becomes smallest. -ENOSPC: map or disk are full. */
int store_replacement_put(StoreReplacement *r, const StoreKey *key, const void *value, size_t size);
/* The same with what a batch puts; its expectations do not matter. */
int store_replacement_apply(StoreReplacement *r, const StoreBatch *batch);
/* The value that a batch puts first; borrowed. -ENOENT. */
int store_batch_peek(const StoreBatch *batch, const uint8_t **ret_value, size_t *ret_size);
/* Ends it: the chain goes on behind this one and behind least_sequence, all is on disk, and the file reads. Then it can only be put in place. */
int store_replacement_finish(StoreReplacement *r, const StoreChain *chain, uint64_t least_sequence);
/* Puts it in place of dir/vaultd.mdb, durably; the old file stays beside it as dir/vaultd.mdb.SUFFIX unless suffix is NULL. Whoever has the
 * old one open goes on with that, so the process has to end now. -EEXIST: there is a file of that name. */
int store_replacement_install(StoreReplacement *r, const char *suffix);

/* Removes what a crash in the middle left in dir. */
void store_replacement_forget(const char *dir);
