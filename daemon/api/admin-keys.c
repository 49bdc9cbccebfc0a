/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Admin, the part about keys: the recovery key.
 *
 * The private half of a recovery key leaves in one reply to root and is forgotten with it. Nothing replaces a recovery key by
 * accident: backups that were sealed to the old one open with the old one alone, so making another has to be asked for.
 *
 * Each change is durable before it is answered, and recorded. No key ever reaches a record or the log. */

#include "api/admin.h"
#include "store/recovery.h"
#include "util/clock.h"

typedef struct RecoveryParameters {
        bool is_replacing;
} RecoveryParameters;

/* Makes the pair and keeps its public half. STORE_CONFLICT: somebody else made one meanwhile. */
static int make_recovery_key(Manager *m, bool is_replacing, uint64_t now, Secret **ret_text) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        _cleanup_(secret_freep) Secret *text = NULL;
        uint8_t public[RECOVERY_KEY_SIZE];
        int r;

        r = recovery_new(public, &text);
        if (r >= 0)
                r = store_batch_new(&batch);
        if (r >= 0 && !is_replacing)
                r = recovery_record_expect_none(batch);
        if (r >= 0)
                r = recovery_record_put(batch, m->keyring, public, now);
        if (r >= 0)
                r = store_commit(m->store, TAKE_PTR(batch));
        if (r == 0)
                *ret_text = TAKE_PTR(text);
        return r;
}

int admin_new_recovery_key(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = {
                { "replace", JSON_FIELD_BOOL, offsetof(RecoveryParameters, is_replacing), false }, {}
        };
        _cleanup_(secret_freep) Secret *text = NULL;
        uint8_t public[RECOVERY_KEY_SIZE];
        RecoveryParameters p = {};
        Manager *m = userdata;
        uint64_t created = 0, now = now_realtime();
        const char *bad;
        int r;

        if (json_dispatch(parameters, fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        r = recovery_record_read(m->store, m->keyring, public, &created);
        if (r == -ENOENT || (p.is_replacing && (r == 0 || r == -EBADMSG))) {
                r = make_recovery_key(m, p.is_replacing, now, &text);
                if (r == 0) {
                        created = now;
                        admin_record(call, AUDIT_RECOVERY_KEY, &(Vault){ .user = (char *)"root" }, NULL,
                                        NULL); /* no vault's */
                } else if (r == STORE_CONFLICT)
                        r = recovery_record_read(m->store, m->keyring, public, &created);
        }
        if (r == -EBADMSG) {
                Failure failure = {};

                r = failure_set(&failure, FAILURE_NOT_ALLOWED,
                                "Run: vaultctl admin init --new-recovery-key, and find out who wrote to the "
                                "store",
                                "the recovery key in the store was not put there by vaultd, or is damaged; "
                                "it is not used");
                r = manager_reply_outcome(call, r, &failure);
                failure_done(&failure);
                return r;
        }
        if (r < 0)
                return r;
        return call_reply(call, json_build("created", 'i', (int64_t)created, "key", 's',
                                                text ? secret_text(text) : NULL, NULL));
}
