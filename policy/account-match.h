/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "policy/value.h"

/* AccountMatch=: which account of a service belongs to which user of this host, as root says it. */

/* AccountMatch= as this word: the account is the user's mail address that the name service has. */
#define ACCOUNT_MATCH_MAIL "mail"

ValueFunction value_account_match;    /* char *: "mail" or an absolute path */
ValueFunction value_account_match_by; /* AccountMatchBy */

typedef enum AccountVerdict {
        ACCOUNT_LISTED,      /* a line gives this account to this user */
        ACCOUNT_OTHER,       /* lines give this user other accounts */
        ACCOUNT_NO_USER,     /* no line is about this user */
        ACCOUNT_FILE_FAULTY, /* a line is not understood: nothing of the file holds */
} AccountVerdict;

/* What a file says of a user and an account: lines "USER ACCOUNT", USER a name or a uid in digits, ACCOUNT the rest of the line without
 * the blanks around it, compared byte for byte; a user may have several lines; '#' begins a comment line. Pure. *ret_line: the first
 * faulty line, with ACCOUNT_FILE_FAULTY. */
AccountVerdict account_file_judge(const char *text, size_t n, uid_t uid, const char *user,
                const char *account, unsigned *ret_line);
