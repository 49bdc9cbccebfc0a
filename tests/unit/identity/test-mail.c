/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The mail address in a GECOS text: what only root or a directory can have put there, and nothing else. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "identity/mail.h"

typedef struct Row {
        const char *gecos;
        const char *mail; /* NULL: none */
} Row;

static void check(const Row *rows, size_t n, bool is_foreign) {
        for (size_t i = 0; i < n; i++) {
                _cleanup_(freep) char *mail = NULL;
                int r = gecos_mail(rows[i].gecos, is_foreign, &mail);

                assert_int_equal(r, rows[i].mail ? 0 : -ENOENT);
                if (rows[i].mail)
                        assert_string_equal(mail, rows[i].mail);
                else
                        assert_null(mail);
        }
}

static void local_user_cannot_name_its_own(void **state) {
        static const Row rows[] = {
                { "", NULL },
                { "Alice", NULL },
                { "alice@x.test", NULL },
                { "alice@x.test,,,", NULL },
                { "Alice,alice@x.test,alice@x.test,alice@x.test", NULL },
                { "Alice,,,,alice@x.test", "alice@x.test" },
                { ",,,,Alice.A+b@x.test", "Alice.A+b@x.test" },
                { "bob@x.test,,,,alice@x.test", "alice@x.test" },
                { "Alice,,,,umask=022,alice@x.test,pri=5", "alice@x.test" },
                { "Alice,,,,alice@x.test,bob@x.test", NULL },
                { "Alice,,,,alice@x.test,alice@x.test", NULL },
                { "Alice,,,,alice at x.test", NULL },
                { "Alice,,,,", NULL },
                { "Alice,,,,@x.test", NULL },
                { "Alice,,,,alice@", NULL },
                { "Alice,,,,a@b@c", NULL },
                { "Alice,,,,<alice@x.test>", NULL },
                { "Alice,,,,al\xc3\xad"
                  "ce@x.test",
                                NULL },
        };

        check(rows, ELEMENTSOF(rows), false);
}

static void directory_may_give_it_as_the_whole_text(void **state) {
        static const Row rows[] = {
                { "alice@x.test", "alice@x.test" },
                { "alice@x.test,", NULL },
                { "Alice alice@x.test", NULL },
                { "alice@x.test,,,,bob@x.test", "bob@x.test" },
                { "", NULL },
        };

        check(rows, ELEMENTSOF(rows), true);
}

static void case_of_ascii_letters_is_no_difference(void **state) {
        assert_true(mail_is_equal("alice@x.test", "alice@x.test"));
        assert_true(mail_is_equal("Alice@X.test", "aLICE@x.TEST"));
        assert_false(mail_is_equal("alice@x.test", "alice@x.tes"));
        assert_false(mail_is_equal("alice@x.test", "alicf@x.test"));
        assert_false(mail_is_equal("a[b@x.test", "a{b@x.test")); /* a bit apart, like letters */
        assert_false(mail_is_equal("a@b", "a`b"));
        assert_false(mail_is_equal("alice", "alice"));
        assert_false(mail_is_equal("", ""));
}

static void overlong_address_is_none(void **state) {
        char text[512] = ",,,,";

        memset(text + 4, 'a', 249);
        memcpy(text + 4 + 249, "@x.de", 6); /* 254 bytes */
        check((const Row[]){ { text, text + 4 } }, 1, false);
        memcpy(text + 4 + 249, "@x.dev", 7);
        check((const Row[]){ { text, NULL } }, 1, false);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                { "local-user-cannot-name-its-own", local_user_cannot_name_its_own },
                { "directory-may-give-it-as-the-whole-text", directory_may_give_it_as_the_whole_text },
                { "case-of-ascii-letters-is-no-difference", case_of_ascii_letters_is_no_difference },
                { "overlong-address-is-none", overlong_address_is_none },
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
