/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Waiting while a flow is elsewhere: for vaultd, for the user, and for ^C, all three at once.
 *
 * The end of input and a lost connection give nothing up: a flow is durable in vaultd, and whoever loses the terminal claims
 * elsewhere. ^C is a decision: the flow is ended before the command is, so that no link stays behind that still works and no grant that
 * nobody wants. That holds at every prompt and while a reply is waited for; what a Claim has done by then is not undone, and is not denied either.
 *
 * Who may call: connect-page.c, connect-paste.c, connect-device.c. */

#include <poll.h>

#include "client/connect.h"
#include "client/interrupt.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/terminal.h"
#include "json/object.h"
#include "util/clock.h"

/* How long after the flow's end vaultd may still say so by itself, and the longest life of a flow that we believe. */
#define GRACE_USEC    (30 * USEC_PER_SEC)
#define LIFE_MAX_USEC (3600 * USEC_PER_SEC)

typedef enum Waited {
        WAITED_NOTHING,
        WAITED_PASTE, /* the user asked for pasting */
        WAITED_INTERRUPTED,
} Waited;

int connect_interrupted(const Connect *connect, const Flow *flow, Fault *fault) {
        bool is_ended = !flow || flow_cancel(connect, flow);

        fault_done(fault);
        if (!is_ended) /* a Claim may have come first */
                return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Interrupted",
                                "Run: vaultctl status", "Given up too late to say whether %s is connected",
                                flow->title);
        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Interrupted", NULL,
                        "Given up, nothing was connected");
}

/* The next reply within CALL_REMOTE_USEC. 0, FAULT_SET. flow NULL: none has begun, and the end of the connection ends what vaultd is doing
 * for it. */
static int receive(const Connect *connect, const Flow *flow, Call *call, json_object **ret,
                bool *ret_continues, Fault *fault) {
        uint64_t now = now_monotonic(), deadline = now + CALL_REMOTE_USEC;

        for (; now < deadline; now = now_monotonic()) {
                struct pollfd fds[] = {
                        { .fd = call_fd(call), .events = POLLIN },
                        { .fd = interrupt_fd(), .events = POLLIN },
                };
                int r;

                r = call_receive(call, now, ret, ret_continues, fault);
                if (r != 0)
                        return MIN(r, 0);
                if (interrupt_came())
                        return connect_interrupted(connect, flow, fault);
                (void)poll(fds, ELEMENTSOF(fds), 1000);
        }
        return fault_set_silence(fault, CALL_REMOTE_USEC);
}

int connect_call(const Connect *connect, const Flow *flow, const char *method, json_object *parameters,
                json_object **ret, Fault *fault) {
        _cleanup_(json_putp) json_object *taken = parameters;
        _cleanup_(call_freep) Call *call = NULL;
        int r;

        r = call_open(connect->context, &call, fault);
        if (r < 0)
                return r;
        r = call_send(call, method, TAKE_PTR(taken), false, fault);
        return r < 0 ? r : receive(connect, flow, call, ret, NULL, fault);
}

int connect_start(const Connect *connect, const char *way, Call **ret_call, json_object **ret_reply,
                Flow *ret_flow, Fault *fault) {
        _cleanup_(json_putp) json_object *reply = NULL;
        _cleanup_(call_freep) Call *call = NULL;
        bool continues = false;
        int r;

        interrupt_catch();
        r = call_open(connect->context, &call, fault);
        if (r < 0)
                return r;
        r = call_send(call, "io.vaultd.Connect.Start", connect_parameters(connect, way), true, fault);
        if (r >= 0)
                r = receive(connect, NULL, call, &reply, &continues, fault);
        if (r >= 0)
                r = flow_read(reply, "pending", ret_flow, fault);
        if (r < 0)
                return r;
        if (!continues)
                return fault_set_bad_reply(fault, "a begun flow that nothing follows");
        *ret_call = TAKE_PTR(call);
        *ret_reply = TAKE_PTR(reply);
        return 0;
}

static void show_progress(const Context *c, const char *what, uint64_t now, uint64_t deadline) {
        uint64_t left = deadline > now + GRACE_USEC ? (deadline - now - GRACE_USEC) / USEC_PER_SEC : 0;
        char text[80];

        (void)snprintf(text, sizeof(text), "%s, %u:%02u left ", what, (unsigned)(left / 60),
                        (unsigned)(left % 60));
        terminal_progress(c, text);
}

static Waited wait_a_second(Call *call, bool *offers_paste) {
        struct pollfd fds[] = {
                { .fd = call_fd(call), .events = POLLIN },
                { .fd = *offers_paste ? STDIN_FILENO : -1, .events = POLLIN },
                { .fd = interrupt_fd(), .events = POLLIN },
        };
        _cleanup_(erase_linep) char *line = NULL;
        int r;

        (void)poll(fds, ELEMENTSOF(fds), 1000);
        if (interrupt_came())
                return WAITED_INTERRUPTED;
        if (fds[1].revents == 0)
                return WAITED_NOTHING;
        r = terminal_read_line(&line);
        if (r == -EINTR)
                return WAITED_INTERRUPTED;
        if (r < 0) {
                *offers_paste = false; /* the end of input: it would be readable for ever */
                return WAITED_NOTHING;
        }
        return strcasecmp(line, "p") == 0 || strcasecmp(line, "paste") == 0 ? WAITED_PASTE : WAITED_NOTHING;
}

int connect_wait(const Connect *connect, Call *call, const Flow *flow, const char *what, bool offers_paste,
                json_object **ret, Fault *fault) {
        uint64_t now = now_monotonic(), realtime = now_realtime(), life = LIFE_MAX_USEC, deadline;
        const Context *c = connect->context;

        if (flow->expires_usec > 0)
                life = (uint64_t)flow->expires_usec > realtime
                                       ? MIN((uint64_t)flow->expires_usec - realtime, LIFE_MAX_USEC)
                                       : 0;
        for (deadline = now + life + GRACE_USEC; now < deadline; now = now_monotonic()) {
                _cleanup_(json_putp) json_object *reply = NULL;
                Waited waited;
                bool continues;
                int r;

                r = call_receive(call, now, &reply, &continues, fault);
                if (r != 0)
                        terminal_progress(c, NULL);
                if (r < 0)
                        return r;
                if (r > 0 && !continues) {
                        *ret = TAKE_PTR(reply);
                        return 0;
                }
                if (r > 0 && c->is_json)
                        output_json(reply);
                show_progress(c, what, now, deadline);
                waited = wait_a_second(call, &offers_paste);
                if (waited == WAITED_NOTHING)
                        continue;
                terminal_progress(c, NULL);
                return waited == WAITED_PASTE ? CONNECT_PASTE_INSTEAD
                                              : connect_interrupted(connect, flow, fault);
        }
        terminal_progress(c, NULL);
        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Expired",
                        "Run the command again for a new link",
                        "The link has expired and nothing was connected");
}
