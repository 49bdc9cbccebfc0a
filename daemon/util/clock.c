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

/* Whether text begins like pattern, in which 0 stands for any digit and T for what may part date and time. sscanf(3) alone would take blanks and signs for digits. */
static bool has_form(const char *text, const char *pattern) {
        for (; *pattern; text++, pattern++)
                if (*pattern == '0'               ? !isdigit((unsigned char)*text)
                                : *pattern == 'T' ? *text != 'T' && *text != 't' && *text != ' '
                                                  : *text != *pattern)
                        return false;
        return true;
}

/* "Z" or "+02:00" up to the end of the text, in seconds. */
static int parse_offset(const char *text, int *ret) {
        int hours, minutes;

        if ((*text == 'Z' || *text == 'z') && text[1] == 0) {
                *ret = 0;
                return 0;
        }
        if ((*text != '+' && *text != '-') || !has_form(text + 1, "00:00") || text[6] != 0 ||
                        sscanf(text + 1, "%2d:%2d", &hours, &minutes) != 2 || hours > 23 || minutes > 59)
                return -EBADMSG;
        *ret = (hours * 60 + minutes) * 60 * (*text == '-' ? -1 : 1);
        return 0;
}

int parse_rfc3339(const char *text, uint64_t *ret_usec) {
        uint64_t fraction = 0, unit = USEC_PER_SEC / 10;
        struct tm t = {};
        int offset;

        if (strnlen(text, 65) > 64 || !has_form(text, "0000-00-00T00:00:00") ||
                        sscanf(text, "%4d-%2d-%2d%*c%2d:%2d:%2d", &t.tm_year, &t.tm_mon, &t.tm_mday,
                                        &t.tm_hour, &t.tm_min, &t.tm_sec) != 6)
                return -EBADMSG;
        text += strlen("0000-00-00T00:00:00");
        if (*text == '.') {
                if (!isdigit((unsigned char)*++text))
                        return -EBADMSG;
                for (; isdigit((unsigned char)*text); text++, unit /= 10)
                        fraction += (uint64_t)(*text - '0') * unit;
        }
        if (parse_offset(text, &offset) < 0)
                return -EBADMSG;

        const struct tm said = t;
        if (said.tm_year < 1970 || said.tm_hour > 23 || said.tm_min > 59 || said.tm_sec > 60)
                return -EBADMSG;
        t.tm_year -= 1900;
        t.tm_mon -= 1;
        int64_t seconds = (int64_t)timegm(&t) - offset;
        /* timegm(3) carries 30 February over into March: a day that does not exist. Only a leap second may carry. */
        if (said.tm_sec < 60 && (t.tm_mday != said.tm_mday || t.tm_mon != said.tm_mon - 1))
                return -EBADMSG;
        if (said.tm_mon < 1 || said.tm_mon > 12 || said.tm_mday < 1 || said.tm_mday > 31 || seconds < 0)
                return -EBADMSG;
        *ret_usec = (uint64_t)seconds * USEC_PER_SEC + fraction;
        return 0;
}
