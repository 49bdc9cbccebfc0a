/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "client/call.h"

/* What the ways of connecting share: the request, the flow in vaultd's replies, and the claim at the end. */

typedef struct Connect {
        const Context *context;
        const char *service;
        const char *label;   /* NULL: the default one */
        const char *account; /* the account id that is expected, or NULL */
        const char *scope;   /* OAuth scopes to ask for besides, or NULL */
        const char *user;    /* the caller's name, as vaultd says */
        bool replaces_account;
        bool may_open_browser;
        bool is_yes;
} Connect;

/* One reply of Start or Paste; texts are borrowed from it. */
typedef struct Flow {
        const char *id;
        const char *state;
        const char *title;
        const char *link; /* NULL where the reply has none, like all that follow */
        const char *authorization_url;
        const char *user_code, *verification_uri, *verification_uri_complete;
        const char *host;
        int64_t port;         /* 0: none */
        int64_t expires_usec; /* realtime; 0: not said */
        json_object *account;
} Flow;

/* The ways. 0: connected and said so; CONNECT_PASTE_INSTEAD: the user asked for the other way; FAULT_SET. */
#define CONNECT_PASTE_INSTEAD 1
/* from_afar: the browser is on another computer, so vaultd chooses between this way and the next. */
int connect_by_page(const Connect *connect, bool from_afar, Fault *fault);
int connect_by_paste(const Connect *connect, Fault *fault);
int connect_by_device(const Connect *connect, Fault *fault);
/* The rest of pasting, for a flow that vaultd has begun that way. */
int connect_paste(const Connect *connect, json_object *pending, const Flow *flow, Fault *fault);
/* With a token from standard input; asks for a yes to its account. 0: connected and said so; FAULT_SET. */
int connect_by_token(const Connect *connect, Fault *fault);

/* The parameters of Start; NULL on -ENOMEM. */
json_object *connect_parameters(const Connect *connect, const char *way);
/* Begins a flow; *ret_flow borrows from *ret_reply, the last reply comes on *ret_call. From here on ^C is caught. 0 or FAULT_SET. */
int connect_start(const Connect *connect, const char *way, Call **ret_call, json_object **ret_reply,
                Flow *ret_flow, Fault *fault);
/* Waits for the last reply and says so in a line that is replaced ("Waiting for the browser"). 0 and a new reference to it,
 * CONNECT_PASTE_INSTEAD (only when that is offered), or FAULT_SET. */
int connect_wait(const Connect *connect, Call *call, const Flow *flow, const char *what, bool offers_paste,
                json_object **ret, Fault *fault);
/* One call that may take long, about a flow that ^C gives up. parameters are taken. 0 or FAULT_SET. */
int connect_call(const Connect *connect, const Flow *flow, const char *method, json_object *parameters,
                json_object **ret, Fault *fault);
/* After ^C: gives the flow (NULL: none) up. Always returns FAULT_SET. */
int connect_interrupted(const Connect *connect, const Flow *flow, Fault *fault);
/* The user's yes to the account of a quarantined flow; a no gives the flow up. how: the option of this way, for the hint where nobody answers. 0 or FAULT_SET. */
int connect_ask_account(const Connect *connect, const Flow *flow, const char *how, Fault *fault);
/* Claims a quarantined flow by the code of the page or the account (the other is NULL), and says what is connected now. 0 or FAULT_SET. */
int connect_claim(const Connect *connect, const Flow *flow, const char *code, const char *account,
                Fault *fault);
/* Claims a quarantined flow by the account that was agreed to, and says what is connected now. 0 or FAULT_SET. */
int connect_claim_account(const Connect *connect, const Flow *flow, Fault *fault);
/* Reads and checks a reply that must be in this state. 0 or FAULT_SET. */
int flow_read(json_object *reply, const char *state, Flow *ret, Fault *fault);
/* Shows the account of a quarantined flow. When another one was expected, gives the flow up. 0 or FAULT_SET. */
int flow_check_account(const Connect *connect, const Flow *flow, Fault *fault);
/* Asks vaultd to give the flow up. False: it is not there any more, or vaultd cannot be asked. */
bool flow_cancel(const Connect *connect, const Flow *flow);
/* Says what a reply of Claim or Keep made the caller's. 0 or FAULT_SET. */
int connected_say(const Context *c, json_object *reply, Fault *fault);
/* Says what a reply of Disconnect or Page.Confirm took away (cmd-disconnect.c). 0 or FAULT_SET. */
int disconnected_say(const Context *c, json_object *reply, Fault *fault);
/* Calls Claim on a fresh connection and says what is connected now. parameters are taken. 0 or FAULT_SET. */
int claim_call(const Context *c, json_object *parameters, Fault *fault);

/* An address that may be shown as a link and handed to a browser: https, or http on loopback; printable ASCII without blanks and
 * without a user name; at most max bytes. */
bool link_is_acceptable(const char *url, size_t max);
bool link_is_loopback(const char *url);
/* The ssh command that makes a loopback port of host answer on the user's own computer, safe to paste into a shell. -EINVAL when
 * host, user or port could not be part of one. */
int format_ssh_command(const char *user, const char *host, int64_t port, char **ret);
