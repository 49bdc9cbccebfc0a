/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which lines of nsswitch.conf mean that somebody could not be asked. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "identity/name-services.h"

static int check(const char *text) {
        char path[] = "/tmp/vaultd-nsswitch-XXXXXX";
        int fd = mkstemp(path), r;

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        (void)safe_close(fd);
        r = name_services_check(path);
        (void)unlink(path);
        return r;
}

static void services_of_the_c_library_can_be_asked(void **state) {
        assert_int_equal(check("passwd: files\n"), 0);
        assert_int_equal(check("passwd:\t\tfiles compat\n"), 0);
        assert_int_equal(check("  passwd :files # nosuchservice\n"), 0);
        assert_int_equal(check("passwd: files [NOTFOUND=return UNAVAIL=continue] compat"), 0);
        assert_int_equal(check("passwd: files[!SUCCESS=return]compat\n"), 0);
}

static void one_that_cannot_be_loaded_cannot_be_asked(void **state) {
        assert_int_equal(check("passwd: nosuchservice\n"), -EHOSTUNREACH);
        assert_int_equal(check("passwd: files nosuchservice\n"), -EHOSTUNREACH);
        assert_int_equal(check("passwd: nosuchservice files\n"), -EHOSTUNREACH);
        assert_int_equal(check("passwd: files [NOTFOUND=continue] nosuchservice"), -EHOSTUNREACH);
        assert_int_equal(check("passwd: files[NOTFOUND=continue]nosuchservice\n"), -EHOSTUNREACH);
        assert_int_equal(check("# all of them\n\npasswd: files\nhosts: files\npasswd: nosuchservice\n"),
                        -EHOSTUNREACH);
        assert_int_equal(check("passwd: ../../../tmp/service\n"), -EHOSTUNREACH);
}

static void other_databases_and_missing_files_say_nothing(void **state) {
        assert_int_equal(check(""), 0);
        assert_int_equal(check("passwd:\n"), 0);
        assert_int_equal(check("passwd: [\n"), 0);
        assert_int_equal(check("passwd: [NOTFOUND=return\n"), 0);
        assert_int_equal(check("group: nosuchservice\npasswd_compat: nosuchservice\n#passwd: "
                               "nosuchservice\npasswd nosuchservice\n"),
                        0);
        assert_int_equal(name_services_check("/nonexistent/nsswitch.conf"), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                { "services-of-the-c-library-can-be-asked", services_of_the_c_library_can_be_asked },
                { "one-that-cannot-be-loaded-cannot-be-asked", one_that_cannot_be_loaded_cannot_be_asked },
                { "other-databases-and-missing-files-say-nothing",
                                other_databases_and_missing_files_say_nothing },
        };

        return cmocka_run_group_tests_name("name-services", tests, NULL, NULL);
}
