/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "util/macro.h"

/* A thread for calls that block and have no asynchronous form (NSS). One job at a time, in order. */
typedef struct Worker Worker;

int worker_new(sd_event *event, Worker **ret);
/* Waits for the job that is running, unless worker_run_within() has given it up; queued ones must have been awaited. */
Worker *worker_free(Worker *w);
DEFINE_CLEANUP(Worker *, worker_free)

/* On a fiber: runs job(userdata) in the thread and waits for its result, also when the fiber is cancelled meanwhile (userdata may lie on its stack). */
int worker_run(Worker *w, int (*job)(void *userdata), void *userdata);

/* On a fiber: the same, but waits that long at most. When the wait ends first the result is -ETIMEDOUT, *userdata is taken (NULL then) and goes to
 * done() when the job comes back. While a job is out that long, others get -ETIMEDOUT at once instead of queueing behind it. */
int worker_run_within(Worker *w, uint64_t timeout_usec, int (*job)(void *userdata), void **userdata,
                void (*done)(void *userdata));
