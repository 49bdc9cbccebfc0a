/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl: the user's end of vaultd.
 *
 * It runs as the user and has nothing the user has not: it is never setuid (and refuses to run so), reads no file of vaultd,
 * asks no name service (names come from the daemon), and sends no field that says who is calling; the kernel tells the daemon.
 * It links json-c and, where built with it, libqrencode; not libcurl or libsystemd, whose start-up would cost more than
 * the whole call. main() finds the command, prints help, and maps what the command returns to the exit code.
 *
 * Exit codes: 0 done, 1 failed, 2 usage, 3 not connected, 4 refused, 5 vaultd unreachable, 6 service or platform failed.
 * With --json stdout has documents only, faults included, wherever on the command line --json stands. */

#include <sys/auxv.h>

#include "client/command.h"
#include "client/output.h"
#include "client/terminal.h"
#include "json/object.h"
#include "util/buffer.h"

static int append_overview(Buffer *b) {
        int r;

        r = buffer_append_text(b,
                        "vaultctl connects services to your vault and starts agent sessions with it.\n\n"
                        "Usage: vaultctl [--json] [--socket PATH] COMMAND …\n\nCommands:\n");
        for (size_t i = 0; commands[i] && r >= 0; i++)
                r = buffer_printf(b, "  %-15s %s\n", commands[i]->name, commands[i]->summary);
        if (r < 0)
                return r;
        return buffer_append_text(b,
                        "\nOptions of every command:\n"
                        "  --json          Answer with JSON, one document on a line; faults too\n"
                        "  --socket PATH   Where vaultd listens (also: $VAULTD_SOCKET)\n"
                        "  --help          Explain a command: vaultctl COMMAND --help\n"
                        "  --version       Print the version\n\n"
                        "Begin with:\n  vaultctl services\n  vaultctl connect notion\n\n"
                        "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not connected, 4 refused,\n"
                        "            5 vaultd unreachable, 6 service or platform failed\n\n"
                        "Manual: man vaultctl\n");
}

static int append_help(Buffer *b, const Command *command) {
        return buffer_printf(b, "%s\n\nUsage: vaultctl %s%s%s\n%s%s", command->summary, command->name,
                        isempty(command->synopsis) ? "" : " ", command->synopsis,
                        isempty(command->help) ? "" : "\n", command->help);
}

/* Help on stdout; where it is the answer to a fault, on stderr. */
static ExitCode show_help(bool is_json, const Command *command, FILE *stream) {
        _cleanup_(buffer_done) Buffer b = {};

        if ((command ? append_help(&b, command) : append_overview(&b)) < 0)
                return EXIT_CODE_FAILED;
        if (is_json) {
                _cleanup_(json_putp) json_object *document =
                                json_build("help", 's', (const char *)b.bytes, NULL);

                output_json(document);
        } else
                (void)fputs((const char *)b.bytes, stream);
        return EXIT_CODE_DONE;
}

static ExitCode show_version(bool is_json) {
        _cleanup_(json_putp) json_object *document = NULL;

        if (!is_json)
                (void)printf("vaultctl %s\n", VAULTD_VERSION);
        else if ((document = json_build("version", 's', VAULTD_VERSION, NULL)))
                output_json(document);
        return EXIT_CODE_DONE;
}

/* --json counts wherever it stands, so that faults of the command line itself are JSON too. */
static bool wants_json(int argc, char **argv) {
        for (int i = 1; i < argc && !streq(argv[i], "--"); i++)
                if (streq(argv[i], "--json"))
                        return true;
        return false;
}

static void context_set_socket(Context *c, const Command *command, const char *option) {
        const char *variable = command->is_control ? NULL : getenv("VAULTD_SOCKET");
        const char *standard = command->is_control ? VAULTD_SOCKET_CONTROL : VAULTD_SOCKET_PUBLIC;

        c->socket_path = option ?: (!isempty(variable) ? variable : standard);
        c->is_system_socket = streq(c->socket_path, standard);
        c->is_control = command->is_control;
}

