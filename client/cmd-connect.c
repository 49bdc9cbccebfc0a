/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl connect: from a service's name to a credential in the caller's vault.
 *
 * The conversation has four ways, each a file: connect-page.c (our page and a code, the default), connect-paste.c (the default over SSH, where vaultd
 * knows of no public page), connect-device.c, and connect-token.c for services that hand out tokens. This one reads the command line, asks vaultd for the caller's name (the text of the page and of the ssh line must name the same
 * user), and switches from the first way to the second when the user says so: a new Start replaces the unfinished flow. */

#include "client/command.h"
#include "client/connect.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/terminal.h"
#include "json/object.h"

static const Option options[] = {
        { "as", OPTION_TEXT },
        { "account", OPTION_TEXT },
        { "scope", OPTION_TEXT },
        { "page", OPTION_FLAG },
        { "paste", OPTION_FLAG },
        { "device", OPTION_FLAG },
        { "token-stdin", OPTION_FLAG },
        { "no-browser", OPTION_FLAG },
        { "replace-account", OPTION_FLAG },
        { "yes", OPTION_FLAG },
        {},
};

static unsigned count_ways(const Arguments *a) {
        static const char *const ways[] = { "page", "paste", "device", "token-stdin" };
        unsigned n = 0;

        for (size_t i = 0; i < ELEMENTSOF(ways); i++)
                n += arguments_has(a, ways[i]);
        return n;
}

/* Over SSH the browser is somewhere else, unless $BROWSER knows a way to it, as editors with a remote session do. */
static bool is_from_afar(const Connect *connect, const Arguments *a) {
        return terminal_is_remote() && !arguments_has(a, "page") &&
               !(connect->may_open_browser && !isempty(getenv("BROWSER")));
}

static ExitCode run(const Context *c, const Arguments *a) {
        _cleanup_(fault_done) Fault fault = {};
        _cleanup_(json_putp) json_object *who = NULL;
        Connect connect = {
                .context = c,
                .service = arguments_word(a, 0),
                .label = arguments_value(a, "as"),
                .account = arguments_value(a, "account"),
                .scope = arguments_value(a, "scope"),
                .replaces_account = arguments_has(a, "replace-account"),
                .may_open_browser = !arguments_has(a, "no-browser"),
                .is_yes = arguments_has(a, "yes"),
        };
        int r;

        if (count_ways(a) > 1) {
                (void)fault_set(&fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage", NULL,
                                "One of --page, --paste, --device and --token-stdin, not several");
                return fault_report(c, &fault);
        }
        if (arguments_has(a, "token-stdin")) {
                if (connect.scope)
                        r = fault_set(&fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage", NULL,
                                        "A token that you give has the scopes that it has: leave --scope "
                                        "away");
                else
                        r = connect_by_token(&connect, &fault);
                return r < 0 ? fault_report(c, &fault) : EXIT_CODE_DONE;
        }
        r = call_method(c, "io.vaultd.WhoAmI", NULL, CALL_LOCAL_USEC, &who, &fault);
        if (r >= 0)
                r = reply_need_string(who, "user", &connect.user, &fault);
        if (r >= 0)
                r = arguments_has(a, "paste") ? CONNECT_PASTE_INSTEAD
                    : arguments_has(a, "device")
                                    ? connect_by_device(&connect, &fault)
                                    : connect_by_page(&connect, is_from_afar(&connect, a), &fault);
        if (r == CONNECT_PASTE_INSTEAD)
                r = connect_by_paste(&connect, &fault);
        return r < 0 ? fault_report(c, &fault) : EXIT_CODE_DONE;
}

const Command command_connect = {
        .name = "connect",
        .synopsis = "SERVICE [--as LABEL] [--paste | --device] [OPTIONS]",
        .summary = "Connect a service to your vault",
        .help = "Prints a link to a page of this host. You agree at the service, the page then\n"
                "shows a code, and the code typed here makes the connection yours. Over SSH, and\n"
                "without a public page, it is --paste unless $BROWSER is set; the ssh -L line\n"
                "that makes the page work is printed too. ^C gives the connection up.\n\n"
                "  --as LABEL         Name for a second account of the same service\n"
                "  --page             By the page, also over SSH\n"
                "  --paste            No page: open the service's own address in any browser and\n"
                "                     paste back the address where it ends\n"
                "  --device           No page: approve a code at the service, in any browser,\n"
                "                     where an administrator has allowed it\n"
                "  --token-stdin      For services that hand out tokens by hand: reads one from\n"
                "                     standard input, or asks for it without showing it\n"
                "  --scope SCOPE      Ask for this right too, beside those asked for before;\n"
                "                     several in one word with blanks in between\n"
                "  --no-browser       Only print the link; start neither $BROWSER nor xdg-open\n"
                "  --replace-account  Allow another account than the one connected before\n"
                "  --account ID       Accept this account only; with --paste, --device and\n"
                "                     --token-stdin it also answers the question\n"
                "  --yes              With these: accept the account that the service names\n\n"
                "With --json each step is a line: state pending (link), quarantined (account) or\n"
                "identified (account of a token), connected. Without a terminal the code, or the\n"
                "pasted address, is read as a line from standard input.\n\n"
                "Example:\n  vaultctl connect notion\n",
        .options = options,
        .n_least = 1,
        .n_most = 1,
        .run = run,
};
