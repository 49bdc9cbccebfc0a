/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Calls: from a parsed message to its one final reply.
 *
 * A call belongs to its connection until it is answered, and to its fiber or to whoever took a reference until they
 * let go. When the client leaves, the call stays valid and its replies go nowhere; a method that only watches is
 * cancelled then, one that changes something goes on to its end, so nothing is left half done because somebody
 * pressed ^C. Its charge goes on with it: otherwise whoever calls and leaves, again and again, has as many fibers as he
 * likes (T26). The principal is copied at the start: nothing that happens on the socket later changes who called. */

#include <assert.h>

#include "ipc/server-internal.h"
#include "util/crash-point.h"
#include "util/log.h"

const Principal *call_principal(Call *c) {
        return &c->principal;
}

const Principal *call_principal_with_audit(Call *c) {
        /* Kept with the connection: a peer that calls often is read once. */
        if (!c->principal.has_audit && c->connection) {
                principal_read_audit(&c->connection->principal);
                c->principal = c->connection->principal;
        }
        principal_read_audit(&c->principal);
        return &c->principal;
}

bool call_peer_is_same_process(Call *c) {
        return c->connection && principal_is_same_process(&c->principal, c->connection->fd);
}

int call_read_groups(Call *c, gid_t **ret, size_t *ret_n) {
        return c->connection ? principal_read_groups(c->connection->fd, ret, ret_n) : -ENOTCONN;
}

Door call_door(Call *c) {
        return c->door;
}

bool call_wants_more(Call *c) {
        return c->message.is_more;
}

bool call_is_gone(Call *c) {
        return !c->connection;
}

bool call_is_answered(Call *c) {
        return c->is_answered;
}

Call *call_ref(Call *c) {
        c->n_ref++;
        return c;
}

/* All of it, as long as the account is there: the call's own charge may be what keeps it. */
static void call_release_charge(Call *c) {
        if (!c->account)
                return;
        if (c->is_stream)
                account_release_stream(c->account);
        c->is_stream = false;
        account_release_bytes(c->account, c->cost);
        account_release_call(TAKE_PTR(c->account));
}

Call *call_unref(Call *c) {
        if (!c || --c->n_ref > 0)
                return NULL;
        call_release_charge(c);
        message_done(&c->message);
        for (size_t i = 0; i < c->n_services; i++)
                free(c->services[i]);
        free(c->services);
        free(c);
        return NULL;
}

int call_uses_service(Call *c, const char *service) {
        char **grown = reallocarray(c->services, c->n_services + 1, sizeof(char *));

        if (!grown)
                return -ENOMEM;
        c->services = grown;
        grown[c->n_services] = strdup(service);
        if (!grown[c->n_services])
                return -ENOMEM;
        c->n_services++;
        return 0;
}

int call_charge_to(Call *c, uid_t uid) {
        Account *payer;
        int r;

        assert(!c->is_stream);
        if (!c->account)
                return 0;
        r = accounts_charge_call(c->server->accounts, uid, c->cost, &payer);
        if (r < 0)
                return r;
        call_release_charge(c);
        c->account = payer;
        return 0;
}

void call_abandon(Call *call) {
        call->connection = NULL;
        if (call->fiber && call->method && call->method->ends_with_client) {
                server_sync_event(call->server);
                fiber_cancel(call->fiber);
        }
        (void)call_unref(call);
}

/* Sends a message with its NUL, unless the client wants or takes no answer. */
static int call_send_text(Call *call, const char *text, size_t n) {
        Connection *c = call->connection;
        int r;

        if (!c || call->message.is_oneway)
                return 0;
        r = connection_send(c, text, n);
        if (r < 0) {
                if (r == -EDQUOT)
                        log_budget_line(c->server->log, LOG_INFO, c->payer,
                                        "closing a connection of uid %u: it does not read its answers",
                                        (unsigned)c->principal.uid);
                connection_close(c);
        }
        return r;
}

