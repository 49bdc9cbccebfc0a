/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The engine's life, and the sweeper: a fiber that ends what nobody will finish. At start that is every flow a crash
 * caught between sending a code and keeping its tokens (the code may be used up, so it cannot be tried again), and every device code;
 * later it is what has expired. Parked grants are revoked upstream first.
 *
 * What holds no tokens is erased on the spot. Revoking asks a provider, who may take as long as it likes, so that is done by
 * fibers of its own, a few for each service: one provider that hangs delays nobody's but its own (T26). What waits
 * or is in work is known by its id, so no flow is ever in two hands; what could not be revoked is found again by a later sweep.
 *
 * Who may call: the daemon's manager, for the life. */

#include <assert.h>

#include "oauth/refresh-internal.h"
#include "util/log.h"

#define SWEEP_INTERVAL_USEC (15 * USEC_PER_SEC)
#define REVOKERS_MAX        4U /* for each service at once */

typedef struct Due {
        char *flow_id; /* while it waits and while it is being revoked */
        Flow *flow;    /* NULL: a fiber has it */
} Due;

/* What is to be revoked of one service; there is one as long as fibers work for it. */
struct Sweep {
        Sweep *next;
        Oauth *oauth;
        char *service;
        Due *dues;
        size_t n_dues;
        unsigned n_revokers;
};

static Sweep *sweep_find(Oauth *o, const char *service) {
        Sweep *s = o->sweeps;

        while (s && !streq(s->service, service))
                s = s->next;
        return s;
}

static int sweep_new(Oauth *o, const char *service, Sweep **ret) {
        Sweep *s = calloc(1, sizeof(Sweep));
        char *name = strdup(service);

        if (!s || !name) {
                free(s);
                free(name);
                return -ENOMEM;
        }
        *s = (Sweep){ .next = o->sweeps, .oauth = o, .service = name };
        o->sweeps = s;
        *ret = s;
        return 0;
}

static void due_done(Due *d) {
        free(d->flow_id);
        (void)flow_free(d->flow);
}

static void sweep_free(Sweep *s) {
        for (Sweep **each = &s->oauth->sweeps; *each; each = &(*each)->next)
                if (*each == s) {
                        *each = s->next;
                        break;
                }
        for (size_t i = 0; i < s->n_dues; i++)
                due_done(&s->dues[i]);
        free(s->dues);
        free(s->service);
        free(s);
}

/* Moves the flow there unless it is there already. */
static int sweep_add(Sweep *s, Flow **flow) {
        Due *grown;
        char *id;

        for (size_t i = 0; i < s->n_dues; i++)
                if (streq(s->dues[i].flow_id, (*flow)->id))
                        return 0;
        grown = reallocarray(s->dues, s->n_dues + 1, sizeof(Due));
        if (!grown)
                return -ENOMEM;
        s->dues = grown;
        id = strdup((*flow)->id);
        if (!id)
                return -ENOMEM;
        s->dues[s->n_dues++] = (Due){ .flow_id = id, .flow = TAKE_PTR(*flow) };
        return 0;
}

/* The next one that nobody has, or NULL. *ret_id stays until sweep_remove(). */
static Flow *sweep_take(Sweep *s, const char **ret_id) {
        for (size_t i = 0; i < s->n_dues; i++)
                if (s->dues[i].flow) {
                        *ret_id = s->dues[i].flow_id;
                        return TAKE_PTR(s->dues[i].flow);
                }
        return NULL;
}

static void sweep_remove(Sweep *s, const char *id) {
        for (size_t i = 0; i < s->n_dues; i++)
                if (s->dues[i].flow_id == id) {
                        due_done(&s->dues[i]);
                        s->n_dues--;
                        memmove(&s->dues[i], &s->dues[i + 1], (s->n_dues - i) * sizeof(Due));
                        return;
                }
}

static int end_unfinished(Oauth *o, Flow *taken) {
        _cleanup_(flow_freep) Flow *flow = taken;
        Failure why = {};
        int r;

        (void)failure_set(&why, FAILURE_FLOW, "Run: vaultctl connect",
                        "the connection to %s was not finished in time", flow_title(o, flow));
        r = flow_end_and_revoke(o, TAKE_PTR(flow), &why);
        failure_done(&why);
        if (r < 0 && r != -EAGAIN && r != -ECANCELED)
                log_warning("an unfinished connection could not be cleared away: %s", strerror(-r));
        return r;
}

