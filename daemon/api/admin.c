/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Admin: root decides about vaults. With io.vaultd.Login the one place where a request names a uid; the gate
 * has seen to it that the caller is root at the control socket. That gives root no vault of anybody's: nothing here opens
 * or shows a secret.
 *
 * Each change is durable and then recorded, with the login uid of whoever became root.
 *
 * Unseal needs to be told what is the case, because the daemon cannot know: the same uid under a new name is a marriage
 * or a new colleague. Without a way it does only what is beyond doubt: the name is the old one again. */

#include <stdio.h>

#include "api/admin.h"
#include "audit/audit.h"
#include "util/encode.h"
#include "util/fiber.h"
#include "util/log.h"

static const char description[] =
#include "daemon/api/io.vaultd.Admin.inc"
                ;

typedef struct AdminParameters {
        int64_t uid;
        const char *user, *reason, *way;
} AdminParameters;

#define SUBJECT_FIELDS ADMIN_SUBJECT_FIELDS(AdminParameters)

json_object *admin_vault_to_json(const Vault *v, const char *present) {
        json_object *o = json_build("uid", 'i', (int64_t)v->uid, "user", 's', v->user, "id", 's', v->id,
                        "state", 's', vault_state_to_string(v->state), "reason", 's',
                        v->state == VAULT_ACTIVE ? NULL : v->reason, "present", 's', present, NULL);

        if (o && v->state != VAULT_ACTIVE && v->state_usec > 0)
                (void)json_add_int64(o, "since", (int64_t)v->state_usec);
        if (o && v->verified_usec > 0)
                (void)json_add_int64(o, "verified", (int64_t)v->verified_usec);
        return o;
}

/* How many vaults are looked at in one turn of the loop, by their clear part and opened. There may be a million. */
#define LOOKED_AT_PER_TURN 64U
#define OPENED_PER_TURN    16U
/* Of Users. */
#define VAULTS_PER_REPLY 256U

typedef struct MadeFor {
        const char *user;
        uid_t uid;
} MadeFor;

static int made_for_visit(uid_t uid, const VaultSummary *summary, void *userdata) {
        MadeFor *found = userdata;

        if (!summary || !streq(summary->user, found->user))
                return 0;
        if (found->uid != UID_INVALID)
                return -ENOTUNIQ;
        found->uid = uid;
        return 0;
}

/* The one vault that was made for that name. -ENOENT: none; -ENOTUNIQ: several. Whoever opens it sees whether the name is really its. */
static int find_made_for(Manager *m, const char *user, uid_t *ret) {
        MadeFor found = { .user = user, .uid = UID_INVALID };
        uid_t from = 0;
        int r;

        do {
                r = vault_record_walk(m->store, &from, LOOKED_AT_PER_TURN, made_for_visit, &found);
                if (r == VAULTS_GO_ON && fiber_sleep(0) < 0)
                        return -ECANCELED;
        } while (r == VAULTS_GO_ON);
        if (r < 0)
                return r;
        *ret = found.uid;
        return found.uid == UID_INVALID ? -ENOENT : 0;
}

/* Whose vault is meant by a name: what the name service says and what the vaults' records say must not contradict each other. */
static int find_by_name(Manager *m, const char *user, uid_t *ret, Failure *failure) {
        _cleanup_(freep) char *shown = printable(user, 64);
        uid_t account = UID_INVALID, made_for = UID_INVALID;
        int r, k;

        if (!shown)
                return -ENOMEM;
        r = users_uid(m->users, user, &account);
        k = find_made_for(m, user, &made_for);
        if (k < 0 && k != -ENOENT && k != -ENOTUNIQ)
                return k;
        if (r < 0 && r != -ENOENT)
                return failure_set(failure, FAILURE_NOT_FOUND, "Say --uid instead",
                                "the name service cannot be asked who %s is", shown);
        if (r == -ENOENT && k == -ENOENT)
                return failure_set(failure, FAILURE_NOT_FOUND, "Run: vaultctl admin users",
                                "there is neither a user nor a vault of the name %s", shown);
        if (k == -ENOTUNIQ || (r == 0 && k == 0 && account != made_for))
                return failure_set(failure, FAILURE_NOT_FOUND, "Run: vaultctl admin users, and say --uid",
                                "it is not clear which vault %s means", shown);
        *ret = r == 0 ? account : made_for;
        return 0;
}

