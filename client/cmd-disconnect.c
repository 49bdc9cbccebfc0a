/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl disconnect: gives a connection up; vaultd takes it out of use, revokes it at the service, then erases it. What the service
 * has not been told by the time of the answer goes on without this command.
 *
 * On a terminal the question comes first, because a mistyped name costs the user a new consent. Without a terminal the
 * command itself is the decision: scripts rely on `disconnect SERVICE` without an option. */

#include "client/command.h"
#include "client/connect.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/terminal.h"
#include "json/object.h"

static const Option options[] = { { "as", OPTION_TEXT }, { "yes", OPTION_FLAG }, {} };

/* 0 to go on, or FAULT_SET. */
static int ask(const Arguments *a, Fault *fault) {
        const char *label = arguments_value(a, "as");
        _cleanup_(freep) char *question = NULL;

        if (arguments_has(a, "yes") || !terminal_can_ask())
                return 0;
        if (asprintf(&question, "Disconnect %s%s%s? Its credential is revoked and erased. [y/N]",
                            arguments_word(a, 0), label ? " as " : "", label ?: "") < 0)
                return fault_set_memory(fault);
        if (terminal_ask_yes(question) <= 0)
                return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Declined", NULL,
                                "Nothing was disconnected");
        return 0;
}

int disconnected_say(const Context *c, json_object *reply, Fault *fault) {
        bool is_revoked = false, is_pending = false;
        const char *title;

        if (reply_need_string(reply, "title", &title, fault) < 0)
                return FAULT_SET;
        if (json_get_bool(reply, "revoked", &is_revoked) < 0)
                return fault_set_bad_reply(fault, "member 'revoked' is missing or of another type");
        (void)json_get_bool(reply, "pending", &is_pending);
        if (c->is_json)
                output_json(reply);
        else if (is_pending)
                say_styled(c, STYLE_WARNING,
                                "%s is disconnected: out of use here, and still to be revoked there.",
                                title);
        else if (is_revoked)
                say_styled(c, STYLE_GOOD, "%s is disconnected: revoked there, erased here.", title);
        else
                say_styled(c, STYLE_WARNING, "%s is disconnected: erased here, but not revoked there.",
                                title);
        if (json_string(reply, "notice"))
                say(c, "%s", json_string(reply, "notice"));
        return 0;
}

static ExitCode run(const Context *c, const Arguments *a) {
        _cleanup_(fault_done) Fault fault = {};
        _cleanup_(json_putp) json_object *reply = NULL;
        json_object *parameters;

        if (ask(a, &fault) < 0)
                return fault_report(c, &fault);
        parameters = json_build(
                        "service", 's', arguments_word(a, 0), "label", 's', arguments_value(a, "as"), NULL);
        if (call_method(c, "io.vaultd.Connect.Disconnect", parameters, CALL_REMOTE_USEC, &reply, &fault) <
                                        0 ||
                        disconnected_say(c, reply, &fault) < 0)
                return fault_report(c, &fault);
        return EXIT_CODE_DONE;
}

const Command command_disconnect = {
        .name = "disconnect",
        .synopsis = "SERVICE [--as LABEL] [--yes]",
        .summary = "Revoke and erase a connection",
        .help = "  --as LABEL  The account with this label\n"
                "  --yes       Do not ask (without a terminal nothing is asked)\n\n"
                "Example:\n  vaultctl disconnect notion\n",
        .options = options,
        .n_least = 1,
        .n_most = 1,
        .run = run,
};
