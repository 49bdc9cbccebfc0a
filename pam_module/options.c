/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Options of pam_vaultd.so.
 *
 * A wrong option must not lock anybody out and must not loosen anything either: it is reported by the caller and left
 * at its default, and the other options hold. The timeout is read by hand because strtod(3) follows the locale of
 * the program that loaded us. Pure; any thread may call. */

#include "options.h"

#define TIMEOUT_MAX (60 * USEC_PER_SEC)

void options_init(Options *ret) {
        *ret = (Options){
                .socket = VAULTD_SOCKET_CONTROL,
                .timeout_usec = 1500 * USEC_PER_MSEC,
        };
}

/* Decimal seconds, such as 2, 0.25 or .5, in microseconds; finer digits are dropped. */
static int parse_timeout(const char *text, uint64_t *ret_usec) {
        uint64_t usec = 0, unit = USEC_PER_SEC;
        bool has_digit = false, has_point = false;

        for (; *text; text++) {
                if (*text == '.' && !has_point) {
                        has_point = true;
                        continue;
                }
                if (*text < '0' || *text > '9')
                        return -EINVAL;
                has_digit = true;
                if (has_point) {
                        unit /= 10;
                        usec += (uint64_t)(*text - '0') * unit;
                } else
                        usec = usec * 10 + (uint64_t)(*text - '0') * USEC_PER_SEC;
                if (usec > TIMEOUT_MAX)
                        return -EINVAL;
        }
        if (!has_digit || usec == 0)
                return -EINVAL;
        *ret_usec = usec;
        return 0;
}

int options_take(Options *options, const char *argument) {
        const char *value;

        value = startswith(argument, "socket=");
        if (value) {
                if (value[0] != '/')
                        return -EINVAL;
                options->socket = value;
                return 0;
        }
        value = startswith(argument, "timeout=");
        if (value)
                return parse_timeout(value, &options->timeout_usec);

        value = startswith(argument, "notify=");
        if (value) {
                if (!streq(value, "yes") && !streq(value, "no"))
                        return -EINVAL;
                options->is_notifying = streq(value, "yes");
                return 0;
        }

        if (streq(argument, "required"))
                options->is_required = true;
        else if (streq(argument, "quiet"))
                options->is_quiet = true;
        else if (streq(argument, "debug"))
                options->is_debug = true;
        else
                return -EINVAL;
        return 0;
}
