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
#include "client/output.h"
#include "client/reply.h"
#include "client/terminal.h"
#include "json/object.h"

/* With PKCE, resource and many scopes such an address is some hundred bytes; terminals and browsers take far more. */
#define AUTHORIZATION_URL_MAX 16384

static int fail_no_address(const Connect *connect, const Flow *flow, Fault *fault) {
        _cleanup_(freep) char *hint = NULL;

        flow_cancel(connect, flow);
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
                if (r < 0) {
                        flow_cancel(connect, flow);
                        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.BadInput",
                                        "Give it on standard input: vaultctl connect … --paste <FILE",
                                        "The pasted line is too long for this terminal and was cut");
                }
                if (strstr(line, "code=") || strstr(line, "error=")) {
                        *ret = TAKE_PTR(line);
                        return 0;
                }
                if (!terminal_can_ask()) {
                        flow_cancel(connect, flow);
                        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.BadInput", NULL,
                                        "What was given is not the address that the browser ended at: it "
                                        "has no code in it");
                }
                if (!isempty(line))
                        complain("That is not it: the address has \"code=\" in it. Copy the whole of it.");
        }
}

static void say_address(const Connect *connect, const Flow *flow) {
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
}

/* The user's yes to the account. */
static int ask_account(const Connect *connect, const Flow *flow, Fault *fault) {
        _cleanup_(freep) char *question = NULL, *account = format_account(flow->account), *hint = NULL;
        int r;

        if (connect->is_yes || connect->account)
                return 0;
        if (!account || asprintf(&question, "Connect %s as %s? [y/N]", flow->title, account) < 0)
                return fault_set_memory(fault);
        r = terminal_ask_yes(question);
        if (r > 0)
                return 0;
        flow_cancel(connect, flow);
        if (r == 0)
                return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Declined", NULL,
                                "%s was not connected", flow->title);
        if (asprintf(&hint, "Run: vaultctl connect %s --paste --account ID", connect->service) < 0)
                hint = NULL;
        return fault_set(fault, EXIT_CODE_NOT_CONNECTED, "io.vaultd.client.NotClaimed", hint,
                        "%s was not connected: nobody said yes to the account", flow->title);
}

/* Hands the address over; *ret_reply is the quarantined flow that *ret_flow borrows from. */
static int paste(const Connect *connect, const char *flow_id, const char *address, json_object **ret_reply,
                Flow *ret_flow, Fault *fault) {
        json_object *parameters = json_build("flow", 's', flow_id, "redirectUrl", 's', address, NULL);
        int r;

        r = call_method(connect->context, "io.vaultd.Connect.Paste", parameters, CALL_REMOTE_USEC, ret_reply,
                        fault);
        return r < 0 ? r : flow_read(*ret_reply, "quarantined", ret_flow, fault);
}

int connect_by_paste(const Connect *connect, Fault *fault) {
        _cleanup_(json_putp) json_object *pending = NULL, *quarantined = NULL;
        _cleanup_(erase_linep) char *address = NULL;
        const Context *c = connect->context;
        Flow flow = {};
        int r;

        r = call_method(c, "io.vaultd.Connect.Start", connect_parameters(connect, "paste"), CALL_REMOTE_USEC,
                        &pending, fault);
        if (r < 0)
                return r;
        r = flow_read(pending, "pending", &flow, fault);
        if (r < 0)
                return r;
        if (!flow.authorization_url || !link_is_acceptable(flow.authorization_url, AUTHORIZATION_URL_MAX))
                return fault_set_bad_reply(fault, "a begun flow without an address that can be opened");
        if (c->is_json)
                output_json(pending);
        say_address(connect, &flow);
        r = ask_address(connect, &flow, &address, fault);
        if (r < 0)
                return r;
        r = paste(connect, flow.id, address, &quarantined, &flow, fault);
        if (r < 0)
                return r;
        if (c->is_json)
                output_json(quarantined);
        r = flow_check_account(connect, &flow, fault);
        if (r < 0)
                return r;
        r = ask_account(connect, &flow, fault);
        if (r < 0)
                return r;
        return claim_call(c,
                        json_build("flow", 's', flow.id, "account", 's', json_string(flow.account, "id"),
                                        NULL),
                        fault);
}
