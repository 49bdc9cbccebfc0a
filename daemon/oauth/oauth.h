/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "http/http.h"
#include "policy/config.h"
#include "store/records.h"
#include "util/failure.h"
#include "util/fiber.h"

/* Connecting services: the grant's life from the first link to its end. Requirements O1–O9. Everything here that waits must be called on a fiber.
 * Results: 0, FAILED with the failure filled in, or -errno. */

typedef struct Oauth Oauth;

typedef struct OauthOptions {
        sd_event *event;
        Http *http;
        Store *store;
        Keyring *keyring;
        const Config *config;
        const char *hostname;
        bool is_held; /* without the sweeper: nothing is to be done by itself */
} OauthOptions;

/* Starts the sweeper, which ends what a crash left half-way and what nobody claimed in time. */
int oauth_new(const OauthOptions *options, Oauth **ret);
Oauth *oauth_free(Oauth *o);
DEFINE_CLEANUP(Oauth *, oauth_free)

/* Begins a flow, replacing the caller's unfinished one for the same service and label. The flow is durable when this returns. *ret_ticket: what our page's link
 * ends with (way page) or NULL. */
int oauth_begin(Oauth *o, const Vault *vault, const char *user, const ServiceProfile *profile,
                const char *label, FlowWay way, bool is_replacing_account, Flow **ret_flow,
                char **ret_ticket, Failure *failure);
/* Where the browser is to go for this flow's consent. */
int oauth_authorization_url(const Flow *flow, char **ret);
/* The link to our own page. */
int oauth_page_link(Oauth *o, const char *ticket, char **ret);

/* Who began the flow behind a link's ticket, or behind a state, whatever became of it meanwhile; waits for nothing. -ENOENT: nobody did. */
int oauth_ticket_owner(Oauth *o, const char *ticket, uid_t *ret);
int oauth_state_owner(Oauth *o, const char *state, uid_t *ret);

/* The flow behind a link. Changes nothing. */
int oauth_page(Oauth *o, const char *ticket, Flow **ret, Failure *failure);
/* Leaves our page: works once. */
int oauth_continue(Oauth *o, const char *ticket, char **ret_location, Failure *failure);

/* What a browser brought back. */
typedef struct CallbackAnswer {
        const char *path; /* last segment: issuer digest */
        const char *state, *code, *iss, *error, *error_description;
        const char *local, *peer; /* of the TCP connection; NULL behind a proxy */
} CallbackAnswer;

/* Consumes the flow's state, redeems the code, asks who the account is and parks the grant. *ret_claim_code: shown on the page, and only there. */
int oauth_callback(
                Oauth *o, const CallbackAnswer *answer, Flow **ret, char **ret_claim_code, Failure *failure);
/* The same for a pasted redirect URL; uid must have begun the flow. */
int oauth_paste(Oauth *o, uid_t uid, const char *flow_id, const char *url, Flow **ret, Failure *failure);

/* Waits until the flow is quarantined. FAILED when it ended otherwise. */
int oauth_wait(Oauth *o, uid_t uid, const char *flow_id, Flow **ret, Failure *failure);

/* Makes a quarantined grant the caller's credential. flow_id may be NULL with a code. */
int oauth_claim(Oauth *o, const Vault *vault, const char *flow_id, const char *code, const char *account_id,
                bool has_workspace_key, Credential **ret, Failure *failure);
/* Who is to own a service's tokens: what root wrote, else mirror with a workspace key and host without (V4). */
Custody oauth_custody(const ServiceProfile *profile, bool has_workspace_key);
/* Gives up a flow; a parked grant is revoked upstream. */
int oauth_cancel(Oauth *o, uid_t uid, const char *flow_id, Failure *failure);

/* Tokens that a service hands out by hand: bearers, and values of environment variables (Auth= of the profile). */
#define TOKEN_SIZE_MAX (64U * 1024)
/* Whether it can be one: a bearer is visible ASCII, a variable's value printable text without blanks around it; at most TOKEN_SIZE_MAX. Pure. */
bool token_is_legal(const ServiceProfile *profile, const char *token);
/* Whose token it is, asked of the service; nothing is kept. Both NULL: the profile names nobody to ask. UPSTREAM: the service does not accept it. */
int oauth_identify_token(Oauth *o, uid_t uid, const ServiceProfile *profile, const Secret *token,
                char **ret_id, char **ret_name, Failure *failure);
/* Asks again, and makes the token the vault's credential for the service and label, in place of a former one, if its account is account_id (NULL: the
 * profile names nobody to ask). ACCOUNT_CHANGED: another account is pinned and is_replacing_account is false. */
int oauth_keep_token(Oauth *o, const Vault *vault, const ServiceProfile *profile, const char *label,
                const Secret *token, const char *account_id, bool is_replacing_account,
                bool has_workspace_key, Credential **ret, Failure *failure);

/* Ends the unfinished connections of that uid's vault to that service (NULL: to all), durably and in one commit, asking nobody: whoever waits for one is told
 * why, and parked grants are revoked by the sweeper. What a callback brings meanwhile is revoked by the callback. *ret_n: how many. 0, -errno. */
int oauth_end_flows(Oauth *o, uid_t uid, const char *service, const Failure *why, unsigned *ret_n);

/* Revokes a credential's tokens upstream (RFC 7009). FAILED: the server could not be told, or offers no way. */
int oauth_revoke_credential(Oauth *o, const Credential *credential, Failure *failure);
