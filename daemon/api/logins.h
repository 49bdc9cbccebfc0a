/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include <systemd/sd-event.h>

#include "util/macro.h"

/* The registered logins: one file each in the runtime folder (tmpfs), so that they survive a restart of the daemon and none survives a reboot. */

/* How many a uid may have at once; root's are not counted. */
#define LOGINS_PER_UID 512U

typedef struct Logins Logins;

typedef struct Login {
        char *id; /* "l-" + 32 hex digits; a label, never evidence */
        uid_t uid;
        char *user, *service, *tty, *rhost; /* tty, rhost: NULL when there is none */
        pid_t leader;
        uint64_t leader_start; /* clock ticks since boot, field 22 of /proc/PID/stat: tells a reused pid apart */
        uint32_t audit_session; /* UINT32_MAX: none */
        uint64_t opened_usec;
} Login;

/* Reads what a former daemon left, dropping files that do not read and logins whose leader is gone. */
int logins_new(sd_event *event, const char *folder, Logins **ret);
Logins *logins_free(Logins *l);
DEFINE_CLEANUP(Logins *, logins_free)

/* Registers a login and watches its leader; when that ends, so does the login. Fills in id, leader_start, audit_session and opened_usec. Texts are copied. -ESRCH: the leader is gone;
 * -EDQUOT: the uid has LOGINS_PER_UID. */
int logins_open(Logins *l, const Login *login, const Login **ret);
/* *ret_user is malloc()ed. -ENOENT. */
int logins_close(Logins *l, const char *id, uid_t *ret_uid, char **ret_user);
/* Calls ended() when the last login of a uid with some audit session is over, however that is noticed. Borrowed for the call, which must not ask
 * for logins. */
void logins_watch(Logins *l, void (*ended)(const Login *login, void *userdata), void *userdata);
/* The login of that uid with that audit session, whose leader still lives; NULL. */
const Login *logins_find(Logins *l, uid_t uid, uint32_t audit_session);
/* The uid's logins whose leaders live, one after the other: start with NULL. */
const Login *logins_next(Logins *l, uid_t uid, const Login *after);