/* Takes body. */
static int call_send(Call *call, json_object *body) {
        _cleanup_(json_putp) json_object *owned = body;

        if (!call->connection || call->message.is_oneway)
                return 0;
        const char *text = owned ? json_text(owned) : NULL;
        return text ? call_send_text(call, text, strlen(text) + 1) : -ENOMEM;
}

void call_hand_over(Call *call) {
        Connection *c = call->connection;

        call->is_answered = true;
        if (!c || c->call != call)
                return;
        assert(c->state == CONNECTION_CALLING);
        c->call = NULL;
        call->connection = NULL;
        (void)call_unref(call);
}

/* The connection may take its next call. */
static void call_finish(Call *call) {
        Connection *c = call->connection;

        call_hand_over(call);
        if (c && c->state == CONNECTION_CALLING) {
                c->state = CONNECTION_IDLE;
                connection_reconsider(c);
        }
}

static int call_answer(Call *call, json_object *body) {
        _cleanup_(call_unrefp) _unused_ Call *keep = call_ref(call);
        int r;

        assert(!call->is_answered);
        crash_point("reply");
        r = call_send(call, body);
        call_finish(call);
        return r;
}

int call_reply(Call *call, json_object *parameters) {
        return call_answer(
                        call, json_build("parameters", 'o', parameters ?: json_object_new_object(), NULL));
}

int call_reply_text(Call *call, const char *parameters, size_t n) {
        _cleanup_(call_unrefp) _unused_ Call *keep = call_ref(call);
        _cleanup_(buffer_done) Buffer message = {};
        int r;

        assert(!call->is_answered);
        r = buffer_append_text(&message, "{\"parameters\":");
        if (r >= 0)
                r = buffer_append(&message, parameters, n);
        if (r >= 0)
                r = buffer_append(&message, "}", 2);
        if (r < 0)
                return r;
        crash_point("reply");
        r = call_send_text(call, (const char *)message.bytes, message.size);
        call_finish(call);
        return r;
}

int call_notify(Call *call, json_object *parameters) {
        assert(call->message.is_more && !call->is_answered);
        crash_point("reply-of-a-stream");
        return call_send(call, json_build("parameters", 'o', parameters, "continues", 'b', true, NULL));
}

int call_error(Call *call, const char *name, json_object *parameters) {
        return call_answer(call, json_build("error", 's', name, "parameters", 'o',
                                                 parameters ?: json_object_new_object(), NULL));
}

int call_invalid_parameter(Call *call, const char *field) {
        return call_error(call, "org.varlink.service.InvalidParameter",
                        json_build("parameter", 's', field, NULL));
}

/* No method runs that was not admitted. */
static int call_handle(Call *call) {
        Server *s = call->server;
        int r = s->options.admit ? s->options.admit(call, call->method, s->options.userdata) : 0;

        return r != 0 ? MIN(r, 0)
                      : call->method->handle(call, call->message.parameters, s->options.userdata);
}

static int call_fiber(void *userdata) {
        return call_handle(userdata);
}

/* Calls that server_end_calls() has to find, also when their clients have left. */
static void call_list(Call *call) {
        Server *s = call->server;

        if (!call->method->uses_credentials)
                return;
        call->users_next = s->users;
        if (s->users)
                s->users->users_previous = call;
        s->users = call;
}

static void call_unlist(Call *call) {
        Server *s = call->server;

        if (!call->method->uses_credentials)
                return;
        if (call->users_previous)
                call->users_previous->users_next = call->users_next;
        else
                s->users = call->users_next;
        if (call->users_next)
                call->users_next->users_previous = call->users_previous;
}

static void call_fiber_done(int result, void *userdata) {
        _cleanup_(call_unrefp) Call *call = userdata;

        call->fiber = NULL;
        call_unlist(call);
        if (result == -ECANCELED && call->ended_by < 0)
                result = call->ended_by;
        /* The daemon ends: what became of the call is not known to its client, who is told just that. */
        if (!call->is_answered && result == -ECANCELED && call->connection)
                connection_close(call->connection);
        else if (!call->is_answered) {
                assert(result < 0 || !call->connection);
                call->server->options.fault(
                                call, result < 0 ? result : -EIO, call->server->options.userdata);
        }
}

