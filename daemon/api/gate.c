/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The gate: what every call passes before its method runs, whatever the method.
 *
 * Who acts is the uid of the socket's peer and stays that. But a person who gets to another's uid by sudo or su is known:
 * the login uid stays his own (T1). So each method's class (use, authority, root) decides together with vaultd.conf's
 * [Identity] section: refuse, record, or let pass. In the same way callers in containers can be refused (T6).
 *
 * Reading of /proc costs more than a short method, so it is done only when the class or the policy asks: the login uid
 * once for a connection, control group and namespaces only for what is recorded. Where policy refuses by what /proc says,
 * a caller about whom it cannot be known is refused too: else one would connect, hand the descriptor on and end. An
 * *unset* login uid is different: services and cron jobs of hosts without pam_loginuid have none, they are "unproven" and
 * pass. The other way round a login uid that is set and differs refuses even when PAM registered no such login, so that
 * logging out while sudo's child lives on gains nothing.
 *
 * Who may call: ipc, through ServerOptions.admit. */

#include "api/manager.h"
#include "api/transfer.h"
#include "audit/audit.h"
#include "identity/process.h"
#include "util/buffer.h"

#define GROUPS_SHOWN_MAX 32U

void manager_origin(Manager *m, Call *call, Origin *ret) {
        const Principal *p = call_principal_with_audit(call);

        *ret = (Origin){ .name = "unproven", .login_uid = p->login_uid, .audit_session = p->audit_session };
        if (p->audit_error < 0) {
                ret->name = "unknown";
                return;
        }
        ret->is_elevated = p->login_uid != UID_INVALID && p->login_uid != p->uid;
        ret->login = logins_find(m->logins, p->uid, p->audit_session);
        /* A login uid may be forged where it was unset; the audit session of a registered login may not. */
        if (p->login_uid != UID_INVALID)
                ret->origin = logins_find(m->logins, p->login_uid, p->audit_session);
        if (ret->origin)
                ret->name = ret->is_elevated ? "elevated" : "login";
}

void manager_audit(Manager *m, Call *call, AuditEvent event) {
        const Principal *p = call_principal(call);
        AuditOrigin from;
        Origin origin;

        event.uid = p->uid;
        event.pid = p->pid;
        /* Only what the gate has read: by now the process may have ended, and its number be another's. */
        if (p->has_audit) {
                manager_origin(m, call, &origin);
                from = (AuditOrigin){ .name = origin.name,
                        .login_uid = origin.login_uid,
                        .audit_session = origin.audit_session };
                event.origin = &from;
        }
        audit_record(&event);
}

static const char *container_word(int is_contained) {
        return is_contained < 0 ? "unknown" : is_contained > 0 ? "yes" : "no";
}

/* Numbers, the first one the group that the process ran with; a crowd of them is cut. NULL: not known. */
static char *groups_text(Call *call) {
        _cleanup_(buffer_done) Buffer text = {};
        _cleanup_(freep) gid_t *groups = NULL;
        size_t n = 0;
        int r;

        if (call_read_groups(call, &groups, &n) < 0)
                return NULL;
        r = buffer_printf(&text, "%u", (unsigned)call_principal(call)->gid);
        for (size_t i = 0; i < n && r >= 0; i++) {
                if (i == GROUPS_SHOWN_MAX) {
                        r = buffer_printf(&text, " and %zu more", n - i);
                        break;
                }
                r = buffer_printf(&text, " %u", (unsigned)groups[i]);
        }
        return r < 0 ? NULL : strdup((char *)text.bytes);
}

/* One line that says where a call came from. */
static void record_call(Call *call, const Method *method, const Origin *origin, const char *verdict,
                const char *reason) {
        const Principal *p = call_principal(call);
        _cleanup_(freep) char *cgroup = NULL, *groups = groups_text(call);

        (void)process_read_cgroup(p->pid, &cgroup);
        const AuditOrigin from = { .name = origin->name,
                .login_uid = origin->login_uid,
                .audit_session = origin->audit_session,
                .cgroup = cgroup,
                .container = container_word(process_is_contained(p->pid)),
                .groups = groups };
        audit_record(&(AuditEvent){ .kind = AUDIT_CALL,
                        .uid = p->uid,
                        .user = origin->login ? origin->login->user : NULL,
                        .verdict = verdict,
                        .reason = reason,
                        .service = method->name,
                        .session = origin->login ? origin->login->id : NULL,
                        .pid = p->pid,
                        .origin = &from });
}

/* Replies and records. Always 1, or -errno. */
static int refuse(Call *call, const Method *method, const Origin *origin, Failure *failure) {
        int r;

        record_call(call, method, origin, "refused", failure->message);
        r = manager_reply_failure(call, failure);
        failure_done(failure);
        return r < 0 ? r : 1;
}