/* A command line that names no command. */
static int fail_unknown(int argc, char **argv, Fault *f) {
        const char *nearest = command_suggest(argc, argv);
        _cleanup_(freep) char *hint = NULL;
        bool is_group = command_is_group(argv[0]);

        if (is_group && argc < 2)
                return fault_set(f, EXIT_CODE_USAGE, "io.vaultd.client.Usage", "Run: vaultctl --help",
                                "'vaultctl %s' needs a second word, for example: vaultctl %s", argv[0],
                                nearest ?: argv[0]);
        if (asprintf(&hint, nearest ? "Did you mean: vaultctl %s" : "Run: vaultctl --help", nearest) < 0)
                hint = NULL;
        return fault_set(f, EXIT_CODE_USAGE, "io.vaultd.client.Usage", hint, "There is no command '%s%s%s'",
                        argv[0], is_group ? " " : "", is_group ? argv[1] : "");
}

/* Checks the number of words. */
static int check_words(const Command *command, const Arguments *a, Fault *f) {
        _cleanup_(freep) char *hint = NULL;

        if (a->n_words >= command->n_least && a->n_words <= command->n_most)
                return 0;
        if (asprintf(&hint, "Usage: vaultctl %s%s%s", command->name, isempty(command->synopsis) ? "" : " ",
                            command->synopsis) < 0)
                hint = NULL;
        if (a->n_words < command->n_least)
                return fault_set(f, EXIT_CODE_USAGE, "io.vaultd.client.Usage", hint, "A word is missing");
        return fault_set(f, EXIT_CODE_USAGE, "io.vaultd.client.Usage", hint, "There is a word too many: %s",
                        a->words[command->n_most]);
}

static ExitCode run_command(Context *c, const Arguments *global, int argc, char **argv) {
        _cleanup_(arguments_done) Arguments a = {};
        _cleanup_(fault_done) Fault fault = {};
        const Command *command;
        int n_words;

        command = command_find(argc, argv, &n_words);
        if (!command && (streq(argv[0], "help") ||
                                        (argc > 1 && command_is_group(argv[0]) && streq(argv[1], "--help"))))
                return show_help(c->is_json, NULL, stdout);
        if (!command) {
                (void)fail_unknown(argc, argv, &fault);
                return fault_report(c, &fault);
        }
        if (arguments_parse(argc - n_words, argv + n_words, command->options, false, &a, NULL, &fault) < 0) {
                if (!fault.hint && asprintf(&fault.hint, "Run: vaultctl %s --help", command->name) < 0)
                        fault.hint = NULL;
                return fault_report(c, &fault);
        }
        if (arguments_has(&a, "help") || arguments_has(global, "help"))
                return show_help(c->is_json, command, stdout);
        if (arguments_has(&a, "version"))
                return show_version(c->is_json);
        if (check_words(command, &a, &fault) < 0)
                return fault_report(c, &fault);
        context_set_socket(c, command, arguments_value(&a, "socket") ?: arguments_value(global, "socket"));
        return command->run(c, &a);
}

int main(int argc, char **argv) {
        _cleanup_(arguments_done) Arguments global = {};
        _cleanup_(fault_done) Fault fault = {};
        Context c = { .is_json = wants_json(argc, argv) };
        int used;

        if (getauxval(AT_SECURE)) {
                complain("vaultctl must not be setuid: it acts as the user who runs it");
                return EXIT_CODE_FAILED;
        }
        if (!c.is_json)
                c.human = stdout;
        c.is_styled = terminal_is_styled(c.human);
        if (arguments_parse(argc - 1, argv + 1, NULL, true, &global, &used, &fault) < 0) {
                if (!fault.hint)
                        fault.hint = strdup("Run: vaultctl --help");
                return output_finish(fault_report(&c, &fault));
        }
        argc -= 1 + used;
        argv += 1 + used;
        if (arguments_has(&global, "version"))
                return output_finish(show_version(c.is_json));
        if (argc == 0 && arguments_has(&global, "help"))
                return output_finish(show_help(c.is_json, NULL, stdout));
        if (argc == 0 && !c.is_json) {
                (void)show_help(false, NULL, stderr);
                return output_finish(EXIT_CODE_USAGE);
        }
        if (argc == 0) {
                (void)fault_set(&fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage", "Run: vaultctl --help",
                                "A command is missing");
                return output_finish(fault_report(&c, &fault));
        }
        return output_finish(run_command(&c, &global, argc, argv));
}
