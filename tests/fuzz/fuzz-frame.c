/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes one message of the wire: message_parse() and message_cost().
 *
 * Properties: what is a call passes the strict scan, has a method, an object of parameters and at most one kind; it is
 * the same call when it is written again; what json-c allocates for it is no more than message_cost() said, which is
 * what its uid is charged. */

#include <stdio.h>

#include "ipc/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Of the sanitizers' allocator (sanitizer/allocator_interface.h); absent without them. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((__weak__));

static void check(bool holds, const char *property) {
        if (!holds) {
                (void)fprintf(stderr, "violated: %s\n", property);
                abort();
        }
}

static size_t allocated(void) {
        return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes() : 0;
}

static void check_call(const Message *m, const char *text, size_t n) {
        Message again = {};

        check(json_scan(text, n, &json_limits_wire, NULL) == 0, "a call passes the strict scan");
        check(m->method && json_object_is_type(m->parameters, json_type_object),
                        "a call has a method and parameters");
        check(m->is_more + m->is_oneway + m->is_upgrade <= 1, "a call is of one kind");
        const char *written = json_text(m->root);
        check(written && message_parse(written, strlen(written), &again) == 0,
                        "a call written again is a call");
        check(streq(again.method, m->method) && json_object_equal(again.parameters, m->parameters) &&
                                        again.is_more == m->is_more && again.is_oneway == m->is_oneway &&
                                        again.is_upgrade == m->is_upgrade,
                        "and the same one");
        message_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(freep) char *text = malloc(MAX(size, (size_t)1));
        Message m = {};

        if (!text)
                return 0;
        if (size > 0)
                memcpy(text, data, size);
        size_t before = allocated();
        if (message_parse(text, size, &m) < 0) {
                check(!m.root, "nothing is handed out for what is no call");
                return 0;
        }
        check(allocated() - before <= message_cost(text, size), "a call is charged for what it takes");
        check_call(&m, text, size);
        message_done(&m);
        return 0;
}
