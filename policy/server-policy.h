/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "policy/config.h"
#include "policy/ini.h"

/* policy.d: [Server NAME] sections, which add up over files. Faults as elsewhere; -ENOMEM. */
int server_policies_read_file(Config *c, const char *path, const IniFile *ini, FaultList *faults);
void server_policy_done(ServerPolicy *p);
