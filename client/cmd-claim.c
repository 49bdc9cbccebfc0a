/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl claim: makes a grant the caller's whose terminal was lost before the code was typed.
 *
 * A claim code is worth something to the uid that began the flow alone, and three wrong ones end it; still argv is public and
 * shells keep history, so the code may come from standard input, and the argument is for convenience. */

#include "client/command.h"
#include "client/connect.h"
#include "client/terminal.h"
#include "json/object.h"

static ExitCode run(const Context *c, const Arguments *a) {
        _cleanup_(fault_done) Fault fault = {};
        _cleanup_(erase_linep) char *line = NULL;
        const char *code = arguments_word(a, 0);
        int r;

        if (!code || streq(code, "-")) {
                r = terminal_ask_line("Code shown on the page:", &line);
                if (r < 0 || isempty(line)) {
                        (void)fault_set(&fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage",
                                        "Run: vaultctl claim CODE", "No code was given");
                        return fault_report(c, &fault);
                }
                code = line;
        }
        r = claim_call(c, json_build("code", 's', code, NULL), &fault);
        return r < 0 ? fault_report(c, &fault) : EXIT_CODE_DONE;
}

const Command command_claim = {
        .name = "claim",
        .synopsis = "[CODE | -]",
        .summary = "Finish a connection with the code from the page",
        .help = "Only the user who began the connection can claim it. Three wrong codes end it.\n"
                "Without CODE, or with -, the code is read from standard input, so that it need\n"
                "not stand in the command line, which other users of this host can read.\n\n"
                "Example:\n  vaultctl claim -\n",
        .n_most = 1,
        .run = run,
};
