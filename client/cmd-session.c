/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl session list and show: the caller's agent sessions.
 *
 * list answers from vaultd's records and has no status; show asks the platform for the present one. The vault ids are shown
 * because they are the point: a session works with exactly the vaults named there. */

#include "client/call.h"
#include "client/command.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/session.h"
#include "client/table.h"
#include "json/object.h"

static void add_pair(Table *table, const char *name, const char *value) {
        table_add(table, name);
        table_add(table, value);
}

int session_print(const Context *c, json_object *session, Fault *fault) {
        _cleanup_(table_freep) Table *table = table_new(2, NULL);
        _cleanup_(freep) char *vaults_text = NULL, *servers_text = NULL, *accounts_text = NULL, *when = NULL,
                              *agent_text = NULL;
        json_object *vaults, *servers, *accounts;
        const char *id, *agent, *environment;
        int64_t created, version;

        if (reply_need_string(session, "id", &id, fault) < 0 ||
                        reply_need_int64(session, "created", &created, fault) < 0 ||
                        reply_need_array(session, "vaultIds", json_type_string, &vaults, fault) < 0 ||
                        reply_need_array(session, "servers", json_type_string, &servers, fault) < 0 ||
                        reply_need_array(session, "accounts", json_type_string, &accounts, fault) < 0 ||
                        reply_need_string(session, "agent", &agent, fault) < 0 ||
                        reply_need_int64(session, "agentVersion", &version, fault) < 0 ||
                        reply_need_string(session, "environment", &environment, fault) < 0)
                return FAULT_SET;
        vaults_text = format_list(vaults);
        servers_text = format_list(servers);
        accounts_text = format_list(accounts);
        when = format_moment(created);
        if (asprintf(&agent_text, "%s, version %lld", agent, (long long)version) < 0)
                agent_text = NULL;
        if (!table || !vaults_text || !servers_text || !accounts_text || !when || !agent_text)
                return fault_set_memory(fault);
        add_pair(table, "Session", id);
        add_pair(table, "Title", json_string(session, "title"));
        if (json_string(session, "status"))
                add_pair(table, "Status", json_string(session, "status"));
        add_pair(table, "Created", when);
        add_pair(table, "Vaults", vaults_text);
        add_pair(table, "Servers", servers_text);
        add_pair(table, "Accounts", accounts_text);
        add_pair(table, "Agent", agent_text);
        add_pair(table, "Environment", environment);
        table_print(c, table, 0);
        return 0;
}

static ExitCode run_show(const Context *c, const Arguments *a) {
        _cleanup_(fault_done) Fault fault = {};
        _cleanup_(json_putp) json_object *reply = NULL;
        json_object *session;

        if (call_method(c, "io.vaultd.Session.Show", json_build("id", 's', arguments_word(a, 0), NULL),
                            CALL_REMOTE_USEC, &reply, &fault) < 0 ||
                        reply_need_object(reply, "session", &session, &fault) < 0)
                return fault_report(c, &fault);
        if (c->is_json)
                output_json(reply);
        else if (session_print(c, session, &fault) < 0)
                return fault_report(c, &fault);
        return EXIT_CODE_DONE;
}

static int add_row(Table *table, json_object *session, Fault *fault) {
        _cleanup_(freep) char *servers_text = NULL, *when = NULL;
        json_object *servers;
        int64_t created;
        const char *id;

        if (reply_need_string(session, "id", &id, fault) < 0 ||
                        reply_need_int64(session, "created", &created, fault) < 0 ||
                        reply_need_array(session, "servers", json_type_string, &servers, fault) < 0)
                return FAULT_SET;
        servers_text = format_list(servers);
        when = format_moment(created);
        if (!servers_text || !when)
                return fault_set_memory(fault);
        table_add(table, id);
        table_add(table, when);
        table_add(table, servers_text);
        table_add(table, json_string(session, "title"));
        return 0;
}

static ExitCode run_list(const Context *c, const Arguments *a) {
        static const char *const header[] = { "SESSION", "CREATED", "SERVERS", "TITLE" };
        _cleanup_(table_freep) Table *table = table_new(ELEMENTSOF(header), header);
        _cleanup_(fault_done) Fault fault = {};
        _cleanup_(json_putp) json_object *reply = NULL;
        json_object *sessions;
        size_t n;

        if (!table) {
                (void)fault_set_memory(&fault);
                return fault_report(c, &fault);
        }
        if (call_method(c, "io.vaultd.Session.List", NULL, CALL_LOCAL_USEC, &reply, &fault) < 0 ||
                        reply_need_array(reply, "sessions", json_type_object, &sessions, &fault) < 0)
                return fault_report(c, &fault);
        n = json_object_array_length(sessions);
        for (size_t i = 0; i < n; i++)
                if (add_row(table, json_object_array_get_idx(sessions, i), &fault) < 0)
                        return fault_report(c, &fault);
        if (c->is_json)
                output_json(reply);
        else if (n == 0)
                say(c, "You have no sessions. Start one with: vaultctl session start");
        else
                table_print(c, table, 0);
        return EXIT_CODE_DONE;
}

const Command command_session_list = {
        .name = "session list",
        .synopsis = "",
        .summary = "List your agent sessions",
        .help = "Newest first. What a session is doing now is shown by: vaultctl session show ID\n\n"
                "Example:\n  vaultctl session list\n",
        .run = run_list,
};

const Command command_session_show = {
        .name = "session show",
        .synopsis = "ID",
        .summary = "Show one session and its present status",
        .help = "Example:\n  vaultctl session show ID\n",
        .n_least = 1,
        .n_most = 1,
        .run = run_show,
};
