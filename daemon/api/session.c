/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Session: agent sessions on the Claude Platform, bound at creation to the caller's vault and no other (S1).
 *
 * Nothing starts unseen (S2): Plan says which servers, accounts and tools a session will have and gives a digest of
 * that; Start wants the digest back and refuses when the plan has changed since. A missing connection is named before
 * anything is made, and nobody else's credential takes its place (O10, H5). */

#include <stdio.h>

#include "api/choice.h"
#include "api/mirror.h"
#include "audit/audit.h"
#include "util/clock.h"
#include "util/encode.h"

static const char description[] =
#include "daemon/api/io.vaultd.Session.inc"
                ;

#define SERVERS_MAX 20U /* of one agent, a limit of the platform */
#define TOKEN_LIFE_MIN                                                                                      \
        (2 * 60 * USEC_PER_SEC) /* what a mirrored token must still be good for at the start */

typedef struct Draft {
        const ServiceProfile *services[SERVERS_MAX];
        const ServerPolicy *policies[SERVERS_MAX];
        Credential *credentials[SERVERS_MAX];
        size_t n;
        char *digest;
} Draft;

static void draft_done(Draft *d) {
        for (size_t i = 0; i < d->n; i++)
                (void)credential_free(d->credentials[i]);
        free(d->digest);
        *d = (Draft){};
}

/* A service of the plan, "notion" or "notion:work", and the caller's one credential that is meant. The platform finds a credential by its server's
 * address, so a session has one account of a service at most. */
static int draft_add(Manager *m, const Vault *vault, const char *reference, Draft *d, Failure *failure) {
        _cleanup_(freep) char *name = NULL, *label = NULL;
        _cleanup_(credential_freep) Credential *c = NULL;
        const ServiceProfile *p;
        char say[128];
        int r;

        r = service_reference_parse(reference, &name, &label);
        if (r == -ENOMEM)
                return r;
        r = manager_service(m, r < 0 ? reference : name, &p, failure);
        if (r != 0)
                return r;
        (void)snprintf(say, sizeof(say), "vaultctl session start --server %s:LABEL", p->name);
        r = manager_choose_credential(m, vault, p, label, say, &c, failure);
        if (r != 0)
                return r;
        for (size_t i = 0; i < d->n; i++)
                if (d->services[i] == p)
                        return streq(d->credentials[i]->id, c->id)
                                               ? 0
                                               : failure_set(failure, FAILURE_NOT_ALLOWED, NULL,
                                                                 "a session takes one account of %s, not "
                                                                 "both %s and %s",
                                                                 p->title, d->credentials[i]->label,
                                                                 c->label);
        if (d->n == SERVERS_MAX)
                return failure_set(failure, FAILURE_LIMIT, NULL, "a session takes at most %u servers",
                                SERVERS_MAX);
        d->services[d->n] = p;
        d->policies[d->n] = config_find_server(m->config, p->name);
        d->credentials[d->n++] = TAKE_PTR(c);
        return 0;
}

/* The host's default: what Servers= says, else the one service there is; of several, the one of which policy lets a session use anything. */
static int draft_defaults(Manager *m, const Vault *vault, Draft *d, Failure *failure) {
        const ServiceProfile *only = m->config->n_services == 1 ? m->config->services : NULL;
        size_t n = 0;
        int r = 0;

        if (m->config->session_servers) {
                for (char **s = m->config->session_servers; *s && r == 0; s++)
                        r = draft_add(m, vault, *s, d, failure);
                return r;
        }
        for (size_t i = 0; i < m->config->n_services && m->config->n_services > 1; i++)
                if (config_find_server(m->config, m->config->services[i].name)) {
                        only = &m->config->services[i];
                        n++;
                }
        if (only && n <= 1)
                return draft_add(m, vault, only->name, d, failure);
        return failure_set(failure, FAILURE_NOT_CONFIGURED, "Run: vaultctl session start --server NAME",
                        "this host has several services and no default for sessions");
}

static int strings_into(Buffer *b, char *const *list) {
        int r = 0;

        for (char *const *s = list; s && *s && r >= 0; s++)
                r = buffer_printf(b, "%s,", *s);
        return r;
}

