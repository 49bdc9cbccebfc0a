/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Values of service profiles: how one service differs from what the RFCs say.
 *
 * They are few shapes with names, and no small language: a profile is read by people who decide whether to believe it.
 * Whatever goes into a request is held to what can stand there without quoting, and a parameter that is ours to choose
 * (the state, the verifier's digest, where the browser comes back) cannot be set from a file.
 *
 * Invariant: as in value.c, a field is written only on success. Who may call: the tables of services.c. */

#include "json/scan.h"
#include "policy/config.h"
#include "policy/service-values.h"
#include "policy/value-parts.h"
#include "util/encode.h"
#include "util/url.h"

#define WORD_MAX_SIZE   64U
#define FIELDS_MAX      4U
#define PHRASE_MAX_SIZE 200U
#define JSON_MAX_SIZE   2048U

#define ALPHANUMERIC "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define CLIENT_ID    "{client_id}"

static bool consists_of(const char *value, size_t n, const char *legal) {
        return n > 0 && n <= WORD_MAX_SIZE && strspn(value, legal) >= n;
}

int value_revocation(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        static const char *const words[] = { [REVOCATION_RFC7009] = "rfc7009",
                [REVOCATION_DELETE] = "delete",
                [REVOCATION_BEARER] = "bearer",
                [REVOCATION_NONE] = "none" };
        int i = word_index(value, words, ELEMENTSOF(words));

        if (i < 0)
                return expect(expected, "rfc7009, delete, bearer or none");
        *(RevocationWay *)field = (RevocationWay)i;
        return 0;
}

int value_client_auth(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        static const char *const words[] = { [CLIENT_AUTH_AUTO] = "auto",
                [CLIENT_AUTH_NONE] = "none",
                [CLIENT_AUTH_BASIC] = "basic",
                [CLIENT_AUTH_POST] = "post" };
        int i = word_index(value, words, ELEMENTSOF(words));

        if (i < 0)
                return expect(expected, "auto, none, basic or post");
        *(ClientAuth *)field = (ClientAuth)i;
        return 0;
}

int value_account_source(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        static const char *const words[] = { [ACCOUNT_SOURCE_AUTO] = "auto",
                [ACCOUNT_SOURCE_TOKEN] = "token",
                [ACCOUNT_SOURCE_NONE] = "none" };
        int i = word_index(value, words, ELEMENTSOF(words));

        if (i < 0)
                return expect(expected, "auto, token or none");
        *(AccountSource *)field = (AccountSource)i;
        return 0;
}

int value_token_request(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        if (!streq(value, "form") && !streq(value, "json"))
                return expect(expected, "form or json");
        *(bool *)field = streq(value, "json");
        return 0;
}

int value_scope_separator(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        if (!streq(value, "space") && !streq(value, "comma"))
                return expect(expected, "space or comma");
        *(char *)field = streq(value, "comma") ? ',' : ' ';
        return 0;
}

/* What comes back in iss and goes into resource is compared by its bytes, so a slash at the end is kept as it was written. */
static int identifier_set(const char *value, void *field, char expected[static EXPECTED_MAX]) {
        _cleanup_(http_url_done) HttpUrl url = {};
        int r;

        r = http_url_parse(value, &url);
        if (r == -ENOMEM)
                return r;
        return r >= 0 && !url.query ? text_set(field, value)
                                    : expect(expected, "an https URL without query");
}

int value_issuer(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return identifier_set(value, field, expected);
}

int value_client_metadata_url(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        _cleanup_(http_url_done) HttpUrl url = {};
        int r = http_url_parse(value, &url);

        /* A client id is an address with a path, so that a whole host cannot be one. */
        if (r == -ENOMEM)
                return r;
        if (r < 0 || streq(url.path, "/"))
                return expect(expected, "an https URL with a path");
        return identifier_set(value, field, expected);
}

int value_resource(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        if (streq(value, "none"))
                return text_set(field, "");
        return identifier_set(value, field, expected) < 0 ? expect(expected, "an https URL, or none") : 0;
}

int value_revocation_endpoint(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        const char *place = strstr(value, CLIENT_ID), *rest = place ? place + strlen(CLIENT_ID) : "";
        size_t n = place ? (size_t)(place - value) : strlen(value);
        _cleanup_(freep) char *front = strndup(value, n);
        _cleanup_(http_url_done) HttpUrl url = {};
        int r;

        if (!front)
                return -ENOMEM;
        r = http_url_parse(front, &url);
        if (r == -ENOMEM)
                return r;
        /* What is in front of the id is an address that ends in its path, so that an id is never part of a host. */
        size_t n_path = r >= 0 ? strlen(url.path) : 0;
        bool is_in_path = r >= 0 && (!place || (n >= n_path && streq(front + n - n_path, url.path)));
        if (!is_in_path || url.query || strspn(rest, ALPHANUMERIC "/-_.~") != strlen(rest))
                return expect(expected,
                                "an https URL without query, with {client_id} at most once and in its path");
        return text_set(field, value);
}

int value_parameter_name(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return consists_of(value, strlen(value), ALPHANUMERIC "_.-") &&
                                               value[strspn(value, ALPHANUMERIC "_.-")] == 0
                               ? text_set(field, value)
                               : expect(expected, "a parameter's name, characters A-Z a-z 0-9 _ . -");
}

int value_fields(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        _cleanup_(freep) char *text = calloc(1, strlen(value) + 1);
        size_t n_fields = 0, used = 0;

        if (!text)
                return -ENOMEM;
        for (const char *p = value; *p; p += strspn(p, " \t")) {
                size_t n = strcspn(p, " \t");

                if (!consists_of(p, n, ALPHANUMERIC "_.-") || ++n_fields > FIELDS_MAX)
                        return expect(expected,
                                        "at most four names of fields, characters A-Z a-z 0-9 _ - and . "
                                        "between two");
                if (n_fields > 1)
                        text[used++] = ' ';
                memcpy(text + used, p, n);
                used += n;
                p += n;
        }
        return text_set(field, text);
}

int value_json_object(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        size_t n = strlen(value);
        int r;

        r = value[0] == '{' && n <= JSON_MAX_SIZE ? json_scan(value, n, &json_limits_wire, NULL) : 1;
        if (r < 0)
                return r;
        return r == 0 ? text_set(field, value)
                      : expect(expected, "a JSON object on one line of at most 2048 bytes");
}

int value_phrase(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        _cleanup_(freep) char *clean = printable(value, PHRASE_MAX_SIZE);
        const char *star = strchr(value, '*');

        if (!clean)
                return -ENOMEM;
        return streq(clean, value) && star && star != value && !strchr(star + 1, '*')
                               ? text_set(field, value)
                               : expect(expected, "the service's words with one * in the place of what is "
                                                  "wanted, "
                                                  "not at the beginning");
}

static bool answer_is_legal(const char *word) {
        return consists_of(word, strlen(word), ALPHANUMERIC "_.-") && strlen(word) <= WORD_MAX_SIZE;
}

/* A name that is ours, an equals sign too many or something to be quoted is refused; the value is percent-encoded when it is sent. */
static bool parameter_is_legal(const char *word) {
        static const char *const ours[] = { "response_type", "response_mode", "client_id", "client_secret",
                "redirect_uri", "state", "code_challenge", "code_challenge_method", "resource", "scope",
                "nonce", "request", "request_uri", "code", "code_verifier", "grant_type" };
        size_t n = strcspn(word, "=");
        _cleanup_(freep) char *name = strndup(word, n);

        if (!name || word[n] != '=' || !word[n + 1] || strlen(word) > 256 ||
                        !consists_of(name, n, ALPHANUMERIC "_.-"))
                return false;
        for (const char *p = word; *p; p++)
                if (*p < 0x21 || *p > 0x7e)
                        return false;
        return word_index(name, ours, ELEMENTSOF(ours)) < 0;
}

int value_answer_list(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return list_parse(value, answer_is_legal, "HTTP status numbers or error codes, separated by blanks",
                        field, expected);
}

int value_parameter_list(
                const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]) {
        return list_parse(value, parameter_is_legal,
                        "name=value separated by blanks, none of the parameters that vaultd sets itself",
                        field, expected);
}
