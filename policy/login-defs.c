/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The uid range of login users, as the distribution's own tools see it (login.defs(5)).
 *
 * Only a default: UidMin= and UidMax= in vaultd.conf decide. Lenient on purpose, since the file is not
 * ours and other programs ignore what they do not know; a malformed number is as good as none. */

#include "policy/login-defs.h"

static void login_defs_take(const char *value, size_t n, uid_t *field) {
        uint64_t number = 0;

        if (n == 0 || n > 10)
                return;
        for (size_t i = 0; i < n; i++) {
                if (value[i] < '0' || value[i] > '9')
                        return;
                number = number * 10 + (uint64_t)(value[i] - '0');
        }
        if (number > 0 && number < UID_INVALID)
                *field = (uid_t)number;
}

void login_defs_parse(const char *text, uid_t *uid_min, uid_t *uid_max) {
        while (*text) {
                const char *p = text + strspn(text, " \t");
                size_t key = strcspn(p, " \t\n");
                const char *value = p + key + strspn(p + key, " \t");
                size_t n = strcspn(value, " \t\n#");

                if (key == strlen("UID_MIN") && memcmp(p, "UID_MIN", key) == 0)
                        login_defs_take(value, n, uid_min);
                else if (key == strlen("UID_MAX") && memcmp(p, "UID_MAX", key) == 0)
                        login_defs_take(value, n, uid_max);
                text += strcspn(text, "\n");
                if (*text)
                        text++;
        }
}
