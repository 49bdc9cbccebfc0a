/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "util/worker.h"

/* Names of users, by NSS (getpwuid_r(3)). */
typedef struct Users Users;

/* How long a name that was looked up is at hand without asking again. */
#define USERS_AT_HAND_USEC (60 * USEC_PER_SEC)

/* How long one look-up may take; one that takes longer counts as an outage, for everybody until it comes back. */
#define USERS_WAIT_USEC (4 * USEC_PER_SEC)

/* passwd_file: any change of it makes all names be asked anew; /etc/passwd but in tests. Both are borrowed for the life of the Users. */
int users_new(Worker *w, const char *passwd_file, Users **ret);
Users *users_free(Users *u);
DEFINE_CLEANUP(Users *, users_free)

/* On a fiber: the name of a uid, asked in the worker thread every time. 0 and a malloc()ed name; -ENOENT: no such user; other -errno: the
 * directory could not be asked, which says nothing about the user. */
int users_name(Users *u, uid_t uid, char **ret);

/* On a fiber: the uid of a name, asked likewise; for administrators, who may say a name. Errors as above. */
int users_uid(Users *u, const char *name, uid_t *ret);

/* On a fiber: the name of a uid and the mail address that the name service has of it (gecos_mail() of mail.h), asked likewise every time. *ret_mail is
 * NULL when it has none. Errors as above. */
int users_mail(Users *u, uid_t uid, char **ret_name, char **ret_mail);

/* Without waiting: the name that users_name() found for this uid within USERS_AT_HAND_USEC before now_usec (now_monotonic()) and since
 * passwd_file was last changed (looked at every millisecond), or NULL, which says nothing about the user. Borrowed until the next call of either. A user who is
 * renamed or removed in a network directory is thus noticed a minute late: for showing only. */
const char *users_name_at_hand(Users *u, uid_t uid, uint64_t now_usec);

/* The same for a name found within within_usec, at most USERS_AT_HAND_USEC. What hands something out and must not wait says a few seconds: so long
 * may a change in a network directory stay unnoticed; one of passwd_file is noticed at once. */
const char *users_name_within(Users *u, uid_t uid, uint64_t now_usec, uint64_t within_usec);
