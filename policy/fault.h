/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "policy/config.h"

/* What is wrong with the configuration, collected over all files. Bounded: after FAULTS_MAX a last entry
 * says that there are more. A fault that could not be stored still counts: is_out_of_memory makes the
 * whole load fail. */

#define FAULTS_MAX 100U

typedef struct FaultList {
        ConfigFaults list;
        bool is_out_of_memory;
} FaultList;

/* line 0: the file as a whole. The text names keys, sections, services and what is expected, never what
 * stands behind '=': somebody may have put a secret there, and faults go to logs. */
void fault_add(FaultList *l, const char *file, unsigned line, const char *format, ...) _printf_(4, 5);
