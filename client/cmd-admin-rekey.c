/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl admin rekey: another key for everything, while vaultd serves.
 *
 * vaultd does the work and cannot write the file of its own key; so this makes the new one beside the old one, tells vaultd, puts it
 * in place, and says begin. The order is what makes it safe to be killed anywhere: vaultd notes how to open the old records with
 * the new key before the file is replaced, and changes nothing before this says that it was. Whatever was left undone, the same
 * command again goes on.
 *
 * The key is in this process, in the pipe to systemd-creds and on the control socket, and nowhere else; what held it is overwritten. */

#include <stdio.h>

#include "client/call.h"
#include "client/command.h"
#include "client/kek.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/terminal.h"
#include "json/object.h"
#include "util/clock.h"
#include "util/crash-point.h"
#include "util/encode.h"

static const Option options[] = { { "dry-run", OPTION_FLAG }, { "kek-file", OPTION_TEXT }, {} };

/* A look at every record of a large store, and the time between two signs of life. */
#define CHECK_USEC (30 * 60 * USEC_PER_SEC)
#define QUIET_USEC (30 * 60 * USEC_PER_SEC)

typedef struct Check {
        json_object *reply;
        int64_t vaults, records, clients, aside, other_damaged;
        json_object *damaged;
        bool is_unknown;
        const char *state;
} Check;

static int ask_check(const Context *c, Check *ret, Fault *fault) {
        if (call_method(c, "io.vaultd.Admin.CheckRecords", NULL, CHECK_USEC, &ret->reply, fault) < 0 ||
                        reply_need_int64(ret->reply, "vaults", &ret->vaults, fault) < 0 ||
                        reply_need_int64(ret->reply, "records", &ret->records, fault) < 0 ||
                        reply_need_int64(ret->reply, "clients", &ret->clients, fault) < 0 ||
                        reply_need_int64(ret->reply, "setAside", &ret->aside, fault) < 0 ||
                        reply_need_int64(ret->reply, "otherDamaged", &ret->other_damaged, fault) < 0 ||
                        reply_need_array(ret->reply, "damaged", json_type_int, &ret->damaged, fault) < 0 ||
                        reply_need_string(ret->reply, "rekey", &ret->state, fault) < 0)
                return FAULT_SET;
        (void)json_get_bool(ret->reply, "unknown", &ret->is_unknown);
        return 0;
}

/* After it the old key is gone, and with it what does not open now. */
static int check_all_opens(const Check *check, Fault *fault) {
        size_t n = json_object_array_length(check->damaged);

        if (check->is_unknown)
                return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Rekey",
                                "Run the vaultd that wrote them",
                                "There are records of a kind that this vaultd does not know: nothing was "
                                "changed");
        if (n > 0)
                return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Rekey",
                                "Restore them from a backup, or see: vaultctl admin vault --help",
                                "%zu vaults do not open or have a record that does not, the first of them "
                                "of uid %lld: nothing "
                                "was changed",
                                n,
                                (long long)json_object_get_int64(
                                                json_object_array_get_idx(check->damaged, 0)));
        if (check->other_damaged > 0)
                return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Rekey",
                                "Restore them from a backup",
                                "%lld records that belong to no vault do not open: nothing was changed",
                                (long long)check->other_damaged);
        return 0;
}

/* Announces the key to vaultd. Takes the digits off again where they were. */
static int announce(const Context *c, const uint8_t key[static KEK_SIZE], json_object **ret, Fault *fault) {
        char *digits = hex_encode(key, KEK_SIZE);
        json_object *parameters = digits ? json_build("key", 's', digits, NULL) : NULL;
        json_object *kept = parameters ? json_object_get(json_object_object_get(parameters, "key")) : NULL;
        int r;

        if (digits)
                explicit_bzero(digits, strlen(digits));
        free(digits);
        if (!parameters)
                return fault_set_memory(fault);
        r = call_method(c, "io.vaultd.Admin.PrepareRekey", parameters, 3 * CALL_LOCAL_USEC, ret, fault);
        /* The message is gone by now; this was its last part. */
        explicit_bzero((void *)json_object_get_string(kept), (size_t)json_object_get_string_len(kept));
        json_object_put(kept);
        return r;
}

/* Makes a key, announces it and puts it in place. *ret_reply holds the id. */
static int change_key(const Context *c, const KekFile *k, json_object **ret_reply, Fault *fault) {
        _cleanup_(freep) char *path = NULL;
        uint8_t key[KEK_SIZE];
        int r;

        if (asprintf(&path, "%s.new", k->path) < 0) {
                path = NULL;
                return fault_set_memory(fault);
        }
        r = kek_exists(k, fault);
        if (r <= 0)
                return r < 0 ? r
                             : fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Key",
                                               "Say --kek-file if vaultd is started with it",
                                               "There is no key to be replaced in %s", k->path);
        /* Of a run that was killed: nothing was sealed with it. */
        (void)unlink(path);
        r = kek_make(k, path, k->path, key, fault);
        crash_point("rekey-made");
        if (r >= 0)
                r = announce(c, key, ret_reply, fault);
        explicit_bzero(key, sizeof(key));
        crash_point("rekey-announced");
        if (r >= 0)
                r = kek_replace(k, path, fault);
        crash_point("rekey-in-place");
        if (r < 0)
                (void)unlink(path);
        return r;
}

