/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/keyring.h"
#include "store/store.h"

/* What the store holds, typed. record.[ch] has the tagged encoding, X-record.c each type's table and look-ups. Each type has:
 *
 * - x_record_read(store, keyring, …, X **ret) → 0, -ENOENT, -EBADMSG (does not open: damaged, swapped, another KEK).
 * - x_record_put(batch, keyring, x): adds the put, with the expectation that the stored value is the one that was read (or absent
 *   for a new one), so two writers cannot overwrite each other: the loser gets STORE_CONFLICT. After a commit the object in hand
 *   is what *was* stored: read it anew before the next put. -EINVAL: a required member is missing or out of range.
 * - x_record_delete(batch, x): the same expectation.
 * - x_free().
 *
 * Strings are malloc()ed; NULL where optional. Times are CLOCK_REALTIME microseconds. Secrets are sealed; in sealed records (vault,
 * credential, flow, client) the clear members are authenticated too. A put of several records in one batch is all or nothing. */

typedef enum VaultState { VAULT_ACTIVE, VAULT_SEALED, VAULT_LOCKED } VaultState;

typedef struct Vault {
        uid_t uid;
        char *id;   /* "v-" + 32 hex digits */
        char *user; /* name under which it was made */
        VaultState state;
        uint64_t created_usec;
        char *platform_vault_id;
        char *platform_nonce;         /* 32 hex digits, written before the create request */
        uint64_t platform_nonce_usec; /* when */
        char *reason;                 /* why it is sealed or locked, for administrators; NULL */
        uint64_t state_usec;          /* when the state was last changed; 0: never */
        uint64_t verified_usec; /* when the name service last said that the uid is `user`'s, to the hour */
        uint64_t key_usec;      /* when the data key was made; 0: with the vault */
        Secret *key;            /* data key, unwrapped */
        Buffer wrapped;         /* the same as it is stored: these bytes change only with the key */
        Buffer stored;          /* as read; empty for a new one */
} Vault;

/* Makes a new, unsaved vault. */
int vault_new(Keyring *k, uid_t uid, const char *user, Vault **ret);
int vault_record_read(Store *s, Keyring *k, uid_t uid, Vault **ret);
int vault_record_put(StoreBatch *b, Keyring *k, const Vault *v);
/* Gives the vault in hand another data key. Everything that is sealed under the old one has to be sealed anew with it. */
int vault_new_key(Keyring *k, Vault *v);
/* Wraps its data key by another keyring, for a store of another key. */
int vault_rewrap(Keyring *k, Vault *v);
/* Adds the expectation that the vault still has the data key in hand. Whatever is sealed under it needs this: a vault that was
 * destroyed, set aside or given a new key meanwhile would get a record that nothing opens. */
int vault_expect_key(StoreBatch *b, const Vault *v);

/* The clear part of a vault, read without any key and therefore not authenticated: for showing only. Whoever decides something or
 * opens a record reads the whole vault. 0; -ENOENT; -EBADMSG (damaged, or a name that does not fit); -ENOMEM, -EIO. */
typedef struct VaultSummary {
        char id[64];
        char user[256];
        VaultState state;
        bool is_half_made; /* it has a nonce and no id: something may have been created at the platform for it */
} VaultSummary;
int vault_record_peek(Store *s, uid_t uid, VaultSummary *ret);
/* The next vaults in order of uid, from *from on and at most n_max of them: for going through all of them without holding up the loop
 * or holding a list (there may be a million). summary is NULL where vault_record_peek() would fail; visit ends the walk with a non-zero
 * result, which is returned. 0: that was the last; VAULTS_GO_ON: call again, *from is where; -EIO. Vaults that are made or go
 * between two calls may be met or not. */
enum {
        VAULTS_GO_ON = 1,
};
typedef int (*VaultVisit)(uid_t uid, const VaultSummary *summary, void *userdata);
int vault_record_walk(Store *s, uid_t *from, size_t n_max, VaultVisit visit, void *userdata);
/* The uids that have a vault, ascending. *ret is malloc()ed, NULL when there is none. */
int vault_record_uids(Store *s, uid_t **ret, size_t *ret_n);
/* Calls visit for every record that is the vault's: its own, credentials, flows, agent sessions, pinned accounts. As store_foreach(). */
int vault_records_foreach(Store *s, uid_t uid, const char *vault_id, StoreVisit visit, void *userdata);
/* Adds to the batch: all of them go under RECORD_ASIDE, where no method finds them, byte for byte, so still sealed under the vault's own
 * key. The uid is then without a vault. Like vault_destroy() only inside store_exclusive(): what is queued by others meanwhile
 * would be in neither. */
