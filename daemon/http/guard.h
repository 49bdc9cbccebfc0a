/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/socket.h>

#include "util/macro.h"

/* Which addresses an outgoing request may connect to. Requirement O11, threat T18. */

typedef enum AddressClass {
        ADDRESS_PUBLIC, /* on the Internet */
        ADDRESS_LOCAL, /* loopback, RFC 1918, RFC 6598, unique local: root may allow a host and port there */
        ADDRESS_FORBIDDEN, /* link-local, metadata, multicast, unspecified, reserved, translated: never */
} AddressClass;

/* Pure. Registers: IANA special-purpose IPv4 and IPv6 addresses (RFC 6890). Any family but IPv4 and IPv6
 * is forbidden. */
AddressClass address_classify(const struct sockaddr *address);
bool address_is_public(const struct sockaddr *address);
/* The same for a host as text: literal addresses and localhost; ADDRESS_PUBLIC for other names, which are
 * judged once resolved. */
AddressClass address_classify_host(const char *host);

/* The "host:port" entries of AllowPrivate=. */
typedef struct Allowance {
        char *host;
        uint16_t port;
} Allowance;

/* texts: NULL-ended or NULL. -EINVAL for an entry that is not host:port, -ENOMEM. Release with
 * allowances_free(). */
int allowances_parse(const char *const *texts, Allowance **ret, size_t *ret_n);
void allowances_free(Allowance *allowances, size_t n);
/* Exactly this host name, as written in the URL, and this port. */
bool allowances_contain(const Allowance *allowances, size_t n, const char *host, uint16_t port);
