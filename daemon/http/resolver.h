/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "util/macro.h"

/* Names of hosts, looked up beside the event loop. Requirement O11. */

typedef struct Resolver Resolver;

int resolver_new(sd_event *event, Resolver **ret);
/* Nobody may be waiting any more. What a look-up that has not come back works on stays until the process ends. */
Resolver *resolver_free(Resolver *r);
DEFINE_CLEANUP(Resolver *, resolver_free)

/* On a fiber: the addresses of a host as getaddrinfo(3) has them, in its order, as text with commas between (IPv6 in brackets). host: lower case.
 * -ENXIO: there is none, or no name server knew; -ETIMEDOUT: not within that time, which is ten seconds at most, whoever began to ask;
 * -ECANCELED; -EAGAIN: no thread could be made; -ENOMEM. */
int resolver_find(Resolver *r, const char *host, uint64_t timeout_usec, char **ret);
