/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "util/worker.h"

/* On a fiber: the name of a uid by NSS, asked in the worker thread. 0 and a malloc()ed name; -ENOENT: no such user; other -errno: the
 * directory could not be asked, which says nothing about the user (getpwuid_r(3)). */
int users_name(Worker *w, uid_t uid, char **ret);
