/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* The calls that vaultd-web makes (daemon/api/io.vaultd.Web.varlink), each over a fresh connection with a deadline. They return 0
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

/* The page of services (api-visit.c). visit is the browser's cookie, form the word from the form that was sent; both are secrets. */

typedef struct ApiInvitation {
        char *user, *host;
        bool takes_code;
        uint64_t expires_usec;
} ApiInvitation;
void api_invitation_done(ApiInvitation *i);
/* What a link asks before it opens; changes nothing. At most 5 s. */
int api_invitation(const char *socket, const char *ticket, ApiInvitation *ret, ApiFault *ret_fault);

/* Uses the link up. code, former: NULL when there is none. *ret_visit is the caller's to erase and free. At most 5 s. */
int api_enter(const char *socket, const char *ticket, const char *code, const char *former, char **ret_visit,
                uint64_t *ret_expires_usec, ApiFault *ret_fault);

typedef struct ApiCard {
        char *service, *title, *label, *kind, *state;
        char *not_set_up;       /* why it cannot be connected; NULL: it can */
        char *account, *reason; /* NULL: none */
        uint64_t expires_usec;  /* 0: none */
        bool renews;
        char *begun, *begun_account; /* NULL: nothing is begun; its account is not known */
        uint64_t begun_expires_usec;
} ApiCard;

/* More are counted, not shown. */
#define API_CARDS_MAX ((size_t)200)

typedef struct ApiServices {
        char *user, *host, *form;
        uint64_t expires_usec;
        ApiCard *cards;
        size_t n_cards, n_more;
} ApiServices;
void api_services_done(ApiServices *s);
int api_services(const char *socket, const char *visit, ApiServices *ret, ApiFault *ret_fault);

typedef struct ApiForm {
        const char *visit, *form, *service, *label; /* label NULL: the default one */
} ApiForm;
/* Begins a connection; *ret_location is the caller's to free. At most 60 s: the service is asked for its metadata. */
int api_begin(const char *socket, const ApiForm *form, char **ret_location, ApiFault *ret_fault);

typedef struct ApiOffer {
        char *user, *host, *title, *label, *account, *code;
        uint64_t expires_usec;
} ApiOffer;
void api_offer_done(ApiOffer *o);
int api_offer(const char *socket, const ApiForm *form, ApiOffer *ret, ApiFault *ret_fault);

int api_leave(const char *socket, const ApiForm *form, ApiFault *ret_fault);
