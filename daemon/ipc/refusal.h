/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "ipc/server.h"

/* Connections that are refused and closed a little later. */

struct Server;
typedef struct Refusal Refusal;

/* Takes fd over and closes it after ServerOptions.refusal_usec. -EDQUOT: the uid has as many already, or none are kept; -ENOMEM. */
int refusal_keep(struct Server *s, Door door, uid_t payer, int fd);
/* Closes all now. False: there were none. */
bool refusal_drop_all(struct Server *s);
int refusal_on_timer(sd_event_source *source, uint64_t usec, void *userdata);
