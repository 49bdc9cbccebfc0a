/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Single values: numbers, durations, sizes, names, addresses.
 *
 * Each parser accepts one spelling of a thing and says what it expected otherwise; units are required for
 * durations ("10" is either seconds or milliseconds, depending on who wrote it). Sums of foreign digits
 * use overflow builtins. URLs go through the one URL parser (util/url.h), so that policy and the requests
 * made under it cannot disagree (V8).
 *
 * Invariant: a field is written only on success; what it held before is released then. */

#include <stdio.h>

#include "policy/value-parts.h"
#include "policy/value.h"
#include "util/encode.h"
#include "util/url.h"

#define NAME_MAX_SIZE     32U
#define TITLE_MAX_SIZE    64U
#define TOKEN_MAX_SIZE    256U
#define TOOL_MAX_SIZE     128U
#define FIELD_MAX_SIZE    64U
#define USER_MAX_SIZE     256U /* LOGIN_NAME_MAX */
#define VARIABLE_MAX_SIZE 128U

typedef struct Unit {
        const char *name;
        uint64_t factor;
} Unit;

static const Unit durations[] = {
        { "ms", USEC_PER_MSEC },
        { "s", USEC_PER_SEC },
        { "min", 60 * USEC_PER_SEC },
        { "h", 3600 * USEC_PER_SEC },
};

static const Unit sizes[] = {
        { "", 1 },
        { "K", UINT64_C(1) << 10 },
        { "M", UINT64_C(1) << 20 },
        { "G", UINT64_C(1) << 30 },
        { "T", UINT64_C(1) << 40 },
};

/* Digits, at least one; *ret_end is what follows. */
static int digits_read(const char *value, uint64_t *ret, const char **ret_end) {
        uint64_t number = 0;
        const char *p = value;

        for (; *p >= '0' && *p <= '9'; p++)
                if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
                                __builtin_add_overflow(number, (uint64_t)(*p - '0'), &number))
                        return -EINVAL;
        if (p == value)
                return -EINVAL;
        *ret = number;
        *ret_end = p;
        return 0;
}

static int quantity_read(const char *value, const Unit *units, size_t n, uint64_t *ret) {
        uint64_t number;
        const char *unit;

        if (digits_read(value, &number, &unit) < 0)
                return -EINVAL;
        for (size_t i = 0; i < n; i++)
                if (streq(unit, units[i].name))
                        return __builtin_mul_overflow(number, units[i].factor, ret) ? -EINVAL : 0;
        return -EINVAL;
}

/* The largest unit that divides the amount, for "expects … from 1s to 1h". */
static void quantity_write(uint64_t amount, const Unit *units, size_t n, char *text, size_t size) {
        size_t best = 0;

        for (size_t i = 0; i < n; i++)
                if (amount > 0 && amount % units[i].factor == 0)
                        best = i;
        (void)snprintf(text, size, "%llu%s", (unsigned long long)(amount / units[best].factor),
                        units[best].name);
}

static int quantity_parse(const KeyRule *rule, const char *value, const Unit *units, size_t n,
                const char *what, uint64_t *field, char expected[static EXPECTED_MAX]) {
        char min[32], max[32];
        uint64_t amount;

        if (quantity_read(value, units, n, &amount) >= 0 && amount >= rule->min && amount <= rule->max) {
                *field = amount;
                return 0;
        }
        quantity_write(rule->min, units, n, min, sizeof(min));
        quantity_write(rule->max, units, n, max, sizeof(max));
        (void)snprintf(expected, EXPECTED_MAX, "%s from %s to %s", what, min, max);
        return -EINVAL;
}

int value_duration(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return quantity_parse(rule, value, durations, ELEMENTSOF(durations), "a duration (ms, s, min or h)",
                        field, expected);
}

int value_size(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return quantity_parse(rule, value, sizes, ELEMENTSOF(sizes), "a size (bytes, K, M, G or T)", field,
                        expected);
}

int value_number(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        uint64_t number;
        const char *end;

        if (digits_read(value, &number, &end) >= 0 && *end == 0 && number >= rule->min &&
                        number <= rule->max && number <= UINT32_MAX) {
                *(unsigned *)field = (unsigned)number;
                return 0;
        }
        (void)snprintf(expected, EXPECTED_MAX, "a number from %llu to %llu", (unsigned long long)rule->min,
                        (unsigned long long)rule->max);
        return -EINVAL;
}

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool consists_of(const char *value, const char *legal, size_t max) {
        size_t n = strlen(value);

        return n > 0 && n <= max && strspn(value, legal) == n;
}

bool name_is_legal(const char *name) {
        return name[0] != '-' && consists_of(name, LOWER DIGITS "-", NAME_MAX_SIZE);
}

