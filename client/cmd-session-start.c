/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl session start: shows what a session may do, then starts exactly that.
 *
 * Plan comes first and its table is always shown (S2); Start carries the plan's digest, so a session that would differ from what
 * was shown does not start. The yes is asked on a terminal; without one it must be given as --yes, since a script that starts
 * sessions should say so. The order of faults matters: a missing connection is told before a missing --yes. */

#include "client/call.h"
#include "client/command.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/session.h"
#include "client/table.h"
#include "client/terminal.h"
#include "json/object.h"

static const Option options[] = {
        { "server", OPTION_LIST },
        { "title", OPTION_TEXT },
        { "message", OPTION_TEXT },
        { "yes", OPTION_FLAG },
        {},
};

/* The names given with --server, or NULL for the host's default. *ret is a new reference. */
static int requested_servers(const Arguments *a, json_object **ret, Fault *fault) {
        _cleanup_(json_putp) json_object *servers = NULL;

        for (size_t i = 0; i < a->n_given; i++) {
                if (!streq(a->given[i].name, "server"))
                        continue;
                if (!servers && !(servers = json_object_new_array()))
                        return fault_set_memory(fault);
                if (json_array_add_string(servers, a->given[i].value) < 0)
                        return fault_set_memory(fault);
        }
        *ret = TAKE_PTR(servers);
        return 0;
}

/* Rows of one server: tools that are on, tools that ask, and that nothing else is. */
static int add_server(Table *table, json_object *server, Fault *fault) {
        _cleanup_(freep) char *on_text = NULL, *ask_text = NULL;
        const char *title, *account;
        json_object *on, *asking;

        if (reply_need_string(server, "title", &title, fault) < 0 ||
                        reply_need_string(server, "account", &account, fault) < 0 ||
                        reply_need_array(server, "toolsOn", json_type_string, &on, fault) < 0 ||
                        reply_need_array(server, "toolsAsk", json_type_string, &asking, fault) < 0)
                return FAULT_SET;
        on_text = format_list(on);
        ask_text = format_list(asking);
        if (!on_text || !ask_text)
                return fault_set_memory(fault);
        table_add(table, title);
        table_add(table, account);
        table_add(table, "on");
        table_add(table, on_text);
        table_add_blank(table);
        table_add_blank(table);
        table_add(table, "ask");
        table_add(table, ask_text);
        table_add_blank(table);
        table_add_blank(table);
        table_add(table, "off");
        table_add(table, "everything else");
        return 0;
}

static int show_plan(const Context *c, json_object *plan, Fault *fault) {
        static const char *const header[] = { "SERVER", "ACCOUNT", "TOOLS", "" };
        _cleanup_(table_freep) Table *table = table_new(ELEMENTSOF(header), header);
        const char *vault, *model;
        json_object *servers;
        int r;

        if (!table)
                return fault_set_memory(fault);
        if (reply_need_string(plan, "vault", &vault, fault) < 0 ||
                        reply_need_string(plan, "model", &model, fault) < 0 ||
                        reply_need_array(plan, "servers", json_type_object, &servers, fault) < 0)
                return FAULT_SET;
        for (size_t i = 0; i < json_object_array_length(servers); i++) {
                r = add_server(table, json_object_array_get_idx(servers, i), fault);
                if (r < 0)
                        return r;
        }
        say(c, "The session will have");
        say(c, "  vault  %s", vault);
        say(c, "  model  %s", model);
        say(c, "%s", "");
        if (json_object_array_length(servers) > 0)
                table_print(c, table, 0);
        else
                say(c, "No servers: everything is off.");
        say(c, "%s", "");
        return 0;
}

/* 0 to go on, or FAULT_SET. */
static int ask(const Arguments *a, Fault *fault) {
        int r;

        if (arguments_has(a, "yes"))
                return 0;
        if (!terminal_can_ask())
                return fault_set(fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage",
                                "Run: vaultctl session start --yes",
                                "Nobody can be asked here whether the session may start");
        r = terminal_ask_yes("Start this session? [y/N]");
        if (r <= 0)
                return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Declined", NULL,
                                "No session was started");
        return 0;
}

static int start(const Context *c, const Arguments *a, json_object *servers, const char *digest,
                Fault *fault) {
        _cleanup_(json_putp) json_object *reply = NULL, *parameters = NULL;
        json_object *session;
        int r;

        parameters = json_build("plan", 's', digest, "title", 's', arguments_value(a, "title"), "message",
                        's', arguments_value(a, "message"), NULL);
        if (!parameters || (servers && json_add(parameters, "servers", json_object_get(servers)) < 0))
                return fault_set_memory(fault);
        r = call_method(c, "io.vaultd.Session.Start", TAKE_PTR(parameters), CALL_REMOTE_USEC, &reply, fault);
        if (r < 0)
                return r;
        r = reply_need_object(reply, "session", &session, fault);
        if (r < 0)
                return r;
        if (c->is_json) {
                output_json(reply);
                return 0;
        }
        say_styled(c, STYLE_GOOD, "The session has started.");
        return session_print(c, session, fault);
}

static ExitCode run(const Context *c, const Arguments *a) {
        _cleanup_(json_putp) json_object *servers = NULL, *parameters = NULL, *plan = NULL;
        _cleanup_(fault_done) Fault fault = {};
        Context asking = *c;
        const char *digest;

        /* With --json the table goes beside the document when somebody is there to be asked about it. */
        if (c->is_json && !arguments_has(a, "yes") && terminal_can_ask()) {
                asking.human = stderr;
                asking.is_styled = terminal_is_styled(stderr);
        }
        if (requested_servers(a, &servers, &fault) < 0)
                return fault_report(c, &fault);
        parameters = json_object_new_object();
        if (!parameters || (servers && json_add(parameters, "servers", json_object_get(servers)) < 0))
                (void)fault_set_memory(&fault);
        else if (call_method(c, "io.vaultd.Session.Plan", TAKE_PTR(parameters), CALL_REMOTE_USEC, &plan,
                                 &fault) < 0 ||
                        reply_need_string(plan, "digest", &digest, &fault) < 0 ||
                        show_plan(&asking, plan, &fault) < 0 || ask(a, &fault) < 0 ||
                        start(c, a, servers, digest, &fault) < 0)
                ; /* the fault is set */
        else
                return EXIT_CODE_DONE;
        return fault_report(c, &fault);
}

const Command command_session_start = {
        .name = "session start",
        .synopsis = "[--server NAME]… [--yes] [OPTIONS]",
        .summary = "Start an agent session with your vault",
        .help = "Shows first which servers, accounts and tools the session gets, then asks.\n\n"
                "  --server NAME   A service that the session may use; several times for several\n"
                "                  (default: what the administrator has chosen)\n"
                "  --title TEXT    A name for the session\n"
                "  --message TEXT  The first message to the agent\n"
                "  --yes           Start without asking; needed where there is no terminal\n\n"
                "Example:\n  vaultctl session start --server notion --message 'Sum up my tasks'\n",
        .options = options,
        .run = run,
};
