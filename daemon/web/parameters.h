/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* Names and values as browsers write them behind a question mark and into the body of a form (application/x-www-form-urlencoded, URL Standard). */

typedef enum ParametersFault {
        PARAMETERS_OK = 0,
        PARAMETERS_MALFORMED = 1, /* bad escape, NUL, not UTF-8, too many */
        PARAMETERS_REPEATED,      /* a name occurs twice */
} ParametersFault;

#define PARAMETERS_MAX ((size_t)24)

typedef struct Parameter {
        char *name, *value; /* decoded, valid UTF-8, no NUL */
} Parameter;

typedef struct Parameters {
        Parameter list[PARAMETERS_MAX];
        size_t n;
} Parameters;

/* Parses n bytes. 0, a ParametersFault, or -ENOMEM. */
int parameters_parse(const char *text, size_t n, Parameters *ret);
/* The value, or NULL. Borrowed. */
const char *parameters_get(const Parameters *p, const char *name);
/* Erases and releases: values may be secrets. */
void parameters_done(Parameters *p);
