/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Log lines per uid. A user who sends nonsense in a loop must neither fill the journal nor push the others' lines out
 * of the log's bounded queue. Whoever had LOG_BUDGET_LINES within LOG_BUDGET_USEC is only counted until that time is over,
 * then one line tells how many there were: what happened is never silent.
 *
 * The table is small and exact and outlives connections, so that closing and connecting again starts no new count. When
 * more uids misbehave at once than it has places, the one that began longest ago gives way, its count written.
 *
 * The timer is a descriptor: lines come from code that sets up nothing with sd-event (server.h, is_quick), and a descriptor
 * is heard of without.
 *
 * Who may call: ipc/ and audit/, in the loop's thread. */

#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

#include "ipc/log-budget.h"
#include "util/clock.h"
#include "util/log.h"

#define PLACES 64U

typedef struct Place {
        bool is_used;
        uid_t uid;
        uint64_t since_usec; /* monotonic */
        unsigned n_lines, n_more;
} Place;

struct LogBudget {
        int timer_fd;
        bool is_set;
        sd_event_source *source;
        LogBudgetTell tell;
        Place places[PLACES];
};

static void tell_usually(uid_t uid, unsigned n_more) {
        if (uid == UID_INVALID)
                log_info("uids that are nobody's login: %u more lines like these", n_more);
        else
                log_info("uid %u: %u more lines like these", (unsigned)uid, n_more);
}

/* Ends the place's while. */
static void place_settle(LogBudget *b, Place *p) {
        if (p->n_more > 0)
                b->tell(p->uid, p->n_more);
        *p = (Place){};
}

static void timer_set(LogBudget *b, uint64_t usec) {
        struct itimerspec at = { .it_value = { .tv_sec = (time_t)(usec / USEC_PER_SEC),
                                                 .tv_nsec = (long)(usec % USEC_PER_SEC * 1000) } };

        b->is_set = timerfd_settime(b->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) >= 0;
}

static int on_timer(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        LogBudget *b = userdata;
        uint64_t n_expired;

        if (read(fd, &n_expired, sizeof(n_expired)) < 0)
                return 0;
        b->is_set = false;
        uint64_t now = now_monotonic(), next = UINT64_MAX;

        for (size_t i = 0; i < PLACES; i++) {
                Place *p = &b->places[i];

                if (p->is_used && p->since_usec + LOG_BUDGET_USEC <= now)
                        place_settle(b, p);
                else if (p->n_more > 0)
                        next = MIN(next, p->since_usec + LOG_BUDGET_USEC);
        }
        if (next != UINT64_MAX)
                timer_set(b, next);
        return 0;
}

int log_budget_new(sd_event *event, LogBudget **ret) {
        _cleanup_(log_budget_freep) LogBudget *b = calloc(1, sizeof(LogBudget));
        int r;

        if (!b)
                return -ENOMEM;
        b->tell = tell_usually;
        b->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (b->timer_fd < 0)
                return -errno;
        r = sd_event_add_io(event, &b->source, b->timer_fd, EPOLLIN, on_timer, b);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(b);
        return 0;
}

LogBudget *log_budget_free(LogBudget *b) {
        if (!b)
                return NULL;
        for (size_t i = 0; i < PLACES; i++)
                place_settle(b, &b->places[i]);
        sd_event_source_disable_unref(b->source);
        (void)safe_close(b->timer_fd);
        free(b);
        return NULL;
}

/* The uid's place; a new one takes a free place or the oldest. */
static Place *log_budget_place(LogBudget *b, uid_t uid, uint64_t now) {
        Place *best = &b->places[0];

        for (size_t i = 0; i < PLACES; i++) {
                Place *p = &b->places[i];

                if (p->is_used && p->uid == uid) {
                        best = p;
                        break;
                }
                if (best->is_used && (!p->is_used || p->since_usec < best->since_usec))
                        best = p;
        }
        if (!best->is_used || best->uid != uid || best->since_usec + LOG_BUDGET_USEC <= now) {
                place_settle(b, best);
                *best = (Place){ .is_used = true, .uid = uid, .since_usec = now };
        }
        return best;
}

void log_budget_set_tell(LogBudget *b, LogBudgetTell tell) {
        b->tell = tell;
}

bool log_budget_admits(LogBudget *b, uid_t uid) {
        Place *p = log_budget_place(b, uid, now_monotonic());

        if (p->n_lines < LOG_BUDGET_LINES) {
                p->n_lines++;
                return true;
        }
        if (p->n_more++ == 0 && !b->is_set)
                timer_set(b, p->since_usec + LOG_BUDGET_USEC);
        return false;
}

void log_budget_line(LogBudget *b, int level, uid_t uid, const char *format, ...) {
        char text[256];
        va_list args;

        if (!log_budget_admits(b, uid))
                return;
        va_start(args, format);
        (void)vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        log_full(level, NULL, 0, "%s", text);
}
