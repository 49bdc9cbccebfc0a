/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Connecting through our own page.
 *
 * Start is called with `more`: the first reply has the link, the last one comes when the browser is back and the account is
 * known. In between the terminal waits for both vaultd and the user, who may switch to pasting the address when the browser
 * is on another computer. Then the code that the page shows is typed here: the browser that consented and the terminal
 * that began must belong to the same person, and this is how they are brought together (O4).
 *
 * The user may go away at any point. A flow is durable in vaultd: whoever loses the terminal here claims with
 * `vaultctl claim CODE` elsewhere, so the end of input and a lost connection say just that. */

#include <poll.h>

#include "client/browser.h"
#include "client/connect.h"
#include "client/output.h"
#include "client/qr.h"
#include "client/terminal.h"
#include "json/object.h"
#include "util/clock.h"

#define LINK_MAX_BYTES 2048
/* How long after the link's end vaultd may still say so by itself, and the longest life of a link that we believe. */
#define GRACE_USEC    (30 * USEC_PER_SEC)
#define LIFE_MAX_USEC (3600 * USEC_PER_SEC)
#define TRIES_MAX     3

/* Where the browser is on another computer and our page on this one's loopback. Returns whether pasting is offered. */
static bool say_forwarding(const Connect *connect, const Flow *flow) {
        const Context *c = connect->context;
        _cleanup_(freep) char *command = NULL;

        if (c->is_json || !link_is_loopback(flow->link) || !terminal_is_headless())
                return false;
        if (format_ssh_command(connect->user, flow->host, flow->port, &command) == 0) {
                say(c, "The link answers on this host only. If your browser is on another computer,");
                say(c, "first run this there:");
                say(c, "%s", "");
                say(c, "%s", command);
                say(c, "%s", "");
        } else
                say(c, "The link answers on this host only.");
        if (!terminal_can_ask()) {
                say(c, "Or paste the address instead: vaultctl connect %s --paste", connect->service);
                return false;
        }
        /* Below 1024 ssh may not listen on the user's own computer without root (ssh(1), -L). */
        say(c, flow->port < 1024 ? "or press p Enter to paste the address instead, also if ssh may not use "
                                   "that port"
                                 : "or press p Enter to paste the address instead");
        say(c, "%s", "");
        return true;
}

/* Shows the link in every way that helps. Returns whether pasting is offered. */
static bool say_link_page(const Connect *connect, const Flow *flow) {
        const Context *c = connect->context;
        bool offers_paste;

        say(c, "Connecting %s for %s on %s.", flow->title, connect->user, flow->host ?: "this host");
        say(c, "Open this link in your browser:");
        say(c, "%s", "");
        say_link(c, flow->link);
        say(c, "%s", "");
        if (!link_is_loopback(flow->link) && qr_print(c, flow->link))
                say(c, "%s", "");
        offers_paste = say_forwarding(connect, flow);
        say(c, "Go on there only if the page names %s and %s.", connect->user, flow->host ?: "this host");
        say(c, "At the end it shows a code: type it here.");
        if (c->human)
                (void)fflush(c->human);
        if (connect->may_open_browser && browser_open(flow->link))
                say(c, "Your browser has been opened.");
        return offers_paste;
}

static void show_progress(const Context *c, uint64_t now, uint64_t deadline) {
        uint64_t left = deadline > now + GRACE_USEC ? (deadline - now - GRACE_USEC) / USEC_PER_SEC : 0;
        char text[80];

        (void)snprintf(text, sizeof(text), "Waiting for the browser, %u:%02u left ", (unsigned)(left / 60),
                        (unsigned)(left % 60));
        terminal_progress(c, text);
}

/* Waits until vaultd or the user has something. Returns true when the user asked for pasting. */
static bool wait_for_either(Call *call, bool *offers_paste) {
        struct pollfd fds[] = {
                { .fd = call_fd(call), .events = POLLIN },
                { .fd = *offers_paste ? STDIN_FILENO : -1, .events = POLLIN },
        };
        _cleanup_(erase_linep) char *line = NULL;

        if (poll(fds, ELEMENTSOF(fds), 1000) <= 0 || fds[1].revents == 0)
                return false;
        if (terminal_read_line(&line) < 0) {
                *offers_paste = false; /* the end of input: it would be readable for ever */
                return false;
        }
        return strcasecmp(line, "p") == 0 || strcasecmp(line, "paste") == 0;
}

