/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The table of visits: what a link, a cookie and a code open, for whom, how often and how long. Time is the test's. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "api/visits.h"
#include "util/secret.h"

#define ALICE 1001U
#define BOB   1002U
#define START UINT64_C(1000000000)

static void free_text(char **text) {
        free(*text);
}

static Visits *table(void) {
        Visits *v;

        assert_int_equal(visits_new(&v), 0);
        return v;
}

/* A link without a code, and a visit through it. */
static char *invite(Visits *v, uid_t uid, uint64_t now) {
        char *ticket;

        assert_int_equal(visits_invite(v, uid, UINT32_MAX, now, &ticket, NULL), 0);
        return ticket;
}

static char *enter(Visits *v, uid_t uid, uint64_t now) {
        _cleanup_(free_text) char *ticket = invite(v, uid, now);
        unsigned tries;
        char *cookie;

        assert_int_equal(visits_enter(v, ticket, NULL, NULL, now, &cookie, &tries), 0);
        return cookie;
}

static bool is_open(Visits *v, const char *cookie, uint64_t now, uid_t uid) {
        uid_t found = UID_INVALID;

        return visits_find(v, cookie, now, &found, NULL) == 0 && found == uid;
}

static void a_link_opens_once(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *ticket = invite(v, ALICE, START), *cookie = NULL, *again = NULL;
        unsigned tries;

        assert_int_equal(visits_enter(v, ticket, NULL, NULL, START, &cookie, &tries), 0);
        assert_true(is_open(v, cookie, START, ALICE));
        assert_int_equal(visits_enter(v, ticket, NULL, NULL, START, &again, &tries), -ENOENT);
        assert_int_equal(visits_find(v, ticket, START, &(uid_t){ 0 }, NULL), -ENOENT);
        assert_int_equal(visits_enter(v, cookie, NULL, NULL, START, &again, &tries), -ENOENT);
}

static void looking_at_a_link_uses_nothing_up(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *ticket = invite(v, ALICE, START), *cookie = NULL;
        bool takes_code = true;
        uint64_t until;
        unsigned tries;
        uid_t uid;

        for (unsigned i = 0; i < 5; i++) {
                assert_int_equal(visits_look(v, ticket, START, &uid, &takes_code, &until), 0);
                assert_int_equal(uid, ALICE);
                assert_false(takes_code);
                assert_int_equal(until, START + VISIT_LINK_USEC);
        }
        assert_int_equal(visits_enter(v, ticket, NULL, NULL, START, &cookie, &tries), 0);
}

static void a_link_ends(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *ticket = invite(v, ALICE, START), *cookie = NULL;
        unsigned tries;

        assert_int_equal(visits_enter(v, ticket, NULL, NULL, START + VISIT_LINK_USEC, &cookie, &tries),
                        -ENOENT);
}

static void a_new_link_voids_the_users_old_one(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *first = invite(v, ALICE, START), *bobs = invite(v, BOB, START),
                                  *second = invite(v, ALICE, START);
        uint64_t until;
        bool takes_code;
        uid_t uid;

        assert_int_equal(visits_look(v, first, START, &uid, &takes_code, &until), -ENOENT);
        assert_int_equal(visits_look(v, second, START, &uid, &takes_code, &until), 0);
        assert_int_equal(visits_look(v, bobs, START, &uid, &takes_code, &until), 0);
        assert_int_equal(uid, BOB);
}

static void a_link_with_a_code_needs_it(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *ticket = NULL, *code = NULL, *cookie = NULL;
        char typed[16];
        unsigned tries = 0;

        assert_int_equal(visits_invite(v, ALICE, UINT32_MAX, START, &ticket, &code), 0);
        assert_int_equal(strlen(code), 9);
        assert_int_equal(visits_enter(v, ticket, NULL, NULL, START, &cookie, &tries), -EACCES);
        assert_int_equal(tries, 2);
        assert_int_equal(visits_enter(v, ticket, "", NULL, START, &cookie, &tries), -EACCES);
        assert_int_equal(tries, 1);
        /* As people type it. */
        (void)snprintf(typed, sizeof(typed), " %.4s %s ", code, code + 5);
        for (char *p = typed; *p; p++)
                *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
        assert_int_equal(visits_enter(v, ticket, typed, NULL, START, &cookie, &tries), 0);
}

