/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Names of users. NSS may ask a directory over the network and blocks, so it only ever runs in the worker thread.
 * "Not found" and "could not ask" are kept apart: the first refuses a caller, the second is a passing fault. */

#include <pwd.h>

#include "identity/users.h"

typedef struct NameJob {
        uid_t uid;
        char *name;
} NameJob;

static int users_name_job(void *userdata) {
        NameJob *job = userdata;
        size_t size = 1024;

        for (;; size *= 2) {
                _cleanup_(freep) char *buffer = malloc(size);
                struct passwd entry, *found = NULL;
                int r;

                if (!buffer)
                        return -ENOMEM;
                r = getpwuid_r(job->uid, &entry, buffer, size, &found);
                if (r == ERANGE && size < 1024 * 1024)
                        continue;
                if (!found)
                        return r == 0 || r == ENOENT || r == ESRCH ? -ENOENT : -r;
                job->name = strdup(entry.pw_name);
                return job->name ? 0 : -ENOMEM;
        }
}

int users_name(Worker *w, uid_t uid, char **ret) {
        NameJob job = { .uid = uid };
        int r;

        r = worker_run(w, users_name_job, &job);
        if (r < 0)
                return r;
        *ret = job.name;
        return 0;
}
