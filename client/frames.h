/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "client/call.h"

/* Frames on an upgraded connection (io.vaultd.Store): a size, little endian, and that many bytes; a size of 0, and behind it a size and JSON,
 * ends vaultd's side. */

#define FRAME_SIZE_MAX (1024U * 1024U)

typedef struct Frames Frames;

/* On a connection that call_upgrade() has upgraded; borrowed. */
int frames_new(Call *call, Frames **ret, Fault *fault);
Frames *frames_free(Frames *f);
DEFINE_CLEANUP(Frames *, frames_free)

/* Waits for the next bytes of vaultd's frames. 1 and some of them, borrowed until the next call; 0 and the end's parameters, a new reference;
 * FAULT_SET, also for an end that is an error. */
int frames_receive(Frames *f, const uint8_t **ret_bytes, size_t *ret_n, json_object **ret_parameters,
                Fault *fault);
/* Sends a frame; n 0: the end. Stops early when vaultd has sent something, which is its end: frames_receive() has it then. 0 or FAULT_SET. */
int frames_send(Frames *f, const void *bytes, size_t n, Fault *fault);
/* vaultd has sent something. */
bool frames_is_answered(const Frames *f);