/* Names as the MCP specification of 2025-11-25 recommends them ("Tool Names"), and '/'. No wildcards in
 * this version. */
static bool tool_is_legal(const char *tool) {
        return consists_of(tool, LOWER UPPER DIGITS "_-./", TOOL_MAX_SIZE);
}

static bool token_is_legal(const char *token) {
        size_t n = strlen(token);

        for (size_t i = 0; i < n; i++)
                if (token[i] < 0x21 || token[i] > 0x7e)
                        return false;
        return n > 0 && n <= TOKEN_MAX_SIZE;
}

static bool scope_is_legal(const char *scope) {
        return token_is_legal(scope) && !strpbrk(scope, "\"\\");
}

static bool host_port_is_legal(const char *text) {
        _cleanup_(freep) char *host = NULL;
        uint16_t port;

        return http_host_port_parse(text, &host, &port) >= 0;
}

/* Whom a rule is for. What a user's name may be is the name service's business (also "alice@example.com" or "EXAMPLE\\alice"), so only
 * what could not be told apart on a line is refused. */
static bool subject_is_legal(const char *subject) {
        const char *name = startswith(subject, "user:");
        size_t n = name ? strlen(name) : 0;

        if (n == 0 || n > USER_MAX_SIZE || name[0] == '-')
                return false;
        for (const char *p = name; *p; p++)
                if ((unsigned char)*p <= 0x20 || *p == 0x7f || strchr(":*?[]%,", *p))
                        return false;
        return true;
}

int value_name(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return name_is_legal(value) ? text_set(field, value)
                                    : expect(expected, "a name of at most 32 characters a-z 0-9 -");
}

int value_title(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        _cleanup_(freep) char *clean = printable(value, TITLE_MAX_SIZE);

        if (!clean)
                return -ENOMEM;
        return streq(clean, value) ? text_set(field, value)
                                   : expect(expected, "at most 64 bytes of printable text");
}

int value_token(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return token_is_legal(value) ? text_set(field, value)
                                     : expect(expected, "one word of at most 256 visible ASCII characters");
}

int value_field_name(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return consists_of(value, LOWER UPPER DIGITS "_-.", FIELD_MAX_SIZE)
                               ? text_set(field, value)
                               : expect(expected, "a field name of at most 64 characters A-Z a-z 0-9 _ - .");
}

int value_tool(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return tool_is_legal(value) ? text_set(field, value)
                                    : expect(expected, "the name of a tool, characters A-Z a-z 0-9 _ - . /");
}

int value_date(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        static const char pattern[] = "dddd-dd-dd";
        bool is_date = strlen(value) == strlen(pattern);

        for (size_t i = 0; is_date && pattern[i]; i++)
                is_date = pattern[i] == 'd' ? value[i] >= '0' && value[i] <= '9' : value[i] == pattern[i];
        return is_date ? text_set(field, value) : expect(expected, "a date YYYY-MM-DD");
}

int value_path(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        size_t n = strlen(value);
        bool is_plain = value[0] == '/' && n > 1 && value[n - 1] != '/' && !strstr(value, "//") &&
                        !strstr(value, "/../") && !strstr(value, "/./");

        if (n >= 2 && (streq(value + n - 2, "/.") || (n >= 3 && streq(value + n - 3, "/.."))))
                is_plain = false;
        return is_plain ? text_set(field, value) : expect(expected, "an absolute path to a file");
}

int value_url(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        _cleanup_(http_url_done) HttpUrl url = {};
        int r;

        r = http_url_parse(value, &url);
        if (r == -ENOMEM)
                return r;
        return r >= 0 && !url.query ? text_set(field, value)
                                    : expect(expected, "an https URL without user, query or fragment");
}

int value_origin(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        _cleanup_(http_url_done) HttpUrl url = {};
        _cleanup_(freep) char *origin = NULL;
        int r;

        r = http_url_parse(value, &url);
        if (r == -ENOMEM)
                return r;
        if (r < 0 || url.query || !streq(url.path, "/"))
                return expect(expected, "an https origin: https://host or https://host:port");
        origin = http_url_origin(&url);
        return origin ? text_set(field, origin) : -ENOMEM;
}

int value_proxy(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        _cleanup_(freep) char *host = NULL;
        uint16_t port;

        return http_proxy_parse(value, &host, &port) >= 0
                               ? text_set(field, value)
                               : expect(expected, "http://host:port or https://host:port, without user or "
                                                  "password");
}

int value_variable(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        bool is_legal = consists_of(value, UPPER DIGITS "_", VARIABLE_MAX_SIZE) && !strchr(DIGITS, value[0]);

        return is_legal ? text_set(field, value)
                        : expect(expected, "the name of an environment variable, characters A-Z 0-9 _, not "
                                           "beginning with a digit");
}

