/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/keyring.h"

/* Whether stored records open, of whatever kind. */

/* Whether value, as it is stored under key, is a record of ours that belongs there. 0; -EBADMSG: it was damaged, moved or not made by us;
 * -ENOTSUP: a kind or META id that nothing is known of; -ENOMEM, -EIO. */
int record_verify(Store *s, Keyring *k, const StoreKey *key, const uint8_t *value, size_t size);

/* What a person calls the record: "credential notion/default". malloc()ed; NULL when there is no memory. */
char *record_name(const StoreKey *key);

/* Names what does not open of what calls of this uid read: its own records and those that all users share, separated by commas.
 * 1 and *ret malloc()ed; 0 when all opens; -ENOMEM, -EIO. */
int store_find_damage(Store *s, Keyring *k, uid_t uid, char **ret);