int admin_find_uid(Manager *m, int64_t said, const char *user, uid_t *ret, Failure *failure) {
        if (user)
                return find_by_name(m, user, ret, failure);
        *ret = (uid_t)said;
        return 0;
}

int admin_find_vault(Manager *m, int64_t said, const char *user, Vault **ret, Failure *failure) {
        uid_t uid = UID_INVALID;
        int r = admin_find_uid(m, said, user, &uid, failure);

        if (r != 0)
                return r;
        r = vault_record_read(m->store, m->keyring, uid, ret);
        if (r == -EBADMSG && manager_damage(m, uid, failure) == FAILED)
                return FAILED;
        if (r == -ENOENT)
                return failure_set(failure, FAILURE_NOT_FOUND, "Run: vaultctl admin users",
                                "uid %u has no vault", (unsigned)uid);
        return r;
}

const char *admin_check_subject(int64_t uid, const char *user) {
        if (!user == (uid == -1) || uid < -1 || uid >= (int64_t)UID_INVALID)
                return "uid";
        return user && isempty(user) ? "user" : NULL;
}

void admin_record(Call *call, AuditKind kind, const Vault *v, const char *service, const char *reason) {
        const Principal *p = call_principal_with_audit(call);
        const AuditOrigin from = {
                .name = "root", .login_uid = p->login_uid, .audit_session = p->audit_session
        };

        audit_record(&(AuditEvent){ .kind = kind,
                        .uid = v->uid,
                        .user = v->user,
                        .verdict = "done",
                        .reason = reason,
                        .service = service,
                        .object = v->id,
                        .pid = p->pid,
                        .origin = &from });
}

static int change_state(Manager *m, Call *call, Vault *v, VaultState state, AuditKind kind,
                const char *reason, Failure *failure) {
        int r = manager_set_vault_state(m, v, state, reason);

        if (r == STORE_CONFLICT)
                return failure_set(failure, FAILURE_LIMIT, "Try again",
                                "the vault of uid %u was changed by somebody else meanwhile",
                                (unsigned)v->uid);
        if (r == 0)
                admin_record(call, kind, v, NULL, reason);
        return r;
}

static int lock_vault(Manager *m, Call *call, const AdminParameters *p, Vault **v, Failure *failure) {
        if ((*v)->state == VAULT_SEALED)
                return failure_set(failure, FAILURE_VAULT_CLOSED, NULL,
                                "the vault of uid %u is sealed, which closes it already",
                                (unsigned)(*v)->uid);
        return change_state(m, call, *v, VAULT_LOCKED, AUDIT_VAULT_LOCKED, p->reason, failure);
}

static int unlock_vault(Manager *m, Call *call, const AdminParameters *p, Vault **v, Failure *failure) {
        if ((*v)->state == VAULT_SEALED)
                return failure_set(failure, FAILURE_VAULT_CLOSED, "Run: vaultctl admin unseal --help",
                                "the vault of uid %u is sealed, not locked", (unsigned)(*v)->uid);
        return (*v)->state == VAULT_ACTIVE ? 0
                                           : change_state(m, call, *v, VAULT_ACTIVE, AUDIT_VAULT_UNLOCKED,
                                                             NULL, failure);
}

typedef struct AsideCommit {
        Manager *manager;
        const Vault *vault;
} AsideCommit;

static int aside_build(StoreBatch *batch, void *userdata) {
        AsideCommit *c = userdata;
        int r;

        r = vault_expect_key(batch, c->vault);
        return r < 0 ? r : vault_set_aside(c->manager->store, batch, c->vault);
}

