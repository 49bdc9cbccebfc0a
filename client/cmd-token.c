/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl token: the token itself, on standard output, for a program that must have it in hand.
 *
 * The one command that shows a secret, so it is shy: on a terminal, where it would stay in the scroll-back, it asks before it
 * reads (a read leaves a record), and it prints nothing but the token and a line end, so that $(vaultctl token github) is the
 * token. What could not stand on one line is not printed at all. vaultd decides who may (TokenReaders=); nothing here is a
 * guard. */

#include "client/call.h"
#include "client/command.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/terminal.h"
#include "json/object.h"

static const Option options[] = { { "as", OPTION_TEXT }, { "yes", OPTION_FLAG }, {} };

/* 0 to go on, or FAULT_SET. */
static int ask(const Arguments *a, Fault *fault) {
        if (arguments_has(a, "yes") || !isatty(STDOUT_FILENO))
                return 0;
        if (!terminal_can_ask())
                return fault_set(fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage",
                                "Give it to a program, or say --yes",
                                "The token would stand on the terminal, and nobody can be asked whether it "
                                "may");
        if (terminal_ask_yes("The token will stand on your terminal. Show it? [y/N]") > 0)
                return 0;
        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Declined", NULL, "Nothing was read");
}

/* "github:work" or "github", and --as; each is checked by vaultd. */
static int read_parameters(const Arguments *a, json_object **ret, Fault *fault) {
        const char *word = arguments_word(a, 0), *colon = strchr(word, ':'),
                   *label = arguments_value(a, "as");
        _cleanup_(freep) char *service = strndup(word, colon ? (size_t)(colon - word) : strlen(word));

        if (colon && label)
                return fault_set(fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage", NULL,
                                "The label is given twice: in %s and with --as", word);
        *ret = json_build("service", 's', service, "label", 's', colon ? colon + 1 : label, NULL);
        return service && *ret ? 0 : fault_set_memory(fault);
}

static int print_token(const char *token, Fault *fault) {
        for (const char *p = token; *p; p++)
                if ((unsigned char)*p < 0x20 || *p == 0x7f)
                        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.BadToken", "Use --json",
                                        "The token has control characters in it and cannot stand on a line");
        (void)fputs(token, stdout);
        (void)fputc('\n', stdout);
        return 0;
}

static ExitCode run(const Context *c, const Arguments *a) {
        _cleanup_(fault_done) Fault fault = {};
        _cleanup_(json_putp) json_object *reply = NULL;
        json_object *parameters = NULL;
        const char *token;

        if (ask(a, &fault) < 0 || read_parameters(a, &parameters, &fault) < 0 ||
                        call_method(c, "io.vaultd.Token.Read", parameters, CALL_REMOTE_USEC, &reply, &fault) <
                                        0 ||
                        reply_need_string(reply, "token", &token, &fault) < 0)
                return fault_report(c, &fault);
        if (c->is_json)
                output_json(reply);
        else if (print_token(token, &fault) < 0)
                return fault_report(c, &fault);
        return EXIT_CODE_DONE;
}

const Command command_token = {
        .name = "token",
        .synopsis = "SERVICE[:LABEL] [--as LABEL] [--yes]",
        .summary = "Print the token of a connection",
        .help = "For programs that need a token in hand. It is off unless your administrator has\n"
                "named you as a reader, and each read is recorded. Prints the token alone.\n\n"
                "  --as LABEL  The account with this label; the same as SERVICE:LABEL\n"
                "  --yes       Do not ask before it is printed on a terminal\n\n"
                "Example:\n  GH_TOKEN=$(vaultctl token github) gh pr list\n",
        .options = options,
        .n_least = 1,
        .n_most = 1,
        .run = run,
};
