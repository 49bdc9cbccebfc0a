/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The command line's pure parts: which words are options, which command is meant, what is handed to a browser or to the
 * user's shell. Everything here is decided without a connection; the rest is tests/scenario/test_vaultctl_*.py. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/browser.h"
#include "client/command.h"
#include "client/connect.h"

static const Option options[] = {
        { "yes", OPTION_FLAG },
        { "as", OPTION_TEXT },
        { "server", OPTION_LIST },
        {},
};

/* Parses up to seven words; 0 or FAULT_SET. */
static int parse(Arguments *ret, const char *const *words) {
        _cleanup_(fault_done) Fault fault = {};
        int n = 0, r;

        while (words[n])
                n++;
        r = arguments_parse(n, (char **)words, options, false, ret, NULL, &fault);
        assert_int_equal(fault.code, r < 0 ? EXIT_CODE_USAGE : 0);
        return r;
}

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define ARGV(...)  ((char **)WORDS(__VA_ARGS__))

static void options_and_words_mix(void **state) {
        _cleanup_(arguments_done) Arguments a = {};

        assert_int_equal(parse(&a, WORDS("one", "--as=x=y", "--yes", "two", "-", "--", "--yes")), 0);
        assert_string_equal(arguments_value(&a, "as"), "x=y");
        assert_true(arguments_has(&a, "yes"));
        assert_int_equal(a.n_words, 4);
        assert_string_equal(arguments_word(&a, 2), "-");
        assert_string_equal(arguments_word(&a, 3), "--yes");
        assert_null(arguments_word(&a, 4));
        assert_false(arguments_has(&a, "server"));
}

static void lists_keep_their_order(void **state) {
        _cleanup_(arguments_done) Arguments a = {};

        assert_int_equal(parse(&a, WORDS("--server", "b", "--server=a")), 0);
        assert_int_equal(a.n_given, 2);
        assert_string_equal(a.given[0].value, "b");
        assert_string_equal(a.given[1].value, "a");
}

static void an_empty_value_is_a_value(void **state) {
        _cleanup_(arguments_done) Arguments a = {};

        assert_int_equal(parse(&a, WORDS("--as", "")), 0);
        assert_string_equal(arguments_value(&a, "as"), "");
}

static void what_is_not_clear_is_refused(void **state) {
        const char *const *faulty[] = { WORDS("--no"), WORDS("--ye"), WORDS("--yes=1"), WORDS("--as"),
                WORDS("--as", "--yes"), WORDS("--as=1", "--as=2"), WORDS("-y"), WORDS("--=x"),
                WORDS("--as", "\xff"), WORDS("\xc3\x28") };

        for (size_t i = 0; i < ELEMENTSOF(faulty); i++) {
                Arguments a = {};

                assert_int_equal(parse(&a, faulty[i]), FAULT_SET);
                assert_null(a.given); /* outputs are written only on success */
        }
}

static void names_of_two_words_are_found(void **state) {
        int n = 0;

        assert_ptr_equal(command_find(2, ARGV("session", "start"), &n), &command_session_start);
        assert_int_equal(n, 2);
        assert_ptr_equal(command_find(2, ARGV("connect", "start"), &n), &command_connect);
        assert_int_equal(n, 1);
        assert_null(command_find(1, ARGV("session"), &n));
        assert_null(command_find(1, ARGV("conn"), &n));
        assert_null(command_find(0, NULL, &n));
        assert_true(command_is_group("session"));
        assert_false(command_is_group("connect"));
}

static void only_near_names_are_suggested(void **state) {
        char far[200];

        memset(far, 'x', sizeof(far) - 1);
        far[sizeof(far) - 1] = 0;
        assert_string_equal(command_suggest(1, ARGV("stats")), "status");
        assert_string_equal(command_suggest(2, ARGV("sesion", "list")), "session list");
        assert_null(command_suggest(1, ARGV("banana")));
        assert_null(command_suggest(1, ARGV(far)));
}

