/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl web: the page of one's services in a browser, and what of it has to be said in the terminal.
 *
 * The link lets in whoever opens it first. Printed it is on the user's terminal alone. A browser that is started gets it in its command line, which
 * every user of the host can read; so where one may be started, vaultd is asked for a link that opens together with a code only, and the code
 * is printed and never passed on. With --json nothing is started, since whoever reads the document can do that himself.
 *
 * A code may be given as an argument: it is worth something to this uid alone, over its own socket. From standard input it comes too. */

#include "client/browser.h"
#include "client/command.h"
#include "client/connect.h"
#include "client/output.h"
#include "client/qr.h"
#include "client/reply.h"
#include "client/terminal.h"
#include "json/object.h"

#define LINK_MAX_BYTES 2048

static const Option options[] = {
        { "no-browser", OPTION_FLAG },
        { "confirm", OPTION_TEXT },
        { "end", OPTION_FLAG },
        {},
};

static int end_pages(const Context *c, Fault *fault) {
        _cleanup_(json_putp) json_object *reply = NULL;
        int64_t n;

        if (call_method(c, "io.vaultd.Page.End", NULL, CALL_LOCAL_USEC, &reply, fault) < 0 ||
                        reply_need_int64(reply, "pages", &n, fault) < 0)
                return FAULT_SET;
        if (c->is_json)
                output_json(reply);
        else if (n == 0)
                say(c, "No page of yours was open.");
        else if (n == 1)
                say(c, "Your page is closed.");
        else
                say(c, "Your pages are closed: %lld.", (long long)n);
        return 0;
}

static int confirm(const Context *c, const char *code, Fault *fault) {
        _cleanup_(json_putp) json_object *reply = NULL;
        _cleanup_(erase_linep) char *line = NULL;

        if (isempty(code) || streq(code, "-")) {
                if (terminal_ask_line("Code shown on the page:", &line) < 0 || isempty(line))
                        return fault_set(fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage",
                                        "Run: vaultctl web --confirm CODE", "No code was given");
                code = line;
        }
        if (call_method(c, "io.vaultd.Page.Confirm", json_build("code", 's', code, NULL), CALL_REMOTE_USEC,
                            &reply, fault) < 0)
                return FAULT_SET;
        return disconnected_say(c, reply, fault);
}

/* The link, and where it asks for one the code, in every way that helps. */
static void say_page(
                const Context *c, const char *link, const char *code, const char *user, const char *host) {
        say(c, "The page of your services. Open this link in your browser; it works once, for five "
               "minutes:");
        say(c, "%s", "");
        say_link(c, link);
        say(c, "%s", "");
        if (qr_print(c, link))
                say(c, "%s", "");
        say(c, "Go on there only if the page names %s and %s.", user, host);
        if (code)
                say_styled(c, STYLE_BOLD, "It asks for this code: %s", code);
        if (c->human)
                (void)fflush(c->human);
        if (code && browser_open(link))
                say(c, "Your browser has been opened.");
}

static int open_page(const Context *c, bool may_open_browser, Fault *fault) {
        const char *link, *user, *host, *code = NULL;
        _cleanup_(json_putp) json_object *reply = NULL;
        bool with_code = may_open_browser && !c->is_json && browser_is_there();
        int r;

        if (call_method(c, "io.vaultd.Page.Open", json_build("withCode", 'b', with_code, NULL),
                            CALL_LOCAL_USEC, &reply, fault) < 0 ||
                        reply_need_string(reply, "link", &link, fault) < 0 ||
                        reply_need_string(reply, "user", &user, fault) < 0 ||
                        reply_need_string(reply, "host", &host, fault) < 0)
                return FAULT_SET;
        r = json_get_string(reply, "code", &code);
        if (!startswith(link, "https://") || !link_is_acceptable(link, LINK_MAX_BYTES))
                return fault_set_bad_reply(fault, "a link that cannot be opened");
        /* Without one the link alone would stand in a command line. */
        if (with_code != (r >= 0))
                return fault_set_bad_reply(
                                fault, "member 'code' is there or missing against what was asked");
        if (c->is_json)
                output_json(reply);
        else
                say_page(c, link, code, user, host);
        return 0;
}

static ExitCode run(const Context *c, const Arguments *a) {
        _cleanup_(fault_done) Fault fault = {};
        int r;

        if (arguments_has(a, "end") && arguments_has(a, "confirm"))
                r = fault_set(&fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage", NULL,
                                "Either --end or --confirm, not both");
        else if (arguments_has(a, "end"))
                r = end_pages(c, &fault);
        else if (arguments_has(a, "confirm"))
                r = confirm(c, arguments_value(a, "confirm"), &fault);
        else
                r = open_page(c, !arguments_has(a, "no-browser"), &fault);
        return r < 0 ? fault_report(c, &fault) : EXIT_CODE_DONE;
}

const Command command_web = {
        .name = "web",
        .synopsis = "[--no-browser | --confirm CODE | --end]",
        .summary = "Show your services on a page in the browser",
        .help = "Prints a link that opens the page once: what is connected, as whom, and\n"
                "buttons to connect and disconnect. Needs a host whose pages are published\n"
                "under https. What you begin there ends here: a connection with vaultctl\n"
                "claim, a disconnect with --confirm. The page closes after ten minutes without\n"
                "use, and when you log out.\n\n"
                "  --no-browser    Only print the link; start neither $BROWSER nor xdg-open.\n"
                "                  Where one is started the page also asks for a code, which is\n"
                "                  printed here, since a browser's command line is public\n"
                "  --confirm CODE  Disconnect what the page was asked to disconnect; - reads the\n"
                "                  code from standard input\n"
                "  --end           Close the page in every browser\n\n"
                "Example:\n  vaultctl web\n",
        .options = options,
        .run = run,
};
