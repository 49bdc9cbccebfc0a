/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Starting an agent session that is bound to one vault: the caller's (S1).
 *
 * The vaults of a session are fixed at its creation and decide whose credentials its tools use, so this
 * is where one user could get another's. Three things stand against that: the request names exactly the
 * platform vault of the Vault in hand; every credential of the plan must belong to the same uid; and
 * what the platform answers is compared, exactly one element, the same id. If the answer differs, the
 * session is stopped and archived before anybody hears of it.
 *
 * Durable, in this order: a record "new-" + nonce with all that is known → create → one commit that
 * takes that record away and puts the final one. A crash leaves the first or the second, never both. A
 * first one that is left over is finished at the next start of vaultd, or when the same user starts a
 * session again.
 *
 * The agent is pinned to the version that we made. If agent or environment are gone from the platform,
 * they are made anew, once. */

#include <stdio.h>

#include "platform/platform-internal.h"
#include "util/clock.h"
#include "util/encode.h"

/* The one check that everything else here is for. */
static bool session_is_bound_to(json_object *session, const char *platform_vault_id) {
        json_object *vaults = NULL, *only;

        if (json_get_array(session, "vault_ids", &vaults) < 0 || json_object_array_length(vaults) != 1)
                return false;
        only = json_object_array_get_idx(vaults, 0);
        return json_object_is_type(only, json_type_string) &&
               (size_t)json_object_get_string_len(only) == strlen(platform_vault_id) &&
               streq(json_object_get_string(only), platform_vault_id);
}

/* Bound to something else, it is not adopted (and session_finish() ends it if the platform made it so by
 * our own request). */
static int session_is_as_new(
                Platform *p, const Creation *c, json_object *object, bool *ret, Failure *failure) {
        const AgentSession *s = c->userdata;
        json_object *agent = NULL;
        int64_t version = 0;

        *ret = json_get_object(object, "agent", &agent) >= 0 &&
               streq_ptr(json_string(agent, "id"), s->agent_id) &&
               json_get_int64(agent, "version", &version) >= 0 && version == s->agent_version &&
               streq_ptr(json_string(object, "environment_id"), s->environment_id);
        return 0;
}

static Creation session_creation(const AgentSession *s, const char *body) {
        return (Creation){
                .what = "session",
                .path = "/v1/sessions",
                .query = "",
                .id_prefix = "sesn_",
                .has_since_filter = true,
                .key = "vaultd_nonce",
                .nonce = s->nonce,
                .nonce_usec = s->created_usec,
                .body = body,
                .body_size = body ? strlen(body) : 0,
                .is_as_new = session_is_as_new,
                .userdata = (void *)(uintptr_t)s,
        };
}

static json_object *session_events(const char *message) {
        json_object *events = json_object_new_array(), *content = json_object_new_array(), *event;

        if (!events || !content ||
                        json_object_array_add(content,
                                        json_build("type", 's', "text", "text", 's', message, NULL)) < 0) {
                json_object_put(events);
                json_object_put(content);
                return NULL;
        }
        event = json_build("type", 's', "user.message", "content", 'o', content, NULL);
        if (!event || json_object_array_add(events, event) < 0) {
                json_object_put(event);
                json_object_put(events);
                return NULL;
        }
        return events;
}

static json_object *session_body(const AgentSession *s, const char *message) {
        json_object *vaults = json_object_new_array(), *agent, *body;

        if (!vaults || json_array_add_string(vaults, s->platform_vault_id) < 0) {
                json_object_put(vaults);
                return NULL;
        }
        agent = json_build("type", 's', "agent", "id", 's', s->agent_id, "version", 'i', s->agent_version,
                        NULL);
        body = json_build("agent", 'o', agent, "environment_id", 's', s->environment_id, "vault_ids", 'o',
                        vaults, "title", 's', s->title, "metadata", 'o',
                        json_build("vaultd_nonce", 's', s->nonce, NULL), NULL);
        if (body && message && json_add(body, "initial_events", session_events(message)) < 0) {
                json_object_put(body);
                return NULL;
        }
        return body;
}

static int session_record_put(Platform *p, const AgentSession *s, const AgentSession *instead_of) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0 && instead_of)
                r = agent_session_record_delete(batch, instead_of);
        if (r >= 0 && s)
                r = agent_session_record_put(batch, s);
        if (r >= 0)
                r = store_commit(p->store, TAKE_PTR(batch));
        return r > 0 ? -EBUSY : r; /* the gate keeps others away */
}

/* Turns the record "new-…" into that of the session that the platform has; ends the session if it is not
 * bound as it should be. *s is replaced. */