static void check_browser(const char *entry, const char *const *expected) {
        _cleanup_(strv_freep) char **argv = browser_command(entry, strlen(entry), "URL");
        size_t n = 0;

        assert_non_null(argv);
        for (; expected[n]; n++)
                assert_string_equal(argv[n], expected[n]);
        assert_null(argv[n]);
}

static void browser_entries_are_split_at_blanks(void **state) {
        check_browser("firefox", WORDS("firefox", "URL"));
        check_browser("  x  --new %s  ", WORDS("x", "--new", "URL"));
        check_browser("x a%sb%s", WORDS("x", "aURLbURL"));
        check_browser("x 50%% %", WORDS("x", "50%", "%", "URL"));
        check_browser("x $(id);'a b'", WORDS("x", "$(id);'a", "b'", "URL"));
        assert_null(browser_command("", 0, "URL"));
        assert_null(browser_command("   ", 3, "URL"));
}

static void browser_entry_with_many_words_stays_in_bounds(void **state) {
        char entry[400];

        for (size_t i = 0; i < sizeof(entry); i++)
                entry[i] = i % 2 ? ' ' : 'a';
        _cleanup_(strv_freep) char **argv = browser_command(entry, sizeof(entry), "URL");
        assert_non_null(argv);
}

static void links_are_https_or_loopback(void **state) {
        static const char *const good[] = { "https://h/c/1", "https://h:8443/", "http://127.0.0.1:631/c",
                "http://localhost/", "http://[::1]:80/x?y#z", "https://h" };
        static const char *const bad[] = { "", "h", "http://h/", "ftp://h/", "javascript:x", "https://",
                "https:///x", "https://u@h/", "http://127.0.0.1.evil/", "http://127.0.0.1:80@evil/",
                "http://localhost.evil/", "https://h/ x", "https://h/\x1b", "https://h/\xc3\xa9",
                "https://h/'", "-https://h/", "HTTPS://h/" };

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                assert_true(link_is_acceptable(good[i], 100));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_false(link_is_acceptable(bad[i], 100));
        assert_false(link_is_acceptable("https://h/c/1", 12));
        assert_true(link_is_loopback("http://127.0.0.1:631/c"));
        assert_false(link_is_loopback("https://host.example/c"));
}

static void ssh_command_is_safe_in_a_shell(void **state) {
        _cleanup_(freep) char *plain = NULL, *quoted = NULL;
        char *none = NULL;

        assert_int_equal(format_ssh_command("alice", "h-1.example", 631, &plain), 0);
        assert_string_equal(plain, "ssh -L 631:127.0.0.1:631 alice@h-1.example");
        assert_int_equal(format_ssh_command("AD\\a b", "h", 65535, &quoted), 0);
        assert_string_equal(quoted, "ssh -L 65535:127.0.0.1:65535 'AD\\a b'@h");
        assert_int_equal(format_ssh_command("a", "h;x", 1, &none), -EINVAL);
        assert_int_equal(format_ssh_command("a", "-oX", 1, &none), -EINVAL);
        assert_int_equal(format_ssh_command("a", "", 1, &none), -EINVAL);
        assert_int_equal(format_ssh_command("-oX", "h", 1, &none), -EINVAL);
        assert_int_equal(format_ssh_command("a'b", "h", 1, &none), -EINVAL);
        assert_int_equal(format_ssh_command("a\nb", "h", 1, &none), -EINVAL);
        assert_int_equal(format_ssh_command("a", "h", 0, &none), -EINVAL);
        assert_int_equal(format_ssh_command("a", "h", 65536, &none), -EINVAL);
        assert_null(none);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(options_and_words_mix),
                cmocka_unit_test(lists_keep_their_order),
                cmocka_unit_test(an_empty_value_is_a_value),
                cmocka_unit_test(what_is_not_clear_is_refused),
                cmocka_unit_test(names_of_two_words_are_found),
                cmocka_unit_test(only_near_names_are_suggested),
                cmocka_unit_test(browser_entries_are_split_at_blanks),
                cmocka_unit_test(browser_entry_with_many_words_stays_in_bounds),
                cmocka_unit_test(links_are_https_or_loopback),
                cmocka_unit_test(ssh_command_is_safe_in_a_shell),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
