/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "http/http.h"
#include "identity/users.h"
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
        Users *users; /* whose mail address AccountMatch=mail asks for; NULL: it never matches */
        bool is_trusting_owner; /* as for config_load() */
        bool is_held; /* without the sweeper: nothing is to be done by itself */
} OauthOptions;

/* Starts the sweeper, which ends what a crash left half-way and what nobody claimed in time. */
int oauth_new(const OauthOptions *options, Oauth **ret);
Oauth *oauth_free(Oauth *o);
DEFINE_CLEANUP(Oauth *, oauth_free)

/* Whether a service can be connected: FAILED (NOT_CONFIGURED) says what an administrator has to add, and where. Waits for nothing. */
int oauth_check_set_up(Oauth *o, const ServiceProfile *profile, Failure *failure);

/* A list of OAuth scopes: printable ASCII without '"' and '\' (RFC 6749 section 3.3), not empty. Pure. */
bool scope_is_legal(const char *scope);

/* Begins a flow, replacing the caller's unfinished one for the same service and label. The flow is durable when this returns. *ret_ticket: what our page's link
 * ends with (way page) or NULL. scope: what to ask for besides (scope_is_legal()), or NULL. */
int oauth_begin(Oauth *o, const Vault *vault, const char *user, const ServiceProfile *profile,
                const char *label, const char *scope, FlowWay way, bool is_replacing_account, Flow **ret_flow,
                char **ret_ticket, Failure *failure);
/* Which way suits a browser on another computer than this host: our page where it is published, else pasting where a flow could be finished so,
 * else our page all the same, through ssh -L. 0, -errno. */
int oauth_way_from_afar(Oauth *o, uid_t uid, const ServiceProfile *profile, const char *label, FlowWay *ret);
/* Where the browser is to go for this flow's consent. */
int oauth_authorization_url(Oauth *o, const Flow *flow, char **ret, Failure *failure);
/* The link to our own page. */
int oauth_page_link(Oauth *o, const char *ticket, char **ret);

/* Who began the flow behind a link's ticket, or behind a state, whatever became of it meanwhile; waits for nothing. -ENOENT: nobody did. */
int oauth_ticket_owner(Oauth *o, const char *ticket, uid_t *ret);
int oauth_state_owner(Oauth *o, const char *state, uid_t *ret);

/* What the user of a device flow has to do; borrowed until the next wait. -ENOENT: nobody waits for such a code. */
typedef struct DevicePrompt {
        const char *user_code, *verification_uri;
        const char *verification_uri_complete; /* NULL: the code has to be typed */
} DevicePrompt;
int oauth_device_prompt(Oauth *o, const char *flow_id, DevicePrompt *ret);

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

/* Makes a quarantined grant the caller's credential. flow_id may be NULL: with a code the grant that it opens is meant, without one the only one with
 * that account that has no code. With both, both have to be right. */
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

/* Refreshing (O6). A credential that this host refreshes is a grant with a refresh token, in custody host or mirror; all others are left as they are.
 *
 * Whether the access token has so little time left that it is to be refreshed before it is used: less than a minute, or than a fifth of its life; also
 * when a refresh was cut off by a crash. Waits for nothing and touches no event source. */
bool oauth_token_is_due(Oauth *o, const Credential *credential);
/* What the credential is called: active, refreshing, needs-reconnect, disconnecting. *ret_reason, borrowed: why, of needs-reconnect; or NULL. */
const char *oauth_credential_state(const Credential *credential, const char **ret_reason);
/* Nothing is known that would keep the token from being refreshed once it is due. */
bool oauth_can_refresh(const Credential *credential);
/* It was given less than a minute ago: what refuses it does not do so for its age. */
bool oauth_token_is_new(const Credential *credential);
/* There is one, and its time is not over as far as the service told. */
bool credential_token_is_good(const Credential *credential);
/* On a fiber: refreshes the token when it is due; least_usec: also when it has less time than that, or than half its life. Any number of callers
 * with the same grant cause one refresh; each may be cancelled. Vault and credential, which must be active, are replaced by what is stored then. 0: the
 * token is the best there is: one that is good is used to its end when no new one can be had. FAILED: NOT_CONNECTED, the grant has ended, and its
 * record says so; UPSTREAM, not now. -EKEYREVOKED: the vault was closed or its credentials taken out of use meanwhile. */
int oauth_fresh_token(Oauth *o, Vault **vault, Credential **credential, uint64_t least_usec, Failure *failure);
/* On a fiber: the service refused the credential's token, as it is in hand (HTTP 401). 0: there is another one by now, worth one more try. FAILED as
 * above; UPSTREAM also when there was a refresh within the last minute: however often a service refuses, that is what there is. */
int oauth_token_refused(Oauth *o, Vault **vault, Credential **credential, Failure *failure);
/* Whoever waits for a refresh of that uid's, for that service (NULL: all), goes on at once with -EKEYREVOKED. What a refresh brings after that is revoked. */
void oauth_end_refresh_waits(Oauth *o, uid_t uid, const char *service);

/* Revokes a credential's tokens upstream (RFC 7009). FAILED: the server could not be told, or offers no way. */
int oauth_revoke_credential(Oauth *o, const Credential *credential, Failure *failure);

/* What a service's MCP server says to a token (mcp-probe.c). */
typedef enum ProbeVerdict {
        PROBE_ACCEPTED,
        PROBE_REFUSED, /* 401: the token is not good, or not any more */
        PROBE_NARROW,  /* 403 with insufficient_scope: good, but not for this */
        PROBE_UNKNOWN, /* nothing was learned about the token */
} ProbeVerdict;
typedef struct Probe {
        ProbeVerdict verdict;
        char *reason;   /* why, for people; NULL: accepted */
        char *scope;    /* NARROW: the scopes that the server names as needed (scope_is_legal()); NULL: none */
        char *revision; /* of MCP that was spoken; NULL: it did not come so far */
        char **tools;   /* the names of its tools, NULL-ended; NULL: it did not come so far */
} Probe;
/* Greets the server, lists its tools and, unless NULL, calls that one without arguments: whether the caller may is the caller of this function's
 * business. upstream: the credential's; -EPERM when the token is not bound to where the profile leads now (V8). 0 with a verdict; other -errno. */
int oauth_probe(Oauth *o, const ServiceProfile *profile, const char *upstream, const Secret *token,
                const char *tool, Probe *ret);
void probe_done(Probe *p);

/* Whether a credential works (O8). */
typedef enum CheckVerdict {
        CHECK_VALID,
        CHECK_INVALID, /* the service does not accept it, or it is known to have ended */
        CHECK_UNKNOWN, /* nothing was learned about it */
} CheckVerdict;
typedef struct Check {
        CheckVerdict verdict;
        char *reason; /* for people; NULL: it is valid without any */
        char *hint;   /* the command that mends it, or NULL */
        Probe probe;  /* empty where no server was asked */
} Check;
/* On a fiber: refreshes the token when that is due, asks the service, and once more after a refresh when the token is refused. Vault and credential, in any
 * state, are replaced by what is stored then. tool: as for oauth_probe(). 0 with a verdict; -EKEYREVOKED as oauth_fresh_token(). */
int oauth_check(Oauth *o, Vault **vault, Credential **credential, const char *tool, Check *ret);
void check_done(Check *c);
