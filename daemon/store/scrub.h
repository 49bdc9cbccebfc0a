/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/store.h"

/* Erases what the store's file still holds of records that are gone or were changed: afterwards every byte of it that is not part of a
 * record, or of the structure that finds one, is zero. Keys that were destroyed are then in no copy of the file that is
 * made from now on. Runs on a fiber, beside reads and commits, a piece at a time.
 *
 * 0. -EAGAIN: somebody read an old state of the store for a minute and more (a backup): what it sees was left. -EBADMSG: the file has
 * a page that cannot be; nothing of it was touched. -EIO, -ENOMEM, -ECANCELED. A store in memory has nothing to erase: 0. */
int store_scrub(Store *s, sd_event *event);

/* The note that it began, which is also what its own commits consist of; for scrub.c, verify.c and tests. */
int scrub_note_put(StoreBatch *b);
int scrub_note_verify(const StoreKey *key, const uint8_t *value, size_t size);