int vault_set_aside(Store *s, StoreBatch *b, const Vault *v);
/* What lies there: the key under which the record belongs, and how many bytes stand before it in the value. -EBADMSG. */
int vault_aside_decode(const StoreKey *key, const uint8_t *value, size_t size, StoreKey *ret_inner,
                size_t *ret_head);
bool vault_aside_is_of(const StoreKey *key, const Vault *v);
/* Adds to the batch the deletes of all that is the vault's, its data key with it, whether it opens or not; *ret_n: how many records. What
 * the file still holds of them is erased by store_scrub(). */
int vault_destroy(Store *s, StoreBatch *b, uid_t uid, const char *vault_id, uint64_t *ret_n);
/* The same of all that was ever set aside for the uid. */
int vault_destroy_aside(Store *s, StoreBatch *b, uid_t uid, uint64_t *ret_n);
Vault *vault_free(Vault *v);
DEFINE_CLEANUP(Vault *, vault_free)

/* What kind of secret it is (V5). Stored numbers: never given another meaning. */
typedef enum CredentialKind {
        CREDENTIAL_OAUTH, /* a grant: access token, refresh token where there is one */
        CREDENTIAL_STATIC_BEARER, /* access_token is what the user was given by the service; nothing refreshes it. NULL: the platform has it */
        CREDENTIAL_ENVIRONMENT, /* access_token is the value of `variable`, to be sent to allowed_hosts only */
} CredentialKind;

typedef enum CredentialState {
        CREDENTIAL_ACTIVE,
        CREDENTIAL_NEEDS_RECONNECT,
        CREDENTIAL_DISCONNECTING
} CredentialState;

/* Whom it stands for (V7), the most specific first. What a person connects is that user's; the wider ones are service accounts. */
typedef enum CredentialLevel {
        CREDENTIAL_USER,
        CREDENTIAL_AGENT,
        CREDENTIAL_PROJECT,
        CREDENTIAL_GLOBAL
} CredentialLevel;

/* What an authorization server told us about itself; part of flows and credentials. */
typedef struct Authority {
        char *issuer;
        char *authorization_endpoint;
        char *token_endpoint;
        char *revocation_endpoint; /* optional */
        char *userinfo_endpoint;   /* optional */
        char *client_id;
        char *client_auth_method; /* none, client_secret_basic, client_secret_post */
        char *revocation; /* how to revoke: "delete", "bearer", "none" (enum RevocationWay); NULL: RFC 7009 */
        char *revoked_answers; /* what says that nothing is left to revoke, between blanks; NULL: nothing does */
        bool iss_supported;       /* authorization_response_iss_parameter_supported */
} Authority;
void authority_done(Authority *a);
int authority_copy(const Authority *a, Authority *ret);

/* A refresh token is sent at most twice when the answer may have been lost (RFC 9700 section 4.14: the second time it counts as stolen). */
#define REFRESH_ATTEMPTS_MAX 2U

typedef struct Credential {
        uid_t uid;
        char *service, *label; /* label "default" unless told */
        char *id;              /* "c-" + 32 hex digits */
        char *upstream;        /* exact MCP URL (V8) */
        char *resource;        /* RFC 8707 string, byte for byte */
        Authority authority;
        char *scope;
        char *asked_scope; /* what its grant was asked with; NULL: the same as scope, which the server may have cut down */
        char *account_id, *account_name;
        uint64_t created_usec;
        uint64_t expires_usec; /* of the access token; 0: not told */
        int custody;           /* enum Custody of policy/config.h, resolved, never AUTO */
        CredentialKind kind;   /* records of before there were kinds: CREDENTIAL_OAUTH */
        CredentialLevel level; /* likewise CREDENTIAL_USER; not to be mistaken for `scope`, which is OAuth's */
        CredentialState state;
        char *state_reason;   /* why it needs a new connect, for its user; NULL */
        char *variable;       /* of CREDENTIAL_ENVIRONMENT: the variable's name, required; else NULL */
        char **allowed_hosts; /* of CREDENTIAL_ENVIRONMENT: NULL-ended host names, at least one; else NULL */
        char *platform_credential_id;
        uint64_t revoked_usec; /* of a revocation: when it was begun; 0: it is none */
        uint64_t obtained_usec; /* when this access token was given; 0: when the credential was made */
        unsigned refresh_attempt; /* how often this refresh token was sent, or was about to be, without an answer that is known; 0: it is unused */
        Secret *access_token,
                        *refresh_token; /* sealed; refresh_token NULL where the platform owns it or none was given */
        Secret *client_secret;
        Buffer stored;
} Credential;

