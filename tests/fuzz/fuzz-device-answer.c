/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the readers of what a device authorization endpoint and a polled token endpoint say.
 *
 * Properties: codes and an address exactly on success; what is shown is printable and bounded, and the address is one that a request could go
 * to; the wait between two polls never gets shorter than it was but for a fault that is over, and is bounded; a poll says either
 * tokens or a reason or neither. */

#include <stdio.h>

#include "oauth/device.h"
#include "util/encode.h"
#include "util/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW      (UINT64_C(1800000000) * USEC_PER_SEC)
#define WAIT_MAX (UINT64_C(3605) * 64 * USEC_PER_SEC)

static void check(bool holds, const char *property) {
        if (!holds) {
                (void)fprintf(stderr, "violated: %s\n", property);
                abort();
        }
}

static void check_shown(const char *text, size_t max) {
        _cleanup_(freep) char *clean = printable(text, max);

        check(!clean || streq(clean, text), "printable and bounded");
}

static void check_address(const char *text) {
        _cleanup_(http_url_done) HttpUrl url = {};

        check(http_url_parse(text, &url) != -EINVAL, "an https address");
}

static void check_codes(json_object *o) {
        _cleanup_(freep) char *reason = NULL;
        DeviceAnswer a = {};
        int r;

        r = device_answer_parse(o, &a, &reason);
        if (r < 0)
                return;
        check((r == 0) == (a.device_code != NULL) && (r == FAILED) == (reason != NULL), "codes or a reason");
        if (r == FAILED) {
                check_shown(reason, 100);
                return;
        }
        check(*a.user_code, "a code to type");
        check_shown(a.user_code, 64);
        check_address(a.verification_uri);
        if (a.verification_uri_complete)
                check_address(a.verification_uri_complete);
        check(a.interval_usec >= USEC_PER_SEC && a.interval_usec <= 3600 * USEC_PER_SEC, "a pace");
        check(a.life_usec <= UINT64_C(86400) * USEC_PER_SEC, "a bounded life");
        device_answer_done(&a);
}

static void check_poll(json_object *o, unsigned status, unsigned n_faults) {
        DevicePace pace = { .interval_usec = 5 * USEC_PER_SEC, .n_faults = n_faults };
        _cleanup_(freep) char *reason = NULL;
        DeviceVerdict verdict;
        TokenAnswer tokens = {};

        if (device_judge(status, o, NULL, NOW, &pace, &verdict, &tokens, &reason) < 0)
                return;
        check((verdict == DEVICE_GRANTED) == (tokens.access_token != NULL), "tokens exactly when granted");
        check((verdict == DEVICE_BROKEN) == (reason != NULL), "a reason exactly when broken");
        check(pace.interval_usec >= 5 * USEC_PER_SEC, "never faster");
        check(device_pace_wait(&pace) <= WAIT_MAX, "a bounded wait");
        if (reason)
                check_shown(reason, 200);
        token_answer_done(&tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const unsigned statuses[] = { 0, 200, 400, 401, 429, 503 };
        _cleanup_(json_putp) json_object *o = NULL;

        if (json_parse((const char *)data, size, &json_limits_wire, &o) != 0 ||
                        !json_object_is_type(o, json_type_object))
                return 0;
        check_codes(o);
        for (size_t i = 0; i < ELEMENTSOF(statuses); i++)
                check_poll(o, statuses[i], i % 2 ? UINT32_MAX - 1 : 0);
        return 0;
}
