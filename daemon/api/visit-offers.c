/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Codes that people carry between the page and the terminal, and the offers that they confirm.
 *
 * An offer is what a visit asks to be disconnected: exactly one credential, by its id, so that a connection that was made anew meanwhile is another
 * one. It belongs to the visit and ends with it. Who confirms names only the code, and only offers of the own uid are looked at; a wrong code
 * costs each of them a try, since nobody can say which was meant.
 *
 * A code is 40 bits, too short for a plain digest: this process's key is in it.
 *
 * Who may call: as in visits.c. */

#include "api/visits-internal.h"
#include "util/encode.h"
#include "util/secret.h"

#define CODE_SIZE 8U /* characters of base32: 40 bits */

void offer_done(Offer *o) {
        free(o->service);
        free(o->label);
        free(o->credential_id);
        *o = (Offer){};
}

/* The digest of a code as people type it. What is too long is digested too, and is no code. */
static void code_digest(const Visits *v, const char *code, uint8_t ret[static 32]) {
        struct {
                uint8_t key[32];
                char text[16];
        } content = {};

        memcpy(content.key, v->key, sizeof(content.key));
        if (base32_read(code, content.text, sizeof(content.text)) < 0)
                memset(content.text, '?', sizeof(content.text));
        sha256(&content, sizeof(content), ret);
        erase(&content, sizeof(content));
}

int visit_code_new(const Visits *v, char **ret, uint8_t ret_digest[static 32]) {
        char code[CODE_SIZE + 1], *shown = malloc(CODE_SIZE + 2);

        if (!shown)
                return -ENOMEM;
        base32_random(code, CODE_SIZE);
        code_digest(v, code, ret_digest);
        memcpy(shown, code, 4);
        shown[4] = '-';
        memcpy(shown + 5, code + 4, CODE_SIZE - 4 + 1);
        erase(code, sizeof(code));
        *ret = shown;
        return 0;
}

bool visit_code_matches(const Visits *v, const char *code, const uint8_t digest[static 32]) {
        uint8_t given[32];

        code_digest(v, code, given);
        return bytes_equal_constant_time(given, digest, sizeof(given));
}

int visits_offer(Visits *v, const char *cookie, const char *service, const char *label,
                const char *credential_id, uint64_t now_usec, char **ret_code) {
        Offer offer = { strdup(service), strdup(label), strdup(credential_id) };
        Visit *visit;
        int r = 0;

        visits_settle(v, now_usec);
        visit = visits_find_text(v, cookie, true);
        if (!visit)
                r = -ENOENT;
        else if (!offer.service || !offer.label || !offer.credential_id)
                r = -ENOMEM;
        else
                r = visit_code_new(v, ret_code, visit->offer_code);
        if (r < 0) {
                offer_done(&offer);
                return r;
        }
        offer_done(&visit->offer);
        visit->offer = offer;
        visit->offer_tries = VISIT_TRIES;
        visit->offer_until_usec = now_usec + VISIT_OFFER_USEC;
        return 0;
}

int visits_confirm(
                Visits *v, uid_t uid, const char *code, uint64_t now_usec, Offer *ret, unsigned *ret_tries) {
        unsigned n = 0, most = 0;

        visits_settle(v, now_usec);
        for (Visit *visit = v->first; visit; visit = visit->next) {
                if (visit->uid != uid || !visit->offer.service)
                        continue;
                n++;
                if (!visit_code_matches(v, code, visit->offer_code))
                        continue;
                *ret = visit->offer;
                visit->offer = (Offer){};
                return 0;
        }
        if (n == 0)
                return -ENOENT;
        for (Visit *visit = v->first; visit; visit = visit->next) {
                if (visit->uid != uid || !visit->offer.service)
                        continue;
                visit->offer_tries--;
                most = MAX(most, visit->offer_tries);
                if (visit->offer_tries == 0)
                        offer_done(&visit->offer);
        }
        *ret_tries = most;
        return -EACCES;
}

void visits_end_offers(Visits *v, uid_t uid, const char *service) {
        for (Visit *visit = v->first; visit; visit = visit->next)
                if (visit->uid == uid && visit->offer.service &&
                                (!service || streq(visit->offer.service, service)))
                        offer_done(&visit->offer);
}
