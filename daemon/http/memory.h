/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Sets libcurl up for the process, with memory that is erased when released. Any number of calls. -EIO. */
int http_global_init(void);
