/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "policy/config.h"
#include "policy/ini.h"

/* services.d: one [Service] a file. Faults as elsewhere; -ENOMEM. */
int services_read_file(Config *c, const char *path, const IniFile *ini, FaultList *faults);
void service_profile_done(ServiceProfile *p);
