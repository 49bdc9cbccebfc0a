/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "api/manager.h"

/* Vaults of users who have left: their account is gone, locked or expired (V10, T24). */

#define REASON_GONE    "the account is gone"
#define REASON_LOCKED  "the account is locked"
#define REASON_EXPIRED "the account has expired"

/* One of the above, which its user is told as well; what an administrator wrote is for administrators. */
bool reason_is_of_account(const char *reason);

/* Locks the vault of that uid if it is active and was made for that user. 1: done; 0: there is no such vault; -errno. */
int manager_lock_account(Manager *m, uid_t uid, const char *user, const char *reason);

/* Starts the check. */
int leavers_new(Manager *m, Leavers **ret);
Leavers *leavers_free(Leavers *l);
