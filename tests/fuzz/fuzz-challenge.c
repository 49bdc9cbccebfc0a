/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the reader of WWW-Authenticate.
 *
 * Properties: no value is empty or longer than the text it came from, and each of its characters stands there; reading the
 * same header again changes nothing, since what was found first counts; a header in front of which something was already
 * found cannot replace it. */

#include <stdio.h>

#include "oauth/challenge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *property) {
        if (!holds) {
                (void)fprintf(stderr, "violated: %s\n", property);
                abort();
        }
}

static void check_value(const char *value, const char *text) {
        if (!value)
                return;
        check(*value, "not empty");
        check(strlen(value) <= strlen(text), "not longer than the text");
        for (const char *c = value; *c; c++)
                check(strchr(text, *c), "made of the text's characters");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(freep) char *text = strndup((const char *)data, size);
        Challenge first = {}, known = {};

        if (!text)
                return 0;
        check(challenge_parse(text, &first) == 0, "parsed");
        check_value(first.resource_metadata, text);
        check_value(first.scope, text);
        check_value(first.error, text);

        char *metadata = first.resource_metadata, *scope = first.scope, *error = first.error;
        check(challenge_parse(text, &first) == 0, "parsed again");
        check(first.resource_metadata == metadata && first.scope == scope && first.error == error,
                        "nothing changed");
        challenge_done(&first);

        known.scope = strdup("known");
        if (known.scope && challenge_parse(text, &known) == 0)
                check(streq(known.scope, "known"), "what was known stays");
        challenge_done(&known);
        return 0;
}
