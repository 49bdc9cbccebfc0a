/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "util/macro.h"

/* The two calls of io.vaultd.Login, as the module makes them. No PAM in here. */

typedef struct Login {
        uid_t uid;
        const char *user;
        const char *service;
        const char *tty;   /* may be NULL */
        const char *rhost; /* may be NULL */
        pid_t leader;
} Login;

/* Why a login has no vault: a text for the log, without anything that the peer could have put there unfiltered. */
typedef struct LoginFailure {
        char text[160];
        bool is_no_vault_user; /* the daemon says that users of this kind have none (io.vaultd.NotAllowed) */
} LoginFailure;

/* Registers the login before deadline_usec (CLOCK_MONOTONIC). 0 and the malloc()ed id of the login session: 1 to 128
 * characters of A-Z a-z 0-9 - _ . only, and
 * what vaultd has to say to the user, lines of any text (malloc()ed; NULL: nothing); or -errno with *ret_failure filled. The listener must be root or our own
 * effective uid. */
int login_open(const char *socket, const Login *login, uint64_t deadline_usec, char **ret_session,
                char **ret_notice, LoginFailure *ret_failure);

/* Says that the login has ended, and waits for nothing: a busy or absent daemon gets no more than deadline_usec. */
int login_close(const char *socket, const char *session, uint64_t deadline_usec);