/* Sets *v aside and makes an empty one for the user; after a crash in between that happens at the user's next call. */
static int begin_anew(Manager *m, Call *call, Vault **v, const char *user, Failure *failure) {
        AsideCommit commit = { m, *v };
        _cleanup_(vault_freep) Vault *fresh = NULL;
        int r;

        r = store_commit_exclusive(m->store, aside_build, &commit);
        if (r == STORE_CONFLICT)
                return failure_set(failure, FAILURE_LIMIT, "Try again",
                                "the vault of uid %u was changed by somebody else meanwhile",
                                (unsigned)(*v)->uid);
        if (r < 0)
                return r;
        admin_record(call, AUDIT_VAULT_SET_ASIDE, *v, NULL, NULL);
        r = manager_open_vault(m, (*v)->uid, user, &fresh, failure);
        if (r != 0)
                return r;
        *v = vault_free(*v);
        *v = TAKE_PTR(fresh);
        return 0;
}

static int unseal_vault(Manager *m, Call *call, const AdminParameters *p, Vault **v, Failure *failure) {
        const char *way = p->way ?: "same";
        _cleanup_(freep) char *user = NULL, *reason = NULL;
        int r;

        if ((*v)->state == VAULT_LOCKED)
                return failure_set(failure, FAILURE_VAULT_CLOSED, "Run: vaultctl admin unlock --help",
                                "the vault of uid %u is locked, not sealed", (unsigned)(*v)->uid);
        if ((*v)->state == VAULT_ACTIVE)
                return 0;
        r = users_name(m->users, (*v)->uid, &user);
        if (r < 0 && r != -ENOMEM)
                return failure_set(failure, FAILURE_NOT_ALLOWED, "Look at: getent passwd",
                                r == -ENOENT ? "uid %u has no account now, so its vault stays sealed"
                                             : "the name service cannot be asked who uid %u is, so its "
                                               "vault stays sealed",
                                (unsigned)(*v)->uid);
        if (r < 0)
                return r;
        if (streq(way, "new"))
                return begin_anew(m, call, v, user, failure);
        if (streq(way, "same") && !streq(user, (*v)->user))
                return failure_set(failure, FAILURE_NOT_ALLOWED,
                                "Say --rename if it is the same person, --new if it is another",
                                "the vault of uid %u was made for %s, and the uid is %s's now",
                                (unsigned)(*v)->uid, (*v)->user, user);
        if (asprintf(&reason, "of %s, now %s", (*v)->user, user) < 0) {
                reason = NULL;
                return -ENOMEM;
        }
        free((*v)->user);
        (*v)->user = TAKE_PTR(user);
        (*v)->verified_usec = 0; /* the next look-up notes it */
        return change_state(m, call, *v, VAULT_ACTIVE, AUDIT_VAULT_UNSEALED, reason, failure);
}

typedef int (*VaultChange)(Manager *m, Call *call, const AdminParameters *p, Vault **v, Failure *failure);

