/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Records that a caller causes at will are bounded for each uid and counted; those of what was done are all written (T26). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <fcntl.h>

#include "audit/audit.h"
#include "ipc/log-budget.h"

#define STRANGERS 60001

/* What was written meanwhile: the budget owes its counts until it is closed. */
static char text[1024 * 1024];

static void speak(void (*speaker)(void)) {
        _cleanup_(closep) int file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600),
                              saved = dup(STDERR_FILENO);
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        ssize_t n;

        assert_true(file >= 0 && saved >= 0 && sd_event_new(&event) >= 0);
        assert_int_equal(audit_open(event, STRANGERS), 0);
        (void)fflush(stderr);
        assert_true(dup2(file, STDERR_FILENO) >= 0);
        speaker();
        audit_close();
        (void)fflush(stderr);
        assert_true(dup2(saved, STDERR_FILENO) >= 0);
        n = pread(file, text, sizeof(text) - 1, 0);
        assert_true(n >= 0);
        text[n] = 0;
}

static unsigned count(const char *part) {
        unsigned n = 0;

        for (const char *p = text; (p = strstr(p, part)); p += strlen(part))
                n++;
        return n;
}

static void record(AuditKind kind, uid_t uid, const char *verdict) {
        audit_record(&(AuditEvent){ .kind = kind, .uid = uid, .user = "alice", .verdict = verdict });
}

static void flood_calls(void) {
        for (unsigned i = 0; i < 500; i++)
                record(AUDIT_CALL, 1001, i % 2 ? "refused" : "admitted");
        for (unsigned i = 0; i < 100; i++)
                record(AUDIT_CLAIM_REJECTED, 1001, "failed");
        record(AUDIT_CALL, 1002, "refused");
}

static void calls_are_bounded_per_uid_and_counted(void **state) {
        speak(flood_calls);
        assert_int_equal(count("uid 1001\n") + count("uid 1001 "), LOG_BUDGET_LINES);
        assert_int_equal(count("uid 1002"), 1);
        assert_int_equal(count("records left out, uid 1001: 580 more records"), 1);
        assert_int_equal(count("more records"), 2); /* once in the line, once in its field */
        assert_int_equal(count("VAULTD_UID=1001"), LOG_BUDGET_LINES + 1);
}

static void lines_and_records(void) {
        for (unsigned i = 0; i < 50; i++) {
                audit_line(LOG_WARNING, 1001, "no name for uid %u", 1001U);
                record(AUDIT_CALL, 1001, "refused");
        }
        audit_line(LOG_WARNING, 1002, "no name for uid %u", 1002U);
}

static void lines_come_out_of_the_same_budget(void **state) {
        speak(lines_and_records);
        assert_int_equal(count("no name for uid 1001") + count("call: "), LOG_BUDGET_LINES);
        assert_int_equal(count("no name for uid 1002"), 1);
        assert_int_equal(count("records left out, uid 1001: 80 more"), 1);
}

static void change_after_a_flood(void) {
        flood_calls();
        for (unsigned i = 0; i < 100; i++) {
                record(AUDIT_GRANT_CLAIMED, 1001, "done");
                record(AUDIT_VAULT_SEALED, 1001, "done");
        }
}

static void what_was_done_is_never_left_out(void **state) {
        speak(change_after_a_flood);
        assert_int_equal(count("grant claimed: alice"), 100);
        assert_int_equal(count("vault sealed: alice"), 100);
        /* It costs nobody's budget either. */
        assert_int_equal(count("580 more records"), 2);
}

static void crowd_of_strangers(void) {
        for (uid_t uid = STRANGERS; uid < STRANGERS + 3000; uid++)
                record(AUDIT_CALL, uid, "refused");
        record(AUDIT_CALL, STRANGERS - 1, "refused");
}

static void uids_that_are_nobodys_login_share_one_budget(void **state) {
        speak(crowd_of_strangers);
        assert_int_equal(count("call: "), LOG_BUDGET_LINES + 1);
        assert_int_equal(count("records left out, uids that are nobody's login: 2980 more"), 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(calls_are_bounded_per_uid_and_counted),
                cmocka_unit_test(lines_come_out_of_the_same_budget),
                cmocka_unit_test(what_was_done_is_never_left_out),
                cmocka_unit_test(uids_that_are_nobodys_login_share_one_budget),
        };

        return cmocka_run_group_tests_name("audit-budget", tests, NULL, NULL);
}
