/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One fiber at a time for one object on the platform.
 *
 * Two logins of a user, or two sessions with the same servers, may want the same vault or agent made at
 * the same moment. Both would read a record without an id and both would create: the very double that
 * the nonce is there to prevent, and later refused as such. So whoever creates holds the object's gate
 * from reading the record to writing it; the others wait in order and then find it done. Between
 * processes nothing is needed: the store admits one.
 *
 * Invariants: a gate exists while it is held; what waits is on its waiter's stack and in the gate's
 * line, both or neither. Gates are named by what they guard ("vault/1000"), and nobody enters a second
 * one of the same kind while holding one. */

#include "platform/platform-internal.h"
#include "util/fiber.h"

typedef struct Waiter Waiter;

struct Waiter {
        Waiter *next;
        Fiber *fiber;
        bool is_granted;
};

struct Gate {
        Gate *next;
        Platform *platform;
        Waiter *line;
        char *name;
};

static Gate *gate_find(Platform *p, const char *name) {
        for (Gate *g = p->gates; g; g = g->next)
                if (streq(g->name, name))
                        return g;
        return NULL;
}

bool gate_is_taken(Platform *p, const char *name) {
        return gate_find(p, name) != NULL;
}

static int gate_wait(Gate *g) {
        Waiter w = { .fiber = fiber_current() }, **end = &g->line;
        int r = 0;

        while (*end)
                end = &(*end)->next;
        *end = &w;
        while (!w.is_granted && r >= 0)
                r = fiber_suspend();
        if (w.is_granted) {
                if (r < 0)
                        (void)gate_leave(g); /* cancelled at the moment it became ours */
                return r < 0 ? r : 0;
        }
        for (end = &g->line; *end != &w;)
                end = &(*end)->next;
        *end = w.next;
        return r;
}

int gate_enter(Platform *p, const char *name, Gate **ret) {
        Gate *g = gate_find(p, name);
        int r;

        if (g) {
                r = gate_wait(g);
                if (r < 0)
                        return r;
                *ret = g;
                return 0;
        }
        g = calloc(1, sizeof(Gate));
        if (!g)
                return -ENOMEM;
        g->name = strdup(name);
        if (!g->name) {
                free(g);
                return -ENOMEM;
        }
        g->platform = p;
        g->next = p->gates;
        p->gates = g;
        *ret = g;
        return 0;
}

Gate *gate_leave(Gate *g) {
        Gate **link;
        Waiter *w;

        if (!g)
                return NULL;
        w = g->line;
        if (w) {
                g->line = w->next;
                w->is_granted = true;
                fiber_resume(w->fiber, 0);
                return NULL;
        }
        for (link = &g->platform->gates; *link != g;)
                link = &(*link)->next;
        *link = g->next;
        free(g->name);
        free(g);
        return NULL;
}
