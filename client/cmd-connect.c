/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl connect: from a service's name to a credential in the caller's vault.
 *
 * The conversation has two ways, each a file: connect-page.c (our page and a code, the default) and connect-paste.c. This one
 * reads the command line, asks vaultd for the caller's name (the text of the page and of the ssh line must name the same
 * user), and switches from the first way to the second when the user says so: a new Start replaces the unfinished flow. */

#include "client/command.h"
#include "client/connect.h"
#include "client/output.h"
#include "client/reply.h"
#include "json/object.h"

static const Option options[] = {
        { "as", OPTION_TEXT },
        { "account", OPTION_TEXT },
        { "paste", OPTION_FLAG },
        { "no-browser", OPTION_FLAG },
        { "replace-account", OPTION_FLAG },
        { "yes", OPTION_FLAG },
        {},
};

static ExitCode run(const Context *c, const Arguments *a) {
        _cleanup_(fault_done) Fault fault = {};
        _cleanup_(json_putp) json_object *who = NULL;
        Connect connect = {
                .context = c,
                .service = arguments_word(a, 0),
                .label = arguments_value(a, "as"),
                .account = arguments_value(a, "account"),
                .replaces_account = arguments_has(a, "replace-account"),
                .may_open_browser = !arguments_has(a, "no-browser"),
                .is_yes = arguments_has(a, "yes"),
        };
        int r;

        r = call_method(c, "io.vaultd.WhoAmI", NULL, CALL_LOCAL_USEC, &who, &fault);
        if (r >= 0)
                r = reply_need_string(who, "user", &connect.user, &fault);
        if (r >= 0)
                r = arguments_has(a, "paste") ? CONNECT_PASTE_INSTEAD : connect_by_page(&connect, &fault);
        if (r == CONNECT_PASTE_INSTEAD)
                r = connect_by_paste(&connect, &fault);
        return r < 0 ? fault_report(c, &fault) : EXIT_CODE_DONE;
}

const Command command_connect = {
        .name = "connect",
        .synopsis = "SERVICE [--as LABEL] [--paste] [OPTIONS]",
        .summary = "Connect a service to your vault",
        .help = "Prints a link to a page of this host. You agree at the service, the page then\n"
                "shows a code, and the code typed here makes the connection yours. Over SSH it\n"
                "also prints the ssh -L line that makes the link work.\n\n"
                "  --as LABEL         Name for a second account of the same service\n"
                "  --paste            No page: open the service's own address in any browser and\n"
                "                     paste back the address where it ends\n"
                "  --no-browser       Only print the link; start neither $BROWSER nor xdg-open\n"
                "  --replace-account  Allow another account than the one connected before\n"
                "  --account ID       Accept this account only; with --paste it also answers\n"
                "                     the question\n"
                "  --yes              With --paste: accept the account that the service names\n\n"
                "With --json each step is a line: state pending (link), quarantined (account),\n"
                "connected. Without a terminal the code, or the pasted address, is read as a\n"
                "line from standard input.\n\n"
                "Example:\n  vaultctl connect notion\n",
        .options = options,
        .n_least = 1,
        .n_most = 1,
        .run = run,
};
