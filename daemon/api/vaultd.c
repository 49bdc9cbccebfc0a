/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd: what a caller may know about itself. Every method answers about the uid of the socket's peer and nobody
 * else, so there is nothing to pass in.
 *
 * WhoAmI is what every agent and prompt asks, so it is answered in the loop, without a fiber, when the caller's name is at
 * hand and its vault is open under that name. It only shows: nothing is made, opened or decided from what is at hand. Every
 * other case (first call, closed vault, name that changed, damage) takes the way of all methods. */

#include "api/choice.h"
#include "api/history.h"
#include "api/logins.h"
#include "api/visits.h"
#include "store/recovery.h"
#include "util/clock.h"
#include "util/fiber.h"

static const char description[] =
#include "daemon/api/io.vaultd.inc"
                ;

static json_object *vault_to_json(const char *id, VaultState state) {
        return json_build("id", 's', id, "state", 's',
                        state == VAULT_ACTIVE   ? "active"
                        : state == VAULT_SEALED ? "sealed"
                                                : "locked",
                        NULL);
}

/* A caller that gets no vault is told so by its absence here; the methods that need one say why. */
static int caller_if_any(Manager *m, Call *call, char **ret_user, Vault **ret_vault, Failure *failure) {
        int r = manager_user(m, call_principal(call)->uid, ret_user, failure);

        if (r != 0)
                return r;
        r = manager_open_vault(m, call_principal(call)->uid, *ret_user, ret_vault, failure);
        return r == FAILED && failure->kind == FAILURE_NOT_ALLOWED ? 0 : r;
}

/* vault_id NULL: none. */
static int whoami_reply(Manager *m, Call *call, const char *user, const char *vault_id, VaultState state) {
        _cleanup_(json_putp) json_object *reply = NULL;
        Origin origin;

        manager_origin(m, call, &origin);
        reply = json_build("uid", 'i', (int64_t)call_principal(call)->uid, "user", 's', user, "origin", 's',
                        origin.name, "originUser", 's', origin.origin ? origin.origin->user : NULL,
                        "session", 's', origin.login ? origin.login->id : NULL, NULL);
        if (!reply ||
                        (origin.login_uid != UID_INVALID &&
                                        json_add_int64(reply, "loginUid", (int64_t)origin.login_uid) < 0) ||
                        (vault_id && json_add(reply, "vault", vault_to_json(vault_id, state)) < 0))
                return -ENOMEM;
        return call_reply(call, TAKE_PTR(reply));
}

/* WhoAmI that has to wait: for NSS, or for a vault to be made. */
typedef struct WhoamiWait {
        Manager *manager;
        Call *call;
} WhoamiWait;

static int whoami_fiber(void *userdata) {
        WhoamiWait *wait = userdata;
        _cleanup_(vault_freep) Vault *vault = NULL;
        _cleanup_(freep) char *user = NULL;
        Failure failure = {};
        int r;

        r = caller_if_any(wait->manager, wait->call, &user, &vault, &failure);
        if (r == 0)
                r = whoami_reply(wait->manager, wait->call, user, vault ? vault->id : NULL,
                                vault ? vault->state : VAULT_ACTIVE);
        else
                r = manager_reply_outcome(wait->call, r, &failure);
        failure_done(&failure);
        return r;
}

static void whoami_done(int result, void *userdata) {
        WhoamiWait *wait = userdata;

        if (result < 0 && !call_is_answered(wait->call))
                manager_fault(wait->call, result, wait->manager);
        (void)call_unref(wait->call);
        free(wait);
}

/* 1: answered; 0: it has to wait. */
static int whoami_at_once(Manager *m, Call *call) {
        uid_t uid = call_principal(call)->uid;
        const char *user = users_name_at_hand(m->users, uid, now_monotonic());
        bool has_vault = uid >= m->config->uid_min && uid <= m->config->uid_max;
        VaultSummary vault;
        int r;

        if (!user)
                return 0;
        if (has_vault && (vault_record_peek(m->store, uid, &vault) < 0 || vault.state != VAULT_ACTIVE ||
                                         !streq(vault.user, user)))
                return 0;
        r = whoami_reply(m, call, user, has_vault ? vault.id : NULL, VAULT_ACTIVE);
        return r < 0 ? r : 1;
}

