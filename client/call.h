/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>

#include "client/fault.h"

/* Calls to vaultd: one connection, one call in flight, every reply scanned before it is believed. */

typedef struct Call Call;

/* How long a reply may take when vaultd answers from what it has, and when it first asks a service or the platform. */
#define CALL_LOCAL_USEC  (10 * USEC_PER_SEC)
#define CALL_REMOTE_USEC (120 * USEC_PER_SEC)

/* The usual case: connects, calls, waits at most timeout_usec. parameters are taken (NULL: none). 0 and a new reference to
 * the reply's parameters, or FAULT_SET. */
int call_method(const Context *c, const char *method, json_object *parameters, uint64_t timeout_usec,
                json_object **ret_parameters, Fault *fault);

/* The pieces, for conversations: a call with `more` whose replies arrive while the user types. */
int call_open(const Context *c, Call **ret, Fault *fault);
int call_send(Call *call, const char *method, json_object *parameters, bool wants_more, Fault *fault);
/* Waits for the next reply until deadline_usec (CLOCK_MONOTONIC). 1 and a new reference to its parameters; 0 when the deadline
 * passed; FAULT_SET, also for an error reply. *ret_continues (optional) tells whether more replies follow. */
int call_receive(Call *call, uint64_t deadline_usec, json_object **ret_parameters, bool *ret_continues,
                Fault *fault);
/* Calls with `upgrade` and takes the reply: from then on the connection carries bytes, the first of which may have come already. Those are taken
 * first, then the descriptor is read. Parameters are taken. */
int call_upgrade(Call *call, const char *method, json_object *parameters, json_object **ret_parameters,
                Fault *fault);
size_t call_take_rest(Call *call, void *ret, size_t n);
int call_fd(Call *call);
/* The uid of the listener. */
uid_t call_peer_uid(Call *call);
/* vaultd kept silent for that long. Always returns FAULT_SET. */
int fault_set_silence(Fault *fault, uint64_t timeout_usec);
Call *call_free(Call *call);
DEFINE_CLEANUP(Call *, call_free)