/* Everything that was shown, and the vault and credentials behind it. */
static int draft_digest(Manager *m, const Vault *vault, Draft *d) {
        uint8_t digest[32];
        Buffer b = {};
        int r;

        r = buffer_printf(&b, "%s\n%s\n", vault->id, m->config->platform_model);
        for (size_t i = 0; i < d->n && r >= 0; i++) {
                const ServerPolicy *policy = d->policies[i];

                r = buffer_printf(&b, "%s %s %s %s\n", d->services[i]->name, d->services[i]->url,
                                d->credentials[i]->id, d->credentials[i]->account_id);
                if (r >= 0 && policy && (r = strings_into(&b, policy->tools)) >= 0 &&
                                (r = buffer_append_text(&b, ";")) >= 0 &&
                                (r = strings_into(&b, policy->ask)) >= 0 &&
                                (r = buffer_append_text(&b, ";")) >= 0)
                        r = strings_into(&b, policy->deny);
        }
        if (r >= 0) {
                sha256(b.bytes, b.size, digest);
                d->digest = hex_encode(digest, 16);
                r = d->digest ? 0 : -ENOMEM;
        }
        buffer_done(&b);
        return r;
}

static int draft_make(Manager *m, const Vault *vault, json_object *servers, Draft *d, Failure *failure) {
        int r = 0;

        if (!servers)
                r = draft_defaults(m, vault, d, failure);
        for (size_t i = 0; servers && i < json_object_array_length(servers) && r == 0; i++) {
                json_object *name = json_object_array_get_idx(servers, i);

                r = draft_add(m, vault,
                                json_object_is_type(name, json_type_string) ? json_object_get_string(name)
                                                                            : "",
                                d, failure);
        }
        return r == 0 ? draft_digest(m, vault, d) : r;
}

/* A missing connection is said first: it is what the caller can mend. */
static int draft_check(Manager *m, const Draft *d, Failure *failure) {
        for (size_t i = 0; i < d->n; i++) {
                const Credential *c = d->credentials[i];

                if (c->custody == CUSTODY_HOST)
                        return failure_set(failure, FAILURE_NOT_ALLOWED, NULL,
                                        "your %s credential stays on this host (Custody=host), so no "
                                        "session on the Claude Platform can use it",
                                        d->services[i]->title);
                if (c->custody == CUSTODY_MIRROR && c->expires_usec > 0 && !oauth_can_refresh(c) &&
                                c->expires_usec < now_realtime() + TOKEN_LIFE_MIN)
                        return failure_reconnect(failure, d->services[i], c->label, "have expired");
        }
        if (!m->platform)
                return failure_set(failure, FAILURE_NOT_CONFIGURED, NULL,
                                "this host has no workspace key for the Claude Platform; an administrator "
                                "has to give vaultd the credential vaultd.workspace-key");
        return 0;
}

/* A deny wins over both lists; the plan shows what is left. */
static json_object *tools_to_json(const ServerPolicy *policy, char *const *list, ToolVerdict verdict) {
        json_object *array = json_object_new_array();

        for (char *const *s = list; array && s && *s; s++)
                if (server_policy_tool(policy, *s) == verdict && json_array_add_string(array, *s) < 0) {
                        json_object_put(array);
                        return NULL;
                }
        return array;
}

static json_object *draft_to_json(Manager *m, const Vault *vault, const Draft *d) {
        _cleanup_(json_putp) json_object *servers = json_object_new_array();

        for (size_t i = 0; servers && i < d->n; i++) {
                const ServerPolicy *policy = d->policies[i];
                json_object *server = json_build("service", 's', d->services[i]->name, "title", 's',
                                d->services[i]->title, "url", 's', d->services[i]->url, "account", 's',
                                d->credentials[i]->account_name, "toolsOn", 'o',
                                tools_to_json(policy, policy ? policy->tools : NULL, TOOL_ON), "toolsAsk",
                                'o', tools_to_json(policy, policy ? policy->ask : NULL, TOOL_ASK), NULL);

                if (!server || json_object_array_add(servers, server) < 0)
                        return NULL;
        }
        return json_build("digest", 's', d->digest, "vault", 's', vault->id, "model", 's',
                        m->config->platform_model, "servers", 'o', TAKE_PTR(servers), NULL);
}