static int method_whoami(Call *call, json_object *parameters, void *userdata) {
        WhoamiWait *wait;
        int r;

        r = whoami_at_once(userdata, call);
        if (r != 0)
                return r < 0 ? r : 0;
        wait = calloc(1, sizeof(WhoamiWait));
        if (!wait)
                return -ENOMEM;
        *wait = (WhoamiWait){ .manager = userdata, .call = call };
        r = fiber_spawn(wait->manager->event, whoami_fiber, whoami_done, wait, NULL);
        if (r < 0) {
                free(wait);
                return r;
        }
        (void)call_ref(call);
        return 0;
}

static json_object *credential_to_json(Manager *m, const Credential *c) {
        const ServiceProfile *p = config_find_service(m->config, c->service);
        const char *reason, *state = oauth_credential_state(c, &reason);
        json_object *o = json_build("service", 's', c->service, "title", 's', p ? p->title : c->service,
                        "label", 's', c->label, "account", 'o',
                        account_to_json(c->account_id ?: "", c->account_name ?: ""), "kind", 's',
                        credential_kind_to_string(c->kind), "state", 's', state, "reason", 's', reason,
                        "custody", 's', custody_to_string((Custody)c->custody), "variable", 's', c->variable,
                        NULL);

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
        const ServiceProfile *p = config_find_service(m->config, f->service);
        json_object *o = json_build("flow", 's', f->id, "service", 's', f->service, "title", 's',
                        p ? p->title : f->service, "state", 's', flow_state_to_string(f->state), "expires",
                        'i', (int64_t)f->expires_usec, NULL);

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

        for (const Login *l = logins_next(m->logins, uid, NULL); l && r >= 0;
                        l = logins_next(m->logins, uid, l))
                r = json_object_array_add(
                                array, json_build("id", 's', l->id, "service", 's', l->service, "tty", 's',
                                                       l->tty, "rhost", 's', l->rhost, "opened", 'i',
                                                       (int64_t)l->opened_usec, NULL));
        return r;
}

static int method_status(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(json_putp) json_object *connections = json_object_new_array(),
                                         *flows = json_object_new_array(), *logins = json_object_new_array();
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
                json_object *reply = json_build("uid", 'i', (int64_t)uid, "user", 's', user, "connections",
                                'o', TAKE_PTR(connections), "flows", 'o', TAKE_PTR(flows), "logins", 'o',
                                TAKE_PTR(logins), "platform", 'b', m->platform != NULL, "pages", 'i',
                                (int64_t)visits_count(m->visits, uid, now_monotonic()), NULL);

                if (reply && vault)
                        (void)json_add(reply, "vault", vault_to_json(vault->id, vault->state));
                r = reply ? call_reply(call, reply) : -ENOMEM;
        } else
                r = manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

static int service_to_json(Manager *m, const ServiceProfile *p, const Credential *c, json_object **ret) {
        Failure lacks = {};
        int r = oauth_check_set_up(m->oauth, p, &lacks);

        if (r < 0)
                return r;
        json_object *o = json_build("name", 's', p->name, "title", 's', p->title, "url", 's', p->url,
                        "custody", 's',
                        custody_to_string(c ? (Custody)c->custody : oauth_custody(p, m->platform != NULL)),
                        "connected", 'b', c != NULL, NULL);

        if (o && c)
                (void)json_add(o, "account", account_to_json(c->account_id, c->account_name));
        if (o && r == FAILED)
                (void)json_add_string(o, "notSetUp", lacks.message);
        failure_done(&lacks);
        *ret = o;
        return o ? 0 : -ENOMEM;
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
                json_object *service = NULL;
                Credential **list = NULL;
                size_t n = 0, k = 0;

                if (vault)
                        r = credential_record_list(m->store, vault, p->name, &list, &n);
                while (k < n && list[k]->state != CREDENTIAL_ACTIVE)
                        k++;
                if (r == 0)
                        r = service_to_json(m, p, k < n ? list[k] : NULL, &service);
                if (r == 0)
                        r = json_object_array_add(array, service);
                credential_list_free(list, n);
        }
        r = r == 0 ? call_reply(call, json_build("services", 'o', TAKE_PTR(array), NULL))
                   : manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

static int finding(json_object *array, const char *check, const char *verdict, const char *message,
                const char *hint) {
        return json_object_array_add(
                        array, json_build("check", 's', check, "verdict", 's', verdict, "message", 's',
                                               message, "hint", 's', hint, NULL));
}

