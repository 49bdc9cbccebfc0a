/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Revoking at the services and archiving at the Claude Platform what is gone on this host (V10).
 *
 * What is to be done is in the store (RECORD_REVOCATION), so this only works it off: each record is a task, a task is tried by a
 * fiber, a few of each service at once, so that one provider that hangs delays nobody's but its own (T26). What fails is tried again
 * after a while, for a month, and at once when the administrator asks again or vaultd starts. A record is erased when nothing is left
 * to be done, never before. There may be thousands after a provider was away, so one end of a try looks at each of them once.
 *
 * Services that offer no revocation, and tokens that were given by hand, are said to be what they are: gone here and alive there.
 *
 * Invariants: a record has at most one task, a task at most one fiber. Who waits is on its own fiber's stack and in the list of waiters
 * as long as it sleeps.
 *
 * Who may call: io.vaultd.Admin, Connect.Disconnect, and the manager for the life. */

#include <stdio.h>

#include "api/revocation.h"
#include "audit/audit.h"
#include "util/clock.h"
#include "util/fiber.h"
#include "util/log.h"

#define TRIES_AT_ONCE  4U /* for each service */
#define RETRY_USEC     (15 * USEC_PER_SEC)
#define RETRY_MAX_USEC (3600 * USEC_PER_SEC)
#define ROUNDS_MAX     64U
#define GIVE_UP_USEC   (UINT64_C(30) * 24 * 3600 * USEC_PER_SEC)

/* One service. There are as many as services were ever revoked at, and they stay. */
typedef struct Lane {
        struct Lane *next;
        char *service;
        unsigned n_running;
} Lane;

typedef struct Task {
        struct Task *next;
        Revocations *owner;
        Lane *lane;
        Credential *credential; /* as it was when the task was made; each try reads it anew */
        uint64_t due_usec;      /* CLOCK_MONOTONIC */
        uint64_t delay_usec;
        bool is_running, is_done;
        UpstreamOutcome outcome;
        Failure why;
} Task;

typedef struct Waiter {
        struct Waiter *next;
        Fiber *fiber;
        RevokedGrant *list;
        size_t n;
} Waiter;

struct Revocations {
        Manager *manager;
        Task *tasks;
        Lane *lanes;
        Waiter *waiters;
        Fiber *keeper; /* lives while there are tasks */
};

static void revocations_dispatch(Revocations *r);

static void task_free(Task *t) {
        (void)credential_free(t->credential);
        failure_done(&t->why);
        free(t);
}

void revoked_grants_free(RevokedGrant *list, size_t n) {
        for (size_t i = 0; i < n; i++) {
                free(list[i].id);
                free(list[i].service);
                free(list[i].label);
                free(list[i].account_id);
                free(list[i].account_name);
                free(list[i].why);
        }
        free(list);
}

/* The provider's part. 0 with the outcome, and why when it is impossible; FAILED: not now. */
static int try_provider(Manager *m, const Credential *c, UpstreamOutcome *ret, Failure *why) {
        const ServiceProfile *p = config_find_service(m->config, c->service);
        const char *title = p ? p->title : c->service, *text = NULL;
        int r;

        *ret = UPSTREAM_IMPOSSIBLE;
        if (c->kind != CREDENTIAL_OAUTH)
                text = "it was given by hand; take this one back there";
        else if (!c->access_token && !c->refresh_token)
                text = "this host has no token of it any more";
        else if (!c->authority.revocation_endpoint)
                text = "the service offers no way to revoke; remove the access in the account there";
        if (text) {
                r = failure_set(why, FAILURE_UPSTREAM, NULL, "%s: %s", title, text);
                return r == FAILED ? 0 : r;
        }
        r = oauth_revoke_credential(m->oauth, c, why);
        if (r != 0)
                return r;
        if (c->custody == CUSTODY_PLATFORM && !c->refresh_token) {
                r = failure_set(why, FAILURE_UPSTREAM, NULL,
                                "%s: the access token is revoked; the Claude Platform held the refresh "
                                "token",
                                title);
                return r == FAILED ? 0 : r;
        }
        *ret = UPSTREAM_REVOKED;
        return 0;
}

