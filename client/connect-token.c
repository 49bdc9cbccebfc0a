/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Connecting with a token that the service hands out by hand.
 *
 * The token comes on standard input, from a pipe or typed at a prompt that shows nothing: a command line can be read by every
 * user of the host, and an environment variable is inherited. vaultd asks the service whose token it is; that account is shown,
 * and the yes to it is sent with the token, so vaultd keeps it only if the service says the same again. Where nobody can be asked
 * the account has to be named beforehand (--account), or any is accepted (--yes).
 *
 * What is plainly no token is refused here, with words; vaultd refuses it again. */

#include <termios.h>

#include "client/connect.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/terminal.h"
#include "json/object.h"
#include "util/buffer.h"

#define TOKEN_SIZE_MAX (64U * 1024)

static int fail_input(Fault *fault, const char *what) {
        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.BadInput", NULL, "%s", what);
}

/* One line from the terminal, unseen. A signal between the two tcsetattr(3) leaves the terminal to the shell, which restores it. */
static int ask_hidden(const char *service, char **ret, Fault *fault) {
        _cleanup_(freep) char *question = NULL;
        struct termios before, hidden;
        bool is_hidden;
        int r;

        if (asprintf(&question, "Token for %s (it is not shown):", service) < 0)
                return fault_set_memory(fault);
        is_hidden = tcgetattr(STDIN_FILENO, &before) == 0;
        if (is_hidden) {
                hidden = before;
                hidden.c_lflag &= ~(tcflag_t)ECHO;
                hidden.c_lflag |= ECHONL;
                is_hidden = tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) == 0;
        }
        if (!is_hidden)
                return fail_input(fault, "The terminal cannot be kept from showing what is typed; give the "
                                         "token by a pipe");
        r = terminal_ask_line(question, ret);
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        if (r == -EMSGSIZE)
                return fail_input(fault,
                                "The token is too long for this terminal and was cut; give it by a pipe");
        return r < 0 ? fail_input(fault, "No token was given") : 0;
}

/* All of standard input, without the line end at its end. */
static int read_all(char **ret, Fault *fault) {
        _cleanup_(buffer_done) Buffer all = {};
        char piece[4096];
        ssize_t n;

        while ((n = read(STDIN_FILENO, piece, sizeof(piece))) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return fail_input(fault, "Standard input cannot be read");
                /* With room for a line end. */
                if (all.size + (size_t)n > TOKEN_SIZE_MAX + 2)
                        return fail_input(fault, "The token is longer than 64 KiB");
                if (buffer_append(&all, piece, (size_t)n) < 0)
                        return fault_set_memory(fault);
        }
        explicit_bzero(piece, sizeof(piece));
        if (all.size > 0 && all.bytes[all.size - 1] == '\n')
                all.size--;
        if (all.size > 0 && all.bytes[all.size - 1] == '\r')
                all.size--;
        if (all.size > 0 && memchr(all.bytes, 0, all.size))
                return fail_input(fault, "The token has control characters in it");
        *ret = strndup(all.size > 0 ? (const char *)all.bytes : "", all.size);
        return *ret ? 0 : fault_set_memory(fault);
}

static int read_token(const Connect *connect, char **ret, Fault *fault) {
        _cleanup_(erase_linep) char *token = NULL;
        int r;

        r = isatty(STDIN_FILENO) ? ask_hidden(connect->service, &token, fault) : read_all(&token, fault);
        if (r < 0)
                return r;
        if (isempty(token))
                return fail_input(fault, "No token was given");
        if (strlen(token) > TOKEN_SIZE_MAX)
                return fail_input(fault, "The token is longer than 64 KiB");
        for (const char *p = token; *p; p++)
                if ((unsigned char)*p < 0x20 || *p == 0x7f)
                        return fail_input(fault, "The token has control characters in it");
        *ret = TAKE_PTR(token);
        return 0;
}

/* Shows the account, NULL: not known, and asks for a yes to it. */
static int ask_account(const Connect *connect, const char *title, json_object *account, Fault *fault) {
        _cleanup_(freep) char *text = account ? format_account(account) : NULL, *question = NULL;
        const Context *c = connect->context;
        int r;

        if (account && !text)
                return fault_set_memory(fault);
        if (connect->account && !streq_ptr(connect->account, account ? json_string(account, "id") : NULL))
                return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.OtherAccount", NULL,
                                account ? "The token is of the account %s at %s, not of %s. Nothing was "
                                          "connected"
                                        : "%s%s cannot be asked whose token it is, so nobody knows whether "
                                          "it is of %s. Nothing was connected",
                                account ? text : "", title, connect->account);
        if (account)
                say_styled(c, STYLE_BOLD, "Account at %s: %s", title, text);
        else
                say_styled(c, STYLE_WARNING, "%s cannot be asked whose token it is.", title);
        if (connect->account || connect->is_yes)
                return 0;
        if (asprintf(&question, account ? "Connect %s as %s? [y/N]" : "Connect %s with this token? [y/N]",
                            title, text) < 0)
                return fault_set_memory(fault);
        r = terminal_ask_yes(question);
        if (r > 0)
                return 0;
        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Declined", NULL, "%s was not connected",
                        title);
}

static int show_identified(const Context *c, json_object *reply, Fault *fault) {
        _cleanup_(json_putp) json_object *document = json_build("state", 's', "identified", NULL);

        if (!c->is_json)
                return 0;
        if (!document)
                return fault_set_memory(fault);
        json_object_object_foreach(reply, name, value) {
                if (!streq(name, "state") && json_add(document, name, json_object_get(value)) < 0)
                        return fault_set_memory(fault);
        }
        output_json(document);
        return 0;
}

static int keep(const Connect *connect, const char *token, json_object *account, Fault *fault) {
        _cleanup_(json_putp) json_object *reply = NULL;
        json_object *parameters = json_build("service", 's', connect->service, "label", 's', connect->label,
                        "token", 's', token, "account", 's', account ? json_string(account, "id") : NULL,
                        NULL);
        int r;

        if (!parameters ||
                        (connect->replaces_account && json_add_bool(parameters, "replaceAccount", true) < 0))
                return fault_set_memory(fault);
        r = call_method(connect->context, "io.vaultd.Connect.Keep", parameters, CALL_REMOTE_USEC, &reply,
                        fault);
        return r < 0 ? r : connected_say(connect->context, reply, fault);
}

int connect_by_token(const Connect *connect, Fault *fault) {
        _cleanup_(json_putp) json_object *reply = NULL;
        _cleanup_(erase_linep) char *token = NULL;
        json_object *account = NULL;
        const char *title;
        int r;

        /* Before anything is read or sent. */
        if (!connect->account && !connect->is_yes && !terminal_can_ask())
                return fault_set(fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage",
                                "Say whose token it is with --account ID, or accept what the service says "
                                "with --yes",
                                "Nobody can be asked here whether the account is right");
        r = read_token(connect, &token, fault);
        if (r < 0)
                return r;
        r = call_method(connect->context, "io.vaultd.Connect.Identify",
                        json_build("service", 's', connect->service, "token", 's', token, NULL),
                        CALL_REMOTE_USEC, &reply, fault);
        if (r < 0 || (r = reply_need_string(reply, "title", &title, fault)) < 0)
                return r;
        (void)json_get_object(reply, "account", &account);
        if (account && isempty(json_string(account, "id")))
                return fault_set_bad_reply(fault, "an account without an id");
        r = show_identified(connect->context, reply, fault);
        if (r >= 0)
                r = ask_account(connect, title, account, fault);
        return r < 0 ? r : keep(connect, token, account, fault);
}