int value_redirect_host(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return streq(value, "127.0.0.1") || streq(value, "localhost")
                               ? text_set(field, value)
                               : expect(expected, "127.0.0.1 or localhost");
}

int value_custody(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        static const char *const words[] = { [CUSTODY_AUTO] = "auto",
                [CUSTODY_HOST] = "host",
                [CUSTODY_PLATFORM] = "platform",
                [CUSTODY_MIRROR] = "mirror" };
        int i = word_index(value, words, ELEMENTSOF(words));

        if (i < 0)
                return expect(expected, "auto, host, platform or mirror");
        *(Custody *)field = (Custody)i;
        return 0;
}

int value_paste_back(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        static const char *const words[] = {
                [PASTE_BACK_YES] = "yes", [PASTE_BACK_MATCH] = "match", [PASTE_BACK_NO] = "no"
        };
        int i = word_index(value, words, ELEMENTSOF(words));

        if (i < 0)
                return expect(expected, "yes, match or no");
        *(PasteBack *)field = (PasteBack)i;
        return 0;
}

int value_yes_no(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        if (!streq(value, "yes") && !streq(value, "no"))
                return expect(expected, "yes or no");
        *(bool *)field = streq(value, "yes");
        return 0;
}

int value_auth(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        static const char *const words[] = { [SERVICE_AUTH_OAUTH] = "oauth",
                [SERVICE_AUTH_BEARER] = "bearer",
                [SERVICE_AUTH_BOTH] = "both",
                [SERVICE_AUTH_ENVIRONMENT] = "environment" };
        int i = word_index(value, words, ELEMENTSOF(words));

        if (i < 0)
                return expect(expected, "oauth, bearer, both or environment");
        *(ServiceAuth *)field = (ServiceAuth)i;
        return 0;
}

int value_elevated(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        static const char *const words[] = { [ELEVATED_AUTO] = "auto",
                [ELEVATED_REFUSE] = "refuse",
                [ELEVATED_RECORD] = "record",
                [ELEVATED_ALLOW] = "allow" };
        int i = word_index(value, words, ELEMENTSOF(words));

        if (i < 0)
                return expect(expected, "auto, refuse, record or allow");
        *(Elevated *)field = (Elevated)i;
        return 0;
}

int value_containers(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        static const char *const words[] = { [CONTAINERS_ALLOW] = "allow", [CONTAINERS_REFUSE] = "refuse" };
        int i = word_index(value, words, ELEMENTSOF(words));

        if (i < 0)
                return expect(expected, "allow or refuse");
        *(Containers *)field = (Containers)i;
        return 0;
}

size_t text_list_size(char **list) {
        size_t n = 0;

        while (list && list[n])
                n++;
        return n;
}

bool text_list_contains(char **list, const char *text) {
        for (; list && *list; list++)
                if (streq(*list, text))
                        return true;
        return false;
}

int text_list_add(char ***list, const char *text, size_t n) {
        _cleanup_(freep) char *copy = strndup(text, n);
        size_t size = text_list_size(*list);
        char **grown;

        if (!copy)
                return -ENOMEM;
        if (text_list_contains(*list, copy))
                return 0;
        if (size >= LIST_MAX)
                return -E2BIG;
        grown = reallocarray(*list, size + 2, sizeof(char *));
        if (!grown)
                return -ENOMEM;
        grown[size] = TAKE_PTR(copy);
        grown[size + 1] = NULL;
        *list = grown;
        return 0;
}

void text_list_free(char **list) {
        for (char **p = list; p && *p; p++)
                free(*p);
        free(list);
}

int value_name_list(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return list_parse(value, name_is_legal, "names of services, characters a-z 0-9 -", field, expected);
}

int value_tool_list(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return list_parse(value, tool_is_legal,
                        "exact names of tools (no wildcards in this version), characters A-Z a-z 0-9 _ - . "
                        "/",
                        field, expected);
}

int value_scope_list(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return list_parse(value, scope_is_legal, "OAuth scopes separated by blanks", field, expected);
}

int value_host_port_list(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return list_parse(value, host_port_is_legal,
                        "host:port separated by blanks (an IPv6 address in brackets, no wildcards)", field,
                        expected);
}

int value_host_list(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return list_parse(value, url_host_pattern_is_legal,
                        "host names in lower case or *.domain, without scheme or port, separated by blanks",
                        field, expected);
}

int value_subject_list(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return list_parse(value, subject_is_legal,
                        "user:NAME separated by blanks (no groups and no wildcards in this version)", field,
                        expected);
}
