/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl doctor: what is wrong with this installation, and what mends it.
 *
 * The daemon knows its own side and answers with findings. What it cannot know is looked at from here, where a user stands: is
 * the socket there, is it a socket that everybody may open and only root could have put there, who listens, does an answer
 * come, and is it the same version. These checks run also when vaultd does not answer, which is when they are needed; then they
 * are all there is. Exit 1 when any finding is a fault. */

#include <sys/stat.h>

#include "client/call.h"
#include "client/command.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/table.h"
#include "json/object.h"

static int add_finding(json_object *findings, const char *check, const char *verdict, const char *message,
                const char *hint) {
        json_object *finding = json_build("check", 's', check, "verdict", 's', verdict, "message", 's',
                        message, "hint", 's', hint, NULL);

        if (!finding || json_object_array_add(findings, finding) < 0) {
                json_object_put(finding);
                return -ENOMEM;
        }
        return 0;
}

#define HINT_RESTART "Ask your administrator to run: systemctl restart vaultd.socket"

/* The socket file. Returns 1 when it is a socket, whoever it belongs to: then it matters who listens. */
static int check_socket(const Context *c, json_object *findings) {
        _cleanup_(freep) char *message = NULL;
        const char *hint = c->is_system_socket ? "Ask your administrator to run: systemctl enable --now "
                                                 "vaultd.socket"
                                               : NULL;
        bool is_socket = false;
        struct stat st;
        int r = 0;

        if (stat(c->socket_path, &st) < 0)
                r = asprintf(&message, "%s: %s", c->socket_path, strerror(errno));
        else if (!(is_socket = S_ISSOCK(st.st_mode)))
                r = asprintf(&message, "%s is not a socket", c->socket_path);
        else if (c->is_system_socket && st.st_uid != 0)
                r = asprintf(&message, "%s belongs to uid %u instead of root", c->socket_path,
                                (unsigned)st.st_uid);
        else if (c->is_system_socket && (st.st_mode & 0777) != 0666)
                r = asprintf(&message, "%s has mode %04o instead of 0666", c->socket_path,
                                (unsigned)(st.st_mode & 0777));
        if (r < 0)
                return -ENOMEM;
        if (message) {
                r = add_finding(findings, "socket", "fault", message,
                                is_socket && hint ? HINT_RESTART : hint);
                return r < 0 ? r : is_socket;
        }
        if (asprintf(&message, "%s is there", c->socket_path) < 0)
                return -ENOMEM;
        r = add_finding(findings, "socket", "ok", message, NULL);
        return r < 0 ? r : 1;
}

/* Who listens. Returns 1 when its answers are worth asking for. */
static int check_listener(const Context *c, Call *call, json_object *findings) {
        _cleanup_(freep) char *message = NULL;
        bool is_root = call_peer_uid(call) == 0;
        int r;

        if (asprintf(&message, is_root ? "root listens" : "uid %u listens instead of root",
                            (unsigned)call_peer_uid(call)) < 0)
                return -ENOMEM;
        if (is_root || !c->is_system_socket)
                r = add_finding(findings, "listener", is_root ? "ok" : "warning", message,
                                is_root ? NULL : "A daemon that systemd did not start is for tests only");
        else
                r = add_finding(findings, "listener", "fault", message, HINT_RESTART);
        return r < 0 ? r : is_root || !c->is_system_socket;
}

/* Whether an answer comes, and of which version. Returns 1 when it came. */
static int check_version(const Context *c, json_object *findings) {
        _cleanup_(json_putp) json_object *reply = NULL;
        _cleanup_(fault_done) Fault fault = {};
        _cleanup_(freep) char *message = NULL;
        const char *version;
        bool is_same;
        int r;

        if (call_method(c, "org.varlink.service.GetInfo", NULL, CALL_LOCAL_USEC, &reply, &fault) < 0 ||
                        reply_need_string(reply, "version", &version, &fault) < 0) {
                r = add_finding(findings, "daemon", "fault", fault.message,
                                "Ask your administrator to look at: journalctl -u vaultd");
                return r < 0 ? r : 0;
        }
        is_same = streq(version, VAULTD_VERSION);
        if (asprintf(&message, is_same ? "vaultd %s answers" : "vaultd is version %s, vaultctl is %s",
                            version, VAULTD_VERSION) < 0)
                return -ENOMEM;
        r = add_finding(findings, "version", is_same ? "ok" : "warning", message,
                        is_same ? NULL : "Ask your administrator to restart vaultd after the update");
        return r < 0 ? r : 1;
}

