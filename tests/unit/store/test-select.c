/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which credential acts (V7, T19): the whole decision as a table. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/credential-select.h"

#define HERE  "https://mcp.example/mcp"
#define THERE "https://mcp.elsewhere/mcp"

/* One letter for a level and a state, then the label, "@" for another address, "!" for another service: "U:default". */
typedef struct Row {
        const char *candidates[4];
        const char *label;
        bool is_service_account;
        CredentialChoice choice;
        size_t index;
        const char *labels;
} Row;

/* u g a p: a level, active; the same in upper case: needs a new connect; x: the user's, being disconnected. */
static void candidate_read(const char *text, Credential *c) {
        static const char levels[] = "uapg";
        char letter = text[0];
        bool is_upper = letter >= 'A' && letter <= 'Z';
        const char *level = strchr(levels, is_upper ? letter - 'A' + 'a' : letter);

        *c = (Credential){
                .service = (char *)(strchr(text, '!') ? "github" : "notion"),
                .label = (char *)text + 2,
                .upstream = (char *)(text[1] == '@' ? THERE : HERE),
                .level = letter == 'x' ? CREDENTIAL_USER : (CredentialLevel)(level - levels),
                .state = letter == 'x' ? CREDENTIAL_DISCONNECTING
                         : is_upper    ? CREDENTIAL_NEEDS_RECONNECT
                                       : CREDENTIAL_ACTIVE,
        };
}

static const Row rows[] = {
        { {}, NULL, false, CREDENTIAL_NONE, 0, "" },
        { { "u:default" }, NULL, false, CREDENTIAL_CHOSEN, 0, "default" },
        { { "u:default" }, "default", false, CREDENTIAL_CHOSEN, 0, "default" },
        { { "u:default" }, "work", false, CREDENTIAL_NONE, 0, "" },
        { { "u:default" }, "defaul", false, CREDENTIAL_NONE, 0, "" },
        /* equal rank is said, not chosen, whatever the order */
        { { "u:default", "u:work" }, NULL, false, CREDENTIAL_SEVERAL, 0, "default, work" },
        { { "u:work", "u:default" }, NULL, false, CREDENTIAL_SEVERAL, 0, "work, default" },
        { { "u:default", "u:work" }, "work", false, CREDENTIAL_CHOSEN, 1, "work" },
        { { "u:a", "u:b", "u:c" }, "c", false, CREDENTIAL_CHOSEN, 2, "c" },
        /* one that needs a new connect keeps its place */
        { { "U:default" }, NULL, false, CREDENTIAL_UNUSABLE, 0, "default" },
        { { "U:default", "u:work" }, NULL, false, CREDENTIAL_SEVERAL, 0, "default, work" },
        { { "U:default", "u:work" }, "default", false, CREDENTIAL_UNUSABLE, 0, "default" },
        { { "U:default", "u:work" }, "work", false, CREDENTIAL_CHOSEN, 1, "work" },
        { { "U:default", "g:default" }, NULL, true, CREDENTIAL_UNUSABLE, 0, "default" },
        /* one that is being disconnected has none */
        { { "x:default" }, NULL, false, CREDENTIAL_NONE, 0, "" },
        { { "x:default", "u:work" }, NULL, false, CREDENTIAL_CHOSEN, 1, "work" },
        /* wider ones never make up for a person's missing credential */
        { { "g:default" }, NULL, false, CREDENTIAL_NONE, 0, "" },
        { { "g:default" }, "default", false, CREDENTIAL_NONE, 0, "" },
        { { "p:default", "a:default" }, "default", false, CREDENTIAL_NONE, 0, "" },
        { { "x:default", "g:default" }, NULL, false, CREDENTIAL_NONE, 0, "" },
        { { "u:default", "g:default" }, NULL, false, CREDENTIAL_CHOSEN, 0, "default" },
        /* where a service account is named the most specific wins: user, agent, project, global */
        { { "g:bot" }, "bot", true, CREDENTIAL_CHOSEN, 0, "bot" },
        { { "g:bot", "p:bot" }, "bot", true, CREDENTIAL_CHOSEN, 1, "bot" },
        { { "g:bot", "p:bot", "a:bot" }, "bot", true, CREDENTIAL_CHOSEN, 2, "bot" },
        { { "g:bot", "p:bot", "a:bot", "u:bot" }, "bot", true, CREDENTIAL_CHOSEN, 3, "bot" },
        { { "g:one", "g:two" }, NULL, true, CREDENTIAL_SEVERAL, 0, "one, two" },
        { { "g:one", "g:two", "p:three" }, NULL, true, CREDENTIAL_CHOSEN, 2, "three" },
        { { "P:bot", "g:bot" }, "bot", true, CREDENTIAL_UNUSABLE, 0, "bot" },
        { { "a:bot", "a:bat", "u:own" }, "bat", true, CREDENTIAL_CHOSEN, 1, "bat" },
        /* what was connected to another address, or is another service's, does not count */
        { { "u@default" }, NULL, false, CREDENTIAL_NONE, 0, "" },
        { { "u@default", "u:work" }, NULL, false, CREDENTIAL_CHOSEN, 1, "work" },
        { { "u:default!" }, NULL, false, CREDENTIAL_NONE, 0, "" },
        { { "u:default", "u:other!" }, NULL, false, CREDENTIAL_CHOSEN, 0, "default" },
};

static void most_specific_wins_and_equal_rank_is_refused(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                CredentialWish wish = { .service = "notion",
                        .label = rows[i].label,
                        .upstream = HERE,
                        .is_service_account = rows[i].is_service_account };
                Credential credentials[4], *list[4];
                size_t n = 0, index = 99;

                while (n < 4 && rows[i].candidates[n]) {
                        candidate_read(rows[i].candidates[n], &credentials[n]);
                        list[n] = &credentials[n];
                        n++;
                }
                CredentialChoice choice = credential_select(list, n, &wish, &index);
                bool has_index = choice == CREDENTIAL_CHOSEN || choice == CREDENTIAL_UNUSABLE;
                _cleanup_(freep) char *labels = credential_select_labels(list, n, &wish);

                if (choice != rows[i].choice || index != (has_index ? rows[i].index : 99) ||
                                !streq(labels, rows[i].labels))
                        fail_msg("row %zu: choice %d, index %zu, labels '%s'", i, (int)choice, index,
                                        labels);
        }
}

static void without_an_address_every_address_counts(void **state) {
        Credential a, *list[] = { &a };
        size_t index = 99;

        candidate_read("u@default", &a);
        assert_int_equal(credential_select(list, 1, &(CredentialWish){ .service = "notion" }, &index),
                        CREDENTIAL_CHOSEN);
        assert_int_equal(index, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                { "most-specific-wins-and-equal-rank-is-refused",
                                most_specific_wins_and_equal_rank_is_refused },
                { "without-an-address-every-address-counts", without_an_address_every_address_counts },
        };

        return cmocka_run_group_tests_name("credential-select", tests, NULL, NULL);
}
