/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Faults of a command: from an error name to an exit code and two lines for the reader.
 *
 * vaultd decides what its errors say: `message` and `hint` of a reply are shown as they came, but for bytes that would
 * act on a terminal. Only where a reply has no message (the errors of Varlink itself) do we have words of our own.
 * The table below is the contract "error name to exit code"; whatever it does not list is exit 1, so that a
 * newer daemon with more errors still gives scripts a non-zero exit.
 *
 * Names beginning with io.vaultd.client are made here and never by the daemon: a reply that uses one is reported as a
 * nonsense reply, since otherwise a daemon could make scripts believe that it had not been reached. */

#include <stdarg.h>

#include "client/fault.h"
#include "client/output.h"
#include "json/object.h"

static const struct {
        const char *error;
        ExitCode code;
        const char *message; /* for replies without one */
} table[] = {
        { "io.vaultd.NotConnected", EXIT_CODE_NOT_CONNECTED, "The service is not connected" },
        { "io.vaultd.NotAllowed", EXIT_CODE_REFUSED, "Refused by policy" },
        { "io.vaultd.VaultClosed", EXIT_CODE_REFUSED, "The vault is closed" },
        { "io.vaultd.Revoked", EXIT_CODE_REFUSED, "The credentials were revoked" },
        { "io.vaultd.UpstreamFailed", EXIT_CODE_UPSTREAM, "The service failed" },
        { "io.vaultd.PlatformFailed", EXIT_CODE_UPSTREAM, "The Claude Platform failed" },
        { "org.varlink.service.PermissionDenied", EXIT_CODE_REFUSED, "vaultd refuses this call" },
        { "org.varlink.service.MethodNotFound", EXIT_CODE_FAILED,
                        "vaultd does not know this call: vaultctl and vaultd are of different versions" },
        { "org.varlink.service.InterfaceNotFound", EXIT_CODE_FAILED,
                        "vaultd does not know this call: vaultctl and vaultd are of different versions" },
        { "org.varlink.service.MethodNotImplemented", EXIT_CODE_FAILED,
                        "vaultd does not implement this call" },
        { "org.varlink.service.InvalidParameter", EXIT_CODE_FAILED, "vaultd does not accept this value" },
};

void fault_done(Fault *f) {
        free(f->error);
        free(f->message);
        free(f->hint);
        json_putp(&f->details);
        *f = (Fault){};
}

int fault_set(Fault *f, ExitCode code, const char *error, const char *hint, const char *format, ...) {
        /* Made before the old content goes: the new one may quote it. */
        Fault made = { .code = code, .error = strdup(error), .hint = hint ? strdup(hint) : NULL };
        va_list args;

        va_start(args, format);
        if (vasprintf(&made.message, format, args) < 0)
                made.message = NULL;
        va_end(args);
        fault_done(f);
        *f = made;
        return FAULT_SET;
}

int fault_set_bad_reply(Fault *f, const char *what) {
        return fault_set(f, EXIT_CODE_FAILED, "io.vaultd.client.BadReply", "Run: vaultctl doctor",
                        "vaultd gave an answer that makes no sense: %s", what);
}

int fault_set_memory(Fault *f) {
        return fault_set(f, EXIT_CODE_FAILED, "io.vaultd.client.NoMemory", NULL, "Out of memory");
}

int fault_set_reply(Fault *f, const char *error, json_object *parameters) {
        const char *message = json_string(parameters, "message"), *hint = json_string(parameters, "hint");
        const char *field = json_string(parameters, "parameter");
        ExitCode code = EXIT_CODE_FAILED;

        if (startswith(error, "io.vaultd.client."))
                return fault_set_bad_reply(f, "an error name that belongs to vaultctl");
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (streq(table[i].error, error)) {
                        code = table[i].code;
                        message = message ?: table[i].message;
                }
        if (message && !json_string(parameters, "message") && field)
                (void)fault_set(f, code, error, hint, "%s (%s)", message, field);
        else
                (void)fault_set(f, code, error, hint, "%s", message ?: error);
        f->details = json_object_get(parameters);
        return FAULT_SET;
}

bool fault_is(const Fault *f, const char *error) {
        return streq_ptr(f->error, error);
}

/* The error, message and hint, then whatever else the reply said (triesLeft, retryAfter, requestId …). */
static json_object *fault_to_json(const Fault *f) {
        json_object *document = json_build(
                        "error", 's', f->error, "message", 's', f->message, "hint", 's', f->hint, NULL);

        if (!document || !f->details)
                return document;
        json_object_object_foreach(f->details, name, value) {
                if (!streq(name, "error") && !streq(name, "message") && !streq(name, "hint"))
                        (void)json_add(document, name, json_object_get(value));
        }
        return document;
}

ExitCode fault_report(const Context *c, const Fault *f) {
        if (c->is_json) {
                _cleanup_(json_putp) json_object *document = fault_to_json(f);

                output_json(document);
        } else {
                complain("%s", f->message ?: "Out of memory");
                if (f->hint)
                        complain("%s", f->hint);
        }
        return f->code == EXIT_CODE_DONE ? EXIT_CODE_FAILED : f->code;
}
