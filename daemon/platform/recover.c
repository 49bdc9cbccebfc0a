/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a crash left between nonce and id, finished at start.
 *
 * All requests that could still take effect were sent before this process began, so one waiting time
 * covers them all: from now, AdoptWait=. A vault that is found is adopted; one that is not keeps its
 * nonce, and the next need of it goes on from there. A session that is found is kept for its owner (it
 * may already work, with the owner's message); one that is not there is forgotten. Calls that come
 * meanwhile are not in the way: the gates order them.
 *
 * A failure of one object does not keep the others from being finished. */

#include "platform/platform-internal.h"
#include "util/clock.h"

typedef struct Uids {
        uid_t *list;
        size_t n;
} Uids;

static int uids_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        Uids *uids = userdata;
        uid_t *grown = reallocarray(uids->list, uids->n + 1, sizeof(uid_t));

        if (!grown)
                return -ENOMEM;
        uids->list = grown;
        uids->list[uids->n++] = key->uid;
        return 0;
}

static void uids_done(Uids *uids) {
        free(uids->list);
}

/* Keeps the first result that is not 0; a cancellation or lack of memory ends everything. */
static bool recover_goes_on(int r, int *result, Failure *failure) {
        failure_done(failure);
        if (*result == 0 || r == -ECANCELED)
                *result = r;
        return r != -ECANCELED && r != -ENOMEM;
}

int platform_recover(Platform *p) {
        uint64_t until_usec = now_monotonic() + p->config->adopt_wait_usec;
        _cleanup_(uids_done) Uids uids = {};
        AgentSession **sessions = NULL;
        Failure failure = {};
        size_t n = 0;
        int r, result = 0;

        /* Listed before anything waits: what is added later belongs to somebody who is at work on it. */
        r = agent_session_record_list(p->store, UID_INVALID, &sessions, &n);
        if (r >= 0)
                r = store_foreach(p->store, RECORD_VAULT, UID_INVALID, uids_visit, &uids);
        for (size_t i = 0; i < uids.n && r >= 0; i++)
                if (!recover_goes_on(vault_adopt_only(p, uids.list[i], until_usec, &failure), &result,
                                    &failure))
                        break;
        for (size_t i = 0; i < n && r >= 0 && result != -ECANCELED; i++)
                if (startswith(sessions[i]->id, "new-") &&
                                !recover_goes_on(session_adopt_only(p, sessions[i]->uid, sessions[i]->id,
                                                                 until_usec, &failure),
                                                &result, &failure))
                        break;
        agent_session_list_free(sessions, n);
        return r < 0 ? r : result;
}
