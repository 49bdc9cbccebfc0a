/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which account is whose: the file behind AccountMatch=.
 *
 * Where no page of ours was seen (paste-back, device codes) nothing tells whether the person who agreed at the service is the one
 * who began here; a victim may have been talked into it. What the service says about the account is then the only evidence,
 * and it is worth something only when somebody else than the user has said beforehand which account is theirs (T33).
 * That is root, in this file, or whoever runs the directory that the mail address comes from.
 *
 * The file decides who gets tokens, so one line that is not understood makes all of it void: whatever it was meant to say
 * might have been the exception. No wildcards and no groups: a line is one account of one person.
 *
 * Invariants: pure; reads no file (source.c does, with its checks of owner and mode). */

#include <stdio.h>

#include "policy/account-match.h"
#include "util/encode.h"

#define ACCOUNT_MAX 256U

int value_account_match(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        int r;

        if (!streq(value, ACCOUNT_MATCH_MAIL)) {
                r = value_path(rule, value, field, expected);
                if (r == -EINVAL)
                        (void)snprintf(expected, EXPECTED_MAX, "mail, or an absolute path to a file");
                return r;
        }
        char *copy = strdup(value);
        if (!copy)
                return -ENOMEM;
        free(*(char **)field);
        *(char **)field = copy;
        return 0;
}

int value_account_match_by(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        if (!streq(value, "id") && !streq(value, "name")) {
                (void)snprintf(expected, EXPECTED_MAX, "id or name");
                return -EINVAL;
        }
        *(AccountMatchBy *)field = streq(value, "id") ? ACCOUNT_MATCH_BY_ID : ACCOUNT_MATCH_BY_NAME;
        return 0;
}

static bool is_blank(char c) {
        return c == ' ' || c == '\t';
}

/* Whether the word names the user. Digits are a uid: accounts with such names would be ambiguous, and useradd(8) makes none. */
static bool word_is_user(const char *word, size_t n, uid_t uid, const char *user) {
        uint64_t number = 0;
        bool is_number = n > 0 && n <= 10;

        for (size_t i = 0; i < n && is_number; i++) {
                is_number = word[i] >= '0' && word[i] <= '9';
                number = number * 10 + (uint64_t)(word[i] - '0');
        }
        if (is_number)
                return number == uid;
        return n == strlen(user) && memcmp(word, user, n) == 0;
}

static bool line_is_legal(const char *line, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
                        return false;
        return utf8_is_valid(line, n);
}

/* One line without its end. */
static AccountVerdict line_judge(
                const char *line, size_t n, uid_t uid, const char *user, const char *account) {
        size_t word = 0;

        while (n > 0 && is_blank(line[n - 1]))
                n--;
        while (n > 0 && is_blank(*line)) {
                line++;
                n--;
        }
        if (n == 0 || *line == '#')
                return ACCOUNT_NO_USER;
        if (!line_is_legal(line, n))
                return ACCOUNT_FILE_FAULTY;
        while (word < n && !is_blank(line[word]))
                word++;
        if (word == n) /* no account */
                return ACCOUNT_FILE_FAULTY;

        const char *rest = line + word;
        size_t n_rest = n - word;
        while (is_blank(*rest)) {
                rest++;
                n_rest--;
        }
        if (n_rest > ACCOUNT_MAX)
                return ACCOUNT_FILE_FAULTY;
        if (!word_is_user(line, word, uid, user))
                return ACCOUNT_NO_USER;
        return n_rest == strlen(account) && memcmp(rest, account, n_rest) == 0 ? ACCOUNT_LISTED
                                                                               : ACCOUNT_OTHER;
}

AccountVerdict account_file_judge(const char *text, size_t n, uid_t uid, const char *user,
                const char *account, unsigned *ret_line) {
        AccountVerdict verdict = ACCOUNT_NO_USER;
        unsigned number = 0;

        for (size_t at = 0; at < n;) {
                const char *end = memchr(text + at, '\n', n - at);
                size_t size = end ? (size_t)(end - text) - at : n - at;
                AccountVerdict v = line_judge(text + at, size, uid, user, account);

                number++;
                if (v == ACCOUNT_FILE_FAULTY) {
                        *ret_line = number;
                        return v;
                }
                if (v == ACCOUNT_LISTED || verdict == ACCOUNT_NO_USER)
                        verdict = v;
                at += size + 1;
        }
        return verdict;
}
