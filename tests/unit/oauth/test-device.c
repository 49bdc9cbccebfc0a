/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The device flow's answers (RFC 8628 sections 3.2 and 3.5): what may be shown to a person, how fast is polled, and when no more. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "oauth/device.h"

#define NOW (UINT64_C(1800000000) * USEC_PER_SEC)

static int read_answer(const char *text, DeviceAnswer *ret, char **ret_reason) {
        _cleanup_(json_putp) json_object *o = NULL;

        assert_int_equal(json_parse(text, strlen(text), &json_limits_wire, &o), 0);
        return device_answer_parse(o, ret, ret_reason);
}

#define CODES "\"device_code\":\"dc\",\"user_code\":\"WDJB-MJHT\""

static void codes_are_taken(void **state) {
        _cleanup_(freep) char *reason = NULL;
        DeviceAnswer a = {};

        assert_int_equal(read_answer("{" CODES ",\"verification_uri\":\"https://x.test/device\","
                                     "\"verification_uri_complete\":\"https://x.test/"
                                     "device?user_code=WDJB-MJHT\","
                                     "\"expires_in\":1800,\"interval\":7}",
                                         &a, &reason),
                        0);
        assert_string_equal(secret_text(a.device_code), "dc");
        assert_string_equal(a.user_code, "WDJB-MJHT");
        assert_string_equal(a.verification_uri, "https://x.test/device");
        assert_string_equal(a.verification_uri_complete, "https://x.test/device?user_code=WDJB-MJHT");
        assert_int_equal(a.interval_usec, 7 * USEC_PER_SEC);
        assert_int_equal(a.life_usec, 1800 * USEC_PER_SEC);
        device_answer_done(&a);

        /* The older name, and what is not told. */
        assert_int_equal(read_answer("{" CODES ",\"verification_url\":\"https://x.test/device\"}", &a,
                                         &reason),
                        0);
        assert_string_equal(a.verification_uri, "https://x.test/device");
        assert_null(a.verification_uri_complete);
        assert_int_equal(a.interval_usec, 5 * USEC_PER_SEC);
        assert_int_equal(a.life_usec, 0);
        device_answer_done(&a);
        assert_null(reason);
}

