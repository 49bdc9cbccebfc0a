/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a session of ours is like at this moment, asked of the platform: its record says what we meant,
 * the platform what is. So the vaults that a user is shown come from there, element by element, also
 * when they are not what they should be.
 *
 * A session whose create is not finished has no id to ask for; it is "starting". */

#include "platform/platform-internal.h"
#include "util/encode.h"

static int status_read(json_object *object, SessionStatus *ret) {
        json_object *vaults = NULL;
        size_t n = json_get_array(object, "vault_ids", &vaults) < 0 ? 0 : json_object_array_length(vaults);

        ret->status = printable(json_string(object, "status") ?: "unknown", 32);
        ret->title = json_string(object, "title")
                                     ? printable(json_string(object, "title"), 4 * SESSION_TITLE_MAX)
                                     : NULL;
        ret->is_archived = object_is_archived(object);
        ret->vault_ids = calloc(n + 1, sizeof(char *));
        if (!ret->status || !ret->vault_ids)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                json_object *id = json_object_array_get_idx(vaults, i);

                ret->vault_ids[i] = printable(json_object_is_type(id, json_type_string)
                                                              ? json_object_get_string(id)
                                                              : "unreadable",
                                PLATFORM_ID_MAX);
                if (!ret->vault_ids[i])
                        return -ENOMEM;
        }
        return 0;
}

void session_status_done(SessionStatus *s) {
        free(s->status);
        free(s->title);
        for (char **id = s->vault_ids; id && *id; id++)
                free(*id);
        free(s->vault_ids);
        *s = (SessionStatus){};
}

int platform_session_status(Platform *p, const AgentSession *session, SessionStatus *ret, Failure *failure) {
        _cleanup_(session_status_done) SessionStatus status = {};
        _cleanup_(json_putp) json_object *object = NULL;
        _cleanup_(freep) char *path = NULL;
        int r;

        if (session_is_pending(session)) {
                status.status = strdup("starting");
                status.title = session->title ? strdup(session->title) : NULL;
                status.vault_ids = calloc(1, sizeof(char *));
                if (!status.status || !status.vault_ids)
                        return -ENOMEM;
        } else {
                r = session_path(session->id, "", &path);
                if (r < 0)
                        return r;
                const Request request = {
                        .method = "GET", .path = path, .what = "read the session", .is_repeatable = true
                };
                r = request_perform(p, &request, &object, NULL, failure);
                if (r == FAILED && failure->status == 404)
                        return failure_set(failure, FAILURE_NOT_FOUND, NULL,
                                        "the Claude Platform has no such session any more");
                if (r == 0)
                        r = status_read(object, &status);
                if (r != 0)
                        return r;
        }
        *ret = status;
        status = (SessionStatus){};
        return 0;
}
