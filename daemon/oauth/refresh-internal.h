/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "oauth/oauth-internal.h"

/* Shared by the refresh-*.c files only. */

/* A grant, by everything that tells it from another: who may be told what became of a refresh (T20). */
typedef struct GrantKey {
        uid_t uid;
        char *vault_id, *service, *label, *credential_id;
} GrantKey;

/* refresh-state.c: whether this host is the one that refreshes the credential, and whether it has to by now. Pure. */
bool refresh_is_possible(const Credential *c);
/* least_usec: it is to be good for so long; 0: for a use that is about to be made. */
bool refresh_is_due(const Credential *c, uint64_t now_usec, uint64_t least_usec);
#define REFRESH_REASON_LOST                                                                                 \
        "the service's answers to two refreshes in a row were lost, so the access may be used up"
/* FAILED (NOT_CONNECTED): only a new connect helps; what: "not connected any more". */
int refresh_failure_reconnect(Failure *failure, const char *title, const char *service, const char *label,
                const char *what);

/* refresh-request.c: one request with a refresh token, and what its answer means. */
typedef enum RefreshVerdict {
        REFRESH_DONE,  /* there are new tokens */
        REFRESH_DEAD,  /* the server says that this grant has ended, or will never answer us */
        REFRESH_LATER, /* it did not happen, and the same token may be sent another time */
        REFRESH_LOST,  /* it may have happened, and what the server answered is not known */
} RefreshVerdict;

typedef struct RefreshAnswer {
        RefreshVerdict verdict;
        TokenAnswer tokens;  /* DONE */
        char *error;         /* DEAD, LATER: the server's word for it, printable; NULL: it said none */
        uint64_t retry_usec; /* LATER: how long the server asked to wait; 0: it did not */
} RefreshAnswer;
void refresh_answer_done(RefreshAnswer *a);

/* Sends the credential's refresh token to its own authorization server. 0 with *ret, and the failure filled unless DONE; -ECANCELED and -ENOMEM, whose
 * *ret->verdict is LOST or LATER all the same. */
int refresh_ask(Oauth *o, const Credential *c, RefreshAnswer *ret, Failure *failure);
/* What an answer means; object NULL: it was no JSON object. Pure. */
int refresh_judge(unsigned status, json_object *object, const ServiceProfile *profile, uint64_t now_usec,
                RefreshAnswer *ret);

/* Whether an error code may be shown. Pure. */
bool error_is_word(const char *error);

/* refresh-step.c: from the record to the request and back. */
typedef struct RefreshJob {
        GrantKey key;
        uint64_t least_usec;
        bool is_forced; /* also when the token has time left */
        uint8_t refused[32]; /* SHA-256 of the access token that was refused, when forced: another one in the record needs no refresh */
        void (*tell)(int result,
                        void *userdata); /* what callers shall hear while the work goes on; may be NULL */
        void *userdata;
        uint64_t retry_usec; /* how long the server asked to wait */
} RefreshJob;
/* On a fiber of its own. 0: the record holds a good token, durably. FAILED: not now (UPSTREAM), or never again (NOT_CONNECTED, and the record says so). */
int refresh_run(Oauth *o, RefreshJob *job, Failure *failure);

/* refresh-pace.c: when a grant that failed may be tried again. */
typedef struct RefreshPace RefreshPace;
/* The entry of the grant, NULL: there is nothing to wait for. */
const RefreshPace *refresh_pace_find(Oauth *o, const char *credential_id);
/* It failed: each time in a row the wait doubles; retry_usec: at least so long. -ENOMEM. */
int refresh_pace_failed(Oauth *o, const char *credential_id, uint64_t retry_usec, const char *why);
void refresh_pace_succeeded(Oauth *o, const char *credential_id);
/* Seconds until the next try, at least 1; 0: now. */
uint64_t refresh_pace_seconds(const RefreshPace *p);
const char *refresh_pace_why(const RefreshPace *p);
/* A token of it was refused just now. false: that was said within the last minute already. -ENOMEM counts as said. */
bool refresh_pace_admits_refusal(Oauth *o, const char *credential_id);
void refresh_pace_free(Oauth *o);
