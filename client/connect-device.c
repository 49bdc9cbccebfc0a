/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Connecting with a code that is approved at the service (RFC 8628).
 *
 * The browser may be anywhere and comes to no page of ours, so nothing ties the person there to the person here: whoever is talked
 * into typing the code gives their account away. vaultd therefore takes only the account that root says is this user's; what is said here
 * is the rest. The account is shown, and the user's yes to exactly that account id is the claim.
 *
 * The address is printed, drawn where it fits, and never given to a browser program: it is the service's, and with the code in it whoever
 * reads argv could be faster than the user. */

#include "client/connect.h"
#include "client/output.h"
#include "client/qr.h"
#include "json/object.h"

#define ADDRESS_MAX   2048
#define USER_CODE_MAX 64U

static bool address_is_acceptable(const char *url) {
        return url && startswith(url, "https://") && link_is_acceptable(url, ADDRESS_MAX);
}

static void say_code(const Connect *connect, const Flow *flow) {
        const char *complete = address_is_acceptable(flow->verification_uri_complete)
                                               ? flow->verification_uri_complete
                                               : flow->verification_uri;
        const Context *c = connect->context;

        say(c, "Connecting %s for %s on %s.", flow->title, connect->user, flow->host ?: "this host");
        say(c, "Open this address in your browser, on any computer:");
        say(c, "%s", "");
        say_link(c, flow->verification_uri);
        say(c, "%s", "");
        if (qr_print(c, complete))
                say(c, "%s", "");
        say(c, "and enter this code there:");
        say(c, "%s", "");
        say_styled(c, STYLE_BOLD, "%s", flow->user_code);
        say(c, "%s", "");
        say(c, "Approve it with your own account only, and give the code to nobody: whoever");
        say(c, "approves it lets %s use their account.", connect->user);
        if (c->human)
                (void)fflush(c->human);
}

int connect_by_device(const Connect *connect, Fault *fault) {
        _cleanup_(json_putp) json_object *pending = NULL, *quarantined = NULL;
        _cleanup_(call_freep) Call *call = NULL;
        const Context *c = connect->context;
        Flow flow = {};
        int r;

        r = connect_start(connect, "device", &call, &pending, &flow, fault);
        if (r < 0)
                return r;
        if (isempty(flow.user_code) || strlen(flow.user_code) > USER_CODE_MAX ||
                        !address_is_acceptable(flow.verification_uri))
                return fault_set_bad_reply(fault, "a begun flow without a code and an address to open");
        if (c->is_json)
                output_json(pending);
        say_code(connect, &flow);
        r = connect_wait(connect, call, &flow, "Waiting for the approval", false, &quarantined, fault);
        if (r < 0)
                return r;
        r = flow_read(quarantined, "quarantined", &flow, fault);
        if (r < 0)
                return r;
        if (c->is_json)
                output_json(quarantined);
        r = flow_check_account(connect, &flow, fault);
        if (r >= 0)
                r = connect_ask_account(connect, &flow, "--device", fault);
        return r < 0 ? r : connect_claim_account(connect, &flow, fault);
}