static int session_finish(Platform *p, AgentSession **s, json_object *object, Failure *failure) {
        _cleanup_(agent_session_freep) AgentSession *former = NULL, *fresh = NULL;
        const char *id = object_id(object, "sesn_");
        Failure of_end = {};
        int r;

        if (!session_is_bound_to(object, (*s)->platform_vault_id)) {
                r = session_end(p, id, &of_end);
                failure_done(&of_end);
                if (r == 0)
                        r = session_record_put(p, NULL, *s);
                if (r < 0)
                        return r;
                return platform_failure(failure, "start the session",
                                "it was bound to other vaults than the caller's; %s (%s)",
                                r == 0 ? "it was ended at once" : "it could not be ended", id);
        }
        r = agent_session_record_read(p->store, (*s)->uid, (*s)->id, &former);
        if (r < 0)
                return r;
        free((*s)->id);
        (*s)->id = strdup(id);
        if (!(*s)->id)
                return -ENOMEM;
        buffer_done(&(*s)->stored); /* a new record: nothing may be there */
        r = session_record_put(p, *s, former);
        if (r == 0)
                r = agent_session_record_read(p->store, (*s)->uid, (*s)->id, &fresh);
        if (r < 0)
                return r;
        (void)agent_session_free(*s);
        *s = TAKE_PTR(fresh);
        return 0;
}

static int session_gate(Platform *p, const char *record_id, Gate **ret) {
        char name[96];

        (void)snprintf(name, sizeof(name), "session/%s", record_id);
        return gate_enter(p, name, ret);
}

bool session_is_pending(const AgentSession *s) {
        return s->nonce && startswith(s->id, "new-") != NULL;
}

/* ---- starting ---- */

static int list_of(size_t n, char ***ret) {
        *ret = calloc(n + 1, sizeof(char *));
        return *ret ? 0 : -ENOMEM;
}

