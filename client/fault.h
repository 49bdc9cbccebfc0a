/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>

#include "client/context.h"

/* Why a command could not do what was asked. Filled where it is noticed, reported once, by the command. */

typedef struct Fault {
        ExitCode code;
        char *error;          /* "io.vaultd.NotConnected", "io.vaultd.client.Unreachable" … */
        char *message;        /* what happened; NULL only before anything was set */
        char *hint;           /* the command that mends it, or NULL */
        json_object *details; /* the parameters of vaultd's error reply, or NULL */
} Fault;

/* What a function returns that has filled in a Fault. */
#define FAULT_SET (-EREMOTEIO)

/* Sets error (copied), hint (copied, may be NULL) and a formatted message. Always returns FAULT_SET. */
int fault_set(Fault *f, ExitCode code, const char *error, const char *hint, const char *format, ...)
                _printf_(5, 6);
/* Takes over an error reply; parameters may be NULL. Always returns FAULT_SET. */
int fault_set_reply(Fault *f, const char *error, json_object *parameters);
/* vaultd answered something that its interface does not allow. Always returns FAULT_SET. */
int fault_set_bad_reply(Fault *f, const char *what);
/* Out of memory. Always returns FAULT_SET. */
int fault_set_memory(Fault *f);

/* Whether it is this error of vaultd. */
bool fault_is(const Fault *f, const char *error);

/* Prints it (two lines on stderr; with --json one document on stdout) and returns its exit code. */
ExitCode fault_report(const Context *c, const Fault *f);
void fault_done(Fault *f);
