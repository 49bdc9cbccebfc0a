/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/buffer.h"
#include "web/api.h"

/* Shared by api.c and api-visit.c. */

#define API_QUICK_USEC    (5 * USEC_PER_SEC)
#define API_UPSTREAM_USEC (60 * USEC_PER_SEC) /* where vaultd asks a service before it answers */

typedef struct ApiMember {
        const char *name;
        const char *value; /* NULL: left out */
} ApiMember;

/* Asks, and copies the answer, which is scanned, into *answer, which the caller initialised and releases. Results as in api.h. */
int api_call(const char *socket, const char *method, const ApiMember *members, size_t n_members,
                uint64_t budget_usec, Buffer *answer, ApiFault *ret_fault);

/* Copies a text member of the parameters; -EBADMSG when it is not there. */
int api_take_text(const Buffer *answer, const char *name, char **ret);
int api_take_time(const Buffer *answer, const char *name, uint64_t *ret);
/* The address that a browser is to be sent to. -EBADMSG: none, or not https. */
int api_take_location(const Buffer *answer, char **ret);

/* Erases and frees; always NULL. */
char *free_erased(char *text);
