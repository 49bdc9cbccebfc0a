/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The engine's life, and the sweeper: a fiber that ends what nobody will finish. At start that is every flow a crash
 * caught between sending a code and keeping its tokens (the code may be used up, so it cannot be tried again);
 * later it is what has expired. Parked grants are revoked upstream first.
 *
 * What holds no tokens is erased on the spot. Revoking asks a provider, who may take as long as it likes, so that is done by
 * fibers of its own, a few for each service: one provider that hangs delays nobody's but its own (T26). A service whose
 * fibers are still at work when the next sweep comes is left to them, so no flow is ever in two hands.
 *
 * Who may call: the daemon's manager, for the life. */

#include <assert.h>

#include "oauth/oauth-internal.h"
#include "util/log.h"

#define SWEEP_INTERVAL_USEC (15 * USEC_PER_SEC)
#define REVOKERS_MAX        4U /* for each service at once */

/* What is being revoked of one service. */
struct Sweep {
        Sweep *next;
        Oauth *oauth;
        char *service;
        Flow **flows; /* those that are due; taken from the front */
        size_t n_flows, n_taken;
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

static void sweep_free(Sweep *s) {
        for (Sweep **each = &s->oauth->sweeps; *each; each = &(*each)->next)
                if (*each == s) {
                        *each = s->next;
                        break;
                }
        for (size_t i = s->n_taken; i < s->n_flows; i++)
                (void)flow_free(s->flows[i]);
        free(s->flows);
        free(s->service);
        free(s);
}

/* Moves the flow there. */
static int sweep_add(Sweep *s, Flow **flow) {
        Flow **grown = reallocarray(s->flows, s->n_flows + 1, sizeof(Flow *));

        if (!grown)
                return -ENOMEM;
        s->flows = grown;
        s->flows[s->n_flows++] = TAKE_PTR(*flow);
        return 0;
}

static int end_unfinished(Oauth *o, Flow *taken) {
        _cleanup_(flow_freep) Flow *flow = taken;
        Failure why = {};
        int r;

        (void)failure_set(&why, FAILURE_FLOW, "Run: vaultctl connect", "the connection to %s was not finished in time", flow_title(o, flow));
        r = flow_end(o, TAKE_PTR(flow), &why);
        failure_done(&why);
        if (r < 0 && r != -EAGAIN && r != -ECANCELED)
                log_warning("an unfinished connection could not be cleared away: %s", strerror(-r));
        return r;
}

static int revoker(void *userdata) {
        Sweep *s = userdata;
        int r = 0;

        while (r != -ECANCELED && s->n_taken < s->n_flows)
                r = end_unfinished(s->oauth, s->flows[s->n_taken++]);
        return r;
}

static void revoker_done(int result, void *userdata) {
        Sweep *s = userdata;

        if (--s->n_revokers == 0)
                sweep_free(s);
}

static bool flow_is_due(const Flow *f, bool is_start) {
        return flow_is_expired(f) || f->state == FLOW_REVOKING || (is_start && f->state == FLOW_EXCHANGING);
}

/* Sorts what is due to those who revoke it; what holds no tokens needs none. *flow stays where it is when the service's are at work. */
static int sweep_flow(Oauth *o, Flow **flow) {
        Sweep *s;
        int r = 0;

        if (!flow_has_tokens(*flow))
                return end_unfinished(o, TAKE_PTR(*flow));
        s = sweep_find(o, (*flow)->service);
        if (s && s->n_revokers > 0)
                return 0;
        if (!s)
                r = sweep_new(o, (*flow)->service, &s);
        return r < 0 ? r : sweep_add(s, flow);
}

static void sweep_start_revokers(Oauth *o) {
        for (Sweep *s = o->sweeps, *next; s; s = next) {
                next = s->next;
                if (s->n_revokers > 0)
                        continue;
                while (s->n_revokers < MIN((size_t)REVOKERS_MAX, s->n_flows) &&
                       fiber_spawn(o->event, revoker, revoker_done, s, NULL) >= 0)
                        s->n_revokers++;
                if (s->n_revokers == 0)
                        sweep_free(s); /* no memory now: the next sweep finds them again */
        }
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
        *o = (Oauth){ .event = sd_event_ref(options->event), .http = options->http, .store = options->store,
                .keyring = options->keyring, .config = options->config, .hostname = strdup(options->hostname) };
        if (!o->hostname)
                return -ENOMEM;
        r = fiber_spawn(o->event, oauth_sweep, oauth_sweep_done, o, &o->sweeper);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(o);
        return 0;
}

Oauth *oauth_free(Oauth *o) {
        if (!o)
                return NULL;
        assert(!o->sweeps && !o->works); /* every fiber has ended */
        sd_event_unref(o->event);
        free(o->hostname);
        free(o->paces);
        free(o);
        return NULL;
}
