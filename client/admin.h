/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>

#include "client/arguments.h"

/* What the admin commands share. */

/* Adds uid or user to the parameters, from --uid or --user; exactly one is wanted. 0 or FAULT_SET. */
int admin_add_subject(const Arguments *a, json_object *parameters, Fault *fault);
/* A fault of the command line. Always returns FAULT_SET. */
int admin_usage(Fault *fault, const char *text);
