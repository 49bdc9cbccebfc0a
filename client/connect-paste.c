/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Connecting by pasting the redirect address.
 *
 * For a browser that cannot reach this host at all: the provider's address is opened anywhere, the redirect at its end fails to
 * load there, and its address comes back by hand. No page of ours is involved, so there is no code; the account that the
 * provider named is shown, and the user's yes to exactly that account id is the claim.
 *
 * The pasted line carries an authorization code. It goes to vaultd and nowhere else: it is not repeated in a message, and the
 * memory is erased. What is plainly not such an address is asked for again without being sent. The provider's address is
 * printed, never given to a browser program: it holds the flow's state, and argv is public. */

#include "client/connect.h"
#include "client/interrupt.h"
#include "client/output.h"
#include "client/terminal.h"
#include "json/object.h"

/* With PKCE, resource and many scopes such an address is some hundred bytes; terminals and browsers take far more. */
#define AUTHORIZATION_URL_MAX 16384

static int fail_no_address(const Connect *connect, const Flow *flow, Fault *fault) {
        _cleanup_(freep) char *hint = NULL;

        (void)flow_cancel(connect, flow);
        if (asprintf(&hint, "Run: vaultctl connect %s --paste", connect->service) < 0)
                hint = NULL;
        return fault_set(fault, EXIT_CODE_NOT_CONNECTED, "io.vaultd.client.NotClaimed", hint,
                        "%s is not connected: no address was pasted", flow->title);
}

/* Reads the redirect address. *ret is a secret of the caller. */
static int ask_address(const Connect *connect, const Flow *flow, char **ret, Fault *fault) {
        for (;;) {
                _cleanup_(erase_linep) char *line = NULL;
                int r;

                r = terminal_ask_line("Address:", &line);
                if (r == -ENODATA)
                        return fail_no_address(connect, flow, fault);
                if (r == -EINTR)
                        return connect_interrupted(connect, flow, fault);
                if (r < 0) {
                        (void)flow_cancel(connect, flow);
                        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.BadInput",
                                        "Give it on standard input: vaultctl connect … --paste <FILE",
                                        "The pasted line is too long for this terminal and was cut");
                }
                if (strstr(line, "code=") || strstr(line, "error=")) {
                        *ret = TAKE_PTR(line);
                        return 0;
                }
                if (!terminal_can_ask()) {
                        (void)flow_cancel(connect, flow);
                        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.BadInput", NULL,
                                        "What was given is not the address that the browser ended at: it "
                                        "has no code in it");
                }
                if (!isempty(line))
                        complain("That is not it: the address has \"code=\" in it. Copy the whole of it.");
        }
}

static void say_address(const Connect *connect, const Flow *flow) {
        _cleanup_(freep) char *command = NULL;
        const Context *c = connect->context;

        say(c, "Connecting %s for %s.", flow->title, connect->user);
        say(c, "Open this address in your browser, on any computer:");
        say(c, "%s", "");
        say_link(c, flow->authorization_url);
        say(c, "%s", "");
        say(c, "After you have agreed, the browser ends at a page that does not load. That is");
        say(c, "expected: copy the whole address from its address bar and paste it here.");
        if (terminal_can_ask())
                say(c, "Paste only what your own browser shows, and give it to nobody else.");
        say(c, "%s", "");
        if (flow->port > 0 && terminal_is_remote() &&
                        format_ssh_command(connect->user, flow->host, flow->port, &command) == 0) {
                say(c, "Or go by this host's own page: press ^C, run this on your computer,");
                say(c, "%s", "");
                say(c, "%s", command);
                say(c, "%s", "");
                say(c, "and here: vaultctl connect %s --page", connect->service);
                say(c, "%s", "");
        }
}

/* Hands the address over; *ret_reply is the quarantined flow that *ret_flow borrows from. */
static int paste(const Connect *connect, const Flow *flow, const char *address, json_object **ret_reply,
                Flow *ret_flow, Fault *fault) {
        json_object *parameters = json_build("flow", 's', flow->id, "redirectUrl", 's', address, NULL);
        int r;

        r = connect_call(connect, flow, "io.vaultd.Connect.Paste", parameters, ret_reply, fault);
        return r < 0 ? r : flow_read(*ret_reply, "quarantined", ret_flow, fault);
}

int connect_paste(const Connect *connect, json_object *pending, const Flow *flow, Fault *fault) {
        _cleanup_(json_putp) json_object *quarantined = NULL;
        _cleanup_(erase_linep) char *address = NULL;
        const Context *c = connect->context;
        Flow parked = {};
        int r;

        if (!flow->authorization_url || !link_is_acceptable(flow->authorization_url, AUTHORIZATION_URL_MAX))
                return fault_set_bad_reply(fault, "a begun flow without an address that can be opened");
        if (c->is_json)
                output_json(pending);
        say_address(connect, flow);
        r = ask_address(connect, flow, &address, fault);
        if (r < 0)
                return r;
        r = paste(connect, flow, address, &quarantined, &parked, fault);
        if (r < 0)
                return r;
        if (c->is_json)
                output_json(quarantined);
        r = flow_check_account(connect, &parked, fault);
        if (r >= 0)
                r = connect_ask_account(connect, &parked, "--paste", fault);
        return r < 0 ? r : connect_claim_account(connect, &parked, fault);
}

int connect_by_paste(const Connect *connect, Fault *fault) {
        _cleanup_(json_putp) json_object *pending = NULL;
        Flow flow = {};
        int r;

        interrupt_catch();
        r = connect_call(connect, NULL, "io.vaultd.Connect.Start", connect_parameters(connect, "paste"),
                        &pending, fault);
        if (r >= 0)
                r = flow_read(pending, "pending", &flow, fault);
        return r < 0 ? r : connect_paste(connect, pending, &flow, fault);
}
