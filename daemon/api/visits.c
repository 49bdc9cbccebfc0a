/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The table behind the page of services: links, visits, and what visits ask for.
 *
 * A uid comes into a visit once, when its link is made over the uid's own socket; from then on the browser's cookie stands for it, and no
 * request says a uid. Links and cookies are random and kept as SHA-256 digests only, so that neither a look at this memory nor a backup gives
 * anybody a visit. The table is memory: whatever is open ends with the process, and a user opens the page anew.
 *
 * A visit can do little, on purpose. What it begins ends with a claim over the socket, and what it wants to take away is an *offer*, done
 * when the same uid confirms it there with the offer's code. A code is short, so only a digest with this process's key is kept, and three
 * wrong ones end it. A link that is shown where others can read it (the browser's command line) takes a code besides, which is only on
 * the user's terminal.
 *
 * Everything expires by itself; what has is dropped before anything is counted against a limit. A uid can have four visits and one
 * link, which is made only while there is room for the visit that it becomes: so the table is bounded by the number of users.
 *
 * Who may call: page.c and web-visit.c, in the loop or on fibers. Waits for nothing. */

#include "api/visits-internal.h"
#include "util/encode.h"
#include "util/secret.h"

#define TICKET_SIZE 16U /* bytes */
#define COOKIE_SIZE 32U

int visits_new(Visits **ret) {
        Visits *v = calloc(1, sizeof(Visits));

        if (!v)
                return -ENOMEM;
        random_bytes(v->key, sizeof(v->key));
        *ret = v;
        return 0;
}

static void visit_free(Visit *visit) {
        offer_done(&visit->offer);
        explicit_bzero(visit, sizeof(*visit));
        free(visit);
}

Visits *visits_free(Visits *v) {
        if (!v)
                return NULL;
        while (v->first) {
                Visit *visit = v->first;

                v->first = visit->next;
                visit_free(visit);
        }
        while (v->works) {
                Work *w = v->works;

                v->works = w->next;
                free(w);
        }
        explicit_bzero(v->key, sizeof(v->key));
        free(v);
        return NULL;
}

/* Ends every visit and link for which is() holds; the number of visits. */
static unsigned drop(Visits *v, bool (*is)(const Visit *visit, const void *what), const void *what) {
        unsigned n = 0;

        for (Visit **link = &v->first; *link;) {
                Visit *visit = *link;

                if (!is(visit, what)) {
                        link = &visit->next;
                        continue;
                }
                *link = visit->next;
                n += visit->is_open;
                visit_free(visit);
        }
        return n;
}

static bool is_over(const Visit *visit, const void *now_usec) {
        uint64_t now = *(const uint64_t *)now_usec;

        return visit->until_usec <= now || (visit->is_open && visit->idle_usec <= now);
}

static bool is_same(const Visit *visit, const void *other) {
        return visit == other;
}

void visits_settle(Visits *v, uint64_t now_usec) {
        (void)drop(v, is_over, &now_usec);
        for (Visit *visit = v->first; visit; visit = visit->next)
                if (visit->offer.service && visit->offer_until_usec <= now_usec)
                        offer_done(&visit->offer);
}

Visit *visits_find_text(Visits *v, const char *text, bool is_open) {
        uint8_t digest[32];

        sha256(text, strlen(text), digest);
        for (Visit *visit = v->first; visit; visit = visit->next)
                if (visit->is_open == is_open && memcmp(visit->digest, digest, sizeof(digest)) == 0)
                        return visit;
        return NULL;
}

static unsigned count_open(const Visits *v, uid_t uid) {
        unsigned n = 0;

        for (const Visit *visit = v->first; visit; visit = visit->next)
                n += visit->is_open && visit->uid == uid;
        return n;
}

/* A new random text and its digest. */
static int secret_text_new(size_t n, char **ret, uint8_t ret_digest[static 32]) {
        uint8_t bytes[COOKIE_SIZE];

        random_bytes(bytes, n);
        *ret = base64url_encode(bytes, n);
        erase(bytes, sizeof(bytes));
        if (!*ret)
                return -ENOMEM;
        sha256(*ret, strlen(*ret), ret_digest);
        return 0;
}

static void free_erased(char **text) {
        if (*text)
                erase(*text, strlen(*text));
        free(*text);
        *text = NULL;
}

static bool is_link_of(const Visit *visit, const void *uid) {
        return !visit->is_open && visit->uid == *(const uid_t *)uid;
}

int visits_invite(Visits *v, uid_t uid, uint32_t audit_session, uint64_t now_usec, char **ret_ticket,
                char **ret_code) {
        _cleanup_(free_erased) char *ticket = NULL, *code = NULL;
        Visit *visit;
        int r;

        visits_settle(v, now_usec);
        if (count_open(v, uid) >= VISITS_PER_UID)
                return -EDQUOT;
        visit = calloc(1, sizeof(Visit));
        if (!visit)
                return -ENOMEM;
        *visit = (Visit){ .uid = uid,
                .audit_session = audit_session,
                .takes_code = ret_code != NULL,
                .tries = VISIT_TRIES,
                .until_usec = now_usec + VISIT_LINK_USEC };
        r = secret_text_new(TICKET_SIZE, &ticket, visit->digest);
        if (r == 0 && ret_code)
                r = visit_code_new(v, &code, visit->code);
        if (r < 0) {
                visit_free(visit);
                return r;
        }
        (void)drop(v, is_link_of, &uid);
        visit->next = v->first;
        v->first = visit;
        *ret_ticket = TAKE_PTR(ticket);
        if (ret_code)
                *ret_code = TAKE_PTR(code);
        return 0;
}

int visits_look(Visits *v, const char *ticket, uint64_t now_usec, uid_t *ret_uid, bool *ret_takes_code,
                uint64_t *ret_until_usec) {
        const Visit *visit;

        visits_settle(v, now_usec);
        visit = visits_find_text(v, ticket, false);
        if (!visit)
                return -ENOENT;
        *ret_uid = visit->uid;
        *ret_takes_code = visit->takes_code;
        *ret_until_usec = visit->until_usec;
        return 0;
}

int visits_enter(Visits *v, const char *ticket, const char *code, const char *former, uint64_t now_usec,
                char **ret_cookie, unsigned *ret_tries) {
        uint8_t digest[32];
        Visit *visit;
        int r;

        visits_settle(v, now_usec);
        visit = visits_find_text(v, ticket, false);
        if (!visit)
                return -ENOENT;
        if (visit->takes_code && !visit_code_matches(v, code ?: "", visit->code)) {
                *ret_tries = --visit->tries;
                if (visit->tries == 0)
                        (void)drop(v, is_same, visit);
                return -EACCES;
        }
        if (former)
                (void)visits_end_one(v, former);
        r = secret_text_new(COOKIE_SIZE, ret_cookie, digest);
        if (r < 0)
                return r;
        memcpy(visit->digest, digest, sizeof(digest));
        visit->is_open = true;
        visit->until_usec = now_usec + VISIT_LIFE_USEC;
        visit->idle_usec = now_usec + VISIT_IDLE_USEC;
        return 0;
}

int visits_find(Visits *v, const char *cookie, uint64_t now_usec, uid_t *ret_uid, uint64_t *ret_until_usec) {
        Visit *visit;

        visits_settle(v, now_usec);
        visit = visits_find_text(v, cookie, true);
        if (!visit)
                return -ENOENT;
        visit->idle_usec = now_usec + VISIT_IDLE_USEC;
        *ret_uid = visit->uid;
        if (ret_until_usec)
                *ret_until_usec = visit->until_usec;
        return 0;
}

char *visit_form_word(const char *cookie) {
        static const char purpose[] = "vaultd form word";
        uint8_t both[2 * 32], digest[32];
        char *word;

        /* Two digests, so that neither text's length can be moved into the other. */
        sha256(purpose, sizeof(purpose), both);
        sha256(cookie, strlen(cookie), both + 32);
        sha256(both, sizeof(both), digest);
        word = base64url_encode(digest, TICKET_SIZE);
        erase(both, sizeof(both));
        erase(digest, sizeof(digest));
        return word;
}

bool visit_form_is_own(const char *cookie, const char *word) {
        _cleanup_(free_erased) char *own = visit_form_word(cookie);
        size_t n = own ? strlen(own) : 0;

        return own && strlen(word) == n && bytes_equal_constant_time(own, word, n);
}

int visits_work_enter(Visits *v, uid_t uid) {
        unsigned n = 0;
        Work *w;

        for (w = v->works; w; w = w->next)
                n += w->uid == uid;
        if (n >= VISIT_WORKS_MAX)
                return -EDQUOT;
        w = calloc(1, sizeof(Work));
        if (!w)
                return -ENOMEM;
        *w = (Work){ .next = v->works, .uid = uid };
        v->works = w;
        return 0;
}

void visits_work_leave(Visits *v, uid_t uid) {
        for (Work **link = &v->works; *link; link = &(*link)->next)
                if ((*link)->uid == uid) {
                        Work *w = *link;

                        *link = w->next;
                        free(w);
                        return;
                }
}

unsigned visits_count(Visits *v, uid_t uid, uint64_t now_usec) {
        visits_settle(v, now_usec);
        return count_open(v, uid);
}

static bool is_of(const Visit *visit, const void *uid) {
        return visit->uid == *(const uid_t *)uid;
}

unsigned visits_end(Visits *v, uid_t uid) {
        return drop(v, is_of, &uid);
}

typedef struct LoginOf {
        uid_t uid;
        uint32_t audit_session;
} LoginOf;

static bool is_of_login(const Visit *visit, const void *what) {
        const LoginOf *login = what;

        return visit->uid == login->uid && visit->audit_session == login->audit_session;
}

unsigned visits_end_of_login(Visits *v, uid_t uid, uint32_t audit_session) {
        return drop(v, is_of_login, &(LoginOf){ uid, audit_session });
}

unsigned visits_end_one(Visits *v, const char *cookie) {
        const Visit *visit = visits_find_text(v, cookie, true);

        return visit ? drop(v, is_same, visit) : 0;
}
