/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* ^C while something is under way that has to be given up first. */

/* From here on SIGINT ends nothing by itself: interrupt_came() tells of it. Where it is ignored, as in a background job, it stays so. */
void interrupt_catch(void);
/* Readable once it came; -1: it is not caught. For poll(2). */
int interrupt_fd(void);
/* Whether it came; once true, always true. */
bool interrupt_came(void);
/* In a child: as before interrupt_catch(). */
void interrupt_release(void);
