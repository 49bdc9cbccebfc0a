/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the readers of whose account it is: an object, a tool's result, a tool's words.
 *
 * Properties: an id exactly on success, printable, bounded and with something in it; a joined id has as many slashes as it
 * has fields less one, so two accounts never look like one; words count only where they stand once, so putting
 * them in front a second time takes every success away. */

#include <stdio.h>

#include "oauth/oauth-internal.h"
#include "util/encode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WORDS "ID is *."

static void check(bool holds, const char *property) {
        if (!holds) {
                (void)fprintf(stderr, "violated: %s\n", property);
                abort();
        }
}

static void check_account(int r, char **id, char **name) {
        check(r <= 0 || r == FAILED, "a documented outcome");
        check((r == 0) == (*id != NULL) && (r == 0) == (*name != NULL), "an account exactly on success");
        if (r == 0) {
                _cleanup_(freep) char *clean = printable(*id, 1024);

                check(**id && (!clean || streq(clean, *id)), "an id that can be shown");
                check(strlen(*id) <= 1024 && strlen(*name) <= 1024, "bounded");
        }
        free(*id);
        free(*name);
        *id = *name = NULL;
}

static void check_object(json_object *o) {
        char *id = NULL, *name = NULL;
        size_t n_slashes = 0;
        int r;

        check_account(account_from_object(o, "id", "name", &id, &name), &id, &name);
        check_account(account_from_object(o, "data.viewer.id", "data.viewer.name", &id, &name), &id, &name);
        r = account_from_object(o, "team_id user_id", "user team", &id, &name);
        for (const char *p = id ?: ""; *p; p++)
                n_slashes += *p == '/';
        check(r != 0 || n_slashes == 1, "one slash between two fields");
        check_account(r, &id, &name);

        const ServiceProfile fields = {}, words = { .account_id_text = (char *)WORDS };
        check_account(account_from_tool(o, &fields, &id, &name), &id, &name);
        check_account(account_from_tool(o, &words, &id, &name), &id, &name);
}

static void check_words(const char *text) {
        _cleanup_(freep) char *twice = NULL;
        char *id = NULL, *name = NULL;
        int r;

        r = account_from_text(text, WORDS, "You are * (", &id, &name);
        bool is_told = r == 0;
        check_account(r, &id, &name);
        if (!is_told || asprintf(&twice, "ID is 0.\n%s", text) < 0) {
                if (!is_told)
                        return;
                twice = NULL;
                return;
        }
        r = account_from_text(twice, WORDS, NULL, &id, &name);
        check(r != 0, "words that stand there twice say nothing");
        check_account(r, &id, &name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(freep) char *text = strndup((const char *)data, size);
        _cleanup_(json_putp) json_object *o = NULL;

        if (!text)
                return 0;
        if (json_parse(text, strlen(text), &json_limits_wire, &o) == 0 &&
                        json_object_is_type(o, json_type_object))
                check_object(o);
        check_words(text);
        return 0;
}
