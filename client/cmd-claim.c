/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl claim: makes a grant the caller's whose terminal was lost before the code was typed.
 *
 * Who has a terminal has seen the account on the page. A script has not, so it has to name the account that it expects.
 *
 * A claim code is worth something to the uid that began the flow alone, and three wrong ones end it; still argv is public and
 * shells keep history, so the code may come from standard input, and the argument is for convenience. */

#include "client/command.h"
#include "client/connect.h"
#include "client/terminal.h"
#include "json/object.h"

static const Option options[] = {
        { "account", OPTION_TEXT },
        {},
};

static ExitCode run(const Context *c, const Arguments *a) {
        const char *code = arguments_word(a, 0), *account = arguments_value(a, "account");
        _cleanup_(fault_done) Fault fault = {};
        _cleanup_(erase_linep) char *line = NULL;
        int r;

        if (!account && !terminal_can_ask()) {
                (void)fault_set(&fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage",
                                "Run: vaultctl claim CODE --account ID",
                                "Without a terminal, say which account you expect: the page and vaultctl "
                                "status "
                                "name it");
                return fault_report(c, &fault);
        }
        if (!account && !code)
                code = "-";
        if (code && streq(code, "-")) {
                code = NULL;
                r = terminal_ask_line("Code shown on the page:", &line);
                if (r < 0 || isempty(line)) {
                        (void)fault_set(&fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage",
                                        "Run: vaultctl claim CODE", "No code was given");
                        return fault_report(c, &fault);
                }
                code = line;
        }
        r = claim_call(c, json_build("code", 's', code, "account", 's', account, NULL), &fault);
        return r < 0 ? fault_report(c, &fault) : EXIT_CODE_DONE;
}

const Command command_claim = {
        .name = "claim",
        .synopsis = "[CODE | -] [--account ID]",
        .summary = "Finish a connection with the code from the page",
        .help = "Only the user who began the connection can claim it. Three wrong codes end it.\n"
                "With - the code is read from standard input, so that it need not stand in the\n"
                "command line, which other users of this host can read; without CODE too.\n\n"
                "  --account ID  Claim it only if it is this account. Needed without a terminal.\n"
                "                What was begun with --device or --paste has no code: then it is\n"
                "                enough, without CODE\n\n"
                "Example:\n  vaultctl claim -\n",
        .options = options,
        .n_most = 1,
        .run = run,
};
