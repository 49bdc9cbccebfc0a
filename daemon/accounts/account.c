/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading an entry of shadow(5).
 *
 * A password field that begins with "!" is two things. In front of a hash it is a lock: usermod(8) -L and passwd(1) -l put it
 * there. Alone, or in front of "*", it says that there never was a password, as useradd(8) and cloud images leave accounts that log
 * in by keys alone; to take those for leavers would lock out whole hosts. So only a "!" before something that can be a hash counts, and
 * "*LK*", the word of other systems. Who wants to close an account without a password gives it a day of expiry, as usermod(8) advises.
 *
 * The days follow pam_unix(8): expired on the day itself.
 *
 * Who may call: anybody; it is pure. */

#include "accounts/account.h"

/* The shortest that crypt(5) knows: DES. */
#define HASH_SIZE_MIN 13U

static bool is_locked(const char *password) {
        const char *rest = password + strspn(password, "!");

        if (startswith(password, "*LK*"))
                return true;
        return rest > password && (*rest == '$' || *rest == '_' || strlen(rest) >= HASH_SIZE_MIN);
}

/* Negative fields are not set. */
static bool is_expired(const struct spwd *e, long today) {
        long age;

        if (e->sp_expire >= 0 && today >= e->sp_expire)
                return true;
        if (e->sp_lstchg <= 0 || e->sp_max < 0 || e->sp_inact < 0 ||
                        __builtin_add_overflow(e->sp_max, e->sp_inact, &age))
                return false;
        return today - e->sp_lstchg > age;
}

AccountState account_state(const struct spwd *entry, long today) {
        if (is_expired(entry, today))
                return ACCOUNT_EXPIRED;
        return entry->sp_pwdp && is_locked(entry->sp_pwdp) ? ACCOUNT_LOCKED : ACCOUNT_OPEN;
}