int credential_record_read(
                Store *s, const Vault *v, const char *service, const char *label, Credential **ret);
int credential_record_put(StoreBatch *b, const Vault *v, const Credential *c);
int credential_record_delete(StoreBatch *b, const Credential *c);
/* All of the vault's credentials, in key order. service NULL: all. *ret may be NULL when there is none. -EBADMSG if one does not open. */
int credential_record_list(Store *s, const Vault *v, const char *service, Credential ***ret, size_t *ret_n);
Credential *credential_free(Credential *c);
DEFINE_CLEANUP(Credential *, credential_free)
void credential_list_free(Credential **list, size_t n);

/* A revocation is a credential that was moved to RECORD_REVOCATION: nothing that uses credentials looks there, and what revoking upstream
 * takes (tokens, authority, the platform's id) stays until it is done. Sealed by the same vault.
 *
 * Adds to the batch the move of every credential of the vault (service NULL: of all services) and tells which: *ret is to be freed with
 * credential_list_free(). What does not open cannot be used by anybody, stays, and is counted. */
int revocation_record_begin(Store *s, StoreBatch *b, const Vault *v, const char *service, Credential ***ret,
                size_t *ret_n, size_t *ret_n_damaged);
/* Adds to the batch the move of this one alone, which must be as it was read; it says itself then that it is one. -EINVAL: it is another vault's. */
int revocation_record_move(StoreBatch *b, const Vault *v, Credential *c);
/* The revocations of that uid, or of all (UID_INVALID), in key order. What does not open is passed over: nobody can revoke with it. */
int revocation_record_list(Store *s, Keyring *k, uid_t uid, Credential ***ret, size_t *ret_n);
int revocation_record_read(Store *s, const Vault *v, const char *id, Credential **ret);
int revocation_record_delete(StoreBatch *b, const Credential *c);

typedef enum FlowState {
        FLOW_PENDING,     /* link handed out */
        FLOW_CONTINUED,   /* our page was left for the provider (single use of the link) */
        FLOW_EXCHANGING,  /* code received, written before the token request */
        FLOW_QUARANTINED, /* tokens parked, waits for the claim */
        FLOW_REVOKING,    /* unclaimed or refused: revoke upstream, then erase */
} FlowState;

typedef enum FlowWay { FLOW_WAY_PAGE, FLOW_WAY_PASTE, FLOW_WAY_DEVICE } FlowWay;

typedef struct Flow {
        uint8_t state_digest[32]; /* key: SHA-256 of the state parameter */
        uid_t uid;
        char *id; /* "f-" + 32 hex digits: what the beginning uid calls it */
        char *vault_id;
        char *user, *host;
        char *service, *label;
        char *upstream, *resource, *scope, *redirect_uri;
        char *asked_scope; /* like Credential's */
        char *pushed_endpoint; /* where the server wants the request beforehand (RFC 9126); NULL: nowhere */
        Authority authority;
        FlowState state;
        FlowWay way;
        uint64_t created_usec, expires_usec;
        uint8_t ticket_digest[32]; /* SHA-256 of the page ticket */
        uint8_t claim_mac[32];     /* keyring_mac("claim", code) */
        unsigned tries_left;
        bool is_replacing_account;
        char *account_id, *account_name;
        uint64_t token_expires_usec;
        Secret *state_text;                   /* sealed */
        Secret *code_verifier;                /* sealed */
        Secret *client_secret;                /* sealed, optional */
        Secret *access_token, *refresh_token; /* sealed, once quarantined */
        Secret *device_code;                  /* sealed; of FLOW_WAY_DEVICE (RFC 8628) */
        Buffer stored;
} Flow;

/* Flows are found before their uid is known; the vault's key is looked up by the uid inside, which the seal confirms. */
int flow_record_read(Store *s, Keyring *k, const uint8_t state_digest[static 32], Flow **ret);
int flow_record_find_ticket(Store *s, Keyring *k, const uint8_t ticket_digest[static 32], Flow **ret);
/* All flows, of that uid unless UID_INVALID. What does not open is passed over: whose it is cannot be told. */
int flow_record_list(Store *s, Keyring *k, uid_t uid, Flow ***ret, size_t *ret_n);
int flow_record_put(StoreBatch *b, const Vault *v, const Flow *f);
int flow_record_delete(StoreBatch *b, const Flow *f);
Flow *flow_free(Flow *f);
DEFINE_CLEANUP(Flow *, flow_free)
void flow_list_free(Flow **list, size_t n);

