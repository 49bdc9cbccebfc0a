/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What ends from outside: streams after an upgrade and calls under way, when what they were allowed by is gone (T22, T38).
 *
 * A stream is closed here and not in its connection's next step: that step waits for its uid's turn, and a uid that has used up its
 * calls of this second would keep its streams until the next. A call is cancelled instead: its fiber may be in the middle of a
 * commit, which is awaited in any case, and releases what it holds on its way out.
 *
 * Owners are told while this runs and may close other streams of theirs. So all that are meant are marked first, which already stops
 * their bytes (connection_work() looks at the error before anything else, stream_write() too), and the walk begins anew when
 * the next one of the list went away.
 *
 * Who may call: the daemon, from the loop or a fiber, never a stream's owner from within a callback. */

#include "ipc/server-internal.h"

typedef struct Chosen {
        uid_t uid;        /* UID_INVALID: everybody */
        bool has_session; /* only those of audit_session */
        uint32_t audit_session;
} Chosen;

static bool is_chosen(const Connection *c, const Chosen *which) {
        const Principal *p = &c->principal;

        if (c->state != CONNECTION_UPGRADED || c->door != DOOR_PUBLIC || c->error < 0)
                return false;
        if (which->uid != UID_INVALID && p->uid != which->uid)
                return false;
        /* Read at the upgrade. What could not be read then may be of any login. */
        return !which->has_session || p->audit_error < 0 || p->audit_session == which->audit_session;
}

static unsigned close_chosen(Server *s, const Chosen *which, int error) {
        unsigned n = 0;

        for (Connection *c = s->connections; c; c = c->next)
                if (is_chosen(c, which)) {
                        c->error = error;
                        n++;
                }
        for (Connection *c = n > 0 ? s->connections : NULL, *next; c; c = next) {
                next = c->next;
                if (c->state != CONNECTION_UPGRADED || c->error != error)
                        continue;
                connection_end(c, error);
                if (next && next->state == CONNECTION_DEAD)
                        next = s->connections;
        }
        return n;
}

unsigned server_close_streams(Server *s, uid_t uid, int error) {
        return close_chosen(s, &(Chosen){ .uid = uid }, error);
}

unsigned server_close_streams_of_login(Server *s, uid_t uid, uint32_t audit_session, int error) {
        return close_chosen(s, &(Chosen){ uid, true, audit_session }, error);
}

/* What has not said what it works with may work with anything. */
static bool call_may_use(const Call *call, const char *service) {
        for (size_t i = 0; service && i < call->n_services; i++)
                if (streq(call->services[i], service))
                        return true;
        return !service || call->n_services == 0;
}

unsigned server_end_calls(Server *s, uid_t uid, const char *service, int error) {
        unsigned n = 0;

        for (Call *call = s->users; call; call = call->users_next) {
                if (call->door != DOOR_PUBLIC || (uid != UID_INVALID && call->principal.uid != uid) ||
                                call->ended_by < 0 || !call_may_use(call, service))
                        continue;
                server_sync_event(s);
                call->ended_by = error;
                fiber_cancel(call->fiber);
                n++;
        }
        return n;
}
