/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The log queue: a reader that stalls costs lines, which are counted, and never the caller's time. Standard error is put on a
 * pipe that nobody reads; once it is read again, what was dropped is told. */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <poll.h>

#include "util/buffer.h"
#include "util/clock.h"
#include "util/log.h"

#define LINES 20000U

typedef struct Capture {
        int stderr_fd, read_fd;
} Capture;

static void capture_begin(Capture *c) {
        int fds[2];

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        c->stderr_fd = dup(STDERR_FILENO);
        assert_true(c->stderr_fd >= 0);
        assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
        (void)close(fds[1]);
        c->read_fd = fds[0];
}

static void capture_end(Capture *c) {
        (void)dup2(c->stderr_fd, STDERR_FILENO);
        (void)close(c->stderr_fd);
        (void)close(c->read_fd);
}

/* Reads until text was seen; everything read is in *out. */
static bool capture_read_until(Capture *c, const char *text, Buffer *out) {
        uint64_t deadline = now_monotonic() + 10 * USEC_PER_SEC;

        while (!out->bytes || !strstr((const char *)out->bytes, text)) {
                struct pollfd p = { .fd = c->read_fd, .events = POLLIN };
                char bytes[65536];

                if (now_monotonic() > deadline || poll(&p, 1, 1000) < 0)
                        return false;
                if (!(p.revents & POLLIN))
                        continue;
                ssize_t n = read(c->read_fd, bytes, sizeof(bytes));
                if (n <= 0 || buffer_append(out, bytes, (size_t)n) < 0)
                        return false;
        }
        return true;
}

/* Reads until nothing comes for a second: the queue is empty then. */
static bool capture_read_until_quiet(Capture *c, Buffer *out) {
        for (;;) {
                struct pollfd p = { .fd = c->read_fd, .events = POLLIN };
                char bytes[65536];

                int r = poll(&p, 1, 1000);
                if (r <= 0)
                        return r == 0;
                ssize_t n = read(c->read_fd, bytes, sizeof(bytes));
                if (n <= 0 || buffer_append(out, bytes, (size_t)n) < 0)
                        return false;
        }
}

/* The sum of all notes about dropped lines: the thread may have found the queue full more than once. */
static unsigned count_dropped(const Buffer *out) {
        unsigned sum = 0;

        for (const char *p = (const char *)out->bytes; (p = strstr(p, " log lines were dropped")); p++) {
                const char *number = p;
                unsigned n = 0;

                while (number > (const char *)out->bytes && number[-1] >= '0' && number[-1] <= '9')
                        number--;
                assert_int_equal(sscanf(number, "%u", &n), 1);
                sum += n;
        }
        return sum;
}

static unsigned count_lines(const Buffer *out, const char *text) {
        unsigned n = 0;

        for (const char *p = (const char *)out->bytes; (p = strstr(p, text)); p++)
                n++;
        return n;
}

static void stalled_reader_costs_counted_lines_and_no_time(void **state) {
        uint64_t begin, spent;
        Buffer out = {};
        Capture c;
        bool seen;

        capture_begin(&c);
        (void)log_open(LOG_TARGET_STDERR, LOG_INFO);
        begin = now_monotonic();
        for (unsigned i = 0; i < LINES; i++)
                log_info("line %06u of a flood", i);
        spent = now_monotonic() - begin;
        seen = capture_read_until(&c, " log lines were dropped", &out) && capture_read_until_quiet(&c, &out);
        log_info("the last word");
        seen = seen && capture_read_until(&c, "the last word", &out);
        log_close();
        capture_end(&c);

        assert_true(seen);
        /* Nothing is lost uncounted. */
        assert_true(count_dropped(&out) > 0);
        assert_int_equal(count_lines(&out, " of a flood\n") + count_dropped(&out), LINES);
        assert_true(spent < 5 * USEC_PER_SEC);
        buffer_done(&out);
}

static void stalled_reader_does_not_keep_the_service_from_stopping(void **state) {
        uint64_t begin, spent;
        Buffer out = {};
        Capture c;

        capture_begin(&c);
        (void)log_open(LOG_TARGET_STDERR, LOG_INFO);
        for (unsigned i = 0; i < 4000; i++)
                log_info("line %06u of what nobody reads", i);
        begin = now_monotonic();
        log_close();
        spent = now_monotonic() - begin;
        /* The thread that was left behind ends when its lines are out. */
        bool seen = capture_read_until(&c, "line 003999 of", &out);
        (void)usleep(50000);
        capture_end(&c);
        assert_true(spent < 3 * USEC_PER_SEC);
        assert_true(seen);
        buffer_done(&out);
}

static void lines_carry_level_and_fields_and_stop_at_the_level(void **state) {
        const LogField fields[] = { { "VAULTD_UID", "1001" }, { "VAULTD_NOTHING", NULL } };
        Buffer out = {};
        Capture c;
        bool seen;

        capture_begin(&c);
        (void)log_open(LOG_TARGET_STDERR, LOG_NOTICE);
        log_info("too quiet");
        log_full(LOG_WARNING, fields, ELEMENTSOF(fields), "with %s", "fields");
        seen = capture_read_until(&c, "fields VAULTD_UID=1001\n", &out);
        log_close();
        capture_end(&c);
        assert_true(seen);
        assert_string_equal((char *)out.bytes, "<4>with fields VAULTD_UID=1001\n");
        buffer_done(&out);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lines_carry_level_and_fields_and_stop_at_the_level),
                cmocka_unit_test(stalled_reader_costs_counted_lines_and_no_time),
                cmocka_unit_test(stalled_reader_does_not_keep_the_service_from_stopping),
        };

        return cmocka_run_group_tests_name("util-log", tests, NULL, NULL);
}
