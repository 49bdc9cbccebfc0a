/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How a caller gets to its vault, and who does not.
 *
 * The uid always comes from the call's principal, or at the control socket from root. A caller without an account, or
 * outside the range of login users, gets no vault; nothing takes its place (I9, T13). A vault is made on first use:
 * the commit expects its absence, so of two makers one wins and both go on with the winner's.
 *
 * A vault keeps the user name it was made for. When its uid turns up under another name, the uid may have changed hands, so
 * the vault is sealed for good, before the refusal is sent, and stays so when the old name comes back: only root ends
 * that (I8, T7; admin.c). A name that never changed hides nothing: whoever removes an account and gives uid *and* name to
 * somebody else has to lock or set aside the vault.
 *
 * A name service that cannot be asked says nothing about a user. Whoever it knew within the last day goes on under that
 * name; the time of the last answer is in the vault itself, so that a restart during an outage locks nobody out. An
 * outage renews nothing.
 *
 * Who may call: methods, on their fibers. */

#include <stdio.h>

#include "api/history.h"
#include "api/leavers.h"
#include "api/revocation.h"
#include "audit/audit.h"
#include "util/clock.h"

#define VERIFIED_FOR_USEC   (24 * 3600 * USEC_PER_SEC)
#define VERIFIED_EVERY_USEC (3600 * USEC_PER_SEC)

const char *vault_state_to_string(VaultState state) {
        static const char *const names[] = {
                [VAULT_ACTIVE] = "active", [VAULT_SEALED] = "sealed", [VAULT_LOCKED] = "locked"
        };

        return (unsigned)state < ELEMENTSOF(names) ? names[state] : "sealed";
}

static int vault_commit(Manager *m, const Vault *vault) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = vault_record_put(batch, m->keyring, vault);
        return r < 0 ? r : store_commit(m->store, TAKE_PTR(batch));
}

int manager_set_vault_state(Manager *m, Vault *vault, VaultState state, const char *reason) {
        char *copy = reason ? strdup(reason) : NULL;
        int r;

        if (reason && !copy)
                return -ENOMEM;
        free(vault->reason);
        vault->reason = copy;
        vault->state = state;
        vault->state_usec = now_realtime();
        r = vault_commit(m, vault);
        /* A closed vault is used by nobody, also by those who were let in before (T38). */
        if (r == 0 && state != VAULT_ACTIVE)
                (void)manager_end_uses(m, vault->uid, NULL);
        return r;
}

/* The name under which the uid was known within the last day. -ENOENT: there is none. */
static int name_of_last_day(Manager *m, uid_t uid, char **ret) {
        _cleanup_(vault_freep) Vault *vault = NULL;
        uint64_t now = now_realtime();
        int r;

        r = vault_record_read(m->store, m->keyring, uid, &vault);
        if (r < 0)
                return r;
        /* A time to come is no time at which anything was verified: the clock was wrong then or is now. */
        if (vault->state != VAULT_ACTIVE || vault->verified_usec > now ||
                        now - vault->verified_usec > VERIFIED_FOR_USEC)
                return -ENOENT;
        *ret = TAKE_PTR(vault->user);
        return 0;
}

static int user_in_outage(Manager *m, uid_t uid, int error, char **ret_user, Failure *failure) {
        int r = name_of_last_day(m, uid, ret_user);

        audit_line(LOG_WARNING, uid, "the name of uid %u could not be looked up: %s%s", (unsigned)uid,
                        strerror(-error), r == 0 ? "; it goes on as who it was within the last day" : "");
        if (r != -ENOENT)
                return r;
        return failure_set(failure, FAILURE_NOT_ALLOWED, "Ask your administrator to look at: getent passwd",
                        "the host's name service cannot be asked who uid %u is, and the last time it knew "
                        "is more than a day ago or never was",
                        (unsigned)uid);
}

int manager_user(Manager *m, uid_t uid, char **ret_user, Failure *failure) {
        int r = users_name(m->users, uid, ret_user);

        if (r == -ENOENT)
                return failure_set(failure, FAILURE_NOT_ALLOWED, NULL, "uid %u has no account on this host",
                                (unsigned)uid);
        if (r == -ENOMEM)
                return r;
        return r < 0 ? user_in_outage(m, uid, r, ret_user, failure)
                     : manager_note_verified(m, uid, *ret_user);
}

int manager_note_verified(Manager *m, uid_t uid, const char *user) {
        _cleanup_(vault_freep) Vault *vault = NULL;
        uint64_t now = now_realtime();
        int r;

        r = vault_record_read(m->store, m->keyring, uid, &vault);
        /* No vault yet: it will be made with the time. A damaged one is for whoever opens it to report. */
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        if (vault->state != VAULT_ACTIVE || !streq(vault->user, user) ||
                        (vault->verified_usec <= now && now - vault->verified_usec < VERIFIED_EVERY_USEC))
                return 0;
        vault->verified_usec = now;
        r = vault_commit(m, vault);
        if (r < 0)
                audit_line(LOG_WARNING, uid, "that uid %u is %s could not be noted: %s", (unsigned)uid, user,
                                strerror(-r));
        return r == -ENOMEM ? r : 0; /* the note is for bad days, and a full disk must not end a good one */
}