static void the_third_wrong_code_voids_the_link(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *ticket = NULL, *code = NULL, *cookie = NULL;
        unsigned tries = 9;

        assert_int_equal(visits_invite(v, ALICE, UINT32_MAX, START, &ticket, &code), 0);
        for (unsigned i = 0; i < VISIT_TRIES; i++)
                assert_int_equal(visits_enter(v, ticket, "AAAA-AAAA-AAAA-AAAA-AAAA", NULL, START, &cookie,
                                                 &tries),
                                -EACCES);
        assert_int_equal(tries, 0);
        assert_int_equal(visits_enter(v, ticket, code, NULL, START, &cookie, &tries), -ENOENT);
}

static void a_visit_ends_when_nobody_uses_it(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *cookie = enter(v, ALICE, START);
        uint64_t now = START;

        for (unsigned i = 0; i < 4; i++)
                assert_true(is_open(v, cookie, now += VISIT_IDLE_USEC - 1, ALICE));
        assert_false(is_open(v, cookie, now + VISIT_IDLE_USEC, ALICE));
}

static void a_visit_ends_however_much_it_is_used(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *cookie = enter(v, ALICE, START);
        uint64_t now;

        for (now = START; now < START + VISIT_LIFE_USEC; now += VISIT_IDLE_USEC / 2)
                assert_true(is_open(v, cookie, now, ALICE));
        assert_false(is_open(v, cookie, START + VISIT_LIFE_USEC, ALICE));
}

static void a_user_has_a_few_visits_at_once(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *last = NULL, *bobs = NULL, *ticket = NULL;

        for (unsigned i = 0; i < VISITS_PER_UID; i++) {
                free(last);
                last = enter(v, ALICE, START);
        }
        assert_int_equal(visits_invite(v, ALICE, UINT32_MAX, START, &ticket, NULL), -EDQUOT);
        bobs = enter(v, BOB, START);
        assert_int_equal(visits_end_one(v, last), 1);
        assert_int_equal(visits_invite(v, ALICE, UINT32_MAX, START, &ticket, NULL), 0);
        free(ticket);
        /* What is over counts no more. */
        free(last);
        last = enter(v, ALICE, START);
        assert_int_equal(visits_invite(v, ALICE, UINT32_MAX, START + VISIT_IDLE_USEC, &ticket, NULL), 0);
}

static void a_browser_that_enters_again_leaves_its_former_visit(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *former = enter(v, ALICE, START), *ticket = invite(v, BOB, START),
                                  *cookie = NULL;
        unsigned tries;

        assert_int_equal(visits_enter(v, ticket, NULL, former, START, &cookie, &tries), 0);
        assert_false(is_open(v, former, START, ALICE));
        assert_true(is_open(v, cookie, START, BOB));
}

static void what_ends_is_the_users_alone(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *first = enter(v, ALICE, START), *second = enter(v, ALICE, START),
                                  *bobs = enter(v, BOB, START), *ticket = invite(v, ALICE, START);
        uint64_t until;
        bool takes_code;
        uid_t uid;

        assert_int_equal(visits_count(v, ALICE, START), 2);
        assert_int_equal(visits_count(v, ALICE, START + VISIT_IDLE_USEC - 1), 2);
        assert_int_equal(visits_end(v, ALICE), 2);
        assert_int_equal(visits_count(v, ALICE, START), 0);
        assert_false(is_open(v, first, START, ALICE));
        assert_false(is_open(v, second, START, ALICE));
        assert_int_equal(visits_look(v, ticket, START, &uid, &takes_code, &until), -ENOENT);
        assert_true(is_open(v, bobs, START, BOB));
        assert_int_equal(visits_end(v, ALICE), 0);
}

