/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The engine's life, and the sweeper: a fiber that ends what nobody will finish. At start that is every flow a crash
 * caught between sending a code and keeping its tokens (the code may be used up, so it cannot be tried again);
 * later it is what has expired. Parked grants are revoked upstream first. */

#include "oauth/oauth-internal.h"
#include "util/log.h"

#define SWEEP_INTERVAL_USEC (15 * USEC_PER_SEC)

static int sweep_once(Oauth *o, bool is_start) {
        Flow **list = NULL;
        size_t n = 0;
        int r;

        r = flow_record_list(o->store, o->keyring, UID_INVALID, &list, &n);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n && r != -ECANCELED; i++) {
                Flow *f = list[i];
                Failure why = {};

                if (!flow_is_expired(f) && f->state != FLOW_REVOKING && !(is_start && f->state == FLOW_EXCHANGING))
                        continue;
                (void)failure_set(&why, FAILURE_FLOW, "Run: vaultctl connect", "the connection to %s was not finished in time", flow_title(o, f));
                r = flow_end(o, TAKE_PTR(list[i]), &why);
                if (r < 0 && r != -EAGAIN && r != -ECANCELED)
                        log_warning("an unfinished connection could not be cleared away: %s", strerror(-r));
                failure_done(&why);
        }
        for (size_t i = 0; i < n; i++)
                (void)flow_free(list[i]);
        free(list);
        return r == -ECANCELED ? r : 0;
}

int oauth_sweep(void *userdata) {
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
        sd_event_unref(o->event);
        free(o->hostname);
        free(o);
        return NULL;
}
