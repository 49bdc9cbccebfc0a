/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "client/fault.h"

/* Shows one AgentSession of vaultd's reply. 0 or FAULT_SET. */
int session_print(const Context *c, json_object *session, Fault *fault);
