/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "support.h"

/* One filled object of each type, every member set, and what all types have in common for the tests. */

Credential *sample_credential(uid_t uid, const char *service, const char *label);
/* Kind, variable and hosts too. */
Credential *sample_environment_credential(uid_t uid, const char *service, const char *label);
Flow *sample_flow(const Vault *v, uint8_t fill);
Client *sample_client(void);
AgentSession *sample_agent_session(uid_t uid, const char *id);
PlatformObject *sample_platform_object(RecordKind kind);
PinnedAccount *sample_pinned_account(uid_t uid, const char *service);

void save_credential(Fixture *f, const Vault *v, const Credential *c);
void save_flow(Fixture *f, const Vault *v, const Flow *flow);
void save_client(Fixture *f, const Client *c);
void save_agent_session(Fixture *f, const AgentSession *a);
void save_platform_object(Fixture *f, const PlatformObject *o);
/* Of a credential that is moved there; its place is free then. */
void save_revocation(Fixture *f, const Vault *v, const char *service);
void save_pinned_account(Fixture *f, const PinnedAccount *p);
