/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "web/parameters.h"

/* What a request line asks for. */

typedef enum TargetRoute {
        TARGET_ROOT,     /* / */
        TARGET_CONNECT,  /* /connect/TICKET */
        TARGET_CALLBACK, /* /callback/PATH */
        TARGET_CLIENT,   /* /client/PATH */
        TARGET_OPEN,     /* /open/TICKET */
        TARGET_BEGIN,    /* /begin, /offer, /leave: forms of the page of services */
        TARGET_OFFER,
        TARGET_LEAVE,
} TargetRoute;

typedef enum TargetFault {
        TARGET_OK = 0,
        TARGET_UNKNOWN = 1, /* no such page */
        TARGET_MALFORMED, /* not a request target that a browser makes: bad escape, NUL, not UTF-8, too many parameters */
        TARGET_REPEATED, /* a parameter occurs twice (RFC 6749 section 3.1) */
        TARGET_TOO_LONG,
} TargetFault;

#define TARGET_MAX         ((size_t)8192)
#define TARGET_SEGMENT_MAX ((size_t)128)

typedef struct Target {
        TargetRoute route;
        char *segment; /* TICKET or PATH: [A-Za-z0-9._-]+; NULL where the route has none */
        Parameters parameters;
} Target;

/* Parses the target as it stood in the request line. 0, a TargetFault, or -ENOMEM. */
int target_parse(const char *text, Target *ret);
/* The value, or NULL. Borrowed. */
const char *target_get(const Target *t, const char *name);
/* Erases and releases: values may be authorization codes. */
void target_done(Target *t);