static int try_platform(Manager *m, const Vault *v, const Credential *c, Failure *why) {
        if (m->platform)
                return platform_archive_credential(m->platform, v, c, why);
        if (!c->platform_credential_id)
                return 0;
        return failure_set(why, FAILURE_PLATFORM, NULL,
                        "the copy on the Claude Platform cannot be archived: this host has no workspace "
                        "key");
}

/* The record and its vault as they are now: keys may have been changed since, or the vault set aside or destroyed. */
static int task_read(const Task *t, Vault **ret_vault, Credential **ret) {
        _cleanup_(vault_freep) Vault *vault = NULL;
        Manager *m = t->owner->manager;
        int r;

        r = vault_record_read(m->store, m->keyring, t->credential->uid, &vault);
        if (r >= 0)
                r = revocation_record_read(m->store, vault, t->credential->id, ret);
        if (r < 0)
                return r;
        *ret_vault = TAKE_PTR(vault);
        return 0;
}

static int task_erase(const Task *t) {
        int r = STORE_CONFLICT;

        for (unsigned i = 0; i < ROUNDS_MAX && r == STORE_CONFLICT; i++) {
                _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
                _cleanup_(credential_freep) Credential *c = NULL;
                _cleanup_(vault_freep) Vault *vault = NULL;

                r = task_read(t, &vault, &c);
                if (r >= 0)
                        r = store_batch_new(&batch);
                if (r >= 0)
                        r = revocation_record_delete(batch, c);
                if (r >= 0)
                        r = store_commit(t->owner->manager->store, TAKE_PTR(batch));
        }
        return r == STORE_CONFLICT ? -EAGAIN : r;
}

static void task_record(const Task *t, const Vault *v) {
        audit_record(&(AuditEvent){ .kind = AUDIT_GRANT_REVOKED,
                        .uid = v->uid,
                        .user = v->user,
                        .verdict = t->outcome == UPSTREAM_REVOKED ? "done" : "failed",
                        .reason = t->why.message,
                        .service = t->credential->service,
                        .account = t->credential->account_name,
                        .object = t->credential->id });
}

/* Both parts are tried, whatever becomes of the other. */
static int task_try(void *userdata) {
        _cleanup_(credential_freep) Credential *c = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;
        Task *t = userdata;
        Manager *m = t->owner->manager;
        UpstreamOutcome outcome = UPSTREAM_PENDING;
        Failure of_platform = {};
        int r, q;

        failure_done(&t->why);
        r = task_read(t, &vault, &c);
        if (r < 0)
                return r;
        r = try_provider(m, c, &outcome, &t->why);
        q = r < 0 ? r : try_platform(m, vault, c, &of_platform);
        if (q == FAILED) {
                failure_done(&t->why);
                t->why = of_platform;
        } else
                failure_done(&of_platform);
        if (r < 0 || q < 0)
                return MIN(r, q);
        if (r == 0 && q == 0) {
                t->outcome = outcome;
                task_record(t, vault);
                t->is_done = true;
        } else if (now_realtime() - t->credential->revoked_usec > GIVE_UP_USEC) {
                t->outcome = UPSTREAM_PENDING;
                task_record(t, vault);
                t->is_done = true;
        }
        return t->is_done ? task_erase(t) : FAILED;
}

static bool waiter_is_done(const Waiter *w) {
        for (size_t i = 0; i < w->n; i++)
                if (!w->list[i].is_tried)
                        return false;
        return true;
}

