/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include <systemd/sd-event.h>

#include "util/macro.h"

/* A fiber is a function with its own stack that runs inside the event loop and may wait for events (a transfer, a
 * commit, a timer) without blocking the loop. Long exchanges (discovery, registration, token, account …) therefore
 * read from top to bottom, with one error path. Only the loop's thread may call these functions. */

typedef struct Fiber Fiber;

/* The body. Its result goes to the FiberDone callback. */
typedef int (*FiberEntry)(void *userdata);
/* Called from the loop, after the stack has been left for good; the Fiber is freed when this returns. */
typedef void (*FiberDone)(int result, void *userdata);

/* Starts entry(userdata) at the next turn of the loop. done may be NULL. *ret_fiber (optional) is borrowed and valid
 * until done was called. Errors: -ENOMEM, or what sd_event_add_defer() says. */
int fiber_spawn(sd_event *event, FiberEntry entry, FiberDone done, void *userdata, Fiber **ret_fiber);

/* The fiber whose stack we are on, or NULL in plain loop context. */
Fiber *fiber_current(void);
sd_event *fiber_event(Fiber *fiber);

/* Parks the current fiber until fiber_resume() and returns the value given there, or -ECANCELED at once or later when
 * the fiber is cancelled. Whoever suspends must first have told somebody to resume it, and must withdraw that on
 * return. Must be called on a fiber. */
int fiber_suspend(void);

/* The same for what must not be left unknown (a commit that is on its way to the disk): only fiber_resume() ends this
 * wait and its value is returned; a cancellation takes effect at the next fiber_suspend(). Whoever uses it must be sure
 * that the resume comes. */
int fiber_suspend_uncancellable(void);

/* Lets a parked fiber go on with this value at the next turn of the loop. A second call before that is ignored. */
void fiber_resume(Fiber *fiber, int value);

/* Makes the wait that the fiber is in, and every later one, return -ECANCELED (but fiber_suspend_uncancellable()). */
void fiber_cancel(Fiber *fiber);
bool fiber_is_cancelled(Fiber *fiber);

/* Waits that many microseconds, and at most an eighth of that (or 250 ms) longer; 0: until the loop has seen to what else there is.
 * 0 or -ECANCELED. */
int fiber_sleep(uint64_t usec);

/* Cancels every fiber of this thread; their number is what is still alive. For shutdown: run the loop until 0. */
unsigned fiber_cancel_all(void);