static int vault_make(Manager *m, uid_t uid, const char *user) {
        _cleanup_(vault_freep) Vault *vault = NULL;
        int r;

        r = vault_new(m->keyring, uid, user, &vault);
        if (r >= 0)
                r = vault_commit(m, vault);
        if (r == 0)
                audit_record(&(AuditEvent){ .kind = AUDIT_VAULT_CREATED,
                                .uid = uid,
                                .user = user,
                                .verdict = "done",
                                .object = vault->id });
        return r == STORE_CONFLICT ? 0 : r;
}

/* The uid changed hands, or the user was renamed. */
static int vault_seal(Manager *m, Vault *vault, const char *user) {
        _cleanup_(freep) char *reason = NULL;
        int r;

        if (asprintf(&reason, "made for %s, the uid is now %s's", vault->user, user) < 0) {
                reason = NULL;
                return -ENOMEM;
        }
        r = manager_set_vault_state(m, vault, VAULT_SEALED, reason);
        if (r == 0)
                audit_record(&(AuditEvent){ .kind = AUDIT_VAULT_SEALED,
                                .uid = vault->uid,
                                .user = user,
                                .verdict = "done",
                                .reason = reason,
                                .object = vault->id });
        /* Of two calls that both saw the other name one writes, and the vault is sealed for both. What else may have been written meanwhile
         * does not make the name right: the next call sees it again. */
        return r == STORE_CONFLICT ? 0 : r;
}

static int vault_is_closed(uid_t uid, VaultState state, const char *reason, Failure *failure) {
        _cleanup_(freep) char *hint = NULL;
        const char *word = vault_state_to_string(state);
        int r;

        if (asprintf(&hint, "Ask your administrator to run: vaultctl admin %s --uid %u",
                            state == VAULT_SEALED ? "unseal" : "unlock", (unsigned)uid) < 0) {
                hint = NULL;
                return -ENOMEM;
        }
        /* A seal's reason names the other user, a lock's is an administrator's own words: both are for administrators. */
        bool is_told = state == VAULT_LOCKED && reason_is_of_account(reason);
        r = failure_set(failure, FAILURE_VAULT_CLOSED, hint, "the vault of uid %u is %s%s%s", (unsigned)uid,
                        word,
                        state == VAULT_SEALED ? ": it was made for another user name"
                        : is_told             ? ": "
                                              : "",
                        is_told ? reason : "");
        if (r == FAILED)
                failure->state = strdup(word);
        return r;
}

int manager_refuse_old_store(Manager *m, Failure *failure) {
        int r;

        if (!history_is_behind(m->history, NULL))
                return 0;
        r = failure_set(failure, FAILURE_VAULT_CLOSED,
                        "Ask your administrator to run: vaultctl admin accept-store",
                        "an older database was put in place of this host's newest, so no vault is opened");
        if (r == FAILED)
                failure->state = strdup("behind");
        return r;
}

int manager_open_vault(Manager *m, uid_t uid, const char *user, Vault **ret, Failure *failure) {
        _cleanup_(vault_freep) Vault *vault = NULL;
        int r;

        if (uid < m->config->uid_min || uid > m->config->uid_max)
                return failure_set(failure, FAILURE_NOT_ALLOWED, NULL,
                                "%s (uid %u) is not a login user, so there is no vault; login users are "
                                "uids %u to %u",
                                user, (unsigned)uid, (unsigned)m->config->uid_min,
                                (unsigned)m->config->uid_max);
        r = manager_refuse_old_store(m, failure);
        if (r != 0)
                return r;
        r = vault_record_read(m->store, m->keyring, uid, &vault);
        if (r == -ENOENT) {
                r = vault_make(m, uid, user);
                if (r < 0)
                        return r;
                r = vault_record_read(m->store, m->keyring, uid, &vault);
        }
        if (r < 0)
                return r;
        if (vault->state == VAULT_ACTIVE && streq(vault->user, user)) {
                *ret = TAKE_PTR(vault);
                return 0;
        }
        if (vault->state == VAULT_ACTIVE) {
                r = vault_seal(m, vault, user);
                if (r < 0)
                        return r;
                return vault_is_closed(uid, VAULT_SEALED, NULL, failure);
        }
        return vault_is_closed(uid, vault->state, vault->reason, failure);
}

int manager_caller(Manager *m, Call *call, char **ret_user, Vault **ret_vault, Failure *failure) {
        _cleanup_(freep) char *user = NULL;
        uid_t uid = call_principal(call)->uid;
        int r;

        r = manager_user(m, uid, &user, failure);
        if (r == 0)
                r = manager_open_vault(m, uid, user, ret_vault, failure);
        if (r == 0 && ret_user)
                *ret_user = TAKE_PTR(user);
        return r;
}