/* Dynamic registration of this host at one issuer (RFC 7591); sealed under a data key of the host itself (uid
 * UID_INVALID, vault id "host") that the record carries wrapped. */
typedef struct Client {
        char *issuer, *redirect_uri;
        char *client_id, *auth_method;
        char *scope;                       /* what it was registered with; NULL: nothing was said of scopes */
        uint64_t registered_usec;          /* 0: long ago */
        uint64_t secret_expires_usec;      /* 0: never */
        Secret *client_secret;             /* optional */
        Secret *registration_access_token; /* optional */
        Buffer stored;
} Client;
int client_record_read(Store *s, Keyring *k, const char *issuer, const char *redirect_uri, Client **ret);
int client_record_put(StoreBatch *b, Keyring *k, const Client *c);
int client_record_delete(StoreBatch *b, const Client *c);
/* Adds every registration whose key is not wrapped by the key in force, with another key; *ret_n: how many. */
int client_record_rekey(Store *s, Keyring *k, StoreBatch *b, size_t *ret_n);
/* How many there are, and how many of them do not open. */
int client_record_check(Store *s, Keyring *k, uint64_t *ret_n, uint64_t *ret_damaged);
Client *client_free(Client *c);
DEFINE_CLEANUP(Client *, client_free)

/* An agent session: pending under "new-" + nonce, then under the platform's id. */
typedef struct AgentSession {
        uid_t uid;   /* owner */
        char *id;    /* platform session id, or "new-" + nonce while being created */
        char *nonce; /* 32 hex digits */
        char *title;
        char *agent_id;
        int64_t agent_version;
        char *environment_id;
        char *platform_vault_id; /* the one vault it was bound to */
        char **servers;          /* NULL-ended service names */
        char **accounts;         /* same order and number: account names shown before the start */
        uint64_t created_usec;
        Buffer stored;
} AgentSession;
int agent_session_record_read(Store *s, uid_t uid, const char *id, AgentSession **ret);
int agent_session_record_put(StoreBatch *b, const AgentSession *a);
int agent_session_record_delete(StoreBatch *b, const AgentSession *a);
int agent_session_record_list(Store *s, uid_t uid, AgentSession ***ret, size_t *ret_n);
/* Adds to the list what is being created ("new-") of the next records of all users, from uid *from on: looks at n_max of them, and at the
 * rest of the last one's user. 0, VAULTS_GO_ON as vault_record_walk(); -EBADMSG, -ENOMEM, -EIO. The list is to be freed either way. */
int agent_session_record_walk_new(Store *s, uid_t *from, size_t n_max, AgentSession ***list, size_t *n);
AgentSession *agent_session_free(AgentSession *a);
DEFINE_CLEANUP(AgentSession *, agent_session_free)
void agent_session_list_free(AgentSession **list, size_t n);

/* A thing of ours on the platform that many sessions share (agent, environment), by the digest of what we wrote. */
typedef struct PlatformObject {
        RecordKind kind; /* RECORD_AGENT or RECORD_ENVIRONMENT */
        char *digest;    /* hex */
        char *nonce;     /* written before the create */
        uint64_t nonce_usec;
        char *platform_id; /* NULL while being created */
        int64_t version;
        Buffer stored;
} PlatformObject;
int platform_object_record_read(Store *s, RecordKind kind, const char *digest, PlatformObject **ret);
int platform_object_record_put(StoreBatch *b, const PlatformObject *o);
int platform_object_record_delete(StoreBatch *b, const PlatformObject *o);
PlatformObject *platform_object_free(PlatformObject *o);
DEFINE_CLEANUP(PlatformObject *, platform_object_free)

/* The upstream account a user first connected for a service; outlives disconnect. */
typedef struct PinnedAccount {
        uid_t uid;
        char *service, *label;
        char *account_id, *account_name;
        Buffer stored;
} PinnedAccount;
int pinned_account_record_read(
                Store *s, uid_t uid, const char *service, const char *label, PinnedAccount **ret);
int pinned_account_record_put(StoreBatch *b, const PinnedAccount *p);
PinnedAccount *pinned_account_free(PinnedAccount *p);
DEFINE_CLEANUP(PinnedAccount *, pinned_account_free)
