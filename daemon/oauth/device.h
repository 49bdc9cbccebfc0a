/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "oauth/oauth-internal.h"

/* The device flow (RFC 8628): device-answer.c reads, device.c polls. */

/* What the grant is called at the token endpoint, and what a registration for it is kept under in the place of a redirect address. */
#define DEVICE_GRANT "urn:ietf:params:oauth:grant-type:device_code"

/* The answer of a device authorization endpoint (RFC 8628 section 3.2). */
typedef struct DeviceAnswer {
        Secret *device_code;
        char *user_code;                 /* printable, at most 64 bytes */
        char *verification_uri;          /* https */
        char *verification_uri_complete; /* https; NULL: none that is usable */
        uint64_t interval_usec;          /* between two polls: as told, else 5 s */
        uint64_t life_usec;              /* 0: not told */
} DeviceAnswer;
/* Pure. FAILED with *ret_reason (malloc()ed, printable); -ENOMEM. */
int device_answer_parse(json_object *object, DeviceAnswer *ret, char **ret_reason);
void device_answer_done(DeviceAnswer *a);

/* How fast is polled. */
typedef struct DevicePace {
        uint64_t interval_usec;
        unsigned n_faults; /* exchanges without an answer since the last one with */
} DevicePace;
/* How long to wait before the next poll: the interval, doubled with each fault in a row. Pure. */
uint64_t device_pace_wait(const DevicePace *pace);

typedef enum DeviceVerdict {
        DEVICE_GRANTED, /* there are tokens */
        DEVICE_WAITING, /* poll again, after device_pace_wait() */
        DEVICE_REFUSED, /* the account's holder said no */
        DEVICE_EXPIRED,
        DEVICE_BROKEN, /* anything else: no more polls */
} DeviceVerdict;
/* What one answer to a poll means (RFC 8628 section 3.5), and what follows for the pace. status 0: there was no answer. Pure. DEVICE_BROKEN
 * with *ret_reason (malloc()ed, printable). 0; -ENOMEM. */
int device_judge(unsigned status, json_object *object, const ServiceProfile *profile, uint64_t now_usec,
                DevicePace *pace, DeviceVerdict *ret, TokenAnswer *ret_tokens, char **ret_reason);

/* Asks for codes for this new flow, which nothing has been written of yet, and keeps them in it. *ret: what waits for device_start(). On a fiber. */
int device_authorize(Oauth *o, const ServiceProfile *profile, const char *endpoint, Flow *flow,
                DevicePoll **ret, Failure *failure);
/* Begins to poll; the flow must be durable. Takes the poll over, also on errors. */
int device_start(DevicePoll *poll, const Flow *flow);
DevicePoll *device_poll_free(DevicePoll *poll);
DEFINE_CLEANUP(DevicePoll *, device_poll_free)
