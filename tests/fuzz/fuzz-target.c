/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the request target and the page writer of vaultd-web.
 *
 * Properties: what is admitted has distinct names and values that are valid UTF-8; encoding it again and parsing
 * that gives the same; written into a page, no value leaves a byte that could begin or end markup. */

#include <stdio.h>

#include "util/encode.h"
#include "web/html.h"
#include "web/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *property) {
        if (!holds) {
                (void)fprintf(stderr, "violated: %s\n", property);
                abort();
        }
}

static void check_page(const char *value) {
        HtmlWriter w = {};

        html_put(&w, "%s", value);
        check(w.error == 0, "written");
        if (w.buffer.bytes) {
                check(!strpbrk((const char *)w.buffer.bytes, "<>\"'"), "no markup");
                check(utf8_is_valid((const char *)w.buffer.bytes, w.buffer.size), "the page is UTF-8");
        }
        html_done(&w);
}

/* Writes a target back, every byte of names and values escaped that may be. */
static void check_again(const Target *t) {
        Buffer text = {};
        Target again = {};

        check(buffer_printf(&text, "/callback/%s?", t->segment ?: "x") == 0, "memory");
        for (size_t i = 0; i < t->parameters.n; i++) {
                _cleanup_(freep) char *name = percent_encode(t->parameters.list[i].name);
                _cleanup_(freep) char *value = percent_encode(t->parameters.list[i].value);

                check(name && value && buffer_printf(&text, "%s=%s&", name, value) == 0, "memory");
        }
        /* Escaping makes it longer. */
        if (text.size <= TARGET_MAX) {
                check(target_parse((const char *)text.bytes, &again) == 0, "admitted again");
                check(again.parameters.n == t->parameters.n, "same number");
                for (size_t i = 0; i < t->parameters.n; i++)
                        check(streq(again.parameters.list[i].name, t->parameters.list[i].name) &&
                                                        streq(again.parameters.list[i].value,
                                                                        t->parameters.list[i].value),
                                        "same parameters");
                target_done(&again);
        }
        buffer_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(freep) char *text = strndup((const char *)data, size);
        _cleanup_(target_done) Target t = {};

        if (!text)
                return 0;
        check_page(text);
        if (target_parse(text, &t) != 0)
                return 0;
        for (size_t i = 0; i < t.parameters.n; i++) {
                check(utf8_is_valid(t.parameters.list[i].value, strlen(t.parameters.list[i].value)), "valid UTF-8");
                check(target_get(&t, t.parameters.list[i].name) == t.parameters.list[i].value, "distinct names");
                check_page(t.parameters.list[i].value);
        }
        check_again(&t);
        return 0;
}
