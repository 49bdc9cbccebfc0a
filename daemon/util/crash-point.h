/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* Places where a power cut would matter: every durable write, request sent, answer received and reply.
 * In test builds (-Dtest_hooks=true) the process kills itself at the n-th such place when $VAULTD_TEST_CRASH_AT=n,
 * and with $VAULTD_TEST_CRASH_LOG=FILE appends each place's name to FILE. In release builds this is nothing. */
#if ENABLE_TEST_HOOKS
void crash_point(const char *name);
#else
static inline void crash_point(const char *name) {
        (void)name;
}
#endif
