/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The registry of logins: what is handed out stays good while its reader works with it, and no uid fills it (T26). What a
 * login means to a caller is the scenarios' matter. Leaders are children. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "api/logins.h"

typedef struct Hall {
        sd_event *event;
        Logins *logins;
        char folder[32];
} Hall;

static void hall_open(Hall *h) {
        (void)strcpy(h->folder, "/tmp/test-logins-XXXXXX");
        assert_non_null(mkdtemp(h->folder));
        assert_true(sd_event_new(&h->event) >= 0);
        assert_int_equal(logins_new(h->event, h->folder, &h->logins), 0);
}

/* Files of logins that still are there go with the folder. */
static void hall_close(Hall *h) {
        char command[64];

        h->logins = logins_free(h->logins);
        sd_event_unref(h->event);
        (void)snprintf(command, sizeof(command), "rm -r %s", h->folder);
        assert_int_equal(system(command), 0);
}

static pid_t leader_new(void) {
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void)pause();
                _exit(0);
        }
        return pid;
}

static void leader_end(pid_t pid) {
        (void)kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int enter(Hall *h, uid_t uid, pid_t leader, const Login **ret) {
        return logins_open(h->logins,
                        &(Login){ .uid = uid,
                                        .user = (char[]){ "somebody" },
                                        .service = (char[]){ "sshd" },
                                        .leader = leader },
                        ret);
}

/* The gate asks twice for one call, and the leader may end in between. */
static void login_that_was_handed_out_outlasts_the_next_question(void **state) {
        const Login *login = NULL, *other = NULL;
        pid_t leader = leader_new();
        Hall h = {};

        hall_open(&h);
        assert_int_equal(enter(&h, 1001, leader, &login), 0);
        assert_ptr_equal(logins_next(h.logins, 1001, NULL), login);
        leader_end(leader);
        assert_null(logins_next(h.logins, 1001, NULL));
        assert_string_equal(login->user, "somebody");
        assert_string_equal(login->service, "sshd");
        /* And the loop's next turn, which would have noticed by itself, finds nothing left to do. */
        (void)sd_event_run(h.event, 0);
        leader = leader_new();
        assert_int_equal(enter(&h, 1001, leader, &other), 0);
        assert_ptr_equal(logins_next(h.logins, 1001, NULL), other);
        leader_end(leader);
        hall_close(&h);
}

static void uid_has_so_many_logins_and_no_more(void **state) {
        pid_t short_lived = leader_new();
        const Login *login = NULL;
        Hall h = {};

        hall_open(&h);
        assert_int_equal(enter(&h, 1001, short_lived, &login), 0);
        for (unsigned i = 1; i < LOGINS_PER_UID; i++)
                assert_int_equal(enter(&h, 1001, getpid(), &login), 0);
        assert_int_equal(enter(&h, 1001, getpid(), &login), -EDQUOT);
        assert_int_equal(enter(&h, 1002, getpid(), &login), 0);
        for (unsigned i = 0; i < LOGINS_PER_UID + 1; i++)
                assert_int_equal(enter(&h, 0, getpid(), &login), 0);
        /* Whoever has ended makes room, whether or not the loop has noticed. */
        leader_end(short_lived);
        assert_int_equal(enter(&h, 1001, getpid(), &login), 0);
        assert_int_equal(enter(&h, 1001, getpid(), &login), -EDQUOT);
        hall_close(&h);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(login_that_was_handed_out_outlasts_the_next_question),
                cmocka_unit_test(uid_has_so_many_logins_and_no_more),
        };

        return cmocka_run_group_tests_name("api-logins", tests, NULL, NULL);
}
