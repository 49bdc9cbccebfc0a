/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Varlink calls from the user's side.
 *
 * vaultd is trusted with secrets but its answers are not trusted with our process: every reply passes the strict scan and
 * then the shape test below (an object of `parameters`, `error`, `continues` and nothing else, each of its type,
 * `continues` only when `more` was asked). What fails is a nonsense reply and ends the command with exit 1; no field of it
 * is used. Not being reached at all (no socket, refused, silence, a connection cut in the middle) is exit 5.
 *
 * On the path of the installed system the listener must be root: under socket activation the kernel reports pid 1 as the
 * peer, so anything else squats on the path. Another path (--socket, $VAULTD_SOCKET) was chosen by the user, who may run a
 * daemon of their own there. A deadline is absolute: a peer that trickles one byte a second gains no time. */

#include "client/call.h"
#include "json/object.h"
#include "util/clock.h"
#include "util/wire-client.h"

/* A stopped daemon with a full backlog must not hold the terminal for longer than this. */
#define CONNECT_USEC (5 * USEC_PER_SEC)

struct Call {
        WireClient *wire;
        const char *socket_path;
        bool wants_more;
};

Call *call_free(Call *call) {
        if (call)
                (void)wire_client_free(call->wire);
        free(call);
        return NULL;
}

int call_fd(Call *call) {
        return wire_client_fd(call->wire);
}

uid_t call_peer_uid(Call *call) {
        return wire_client_peer_uid(call->wire);
}

/* Says why vaultd is out of reach, and for the installed system what to do. */
static int fault_set_unreachable(const Context *c, int error, Fault *f) {
        const char *hint = c->is_system_socket
                                           ? "Ask your administrator to run: systemctl start vaultd.socket"
                                           : NULL;
        const char *why;

        switch (-error) {
        case ENOENT:
                why = "there is no such socket";
                break;
        case ECONNREFUSED:
                why = "nobody listens there";
                break;
        case EPERM:
                why = "the listener is not root, so it is not vaultd";
                hint = "Run: vaultctl doctor";
                break;
        case EACCES:
                if (c->is_control)
                        return fault_set(f, EXIT_CODE_REFUSED, "io.vaultd.client.RootOnly",
                                        "Run it with sudo, or as root",
                                        "This command is for administrators: %s is root's alone",
                                        c->socket_path);
                why = "this user may not open the socket";
                hint = "Run: vaultctl doctor";
                break;
        case ETIMEDOUT:
                why = "it does not accept connections in time";
                break;
        case EPIPE:
        case ECONNRESET:
                why = "it closed the connection without an answer";
                hint = c->is_system_socket ? "Ask your administrator to look at: journalctl -u vaultd"
                                           : NULL;
                break;
        default:
                why = strerror(-error);
                break;
        }
        return fault_set(f, EXIT_CODE_UNREACHABLE, "io.vaultd.client.Unreachable", hint,
                        "Cannot reach vaultd at %s: %s", c->socket_path, why);
}

int call_open(const Context *c, Call **ret, Fault *fault) {
        _cleanup_(call_freep) Call *call = calloc(1, sizeof(Call));
        int r;

        if (!call)
                return fault_set_memory(fault);
        call->socket_path = c->socket_path;
        r = wire_client_connect(
                        c->socket_path, now_monotonic() + CONNECT_USEC, c->is_system_socket, &call->wire);
        if (r < 0)
                return fault_set_unreachable(c, r, fault);
        *ret = TAKE_PTR(call);
        return 0;
}

int call_send(Call *call, const char *method, json_object *parameters, bool wants_more, Fault *fault) {
        _cleanup_(json_putp) json_object *message = NULL;
        const char *text;
        int r;

        message = json_build("method", 's', method, "parameters", 'o',
                        parameters ?: json_object_new_object(), NULL);
        if (!message || (wants_more && json_add_bool(message, "more", true) < 0) ||
                        !(text = json_text(message)))
                return fault_set_memory(fault);
        call->wants_more = wants_more;
        r = wire_client_send(call->wire, text, strlen(text), now_monotonic() + CONNECT_USEC);
        if (r < 0)
                return fault_set_unreachable(&(Context){ .socket_path = call->socket_path }, r, fault);
        return 0;
}