static void task_tell(const Task *t) {
        for (Waiter *w = t->owner->waiters; w; w = w->next) {
                for (size_t i = 0; i < w->n; i++) {
                        RevokedGrant *g = &w->list[i];

                        if (!streq(g->id, t->credential->id))
                                continue;
                        g->is_tried = true;
                        g->outcome = t->is_done ? t->outcome : UPSTREAM_PENDING;
                        free(g->why);
                        g->why = t->why.message ? strdup(t->why.message) : NULL;
                }
                if (waiter_is_done(w))
                        fiber_resume(w->fiber, 0);
        }
}

static void task_tried(int result, void *userdata) {
        Task *t = userdata;
        Revocations *r = t->owner;

        t->is_running = false;
        t->lane->n_running--;
        if (result < 0 && result != -ECANCELED)
                log_warning("a revocation at %s could not be tried: %s", t->credential->service,
                                strerror(-result));
        task_tell(t);
        if (result == 0 || result == -ENOENT) {
                for (Task **link = &r->tasks; *link; link = &(*link)->next)
                        if (*link == t) {
                                *link = t->next;
                                break;
                        }
                task_free(t);
        } else {
                t->is_done = false;
                t->delay_usec = MIN(MAX(2 * t->delay_usec, (uint64_t)RETRY_USEC), (uint64_t)RETRY_MAX_USEC);
                t->due_usec = now_monotonic() + t->delay_usec;
        }
        if (result != -ECANCELED)
                revocations_dispatch(r);
}

static void revocations_dispatch(Revocations *r) {
        uint64_t now = now_monotonic();

        for (Task *t = r->tasks; t; t = t->next) {
                if (t->is_running || t->due_usec > now || t->lane->n_running >= TRIES_AT_ONCE)
                        continue;
                t->is_running = fiber_spawn(r->manager->event, task_try, task_tried, t, NULL) >= 0;
                t->lane->n_running += t->is_running;
        }
}

static int lane_of(Revocations *r, const char *service, Lane **ret) {
        Lane *lane = r->lanes;

        while (lane && !streq(lane->service, service))
                lane = lane->next;
        if (!lane) {
                lane = calloc(1, sizeof(Lane));
                if (!lane)
                        return -ENOMEM;
                lane->service = strdup(service);
                if (!lane->service) {
                        free(lane);
                        return -ENOMEM;
                }
                lane->next = r->lanes;
                r->lanes = lane;
        }
        *ret = lane;
        return 0;
}

/* Of a record that has no task. */
static int task_new(Revocations *r, Credential **c) {
        Lane *lane;
        Task *t;
        int q;

        q = lane_of(r, (*c)->service, &lane);
        if (q < 0)
                return q;
        t = calloc(1, sizeof(Task));
        if (!t)
                return -ENOMEM;
        *t = (Task){ .next = r->tasks, .owner = r, .lane = lane, .credential = TAKE_PTR(*c) };
        r->tasks = t;
        return 0;
}

static int task_add(Revocations *r, Credential **c) {
        for (Task *t = r->tasks; t; t = t->next)
                if (streq(t->credential->id, (*c)->id)) {
                        t->due_usec = 0;
                        return 0;
                }
        return task_new(r, c);
}

static int keeper(void *userdata) {
        Revocations *r = userdata;
        int q = 0;

        while (q >= 0 && r->tasks) {
                revocations_dispatch(r);
                q = fiber_sleep(RETRY_USEC);
        }
        return q;
}

static void keeper_done(int result, void *userdata) {
        ((Revocations *)userdata)->keeper = NULL;
}

static int start_keeper(Revocations *r) {
        return r->tasks && !r->keeper ? fiber_spawn(r->manager->event, keeper, keeper_done, r, &r->keeper)
                                      : 0;
}

/* Takes up what the records say; all of it is due now. */
static int revocations_look(Revocations *r, uid_t uid) {
        bool is_first = !r->tasks; /* no record comes twice */
        Credential **list = NULL;
        size_t n = 0;
        int q;

        q = revocation_record_list(r->manager->store, r->manager->keyring, uid, &list, &n);
        for (size_t i = 0; i < n && q >= 0; i++)
                q = is_first ? task_new(r, &list[i]) : task_add(r, &list[i]);
        credential_list_free(list, n);
        return q < 0 ? q : start_keeper(r);
}

