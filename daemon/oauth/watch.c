/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Waiting for a flow: `vaultctl connect` sits here while its user is at the provider. The record is the truth; a
 * notification only says "look again", or why there is nothing to look at any more. */

#include "oauth/oauth-internal.h"

struct FlowWatch {
        FlowWatch *next;
        const char *flow_id;
        Fiber *fiber;
        Failure *failure;
        bool has_ended;
};

void watch_notify(Oauth *o, const char *flow_id, const Failure *why) {
        if (why)
                device_stop(o, flow_id);
        for (FlowWatch *w = o->watches; w; w = w->next) {
                if (!streq(w->flow_id, flow_id))
                        continue;
                if (why && !w->has_ended) {
                        w->has_ended = true;
                        (void)failure_set(w->failure, why->kind, why->hint, "%s",
                                        why->message ?: "the connection ended");
                        w->failure->title = why->title ? strdup(why->title) : NULL;
                        w->failure->pinned = why->pinned ? strdup(why->pinned) : NULL;
                        w->failure->offered = why->offered ? strdup(why->offered) : NULL;
                }
                fiber_resume(w->fiber, 0);
        }
}

/* 0: quarantined; FAILED: ended; -EAGAIN: not yet. */
static int watch_look(Oauth *o, uid_t uid, FlowWatch *w, Flow **ret) {
        _cleanup_(flow_freep) Flow *flow = NULL;
        Failure ignored = {};
        int r;

        if (w->has_ended)
                return FAILED;
        r = flow_find_own(o, uid, w->flow_id, &flow, &ignored);
        failure_done(&ignored);
        if (r < 0)
                return r;
        if (r == FAILED)
                return failure_set(w->failure, FAILURE_FLOW, "Run: vaultctl connect",
                                "the connection was given up or has expired");
        if (flow->state != FLOW_QUARANTINED)
                return -EAGAIN;
        *ret = TAKE_PTR(flow);
        return 0;
}

int oauth_wait(Oauth *o, uid_t uid, const char *flow_id, Flow **ret, Failure *failure) {
        FlowWatch watch = {
                .next = o->watches, .flow_id = flow_id, .fiber = fiber_current(), .failure = failure
        };
        int r;

        o->watches = &watch;
        while ((r = watch_look(o, uid, &watch, ret)) == -EAGAIN) {
                r = fiber_suspend();
                if (r < 0)
                        break;
        }
        for (FlowWatch **w = &o->watches; *w; w = &(*w)->next)
                if (*w == &watch) {
                        *w = watch.next;
                        break;
                }
        return r;
}
