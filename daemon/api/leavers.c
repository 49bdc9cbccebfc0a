/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The leaver check: vaults whose account is gone are locked (V10, T24).
 *
 * Every now and then a fiber walks through all vaults, a few at a time, and asks the name service for each; the asking is done by the
 * worker thread, and whoever calls meanwhile comes in between. "Gone" is only what the name service says when all of it could
 * be asked, and only when it says so in two walks after each other: a directory that loses somebody for a moment, or is
 * being restored, locks nobody. An error ends the walk and says nothing about anybody. When most of the accounts seem to be gone at once, that is
 * a fault of the name service and not a farewell: then none is locked, and the journal says so.
 *
 * That an account is locked or expired stands in shadow(5), which only root may read; vaultd is not root and asks nobody who is.
 * A program that root's timer runs reads it and says so at the control socket (accounts/, io.vaultd.Admin.AccountClosed).
 *
 * A lock is all that happens: nothing is erased or revoked at the services, since whoever comes back is let in again
 * by `vaultctl admin unlock`, and who is gone for good by `vaultctl admin revoke`.
 *
 * Who may call: the manager, for the life; io.vaultd.Admin for what root has read. */

#include "api/admin.h"
#include "api/leavers.h"
#include "audit/audit.h"
#include "util/clock.h"
#include "util/fiber.h"
#include "util/log.h"

#define VAULTS_AT_ONCE   32U
#define FIRST_AFTER_USEC (60 * USEC_PER_SEC)
/* So many may vanish at once; above that only less than half of all. */
#define MANY 10U

typedef struct Absence {
        uid_t uid;
        unsigned walk; /* the last one that found nobody */
} Absence;

struct Leavers {
        Manager *manager;
        Absence *absences;
        size_t n_absences;
        unsigned walk;
};

typedef struct Walk {
        uid_t *gone; /* for the second time */
        size_t n_gone, n_asked;
} Walk;

bool reason_is_of_account(const char *reason) {
        return reason &&
               (streq(reason, REASON_GONE) || streq(reason, REASON_LOCKED) || streq(reason, REASON_EXPIRED));
}

int manager_lock_account(Manager *m, uid_t uid, const char *user, const char *reason) {
        _cleanup_(vault_freep) Vault *vault = NULL;
        int r;

        r = vault_record_read(m->store, m->keyring, uid, &vault);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        if (vault->state != VAULT_ACTIVE || !streq(vault->user, user))
                return 0;
        r = manager_set_vault_state(m, vault, VAULT_LOCKED, reason);
        if (r == STORE_CONFLICT)
                return -EAGAIN;
        if (r < 0)
                return r;
        audit_record(&(AuditEvent){ .kind = AUDIT_VAULT_LOCKED,
                        .uid = uid,
                        .user = vault->user,
                        .verdict = "done",
                        .reason = reason,
                        .object = vault->id });
        return 1;
}

static void absence_forget(Leavers *l, uid_t uid) {
        for (size_t i = 0; i < l->n_absences; i++)
                if (l->absences[i].uid == uid)
                        l->absences[i--] = l->absences[--l->n_absences];
}

/* 1: it was absent in the walk before as well; 0: for the first time. */
static int absence_note(Leavers *l, uid_t uid) {
        Absence *grown;

        for (size_t i = 0; i < l->n_absences; i++)
                if (l->absences[i].uid == uid) {
                        bool is_second = l->absences[i].walk + 1 == l->walk;

                        l->absences[i].walk = l->walk;
                        return is_second;
                }
        grown = reallocarray(l->absences, l->n_absences + 1, sizeof(Absence));
        if (!grown)
                return -ENOMEM;
        l->absences = grown;
        l->absences[l->n_absences++] = (Absence){ uid, l->walk };
        return 0;
}

/* Of vaults that were closed or are there no more meanwhile. */
static void absences_drop_old(Leavers *l) {
        for (size_t i = 0; i < l->n_absences; i++)
                if (l->absences[i].walk != l->walk)
                        l->absences[i--] = l->absences[--l->n_absences];
}

/* The uid is there under another name: sealed now, and not at that person's first call. */
static int check_name(Manager *m, uid_t uid, const VaultSummary *vault, const char *name) {
        _cleanup_(vault_freep) Vault *opened = NULL;
        Failure ignored = {};
        int r;

        if (streq(vault->user, name))
                return 0;
        r = manager_open_vault(m, uid, name, &opened, &ignored);
        failure_done(&ignored);
        return MIN(r, 0);
}

