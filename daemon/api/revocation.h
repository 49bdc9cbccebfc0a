/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "api/manager.h"

/* The kill switch (V10, T22): what ends at once on this host, and what is revoked at the services afterwards. */

/* Told in the loop, at once, when the credentials of uid for that service (NULL: all) are not to be used any more: after that is durable, before
 * anybody is answered. Whoever keeps something of theirs (a lease, a key, a connection to a service) ends it here and waits for nothing. */
typedef void (*CredentialsRevoked)(uid_t uid, const char *service, void *userdata);
/* For the life of the manager. -ENOMEM. */
int manager_on_revoked(Manager *m, CredentialsRevoked told, void *userdata);

/* Tells them, and ends the uid's streams, whatever their service, which is not known, and the calls that work with credentials of the service. */
typedef struct EndedUses {
        unsigned n_streams, n_calls;
} EndedUses;
EndedUses manager_end_uses(Manager *m, uid_t uid, const char *service);
/* At the manager's end. */
void manager_forget_listeners(Manager *m);
/* The streams that came from that login, when it is over (T38). */
void manager_end_login(const Login *login, void *userdata);

/* What became of a grant at its service. */
typedef enum UpstreamOutcome {
        UPSTREAM_PENDING, /* not yet: it is tried again, also after a restart */
        UPSTREAM_REVOKED,
        UPSTREAM_IMPOSSIBLE, /* the service offers no way */
} UpstreamOutcome;

typedef struct RevokedGrant {
        char *id, *service, *label, *account_id, *account_name;
        UpstreamOutcome outcome;
        char *why; /* NULL when revoked */
        bool is_tried;
} RevokedGrant;
void revoked_grants_free(RevokedGrant *list, size_t n);

/* Starts with what an earlier run left, unless it is held. */
int revocations_new(Manager *m, bool is_held, Revocations **ret);
Revocations *revocations_free(Revocations *r);

/* On a fiber: tries the pending revocations of that uid now, of that service (NULL: all) or the credential of that id alone (NULL: all), and waits until
 * each was tried once, wait_usec at most. *ret, which may be NULL, says what became of them. */
int revocations_run(Revocations *r, uid_t uid, const char *service, const char *id, uint64_t wait_usec,
                RevokedGrant **ret, size_t *ret_n);
/* How many of that uid's are pending. */
size_t revocations_count(const Revocations *r, uid_t uid);
