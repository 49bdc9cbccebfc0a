/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "http/http.h"
#include "policy/config.h"
#include "store/records.h"
#include "util/failure.h"

/* The Claude Platform (Managed Agents), as far as vaultd needs it: one platform vault per local vault,
 * its credentials, environments, agents, sessions. Requirements V3, V4, S1, S3, S8. Everything that
 * waits must be called on a fiber. Results: 0 (the failure is empty then), FAILED with a PLATFORM failure
 * unless another kind is named below, or -errno.
 *
 * A create is never repeated blindly, since the platform knows no idempotency keys: a 128-bit nonce is
 * durable before the request and travels in the object's metadata; an ambiguous answer (or a restart)
 * leads to looking for it, adopting exactly one match that was created after the nonce and is as empty
 * as a new one, and creating only when the look finds none. Names, uids and tags are never believed. */

typedef struct Platform Platform;

typedef struct PlatformOptions {
        Http *http;
        Store *store;
        Keyring *keyring;
        const Config *config;
        const Secret *workspace_key; /* copied */
        const char *hostname;
} PlatformOptions;

int platform_new(const PlatformOptions *options, Platform **ret);
Platform *platform_free(Platform *p);
DEFINE_CLEANUP(Platform *, platform_free)

/* Makes sure the vault has its platform vault: creates or finds it again, records its id. *vault is
 * replaced by what is stored then. VAULT_CLOSED: it is not active any more. Takes up to twice AdoptWait=
 * when the platform leaves it open what became of the request. */
int platform_ensure_vault(Platform *p, Vault **vault, Failure *failure);

/* Puts the credential into the vault's platform vault as its custody says: mirror: access token without
 * a refresh block; platform: both tokens, and the refresh token is forgotten here once the platform has
 * it; host: NOT_ALLOWED. Creates, updates in place, or archives and creates where an immutable
 * field differs. *credential is replaced by what is stored then. NOT_CONNECTED: the access has ended, or
 * the platform held the grant and has it no more, or it was disconnected meanwhile. -EPERM: the credential
 * is another uid's. */
int platform_put_credential(Platform *p, Vault **vault, Credential **credential, Failure *failure);
/* Archives it there, also one that a crash kept out of the record (so it is worth calling without a
 * platform_credential_id); absent there is fine. */
int platform_archive_credential(
                Platform *p, const Vault *vault, const Credential *credential, Failure *failure);

/* What a session may use. */
typedef struct SessionPlan {
        const ServiceProfile **services; /* n */
        const ServerPolicy **policies;   /* n; NULL entry: every tool off */
        const Credential **credentials;  /* n */
        size_t n;
        const char *model;
} SessionPlan;

/* Creates the session bound to exactly this vault, which must have its platform vault
 * (platform_ensure_vault() first; otherwise -EINVAL) and own every credential of the plan (otherwise
 * -EPERM), with an agent and an environment for exactly these servers (shared between sessions, found by
 * the digest of their definition; limited network that lets the agent's MCP servers through; built-in
 * toolset off; MCP tools: off by default, listed ones always_allow or always_ask). message NULL: idle.
 * The returned record is stored. LIMIT: more than 20 servers, or a title beyond 100 printable characters. */
int platform_start_session(Platform *p, const Vault *vault, const SessionPlan *plan, const char *title,
                const char *message, AgentSession **ret, Failure *failure);

/* Present status and vault ids of a session of ours, as the platform says. One whose create is not
 * finished is "starting". NOT_FOUND: the platform has it no more. */
typedef struct SessionStatus {
        char *status;
        bool is_archived;
        char *title;
        char **vault_ids;
} SessionStatus;
int platform_session_status(Platform *p, const AgentSession *session, SessionStatus *ret, Failure *failure);
void session_status_done(SessionStatus *s);

/* Finishes what a crash left: sessions and vaults whose nonce is stored and whose id is not. Runs at
 * start, beside the first calls; a session whose create is found is kept, one that is not there is
 * forgotten. Agents and environments are finished by the next session that needs them, which knows what
 * they must be like. FAILED: the platform could not be asked about some of it; nothing of that is
 * forgotten, and the next start of vaultd (for sessions also the same user's next session) tries again. */
int platform_recover(Platform *p);