/* The shape of a reply; *ret_parameters is borrowed from message. */
static int reply_check(json_object *message, bool wants_more, json_object **ret_parameters,
                bool *ret_continues, const char **ret_error, Fault *fault) {
        json_object *parameters = NULL;
        const char *error = NULL;
        bool continues = false;

        if (!json_object_is_type(message, json_type_object))
                return fault_set_bad_reply(fault, "it is not an object");
        json_object_object_foreach(message, name, unused) {
                (void)unused;
                if (!streq(name, "parameters") && !streq(name, "error") && !streq(name, "continues"))
                        return fault_set_bad_reply(fault, "it has a member that no reply has");
        }
        if (json_get_object(message, "parameters", &parameters) == -EINVAL)
                return fault_set_bad_reply(fault, "its parameters are not an object");
        if (json_get_string(message, "error", &error) == -EINVAL)
                return fault_set_bad_reply(fault, "its error is not a name");
        if (json_get_bool(message, "continues", &continues) == -EINVAL)
                return fault_set_bad_reply(fault, "its continues flag is not a flag");
        if (continues && (!wants_more || error))
                return fault_set_bad_reply(fault, "it announces replies that were not asked for");
        *ret_parameters = parameters;
        *ret_continues = continues;
        *ret_error = error;
        return 0;
}

int call_receive(Call *call, uint64_t deadline_usec, json_object **ret_parameters, bool *ret_continues,
                Fault *fault) {
        _cleanup_(json_putp) json_object *message = NULL;
        json_object *parameters = NULL;
        const char *text, *error = NULL;
        bool continues = false;
        size_t size;
        int r;

        r = wire_client_receive(call->wire, deadline_usec, &text, &size);
        if (r == -ETIMEDOUT)
                return 0;
        if (r == -EMSGSIZE)
                return fault_set_bad_reply(fault, "it is larger than 1 MiB");
        if (r < 0)
                return fault_set_unreachable(&(Context){ .socket_path = call->socket_path }, r, fault);
        r = json_parse(text, size, &json_limits_wire, &message);
        if (r == -ENOMEM)
                return fault_set_memory(fault);
        if (r != 0)
                return fault_set_bad_reply(fault, r > 0 ? json_fault_to_string(r) : "it is not JSON");
        r = reply_check(message, call->wants_more, &parameters, &continues, &error, fault);
        if (r < 0)
                return r;
        if (error)
                return fault_set_reply(fault, error, parameters);
        parameters = parameters ? json_object_get(parameters) : json_object_new_object();
        if (!parameters)
                return fault_set_memory(fault);
        *ret_parameters = parameters;
        if (ret_continues)
                *ret_continues = continues;
        return 1;
}

int fault_set_silence(Fault *fault, uint64_t timeout_usec) {
        return fault_set(fault, EXIT_CODE_UNREACHABLE, "io.vaultd.client.Unreachable",
                        "Run: vaultctl doctor", "vaultd did not answer within %u seconds",
                        (unsigned)(timeout_usec / USEC_PER_SEC));
}

int call_method(const Context *c, const char *method, json_object *parameters, uint64_t timeout_usec,
                json_object **ret_parameters, Fault *fault) {
        _cleanup_(json_putp) json_object *taken = parameters;
        _cleanup_(call_freep) Call *call = NULL;
        int r;

        r = call_open(c, &call, fault);
        if (r < 0)
                return r;
        r = call_send(call, method, TAKE_PTR(taken), false, fault);
        if (r < 0)
                return r;
        r = call_receive(call, now_monotonic() + timeout_usec, ret_parameters, NULL, fault);
        return r < 0 ? r : r == 0 ? fault_set_silence(fault, timeout_usec) : 0;
}

int call_upgrade(Call *call, const char *method, json_object *parameters, json_object **ret_parameters,
                Fault *fault) {
        _cleanup_(json_putp) json_object *message = NULL;
        const char *text;
        int r;

        message = json_build("method", 's', method, "parameters", 'o',
                        parameters ?: json_object_new_object(), "upgrade", 'b', true, NULL);
        text = message ? json_text(message) : NULL;
        if (!text)
                return fault_set_memory(fault);
        r = wire_client_send(call->wire, text, strlen(text), now_monotonic() + CONNECT_USEC);
        if (r < 0)
                return fault_set_unreachable(&(Context){ .socket_path = call->socket_path }, r, fault);
        r = call_receive(call, now_monotonic() + CALL_LOCAL_USEC, ret_parameters, NULL, fault);
        return r < 0 ? r : r == 0 ? fault_set_silence(fault, CALL_LOCAL_USEC) : 0;
}

size_t call_take_rest(Call *call, void *ret, size_t n) {
        return wire_client_take_rest(call->wire, ret, n);
}
