/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl admin users|lock|unlock|unseal: root decides about vaults, over the control socket.
 *
 * A vault is named by --uid, or by --user, which the daemon looks up: no name service is asked from here. Unsealing is the
 * one decision that cannot be guessed (is the new name the same person?), so its ways are options that have to be said. */

#include <stdio.h>

#include "client/admin.h"
#include "client/call.h"
#include "client/command.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/table.h"
#include "json/object.h"

static const Option subject_options[] = { { "user", OPTION_TEXT }, { "uid", OPTION_TEXT }, {} };
static const Option lock_options[] = { { "user", OPTION_TEXT }, { "uid", OPTION_TEXT },
        { "reason", OPTION_TEXT }, {} };
static const Option unseal_options[] = { { "user", OPTION_TEXT }, { "uid", OPTION_TEXT },
        { "rename", OPTION_FLAG }, { "new", OPTION_FLAG }, {} };

int admin_usage(Fault *fault, const char *text) {
        return fault_set(fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage", "Run: vaultctl admin --help",
                        "%s", text);
}

int admin_add_subject(const Arguments *a, json_object *parameters, Fault *fault) {
        const char *user = arguments_value(a, "user"), *uid = arguments_value(a, "uid");
        unsigned long value;
        char *end;

        if (!user == !uid)
                return admin_usage(fault, "Say whose vault: --user NAME or --uid NUMBER");
        if (user)
                return json_add_string(parameters, "user", user) < 0 ? fault_set_memory(fault) : 0;
        errno = 0;
        value = strtoul(uid, &end, 10);
        if (errno != 0 || uid[0] < '0' || uid[0] > '9' || *end || value >= UID_INVALID)
                return admin_usage(fault, "--uid expects a number");
        return json_add_int64(parameters, "uid", (int64_t)value) < 0 ? fault_set_memory(fault) : 0;
}

/* Calls the method for the vault that was named, and says what became of it. Takes the parameters. */
static ExitCode change(const Context *c, const Arguments *a, const char *method, json_object *taken) {
        _cleanup_(json_putp) json_object *reply = NULL, *parameters = taken;
        _cleanup_(fault_done) Fault fault = {};
        const char *user, *state;
        json_object *vault;
        int64_t uid;

        if (!parameters) {
                (void)fault_set_memory(&fault);
                return fault_report(c, &fault);
        }
        if (admin_add_subject(a, parameters, &fault) < 0 ||
                        call_method(c, method, TAKE_PTR(parameters), CALL_LOCAL_USEC, &reply, &fault) < 0 ||
                        reply_need_object(reply, "vault", &vault, &fault) < 0 ||
                        reply_need_string(vault, "user", &user, &fault) < 0 ||
                        reply_need_string(vault, "state", &state, &fault) < 0 ||
                        reply_need_int64(vault, "uid", &uid, &fault) < 0)
                return fault_report(c, &fault);
        if (c->is_json)
                output_json(reply);
        else
                say(c, "The vault of %s (uid %lld) is %s.", user, (long long)uid, state);
        return EXIT_CODE_DONE;
}

static ExitCode run_lock(const Context *c, const Arguments *a) {
        return change(c, a, "io.vaultd.Admin.Lock",
                        json_build("reason", 's', arguments_value(a, "reason"), NULL));
}

static ExitCode run_unlock(const Context *c, const Arguments *a) {
        return change(c, a, "io.vaultd.Admin.Unlock", json_object_new_object());
}

static ExitCode run_unseal(const Context *c, const Arguments *a) {
        bool is_rename = arguments_has(a, "rename"), is_new = arguments_has(a, "new");
        _cleanup_(fault_done) Fault fault = {};

        if (is_rename && is_new) {
                (void)admin_usage(&fault, "--rename and --new exclude each other");
                return fault_report(c, &fault);
        }
        return change(c, a, "io.vaultd.Admin.Unseal",
                        json_build("way", 's',
                                        is_rename ? "rename"
                                        : is_new  ? "new"
                                                  : NULL,
                                        NULL));
}

static int print_vaults(const Context *c, json_object *vaults, bool is_first, Fault *fault) {
        static const char *const header[] = { "UID", "USER", "STATE", "SINCE", "NOW", "REASON" };
        _cleanup_(table_freep) Table *table = table_new(ELEMENTSOF(header), is_first ? header : NULL);

        if (!table)
                return fault_set_memory(fault);
        for (size_t i = 0; i < json_object_array_length(vaults); i++) {
                json_object *vault = json_object_array_get_idx(vaults, i);
                _cleanup_(freep) char *number = NULL, *since = NULL;
                const char *user, *state;
                int64_t uid, moment;

                if (reply_need_int64(vault, "uid", &uid, fault) < 0 ||
                                reply_need_string(vault, "user", &user, fault) < 0 ||
                                reply_need_string(vault, "state", &state, fault) < 0)
                        return FAULT_SET;
                if (asprintf(&number, "%lld", (long long)uid) < 0) {
                        number = NULL;
                        return fault_set_memory(fault);
                }
                if (json_get_int64(vault, "since", &moment) == 0)
                        since = format_moment(moment);
                table_add(table, number);
                table_add(table, user);
                table_add(table, state);
                table_add(table, since);
                table_add(table, json_string(vault, "present"));
                table_add(table, json_string(vault, "reason"));
        }
        table_print(c, table, 0);
        return 0;
}

