/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* Microseconds since the epoch; test builds add $VAULTD_TEST_CLOCK_OFFSET seconds. */
uint64_t now_realtime(void);
uint64_t now_monotonic(void);
/* RFC 3339, UTC, whole seconds: "2026-11-21T10:00:00Z". Writes 21 bytes. */
void format_rfc3339(uint64_t realtime_usec, char ret[static 21]);
/* Parses the platform's and the RFC's forms ("…Z", fraction allowed, numeric offset). -EBADMSG. */
int parse_rfc3339(const char *text, uint64_t *ret_usec);
