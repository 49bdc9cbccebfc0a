/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl status: the caller's vault, connections, unfinished flows and logins, on one screen.
 *
 * Sections without entries are left out, apart from the connections, where the reader is told how to make the first one. A
 * state other than active is coloured and followed by what mends it, so that the screen answers "why does my agent not
 * work" by itself. Ids of logins are left to the JSON form, which is the daemon's reply: with them a row is wider than a terminal. */

#include "client/call.h"
#include "client/command.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/table.h"
#include "json/object.h"

static void print_section(const Context *c, const char *title, const Table *table) {
        say(c, "%s", "");
        say_styled(c, STYLE_BOLD, "%s", title);
        table_print(c, table, 2);
}

/* Adds a time cell that format makes, or a dash when the member is absent. */
static void add_time(Table *table, json_object *object, const char *name, char *(*format)(int64_t)) {
        _cleanup_(freep) char *text = NULL;
        int64_t moment;

        if (json_get_int64(object, name, &moment) == 0)
                text = format(moment);
        table_add(table, text);
}

static int print_summary(const Context *c, json_object *reply, Fault *fault) {
        _cleanup_(table_freep) Table *table = table_new(2, NULL);
        _cleanup_(freep) char *who = NULL, *vault_text = NULL;
        json_object *vault = NULL;
        bool has_platform = false;
        const char *user;
        int64_t uid;

        if (reply_need_int64(reply, "uid", &uid, fault) < 0 ||
                        reply_need_string(reply, "user", &user, fault) < 0)
                return FAULT_SET;
        (void)json_get_object(reply, "vault", &vault);
        (void)json_get_bool(reply, "platform", &has_platform);
        if (!table || asprintf(&who, "%s (uid %lld)", user, (long long)uid) < 0)
                return fault_set_memory(fault);
        if (vault && asprintf(&vault_text, "%s, %s", json_string(vault, "id") ?: "-",
                                     json_string(vault, "state") ?: "-") < 0)
                return fault_set_memory(fault);
        table_add(table, "User");
        table_add(table, who);
        table_add(table, "Vault");
        table_add(table, vault_text ?: "none");
        table_add(table, "Claude Platform");
        table_add(table, has_platform ? "set up" : "not set up on this host");
        table_print(c, table, 0);
        if (vault && !streq_ptr(json_string(vault, "state"), "active"))
                say_styled(c, STYLE_BAD,
                                "The vault is not active: nothing in it can be used. Ask your "
                                "administrator.");
        return 0;
}

/* What is wrong with a connection, and the command that mends it. */
static void say_reconnect(const Context *c, json_object *connection) {
        const char *reason = json_string(connection, "reason"), *label = json_string(connection, "label"),
                   *kind = json_string(connection, "kind");
        bool is_default = !label || streq(label, "default");

        say_styled(c, STYLE_WARNING,
                        "  %s credentials need to be connected again%s%s. Run: vaultctl connect %s%s%s%s",
                        json_string(connection, "title") ?: "-", reason ? ": " : "", reason ?: "",
                        json_string(connection, "service") ?: "-", is_default ? "" : " --as ",
                        is_default ? "" : label, !kind || streq(kind, "oauth") ? "" : " --token-stdin");
}

static int print_connections(const Context *c, json_object *connections, Fault *fault) {
        static const char *const header[] = { "SERVICE", "LABEL", "ACCOUNT", "STATE", "CUSTODY", "EXPIRES" };
        _cleanup_(table_freep) Table *table = table_new(ELEMENTSOF(header), header);
        size_t n = json_object_array_length(connections);

        if (!table)
                return fault_set_memory(fault);
        if (n == 0) {
                say(c, "%s", "");
                say(c, "No service is connected yet. See: vaultctl services");
                return 0;
        }
        for (size_t i = 0; i < n; i++) {
                json_object *connection = json_object_array_get_idx(connections, i), *account = NULL;

                (void)json_get_object(connection, "account", &account);
                table_add(table, json_string(connection, "service"));
                table_add(table, json_string(connection, "label"));
                table_add(table, account_name(account));
                table_add(table, json_string(connection, "state"));
                table_add(table, json_string(connection, "custody"));
                add_time(table, connection, "expires", format_until);
        }
        print_section(c, "Connections", table);
        for (size_t i = 0; i < n; i++) {
                json_object *connection = json_object_array_get_idx(connections, i);

                if (streq_ptr(json_string(connection, "state"), "needs-reconnect"))
                        say_reconnect(c, connection);
        }
        return 0;
}