static int method_plan(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { { "servers", JSON_FIELD_ARRAY, 0, false }, {} };
        _cleanup_(vault_freep) Vault *vault = NULL;
        json_object *servers = NULL;
        Manager *m = userdata;
        Failure failure = {};
        const char *bad;
        Draft d = {};
        int r;

        if (json_dispatch(parameters, fields, &servers, &bad) < 0)
                return call_invalid_parameter(call, bad);
        r = manager_caller(m, call, NULL, &vault, &failure);
        if (r == 0)
                r = draft_make(m, vault, servers, &d, &failure);
        if (r == 0)
                r = draft_check(m, &d, &failure);
        if (r == 0)
                r = call_reply(call, draft_to_json(m, vault, &d));
        r = manager_reply_outcome(call, r, &failure);
        draft_done(&d);
        failure_done(&failure);
        return r;
}

static json_object *session_to_json(const AgentSession *s, const char *status) {
        json_object *vaults = json_object_new_array();

        if (!vaults || json_array_add_string(vaults, s->platform_vault_id) < 0) {
                json_object_put(vaults);
                return NULL;
        }
        return json_build("id", 's', s->id, "title", 's', s->title, "status", 's', status, "created", 'i',
                        (int64_t)s->created_usec, "vaultIds", 'o', vaults, "servers", 'o',
                        strv_to_json(s->servers), "accounts", 'o', strv_to_json(s->accounts), "agent", 's',
                        s->agent_id ?: "", "agentVersion", 'i', (int64_t)s->agent_version, "environment",
                        's', s->environment_id ?: "", NULL);
}

typedef struct StartParameters {
        json_object *servers;
        const char *plan, *title, *message;
} StartParameters;

static const JsonField start_fields[] = {
        { "servers", JSON_FIELD_ARRAY, offsetof(StartParameters, servers), false },
        { "plan", JSON_FIELD_STRING, offsetof(StartParameters, plan), true, 64 },
        { "title", JSON_FIELD_STRING, offsetof(StartParameters, title), false, 100 },
        { "message", JSON_FIELD_STRING, offsetof(StartParameters, message), false, 100000 },
        {},
};

/* The caller's credentials, refreshed where that is due, go into the caller's platform vault, then the session is made with that vault. */
static int start_session(Manager *m, Vault **vault, Draft *d, const StartParameters *p, AgentSession **ret,
                Failure *failure) {
        int r;

        r = platform_ensure_vault(m->platform, vault, failure);
        for (size_t i = 0; i < d->n && r == 0; i++) {
                r = oauth_fresh_token(m->oauth, vault, &d->credentials[i], TOKEN_LIFE_MIN, failure);
                if (r != 0)
                        break;
                r = platform_put_credential(m->platform, vault, &d->credentials[i], failure);
                if (r == 0)
                        audit_record(&(AuditEvent){ .kind = AUDIT_CREDENTIAL_PUSHED,
                                        .uid = (*vault)->uid,
                                        .user = (*vault)->user,
                                        .verdict = "done",
                                        .service = d->services[i]->name,
                                        .account = d->credentials[i]->account_name,
                                        .object = (*vault)->platform_vault_id });
        }
        if (r != 0)
                return r;
        /* From here on their tokens are kept fresh as long as the session lives. */
        r = mirrors_watch(m->mirrors, (*vault)->uid);
        if (r < 0)
                return r;
        const SessionPlan plan = { d->services, d->policies, (const Credential **)d->credentials, d->n,
                m->config->platform_model };
        return platform_start_session(m->platform, *vault, &plan, p->title, p->message, ret, failure);
}

