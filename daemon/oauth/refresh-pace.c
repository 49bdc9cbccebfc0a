/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* When a grant that failed may be tried again, and how often the refusal of its token counts.
 *
 * A server in trouble is asked less and less by each grant: five seconds, then twice that, up to five minutes, and never before the time
 * that it named. Callers in between hear at once why nothing can be had. That a service refuses a token (HTTP 401) may cause
 * one refresh a minute: one that refuses everything would otherwise have the host refresh for each request (T21).
 *
 * This is kept in memory: a restart may try at once. What must outlast one is in the record (when the token was
 * obtained, and the attempts). An entry is made for a credential that exists, and goes when it says nothing any more, so there are
 * never more than credentials.
 *
 * Who may call: the refresh-*.c files, in the loop's thread. */

#include "oauth/refresh-internal.h"
#include "util/clock.h"

#define DELAY_FIRST_USEC   (5 * USEC_PER_SEC)
#define DELAY_LAST_USEC    (300 * USEC_PER_SEC)
#define DELAY_MAX_USEC     (3600 * USEC_PER_SEC) /* whatever a server asks for */
#define REFUSAL_EVERY_USEC (60 * USEC_PER_SEC)
/* For so long after its last wait an entry still knows how long that was. */
#define REMEMBERED_USEC (600 * USEC_PER_SEC)

struct RefreshPace {
        RefreshPace *next;
        char *credential_id;
        char *why;
        uint64_t due_usec;     /* all monotonic; 0: now */
        uint64_t delay_usec;   /* 0: it has not failed */
        uint64_t refused_usec; /* 0: never */
};

static void pace_free(RefreshPace *p) {
        free(p->credential_id);
        free(p->why);
        free(p);
}

static bool pace_is_over(const RefreshPace *p, uint64_t now) {
        return (p->delay_usec == 0 || p->due_usec + REMEMBERED_USEC < now) &&
               (p->refused_usec == 0 || p->refused_usec + REFUSAL_EVERY_USEC < now);
}

static RefreshPace *pace_get(Oauth *o, const char *credential_id) {
        RefreshPace *p = o->refresh_paces;

        while (p && !streq(p->credential_id, credential_id))
                p = p->next;
        return p;
}

/* The grant's entry, made where there is none; those that say nothing any more go. */
static RefreshPace *pace_make(Oauth *o, const char *credential_id) {
        uint64_t now = now_monotonic();
        RefreshPace *p = pace_get(o, credential_id);

        if (p)
                return p;
        for (RefreshPace **link = &o->refresh_paces; *link;) {
                p = *link;
                if (pace_is_over(p, now)) {
                        *link = p->next;
                        pace_free(p);
                } else
                        link = &p->next;
        }
        p = calloc(1, sizeof(RefreshPace));
        if (!p)
                return NULL;
        p->credential_id = strdup(credential_id);
        if (!p->credential_id) {
                free(p);
                return NULL;
        }
        p->next = o->refresh_paces;
        o->refresh_paces = p;
        return p;
}

const RefreshPace *refresh_pace_find(Oauth *o, const char *credential_id) {
        const RefreshPace *p = pace_get(o, credential_id);

        return p && p->due_usec > now_monotonic() ? p : NULL;
}

uint64_t refresh_pace_seconds(const RefreshPace *p) {
        uint64_t now = now_monotonic();

        return p->due_usec > now ? (p->due_usec - now + USEC_PER_SEC - 1) / USEC_PER_SEC : 0;
}

const char *refresh_pace_why(const RefreshPace *p) {
        return p->why;
}

int refresh_pace_failed(Oauth *o, const char *credential_id, uint64_t retry_usec, const char *why) {
        RefreshPace *p = pace_make(o, credential_id);
        char *copy = strdup(why);

        if (!p || !copy) {
                free(copy);
                return -ENOMEM;
        }
        free(p->why);
        p->why = copy;
        p->delay_usec = p->delay_usec == 0 ? DELAY_FIRST_USEC : MIN(2 * p->delay_usec, DELAY_LAST_USEC);
        p->due_usec = now_monotonic() + MIN(MAX(p->delay_usec, retry_usec), DELAY_MAX_USEC);
        return 0;
}

void refresh_pace_succeeded(Oauth *o, const char *credential_id) {
        RefreshPace *p = pace_get(o, credential_id);

        if (p)
                p->due_usec = p->delay_usec = 0;
}

bool refresh_pace_admits_refusal(Oauth *o, const char *credential_id) {
        RefreshPace *p = pace_make(o, credential_id);
        uint64_t now = now_monotonic();

        if (!p || (p->refused_usec > 0 && now - p->refused_usec < REFUSAL_EVERY_USEC))
                return false;
        p->refused_usec = now;
        return true;
}

void refresh_pace_free(Oauth *o) {
        while (o->refresh_paces) {
                RefreshPace *p = o->refresh_paces;

                o->refresh_paces = p->next;
                pace_free(p);
        }
}