static void a_login_takes_its_own_visits_along(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *ticket = NULL, *cookie = NULL, *other = enter(v, ALICE, START);
        unsigned tries;

        assert_int_equal(visits_invite(v, ALICE, 7, START, &ticket, NULL), 0);
        assert_int_equal(visits_enter(v, ticket, NULL, NULL, START, &cookie, &tries), 0);
        assert_int_equal(visits_end_of_login(v, ALICE, 8), 0);
        assert_int_equal(visits_end_of_login(v, BOB, 7), 0);
        assert_true(is_open(v, cookie, START, ALICE));
        assert_int_equal(visits_end_of_login(v, ALICE, 7), 1);
        assert_false(is_open(v, cookie, START, ALICE));
        assert_true(is_open(v, other, START, ALICE));
}

static void a_form_word_is_of_one_visit(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *cookie = enter(v, ALICE, START), *other = enter(v, ALICE, START),
                                  *word = visit_form_word(cookie), *longer = NULL;

        assert_true(visit_form_is_own(cookie, word));
        assert_false(visit_form_is_own(other, word));
        assert_false(visit_form_is_own(cookie, ""));
        assert_false(visit_form_is_own(cookie, cookie));
        assert_true(asprintf(&longer, "%sA", word) > 0);
        assert_false(visit_form_is_own(cookie, longer));
        word[0] = word[0] == 'A' ? 'B' : 'A';
        assert_false(visit_form_is_own(cookie, word));
}

static char *offer(Visits *v, const char *cookie, const char *service, uint64_t now) {
        char *code;

        assert_int_equal(visits_offer(v, cookie, service, "default", "c-1", now, &code), 0);
        return code;
}

static void an_offer_is_confirmed_once_by_its_own_user(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *cookie = enter(v, ALICE, START),
                                  *code = offer(v, cookie, "notion", START);
        _cleanup_(offer_done) Offer taken = {};
        unsigned tries;

        assert_int_equal(visits_confirm(v, BOB, code, START, &taken, &tries), -ENOENT);
        assert_int_equal(visits_confirm(v, ALICE, code, START, &taken, &tries), 0);
        assert_string_equal(taken.service, "notion");
        assert_string_equal(taken.credential_id, "c-1");
        assert_int_equal(visits_confirm(v, ALICE, code, START, &(Offer){}, &tries), -ENOENT);
}

static void another_users_code_confirms_nothing(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *cookie = enter(v, ALICE, START), *bobs = enter(v, BOB, START),
                                  *code = offer(v, cookie, "notion", START),
                                  *bobs_code = offer(v, bobs, "slack", START);
        unsigned tries;

        assert_int_equal(visits_confirm(v, BOB, code, START, &(Offer){}, &tries), -EACCES);
        assert_int_equal(visits_confirm(v, ALICE, bobs_code, START, &(Offer){}, &tries), -EACCES);
        assert_int_equal(tries, 2);
}

static void the_third_wrong_code_ends_the_offer(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *cookie = enter(v, ALICE, START),
                                  *code = offer(v, cookie, "notion", START);
        unsigned tries = 9;

        for (unsigned left = VISIT_TRIES; left-- > 0;) {
                assert_int_equal(visits_confirm(v, ALICE, "AAAA-AAAA-AAAA-AAAA", START, &(Offer){}, &tries),
                                -EACCES);
                assert_int_equal(tries, left);
        }
        assert_int_equal(visits_confirm(v, ALICE, code, START, &(Offer){}, &tries), -ENOENT);
        assert_true(is_open(v, cookie, START, ALICE));
}

