/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

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
} AuditKind;

typedef struct AuditEvent {
        AuditKind kind;
        uid_t uid;
        const char *user;
        const char *verdict; /* "done", "refused", "failed" */
        const char *reason;  /* for people; NULL when done */
        const char *service, *account, *session, *object; /* NULL where they do not apply */
        pid_t pid;           /* 0: no caller */
} AuditEvent;

void audit_record(const AuditEvent *event);
