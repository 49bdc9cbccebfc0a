/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Clocks and RFC 3339 times. Libc only. Test builds can move the wall clock (expiry is tested without waiting). */

#include <ctype.h>
#include <stdio.h>
#include <time.h>

#include "util/clock.h"

static uint64_t now_of(clockid_t id) {
        struct timespec t;

        if (clock_gettime(id, &t) < 0)
                abort();
        return (uint64_t)t.tv_sec * USEC_PER_SEC + (uint64_t)t.tv_nsec / 1000;
}

uint64_t now_realtime(void) {
        uint64_t now = now_of(CLOCK_REALTIME);
#if ENABLE_TEST_HOOKS
        const char *offset = getenv("VAULTD_TEST_CLOCK_OFFSET");
        if (offset)
                now += (uint64_t)(strtoll(offset, NULL, 10) * (int64_t)USEC_PER_SEC);
#endif
        return now;
}

uint64_t now_monotonic(void) {
        return now_of(CLOCK_MONOTONIC);
}

void format_rfc3339(uint64_t realtime_usec, char ret[static 21]) {
        time_t seconds = (time_t)(realtime_usec / USEC_PER_SEC);
        struct tm t;

        if (!gmtime_r(&seconds, &t) || strftime(ret, 21, "%Y-%m-%dT%H:%M:%SZ", &t) != 20)
                memcpy(ret, "0000-00-00T00:00:00Z", 21);
}

int parse_rfc3339(const char *text, uint64_t *ret_usec) {
        int year, month, day, hour, minute, second, n = 0, offset = 0;
        uint64_t fraction = 0, unit = USEC_PER_SEC / 10;

        if (strlen(text) > 64 || sscanf(text, "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute, &second, &n) != 6 || n == 0)
                return -EBADMSG;
        text += n;
        if (*text == '.') {
                if (!isdigit((unsigned char)*++text))
                        return -EBADMSG;
                for (; isdigit((unsigned char)*text); text++, unit /= 10)
                        fraction += (uint64_t)(*text - '0') * unit;
        }
        if (*text == '+' || *text == '-') {
                int hours, minutes;

                if (sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &n) != 2 || text[1 + n] != 0 || hours > 23 || minutes > 59)
                        return -EBADMSG;
                offset = (hours * 60 + minutes) * 60 * (*text == '-' ? -1 : 1);
        } else if ((*text != 'Z' && *text != 'z') || text[1] != 0)
                return -EBADMSG;
        if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || hour < 0 || minute > 59 || minute < 0 || second > 60 || second < 0)
                return -EBADMSG;

        struct tm t = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour, .tm_min = minute, .tm_sec = second };
        int64_t seconds = (int64_t)timegm(&t) - offset;
        if (seconds < 0)
                return -EBADMSG;
        *ret_usec = (uint64_t)seconds * USEC_PER_SEC + fraction;
        return 0;
}
