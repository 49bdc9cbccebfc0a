/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl whoami: who the daemon says the caller is.
 *
 * The answer is the daemon's reading of the kernel's credentials, not ours: no getuid(), no $USER, no name service here, so
 * what is shown is what vaultd acts on. In JSON the members session and vault are always there, null when there is none,
 * because scripts rely on them; originUser and loginUid are there when there is something to say. */

#include "client/call.h"
#include "client/command.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/table.h"
#include "json/object.h"

static int print_json(json_object *reply) {
        const char *optional[] = { "session", "vault" };

        for (size_t i = 0; i < ELEMENTSOF(optional); i++)
                if (!json_object_object_get_ex(reply, optional[i], NULL) &&
                                json_object_object_add(reply, optional[i], NULL) < 0)
                        return -ENOMEM;
        output_json(reply);
        return 0;
}

/* "elevated: bob (uid 1002) acts here, session l-…" malloc()ed; NULL: -ENOMEM. */
static char *format_origin(json_object *reply, const char *origin) {
        const char *session = json_string(reply, "session"), *user = json_string(reply, "originUser");
        _cleanup_(freep) char *who = NULL;
        int64_t uid, login_uid = -1;
        char *text = NULL;
        int r = 0;

        (void)json_get_int64(reply, "loginUid", &login_uid);
        if (json_get_int64(reply, "uid", &uid) == 0 && login_uid >= 0 && login_uid != uid)
                r = user ? asprintf(&who, ", from the login of %s (uid %lld)", user, (long long)login_uid)
                         : asprintf(&who, ", from a login of uid %lld", (long long)login_uid);
        if (r < 0) {
                who = NULL;
                return NULL;
        }
        r = asprintf(&text, "%s%s%s%s%s", origin, who ?: "", session ? " (session " : "", session ?: "",
                        session ? ")" : "");
        return r < 0 ? NULL : text;
}

static int print_human(const Context *c, json_object *reply, int64_t uid, const char *user,
                const char *origin, Fault *fault) {
        _cleanup_(table_freep) Table *table = table_new(2, NULL);
        _cleanup_(freep) char *vault_text = NULL, *who = NULL, *from = NULL;
        json_object *vault = NULL;

        (void)json_get_object(reply, "vault", &vault);
        if (!table || asprintf(&who, "%s (uid %lld)", user, (long long)uid) < 0)
                return fault_set_memory(fault);
        from = format_origin(reply, origin);
        if (!from)
                return fault_set_memory(fault);
        if (vault && asprintf(&vault_text, "%s, %s", json_string(vault, "id") ?: "-",
                                     json_string(vault, "state") ?: "-") < 0)
                return fault_set_memory(fault);
        table_add(table, "User");
        table_add(table, who);
        table_add(table, "Origin");
        table_add(table, from);
        table_add(table, "Vault");
        table_add(table, vault_text ?: "none");
        table_print(c, table, 0);
        return 0;
}

static ExitCode run(const Context *c, const Arguments *a) {
        _cleanup_(fault_done) Fault fault = {};
        _cleanup_(json_putp) json_object *reply = NULL;
        const char *user, *origin;
        int64_t uid;

        if (call_method(c, "io.vaultd.WhoAmI", NULL, CALL_LOCAL_USEC, &reply, &fault) < 0 ||
                        reply_need_int64(reply, "uid", &uid, &fault) < 0 ||
                        reply_need_string(reply, "user", &user, &fault) < 0 ||
                        reply_need_string(reply, "origin", &origin, &fault) < 0)
                return fault_report(c, &fault);
        if (c->is_json ? print_json(reply) < 0 : print_human(c, reply, uid, user, origin, &fault) < 0) {
                (void)fault_set_memory(&fault);
                return fault_report(c, &fault);
        }
        return EXIT_CODE_DONE;
}

const Command command_whoami = {
        .name = "whoami",
        .synopsis = "",
        .summary = "Show who vaultd says you are",
        .help = "The name comes from the daemon, which asks the kernel. Origin \"login\" means\n"
                "that this terminal belongs to a login of yours that PAM registered;\n"
                "\"elevated\" to another user's, who came here by sudo or su; \"unproven\" that\n"
                "PAM registered no such login (a service, a container); \"unknown\" that it\n"
                "cannot be told.\n\n"
                "Example:\n  vaultctl whoami --json\n",
        .run = run,
};
