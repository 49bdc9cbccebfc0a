/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* The one cookie there is (RFC 6265): it stands for a visit. */

/* The prefix makes browsers take it only over https, from this host, for all of it, and never from a sibling or subdomain. */
#define COOKIE_NAME      "__Host-vaultd"
#define COOKIE_VALUE_MAX ((size_t)64)

typedef enum CookieFault {
        COOKIE_OK = 0,
        COOKIE_ABSENT = 1,
        COOKIE_UNCLEAR, /* there twice, or its value is none of ours */
} CookieFault;

/* Ours in a Cookie header. 0 and a copy, which the caller erases; a CookieFault; -ENOMEM. Pure. */
int cookie_find(const char *header, char **ret);
/* Whether it can be a value that vaultd minted. Pure. */
bool cookie_is_legal(const char *value);
