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
#include "util/fiber.h"

/* There may be a million vaults, and calls are served meanwhile: a tenth of a millisecond of work, then a millisecond for others. */
#define RECORDS_PER_TURN 32U
#define PAUSE_USEC       USEC_PER_MSEC

typedef struct HalfMade {
        uid_t uids[RECORDS_PER_TURN];
        size_t n;
} HalfMade;

static int half_made_visit(uid_t uid, const VaultSummary *summary, void *userdata) {
        HalfMade *found = userdata;

        if (summary && summary->is_half_made)
                found->uids[found->n++] = uid;
        return 0;
}

/* Keeps the first result that is not 0; a cancellation or lack of memory ends everything. */
static bool recover_goes_on(int r, int *result, Failure *failure) {
        failure_done(failure);
        if (*result == 0 || r == -ECANCELED)
                *result = r;
        return r != -ECANCELED && r != -ENOMEM;
}

/* Goes through the vaults by what can be told without a key; only the few that need it are opened. One that became half made
 * meanwhile is in the hands of who makes it, and is found whole behind its gate. */
static int recover_vaults(Platform *p, uint64_t until_usec, int *result, Failure *failure) {
        uid_t from = 0;
        int r;

        do {
                HalfMade found = { .n = 0 };

                r = vault_record_walk(p->store, &from, RECORDS_PER_TURN, half_made_visit, &found);
                for (size_t i = 0; i < found.n; i++)
                        if (!recover_goes_on(vault_adopt_only(p, found.uids[i], until_usec, failure), result,
                                            failure))
                                return 0;
                if (r == VAULTS_GO_ON && fiber_sleep(PAUSE_USEC) < 0)
                        return -ECANCELED;
        } while (r == VAULTS_GO_ON);
        return r;
}

/* What was begun by a former run; the rest belongs to somebody who is at work on it. */
static int list_sessions(Platform *p, uint64_t started_usec, AgentSession ***list, size_t *n) {
        uid_t from = 0;
        size_t n_kept = 0;
        int r;

        do {
                r = agent_session_record_walk_new(p->store, &from, RECORDS_PER_TURN, list, n);
                if (r == VAULTS_GO_ON && fiber_sleep(PAUSE_USEC) < 0)
                        return -ECANCELED;
        } while (r == VAULTS_GO_ON);
        for (size_t i = 0; i < *n; i++)
                if ((*list)[i]->created_usec < started_usec)
                        (*list)[n_kept++] = (*list)[i];
                else
                        (void)agent_session_free((*list)[i]);
        *n = n_kept;
        return r;
}

int platform_recover(Platform *p) {
        uint64_t started_usec = now_realtime(), until_usec = now_monotonic() + p->config->adopt_wait_usec;
        AgentSession **sessions = NULL;
        Failure failure = {};
        size_t n = 0;
        int r, result = 0;

        r = list_sessions(p, started_usec, &sessions, &n);
        if (r >= 0)
                r = recover_vaults(p, until_usec, &result, &failure);
        for (size_t i = 0; i < n && r >= 0 && result != -ECANCELED; i++)
                if (!recover_goes_on(session_adopt_only(p, sessions[i]->uid, sessions[i]->id, until_usec,
                                                     &failure),
                                    &result, &failure))
                        break;
        agent_session_list_free(sessions, n);
        return r < 0 ? r : result;
}
