/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* Mail addresses that a name service has of its users. Pure. */

/* One '@' with printable ASCII around it, no blanks, quotes, commas or angle brackets, at most 254 bytes (RFC 5321 section 4.5.3.1.3). */
bool mail_is_legal(const char *text);
/* Whether two addresses are one: ASCII letters in either case. False unless both are addresses. */
bool mail_is_equal(const char *a, const char *b);
/* The address in a GECOS text (passwd(5)): the only one behind the fourth comma, where chfn(1) lets only root write. With is_foreign, of
 * an account that is not in the passwd file that chfn(1) changes, also the whole text when it is one. -ENOENT: none, or several. */
int gecos_mail(const char *gecos, bool is_foreign, char **ret);
