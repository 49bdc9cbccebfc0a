/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading what a device authorization endpoint and a polled token endpoint say (RFC 8628 sections 3.2 and 3.5).
 *
 * The address and the code are shown to a person, who acts on them: the address must be https by the one URL parser, the code must be
 * readable as it stands. "verification_url" is what some servers called it before the RFC had a number. What is optional and not
 * usable is left away.
 *
 * Pace: slow_down adds five seconds for good, and a server that names the interval with it is believed when it asks for more. A poll
 * without an answer doubles the wait until there is one again. An error that the RFC does not know ends the polling: to go on
 * would be to hammer a server that has said no.
 *
 * Invariants: pure; outputs are written only on success. Who may call: device.c, tests. */

#include "oauth/device.h"
#include "util/encode.h"
#include "util/url.h"

#define INTERVAL_DEFAULT_USEC (5 * USEC_PER_SEC)
#define INTERVAL_MAX_SECONDS  3600
#define SLOW_DOWN_USEC        (5 * USEC_PER_SEC)
#define LIFE_MAX_SECONDS      (24 * 3600)
#define DOUBLINGS_MAX         6U
#define USER_CODE_MAX         64U
#define DEVICE_CODE_MAX       4096U

void device_answer_done(DeviceAnswer *a) {
        a->device_code = secret_free(a->device_code);
        free(a->user_code);
        free(a->verification_uri);
        free(a->verification_uri_complete);
        *a = (DeviceAnswer){};
}

/* Seconds as a number from 1 to max; 0: not told, or senseless. */
static uint64_t seconds(json_object *object, const char *name, int64_t max) {
        int64_t n = 0;

        if (json_get_int64(object, name, &n) < 0 || n < 1)
                return 0;
        return (uint64_t)MIN(n, max) * USEC_PER_SEC;
}

static bool address_is_usable(const char *text) {
        _cleanup_(http_url_done) HttpUrl url = {};

        return text && http_url_parse(text, &url) >= 0;
}

static bool code_is_readable(const char *text) {
        _cleanup_(freep) char *shown = printable(text, USER_CODE_MAX);

        return !isempty(text) && strlen(text) <= USER_CODE_MAX && shown && streq(shown, text);
}

static int refuse(char **ret_reason, const char *reason) {
        *ret_reason = strdup(reason);
        return *ret_reason ? FAILED : -ENOMEM;
}

int device_answer_parse(json_object *object, DeviceAnswer *ret, char **ret_reason) {
        const char *device_code = json_string(object, "device_code"),
                   *user_code = json_string(object, "user_code"), *error = json_string(object, "error"),
                   *address = json_string(object, "verification_uri")
                                              ?: json_string(object, "verification_url"),
                   *complete = json_string(object, "verification_uri_complete");
        _cleanup_(device_answer_done) DeviceAnswer a = {};
        int r;

        if (error) {
                *ret_reason = printable(error, 100);
                return *ret_reason ? FAILED : -ENOMEM;
        }
        if (isempty(device_code) || strlen(device_code) > DEVICE_CODE_MAX)
                return refuse(ret_reason, "no device code in the answer");
        if (!user_code || !code_is_readable(user_code))
                return refuse(ret_reason, "no code that could be shown in the answer");
        if (!address_is_usable(address))
                return refuse(ret_reason, "no https address to open in the answer");
        r = secret_new_text(device_code, &a.device_code);
        if (r < 0)
                return r;
        a.user_code = strdup(user_code);
        a.verification_uri = strdup(address);
        a.verification_uri_complete = address_is_usable(complete) ? strdup(complete) : NULL;
        if (!a.user_code || !a.verification_uri ||
                        (address_is_usable(complete) && !a.verification_uri_complete))
                return -ENOMEM;
        a.interval_usec = seconds(object, "interval", INTERVAL_MAX_SECONDS) ?: INTERVAL_DEFAULT_USEC;
        a.life_usec = seconds(object, "expires_in", LIFE_MAX_SECONDS);
        *ret = a;
        a = (DeviceAnswer){};
        return 0;
}

uint64_t device_pace_wait(const DevicePace *pace) {
        return pace->interval_usec << MIN(pace->n_faults, DOUBLINGS_MAX);
}

/* An error by which the server says that it failed, and nothing about the code. */
static bool is_fault(unsigned status, const char *error) {
        return status == 0 || status == 429 || status / 100 == 5 ||
               (error && (streq(error, "temporarily_unavailable") || streq(error, "server_error")));
}

int device_judge(unsigned status, json_object *object, const ServiceProfile *profile, uint64_t now_usec,
                DevicePace *pace, DeviceVerdict *ret, TokenAnswer *ret_tokens, char **ret_reason) {
        const char *error = object ? json_string(object, "error") : NULL;
        _cleanup_(freep) char *reason = NULL;
        int r = FAILED;

        if (object && !error)
                r = token_answer_parse(object, profile, now_usec, ret_tokens, &reason);
        if (r < 0)
                return r;
        *ret = DEVICE_WAITING;
        if (r == 0)
                *ret = DEVICE_GRANTED;
        else if (error && streq(error, "authorization_pending"))
                pace->n_faults = 0;
        else if (error && streq(error, "slow_down")) {
                pace->n_faults = 0;
                pace->interval_usec += SLOW_DOWN_USEC;
                pace->interval_usec =
                                MAX(pace->interval_usec, seconds(object, "interval", INTERVAL_MAX_SECONDS));
        } else if (error && streq(error, "access_denied"))
                *ret = DEVICE_REFUSED;
        else if (error && streq(error, "expired_token"))
                *ret = DEVICE_EXPIRED;
        else if (is_fault(status, error))
                pace->n_faults++;
        else {
                *ret_reason = error    ? printable(error, 100)
                              : reason ? TAKE_PTR(reason)
                                       : strdup("no JSON in the answer");
                if (!*ret_reason)
                        return -ENOMEM;
                *ret = DEVICE_BROKEN;
        }
        return 0;
}