static int admin_change(Call *call, json_object *parameters, const JsonField *fields, VaultChange change,
                Manager *m) {
        _cleanup_(vault_freep) Vault *vault = NULL;
        AdminParameters p = { .uid = -1 };
        Failure failure = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        bad = admin_check_subject(p.uid, p.user);
        if (bad)
                return call_invalid_parameter(call, bad);
        if (p.way && !streq(p.way, "same") && !streq(p.way, "rename") && !streq(p.way, "new"))
                return call_invalid_parameter(call, "way");
        r = admin_find_vault(m, p.uid, p.user, &vault, &failure);
        if (r == 0)
                r = change(m, call, &p, &vault, &failure);
        r = r == 0 ? call_reply(call, json_build("vault", 'o', admin_vault_to_json(vault, NULL), NULL))
                   : manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

static int method_lock(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { SUBJECT_FIELDS,
                { "reason", JSON_FIELD_STRING, offsetof(AdminParameters, reason), false, 200 }, {} };

        return admin_change(call, parameters, fields, lock_vault, userdata);
}

static int method_unlock(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { SUBJECT_FIELDS, {} };

        return admin_change(call, parameters, fields, unlock_vault, userdata);
}

static int method_unseal(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { SUBJECT_FIELDS,
                { "way", JSON_FIELD_STRING, offsetof(AdminParameters, way), false, 16 }, {} };

        return admin_change(call, parameters, fields, unseal_vault, userdata);
}

typedef struct Page {
        uid_t uids[VAULTS_PER_REPLY];
        size_t n;
} Page;

static int page_visit(uid_t uid, const VaultSummary *summary, void *userdata) {
        Page *page = userdata;

        page->uids[page->n++] = uid;
        return 0;
}

static int add_vault(Manager *m, uid_t uid, json_object *array) {
        _cleanup_(vault_freep) Vault *v = NULL;
        _cleanup_(freep) char *present = NULL;
        int r;

        r = vault_record_read(m->store, m->keyring, uid, &v);
        /* Gone while a name was looked up; or damaged, which must not hide the others. */
        if (r == -ENOENT)
                return 0;
        if (r == -EBADMSG) {
                log_error("the vault of uid %u is damaged", (unsigned)uid);
                return 0;
        }
        if (r >= 0 && v->state != VAULT_ACTIVE)
                (void)users_name(m->users, v->uid, &present);
        return r < 0 ? r : json_object_array_add(array, admin_vault_to_json(v, present));
}

static int method_users(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = {
                { "from", JSON_FIELD_INT64, offsetof(AdminParameters, uid), false }, {}
        };
        _cleanup_(json_putp) json_object *array = json_object_new_array(), *reply = NULL;
        AdminParameters p = { .uid = 0 };
        Manager *m = userdata;
        Page page = { .n = 0 };
        const char *bad;
        uid_t from;
        int r, go_on;

        if (!array)
                return -ENOMEM;
        if (json_dispatch(parameters, fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (p.uid < 0 || p.uid >= (int64_t)UID_INVALID)
                return call_invalid_parameter(call, "from");
        from = (uid_t)p.uid;
        r = go_on = vault_record_walk(m->store, &from, VAULTS_PER_REPLY, page_visit, &page);
        for (size_t i = 0; i < page.n && r >= 0; i++) {
                r = i % OPENED_PER_TURN == OPENED_PER_TURN - 1 ? fiber_sleep(0) : 0;
                if (r >= 0)
                        r = add_vault(m, page.uids[i], array);
        }
        if (r < 0)
                return r;
        reply = json_build("vaults", 'o', TAKE_PTR(array), NULL);
        if (!reply || (go_on == VAULTS_GO_ON && json_add_int64(reply, "next", (int64_t)from) < 0))
                return -ENOMEM;
        return call_reply(call, TAKE_PTR(reply));
}

static const Method methods[] = {
        { "Users", METHOD_ROOT, method_users, .is_fiber = true },
        { "Lock", METHOD_ROOT, method_lock, .is_fiber = true },
        { "Unlock", METHOD_ROOT, method_unlock, .is_fiber = true },
        { "Unseal", METHOD_ROOT, method_unseal, .is_fiber = true },
        { "Revoke", METHOD_ROOT, admin_method_revoke, .is_fiber = true },
        { "AccountClosed", METHOD_ROOT, admin_method_account_closed, .is_fiber = true },
        { "ShowVault", METHOD_ROOT, admin_show_vault, .is_fiber = true },
        { "DestroyVault", METHOD_ROOT, admin_destroy_vault, .is_fiber = true },
        { "NewRecoveryKey", METHOD_ROOT, admin_new_recovery_key, .is_fiber = true },
        { "CheckRecords", METHOD_ROOT, admin_check_records, .is_fiber = true },
        { "PrepareRekey", METHOD_ROOT, admin_prepare_rekey, .is_fiber = true },
        { "Rekey", METHOD_ROOT, admin_rekey, .is_fiber = true, .is_stream = true },
        { "ShowVault", METHOD_ROOT, admin_show_vault, .is_fiber = true },
        { "DestroyVault", METHOD_ROOT, admin_destroy_vault, .is_fiber = true },
        { "NewRecoveryKey", METHOD_ROOT, admin_new_recovery_key, .is_fiber = true },
        { "CheckRecords", METHOD_ROOT, admin_check_records, .is_fiber = true },
        { "PrepareRekey", METHOD_ROOT, admin_prepare_rekey, .is_fiber = true },
        { "Rekey", METHOD_ROOT, admin_rekey, .is_fiber = true, .is_stream = true },
        {},
};

const Interface interface_admin = { "io.vaultd.Admin", description, DOOR_CONTROL, methods };