/* One array of all pages, without holding more than one of them. */
static int print_vaults_json(json_object *vaults, bool is_first, bool is_last, Fault *fault) {
        static bool has_one; /* a page may be empty: what is damaged is left out */

        if (is_first)
                (void)fputs("{\"vaults\":[", stdout);
        for (size_t i = 0; i < json_object_array_length(vaults); i++) {
                _cleanup_(freep) char *text = json_text_for_terminal(json_object_array_get_idx(vaults, i));

                if (!text)
                        return fault_set_memory(fault);
                (void)fprintf(stdout, "%s%s", has_one ? "," : "", text);
                has_one = true;
        }
        if (is_last)
                (void)fputs("]}\n", stdout);
        return 0;
}

/* Shows the vaults from *from on that come in one reply; *ret_is_last, or *from is where to go on. */
static int show_page(const Context *c, int64_t *from, bool is_first, bool *ret_is_last, Fault *fault) {
        _cleanup_(json_putp) json_object *reply = NULL;
        json_object *vaults;
        int64_t next;
        bool is_last;

        if (call_method(c, "io.vaultd.Admin.Users", is_first ? NULL : json_build("from", 'i', *from, NULL),
                            CALL_LOCAL_USEC, &reply, fault) < 0 ||
                        reply_need_array(reply, "vaults", json_type_object, &vaults, fault) < 0)
                return FAULT_SET;
        is_last = json_get_int64(reply, "next", &next) != 0 || next <= *from;
        if ((c->is_json ? print_vaults_json(vaults, is_first, is_last, fault)
                        : print_vaults(c, vaults, is_first, fault)) < 0)
                return FAULT_SET;
        if (!is_last)
                *from = next;
        *ret_is_last = is_last;
        return 0;
}

static ExitCode run_users(const Context *c, const Arguments *a) {
        _cleanup_(fault_done) Fault fault = {};
        bool is_first = true, is_last = false;
        int64_t from = 0;

        for (; !is_last; is_first = false)
                if (show_page(c, &from, is_first, &is_last, &fault) < 0)
                        return fault_report(c, &fault);
        return EXIT_CODE_DONE;
}

const Command command_admin_users = {
        .name = "admin users",
        .synopsis = "",
        .summary = "List all vaults (root)",
        .help = "NOW is whose the uid is, for vaults that are not active.\n\nExample:\n  vaultctl admin "
                "users\n",
        .is_control = true,
        .run = run_users,
};

const Command command_admin_lock = {
        .name = "admin lock",
        .synopsis = "--user NAME | --uid NUMBER [--reason TEXT]",
        .summary = "Close a user's vault (root)",
        .help = "  --user NAME    The user whose vault it is\n"
                "  --uid NUMBER   The same, by number\n"
                "  --reason TEXT  Why, for other administrators\n\n"
                "Example:\n  vaultctl admin lock --user alice --reason 'on leave'\n",
        .options = lock_options,
        .is_control = true,
        .run = run_lock,
};

const Command command_admin_unlock = {
        .name = "admin unlock",
        .synopsis = "--user NAME | --uid NUMBER",
        .summary = "Open a locked vault again (root)",
        .help = "  --user NAME   The user whose vault it is\n"
                "  --uid NUMBER  The same, by number\n\n"
                "Example:\n  vaultctl admin unlock --user alice\n",
        .options = subject_options,
        .is_control = true,
        .run = run_unlock,
};

const Command command_admin_unseal = {
        .name = "admin unseal",
        .synopsis = "--user NAME | --uid NUMBER [--rename | --new]",
        .summary = "Decide about a sealed vault (root)",
        .help = "A vault is sealed when its uid turns up under another name. Alone this opens it\n"
                "only when the old name is back.\n\n"
                "  --user NAME   The user whose vault it is\n"
                "  --uid NUMBER  The same, by number\n"
                "  --rename      It is the same person: the vault goes by the new name\n"
                "  --new         It is another person, who gets an empty vault; the old one is\n"
                "                set aside, sealed\n\n"
                "Example:\n  vaultctl admin unseal --uid 1001 --rename\n",
        .options = unseal_options,
        .is_control = true,
        .run = run_unseal,
};
