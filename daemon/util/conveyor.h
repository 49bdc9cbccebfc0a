/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "util/macro.h"

/* Bytes between the loop and a thread of their own that works on them for as long as it takes: in either direction, with a bound on
 * what waits, so that whoever is slow holds back the other. */

typedef struct Conveyor Conveyor;

/* Starts a thread that runs work(conveyor, userdata). wake(userdata) is called in the loop, at least once after each of: the thread put
 * bytes or took some, conveyor_wake(), its end. room: bytes that may wait in each direction. -ENOMEM, -EAGAIN, -errno. */
int conveyor_new(sd_event *event, size_t room, int (*work)(Conveyor *c, void *userdata),
                void (*wake)(void *userdata), void *userdata, Conveyor **ret);
/* Cancels, and waits for the thread: at once when it has ended. */
Conveyor *conveyor_free(Conveyor *c);
DEFINE_CLEANUP(Conveyor *, conveyor_free)

/* The loop's side. */

/* Takes up to n of the bytes that the thread has put. */
size_t conveyor_take(Conveyor *c, void *ret, size_t n);
/* Gives bytes to the thread, all of them; whether room was left is known afterwards. -ENOMEM. */
int conveyor_give(Conveyor *c, const void *bytes, size_t n);
/* Whether the thread has more waiting than the room. */
bool conveyor_is_full(Conveyor *c);
/* No more will be given. */
void conveyor_give_end(Conveyor *c);
/* Makes what the thread waits for, and will wait for, end with -ECANCELED. */
void conveyor_cancel(Conveyor *c);
/* Has wake() called once more. */
void conveyor_wake(Conveyor *c);
/* The thread has ended, and everything that it put was taken. */
bool conveyor_has_ended(Conveyor *c, int *ret_result);

/* The thread's side. */

/* Puts all bytes, once there is room. 0; -ETIMEDOUT: there was none for that long, and nothing was put; -ECANCELED; -ENOMEM. */
int conveyor_put(Conveyor *c, const void *bytes, size_t n, uint64_t timeout_usec);
/* Waits for bytes and gets up to n of them. Their number; 0: there are no more; -ETIMEDOUT; -ECANCELED. */
ssize_t conveyor_get(Conveyor *c, void *ret, size_t n, uint64_t timeout_usec);
