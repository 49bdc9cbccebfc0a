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

#include "client/browser.h"
#include "client/connect.h"
#include "client/output.h"
#include "client/qr.h"
#include "client/terminal.h"
#include "json/object.h"

#define LINK_MAX_BYTES 2048
#define TRIES_MAX      3

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
                if (r == -EINTR)
                        return connect_interrupted(connect, flow, fault);
                if (r < 0)
                        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.BadInput",
                                        "Run: vaultctl claim CODE",
                                        "The line that was typed cannot be a code");
                if (isempty(code))
                        continue;
                r = connect_claim(connect, flow, code, NULL, fault);
                if (r == 0)
                        return 0;
                n_tries++;
                if (n_tries == TRIES_MAX || !say_rejected(connect->context, fault))
                        return r;
        }
}

int connect_by_page(const Connect *connect, bool from_afar, Fault *fault) {
        _cleanup_(json_putp) json_object *pending = NULL, *quarantined = NULL;
        _cleanup_(call_freep) Call *call = NULL;
        bool offers_paste;
        Flow flow = {};
        int r;

        r = connect_start(connect, from_afar ? "remote" : "page", &call, &pending, &flow, fault);
        if (r < 0)
                return r;
        if (from_afar && flow.authorization_url)
                return connect_paste(connect, pending, &flow, fault);
        if (!flow.link || !link_is_acceptable(flow.link, LINK_MAX_BYTES))
                return fault_set_bad_reply(fault, "a begun flow without a link that can be opened");
        if (connect->context->is_json)
                output_json(pending);
        offers_paste = say_link_page(connect, &flow);
        r = connect_wait(connect, call, &flow, "Waiting for the browser", offers_paste, &quarantined, fault);
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