static int session_from_plan(
                const Vault *vault, const SessionPlan *plan, const char *title, AgentSession **ret) {
        _cleanup_(agent_session_freep) AgentSession *s = calloc(1, sizeof(AgentSession));
        int r;

        if (!s)
                return -ENOMEM;
        s->uid = vault->uid;
        s->nonce = nonce_new();
        s->created_usec = now_realtime();
        s->platform_vault_id = strdup(vault->platform_vault_id);
        if (!s->nonce || !s->platform_vault_id || (title && !(s->title = strdup(title))))
                return -ENOMEM;
        if (asprintf(&s->id, "new-%s", s->nonce) < 0) {
                s->id = NULL;
                return -ENOMEM;
        }
        r = list_of(plan->n, &s->servers);
        if (r >= 0)
                r = list_of(plan->n, &s->accounts);
        for (size_t i = 0; i < plan->n && r >= 0; i++) {
                const Credential *c = plan->credentials ? plan->credentials[i] : NULL;

                s->servers[i] = strdup(plan->services[i]->name);
                s->accounts[i] = strdup(c ? c->account_name ?: c->account_id ?: "" : "");
                if (!s->servers[i] || !s->accounts[i])
                        r = -ENOMEM;
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

static int session_check(const Vault *vault, const SessionPlan *plan, const char *title, Failure *failure) {
        _cleanup_(freep) char *shown = NULL;
        size_t characters = 0;

        if (!vault->platform_vault_id || !plan->model)
                return -EINVAL;
        for (size_t i = 0; i < plan->n; i++)
                if (plan->credentials && plan->credentials[i] && plan->credentials[i]->uid != vault->uid)
                        return -EPERM;
        if (!title)
                return 0;
        for (const char *c = title; *c; c++)
                characters += ((unsigned char)*c & 0xC0) != 0x80;
        shown = printable(title, strlen(title) + 1);
        if (!shown)
                return -ENOMEM;
        if (characters > SESSION_TITLE_MAX || !streq(shown, title))
                return failure_set(failure, FAILURE_LIMIT, NULL,
                                "a title has at most %u characters, all of them printable",
                                SESSION_TITLE_MAX);
        return 0;
}

static int session_refer(AgentSession *s, const PlatformObject *agent, const PlatformObject *environment) {
        free(s->agent_id);
        free(s->environment_id);
        s->agent_id = strdup(agent->platform_id);
        s->environment_id = strdup(environment->platform_id);
        s->agent_version = agent->version;
        return s->agent_id && s->environment_id ? 0 : -ENOMEM;
}

/* The create, between the two commits. */
static int session_create(Platform *p, AgentSession **s, const char *message, Failure *failure) {
        _cleanup_(json_putp) json_object *body = NULL, *object = NULL;
        _cleanup_(agent_session_freep) AgentSession *pending = NULL;
        _cleanup_(gate_leavep) Gate *gate = NULL;
        CreationOutcome outcome;
        int r;

        r = session_gate(p, (*s)->id, &gate);
        if (r >= 0)
                r = session_record_put(p, *s, NULL);
        if (r >= 0)
                r = agent_session_record_read(p->store, (*s)->uid, (*s)->id, &pending);
        if (r < 0)
                return r;
        body = session_body(*s, message);
        const char *text = body ? json_text(body) : NULL;
        if (!text)
                return -ENOMEM;
        const Creation c = session_creation(*s, text);
        r = creation_run(p, &c, false, &object, &outcome, failure);
        if (r == FAILED && outcome != CREATION_UNKNOWN) {
                int q = session_record_put(p, NULL, pending);
                return q < 0 ? q : FAILED;
        }
        if (r != 0)
                return r;
        (void)agent_session_free(*s);
        *s = TAKE_PTR(pending);
        return session_finish(p, s, object, failure);
}

static int session_attempt(Platform *p, const Definition *agent, const Definition *environment,
                AgentSession **s, const char *message, Failure *failure) {
        _cleanup_(platform_object_freep) PlatformObject *a = NULL, *e = NULL;
        int r;

        r = definition_ensure(p, agent, &a, failure);
        if (r == 0)
                r = definition_ensure(p, environment, &e, failure);
        if (r != 0)
                return r;
        r = session_refer(*s, a, e);
        return r < 0 ? r : session_create(p, s, message, failure);
}

/* After a refusal: whether an object that sessions share is to blame, which then has been forgotten. */
static int session_find_gone(
                Platform *p, const Definition *agent, const Definition *environment, bool *ret) {
        bool is_agent_gone = false, is_environment_gone = false;
        Failure ignored = {};
        int r;

        r = definition_check(p, agent, &is_agent_gone, &ignored);
        if (r >= 0)
                r = definition_check(p, environment, &is_environment_gone, &ignored);
        failure_done(&ignored);
        *ret = is_agent_gone || is_environment_gone;
        return r == -ENOENT ? 0 : MIN(r, 0);
}

int platform_start_session(Platform *p, const Vault *vault, const SessionPlan *plan, const char *title,
                const char *message, AgentSession **ret, Failure *failure) {
        _cleanup_(definition_done) Definition agent = {}, environment = {};
        _cleanup_(agent_session_freep) AgentSession *s = NULL;
        Failure ignored = {};
        bool is_gone = false;
        int r;

        r = session_check(vault, plan, title, failure);
        if (r == 0)
                r = agent_definition(plan, &agent, failure);
        if (r == 0)
                r = environment_definition(plan, &environment);
        if (r != 0)
                return r;
        r = session_finish_leftovers(p, vault->uid, &ignored);
        failure_done(&ignored);
        if (r < 0)
                return r;

        r = session_from_plan(vault, plan, title, &s);
        if (r == 0)
                r = session_attempt(p, &agent, &environment, &s, message, failure);
        if (r == FAILED && (failure->status == 400 || failure->status == 404)) {
                r = session_find_gone(p, &agent, &environment, &is_gone);
                if (r < 0)
                        return r;
                r = is_gone ? session_attempt(p, &agent, &environment, &s, message, failure) : FAILED;
        }
        if (r != 0)
                return r;
        failure_done(failure);
        *ret = TAKE_PTR(s);
        return 0;
}

/* ---- finishing ---- */

int session_adopt_only(
                Platform *p, uid_t uid, const char *record_id, uint64_t until_usec, Failure *failure) {
        _cleanup_(agent_session_freep) AgentSession *s = NULL;
        _cleanup_(json_putp) json_object *object = NULL;
        _cleanup_(gate_leavep) Gate *gate = NULL;
        int r;

        r = session_gate(p, record_id, &gate);
        if (r >= 0)
                r = agent_session_record_read(p->store, uid, record_id, &s);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        if (!session_is_pending(s))
                return 0;
        const Creation c = session_creation(s, NULL);
        r = creation_look(p, &c, until_usec, &object, failure);
        if (r != 0)
                return r;
        return object ? session_finish(p, &s, object, failure) : session_record_put(p, NULL, s);
}

int session_finish_leftovers(Platform *p, uid_t uid, Failure *failure) {
        AgentSession **list = NULL;
        size_t n = 0;
        int r;

        r = agent_session_record_list(p->store, uid, &list, &n);
        for (size_t i = 0; i < n && r >= 0; i++) {
                char name[96];

                if (!session_is_pending(list[i]))
                        continue;
                (void)snprintf(name, sizeof(name), "session/%s", list[i]->id);
                if (gate_is_taken(p, name))
                        continue; /* being started right now */
                uint64_t age_usec = now_realtime() - MIN(list[i]->created_usec, now_realtime());
                uint64_t wait_usec = p->config->adopt_wait_usec - MIN(age_usec, p->config->adopt_wait_usec);
                int q = session_adopt_only(
                                p, list[i]->uid, list[i]->id, now_monotonic() + wait_usec, failure);
                if (q != 0)
                        r = q;
        }
        agent_session_list_free(list, n);
        return r;
}