/* The same of one: who gives a connection up makes nobody ask for others. */
static int revocations_look_for(Revocations *r, uid_t uid, const char *id) {
        _cleanup_(credential_freep) Credential *c = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;
        Manager *m = r->manager;
        int q;

        q = vault_record_read(m->store, m->keyring, uid, &vault);
        if (q >= 0)
                q = revocation_record_read(m->store, vault, id, &c);
        if (q == -ENOENT)
                return 0;
        if (q >= 0)
                q = task_add(r, &c);
        return q < 0 ? q : start_keeper(r);
}

int revocations_new(Manager *m, bool is_held, Revocations **ret) {
        Revocations *r = calloc(1, sizeof(Revocations));
        int q;

        if (!r)
                return -ENOMEM;
        r->manager = m;
        q = is_held ? 0 : revocations_look(r, UID_INVALID);
        if (q < 0) {
                (void)revocations_free(r);
                return q;
        }
        *ret = r;
        return 0;
}

Revocations *revocations_free(Revocations *r) {
        if (!r)
                return NULL;
        while (r->tasks) {
                Task *t = r->tasks;

                r->tasks = t->next;
                task_free(t);
        }
        while (r->lanes) {
                Lane *lane = r->lanes;

                r->lanes = lane->next;
                free(lane->service);
                free(lane);
        }
        free(r);
        return NULL;
}

static int grant_from(const Credential *c, RevokedGrant *ret) {
        *ret = (RevokedGrant){ .id = strdup(c->id),
                .service = strdup(c->service),
                .label = strdup(c->label),
                .account_id = strdup(c->account_id ?: ""),
                .account_name = strdup(c->account_name ?: "") };
        return ret->id && ret->service && ret->label && ret->account_id && ret->account_name ? 0 : -ENOMEM;
}

size_t revocations_count(const Revocations *r, uid_t uid) {
        size_t n = 0;

        for (const Task *t = r->tasks; t; t = t->next)
                n += t->credential->uid == uid;
        return n;
}

static bool is_asked_for(const Credential *c, uid_t uid, const char *service, const char *id) {
        return c->uid == uid && (!service || streq(c->service, service)) && (!id || streq(c->id, id));
}

static int waiter_fill(Revocations *r, uid_t uid, const char *service, const char *id, Waiter *w) {
        int q = 0;

        w->list = calloc(MAX(revocations_count(r, uid), (size_t)1), sizeof(RevokedGrant));
        if (!w->list)
                return -ENOMEM;
        for (const Task *t = r->tasks; t && q >= 0; t = t->next)
                if (is_asked_for(t->credential, uid, service, id))
                        q = grant_from(t->credential, &w->list[w->n++]);
        return q;
}

static void waiter_withdraw(Revocations *r, Waiter *w) {
        for (Waiter **link = &r->waiters; *link; link = &(*link)->next)
                if (*link == w) {
                        *link = w->next;
                        return;
                }
}

int revocations_run(Revocations *r, uid_t uid, const char *service, const char *id, uint64_t wait_usec,
                RevokedGrant **ret, size_t *ret_n) {
        Waiter w = { .next = r->waiters, .fiber = fiber_current() };
        uint64_t until = now_monotonic() + wait_usec;
        int q;

        q = id ? revocations_look_for(r, uid, id) : revocations_look(r, uid);
        if (q >= 0)
                q = waiter_fill(r, uid, service, id, &w);
        if (q >= 0) {
                r->waiters = &w;
                revocations_dispatch(r);
                while (q >= 0 && !waiter_is_done(&w) && now_monotonic() < until)
                        q = fiber_sleep(until - now_monotonic());
                waiter_withdraw(r, &w);
        }
        if (q < 0) {
                revoked_grants_free(w.list, w.n);
                return q;
        }
        *ret = w.list;
        *ret_n = w.n;
        return 0;
}