/* The caller lives, for it waits for this answer: if /proc has nothing about it, it is hidden from vaultd. */
static int doctor_origin(Manager *m, Call *call, json_object *array) {
        Origin origin;

        manager_origin(m, call, &origin);
        if (streq(origin.name, "unknown"))
                return finding(array, "origin", "fault",
                                "vaultd cannot see in /proc who logged in, so it refuses to connect, claim "
                                "and disconnect",
                                "Give vaultd a /proc without hidepid=, and leave ProtectProc= in its unit "
                                "as it is");
        if (origin.is_elevated)
                return finding(array, "origin", "warning", "you come from the login of another user",
                                "Log in as the user whose vault it is");
        return streq(origin.name, "login")
                               ? finding(array, "origin", "ok", "this is a login that PAM registered", NULL)
                               : finding(array, "origin", "warning",
                                                 "PAM registered no login that this comes from",
                                                 "See: man pam_vaultd");
}

/* Whether an older database in place of the newest would be found. */
static int doctor_history(Manager *m, json_object *array) {
        StoreChain known;

        if (history_is_behind(m->history, NULL))
                return finding(array, "history", "fault",
                                "an older database was put in place of this host's newest; no vault is "
                                "opened",
                                "Run: sudo vaultctl admin accept-store");
        switch (history_known(m->history, &known)) {
        case HISTORY_KNOWN:
                return finding(array, "history", "ok", "the database is not older than the journal knows",
                                NULL);
        case HISTORY_NOTHING:
                return finding(array, "history", "ok",
                                "the journal knew nothing of this database at the start", NULL);
        case HISTORY_NOT_ASKED:
                return finding(array, "history", "warning",
                                "an older database would not be noticed: the journal was not asked at the "
                                "start",
                                "See: systemctl status vaultd-journal-head");
        case HISTORY_UNREADABLE:
                break;
        }
        return finding(array, "history", "fault", "what the journal knows of the database cannot be read",
                        "See: systemctl status vaultd-journal-head");
}

/* What concerns everybody on the host: whether there could be a backup, and whether keys are half changed. */
static int doctor_keys(Manager *m, json_object *array) {
        uint8_t public[RECOVERY_KEY_SIZE];
        int r;

        r = recovery_record_read(m->store, m->keyring, public, NULL);
        if (r == -ENOENT)
                r = finding(array, "recovery", "warning",
                                "there is no recovery key, so there can be no backup",
                                "Run: sudo vaultctl admin init");
        else if (r == -EBADMSG)
                r = finding(array, "recovery", "fault",
                                "the recovery key is damaged, or was not put there by vaultd",
                                "Run: sudo vaultctl admin init --new-recovery-key");
        else if (r >= 0)
                r = finding(array, "recovery", "ok", "there is a recovery key for backups", NULL);
        if (r >= 0 && keyring_has_previous(m->keyring) && !m->rekey.is_running)
                r = finding(array, "keys", "fault",
                                "the keys are half changed: the former one still opens vaults",
                                "Run: sudo vaultctl admin rekey");
        return r;
}

static int doctor_findings(Manager *m, const Vault *vault, const Failure *failure, json_object *array) {
        int r;

        r = vault ? finding(array, "vault", "ok", "your vault is open", NULL)
                  : finding(array, "vault", "warning", failure->message ?: "no vault", NULL);
        if (r >= 0)
                r = m->config->n_services > 0 ? finding(array, "services", "ok",
                                                                "services are set up on this host", NULL)
                                              : finding(array, "services", "fault",
                                                                "no service is set up on this host",
                                                                "Add a file to /etc/vaultd/services.d");
        if (r >= 0)
                r = m->platform ? finding(array, "platform", "ok",
                                                  "a workspace key for the Claude Platform is loaded", NULL)
                                : finding(array, "platform", "warning",
                                                  "no workspace key: agent sessions cannot be started",
                                                  "Give vaultd the credential vaultd.workspace-key");
        if (r >= 0)
                r = doctor_keys(m, array);
        if (r >= 0)
                r = finding(array, "presence", "warning",
                                "authority calls do not ask for a present human yet: an agent with your uid "
                                "may connect and disconnect",
                                NULL);
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
                r = doctor_origin(m, call, array);
        if (r >= 0)
                r = doctor_history(m, array);
        if (r >= 0)
                r = call_reply(call, json_build("findings", 'o', TAKE_PTR(array), NULL));
        failure_done(&failure);
        return r;
}

static const Method methods[] = {
        { "WhoAmI", METHOD_USE, method_whoami, .is_quick = true, .opens_no_vault = true },
        { "Status", METHOD_USE, method_status, .is_fiber = true },
        { "Services", METHOD_USE, method_services, .is_fiber = true, .opens_no_vault = true },
        { "Doctor", METHOD_USE, method_doctor, .is_fiber = true, .opens_no_vault = true },
        {},
};

const Interface interface_vaultd = { "io.vaultd", description, DOOR_PUBLIC, methods };
