/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The file that says whose account is whose (O4, T33): what it gives, and that it gives nothing as soon as something about it is wrong. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/account-match.h"
#include "policy/source.h"
#include "support.h"
#include "util/failure.h"

static AccountVerdict judge(const char *text, const char *account, unsigned *ret_line) {
        return account_file_judge(text, strlen(text), 1001, "alice", account, ret_line);
}

static void line_gives_one_account_to_one_user(void **state) {
        static const struct {
                const char *text, *account;
                AccountVerdict verdict;
        } rows[] = {
                { "", "a", ACCOUNT_NO_USER },
                { "# alice a\n\n", "a", ACCOUNT_NO_USER },
                { "alice a\n", "a", ACCOUNT_LISTED },
                { "alice a", "a", ACCOUNT_LISTED },
                { "  alice\t a \r\n", "a", ACCOUNT_FILE_FAULTY },
                { "  alice\t a \n", "a", ACCOUNT_LISTED },
                { "alice Alice A.\n", "Alice A.", ACCOUNT_LISTED },
                { "alice a\n", "A", ACCOUNT_OTHER },
                { "alice a\n", "aa", ACCOUNT_OTHER },
                { "alice aa\n", "a", ACCOUNT_OTHER },
                { "alice b\nbob a\nalice a\n", "a", ACCOUNT_LISTED },
                { "alice a\nalice b\n", "a", ACCOUNT_LISTED },
                { "bob a\n", "a", ACCOUNT_NO_USER },
                { "alicex a\n", "a", ACCOUNT_NO_USER },
                { "alic a\n", "a", ACCOUNT_NO_USER },
                { "1001 a\n", "a", ACCOUNT_LISTED },
                { "01001 a\n", "a", ACCOUNT_LISTED },
                { "1002 a\n", "a", ACCOUNT_NO_USER },
                { "4294968297 a\n", "a", ACCOUNT_NO_USER },           /* 1001 + 2^32 */
                { "18446744073709552617 a\n", "a", ACCOUNT_NO_USER }, /* 1001 + 2^64 */
                { "* a\n", "a", ACCOUNT_NO_USER },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                unsigned line = 0;

                assert_int_equal(judge(rows[i].text, rows[i].account, &line), rows[i].verdict);
        }
}

static void faulty_line_voids_the_whole_file(void **state) {
        static const struct {
                const char *text;
                unsigned line;
        } rows[] = {
                { "alice a\nbob\n", 2 },
                { "alice a\n\n#\nbob \n", 4 },
                { "bob b\x01\nalice a\n", 1 },
                { "alice a\nbob \xff\n", 2 },
                { "alice a\nbob b\r\n", 2 },
        };
        char large[400] = "alice a\nbob ";
        unsigned line = 0;

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                assert_int_equal(judge(rows[i].text, "a", &line), ACCOUNT_FILE_FAULTY);
                assert_int_equal(line, rows[i].line);
        }
        memset(large + strlen(large), 'x', 257);
        assert_int_equal(judge(large, "a", &line), ACCOUNT_FILE_FAULTY);
        assert_int_equal(account_file_judge("alice a\nbob \0b\n", 15, 1001, "alice", "a", &line),
                        ACCOUNT_FILE_FAULTY);
}

/* Reads root/PATH; returns the fault's text, or NULL when the file is believed. */
static char *fault_of(const Tree *t, const char *path) {
        _cleanup_(freep) char *file = tree_path(t, path), *text = NULL;
        FaultList faults = {};
        char *fault = NULL;
        size_t n;
        int r;

        r = source_read_path(file, true, &faults, &text, &n);
        assert_true(r == 0 || r == FAILED);
        assert_int_equal(faults.list.n_faults, r == 0 ? 0 : 1);
        if (r == FAILED)
                fault = strdup(faults.list.faults[0].text);
        config_faults_done(&faults.list);
        return fault;
}

static void assert_refused(const Tree *t, const char *path, const char *why) {
        _cleanup_(freep) char *fault = fault_of(t, path);

        assert_non_null(fault);
        assert_non_null(strstr(fault, why));
}

static void file_that_others_may_write_is_refused(void **state) {
        _cleanup_(freep) char *file = NULL, *folder = NULL, *parent = NULL, *other = NULL;
        Tree t;

        tree_open(&t);
        tree_write(&t, "admin/in/accounts", "alice a\n");
        file = tree_path(&t, "admin/in/accounts");
        folder = tree_path(&t, "admin/in");
        parent = tree_path(&t, "admin");
        other = tree_path(&t, "admin/in/link");
        assert_null(fault_of(&t, "admin/in/accounts"));
        assert_refused(&t, "admin/in/none", "no such file");

        assert_int_equal(chmod(file, 0664), 0);
        assert_refused(&t, "admin/in/accounts", "file may be written by others");
        assert_int_equal(chmod(file, 0644), 0);
        assert_int_equal(chmod(folder, 01777), 0);
        assert_refused(&t, "admin/in/accounts", "folder may be written by others");
        assert_int_equal(chmod(folder, 0755), 0);
        assert_int_equal(chmod(parent, 0775), 0);
        assert_refused(&t, "admin/in/accounts", "folder may be written by others");
        assert_int_equal(chmod(parent, 01777), 0); /* nobody can exchange a folder of root's there */
        assert_null(fault_of(&t, "admin/in/accounts"));
        assert_int_equal(chmod(parent, 0755), 0);

        assert_int_equal(symlink("accounts", other), 0);
        assert_refused(&t, "admin/in/link", "symbolic link");
        assert_int_equal(unlink(other), 0);
        tree_write(&t, "admin/in/empty", "");
        assert_refused(&t, "admin/in/empty", "empty");
        if (geteuid() == 0) {
                assert_int_equal(chown(file, 1001, 1001), 0);
                assert_refused(&t, "admin/in/accounts", "belongs to uid 1001");
                assert_int_equal(chown(file, 0, 0), 0);
                assert_int_equal(chown(parent, 1001, 1001), 0);
                assert_refused(&t, "admin/in/accounts", "belongs to uid 1001");
                assert_int_equal(chown(parent, 0, 0), 0);
        }
        tree_close(&t);
}

static void linked_folder_on_the_way_is_refused(void **state) {
        _cleanup_(freep) char *link = NULL;
        Tree t;

        tree_open(&t);
        tree_write(&t, "admin/in/accounts", "alice a\n");
        link = tree_path(&t, "admin/way");
        assert_int_equal(symlink("in", link), 0);
        assert_refused(&t, "admin/way/accounts", "folder cannot be opened");
        assert_int_equal(unlink(link), 0);
        tree_close(&t);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                { "line-gives-one-account-to-one-user", line_gives_one_account_to_one_user },
                { "faulty-line-voids-the-whole-file", faulty_line_voids_the_whole_file },
                { "file-that-others-may-write-is-refused", file_that_others_may_write_is_refused },
                { "linked-folder-on-the-way-is-refused", linked_folder_on_the_way_is_refused },
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
