/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "util/macro.h"

/* A thread for calls that block and have no asynchronous form (NSS). One job at a time, in order. */
typedef struct Worker Worker;

int worker_new(sd_event *event, Worker **ret);
/* Waits for the job that is running; queued ones must have been awaited. */
Worker *worker_free(Worker *w);
DEFINE_CLEANUP(Worker *, worker_free)

/* On a fiber: runs job(userdata) in the thread and waits for its result, also when the fiber is cancelled meanwhile (userdata may lie on its stack). */
int worker_run(Worker *w, int (*job)(void *userdata), void *userdata);
