/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The moment from which a user's credentials are used no more: one signal for everybody who keeps something of theirs.
 *
 * It comes after the store says so (the grants are gone, the vault is closed): whoever asks from then on is refused by what is
 * stored, and what is under way is ended here. The streams and calls of our own sockets come last, so that an owner who is told that a
 * stream was closed has no lease any more.
 *
 * Who may call: whoever made it durable, from the loop or a fiber, not from within a stream's callback. */

#include "api/revocation.h"
#include "api/visits.h"

struct RevocationListener {
        RevocationListener *next;
        CredentialsRevoked told;
        void *userdata;
};

int manager_on_revoked(Manager *m, CredentialsRevoked told, void *userdata) {
        RevocationListener *l = calloc(1, sizeof(RevocationListener)), **end = &m->revocation_listeners;

        if (!l)
                return -ENOMEM;
        *l = (RevocationListener){ .told = told, .userdata = userdata };
        while (*end)
                end = &(*end)->next;
        *end = l;
        return 0;
}

void manager_forget_listeners(Manager *m) {
        while (m->revocation_listeners) {
                RevocationListener *l = m->revocation_listeners;

                m->revocation_listeners = l->next;
                free(l);
        }
}

EndedUses manager_end_uses(Manager *m, uid_t uid, const char *service) {
        EndedUses ended = {};

        for (RevocationListener *l = m->revocation_listeners; l; l = l->next)
                l->told(uid, service, l->userdata);
        if (m->server)
                ended = (EndedUses){ .n_streams = server_close_streams(m->server, uid, -EKEYREVOKED),
                        .n_calls = server_end_calls(m->server, uid, service, -EKEYREVOKED) };
        return ended;
}

void manager_end_login(const Login *login, void *userdata) {
        Manager *m = userdata;

        /* Without an audit session nothing says which streams came from it. */
        if (login->audit_session == UINT32_MAX)
                return;
        (void)visits_end_of_login(m->visits, login->uid, login->audit_session);
        if (m->server)
                (void)server_close_streams_of_login(
                                m->server, login->uid, login->audit_session, -EKEYREVOKED);
}