static int refuse_elevated(Call *call, const Method *method, const Origin *origin) {
        unsigned uid = (unsigned)call_principal(call)->uid, login_uid = (unsigned)origin->login_uid;
        Failure failure = {};
        int r;

        if (!origin->is_elevated)
                r = failure_set(&failure, FAILURE_NOT_ALLOWED,
                                "Keep the process that connects alive until it has its answer",
                                "this needs to know who logged in, and that cannot be told: the process "
                                "that connected for uid %u has ended or is hidden",
                                uid);
        else if (origin->origin)
                r = failure_set(&failure, FAILURE_NOT_ALLOWED,
                                "Log in as the user whose vault it is, over ssh or at the console",
                                "this is refused for uid %u, since it comes from the login of %s (uid %u)",
                                uid, origin->origin->user, login_uid);
        else
                r = failure_set(&failure, FAILURE_NOT_ALLOWED,
                                "Log in as the user whose vault it is, over ssh or at the console",
                                "this is refused for uid %u, since it comes from a login of uid %u", uid,
                                login_uid);
        return r == FAILED ? refuse(call, method, origin, &failure) : r;
}

static int refuse_container(Call *call, const Method *method, const Origin *origin) {
        Failure failure = {};
        int r;

        r = failure_set(&failure, FAILURE_NOT_ALLOWED, NULL,
                        "callers in containers are refused on this host (uid %u)",
                        (unsigned)call_principal(call)->uid);
        return r == FAILED ? refuse(call, method, origin, &failure) : r;
}

static int admit_root(Call *call) {
        uid_t uid = call_principal(call)->uid;
        int r;

        if (call_door(call) == DOOR_CONTROL && (uid == 0 || uid == geteuid()))
                return 0;
        r = call_error(call, "org.varlink.service.PermissionDenied", NULL);
        return r < 0 ? r : 1;
}

/* 0: it may go on. */
static int admit_container(Manager *m, Call *call, const Method *method, const Origin *origin) {
        if (m->config->containers != CONTAINERS_REFUSE)
                return 0;
        /* Not known is refused; and what was read is believed only of the process that connected. */
        if (process_is_contained(call_principal(call)->pid) == 0 && call_peer_is_same_process(call))
                return 0;
        return refuse_container(call, method, origin);
}

/* While a restore is under way whatever is written would be lost with the file that it replaces. */
static int refuse_while_restoring(Call *call) {
        Failure failure = {};
        int r;

        r = failure_set(&failure, FAILURE_NOT_ALLOWED, "Try again when it has ended",
                        "a restore of the store is under way");
        if (r == FAILED)
                r = manager_reply_failure(call, &failure);
        failure_done(&failure);
        return r < 0 ? r : 1;
}

/* Of an older store nothing is opened: no vault, and for the web pages no flow. */
static int admit_store(Manager *m, Call *call, const Method *method) {
        Failure failure = {};
        int r;

        r = method->opens_no_vault ? 0 : manager_refuse_old_store(m, &failure);
        if (r == FAILED)
                r = manager_reply_failure(call, &failure) < 0 ? -ENOMEM : 1;
        failure_done(&failure);
        return r;
}

int manager_admit(Call *call, const Method *method, void *userdata) {
        bool is_authority = method->class == METHOD_AUTHORITY;
        Manager *m = userdata;
        Elevated rule = m->config->elevated;
        Origin origin;
        int r;

        if (transfer_is_restore(m->transfer))
                return refuse_while_restoring(call);
        if (method->class == METHOD_ROOT)
                return admit_root(call);
        r = admit_store(m, call, method);
        if (r != 0 || method->class == METHOD_WEB)
                return r;
        if (rule == ELEVATED_AUTO)
                rule = is_authority ? ELEVATED_REFUSE : ELEVATED_RECORD;

        if (rule == ELEVATED_ALLOW && m->config->containers == CONTAINERS_ALLOW && !is_authority &&
                        !method->is_recorded)
                return 0;
        /* Most callers are who they logged in as, which is told without the registry. */
        const Principal *p = call_principal_with_audit(call);
        if (rule == ELEVATED_RECORD && m->config->containers == CONTAINERS_ALLOW && !is_authority &&
                        !method->is_recorded && p->audit_error == 0 &&
                        (p->login_uid == UID_INVALID || p->login_uid == p->uid))
                return 0;
        manager_origin(m, call, &origin);
        r = admit_container(m, call, method, &origin);
        if (r != 0)
                return r;
        if (rule == ELEVATED_REFUSE && (origin.is_elevated || streq(origin.name, "unknown") ||
                                                       !call_peer_is_same_process(call)))
                return refuse_elevated(call, method, &origin);
        if (method->records_itself)
                return 0;
        if (is_authority || method->is_recorded || (rule == ELEVATED_RECORD && origin.is_elevated))
                record_call(call, method, &origin, "admitted", NULL);
        return 0;
}
