/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "api/logins.h"
#include "audit/audit.h"
#include "identity/principal.h"
#include "identity/users.h"
#include "ipc/server.h"
#include "oauth/oauth.h"
#include "platform/platform.h"
#include "util/worker.h"

/* A rekeying of the store, as far as it concerns this process (admin-rekey.c). */
typedef struct RekeyState {
        Keyring *next; /* prepared: the key that root is about to put in place */
        bool is_running;
        uint64_t n_done, n_total;
        int result;       /* of the last run */
        uid_t failed_uid; /* whose vault stopped it; UID_INVALID */
} RekeyState;

/* Everything the methods work on; made and ended by daemon/manager.c. */

typedef struct RevocationListener RevocationListener;
typedef struct Revocations Revocations;
typedef struct Leavers Leavers;
typedef struct Mirrors Mirrors;
typedef struct Visits Visits;

typedef struct Manager {
        sd_event *event;
        Server *server; /* NULL before there is one, and after */
        Config *config;
        Store *store;
        Keyring *keyring;
        Http *http;
        Oauth *oauth;
        Platform *platform; /* NULL without a workspace key */
        Logins *logins;
        Worker *worker;
        Users *users;
        RevocationListener *revocation_listeners;
        Revocations *revocations;
        Leavers *leavers;
        Mirrors *mirrors;
        Visits *visits;
        RekeyState rekey;
        struct History *history;
        struct Transfer *transfer; /* a backup or restore under way; NULL */
        const char *state_dir;
        int exit_status; /* what the process is to end with; 0 */
        char hostname[256];
} Manager;

/* The interfaces, NULL-ended. */
extern const Interface *const manager_interfaces[];

/* Where a caller comes from, by login uid and audit session (I5). */
typedef struct Origin {
        const char *name; /* "login": of its own login; "elevated": of another user's; "unproven": PAM registered no such login; "unknown": it
                                  * cannot be told, for the process that connected is gone or hidden */
        uid_t login_uid;  /* UID_INVALID: unset */
        uint32_t audit_session; /* UINT32_MAX: unset */
        const Login *login;     /* the caller's own login in that audit session: of ssh, su -l …; NULL */
        const Login *origin; /* the login that the audit session belongs to; NULL unless PAM registered it */
        bool is_elevated;    /* the login uid is set and another one, registered or not */
} Origin;
/* Valid until the next turn of the loop. */
void manager_origin(Manager *m, Call *call, Origin *ret);

/* A record of what the caller did, or was refused within the method: uid, process and origin are filled in. */
void manager_audit(Manager *m, Call *call, AuditEvent event);

/* Goes on with a rekeying that is half done, beside everything else. */
int manager_start_rekey(Manager *m);

/* ServerOptions.admit: refuses, and records, by the method's class and where the caller comes from. */
int manager_admit(Call *call, const Method *method, void *userdata);

/* FAILED, and the journal has a line, when a record that calls of this uid read does not open; 0 when all do. */
int manager_damage(Manager *m, uid_t uid, Failure *failure);
/* Replies for a handler that returned -errno. userdata: the Manager. */
void manager_fault(Call *call, int error, void *userdata);
/* Replies with the failure's error; returns what call_error() returns. */
int manager_reply_failure(Call *call, const Failure *failure);
/* Either: FAILED → manager_reply_failure(), negative → passed on. */
int manager_reply_outcome(Call *call, int r, const Failure *failure);

/* On a fiber: a uid's name, and its vault, which is made when there is none and sealed when it was made for another name. FAILED: none for this
 * caller (not a login user, no account, vault closed, name service away for too long). */
int manager_user(Manager *m, uid_t uid, char **ret_user, Failure *failure);
int manager_open_vault(Manager *m, uid_t uid, const char *user, Vault **ret, Failure *failure);
/* Notes in the vault, once an hour at most, that the uid is that user's by somebody who knows: the name service, or PAM. */
int manager_note_verified(Manager *m, uid_t uid, const char *user);
/* Writes a vault's new state; reason may be NULL. STORE_CONFLICT: somebody else wrote it meanwhile. */
int manager_set_vault_state(Manager *m, Vault *vault, VaultState state, const char *reason);
const char *vault_state_to_string(VaultState state);
/* Both for a call; *ret_user may be NULL. */
int manager_caller(Manager *m, Call *call, char **ret_user, Vault **ret_vault, Failure *failure);

/* The service by name; FAILED when this host has none of that name. */
int manager_service(Manager *m, const char *name, const ServiceProfile **ret, Failure *failure);
const char *custody_to_string(Custody custody);
json_object *account_to_json(const char *id, const char *name);
json_object *strv_to_json(char *const *list);

/* FAILED (NOT_CONNECTED) with exactly the text of O10. */
int failure_not_connected(Failure *failure, const ServiceProfile *profile);

/* Ends the process, which the service manager then starts anew: after the store's file has changed under it. */
#define EXIT_STATUS_RESTART 75 /* EX_TEMPFAIL; RestartForceExitStatus= in the unit */
void manager_restart(Manager *m);
/* FAILED when the store is an older one that nobody has accepted (history.h): then no vault is opened. */
int manager_refuse_old_store(Manager *m, Failure *failure);

extern const Interface interface_store;
extern const Interface interface_vaultd, interface_connect, interface_token, interface_session,
                interface_login, interface_admin, interface_page, interface_web;
