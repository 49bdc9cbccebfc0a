/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl check: do the connections work, asked of the services themselves.
 *
 * vaultd asks, refreshing what is due, and says of each whether it is valid, invalid or not known, and why. The exit code is
 * for scripts: 3 when something has to be connected again, 6 when a service could not be asked, the former where both are so. A connection
 * that is there is needed for that: none at all is exit 0 without a service, and 3 with one. */

#include "client/call.h"
#include "client/command.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/table.h"
#include "json/object.h"

static const Option options[] = { { "as", OPTION_TEXT }, { "tool", OPTION_TEXT }, {} };

static int add_row(Table *table, json_object *result, Fault *fault) {
        const char *service, *label, *verdict;
        json_object *account = NULL;

        if (reply_need_string(result, "service", &service, fault) < 0 ||
                        reply_need_string(result, "label", &label, fault) < 0 ||
                        reply_need_string(result, "verdict", &verdict, fault) < 0)
                return FAULT_SET;
        (void)json_get_object(result, "account", &account);
        table_add(table, service);
        table_add(table, label);
        table_add(table, account_name(account));
        table_add(table, verdict);
        return 0;
}

static void say_reason(const Context *c, json_object *result) {
        const char *reason = json_string(result, "reason"), *hint = json_string(result, "hint");

        if (reason || hint)
                say_styled(c,
                                streq_ptr(json_string(result, "verdict"), "valid") ? STYLE_PLAIN
                                                                                   : STYLE_WARNING,
                                "  %s, %s: %s%s%s", json_string(result, "title") ?: "-",
                                json_string(result, "label") ?: "-", reason ?: "",
                                reason && hint ? ". " : "", hint ?: "");
}

static int print_results(const Context *c, json_object *results, Fault *fault) {
        static const char *const header[] = { "SERVICE", "LABEL", "ACCOUNT", "VERDICT" };
        _cleanup_(table_freep) Table *table = table_new(ELEMENTSOF(header), header);
        size_t n = json_object_array_length(results);

        if (!table)
                return fault_set_memory(fault);
        if (n == 0) {
                say(c, "No service is connected yet. See: vaultctl services");
                return 0;
        }
        for (size_t i = 0; i < n; i++)
                if (add_row(table, json_object_array_get_idx(results, i), fault) < 0)
                        return FAULT_SET;
        table_print(c, table, 0);
        for (size_t i = 0; i < n; i++)
                say_reason(c, json_object_array_get_idx(results, i));
        return 0;
}

/* The worst of them. A word that is not known is no good news. */
static ExitCode code_of(json_object *results) {
        ExitCode code = EXIT_CODE_DONE;

        for (size_t i = 0; i < json_object_array_length(results); i++) {
                const char *verdict = json_string(json_object_array_get_idx(results, i), "verdict");

                if (streq_ptr(verdict, "invalid"))
                        return EXIT_CODE_NOT_CONNECTED;
                if (!streq_ptr(verdict, "valid"))
                        code = EXIT_CODE_UPSTREAM;
        }
        return code;
}

static ExitCode run(const Context *c, const Arguments *a) {
        _cleanup_(fault_done) Fault fault = {};
        _cleanup_(json_putp) json_object *reply = NULL;
        json_object *parameters, *results;
        const char *service = a->n_words > 0 ? arguments_word(a, 0) : NULL;

        if (!service && (arguments_has(a, "as") || arguments_has(a, "tool"))) {
                (void)fault_set(&fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage",
                                "See: vaultctl check --help", "--as and --tool need a service");
                return fault_report(c, &fault);
        }
        parameters = json_build("service", 's', service, "label", 's', arguments_value(a, "as"), "tool", 's',
                        arguments_value(a, "tool"), NULL);
        if (call_method(c, "io.vaultd.Connect.Check", parameters, CALL_REMOTE_USEC, &reply, &fault) < 0 ||
                        reply_need_array(reply, "results", json_type_object, &results, &fault) < 0)
                return fault_report(c, &fault);
        if (c->is_json)
                output_json(reply);
        else if (print_results(c, results, &fault) < 0)
                return fault_report(c, &fault);
        return code_of(results);
}

const Command command_check = {
        .name = "check",
        .synopsis = "[SERVICE] [--as LABEL] [--tool NAME]",
        .summary = "Ask the services whether your connections work",
        .help = "Says valid, invalid or unknown of each connection, and why. Exits with 3 when\n"
                "one is invalid, and else with 6 when one could not be tried.\n\n"
                "  --as LABEL   The account with this label\n"
                "  --tool NAME  Also call this tool of the service, without arguments; policy\n"
                "               must have it on\n\n"
                "Example:\n  vaultctl check notion\n",
        .options = options,
        .n_most = 1,
        .run = run,
};
