/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* What a Bearer challenge says (RFC 6750 section 3, RFC 9728 section 5.1). NULL where it says nothing. */
typedef struct Challenge {
        char *resource_metadata;
        char *scope;
        char *error;
} Challenge;

/* Reads one WWW-Authenticate value, which may hold several challenges of several schemes (RFC 9110 section 11.6.1). The first occurrence of a
 * parameter counts; values found earlier are kept, so that repeated headers can be read one by one. 0, also when there is no Bearer challenge; -ENOMEM. */
int challenge_parse(const char *value, Challenge *challenge);
void challenge_done(Challenge *challenge);