static int revoker(void *userdata) {
        Sweep *s = userdata;
        const char *id;
        Flow *flow;
        int r = 0;

        while (r != -ECANCELED && (flow = sweep_take(s, &id))) {
                r = end_unfinished(s->oauth, flow);
                sweep_remove(s, id);
        }
        return r;
}

static void revoker_done(int result, void *userdata) {
        Sweep *s = userdata;

        if (--s->n_revokers == 0)
                sweep_free(s);
}

static bool flow_is_due(const Flow *f, bool is_start) {
        return flow_is_expired(f) || f->state == FLOW_REVOKING ||
               (is_start && (f->state == FLOW_EXCHANGING ||
                                            (f->way == FLOW_WAY_DEVICE && f->state == FLOW_PENDING)));
}

/* What holds no tokens needs nobody to be asked; the rest goes to those who ask. */
static int sweep_flow(Oauth *o, Flow **flow) {
        Sweep *s;
        int r = 0;

        if (!flow_has_tokens(*flow))
                return end_unfinished(o, TAKE_PTR(*flow));
        s = sweep_find(o, (*flow)->service);
        if (!s)
                r = sweep_new(o, (*flow)->service, &s);
        return r < 0 ? r : sweep_add(s, flow);
}

static void sweep_start_revokers(Oauth *o) {
        for (Sweep *s = o->sweeps, *next; s; s = next) {
                next = s->next;
                while (s->n_revokers < MIN((size_t)REVOKERS_MAX, s->n_dues) &&
                                fiber_spawn(o->event, revoker, revoker_done, s, NULL) >= 0)
                        s->n_revokers++;
                if (s->n_revokers == 0)
                        sweep_free(s); /* no memory now: the next sweep finds them again */
        }
}

void sweep_soon(Oauth *o, Flow **flow) {
        (void)sweep_flow(o, flow);
        sweep_start_revokers(o);
}

static int sweep_once(Oauth *o, bool is_start) {
        Flow **list = NULL;
        size_t n = 0;
        int r;

        r = flow_record_list(o->store, o->keyring, UID_INVALID, &list, &n);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n && r != -ECANCELED; i++)
                if (flow_is_due(list[i], is_start))
                        r = sweep_flow(o, &list[i]);
        for (size_t i = 0; i < n; i++)
                (void)flow_free(list[i]);
        free(list);
        sweep_start_revokers(o);
        return r == -ECANCELED ? r : 0;
}

static int oauth_sweep(void *userdata) {
        Oauth *o = userdata;
        int r = sweep_once(o, true);

        while (r != -ECANCELED) {
                r = fiber_sleep(SWEEP_INTERVAL_USEC);
                if (r >= 0)
                        r = sweep_once(o, false);
        }
        return r;
}

static void oauth_sweep_done(int result, void *userdata) {
        Oauth *o = userdata;

        o->sweeper = NULL;
}

int oauth_new(const OauthOptions *options, Oauth **ret) {
        _cleanup_(oauth_freep) Oauth *o = calloc(1, sizeof(Oauth));
        int r;

        if (!o)
                return -ENOMEM;
        *o = (Oauth){ .event = sd_event_ref(options->event),
                .http = options->http,
                .store = options->store,
                .keyring = options->keyring,
                .config = options->config,
                .users = options->users,
                .is_trusting_owner = options->is_trusting_owner,
                .hostname = strdup(options->hostname) };
        if (!o->hostname)
                return -ENOMEM;
        r = options->is_held ? 0 : fiber_spawn(o->event, oauth_sweep, oauth_sweep_done, o, &o->sweeper);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(o);
        return 0;
}

Oauth *oauth_free(Oauth *o) {
        if (!o)
                return NULL;
        assert(!o->sweeps && !o->works && !o->polls && !o->refreshes); /* every fiber has ended */
        refresh_pace_free(o);
        sd_event_unref(o->event);
        free(o->hostname);
        free(o->paces);
        free(o);
        return NULL;
}