static int method_start(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(agent_session_freep) AgentSession *session = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;
        _cleanup_(freep) char *user = NULL;
        StartParameters p = {};
        Manager *m = userdata;
        Failure failure = {};
        const char *bad;
        Draft d = {};
        int r;

        if (json_dispatch(parameters, start_fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        r = manager_caller(m, call, &user, &vault, &failure);
        if (r == 0)
                r = draft_make(m, vault, p.servers, &d, &failure);
        if (r == 0)
                r = draft_check(m, &d, &failure);
        if (r == 0 && !streq(p.plan, d.digest))
                r = failure_set(&failure, FAILURE_PLAN_CHANGED, "Run: vaultctl session start",
                                "what this session may do has changed since it was shown");
        for (size_t i = 0; i < d.n && r == 0; i++)
                r = call_uses_service(call, d.services[i]->name);
        if (r == 0)
                r = start_session(m, &vault, &d, &p, &session, &failure);
        manager_audit(m, call,
                        (AuditEvent){ .kind = r == 0 ? AUDIT_SESSION_STARTED : AUDIT_SESSION_REFUSED,
                                        .user = user,
                                        .verdict = r == 0 ? "done" : "refused",
                                        .reason = failure.message,
                                        .object = session ? session->id : NULL });
        if (r == 0)
                r = call_reply(call, json_build("session", 'o', session_to_json(session, NULL), NULL));
        r = manager_reply_outcome(call, r, &failure);
        draft_done(&d);
        failure_done(&failure);
        return r;
}

static int session_by_age(const void *a, const void *b) {
        const AgentSession *x = *(AgentSession *const *)a, *y = *(AgentSession *const *)b;

        return x->created_usec > y->created_usec ? -1 : x->created_usec < y->created_usec;
}

static int method_list(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(json_putp) json_object *array = json_object_new_array();
        _cleanup_(vault_freep) Vault *vault = NULL;
        AgentSession **list = NULL;
        Manager *m = userdata;
        Failure failure = {};
        size_t n = 0;
        int r;

        if (!array)
                return -ENOMEM;
        r = manager_caller(m, call, NULL, &vault, &failure);
        if (r == 0)
                r = agent_session_record_list(m->store, vault->uid, &list, &n);
        if (n > 0)
                qsort(list, n, sizeof(*list), session_by_age);
        for (size_t i = 0; i < n && r == 0; i++)
                if (!startswith(list[i]->id, "new-")) /* still being made */
                        r = json_object_array_add(array, session_to_json(list[i], NULL));
        agent_session_list_free(list, n);
        r = r == 0 ? call_reply(call, json_build("sessions", 'o', TAKE_PTR(array), NULL))
                   : manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

static int method_show(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { { "id", JSON_FIELD_STRING, 0, true, 128 }, {} };
        _cleanup_(agent_session_freep) AgentSession *session = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;
        const char *id = NULL, *bad;
        SessionStatus status = {};
        Manager *m = userdata;
        Failure failure = {};
        int r;

        if (json_dispatch(parameters, fields, &id, &bad) < 0)
                return call_invalid_parameter(call, bad);
        r = manager_caller(m, call, NULL, &vault, &failure);
        if (r == 0) {
                r = agent_session_record_read(m->store, vault->uid, id, &session);
                if (r == -ENOENT || (r == 0 && startswith(id, "new-")))
                        r = failure_set(&failure, FAILURE_NOT_FOUND, "Run: vaultctl session list",
                                        "you have no such session");
        }
        if (r == 0 && !m->platform)
                r = failure_set(&failure, FAILURE_NOT_CONFIGURED, NULL,
                                "this host has no workspace key for the Claude Platform");
        if (r == 0)
                r = platform_session_status(m->platform, session, &status, &failure);
        if (r == 0) {
                json_object *object = session_to_json(session, status.status),
                            *vaults = strv_to_json(status.vault_ids);

                /* Of the platform, not of our record: what it is bound to there is what counts. */
                if (object && vaults)
                        (void)json_add(object, "vaultIds", vaults);
                r = object ? call_reply(call, json_build("session", 'o', object, NULL)) : -ENOMEM;
        }
        r = manager_reply_outcome(call, r, &failure);
        session_status_done(&status);
        failure_done(&failure);
        return r;
}

static const Method methods[] = {
        { "Plan", METHOD_USE, method_plan, .is_fiber = true },
        { "Start", METHOD_USE, method_start, .is_fiber = true, .is_recorded = true,
                        .uses_credentials = true },
        { "List", METHOD_USE, method_list, .is_fiber = true },
        { "Show", METHOD_USE, method_show, .is_fiber = true },
        {},
};

const Interface interface_session = { "io.vaultd.Session", description, DOOR_PUBLIC, methods };
