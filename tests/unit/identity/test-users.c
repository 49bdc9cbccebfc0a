/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Names of users at hand: what was found is there for its time and not longer, what was not found never is. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "identity/users.h"
#include "util/clock.h"
#include "util/fiber.h"

#define NOBODY_HERE 54321U

typedef struct Fixture {
        sd_event *event;
        Worker *worker;
        Users *users;
        char passwd[64]; /* stands for the file; NSS reads the real one */
        uid_t uid;
        int result;
        char *name;
        bool is_done;
} Fixture;

static void passwd_write(Fixture *f, const char *text) {
        FILE *file = fopen(f->passwd, "w");

        assert_non_null(file);
        (void)fputs(text, file);
        assert_int_equal(fclose(file), 0);
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(Fixture));

        assert_non_null(f);
        (void)snprintf(f->passwd, sizeof(f->passwd), "/tmp/vaultd-users-XXXXXX");
        int fd = mkstemp(f->passwd);
        assert_true(fd >= 0);
        (void)safe_close(fd);
        assert_int_equal(sd_event_new(&f->event), 0);
        assert_int_equal(worker_new(f->event, &f->worker), 0);
        assert_int_equal(users_new(f->worker, f->passwd, &f->users), 0);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        (void)unlink(f->passwd);
        (void)users_free(f->users);
        (void)worker_free(f->worker);
        sd_event_unref(f->event);
        free(f->name);
        free(f);
        return 0;
}

static int ask(void *userdata) {
        Fixture *f = userdata;

        return users_name(f->users, f->uid, &f->name);
}

static void asked(int result, void *userdata) {
        Fixture *f = userdata;

        f->result = result;
        f->is_done = true;
}

static int look_up(Fixture *f, uid_t uid) {
        free(TAKE_PTR(f->name));
        f->uid = uid;
        f->is_done = false;
        assert_int_equal(fiber_spawn(f->event, ask, asked, f, NULL), 0);
        while (!f->is_done)
                assert_true(sd_event_run(f->event, UINT64_MAX) >= 0);
        return f->result;
}

static void found_name_is_at_hand_for_a_minute(void **state) {
        Fixture *f = *state;
        uint64_t before = now_monotonic();

        assert_null(users_name_at_hand(f->users, 0, before));
        assert_int_equal(look_up(f, 0), 0);
        uint64_t after = now_monotonic();

        assert_string_equal(f->name, "root");
        assert_string_equal(users_name_at_hand(f->users, 0, after), "root");
        assert_string_equal(users_name_at_hand(f->users, 0, before + USERS_AT_HAND_USEC - 1), "root");
        assert_null(users_name_at_hand(f->users, 0, after + USERS_AT_HAND_USEC));
        /* What hands something out asks for less, and never gets more. */
        assert_string_equal(users_name_within(f->users, 0, before + 5 * USEC_PER_SEC - 1, 5 * USEC_PER_SEC),
                        "root");
        assert_null(users_name_within(f->users, 0, after + 5 * USEC_PER_SEC, 5 * USEC_PER_SEC));
        assert_null(users_name_within(f->users, 0, after + USERS_AT_HAND_USEC, UINT64_MAX));
        assert_int_equal(look_up(f, 0), 0);
        assert_string_equal(users_name_at_hand(f->users, 0, now_monotonic()), "root");
}

static void unknown_user_is_asked_for_every_time(void **state) {
        Fixture *f = *state;

        assert_int_equal(look_up(f, NOBODY_HERE), -ENOENT);
        assert_null(users_name_at_hand(f->users, NOBODY_HERE, now_monotonic()));
        assert_int_equal(look_up(f, NOBODY_HERE), -ENOENT);
}

static void changed_passwd_file_makes_all_names_old(void **state) {
        Fixture *f = *state;

        assert_int_equal(look_up(f, 0), 0);
        assert_string_equal(users_name_at_hand(f->users, 0, now_monotonic()), "root");
        passwd_write(f, "root:x:0:0::/:/bin/sh\n");
        assert_null(users_name_at_hand(f->users, 0, now_monotonic() + USEC_PER_MSEC));
        assert_int_equal(look_up(f, 0), 0);
        assert_string_equal(users_name_at_hand(f->users, 0, now_monotonic() + 2 * USEC_PER_MSEC), "root");
        assert_int_equal(unlink(f->passwd), 0);
        assert_null(users_name_at_hand(f->users, 0, now_monotonic() + 3 * USEC_PER_MSEC));
        /* Nothing is kept while it cannot be told whether it changes. */
        assert_int_equal(look_up(f, 0), 0);
        assert_null(users_name_at_hand(f->users, 0, now_monotonic()));
}

static void uids_that_share_a_slot_are_told_apart(void **state) {
        Fixture *f = *state;

        assert_int_equal(look_up(f, 0), 0);
        for (uid_t uid = 1; uid <= 16384; uid++)
                assert_null(users_name_at_hand(f->users, uid, now_monotonic()));
        /* Nor does a user who does not exist push one out who does. */
        for (uid_t uid = NOBODY_HERE; uid < NOBODY_HERE + 8192; uid++)
                assert_int_equal(look_up(f, uid), -ENOENT);
        assert_string_equal(users_name_at_hand(f->users, 0, now_monotonic()), "root");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(found_name_is_at_hand_for_a_minute),
                TEST(unknown_user_is_asked_for_every_time),
                TEST(changed_passwd_file_makes_all_names_old),
                TEST(uids_that_share_a_slot_are_told_apart),
        };

        return cmocka_run_group_tests_name("users", tests, NULL, NULL);
}
