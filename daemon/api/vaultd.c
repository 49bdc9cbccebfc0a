/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd: what a caller may know about itself. Every method answers about the uid of the socket's peer and nobody
 * else, so there is nothing to pass in. */

#include "api/logins.h"
#include "api/manager.h"

static const char description[] =
#include "daemon/api/io.vaultd.inc"
        ;

static json_object *vault_to_json(const Vault *vault) {
        return json_build("id", 's', vault->id, "state", 's', vault->state == VAULT_ACTIVE ? "active" : vault->state == VAULT_SEALED ? "sealed" : "locked", NULL);
}

/* A caller that gets no vault is told so by its absence here; the methods that need one say why. */
static int caller_if_any(Manager *m, Call *call, char **ret_user, Vault **ret_vault, Failure *failure) {
        int r = manager_user(m, call_principal(call)->uid, ret_user, failure);

        if (r != 0)
                return r;
        r = manager_open_vault(m, call_principal(call)->uid, *ret_user, ret_vault, failure);
        return r == FAILED && failure->kind == FAILURE_NOT_ALLOWED ? 0 : r;
}

static int method_whoami(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(vault_freep) Vault *vault = NULL;
        _cleanup_(freep) char *user = NULL;
        Manager *m = userdata;
        Failure failure = {};
        int r;

        r = caller_if_any(m, call, &user, &vault, &failure);
        if (r == 0) {
                Origin origin;

                manager_origin(m, call, &origin);
                json_object *reply = json_build("uid", 'i', (int64_t)call_principal(call)->uid, "user", 's', user, "origin", 's', origin.name,
                                "originUser", 's', origin.origin ? origin.origin->user : NULL, "session", 's', origin.login ? origin.login->id : NULL, NULL);

                if (reply && origin.login_uid != UID_INVALID && json_add_int64(reply, "loginUid", (int64_t)origin.login_uid) < 0) {
                        json_object_put(reply);
                        reply = NULL;
                }
                if (reply && vault && json_add(reply, "vault", vault_to_json(vault)) < 0) {
                        json_object_put(reply);
                        reply = NULL;
                }
                r = reply ? call_reply(call, reply) : -ENOMEM;
        } else
                r = manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

static json_object *credential_to_json(Manager *m, const Credential *c) {
        static const char *const states[] = { "active", "needs-reconnect", "disconnecting" };
        const ServiceProfile *p = config_find_service(m->config, c->service);
        json_object *o = json_build("service", 's', c->service, "title", 's', p ? p->title : c->service, "label", 's', c->label,
                        "account", 'o', account_to_json(c->account_id, c->account_name), "state", 's', states[c->state],
                        "custody", 's', custody_to_string((Custody)c->custody), NULL);

        if (o && c->expires_usec > 0)
                (void)json_add_int64(o, "expires", (int64_t)c->expires_usec);
        return o;
}

static int status_connections(Manager *m, const Vault *vault, json_object *array) {
        Credential **list = NULL;
        size_t n = 0;
        int r;

        r = credential_record_list(m->store, vault, NULL, &list, &n);
        for (size_t i = 0; i < n && r >= 0; i++)
                r = json_object_array_add(array, credential_to_json(m, list[i]));
        credential_list_free(list, n);
        return r;
}

static json_object *flow_to_json(Manager *m, const Flow *f) {
        static const char *const states[] = { "pending", "continued", "exchanging", "quarantined", "revoking" };
        const ServiceProfile *p = config_find_service(m->config, f->service);
        json_object *o = json_build("flow", 's', f->id, "service", 's', f->service, "title", 's', p ? p->title : f->service,
                        "state", 's', states[f->state], "expires", 'i', (int64_t)f->expires_usec, NULL);

        if (o && f->state == FLOW_QUARANTINED)
                (void)json_add(o, "account", account_to_json(f->account_id, f->account_name));
        return o;
}

static int status_flows(Manager *m, uid_t uid, json_object *array) {
        Flow **list = NULL;
        size_t n = 0;
        int r;

        r = flow_record_list(m->store, m->keyring, uid, &list, &n);
        for (size_t i = 0; i < n && r >= 0; i++)
                if (list[i]->state != FLOW_REVOKING)
                        r = json_object_array_add(array, flow_to_json(m, list[i]));
        flow_list_free(list, n);
        return r;
}

static int status_logins(Manager *m, uid_t uid, json_object *array) {
        int r = 0;

        for (const Login *l = logins_next(m->logins, uid, NULL); l && r >= 0; l = logins_next(m->logins, uid, l))
                r = json_object_array_add(array, json_build("id", 's', l->id, "service", 's', l->service, "tty", 's', l->tty, "rhost", 's', l->rhost,
                                "opened", 'i', (int64_t)l->opened_usec, NULL));
        return r;
}

static int method_status(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(json_putp) json_object *connections = json_object_new_array(), *flows = json_object_new_array(), *logins = json_object_new_array();
        _cleanup_(vault_freep) Vault *vault = NULL;
        _cleanup_(freep) char *user = NULL;
        uid_t uid = call_principal(call)->uid;
        Manager *m = userdata;
        Failure failure = {};
        int r;

        if (!connections || !flows || !logins)
                return -ENOMEM;
        r = caller_if_any(m, call, &user, &vault, &failure);
        if (r == 0 && vault)
                r = status_connections(m, vault, connections);
        if (r == 0)
                r = status_flows(m, uid, flows);
        if (r == 0)
                r = status_logins(m, uid, logins);
        if (r == 0) {
                json_object *reply = json_build("uid", 'i', (int64_t)uid, "user", 's', user, "connections", 'o', TAKE_PTR(connections),
                                "flows", 'o', TAKE_PTR(flows), "logins", 'o', TAKE_PTR(logins), "platform", 'b', m->platform != NULL, NULL);

                if (reply && vault)
                        (void)json_add(reply, "vault", vault_to_json(vault));
                r = reply ? call_reply(call, reply) : -ENOMEM;
        } else
                r = manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

static json_object *service_to_json(Manager *m, const ServiceProfile *p, const Credential *c) {
        json_object *o = json_build("name", 's', p->name, "title", 's', p->title, "url", 's', p->url,
                        "custody", 's', custody_to_string(c ? (Custody)c->custody : oauth_custody(p, m->platform != NULL)), "connected", 'b', c != NULL, NULL);

        if (o && c)
                (void)json_add(o, "account", account_to_json(c->account_id, c->account_name));
        return o;
}

static int method_services(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(json_putp) json_object *array = json_object_new_array();
        _cleanup_(vault_freep) Vault *vault = NULL;
        _cleanup_(freep) char *user = NULL;
        Manager *m = userdata;
        Failure failure = {};
        int r;

        if (!array)
                return -ENOMEM;
        r = caller_if_any(m, call, &user, &vault, &failure);
        for (size_t i = 0; i < m->config->n_services && r == 0; i++) {
                const ServiceProfile *p = &m->config->services[i];
                Credential **list = NULL;
                size_t n = 0, k = 0;

                if (vault)
                        r = credential_record_list(m->store, vault, p->name, &list, &n);
                while (k < n && list[k]->state != CREDENTIAL_ACTIVE)
                        k++;
                if (r == 0)
                        r = json_object_array_add(array, service_to_json(m, p, k < n ? list[k] : NULL));
                credential_list_free(list, n);
        }
        r = r == 0 ? call_reply(call, json_build("services", 'o', TAKE_PTR(array), NULL)) : manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

static int finding(json_object *array, const char *check, const char *verdict, const char *message, const char *hint) {
        return json_object_array_add(array, json_build("check", 's', check, "verdict", 's', verdict, "message", 's', message, "hint", 's', hint, NULL));
}

static int doctor_findings(Manager *m, const Vault *vault, const Failure *failure, json_object *array) {
        int r;

        r = vault ? finding(array, "vault", "ok", "your vault is open", NULL) : finding(array, "vault", "warning", failure->message ?: "no vault", NULL);
        if (r >= 0)
                r = m->config->n_services > 0 ? finding(array, "services", "ok", "services are set up on this host", NULL)
                                              : finding(array, "services", "fault", "no service is set up on this host", "Add a file to /etc/vaultd/services.d");
        if (r >= 0)
                r = m->platform ? finding(array, "platform", "ok", "a workspace key for the Claude Platform is loaded", NULL)
                                : finding(array, "platform", "warning", "no workspace key: agent sessions cannot be started", "Give vaultd the credential vaultd.workspace-key");
        if (r >= 0)
                r = finding(array, "presence", "warning", "authority calls do not ask for a present human yet: an agent with your uid may connect and disconnect", NULL);
        return r;
}

static int method_doctor(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(json_putp) json_object *array = json_object_new_array();
        _cleanup_(vault_freep) Vault *vault = NULL;
        _cleanup_(freep) char *user = NULL;
        Manager *m = userdata;
        Failure failure = {};
        int r;

        if (!array)
                return -ENOMEM;
        r = caller_if_any(m, call, &user, &vault, &failure);
        if (r >= 0)
                r = doctor_findings(m, vault, &failure, array);
        if (r >= 0)
                r = call_reply(call, json_build("findings", 'o', TAKE_PTR(array), NULL));
        failure_done(&failure);
        return r;
}

static const Method methods[] = {
        { "WhoAmI", METHOD_USE, method_whoami, .is_fiber = true },
        { "Status", METHOD_USE, method_status, .is_fiber = true },
        { "Services", METHOD_USE, method_services, .is_fiber = true },
        { "Doctor", METHOD_USE, method_doctor, .is_fiber = true },
        {},
};

const Interface interface_vaultd = { "io.vaultd", description, DOOR_PUBLIC, methods };
