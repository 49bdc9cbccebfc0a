/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Ending a session for good, for one that is not bound as it should be.
 *
 * Archiving is what cannot be undone, so it is that and not an interrupt alone. The platform refuses it
 * (400) while the session runs, and the state that it looks at may lag behind the events; so the session
 * is interrupted and the archive tried again, for a few seconds. A session that is not there (404) is as
 * good as ended. */

#include <stdio.h>

#include "platform/platform-internal.h"
#include "util/fiber.h"

#define ARCHIVE_TRIES     10U
#define ARCHIVE_WAIT_USEC (500U * USEC_PER_MSEC)

int session_path(const char *id, const char *suffix, char **ret) {
        if (asprintf(ret, "/v1/sessions/%s%s", id, suffix) < 0) {
                *ret = NULL;
                return -ENOMEM;
        }
        return 0;
}

static int session_post(
                Platform *p, const char *id, const char *suffix, const char *body, Failure *failure) {
        _cleanup_(json_putp) json_object *answer = NULL;
        _cleanup_(freep) char *path = NULL;
        int r;

        r = session_path(id, suffix, &path);
        if (r < 0)
                return r;
        const Request request = { .method = "POST",
                .path = path,
                .what = "end a session",
                .body = body,
                .body_size = body ? strlen(body) : 0,
                .is_repeatable = true };
        return request_perform(p, &request, &answer, NULL, failure);
}

int session_end(Platform *p, const char *id, Failure *failure) {
        int r;

        for (unsigned n = 0;; n++) {
                r = session_post(p, id, "/archive", NULL, failure);
                if (r <= 0 || failure->status == 404)
                        return r < 0 ? r : 0;
                if (failure->status != 400 || n + 1 >= ARCHIVE_TRIES)
                        return r;
                r = session_post(p, id, "/events", "{\"events\":[{\"type\":\"user.interrupt\"}]}", failure);
                if (r < 0)
                        return r;
                r = fiber_sleep(ARCHIVE_WAIT_USEC);
                if (r < 0)
                        return r;
        }
}
