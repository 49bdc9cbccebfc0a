/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* One line for each request: method, kind of page, status, milliseconds. Never a part of an address. */

#define ACCESS_LOG_LINES 200U
#define ACCESS_LOG_USEC  (10 * USEC_PER_SEC)

/* Writes the line, or counts it when ACCESS_LOG_LINES were written within ACCESS_LOG_USEC. From any thread; never waits for a reader. */
void access_log_request(const char *method, const char *name, unsigned status, uint64_t took_usec);
/* Writes the count of those that were left out, if its time has come by now_usec (CLOCK_MONOTONIC; UINT64_MAX: whatever is owed). Returns
 * when to call again; UINT64_MAX: nothing is owed. */
uint64_t access_log_settle(uint64_t now_usec);
