/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <shadow.h>

#include "util/macro.h"

/* What an entry of shadow(5) says about its account. */
typedef enum AccountState {
        ACCOUNT_OPEN,
        ACCOUNT_LOCKED,  /* an administrator has locked its password, by usermod -L or passwd -l */
        ACCOUNT_EXPIRED, /* its day has come (chage -E), or its password ended and was not changed for longer than allowed (chage -I) */
} AccountState;

/* today: days since the epoch. Pure. */
AccountState account_state(const struct spwd *entry, long today);
