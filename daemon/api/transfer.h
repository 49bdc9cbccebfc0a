/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "api/manager.h"

/* Backups and restores under way: at most one of either at a time. */

typedef struct Transfer Transfer;

/* Methods of io.vaultd.Store. */
int transfer_method_backup(Call *call, json_object *parameters, void *userdata);
int transfer_method_restore(Call *call, json_object *parameters, void *userdata);

/* Whether this is a restore, during which nothing else is served. NULL: no. */
bool transfer_is_restore(const Transfer *t);
/* Ends it where it is; waits for its thread. */
Transfer *transfer_free(Transfer *t);