static int print_flows(const Context *c, json_object *flows, Fault *fault) {
        static const char *const header[] = { "SERVICE", "STATE", "ACCOUNT", "EXPIRES" };
        _cleanup_(table_freep) Table *table = table_new(ELEMENTSOF(header), header);
        bool has_quarantined = false;

        if (!table)
                return fault_set_memory(fault);
        for (size_t i = 0; i < json_object_array_length(flows); i++) {
                json_object *flow = json_object_array_get_idx(flows, i), *account = NULL;

                (void)json_get_object(flow, "account", &account);
                table_add(table, json_string(flow, "service"));
                table_add(table, json_string(flow, "state"));
                table_add(table, account_name(account));
                add_time(table, flow, "expires", format_until);
                has_quarantined |= streq_ptr(json_string(flow, "state"), "quarantined");
        }
        if (json_object_array_length(flows) > 0)
                print_section(c, "Begun and not finished", table);
        if (has_quarantined)
                say(c, "  Quarantined: the browser shows a code. Run: vaultctl claim CODE");
        return 0;
}

static int print_logins(const Context *c, json_object *logins, Fault *fault) {
        static const char *const header[] = { "SERVICE", "TERMINAL", "FROM", "SINCE" };
        _cleanup_(table_freep) Table *table = table_new(ELEMENTSOF(header), header);

        if (!table)
                return fault_set_memory(fault);
        for (size_t i = 0; i < json_object_array_length(logins); i++) {
                json_object *login = json_object_array_get_idx(logins, i);

                table_add(table, json_string(login, "service"));
                table_add(table, json_string(login, "tty"));
                table_add(table, json_string(login, "rhost"));
                add_time(table, login, "opened", format_moment);
        }
        if (json_object_array_length(logins) > 0)
                print_section(c, "Logins", table);
        return 0;
}

/* A page that one does not know of is worth a look. A vaultd of before there were any says nothing. */
static void print_pages(const Context *c, json_object *reply) {
        int64_t n;

        if (json_get_int64(reply, "pages", &n) < 0 || n < 1)
                return;
        say(c, "%s", "");
        if (n == 1)
                say(c, "The page of your services is open in a browser. To close it, run: vaultctl web "
                       "--end");
        else
                say(c,
                                "The page of your services is open in %lld browsers. To close it, run: "
                                "vaultctl web --end",
                                (long long)n);
}

static ExitCode run(const Context *c, const Arguments *a) {
        _cleanup_(fault_done) Fault fault = {};
        _cleanup_(json_putp) json_object *reply = NULL;
        json_object *connections, *flows, *logins;

        if (call_method(c, "io.vaultd.Status", NULL, CALL_LOCAL_USEC, &reply, &fault) < 0 ||
                        reply_need_array(reply, "connections", json_type_object, &connections, &fault) < 0 ||
                        reply_need_array(reply, "flows", json_type_object, &flows, &fault) < 0 ||
                        reply_need_array(reply, "logins", json_type_object, &logins, &fault) < 0)
                return fault_report(c, &fault);
        if (c->is_json)
                output_json(reply);
        else if (print_summary(c, reply, &fault) < 0 || print_connections(c, connections, &fault) < 0 ||
                        print_flows(c, flows, &fault) < 0 || print_logins(c, logins, &fault) < 0)
                return fault_report(c, &fault);
        else
                print_pages(c, reply);
        return EXIT_CODE_DONE;
}

const Command command_status = {
        .name = "status",
        .synopsis = "",
        .summary = "Show your vault, connections and logins",
        .help = "Example:\n  vaultctl status --json\n",
        .run = run,
};
