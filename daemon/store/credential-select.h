/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/records.h"

/* Which credential acts, where several could (V7, T19). Pure. */

typedef struct CredentialWish {
        const char *service;
        const char *label; /* NULL: whichever there is */
        const char *upstream; /* the service's address; what was connected to another one does not count. NULL: any */
        /* The caller named a service account. Without, only what is the user's own counts, so that a missing credential of a person is
         * never made up for by somebody else's. */
        bool is_service_account;
} CredentialWish;

typedef enum CredentialChoice {
        CREDENTIAL_CHOSEN,
        CREDENTIAL_NONE,     /* not configured */
        CREDENTIAL_SEVERAL,  /* equal rank: the caller has to say which */
        CREDENTIAL_UNUSABLE, /* the one that is meant needs a new connect */
} CredentialChoice;

/* The most specific level that has a candidate decides alone, also when its one credential is unusable. *ret_index is written for CHOSEN and
 * UNUSABLE. */
CredentialChoice credential_select(
                Credential *const *list, size_t n, const CredentialWish *wish, size_t *ret_index);

/* The labels of the candidates of the deciding level, "default, work", for messages; malloc()ed, NULL without memory. */
char *credential_select_labels(Credential *const *list, size_t n, const CredentialWish *wish);
