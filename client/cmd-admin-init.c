/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl admin init: makes the two keys of an installation, each once.
 *
 * The first is the key that wraps the vaults. It is made here and not by the daemon, which could not put it where root alone
 * may write. It is never written over; and when there is state but no key, something was lost, and a new key would only
 * hide that: the vaults could still be opened by nobody.
 *
 * The second is the recovery key, which opens backups on another machine. The daemon makes it and keeps its public half;
 * what is printed is the only copy. */

#include <dirent.h>

#include "client/call.h"
#include "client/command.h"
#include "client/kek.h"
#include "client/output.h"
#include "client/reply.h"
#include "json/object.h"

static const Option options[] = { { "new-recovery-key", OPTION_FLAG }, { "key-only", OPTION_FLAG },
        { "kek-file", OPTION_TEXT }, { "state-dir", OPTION_TEXT }, {} };

/* A folder that is not there holds nothing. */
static int check_no_state(const char *state_dir, const KekFile *k, Fault *fault) {
        _cleanup_(freep) char *hint = NULL;
        DIR *dir = opendir(state_dir);
        bool is_empty = true;

        if (!dir && errno == ENOENT)
                return 0;
        if (!dir)
                return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Key", NULL,
                                "Cannot look into %s: %s", state_dir, strerror(errno));
        for (struct dirent *entry; is_empty && (entry = readdir(dir));)
                is_empty = streq(entry->d_name, ".") || streq(entry->d_name, "..");
        (void)closedir(dir);
        if (is_empty)
                return 0;
        if (asprintf(&hint, "Put the key back, or move %s away to begin anew", state_dir) < 0)
                hint = NULL;
        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Key", hint,
                        "%s holds vaults, but their key %s is gone", state_dir, k->path);
}

/* 1: made; 0: it was there. */
static int ensure_kek(const KekFile *k, const char *state_dir, Fault *fault) {
        uint8_t key[KEK_SIZE];
        int r;

        r = kek_exists(k, fault);
        if (r != 0)
                return r < 0 ? r : 0;
        r = check_no_state(state_dir, k, fault);
        if (r >= 0)
                r = kek_make(k, k->path, NULL, key, fault);
        explicit_bzero(key, sizeof(key));
        return r < 0 ? r : 1;
}

static void say_kek(const Context *c, const KekFile *k, bool is_made, const char *binding) {
        static const char *const sentences[][2] = {
                { "host", "bound to this machine" },
                { "tpm2", "bound to this machine's TPM" },
                { "host+tpm2", "bound to this machine and its TPM" },
                { "none", "a plain file: whoever reads it can open the vaults" },
        };
        const char *how = "see systemd-creds(1) for what it is bound to";

        for (size_t i = 0; i < ELEMENTSOF(sentences); i++)
                if (streq(binding, sentences[i][0]))
                        how = sentences[i][1];
        say(c,
                        is_made ? "Made the key that wraps the vaults: %s (%s)."
                                : "The key in %s stays as it is (%s).",
                        k->path, how);
}

static void say_recovery(const Context *c, const char *key, int64_t created) {
        _cleanup_(freep) char *since = format_moment(created);

        if (!key) {
                say(c, "There is a recovery key since %s. It was shown then, and nobody can show it again;",
                                since ?: "-");
                say(c, "--new-recovery-key makes another for the backups to come.");
                return;
        }
        say(c, "%s", "");
        say(c, "The recovery key. It is shown this once and kept nowhere: write it down now.");
        say(c, "%s", "");
        say_styled(c, STYLE_BOLD, "  %s", key);
        say(c, "%s", "");
        say(c, "Backups are sealed to it, and it alone opens them on another machine.");
        say(c, "Keep it away from this one and from the backups.");
}

static int ask_recovery(const Context *c, bool is_replacing, json_object **ret, Fault *fault) {
        json_object *parameters = json_object_new_object();

        if (!parameters || (is_replacing && json_add_bool(parameters, "replace", true) < 0)) {
                json_object_put(parameters);
                return fault_set_memory(fault);
        }
        return call_method(c, "io.vaultd.Admin.NewRecoveryKey", parameters, 3 * CALL_LOCAL_USEC, ret, fault);
}

static ExitCode run(const Context *c, const Arguments *a) {
        const char *plain = arguments_value(a, "kek-file");
        const KekFile k = { plain ?: KEK_CREDENTIAL, plain != NULL };
        _cleanup_(json_putp) json_object *reply = NULL, *document = NULL;
        _cleanup_(fault_done) Fault fault = {};
        const char *binding, *key = NULL;
        int64_t created = 0;
        int is_made;

        if (geteuid() != 0) {
                (void)fault_set(&fault, EXIT_CODE_REFUSED, "io.vaultd.client.NotRoot",
                                "Run: sudo vaultctl admin init",
                                "The keys of an installation are made by root");
                return fault_report(c, &fault);
        }
        is_made = ensure_kek(&k, arguments_value(a, "state-dir") ?: VAULTD_STATE_DIR, &fault);
        if (is_made < 0)
                return fault_report(c, &fault);
        binding = kek_binding(&k, k.path);
        say_kek(c, &k, is_made, binding);
        if (!arguments_has(a, "key-only")) {
                if (ask_recovery(c, arguments_has(a, "new-recovery-key"), &reply, &fault) < 0 ||
                                reply_need_int64(reply, "created", &created, &fault) < 0)
                        return fault_report(c, &fault);
                key = json_string(reply, "key");
                say_recovery(c, key, created);
        }
        if (c->is_json) {
                document = json_build("key", 'o',
                                json_build("file", 's', k.path, "made", 'b', is_made > 0, "boundTo", 's',
                                                binding, NULL),
                                NULL);
                if (document && reply)
                        (void)json_add(document, "recovery",
                                        json_build("key", 's', key, "created", 'i', created, NULL));
                output_json(document);
        }
        return EXIT_CODE_DONE;
}

const Command command_admin_init = {
        .name = "admin init",
        .synopsis = "[--new-recovery-key] [--key-only] [--kek-file FILE] [--state-dir DIR]",
        .summary = "Make the keys of an installation, each once (root)",
        .help = "Makes the key that wraps the vaults if there is none, bound to this machine's TPM\n"
                "where there is one, and a recovery key, which it prints once: write it down.\n\n"
                "  --new-recovery-key  Another recovery key, for the backups to come\n"
                "  --key-only          Only the key that wraps the vaults; vaultd need not run\n"
                "  --kek-file FILE     That key as a plain file, for a vaultd with --kek-file\n"
                "  --state-dir DIR     The store that must be empty when there is no key yet\n\n"
                "Example:\n  vaultctl admin init\n",
        .options = options,
        .is_control = true,
        .run = run,
};
