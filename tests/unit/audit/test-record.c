/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a record takes over from others: the account's name from a service, a reason in a provider's words, a control group
 * that its owner named. None of it may write a line of its own, move a cursor or fill the journal (T28). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <fcntl.h>

#include "audit/audit.h"

static char text[64 * 1024];

/* The record as it is written without a log thread. */
static void write_record(const AuditEvent *e) {
        _cleanup_(closep) int file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600),
                              saved = dup(STDERR_FILENO);
        ssize_t n;

        assert_true(file >= 0 && saved >= 0);
        (void)fflush(stderr);
        assert_true(dup2(file, STDERR_FILENO) >= 0);
        audit_record(e);
        (void)fflush(stderr);
        assert_true(dup2(saved, STDERR_FILENO) >= 0);
        n = pread(file, text, sizeof(text) - 1, 0);
        assert_true(n >= 0);
        text[n] = 0;
}

static const AuditEvent *event_with(
                const char *foreign, unsigned which, AuditOrigin *origin, AuditEvent *ret) {
        *origin = (AuditOrigin){ .name = "login",
                .login_uid = 1001,
                .cgroup = which == 2 ? foreign : "/user.slice",
                .container = "no" };
        *ret = (AuditEvent){ .kind = AUDIT_CALL,
                .uid = 1001,
                .user = "alice",
                .verdict = "refused",
                .origin = origin,
                .account = which == 0 ? foreign : NULL,
                .reason = which == 1 ? foreign : NULL };
        return ret;
}

static void foreign_text_writes_no_line_of_its_own(void **state) {
        static const char hostile[] = "x\nMESSAGE=vault unsealed: mallory\r\033[2J\xc2\x9b"
                                      "31m\xe2\x80\xae\x7f\xff";
        AuditOrigin origin;
        AuditEvent event;

        for (unsigned which = 0; which < 3; which++) {
                write_record(event_with(hostile, which, &origin, &event));
                assert_non_null(strstr(text, "MESSAGE=vault unsealed: mallory")); /* it is told, as text */
                assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
                for (const char *p = text; p[1]; p++)
                        assert_false((unsigned char)*p < 0x20 || *p == 0x7f || (unsigned char)*p == 0xff);
                assert_null(strstr(text, "\xc2\x9b"));
                assert_null(strstr(text, "\xe2\x80\xae"));
        }
}

static void foreign_text_is_bounded(void **state) {
        static char endless[20000];
        AuditOrigin origin;
        AuditEvent event;

        memset(endless, 'x', sizeof(endless) - 1);
        for (unsigned which = 0; which < 3; which++) {
                write_record(event_with(endless, which, &origin, &event));
                assert_true(strlen(text) < 2000); /* once in the line, once in its field */
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(foreign_text_writes_no_line_of_its_own),
                cmocka_unit_test(foreign_text_is_bounded),
        };

        return cmocka_run_group_tests_name("audit-record", tests, NULL, NULL);
}
