/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>
#include <syslog.h>

#include <systemd/sd-event.h>

#include "util/macro.h"

/* What happened, for whom, with which outcome: one journal line with fields each (U1). No secret ever gets here. */

typedef enum AuditKind {
        AUDIT_VAULT_CREATED,
        AUDIT_LOGIN_OPENED,
        AUDIT_LOGIN_CLOSED,
        AUDIT_CONNECT_BEGUN,
        AUDIT_CONNECT_REFUSED,
        AUDIT_GRANT_QUARANTINED,
        AUDIT_GRANT_CLAIMED,
        AUDIT_GRANT_REVOKED,
        AUDIT_CLAIM_REJECTED,
        AUDIT_DISCONNECTED,
        AUDIT_PLATFORM_VAULT,
        AUDIT_CREDENTIAL_PUSHED,
        AUDIT_SESSION_STARTED,
        AUDIT_SESSION_REFUSED,
        AUDIT_CALL,
        AUDIT_VAULT_SEALED,
        AUDIT_VAULT_LOCKED,
        AUDIT_VAULT_UNLOCKED,
        AUDIT_VAULT_UNSEALED,
        AUDIT_VAULT_SET_ASIDE,
        AUDIT_TOKEN_READ,
        AUDIT_TOKEN_KEPT,
        AUDIT_BACKED_UP,
        AUDIT_RESTORED,
        AUDIT_STORE_ACCEPTED,
        AUDIT_VAULT_DESTROYED,
        AUDIT_RECOVERY_KEY,
        AUDIT_REKEY_BEGUN,
        AUDIT_REKEY_DONE,
        AUDIT_REVOKED,
        AUDIT_TOKEN_REFRESHED,
        AUDIT_NEEDS_RECONNECT,
        AUDIT_PAGE_OPENED,
        AUDIT_DISCONNECT_OFFERED,
} AuditKind;

/* Where a caller comes from. Decoration: a pid's files in /proc. */
typedef struct AuditOrigin {
        const char *name;       /* "login", "elevated", "unproven", "unknown" */
        uid_t login_uid;        /* UID_INVALID: unset */
        uint32_t audit_session; /* UINT32_MAX: unset */
        const char *cgroup;     /* NULL: not known */
        const char *container;  /* "yes", "no", "unknown"; NULL: not asked */
        const char *groups;     /* the peer's when it connected, numbers; NULL: not asked */
} AuditOrigin;

typedef struct AuditEvent {
        AuditKind kind;
        uid_t uid;
        const char *user;
        const char *verdict;                              /* "done", "admitted", "refused", "failed" */
        const char *reason;                               /* for people; NULL when done */
        const char *service, *account, *session, *object; /* NULL where they do not apply */
        pid_t pid;                                        /* 0: no caller */
        const AuditOrigin *origin;                        /* where the caller comes from; NULL: not asked */
} AuditEvent;

/* Writes the record, at once or not at all. What was done (its verdict is "done") is always written. */
void audit_record(const AuditEvent *event);

/* A line, no record, that this uid can cause at will: out of the same budget. */
void audit_line(int level, uid_t uid, const char *format, ...) _printf_(3, 4);

/* From now on the other records, which a caller can cause at will, have a budget for each uid (ipc/log-budget.h); those from strangers_from on
 * share one (0: none do). Before, and after audit_close(), there is none. */
int audit_open(sd_event *event, uid_t strangers_from);
/* Writes the counts that are still owed. */
void audit_close(void);
