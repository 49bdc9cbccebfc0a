/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The web process's own lines. Whoever can reach the port can ask for pages in a loop, and nothing here knows who that is; so
 * the lines have one budget for all, and what goes beyond it is told as a number (T26). A person connecting a service
 * asks for three pages.
 *
 * Addresses hold tickets, states and codes, so no part of one gets here; a method is one of three or "other" (T28).
 *
 * Who may call: server.c, from any thread. */

#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>

#include "util/clock.h"
#include "web/access-log.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t since_usec; /* monotonic; when the budget began */
static unsigned n_lines, n_more;

/* To a socket (the journal's) without ever waiting for its reader; MSG_DONTWAIT leaves the flags of a description alone
 * that others may share. */
static void write_line(const char *line, size_t n) {
        if (send(STDERR_FILENO, line, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == ENOTSOCK)
                (void)!write(STDERR_FILENO, line, n);
}

uint64_t access_log_settle(uint64_t now_usec) {
        uint64_t due = UINT64_MAX;
        unsigned n_told = 0;
        char line[64];

        (void)pthread_mutex_lock(&lock);
        if (n_more > 0 && now_usec < since_usec + ACCESS_LOG_USEC)
                due = since_usec + ACCESS_LOG_USEC;
        else {
                n_told = n_more;
                n_more = 0;
        }
        (void)pthread_mutex_unlock(&lock);
        if (n_told > 0) {
                int n = snprintf(line, sizeof(line), "%u more requests\n", n_told);

                write_line(line, (size_t)n);
        }
        return due;
}

/* Whether one more line may be written. */
static bool take_line(void) {
        uint64_t now = now_monotonic();
        bool is_admitted;

        (void)access_log_settle(now);
        (void)pthread_mutex_lock(&lock);
        if (now - since_usec >= ACCESS_LOG_USEC) {
                since_usec = now;
                n_lines = 0;
        }
        is_admitted = n_lines < ACCESS_LOG_LINES;
        if (is_admitted)
                n_lines++;
        else
                n_more++;
        (void)pthread_mutex_unlock(&lock);
        return is_admitted;
}

void access_log_request(const char *method, const char *name, unsigned status, uint64_t took_usec) {
        bool is_known = streq(method, "GET") || streq(method, "HEAD") || streq(method, "POST");
        char line[160];
        int n;

        if (!take_line())
                return;
        n = snprintf(line, sizeof(line), "%s %s %u %llu ms\n", is_known ? method : "other", name, status,
                        (unsigned long long)(took_usec / USEC_PER_MSEC));
        if (n > 0 && (size_t)n < sizeof(line))
                write_line(line, (size_t)n);
}
