/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "api/manager.h"

/* Keeps the access tokens fresh that running sessions on the Claude Platform use (custody mirror, V4). */

/* Starts with the users who have sessions on record, unless it is held. */
int mirrors_new(Manager *m, bool is_held, Mirrors **ret);
/* Its fibers must have ended. */
Mirrors *mirrors_free(Mirrors *m);
/* A session of that uid begins. -ENOMEM. */
int mirrors_watch(Mirrors *m, uid_t uid);