static void an_offer_ends(void **state) {
        _cleanup_(visits_freep) Visits *v = table();
        _cleanup_(free_text) char *cookie = enter(v, ALICE, START),
                                  *code = offer(v, cookie, "notion", START), *newer = NULL;
        unsigned tries;

        assert_true(is_open(v, cookie, START + VISIT_IDLE_USEC / 2, ALICE));
        assert_int_equal(visits_confirm(v, ALICE, code, START + VISIT_OFFER_USEC, &(Offer){}, &tries),
                        -ENOENT);
        assert_true(is_open(v, cookie, START + VISIT_OFFER_USEC, ALICE));
        free(code);
        code = offer(v, cookie, "notion", START);
        newer = offer(v, cookie, "slack", START);
        assert_int_equal(visits_confirm(v, ALICE, code, START, &(Offer){}, &tries), -EACCES);
        visits_end_offers(v, ALICE, "notion");
        assert_int_equal(visits_confirm(v, ALICE, code, START, &(Offer){}, &tries), -EACCES);
        visits_end_offers(v, ALICE, "slack");
        assert_int_equal(visits_confirm(v, ALICE, newer, START, &(Offer){}, &tries), -ENOENT);
        free(code);
        code = offer(v, cookie, "notion", START);
        assert_int_equal(visits_end_one(v, cookie), 1);
        assert_int_equal(visits_confirm(v, ALICE, code, START, &(Offer){}, &tries), -ENOENT);
        assert_int_equal(visits_offer(v, cookie, "notion", "default", "c-1", START, &newer), -ENOENT);
}

static void long_work_is_bounded_for_each_user(void **state) {
        _cleanup_(visits_freep) Visits *v = table();

        for (unsigned i = 0; i < VISIT_WORKS_MAX; i++)
                assert_int_equal(visits_work_enter(v, ALICE), 0);
        assert_int_equal(visits_work_enter(v, ALICE), -EDQUOT);
        assert_int_equal(visits_work_enter(v, BOB), 0);
        visits_work_leave(v, ALICE);
        assert_int_equal(visits_work_enter(v, ALICE), 0);
        assert_int_equal(visits_work_enter(v, ALICE), -EDQUOT);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                { "a-link-opens-once", a_link_opens_once },
                { "looking-at-a-link-uses-nothing-up", looking_at_a_link_uses_nothing_up },
                { "a-link-ends", a_link_ends },
                { "a-new-link-voids-the-users-old-one", a_new_link_voids_the_users_old_one },
                { "a-link-with-a-code-needs-it", a_link_with_a_code_needs_it },
                { "the-third-wrong-code-voids-the-link", the_third_wrong_code_voids_the_link },
                { "a-visit-ends-when-nobody-uses-it", a_visit_ends_when_nobody_uses_it },
                { "a-visit-ends-however-much-it-is-used", a_visit_ends_however_much_it_is_used },
                { "a-user-has-a-few-visits-at-once", a_user_has_a_few_visits_at_once },
                { "a-browser-that-enters-again-leaves-its-former-visit",
                                a_browser_that_enters_again_leaves_its_former_visit },
                { "what-ends-is-the-users-alone", what_ends_is_the_users_alone },
                { "a-login-takes-its-own-visits-along", a_login_takes_its_own_visits_along },
                { "a-form-word-is-of-one-visit", a_form_word_is_of_one_visit },
                { "an-offer-is-confirmed-once-by-its-own-user", an_offer_is_confirmed_once_by_its_own_user },
                { "another-users-code-confirms-nothing", another_users_code_confirms_nothing },
                { "the-third-wrong-code-ends-the-offer", the_third_wrong_code_ends_the_offer },
                { "an-offer-ends", an_offer_ends },
                { "long-work-is-bounded-for-each-user", long_work_is_bounded_for_each_user },
        };

        if (secret_global_init() < 0)
                return 1;
        return cmocka_run_group_tests_name("api-visits", tests, NULL, NULL);
}
