/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Failures travel up as values, from the place that knows what went wrong to the one that words the reply; the wire's
 * error names are known to api/ only. Libc only. */

#include <stdarg.h>
#include <stdio.h>

#include "util/failure.h"

void failure_done(Failure *f) {
        free(f->message);
        free(f->hint);
        free(f->service);
        free(f->title);
        free(f->state);
        free(f->pinned);
        free(f->offered);
        free(f->request_id);
        free(f->record);
        *f = (Failure){};
}

int failure_set(Failure *f, FailureKind kind, const char *hint, const char *format, ...) {
        va_list args;
        int n;

        failure_done(f);
        f->kind = kind;
        f->status = f->retry_after = -1;
        va_start(args, format);
        n = vasprintf(&f->message, format, args);
        va_end(args);
        if (n < 0) {
                f->message = NULL;
                return -ENOMEM;
        }
        if (hint) {
                f->hint = strdup(hint);
                if (!f->hint)
                        return -ENOMEM;
        }
        return FAILED;
}
