/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes what else a browser sends to vaultd-web: the body of a form, and the Cookie header.
 *
 * Properties: names of an admitted form are distinct, names and values are valid UTF-8, and all of it parses again when it is written back; a
 * cookie that was found is one that vaultd may have minted, stands in the header behind our name, and is not found any more when the header is
 * there twice. */

#include <stdio.h>

#include "util/buffer.h"
#include "util/encode.h"
#include "web/cookie.h"
#include "web/parameters.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *property) {
        if (!holds) {
                (void)fprintf(stderr, "violated: %s\n", property);
                abort();
        }
}

static void check_form(const char *bytes, size_t n) {
        _cleanup_(parameters_done) Parameters p = {}, again = {};
        _cleanup_(buffer_done) Buffer text = {};

        if (parameters_parse(bytes, n, &p) != 0)
                return;
        for (size_t i = 0; i < p.n; i++) {
                const Parameter *one = &p.list[i];
                _cleanup_(freep) char *name = percent_encode(one->name), *value = percent_encode(one->value);

                check(utf8_is_valid(one->name, strlen(one->name)) &&
                                                utf8_is_valid(one->value, strlen(one->value)),
                                "valid UTF-8");
                check(parameters_get(&p, one->name) == one->value, "distinct names");
                check(name && value && buffer_printf(&text, "%s=%s&", name, value) == 0, "memory");
        }
        check(parameters_parse(text.bytes ? (const char *)text.bytes : "", text.size, &again) == 0,
                        "admitted again");
        check(again.n == p.n, "the same number");
        for (size_t i = 0; i < p.n; i++)
                check(streq(again.list[i].name, p.list[i].name) &&
                                                streq(again.list[i].value, p.list[i].value),
                                "the same fields");
}

static void check_cookie(const char *header) {
        _cleanup_(freep) char *value = NULL, *pair = NULL, *twice = NULL, *ignored = NULL;

        if (cookie_find(header, &value) != 0)
                return;
        check(cookie_is_legal(value), "one that vaultd may have minted");
        check(asprintf(&pair, COOKIE_NAME "=%s", value) > 0, "memory");
        check(strstr(header, pair), "it stands there");
        check(asprintf(&twice, "%s; %s", header, header) > 0, "memory");
        check(cookie_find(twice, &ignored) == COOKIE_UNCLEAR, "twice is not clear");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(freep) char *text = strndup((const char *)data, size);

        /* A copy of exactly that size, so that reading beyond it is seen. */
        _cleanup_(freep) char *exact = malloc(size > 0 ? size : 1);

        if (!text || !exact)
                return 0;
        memcpy(exact, data, size);
        check_form(exact, size);
        check_cookie(text);
        return 0;
}
