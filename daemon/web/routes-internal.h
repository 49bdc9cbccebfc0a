/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "web/pages.h"
#include "web/routes.h"
#include "web/target.h"

/* Shared by routes.c and routes-visit.c: a request on its way to a page. All return 0 or -errno, when not even an error page could be made. */

/* A page that says what went wrong; advice NULL: the usual command. */
int reply_fault(Reply *r, unsigned status, const char *headline, const char *message, const char *advice);
/* vaultd's refusal; headline stands where the error's name has none of its own. */
int reply_refused(Reply *r, const ApiFault *fault, const char *headline);
/* vaultd gave no answer that can be used. */
int reply_unreachable(Reply *r, int error);

/* Routes of the page of services, behind https only. The target's route is one of them, or the root; the method is one that the route has. */
int answer_visit(const RouteContext *c, const Request *q, const Target *t, Reply *r);
