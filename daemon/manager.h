/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "api/manager.h"

/* What the command line says. Strings are borrowed. */
typedef struct DaemonOptions {
        const char *state_dir, *config_dir, *vendor_dir, *runtime_dir;
        const char *journal_head_file; /* what the journal knows of the store (api/history.h); NULL: it is not asked */
        const char *kek_file, *workspace_key_file;
        bool is_trusting_owner; /* tests: files of our own uid count as root's */
} DaemonOptions;

/* Opens everything in order; a failure says on the log what and why. */
int manager_new(sd_event *event, const DaemonOptions *options, Manager **ret);
/* Ends fibers, then everything in reverse order. */
Manager *manager_free(Manager *m);
DEFINE_CLEANUP(Manager *, manager_free)
