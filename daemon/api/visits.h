/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "util/macro.h"

/* Visits: browsers that a user let in by a link from his terminal, to the page of his services. All times are CLOCK_MONOTONIC and come from the
 * caller. Texts that are handed out are secrets: malloc()ed, to be erased by their owner. */

typedef struct Visits Visits;

#define VISIT_LINK_USEC  (5 * 60 * USEC_PER_SEC)  /* how long a link opens */
#define VISIT_IDLE_USEC  (10 * 60 * USEC_PER_SEC) /* from one request to the next */
#define VISIT_LIFE_USEC  (60 * 60 * USEC_PER_SEC) /* of the whole visit */
#define VISIT_OFFER_USEC (10 * 60 * USEC_PER_SEC) /* an offer may be confirmed this long */
#define VISITS_PER_UID   4U
#define VISIT_TRIES      3U /* wrong codes, for a link and for an offer */
#define VISIT_WORKS_MAX  2U /* of a uid, over all its visits */

int visits_new(Visits **ret);
Visits *visits_free(Visits *v);
DEFINE_CLEANUP(Visits *, visits_free)

/* Makes a link, in place of one of the same uid that nobody opened. audit_session: of the login that asks, UINT32_MAX where there is none.
 * ret_code not NULL: the link opens only together with that code. -EDQUOT: VISITS_PER_UID are open. */
int visits_invite(Visits *v, uid_t uid, uint32_t audit_session, uint64_t now_usec, char **ret_ticket,
                char **ret_code);
/* Whose link it is, whether it takes a code, and until when. Changes nothing. -ENOENT. */
int visits_look(Visits *v, const char *ticket, uint64_t now_usec, uid_t *ret_uid, bool *ret_takes_code,
                uint64_t *ret_until_usec);
/* Uses the link up. former: the cookie that the browser had, whose visit ends; or NULL. -ENOENT: no such link; -EACCES: not the code, *ret_tries left,
 * and with none left no link either. */
int visits_enter(Visits *v, const char *ticket, const char *code, const char *former, uint64_t now_usec,
                char **ret_cookie, unsigned *ret_tries);

/* Whose visit it is; a sign of life. *ret_until_usec (optional): when it ends at the latest. -ENOENT. */
int visits_find(Visits *v, const char *cookie, uint64_t now_usec, uid_t *ret_uid, uint64_t *ret_until_usec);
/* The word that has to stand in each form of the visit's pages: made from the cookie, so only who has one knows it. NULL: no memory. Pure. */
char *visit_form_word(const char *cookie);
bool visit_form_is_own(const char *cookie, const char *word);

/* Something long begins for that uid's visits. -EDQUOT: VISIT_WORKS_MAX are under way. */
int visits_work_enter(Visits *v, uid_t uid);
void visits_work_leave(Visits *v, uid_t uid);

/* What a visit asks for and its user confirms over the socket: to disconnect exactly this credential. */
typedef struct Offer {
        char *service, *label, *credential_id;
} Offer;
void offer_done(Offer *o);
/* In place of the visit's former offer. -ENOENT. */
int visits_offer(Visits *v, const char *cookie, const char *service, const char *label,
                const char *credential_id, uint64_t now_usec, char **ret_code);
/* The offer among those of the uid that the code belongs to, which is taken away. -ENOENT: there is none at all; -EACCES: not the code: each of them
 * has one try less, *ret_tries is the most that are left. */
int visits_confirm(
                Visits *v, uid_t uid, const char *code, uint64_t now_usec, Offer *ret, unsigned *ret_tries);

/* How many visits of that uid are open. */
unsigned visits_count(Visits *v, uid_t uid, uint64_t now_usec);
/* What ends, links with it; the number of visits. */
unsigned visits_end(Visits *v, uid_t uid);
unsigned visits_end_of_login(Visits *v, uid_t uid, uint32_t audit_session);
unsigned visits_end_one(Visits *v, const char *cookie);
/* Offers to disconnect that service (NULL: any). */
void visits_end_offers(Visits *v, uid_t uid, const char *service);