static void what_cannot_be_shown_is_refused(void **state) {
        static const struct {
                const char *text, *reason;
        } rows[] = {
                { "{}", "no device code in the answer" },
                { "{\"error\":\"unauthorized_client\"}", "unauthorized_client" },
                { "{\"error\":\"a\\u001b[2J\"," CODES ",\"verification_uri\":\"https://x.test/\"}",
                                "a?[2J" },
                { "{\"device_code\":\"\",\"user_code\":\"A\",\"verification_uri\":\"https://x.test/\"}",
                                "no device code in the answer" },
                { "{\"device_code\":\"dc\",\"verification_uri\":\"https://x.test/\"}",
                                "no code that could be shown in the answer" },
                { "{\"device_code\":\"dc\",\"user_code\":\"\",\"verification_uri\":\"https://x.test/\"}",
                                "no code that could be shown in the answer" },
                { "{\"device_code\":\"dc\",\"user_code\":\"A\\u001b[31m\",\"verification_uri\":\"https://"
                  "x.test/\"}",
                                "no code that could be shown in the answer" },
                { "{\"device_code\":\"dc\",\"user_code\":\"A\\u202eB\",\"verification_uri\":\"https://"
                  "x.test/\"}",
                                "no code that could be shown in the answer" },
                { "{\"device_code\":\"dc\",\"user_code\":\""
                  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
                  "\"verification_uri\":\"https://x.test/\"}",
                                "no code that could be shown in the answer" },
                { "{" CODES "}", "no https address to open in the answer" },
                { "{" CODES ",\"verification_uri\":\"http://x.test/\"}",
                                "no https address to open in the answer" },
                { "{" CODES ",\"verification_uri\":\"javascript:alert(1)\"}",
                                "no https address to open in the answer" },
                { "{" CODES ",\"verification_uri\":\"https://good.test@evil.test/\"}",
                                "no https address to open in the answer" },
                { "{" CODES ",\"verification_uri\":7}", "no https address to open in the answer" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(freep) char *reason = NULL;
                DeviceAnswer a = {};

                assert_int_equal(read_answer(rows[i].text, &a, &reason), FAILED);
                assert_string_equal(reason, rows[i].reason);
                assert_null(a.device_code);
        }
}

static void optional_address_that_is_none_is_left_away(void **state) {
        _cleanup_(freep) char *reason = NULL;
        DeviceAnswer a = {};

        assert_int_equal(read_answer("{" CODES ",\"verification_uri\":\"https://x.test/\","
                                     "\"verification_uri_complete\":\"http://x.test/?c\"}",
                                         &a, &reason),
                        0);
        assert_null(a.verification_uri_complete);
        device_answer_done(&a);
}

static void senseless_numbers_are_not_told(void **state) {
        static const struct {
                const char *numbers;
                uint64_t interval, life; /* seconds */
        } rows[] = {
                { "\"interval\":0,\"expires_in\":0", 5, 0 },
                { "\"interval\":-1,\"expires_in\":-1", 5, 0 },
                { "\"interval\":\"9\",\"expires_in\":\"9\"", 5, 0 },
                { "\"interval\":9223372036854775807,\"expires_in\":9223372036854775807", 3600, 86400 },
                { "\"interval\":1,\"expires_in\":1", 1, 1 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(freep) char *reason = NULL, *text = NULL;
                DeviceAnswer a = {};

                assert_true(asprintf(&text, "{" CODES ",\"verification_uri\":\"https://x.test/\",%s}",
                                            rows[i].numbers) > 0);
                assert_int_equal(read_answer(text, &a, &reason), 0);
                assert_int_equal(a.interval_usec, rows[i].interval * USEC_PER_SEC);
                assert_int_equal(a.life_usec, rows[i].life * USEC_PER_SEC);
                device_answer_done(&a);
        }
}

/* text NULL: a body that is no JSON. */
static DeviceVerdict judge(unsigned status, const char *text, DevicePace *pace) {
        _cleanup_(json_putp) json_object *o = NULL;
        _cleanup_(freep) char *reason = NULL;
        DeviceVerdict verdict = DEVICE_BROKEN;
        TokenAnswer tokens = {};

        if (text)
                assert_int_equal(json_parse(text, strlen(text), &json_limits_wire, &o), 0);
        assert_int_equal(device_judge(status, o, NULL, NOW, pace, &verdict, &tokens, &reason), 0);
        assert_true((verdict == DEVICE_BROKEN) == (reason != NULL));
        assert_true((verdict == DEVICE_GRANTED) == (tokens.access_token != NULL));
        token_answer_done(&tokens);
        return verdict;
}

static void answers_mean_what_the_rfc_says(void **state) {
        static const struct {
                unsigned status;
                const char *text;
                DeviceVerdict verdict;
        } rows[] = {
                { 200, "{\"access_token\":\"at\",\"token_type\":\"bearer\"}", DEVICE_GRANTED },
                { 400, "{\"error\":\"authorization_pending\"}", DEVICE_WAITING },
                { 200, "{\"error\":\"authorization_pending\"}", DEVICE_WAITING }, /* GitHub */
                { 400, "{\"error\":\"slow_down\"}", DEVICE_WAITING },
                { 400, "{\"error\":\"access_denied\"}", DEVICE_REFUSED },
                { 400, "{\"error\":\"expired_token\"}", DEVICE_EXPIRED },
                { 400, "{\"error\":\"invalid_grant\"}", DEVICE_BROKEN },
                { 401, "{\"error\":\"invalid_client\"}", DEVICE_BROKEN },
                { 400, "{\"error\":\"authorization_pending\",\"access_token\":\"at\"}", DEVICE_WAITING },
                { 200, "{}", DEVICE_BROKEN },
                { 404, NULL, DEVICE_BROKEN },
                { 0, NULL, DEVICE_WAITING },
                { 500, NULL, DEVICE_WAITING },
                { 503, "{\"error\":\"temporarily_unavailable\"}", DEVICE_WAITING },
                { 429, NULL, DEVICE_WAITING },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                DevicePace pace = { .interval_usec = 5 * USEC_PER_SEC };

                assert_int_equal(judge(rows[i].status, rows[i].text, &pace), rows[i].verdict);
        }
}

static void slow_down_adds_five_seconds_for_good(void **state) {
        DevicePace pace = { .interval_usec = 5 * USEC_PER_SEC };

        assert_int_equal(judge(400, "{\"error\":\"slow_down\"}", &pace), DEVICE_WAITING);
        assert_int_equal(device_pace_wait(&pace), 10 * USEC_PER_SEC);
        assert_int_equal(judge(400, "{\"error\":\"authorization_pending\"}", &pace), DEVICE_WAITING);
        assert_int_equal(device_pace_wait(&pace), 10 * USEC_PER_SEC);
        assert_int_equal(judge(400, "{\"error\":\"slow_down\",\"interval\":3}", &pace), DEVICE_WAITING);
        assert_int_equal(device_pace_wait(&pace), 15 * USEC_PER_SEC);
        assert_int_equal(judge(200, "{\"error\":\"slow_down\",\"interval\":60}", &pace), DEVICE_WAITING);
        assert_int_equal(device_pace_wait(&pace), 60 * USEC_PER_SEC);
}

static void silence_doubles_the_wait_until_there_is_an_answer(void **state) {
        DevicePace pace = { .interval_usec = 5 * USEC_PER_SEC };

        for (unsigned i = 1; i <= 6; i++) {
                assert_int_equal(judge(i % 2 ? 0 : 502, NULL, &pace), DEVICE_WAITING);
                assert_int_equal(device_pace_wait(&pace), (5 * USEC_PER_SEC) << i);
        }
        assert_int_equal(judge(0, NULL, &pace), DEVICE_WAITING);
        assert_int_equal(device_pace_wait(&pace), (5 * USEC_PER_SEC) << 6);
        assert_int_equal(judge(400, "{\"error\":\"authorization_pending\"}", &pace), DEVICE_WAITING);
        assert_int_equal(device_pace_wait(&pace), 5 * USEC_PER_SEC);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                { "codes-are-taken", codes_are_taken },
                { "what-cannot-be-shown-is-refused", what_cannot_be_shown_is_refused },
                { "optional-address-that-is-none-is-left-away", optional_address_that_is_none_is_left_away },
                { "senseless-numbers-are-not-told", senseless_numbers_are_not_told },
                { "answers-mean-what-the-rfc-says", answers_mean_what_the_rfc_says },
                { "slow-down-adds-five-seconds-for-good", slow_down_adds_five_seconds_for_good },
                { "silence-doubles-the-wait-until-there-is-an-answer",
                                silence_doubles_the_wait_until_there_is_an_answer },
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
