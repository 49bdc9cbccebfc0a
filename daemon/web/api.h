/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* The three calls that vaultd-web makes (daemon/api/io.vaultd.Web.varlink), each over a fresh connection with a deadline. They return 0
 * with *ret filled; API_REFUSED (1) with *ret_fault filled, vaultd's own answer; negative -errno when there was no answer that can be
 * used: it is away, late (-ETIMEDOUT) or spoke nonsense (-EBADMSG). */

#define API_REFUSED 1

typedef struct ApiFault {
        char *error;   /* "io.vaultd.FlowFailed" */
        char *message; /* what happened and to whom, or NULL */
        char *hint;    /* the command that mends it, or NULL */
} ApiFault;

void api_fault_done(ApiFault *f);

typedef struct ApiPage {
        char *user, *host, *service, *title, *upstream;
        char **scopes; /* n_scopes texts */
        size_t n_scopes;
        uint64_t expires_usec; /* CLOCK_REALTIME */
} ApiPage;

void api_page_done(ApiPage *p);
/* What the page behind a link shows; changes nothing. At most 5 s. */
int api_page(const char *socket, const char *ticket, ApiPage *ret, ApiFault *ret_fault);

/* Leaves for the provider, once per link. *ret_location is the caller's to free. At most 5 s. */
int api_continue(const char *socket, const char *ticket, char **ret_location, ApiFault *ret_fault);

/* What the browser brought back; NULL members were absent and are left out. */
typedef struct ApiCallback {
        const char *path, *state, *code, *iss, *error, *error_description, *local, *peer;
} ApiCallback;

typedef struct ApiResult {
        char *user, *host, *title, *account, *claim_code;
        uint64_t expires_usec;
} ApiResult;

void api_result_done(ApiResult *r);
/* Finishes the consent: vaultd exchanges the code and asks who the account is. At most 60 s. */
int api_callback(const char *socket, const ApiCallback *callback, ApiResult *ret, ApiFault *ret_fault);
