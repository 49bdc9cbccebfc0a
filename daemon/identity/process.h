/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "util/macro.h"

/* What /proc says about a process. All of it is told about whoever has that pid *now*; principal_is_same_process() tells
 * whether that is still the peer of a socket. All return -ESRCH when the process is gone or hidden (hidepid=, proc(5)). */

/* Field 22 of /proc/PID/stat: clock ticks from boot to its start. With the pid it names a process for good. */
int process_read_start(pid_t pid, uint64_t *ret);

/* /proc/PID/loginuid and sessionid (pam_loginuid(8)); UID_INVALID and UINT32_MAX where unset, and on kernels without audit. */
int process_read_login(pid_t pid, uid_t *ret_login_uid, uint32_t *ret_audit_session);

/* Its control group: of the unified hierarchy, or systemd's own where that one is not used. malloc()ed. */
int process_read_cgroup(pid_t pid, char **ret);

/* 1: its user namespace maps uids otherwise than the host does; 0: it does not. */
int process_has_own_uids(pid_t pid);
/* 1: it lives in a user or pid namespace below ours or has another root folder than we, as in a container; 0: it does not. A mount
 * namespace alone, such as PrivateTmp= of systemd.exec(5) makes, is not one: what counts of the host is still there. */
int process_is_contained(pid_t pid);
