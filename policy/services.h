/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "policy/config.h"
#include "policy/ini.h"

/* What NAME.conf.d/ adds to services.d/NAME.conf: a [Service] of only what is to be different. */
typedef struct DropIn {
        const char *path;
        IniFile ini;
} DropIn;

/* services.d: one [Service] a file, and its drop-ins in their order. Faults as elsewhere; -ENOMEM. */
int services_read_file(Config *c, const char *path, const IniFile *ini, const DropIn *drop_ins,
                size_t n_drop_ins, FaultList *faults);
void service_profile_done(ServiceProfile *p);
/* service-check.c: what of the keys about grants and accounts belongs together; faults. */
void service_check_grant(ServiceProfile *p, FaultList *faults);
