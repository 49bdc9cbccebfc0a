/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* A failure that a person has to understand. Functions that can fail so return 0, -errno (a fault of this host) or
 * FAILED with the Failure filled in. */
#define FAILED 1

typedef enum FailureKind {
        FAILURE_NONE,
        FAILURE_NOT_CONNECTED,
        FAILURE_NOT_ALLOWED,
        FAILURE_NOT_FOUND,
        FAILURE_NO_SUCH_SERVICE,
        FAILURE_VAULT_CLOSED,
        FAILURE_FLOW,
        FAILURE_CLAIM,
        FAILURE_ACCOUNT_CHANGED,
        FAILURE_PLAN_CHANGED,
        FAILURE_UPSTREAM,
        FAILURE_PLATFORM,
        FAILURE_NOT_CONFIGURED,
        FAILURE_LIMIT,
        FAILURE_DAMAGED,
} FailureKind;

typedef struct Failure {
        FailureKind kind;
        char *message;               /* what happened, to whom; safe to show */
        char *hint;                  /* the command that mends it, or NULL */
        char *service, *title;       /* NOT_CONNECTED, NO_SUCH_SERVICE, UPSTREAM */
        char *state;                 /* VAULT_CLOSED */
        char *pinned, *offered;      /* ACCOUNT_CHANGED */
        int64_t tries_left;          /* CLAIM */
        int64_t status, retry_after; /* PLATFORM; -1: not told. status: also of UPSTREAM, of an answer that was not what was asked for */
        char *request_id;            /* PLATFORM */
        char *record;                /* DAMAGED */
} Failure;

void failure_done(Failure *f);
/* Fills in kind and message, replacing what was there. hint is copied, NULL for none. Foreign text in the message must have passed
 * printable(). Always returns FAILED, or -ENOMEM. */
int failure_set(Failure *f, FailureKind kind, const char *hint, const char *format, ...) _printf_(4, 5);
