/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The access tokens that lie on the Claude Platform for running sessions, kept fresh (custody mirror; O6, V4).
 *
 * The platform has no refresh token of these, so whoever owns it has to push a new access token before the old one ends: this host, and only
 * while a session of that user is alive over there. It is the one refresh that nobody asked for at that moment; all others happen on use.
 *
 * What is kept here is a list of uids with sessions and a time to look again, never a credential: each look reads the user's vault, its
 * credentials and its sessions anew, so what was revoked, locked or disconnected is simply not there. A look that finds a token near its end
 * asks the platform whether any session lives; when none does the uid is forgotten until the next session starts. Looks run
 * on fibers of their own, so a provider that hangs delays its own users.
 *
 * Nothing is done on a store that nobody vouches for (history.h).
 *
 * Who may call: the manager for the life, Session.Start. */

#include "api/history.h"
#include "api/mirror.h"
#include "util/clock.h"
#include "util/fiber.h"
#include "util/log.h"

/* How long before its end a token is renewed, or in the second half of its life where that is shorter. */
#define AHEAD_USEC      (5 * 60 * USEC_PER_SEC)
#define LOOK_LEAST_USEC (5 * USEC_PER_SEC)
#define LOOK_MOST_USEC  (10 * 60 * USEC_PER_SEC)
#define LOOKS_AT_ONCE   8U
/* Of a user's sessions the newest are asked for. */
#define SESSIONS_ASKED_MAX 20U
/* Records that are visited in one turn of the loop at the start. */
#define SLICE 512U

typedef struct Watch {
        struct Watch *next;
        Mirrors *owner;
        uid_t uid;
        uint64_t due_usec; /* CLOCK_MONOTONIC */
        bool is_running, is_over;
} Watch;

struct Mirrors {
        Manager *manager;
        Watch *watches;
        unsigned n_running;
        Fiber *keeper;
};

/* What was made for another address than the service has now is nobody's to use any more (V8). */
static bool is_mirrored(Manager *m, const Credential *c) {
        const ServiceProfile *p = config_find_service(m->config, c->service);

        return p && streq(p->url, c->upstream) && c->custody == CUSTODY_MIRROR &&
               c->kind == CREDENTIAL_OAUTH && c->state == CREDENTIAL_ACTIVE && c->platform_credential_id &&
               c->expires_usec > 0;
}

static int by_age(const void *a, const void *b) {
        const AgentSession *x = *(AgentSession *const *)a, *y = *(AgentSession *const *)b;

        return x->created_usec > y->created_usec ? -1 : x->created_usec < y->created_usec;
}

/* FAILED: the platform cannot be asked. */
static int session_lives(Manager *m, const AgentSession *s, bool *ret, Failure *failure) {
        SessionStatus status = {};
        int r;

        r = platform_session_status(m->platform, s, &status, failure);
        if (r == FAILED && failure->kind == FAILURE_NOT_FOUND) {
                failure_done(failure);
                *ret = false;
                return 0;
        }
        if (r == 0)
                *ret = !status.is_archived && !streq(status.status, "terminated");
        session_status_done(&status);
        return r;
}

static int any_session_lives(Manager *m, uid_t uid, bool *ret, Failure *failure) {
        AgentSession **list = NULL;
        size_t n = 0;
        int r;

        *ret = false;
        r = agent_session_record_list(m->store, uid, &list, &n);
        if (n > 0)
                qsort(list, n, sizeof(*list), by_age);
        for (size_t i = 0; i < MIN(n, (size_t)SESSIONS_ASKED_MAX) && r == 0 && !*ret; i++)
                r = session_lives(m, list[i], ret, failure);
        agent_session_list_free(list, n);
        return r;
}

/* Refreshes where that is due, then pushes what is there. */
static int mirror_renew(Manager *m, Vault **vault, Credential **c, Failure *failure) {
        int r;

        r = oauth_fresh_token(m->oauth, vault, c, AHEAD_USEC, failure);
        if (r == 0)
                r = platform_put_credential(m->platform, vault, c, failure);
        if (r == 0)
                audit_record(&(AuditEvent){ .kind = AUDIT_CREDENTIAL_PUSHED,
                                .uid = (*vault)->uid,
                                .user = (*vault)->user,
                                .verdict = "done",
                                .service = (*c)->service,
                                .account = (*c)->account_name,
                                .object = (*vault)->platform_vault_id });
        return r;
}

/* When this token is to be looked at again, from now. */
static uint64_t time_left(const Credential *c, uint64_t now) {
        uint64_t ahead = AHEAD_USEC, obtained = c->obtained_usec ?: c->created_usec;

        if (c->expires_usec > obtained)
                ahead = MIN(ahead, (c->expires_usec - obtained) / 2);
        return c->expires_usec > now + ahead ? c->expires_usec - now - ahead : 0;
}

