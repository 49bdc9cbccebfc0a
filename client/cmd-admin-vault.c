/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl admin vault show|destroy: what is known about one vault, and its end.
 *
 * Destroying cannot be undone by anything but a backup, so at a terminal the user's name has to be typed; --yes is for scripts. The
 * sentences say what it does not do: what services granted and what lies at the Claude Platform stays. */

#include "client/admin.h"
#include "client/call.h"
#include "client/command.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/table.h"
#include "client/terminal.h"
#include "json/object.h"

/* A large store's file takes its time to go through. */
#define DESTROY_USEC (30 * 60 * USEC_PER_SEC)

static const Option options[] = { { "user", OPTION_TEXT }, { "uid", OPTION_TEXT },
        { "set-aside", OPTION_FLAG }, { "yes", OPTION_FLAG }, {} };

static int ask_vault(const Context *c, const Arguments *a, json_object **ret, Fault *fault) {
        json_object *parameters = json_object_new_object();

        if (!parameters)
                return fault_set_memory(fault);
        if (admin_add_subject(a, parameters, fault) < 0) {
                json_object_put(parameters);
                return FAULT_SET;
        }
        return call_method(c, "io.vaultd.Admin.ShowVault", parameters, CALL_LOCAL_USEC, ret, fault);
}

static void print_number(const Context *c, json_object *reply, const char *name, const char *label) {
        int64_t n;

        if (json_get_int64(reply, name, &n) == 0)
                say(c, "  %-16s %lld", label, (long long)n);
}

static void print_moment(const Context *c, json_object *object, const char *name, const char *label) {
        _cleanup_(freep) char *text = NULL;
        int64_t moment;

        if (json_get_int64(object, name, &moment) == 0)
                text = format_moment(moment);
        if (text)
                say(c, "  %-16s %s", label, text);
}

static int print_vault(const Context *c, json_object *reply, Fault *fault) {
        const char *user, *state, *reason, *platform;
        json_object *vault;
        int64_t uid;

        if (reply_need_object(reply, "vault", &vault, fault) < 0 ||
                        reply_need_string(vault, "user", &user, fault) < 0 ||
                        reply_need_string(vault, "state", &state, fault) < 0 ||
                        reply_need_int64(vault, "uid", &uid, fault) < 0)
                return FAULT_SET;
        say_styled(c, STYLE_BOLD, "%s (uid %lld)", user, (long long)uid);
        reason = json_string(vault, "reason");
        say(c, "  %-16s %s%s%s", "State", state, reason ? ": " : "", reason ?: "");
        print_moment(c, vault, "since", "Since");
        say(c, "  %-16s %s", "Vault", json_string(vault, "id") ?: "-");
        print_moment(c, reply, "created", "Made");
        print_moment(c, reply, "keyCreated", "Data key of");
        print_moment(c, vault, "verified", "Name verified");
        platform = json_string(reply, "platformVault");
        say(c, "  %-16s %s", "Platform vault", platform ?: "-");
        print_number(c, reply, "credentials", "Credentials");
        print_number(c, reply, "needsReconnect", "  to reconnect");
        print_number(c, reply, "flows", "Connecting");
        print_number(c, reply, "agentSessions", "Agent sessions");
        print_number(c, reply, "accounts", "Pinned accounts");
        print_number(c, reply, "records", "Records");
        print_number(c, reply, "bytes", "Bytes");
        print_number(c, reply, "setAside", "Set aside");
        return 0;
}

static ExitCode run_show(const Context *c, const Arguments *a) {
        _cleanup_(json_putp) json_object *reply = NULL;
        _cleanup_(fault_done) Fault fault = {};

        if (ask_vault(c, a, &reply, &fault) < 0)
                return fault_report(c, &fault);
        if (c->is_json)
                output_json(reply);
        else if (print_vault(c, reply, &fault) < 0)
                return fault_report(c, &fault);
        return EXIT_CODE_DONE;
}