static int call_run(Call *call) {
        Server *s = call->server;
        int r;

        if (!call->method->is_quick)
                server_sync_event(s);
        if (call->method->is_fiber) {
                r = fiber_spawn(s->event, call_fiber, call_fiber_done, call, &call->fiber);
                if (r >= 0) {
                        (void)call_ref(call);
                        call_list(call);
                }
        } else
                r = call_handle(call);
        if (call->method->is_quick && !call->is_answered)
                server_sync_event(s);
        if (r < 0 && !call->is_answered)
                s->options.fault(call, r, s->options.userdata);
        return 0;
}

/* Whether the method can be called in this way. */
static int call_admit(Call *call, const Interface *interface) {
        const Method *m = call->method;
        const Message *message = &call->message;

        if (message->is_upgrade != m->is_upgrade)
                return call_error(call, "org.varlink.service.MethodNotImplemented",
                                json_build("method", 's', message->method, NULL));
        if (m->needs_more && !message->is_more)
                return call_error(call, "org.varlink.service.ExpectedMore", NULL);
        /* Methods with parameters know theirs; those without would never look. */
        if (json_object_object_length(message->parameters) > 0 &&
                        introspection_takes_nothing(interface->description, m->name))
                return introspection_refuse_members(call);
        if (message->is_upgrade || (message->is_more && m->is_stream)) {
                int r = account_charge_stream(call->account);

                if (r < 0) {
                        call->server->options.fault(call, r, call->server->options.userdata);
                        return 0;
                }
                call->is_stream = true;
        }
        return call_run(call);
}

static const Interface *server_find_interface(Server *s, Door door, const char *name, size_t n) {
        for (const Interface *const *i = s->options.interfaces; *i; i++)
                if (((*i)->doors & door) && strlen((*i)->name) == n && memcmp((*i)->name, name, n) == 0)
                        return *i;
        return NULL;
}

static int call_dispatch(Call *call) {
        const char *method = call->message.method, *dot = strrchr(method, '.');

        if (!dot)
                return call_error(call, "org.varlink.service.InterfaceNotFound",
                                json_build("interface", 's', method, NULL));
        if (startswith(method, "org.varlink.service."))
                return introspection_dispatch(call, dot + 1);

        const Interface *interface =
                        server_find_interface(call->server, call->door, method, (size_t)(dot - method));
        if (!interface) {
                _cleanup_(freep) char *name = strndup(method, (size_t)(dot - method));

                return call_error(call, "org.varlink.service.InterfaceNotFound",
                                json_build("interface", 's', name, NULL));
        }
        for (const Method *m = interface->methods; m->name; m++)
                if (streq(m->name, dot + 1)) {
                        call->method = m;
                        break;
                }
        if (!call->method)
                return call_error(call, "org.varlink.service.MethodNotFound",
                                json_build("method", 's', method, NULL));
        return call_admit(call, interface);
}

int call_start(Connection *c, Message *message, size_t cost) {
        _cleanup_(call_unrefp) Call *call = NULL;
        int r;

        assert(c->state == CONNECTION_IDLE && !c->call);
        call = calloc(1, sizeof(Call));
        if (!call) {
                message_done(message);
                account_release_bytes(c->account, cost);
                return -ENOMEM;
        }
        *call = (Call){ .n_ref = 1,
                .connection = c,
                .server = c->server,
                .principal = c->principal,
                .door = c->door,
                .message = *message };

        c->call = call_ref(call);
        c->state = CONNECTION_CALLING;
        r = account_charge_call(c->account);
        if (r < 0) {
                /* Too many at once is no malformed message: it is answered. */
                account_release_bytes(c->account, cost);
                c->server->options.fault(call, r, c->server->options.userdata);
                return 0;
        }
        call->account = c->account;
        call->cost = cost;
        (void)call_dispatch(call);
        return 0;
}