/* -errno: nobody can be asked now. */
static int check_vault(Leavers *l, Walk *walk, uid_t uid) {
        _cleanup_(freep) char *name = NULL;
        Manager *m = l->manager;
        VaultSummary vault;
        uid_t *grown;
        int r;

        if (vault_record_peek(m->store, uid, &vault) < 0 || vault.state != VAULT_ACTIVE)
                return 0;
        walk->n_asked++;
        r = users_name(m->users, uid, &name);
        if (r == 0) {
                absence_forget(l, uid);
                return check_name(m, uid, &vault, name);
        }
        if (r != -ENOENT)
                return r;
        r = absence_note(l, uid);
        if (r <= 0)
                return r;
        grown = reallocarray(walk->gone, walk->n_gone + 1, sizeof(uid_t));
        if (!grown)
                return -ENOMEM;
        walk->gone = grown;
        walk->gone[walk->n_gone++] = uid;
        return 0;
}

/* Asking waits and a walk must not: so the uids are taken out of it first. */
typedef struct Page {
        uid_t uids[VAULTS_AT_ONCE];
        size_t n;
} Page;

static int page_visit(uid_t uid, const VaultSummary *summary, void *userdata) {
        Page *page = userdata;

        if (summary && summary->state == VAULT_ACTIVE)
                page->uids[page->n++] = uid;
        return 0;
}

static int check_all(Leavers *l, Walk *walk) {
        uid_t from = 0;
        int r, q;

        do {
                Page page = { .n = 0 };

                r = vault_record_walk(l->manager->store, &from, VAULTS_AT_ONCE, page_visit, &page);
                for (size_t i = 0; i < page.n && r >= 0; i++) {
                        q = check_vault(l, walk, page.uids[i]);
                        r = q < 0 ? q : r;
                }
                q = r < 0 ? 0 : fiber_sleep(USEC_PER_MSEC); /* also a point to be cancelled at */
        } while (r == VAULTS_GO_ON && q >= 0);
        return q < 0 ? q : r;
}

static int lock_gone(Leavers *l, const Walk *walk) {
        Manager *m = l->manager;
        VaultSummary vault;
        int r = 0;

        if (walk->n_gone > MANY && 2 * walk->n_gone > walk->n_asked) {
                log_error("the name service knows no account for %zu of %zu vaults; that is not believed, "
                          "and none of them is locked",
                                walk->n_gone, walk->n_asked);
                return 0;
        }
        for (size_t i = 0; i < walk->n_gone && r >= 0; i++) {
                if (vault_record_peek(m->store, walk->gone[i], &vault) < 0)
                        continue;
                r = manager_lock_account(m, walk->gone[i], vault.user, REASON_GONE);
                if (r == -EAGAIN || r == -EBADMSG)
                        r = 0; /* the next walk looks again */
                else if (r >= 0)
                        absence_forget(l, walk->gone[i]);
        }
        return r;
}

static int leavers_walk(Leavers *l) {
        Walk walk = {};
        int r;

        l->walk++;
        r = check_all(l, &walk);
        if (r >= 0) {
                absences_drop_old(l);
                r = lock_gone(l, &walk);
        }
        if (r < 0 && r != -ECANCELED) {
                /* What was seen before the outage is no half of two answers after each other. */
                l->n_absences = 0;
                log_warning("whether users have left could not be checked: %s", strerror(-r));
        }
        free(walk.gone);
        return r;
}

static int leavers_run(void *userdata) {
        Leavers *l = userdata;
        uint64_t period = l->manager->config->leaver_check_usec;
        int r = fiber_sleep(MIN(period, (uint64_t)FIRST_AFTER_USEC));

        while (r != -ECANCELED) {
                r = leavers_walk(l);
                if (r != -ECANCELED)
                        r = fiber_sleep(period);
        }
        return r;
}

int leavers_new(Manager *m, Leavers **ret) {
        Leavers *l = calloc(1, sizeof(Leavers));
        int r;

        if (!l)
                return -ENOMEM;
        l->manager = m;
        r = fiber_spawn(m->event, leavers_run, NULL, l, NULL);
        if (r < 0) {
                free(l);
                return r;
        }
        *ret = l;
        return 0;
}

Leavers *leavers_free(Leavers *l) {
        if (!l)
                return NULL;
        free(l->absences);
        free(l);
        return NULL;
}

typedef struct ClosedParameters {
        int64_t uid;
        const char *user, *how;
} ClosedParameters;

int admin_method_account_closed(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { { "uid", JSON_FIELD_INT64, offsetof(ClosedParameters, uid),
                                                            true },
                { "user", JSON_FIELD_STRING, offsetof(ClosedParameters, user), true, 256 },
                { "how", JSON_FIELD_STRING, offsetof(ClosedParameters, how), true, 16 }, {} };
        ClosedParameters p = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (p.uid < 0 || p.uid >= (int64_t)UID_INVALID)
                return call_invalid_parameter(call, "uid");
        if (!streq(p.how, "locked") && !streq(p.how, "expired"))
                return call_invalid_parameter(call, "how");
        r = manager_lock_account(userdata, (uid_t)p.uid, p.user,
                        streq(p.how, "locked") ? REASON_LOCKED : REASON_EXPIRED);
        return r < 0 ? r : call_reply(call, json_build("locked", 'b', r > 0, NULL));
}