/* Goes through the user's mirrors. *ret_usec: when to look again. */
static int look_at_all(Manager *m, uid_t uid, bool *ret_is_over, uint64_t *ret_usec, Failure *failure) {
        _cleanup_(vault_freep) Vault *vault = NULL;
        Credential **list = NULL;
        bool is_asked = false;
        size_t n = 0;
        int r;

        *ret_usec = LOOK_MOST_USEC;
        r = vault_record_read(m->store, m->keyring, uid, &vault);
        if (r >= 0 && vault->state != VAULT_ACTIVE)
                r = -ENOENT;
        if (r >= 0)
                r = credential_record_list(m->store, vault, NULL, &list, &n);
        if (r == -ENOENT)
                *ret_is_over = true;
        for (size_t i = 0; i < n && r == 0 && !*ret_is_over; i++) {
                bool lives = true;

                if (!is_mirrored(m, list[i]))
                        continue;
                if (time_left(list[i], now_realtime()) == 0) {
                        if (!is_asked)
                                r = any_session_lives(m, uid, &lives, failure);
                        is_asked = true;
                        if (r == 0 && !lives)
                                *ret_is_over = true;
                        else if (r == 0)
                                r = mirror_renew(m, &vault, &list[i], failure);
                        if (r == FAILED && failure->kind == FAILURE_NOT_CONNECTED) {
                                failure_done(failure); /* said by its record now; the others go on */
                                r = 0;
                                continue;
                        }
                }
                if (r == 0)
                        *ret_usec = MIN(*ret_usec, time_left(list[i], now_realtime()));
        }
        credential_list_free(list, n);
        return r == -ENOENT ? 0 : r;
}

static int look(void *userdata) {
        Watch *w = userdata;
        uint64_t after = LOOK_MOST_USEC;
        Failure failure = {};
        int r;

        r = look_at_all(w->owner->manager, w->uid, &w->is_over, &after, &failure);
        if (r == FAILED)
                log_notice("a token of uid %u for its running sessions could not be renewed yet: %s",
                                (unsigned)w->uid, failure.message);
        w->due_usec = now_monotonic() + (r == 0 ? MAX(after, (uint64_t)LOOK_LEAST_USEC) : 30 * USEC_PER_SEC);
        failure_done(&failure);
        return r;
}

static void look_done(int result, void *userdata) {
        Watch *w = userdata;
        Mirrors *m = w->owner;

        w->is_running = false;
        m->n_running--;
        if (result < 0 && result != -ECANCELED && result != -EKEYREVOKED)
                log_warning("the tokens of uid %u's running sessions could not be looked at: %s",
                                (unsigned)w->uid, strerror(-result));
        if (!w->is_over)
                return;
        for (Watch **link = &m->watches; *link; link = &(*link)->next)
                if (*link == w) {
                        *link = w->next;
                        break;
                }
        free(w);
}

static void dispatch(Mirrors *m) {
        uint64_t now = now_monotonic();

        if (history_is_behind(m->manager->history, NULL))
                return;
        for (Watch *w = m->watches; w && m->n_running < LOOKS_AT_ONCE; w = w->next) {
                if (w->is_running || w->due_usec > now)
                        continue;
                w->is_running = fiber_spawn(m->manager->event, look, look_done, w, NULL) >= 0;
                m->n_running += w->is_running;
        }
}

static int keeper(void *userdata) {
        Mirrors *m = userdata;
        int r = 0;

        while (r >= 0 && m->watches) {
                dispatch(m);
                r = fiber_sleep(LOOK_LEAST_USEC);
        }
        return r;
}

static void keeper_done(int result, void *userdata) {
        ((Mirrors *)userdata)->keeper = NULL;
}

int mirrors_watch(Mirrors *m, uid_t uid) {
        Watch *w = m->watches;

        while (w && w->uid != uid)
                w = w->next;
        if (w) {
                w->is_over = false;
                return 0;
        }
        w = calloc(1, sizeof(Watch));
        if (!w)
                return -ENOMEM;
        *w = (Watch){ .next = m->watches, .owner = m, .uid = uid, .due_usec = now_monotonic() };
        m->watches = w;
        return m->keeper ? 0 : fiber_spawn(m->manager->event, keeper, keeper_done, m, &m->keeper);
}

typedef struct StartWalk {
        Mirrors *mirrors;
        uid_t last;
        unsigned n_left;
} StartWalk;

static int start_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        StartWalk *walk = userdata;
        int r = 0;

        if (walk->n_left == 0 && key->uid != walk->last)
                return VAULTS_GO_ON;
        walk->n_left -= walk->n_left > 0; /* the rest of this user's come along */
        if (key->uid != walk->last)
                r = mirrors_watch(walk->mirrors, key->uid);
        walk->last = key->uid;
        return r;
}

/* Everybody who has a session on record: which of them live, the first look asks. */
static int start(void *userdata) {
        StartWalk walk = { .mirrors = userdata, .last = UID_INVALID };
        uid_t from = 0;
        int r = VAULTS_GO_ON;

        while (r == VAULTS_GO_ON) {
                walk.n_left = SLICE;
                r = store_foreach_from(walk.mirrors->manager->store, RECORD_AGENT_SESSION, from, start_visit,
                                &walk);
                from = walk.last + 1;
                if (r == VAULTS_GO_ON && fiber_sleep(0) < 0)
                        return -ECANCELED;
        }
        return r;
}

int mirrors_new(Manager *manager, bool is_held, Mirrors **ret) {
        Mirrors *m = calloc(1, sizeof(Mirrors));
        int r;

        if (!m)
                return -ENOMEM;
        m->manager = manager;
        r = is_held || !manager->platform ? 0 : fiber_spawn(manager->event, start, NULL, m, NULL);
        if (r < 0) {
                (void)mirrors_free(m);
                return r;
        }
        *ret = m;
        return 0;
}

Mirrors *mirrors_free(Mirrors *m) {
        if (!m)
                return NULL;
        while (m->watches) {
                Watch *w = m->watches;

                m->watches = w->next;
                free(w);
        }
        free(m);
        return NULL;
}