/* Waits for the last reply. 0 and a new reference to it, CONNECT_PASTE_INSTEAD, or FAULT_SET. */
static int wait_for_consent(const Connect *connect, Call *call, const Flow *flow, bool offers_paste,
                json_object **ret, Fault *fault) {
        uint64_t now = now_monotonic(), realtime = now_realtime(), life = LIFE_MAX_USEC, deadline;
        const Context *c = connect->context;

        if (flow->expires_usec > 0)
                life = (uint64_t)flow->expires_usec > realtime
                                       ? MIN((uint64_t)flow->expires_usec - realtime, LIFE_MAX_USEC)
                                       : 0;
        for (deadline = now + life + GRACE_USEC; now < deadline; now = now_monotonic()) {
                _cleanup_(json_putp) json_object *reply = NULL;
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
                show_progress(c, now, deadline);
                if (wait_for_either(call, &offers_paste)) {
                        terminal_progress(c, NULL);
                        return CONNECT_PASTE_INSTEAD;
                }
        }
        terminal_progress(c, NULL);
        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Expired",
                        "Run the command again for a new link",
                        "The link has expired and nothing was connected");
}

static int fail_unclaimed(const Flow *flow, Fault *fault) {
        return fault_set(fault, EXIT_CODE_NOT_CONNECTED, "io.vaultd.client.NotClaimed",
                        "Run: vaultctl claim CODE",
                        "%s is not connected yet: it waits for the code that the page shows", flow->title);
}

/* Tells about a wrong code. Returns whether another one may be tried. */
static bool say_rejected(const Context *c, Fault *fault) {
        int64_t tries_left = 0;

        if (!fault_is(fault, "io.vaultd.ClaimRejected") || !fault->details ||
                        json_get_int64(fault->details, "triesLeft", &tries_left) < 0 || tries_left < 1)
                return false;
        if (c->is_json) {
                _cleanup_(json_putp) json_object *document = json_build("state", 's', "rejected", "message",
                                's', fault->message, "triesLeft", 'i', tries_left, NULL);

                output_json(document);
        } else
                complain("%s", fault->message);
        return true;
}

/* Asks for the code until it is right, the tries are used up, or nobody answers. The flow is named, so that a wrong code
 * costs a try of this one and not of another that the same user has open. */
static int ask_and_claim(const Connect *connect, const Flow *flow, Fault *fault) {
        for (unsigned n_tries = 0;;) {
                _cleanup_(erase_linep) char *code = NULL;
                int r;

                r = terminal_ask_line("Code shown on the page:", &code);
                if (r == -ENODATA)
                        return n_tries > 0 ? FAULT_SET : fail_unclaimed(flow, fault);
                if (r < 0)
                        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.BadInput",
                                        "Run: vaultctl claim CODE",
                                        "The line that was typed cannot be a code");
                if (isempty(code))
                        continue;
                r = claim_call(connect->context, json_build("flow", 's', flow->id, "code", 's', code, NULL),
                                fault);
                if (r == 0)
                        return 0;
                n_tries++;
                if (n_tries == TRIES_MAX || !say_rejected(connect->context, fault))
                        return r;
        }
}

/* Begins the flow and reads the first reply. */
static int start(const Connect *connect, Call **ret_call, json_object **ret_reply, Flow *ret_flow,
                Fault *fault) {
        _cleanup_(call_freep) Call *call = NULL;
        _cleanup_(json_putp) json_object *reply = NULL;
        bool continues = false;
        int r;

        r = call_open(connect->context, &call, fault);
        if (r < 0)
                return r;
        r = call_send(call, "io.vaultd.Connect.Start", connect_parameters(connect, "page"), true, fault);
        if (r < 0)
                return r;
        r = call_receive(call, now_monotonic() + CALL_REMOTE_USEC, &reply, &continues, fault);
        if (r <= 0)
                return r < 0 ? r : fault_set_silence(fault, CALL_REMOTE_USEC);
        r = flow_read(reply, "pending", ret_flow, fault);
        if (r < 0)
                return r;
        if (!continues || !ret_flow->link || !link_is_acceptable(ret_flow->link, LINK_MAX_BYTES))
                return fault_set_bad_reply(fault, "a begun flow without a link that can be opened");
        *ret_call = TAKE_PTR(call);
        *ret_reply = TAKE_PTR(reply);
        return 0;
}

int connect_by_page(const Connect *connect, Fault *fault) {
        _cleanup_(json_putp) json_object *pending = NULL, *quarantined = NULL;
        _cleanup_(call_freep) Call *call = NULL;
        bool offers_paste;
        Flow flow = {};
        int r;

        r = start(connect, &call, &pending, &flow, fault);
        if (r < 0)
                return r;
        if (connect->context->is_json)
                output_json(pending);
        offers_paste = say_link_page(connect, &flow);
        r = wait_for_consent(connect, call, &flow, offers_paste, &quarantined, fault);
        if (r < 0 && fault->code == EXIT_CODE_UNREACHABLE) {
                free(fault->hint);
                fault->hint = strdup("If the page shows a code, run: vaultctl claim CODE");
        }
        if (r != 0)
                return r;
        r = flow_read(quarantined, "quarantined", &flow, fault);
        if (r < 0)
                return r;
        if (connect->context->is_json)
                output_json(quarantined);
        r = flow_check_account(connect, &flow, fault);
        return r < 0 ? r : ask_and_claim(connect, &flow, fault);
}
