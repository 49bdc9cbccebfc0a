/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl services: what this host's administrator has set up, and what of it the caller has connected.
 *
 * The list is the daemon's, in its order. The word in the first column is what `connect` and the other commands take; the
 * address is shown because it, not the title, says where a credential goes. */

#include "client/call.h"
#include "client/command.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/table.h"
#include "json/object.h"

static int add_row(Table *table, json_object *service, Fault *fault) {
        bool is_set_up = !json_string(service, "notSetUp");
        const char *name, *title, *url, *custody;
        json_object *account = NULL;
        bool is_connected = false;

        if (reply_need_string(service, "name", &name, fault) < 0 ||
                        reply_need_string(service, "title", &title, fault) < 0 ||
                        reply_need_string(service, "url", &url, fault) < 0 ||
                        reply_need_string(service, "custody", &custody, fault) < 0)
                return FAULT_SET;
        if (json_get_bool(service, "connected", &is_connected) < 0)
                return fault_set_bad_reply(fault, "member 'connected' is missing or of another type");
        (void)json_get_object(service, "account", &account);
        table_add(table, name);
        table_add(table, title);
        table_add(table, account        ? account_name(account)
                         : is_connected ? "yes"
                         : is_set_up    ? "no"
                                        : "not set up");
        table_add(table, custody);
        table_add(table, url);
        return 0;
}

/* For administrators: one paragraph for each service that is not set up yet. */
static void say_what_is_lacking(const Context *c, json_object *services) {
        for (size_t i = 0; i < json_object_array_length(services); i++) {
                json_object *service = json_object_array_get_idx(services, i);
                const char *lacks = json_string(service, "notSetUp");

                if (lacks)
                        say(c, "%s", lacks);
        }
}

static ExitCode run(const Context *c, const Arguments *a) {
        static const char *const header[] = { "SERVICE", "TITLE", "CONNECTED AS", "CUSTODY", "ADDRESS" };
        _cleanup_(fault_done) Fault fault = {};
        _cleanup_(json_putp) json_object *reply = NULL;
        _cleanup_(table_freep) Table *table = table_new(ELEMENTSOF(header), header);
        json_object *services;
        size_t n;

        if (call_method(c, "io.vaultd.Services", NULL, CALL_LOCAL_USEC, &reply, &fault) < 0 ||
                        reply_need_array(reply, "services", json_type_object, &services, &fault) < 0)
                return fault_report(c, &fault);
        n = json_object_array_length(services);
        for (size_t i = 0; i < n && table; i++)
                if (add_row(table, json_object_array_get_idx(services, i), &fault) < 0)
                        return fault_report(c, &fault);
        if (!table) {
                (void)fault_set_memory(&fault);
                return fault_report(c, &fault);
        }
        if (c->is_json)
                output_json(reply);
        else if (n == 0)
                say(c, "No services are set up on this host. Your administrator adds them in %s/services.d.",
                                VAULTD_CONFIG_DIR);
        else {
                table_print(c, table, 0);
                say(c, "%s", "");
                say_what_is_lacking(c, services);
                say(c, "Connect one with: vaultctl connect SERVICE");
        }
        return EXIT_CODE_DONE;
}

const Command command_services = {
        .name = "services",
        .synopsis = "",
        .summary = "List the services of this host",
        .help = "Custody says where a credential is kept: host (here), platform (in your vault\n"
                "on the Claude Platform), mirror (here, with short-lived copies there while a\n"
                "session of yours runs).\n\n"
                "A service that is not set up needs something of an administrator first; what\n"
                "it is, and in which file, stands below the list.\n\n"
                "Example:\n  vaultctl services\n",
        .run = run,
};
