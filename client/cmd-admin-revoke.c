/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl admin revoke: takes a user's credentials out of use, here at once and then at the services.
 *
 * What is over on this host is certain when the answer comes. What a service has not confirmed is told for each grant, and by the
 * exit status: whoever revokes because something leaked has to know that a token may still work there. */

#include "client/admin.h"
#include "client/call.h"
#include "client/command.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/table.h"
#include "json/object.h"

static const Option revoke_options[] = { { "user", OPTION_TEXT }, { "uid", OPTION_TEXT },
        { "service", OPTION_TEXT }, {} };

/* Whether every grant is revoked at its service. */
static bool is_revoked_everywhere(json_object *grants) {
        for (size_t i = 0; i < json_object_array_length(grants); i++)
                if (!streq_ptr(json_string(json_object_array_get_idx(grants, i), "upstream"), "revoked"))
                        return false;
        return true;
}

static int print_grants(const Context *c, json_object *grants, Fault *fault) {
        static const char *const header[] = { "SERVICE", "LABEL", "ACCOUNT", "AT THE SERVICE", "WHY" };
        _cleanup_(table_freep) Table *table = table_new(ELEMENTSOF(header), header);

        if (!table)
                return fault_set_memory(fault);
        for (size_t i = 0; i < json_object_array_length(grants); i++) {
                json_object *grant = json_object_array_get_idx(grants, i), *account = NULL;
                const char *title, *label, *upstream;

                if (reply_need_string(grant, "title", &title, fault) < 0 ||
                                reply_need_string(grant, "label", &label, fault) < 0 ||
                                reply_need_object(grant, "account", &account, fault) < 0 ||
                                reply_need_string(grant, "upstream", &upstream, fault) < 0)
                        return FAULT_SET;
                table_add(table, title);
                table_add(table, label);
                table_add(table, account_name(account));
                table_add(table, upstream);
                table_add(table, json_string(grant, "why"));
        }
        table_print(c, table, 0);
        return 0;
}

static int print_reply(const Context *c, json_object *reply, json_object *grants, Fault *fault) {
        int64_t uid, flows, streams, calls, damaged, took;
        json_object *vault;
        const char *user;

        if (reply_need_object(reply, "vault", &vault, fault) < 0 ||
                        reply_need_string(vault, "user", &user, fault) < 0 ||
                        reply_need_int64(vault, "uid", &uid, fault) < 0 ||
                        reply_need_int64(reply, "flows", &flows, fault) < 0 ||
                        reply_need_int64(reply, "streams", &streams, fault) < 0 ||
                        reply_need_int64(reply, "calls", &calls, fault) < 0 ||
                        reply_need_int64(reply, "damaged", &damaged, fault) < 0 ||
                        reply_need_int64(reply, "took", &took, fault) < 0)
                return FAULT_SET;
        say(c, "On this host nothing uses credentials of %s (uid %lld) any more; that took %lld ms.", user,
                        (long long)uid, (long long)(took + 999) / 1000);
        say(c, "Ended: unfinished connections: %lld, streams: %lld, calls: %lld.", (long long)flows,
                        (long long)streams, (long long)calls);
        if (damaged > 0)
                say_styled(c, STYLE_WARNING,
                                "Damaged credentials, which nobody can use and nobody can revoke at their "
                                "services: %lld.",
                                (long long)damaged);
        if (json_object_array_length(grants) == 0) {
                say(c, "There was no grant to revoke.");
                return 0;
        }
        return print_grants(c, grants, fault);
}

static ExitCode run_revoke(const Context *c, const Arguments *a) {
        _cleanup_(json_putp) json_object *reply = NULL, *parameters = json_build("service", 's',
                                                                        arguments_value(a, "service"), NULL);
        _cleanup_(fault_done) Fault fault = {};
        json_object *grants;

        if (!parameters) {
                (void)fault_set_memory(&fault);
                return fault_report(c, &fault);
        }
        if (admin_add_subject(a, parameters, &fault) < 0 ||
                        call_method(c, "io.vaultd.Admin.Revoke", TAKE_PTR(parameters), CALL_REMOTE_USEC,
                                        &reply, &fault) < 0 ||
                        reply_need_array(reply, "grants", json_type_object, &grants, &fault) < 0)
                return fault_report(c, &fault);
        if (c->is_json)
                output_json(reply);
        else if (print_reply(c, reply, grants, &fault) < 0)
                return fault_report(c, &fault);
        return is_revoked_everywhere(grants) ? EXIT_CODE_DONE : EXIT_CODE_UPSTREAM;
}

const Command command_admin_revoke = {
        .name = "admin revoke",
        .synopsis = "--user NAME | --uid NUMBER [--service NAME]",
        .summary = "Revoke what a user has connected (root)",
        .help = "Ends it on this host at once, then revokes it at the services. What a service\n"
                "has not confirmed is tried again, and makes the exit status 6. To keep the user\n"
                "from connecting anew, lock the vault first.\n\n"
                "  --user NAME     The user whose credentials they are\n"
                "  --uid NUMBER    The same, by number\n"
                "  --service NAME  Only those of this service\n\n"
                "Example:\n  vaultctl admin revoke --user alice --service notion\n",
        .options = revoke_options,
        .is_control = true,
        .run = run_revoke,
};
