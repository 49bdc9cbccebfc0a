/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* Whether everybody whom nsswitch.conf(5) names for passwd could be asked at all: 0, or -EHOSTUNREACH when the library of one of them
 * cannot be loaded. Whether they answer is not looked at, the C library tells that by itself. Blocks; for the worker thread. -ENOMEM. */
int name_services_check(const char *nsswitch_file);
