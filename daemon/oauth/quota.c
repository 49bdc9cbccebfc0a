/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What one uid may have this engine do at once, and within a minute (T26).
 *
 * The wire charges each uid for its calls, which is too coarse here: a beginning makes a provider do work in this
 * host's name, and a host that asks too often is shut out with all its users. An exchange keeps a browser waiting, and with
 * it one of the few places that vaultd-web has for everybody. So both are counted here, by the uid that the flow
 * belongs to, whichever door they come through.
 *
 * Works are linked through the stacks of their fibers, like the watches. Beginnings are counted in a table of those who began
 * something within the last minute; who came before that makes room for the next.
 *
 * Who may call: begin.c and callback.c, on fibers. */

#include "oauth/oauth-internal.h"
#include "util/clock.h"

#define PACE_USEC (60 * USEC_PER_SEC)
/* A person has one browser before them. vaultd-web lets 24 wait at once (web/connection.h). */
#define EXCHANGES_PER_UID_MAX 4U

struct Pace {
        uid_t uid;
        unsigned n;
        uint64_t since_usec; /* monotonic; when the minute began */
};

unsigned work_count(Oauth *o, WorkKind kind, uid_t uid) {
        unsigned n = 0;

        for (const Work *w = o->works; w; w = w->next)
                n += w->kind == kind && w->uid == uid;
        return n;
}

int work_enter(Oauth *o, Work *work, WorkKind kind, uid_t uid, Failure *failure) {
        unsigned n = work_count(o, kind, uid);

        /* Beginnings count as flows, together with those that were begun (begin.c). */
        if (kind == WORK_EXCHANGE && n >= EXCHANGES_PER_UID_MAX)
                return failure_set(failure, FAILURE_LIMIT,
                                "Wait until those have come to an end, then try again",
                                "you have %u connections being finished at once", n);
        *work = (Work){ .next = o->works, .uid = uid, .kind = kind };
        o->works = work;
        return 0;
}

void work_leave(Oauth *o, Work *work) {
        for (Work **w = &o->works; *w; w = &(*w)->next)
                if (*w == work) {
                        *w = work->next;
                        return;
                }
}

/* The uid's entry, with those left out whose minute is over. NULL: no memory. */
static Pace *pace_find(Oauth *o, uid_t uid) {
        uint64_t now = now_monotonic();
        size_t n = 0;
        Pace *grown;

        for (size_t i = 0; i < o->n_paces; i++)
                if (now - o->paces[i].since_usec < PACE_USEC)
                        o->paces[n++] = o->paces[i];
        o->n_paces = n;
        for (size_t i = 0; i < n; i++)
                if (o->paces[i].uid == uid)
                        return &o->paces[i];
        grown = reallocarray(o->paces, n + 1, sizeof(Pace));
        if (!grown)
                return NULL;
        o->paces = grown;
        o->paces[n] = (Pace){ .uid = uid, .since_usec = now };
        o->n_paces = n + 1;
        return &o->paces[n];
}

int pace_beginning(Oauth *o, uid_t uid, Failure *failure) {
        Pace *p = pace_find(o, uid);

        if (!p)
                return -ENOMEM;
        if (p->n >= o->config->flows_per_minute)
                return failure_set(failure, FAILURE_LIMIT, "Wait a minute, then try again",
                                "you began to connect services %u times within a minute", p->n);
        p->n++;
        return 0;
}