/* What has to be typed: the name that the vault was made for; the uid where there is none to be read. */
static int find_name(const Context *c, const Arguments *a, char **ret, Fault *fault) {
        _cleanup_(json_putp) json_object *reply = NULL;
        const char *user = NULL, *state = NULL;
        json_object *vault;

        if (ask_vault(c, a, &reply, fault) < 0) {
                if (!fault_is(fault, "io.vaultd.Damaged") &&
                                !(arguments_has(a, "set-aside") && fault_is(fault, "io.vaultd.NotFound")))
                        return FAULT_SET;
                fault_done(fault);
                user = arguments_value(a, "uid") ?: arguments_value(a, "user");
        } else if (reply_need_object(reply, "vault", &vault, fault) < 0 ||
                        reply_need_string(vault, "user", &user, fault) < 0 ||
                        reply_need_string(vault, "state", &state, fault) < 0)
                return FAULT_SET;
        *ret = strdup(user);
        return *ret ? 0 : fault_set_memory(fault);
}

static int confirm(const Context *c, const Arguments *a, Fault *fault) {
        _cleanup_(freep) char *name = NULL, *typed = NULL;

        if (arguments_has(a, "yes"))
                return 0;
        if (c->is_json || !terminal_can_ask())
                return admin_usage(fault, "Nobody can be asked here: say --yes to destroy a vault");
        if (find_name(c, a, &name, fault) < 0)
                return FAULT_SET;
        say(c,
                        arguments_has(a, "set-aside")
                                        ? "This erases for good what was set aside of former vaults of %s."
                                        : "This erases the vault of %s for good, with every credential in "
                                          "it.",
                        name);
        say(c, "Only a backup brings it back. Nothing is revoked at any service: while the vault is there, "
               "its user");
        say(c, "can do that with: vaultctl disconnect. What lies at the Claude Platform stays there.");
        if (terminal_ask_line("To go on, type the name again:", &typed) < 0 || !streq(typed, name))
                return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Declined", NULL,
                                "That is not the name: nothing was destroyed");
        return 0;
}

static ExitCode run_destroy(const Context *c, const Arguments *a) {
        _cleanup_(json_putp) json_object *reply = NULL, *parameters = json_object_new_object();
        _cleanup_(fault_done) Fault fault = {};
        bool erased = false;
        int64_t uid, n;

        if (!parameters ||
                        (arguments_has(a, "set-aside") && json_add_bool(parameters, "setAside", true) < 0)) {
                (void)fault_set_memory(&fault);
                return fault_report(c, &fault);
        }
        if (admin_add_subject(a, parameters, &fault) < 0 || confirm(c, a, &fault) < 0 ||
                        call_method(c, "io.vaultd.Admin.DestroyVault", TAKE_PTR(parameters), DESTROY_USEC,
                                        &reply, &fault) < 0 ||
                        reply_need_int64(reply, "uid", &uid, &fault) < 0 ||
                        reply_need_int64(reply, "records", &n, &fault) < 0)
                return fault_report(c, &fault);
        (void)json_get_bool(reply, "erased", &erased);
        if (c->is_json)
                output_json(reply);
        else {
                say(c, "Destroyed: %lld records of uid %lld. Their key is gone.", (long long)n,
                                (long long)uid);
                if (!erased)
                        say(c, "The store's file could not be gone through for what is left in it; see: "
                               "journalctl -u vaultd");
        }
        return EXIT_CODE_DONE;
}

static ExitCode run(const Context *c, const Arguments *a) {
        const char *what = arguments_word(a, 0);
        _cleanup_(fault_done) Fault fault = {};

        if (streq(what, "destroy"))
                return run_destroy(c, a);
        if (streq(what, "show") && !arguments_has(a, "set-aside") && !arguments_has(a, "yes"))
                return run_show(c, a);
        (void)admin_usage(&fault, streq(what, "show") ? "--set-aside and --yes are for destroy"
                                                      : "Say show or destroy");
        return fault_report(c, &fault);
}

const Command command_admin_vault = {
        .name = "admin vault",
        .synopsis = "show|destroy --user NAME | --uid NUMBER [--set-aside] [--yes]",
        .summary = "Look at one vault, or erase it for good (root)",
        .help = "show tells state, counts, sizes and the age of the key, and no secret. destroy erases\n"
                "the vault's key and records, also from the free space of the store's file. It revokes\n"
                "nothing at the services, and touches nothing at the Claude Platform.\n\n"
                "  --user NAME   The user whose vault it is\n"
                "  --uid NUMBER  The same, by number\n"
                "  --set-aside   Destroy what 'admin unseal --new' set aside, not the vault\n"
                "  --yes         Destroy without asking for the name\n\n"
                "Example:\n  vaultctl admin vault show --user alice\n",
        .options = options,
        .n_least = 1,
        .n_most = 1,
        .is_control = true,
        .run = run,
};
