/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "api/manager.h"
#include "audit/audit.h"
#include "store/credential-select.h"

/* How a service, and an account of it, is called: labels, "service:label", and the one credential that is meant. */

#define LABEL_DEFAULT "default"

/* 1 to 32 of a-z, 0-9 and dash. */
bool label_is_valid(const char *label);

/* "notion" or "notion:work". The texts are malloc()ed; *ret_label NULL: not said. -EINVAL, -ENOMEM. */
int service_reference_parse(const char *text, char **ret_service, char **ret_label);

/* The caller's one credential for the service, label NULL: whichever there is. FAILED: there is none, it needs a new connect, or there are
 * several (NOT_ALLOWED, with their labels; say is the command that chooses, "vaultctl token notion:LABEL"). */
int manager_choose_credential(Manager *m, const Vault *vault, const ServiceProfile *profile,
                const char *label, const char *say, Credential **ret, Failure *failure);

/* FAILED (NOT_CONNECTED): there is a credential, but only a new connect makes it usable. what: "have expired". */
int failure_reconnect(Failure *failure, const ServiceProfile *profile, const char *label, const char *what);

const char *credential_kind_to_string(CredentialKind kind);
const char *flow_state_to_string(FlowState state);

/* connect.c, connect-token.c and disconnect.c: one interface in three files. */
int method_connect_check(Call *call, json_object *parameters, void *userdata);
int method_connect_identify(Call *call, json_object *parameters, void *userdata);
int method_connect_disconnect(Call *call, json_object *parameters, void *userdata);
int method_connect_keep(Call *call, json_object *parameters, void *userdata);
/* On a fiber: takes the credential out of use for good, has it revoked upstream, and replies with what became of it. */
int connect_disconnect(
                Manager *m, Call *call, const char *user, Vault **vault, Credential **c, Failure *failure);
/* FAILED: the service is not connected in a browser. */
int connect_check_grant(const ServiceProfile *profile, Failure *failure);
/* Records that the credential is the caller's now, gives it to the platform where its custody says so, and replies. */
int connect_reply(Manager *m, Call *call, AuditKind kind, const char *user, Vault **vault, Credential **c);