static void show_progress(const Context *c, json_object *reply) {
        char text[80];
        int64_t done, total;

        if (json_get_int64(reply, "done", &done) < 0 || json_get_int64(reply, "total", &total) < 0)
                return;
        (void)snprintf(text, sizeof(text), "%lld of %lld vaults", (long long)done, (long long)total);
        terminal_progress(c, text);
        if (c->is_json)
                output_json(reply);
}

/* Begins, or goes on, and waits for the end. id NULL: go on. */
static int follow(const Context *c, const char *id, json_object **ret, Fault *fault) {
        _cleanup_(call_freep) Call *call = NULL;
        json_object *parameters = json_object_new_object();
        bool continues = true;
        int r;

        if (!parameters || (id && json_add_string(parameters, "id", id) < 0)) {
                json_object_put(parameters);
                return fault_set_memory(fault);
        }
        r = call_open(c, &call, fault);
        if (r < 0) {
                json_object_put(parameters);
                return r;
        }
        r = call_send(call, "io.vaultd.Admin.Rekey", parameters, true, fault);
        while (r >= 0) {
                _cleanup_(json_putp) json_object *reply = NULL;

                r = call_receive(call, now_monotonic() + QUIET_USEC, &reply, &continues, fault);
                if (r == 0)
                        r = fault_set_silence(fault, QUIET_USEC);
                if (r < 0)
                        break;
                if (!continues) {
                        *ret = TAKE_PTR(reply);
                        break;
                }
                show_progress(c, reply);
        }
        terminal_progress(c, NULL);
        return r < 0 ? r : 0;
}

static ExitCode report_dry_run(const Context *c, const Check *check, const KekFile *k) {
        if (c->is_json) {
                output_json(check->reply);
                return EXIT_CODE_DONE;
        }
        say(c,
                        "Everything opens: %lld vaults with %lld records, %lld registrations of this host, "
                        "%lld vaults set aside.",
                        (long long)check->vaults, (long long)check->records, (long long)check->clients,
                        (long long)check->aside);
        if (streq(check->state, "stopped") || streq(check->state, "running"))
                say(c, "A change of keys is half done; this would go on with it.");
        else
                say(c,
                                "A new key would be put in %s, every vault would get a new data key, and "
                                "all of this would be sealed anew.",
                                k->path);
        return EXIT_CODE_DONE;
}

static ExitCode finish(const Context *c, json_object *reply, Fault *fault) {
        bool erased = true;
        int64_t total;

        if (reply_need_int64(reply, "total", &total, fault) < 0)
                return fault_report(c, fault);
        (void)json_get_bool(reply, "erased", &erased);
        if (c->is_json)
                output_json(reply);
        say(c, "All keys are changed: %lld vaults. The former key opens nothing any more.",
                        (long long)total);
        if (!erased)
                say(c, "What the former keys opened could not be erased from the free space of the store's "
                       "file; see: journalctl -u "
                       "vaultd");
        return EXIT_CODE_DONE;
}

static ExitCode run(const Context *c, const Arguments *a) {
        const char *plain = arguments_value(a, "kek-file"), *id = NULL;
        const KekFile k = { plain ?: KEK_CREDENTIAL, plain != NULL };
        _cleanup_(json_putp) json_object *prepared = NULL, *reply = NULL, *checked = NULL;
        _cleanup_(fault_done) Fault fault = {};
        Check check = {};
        int r;

        if (geteuid() != 0) {
                (void)fault_set(&fault, EXIT_CODE_REFUSED, "io.vaultd.client.NotRoot",
                                "Run: sudo vaultctl admin rekey",
                                "The keys of an installation are changed by root");
                return fault_report(c, &fault);
        }
        r = ask_check(c, &check, &fault);
        checked = check.reply;
        if (r >= 0)
                r = check_all_opens(&check, &fault);
        if (r < 0)
                return fault_report(c, &fault);
        if (arguments_has(a, "dry-run"))
                return report_dry_run(c, &check, &k);
        if (!streq(check.state, "running") && !streq(check.state, "stopped")) {
                if (change_key(c, &k, &prepared, &fault) < 0 ||
                                reply_need_string(prepared, "id", &id, &fault) < 0)
                        return fault_report(c, &fault);
        }
        if (follow(c, id, &reply, &fault) < 0)
                return fault_report(c, &fault);
        return finish(c, reply, &fault);
}

const Command command_admin_rekey = {
        .name = "admin rekey",
        .synopsis = "[--dry-run] [--kek-file FILE]",
        .summary = "Change all keys while vaultd serves (root)",
        .help = "Puts a new key that wraps the vaults in the place of the old one, gives every vault a\n"
                "new data key and seals all records anew. Killed in between, it goes on when it is run\n"
                "again or vaultd is started again. Afterwards the old key is worthless.\n\n"
                "  --dry-run        See whether every record opens, and say what would be done\n"
                "  --kek-file FILE  The key is this plain file, which vaultd is started with\n\n"
                "Example:\n  vaultctl admin rekey --dry-run\n",
        .options = options,
        .is_control = true,
        .run = run,
};