/* The daemon's own findings behind ours. */
static int add_daemon_findings(const Context *c, json_object *findings) {
        _cleanup_(json_putp) json_object *reply = NULL;
        _cleanup_(fault_done) Fault fault = {};
        json_object *theirs;

        if (call_method(c, "io.vaultd.Doctor", NULL, CALL_LOCAL_USEC, &reply, &fault) < 0 ||
                        reply_need_array(reply, "findings", json_type_object, &theirs, &fault) < 0)
                return add_finding(findings, "daemon", "fault", fault.message, fault.hint);
        for (size_t i = 0; i < json_object_array_length(theirs); i++) {
                json_object *finding = json_object_array_get_idx(theirs, i);
                int r = add_finding(findings, json_string(finding, "check") ?: "daemon",
                                json_string(finding, "verdict") ?: "fault",
                                json_string(finding, "message") ?: "A finding without a message",
                                json_string(finding, "hint"));

                if (r < 0)
                        return r;
        }
        return 0;
}

static int examine(const Context *c, json_object *findings) {
        Context looser = *c;
        _cleanup_(fault_done) Fault fault = {};
        _cleanup_(call_freep) Call *call = NULL;
        int r;

        r = check_socket(c, findings);
        if (r <= 0)
                return r;
        /* A listener that is not root is a finding here, not a reason to stop looking. */
        looser.is_system_socket = false;
        r = call_open(&looser, &call, &fault);
        if (r < 0)
                return add_finding(findings, "listener", "fault", fault.message,
                                c->is_system_socket ? HINT_RESTART : NULL);
        r = check_listener(c, call, findings);
        if (r <= 0)
                return r;
        call = call_free(call);
        r = check_version(&looser, findings);
        return r <= 0 ? r : add_daemon_findings(&looser, findings);
}

static Style verdict_style(const char *verdict) {
        return streq(verdict, "ok") ? STYLE_GOOD : streq(verdict, "warning") ? STYLE_WARNING : STYLE_BAD;
}

/* A verdict that we do not know counts as a fault. */
static size_t count_faults(json_object *findings) {
        size_t n = 0;

        for (size_t i = 0; i < json_object_array_length(findings); i++) {
                const char *verdict = json_string(json_object_array_get_idx(findings, i), "verdict");

                n += !streq(verdict, "ok") && !streq(verdict, "warning");
        }
        return n;
}

static void print_findings(const Context *c, json_object *findings) {
        for (size_t i = 0; i < json_object_array_length(findings); i++) {
                json_object *finding = json_object_array_get_idx(findings, i);
                const char *verdict = json_string(finding, "verdict"), *hint = json_string(finding, "hint");

                say_styled(c, verdict_style(verdict), "%-8s %s: %s", verdict, json_string(finding, "check"),
                                json_string(finding, "message"));
                if (hint)
                        say(c, "         %s", hint);
        }
}

static ExitCode run(const Context *c, const Arguments *a) {
        _cleanup_(json_putp) json_object *findings = json_object_new_array(), *document = NULL;
        size_t n_faults;

        if (!findings || examine(c, findings) < 0) {
                _cleanup_(fault_done) Fault fault = {};

                (void)fault_set_memory(&fault);
                return fault_report(c, &fault);
        }
        n_faults = count_faults(findings);
        if (c->is_json) {
                document = json_build("findings", 'o', TAKE_PTR(findings), NULL);
                output_json(document);
        } else {
                print_findings(c, findings);
                say(c, "%s", "");
                if (n_faults == 0)
                        say(c, "No faults were found.");
                else
                        say(c, n_faults == 1 ? "1 fault was found." : "%zu faults were found.", n_faults);
        }
        return n_faults > 0 ? EXIT_CODE_FAILED : EXIT_CODE_DONE;
}

const Command command_doctor = {
        .name = "doctor",
        .synopsis = "",
        .summary = "Find what is wrong with this installation",
        .help = "Exit code 1 when a fault is found.\n\nExample:\n  vaultctl doctor\n",
        .run = run,
};
