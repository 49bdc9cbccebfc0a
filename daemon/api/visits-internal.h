/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "api/visits.h"

/* Shared by visits.c and visit-offers.c. */

typedef struct Visit {
        struct Visit *next;
        uid_t uid;
        uint32_t audit_session;
        bool is_open; /* else a link */
        bool takes_code;
        unsigned tries;
        uint64_t until_usec, idle_usec;
        uint8_t digest[32]; /* of ticket or cookie */
        uint8_t code[32];
        Offer offer; /* service NULL: none */
        uint8_t offer_code[32];
        unsigned offer_tries;
        uint64_t offer_until_usec;
} Visit;

typedef struct Work {
        struct Work *next;
        uid_t uid;
} Work;

struct Visits {
        Visit *first;
        Work *works;
        uint8_t key[32];
};

/* Drops what is over. */
void visits_settle(Visits *v, uint64_t now_usec);
/* The open visit, or the link, that this text stands for; NULL. */
Visit *visits_find_text(Visits *v, const char *text, bool is_open);

/* A new code, as it is shown, and its digest. The text is malloc()ed, the caller's to erase. */
int visit_code_new(const Visits *v, char **ret, uint8_t ret_digest[static 32]);
bool visit_code_matches(const Visits *v, const char *code, const uint8_t digest[static 32]);
