/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Ending all of a user's flows at once, for an administrator (V10).
 *
 * Nobody is asked anything here, since the kill switch must not wait for a provider: what holds no tokens is erased, what holds some
 * is written as FLOW_REVOKING, which nobody can claim, and the sweeper goes on with it. One batch, so that a claim that is on its way either
 * came before all of it, and its credential is found afterwards, or finds its flow moved.
 *
 * Who may call: io.vaultd.Admin, on its fiber. */

#include "oauth/oauth-internal.h"
#include "util/clock.h"

/* As long as the sweeper tries. */
#define REVOKE_FOR_USEC (UINT64_C(3600) * USEC_PER_SEC)
#define ROUNDS_MAX      64U

static bool flow_is_meant(const Flow *f, const char *service) {
        return f->state != FLOW_REVOKING && (!service || streq(f->service, service));
}

static int flow_put_end(StoreBatch *batch, const Vault *vault, Flow *f) {
        if (!flow_has_tokens(f))
                return flow_record_delete(batch, f);
        f->state = FLOW_REVOKING;
        f->expires_usec = now_realtime() + REVOKE_FOR_USEC;
        return flow_record_put(batch, vault, f);
}

/* FLOW_MOVED: one of them was changed meanwhile, and nothing was done. */
static int end_once(Oauth *o, uid_t uid, const char *service, const Failure *why, unsigned *ret_n) {
        _cleanup_(vault_freep) Vault *vault = NULL;
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        Flow **list = NULL;
        size_t n = 0, n_meant = 0;
        int r;

        r = vault_record_read(o->store, o->keyring, uid, &vault);
        if (r >= 0)
                r = flow_record_list(o->store, o->keyring, uid, &list, &n);
        if (r >= 0)
                r = store_batch_new(&batch);
        for (size_t i = 0; i < n && r >= 0; i++) {
                if (!flow_is_meant(list[i], service))
                        continue;
                Flow *f = list[i];
                list[i] = list[n_meant];
                list[n_meant++] = f;
                r = flow_put_end(batch, vault, f);
        }
        if (r >= 0 && n_meant > 0)
                r = store_commit(o->store, TAKE_PTR(batch));
        for (size_t i = 0; i < n_meant && r == 0; i++)
                watch_notify(o, list[i]->id, why);
        flow_list_free(list, n);
        if (r == 0)
                *ret_n = (unsigned)n_meant;
        return r == STORE_CONFLICT ? FLOW_MOVED : r;
}

int oauth_end_flows(Oauth *o, uid_t uid, const char *service, const Failure *why, unsigned *ret_n) {
        int r = FLOW_MOVED;

        /* Each round that moves was a step of a flow, and a flow has few of those. */
        for (unsigned i = 0; i < ROUNDS_MAX && r == FLOW_MOVED; i++)
                r = end_once(o, uid, service, why, ret_n);
        return r == FLOW_MOVED ? -EAGAIN : r;
}
