/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Login: pam_vaultd.so registers logins. Here and in io.vaultd.Admin a request names a uid, so both are
 * reachable by root through the control socket alone (I1): the socket's mode keeps others out, the server offers the
 * interface at that door only, and the gate looks at the peer's uid once more. */

#include "api/logins.h"
#include "api/manager.h"
#include "audit/audit.h"

/* Lines that a login is told at most; pam_vaultd.so shows as many. */
#define NOTICE_LINES_MAX 8U

static const char description[] =
#include "daemon/api/io.vaultd.Login.inc"
                ;

typedef struct OpenParameters {
        int64_t uid, leader;
        const char *user, *service, *tty, *rhost;
} OpenParameters;

static const JsonField open_fields[] = {
        { "uid", JSON_FIELD_INT64, offsetof(OpenParameters, uid), true },
        { "user", JSON_FIELD_STRING, offsetof(OpenParameters, user), true, 256 },
        { "service", JSON_FIELD_STRING, offsetof(OpenParameters, service), true, 64 },
        { "tty", JSON_FIELD_STRING, offsetof(OpenParameters, tty), false, 256 },
        { "rhost", JSON_FIELD_STRING, offsetof(OpenParameters, rhost), false, 256 },
        { "leader", JSON_FIELD_INT64, offsetof(OpenParameters, leader), true },
        {},
};

/* A line for each connection that only its user can mend, for a terminal; NULL: there is none. What does not open is said elsewhere: a login is not
 * the place. */
static int login_notice(Manager *m, const Vault *vault, char **ret) {
        _cleanup_(buffer_done) Buffer text = {};
        Credential **list = NULL;
        size_t n = 0, n_told = 0;
        int r;

        r = credential_record_list(m->store, vault, NULL, &list, &n);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        for (size_t i = 0; i < n && r >= 0; i++) {
                const ServiceProfile *p = config_find_service(m->config, list[i]->service);
                bool is_default = streq(list[i]->label, "default"),
                     is_grant = list[i]->kind == CREDENTIAL_OAUTH;
                const char *ignored;

                if (!p || !streq(oauth_credential_state(list[i], &ignored), "needs-reconnect"))
                        continue;
                if (++n_told == NOTICE_LINES_MAX) {
                        r = buffer_append_text(&text, "\nand more. Run: vaultctl status");
                        break;
                }
                r = buffer_printf(&text,
                                "%s%s credentials need to be connected again. Run: vaultctl connect "
                                "%s%s%s%s",
                                text.size > 0 ? "\n" : "", p->title, p->name, is_default ? "" : " --as ",
                                is_default ? "" : list[i]->label, is_grant ? "" : " --token-stdin");
        }
        credential_list_free(list, n);
        if (r < 0 || text.size == 0)
                return r;
        *ret = strndup((const char *)text.bytes, text.size);
        return *ret ? 0 : -ENOMEM;
}

static int method_open(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(vault_freep) Vault *vault = NULL;
        _cleanup_(freep) char *notice = NULL;
        Manager *m = userdata;
        OpenParameters p = {};
        Failure failure = {};
        const Login *login;
        const char *bad;
        int r;

        if (json_dispatch(parameters, open_fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (p.uid < 0 || p.uid >= (int64_t)UID_INVALID || p.uid == UID_OVERFLOW)
                return call_invalid_parameter(call, "uid");
        if (p.leader <= 0 || p.leader > INT32_MAX)
                return call_invalid_parameter(call, "leader");

        /* A login of somebody who gets no vault (root, a service account) is registered all the same. */
        r = manager_open_vault(m, (uid_t)p.uid, p.user, &vault, &failure);
        failure_done(&failure);
        if (r == 0)
                r = manager_note_verified(m, (uid_t)p.uid, p.user);
        if (r < 0)
                return r;
        const Login asked = { .uid = (uid_t)p.uid,
                .user = (char *)(uintptr_t)p.user,
                .service = (char *)(uintptr_t)p.service,
                .tty = (char *)(uintptr_t)p.tty,
                .rhost = (char *)(uintptr_t)p.rhost,
                .leader = (pid_t)p.leader };
        r = logins_open(m->logins, &asked, &login);
        if (r == -ESRCH)
                return call_invalid_parameter(call, "leader");
        if (r == -EDQUOT) {
                r = failure_set(&failure, FAILURE_LIMIT, "End some of them: loginctl list-sessions",
                                "uid %u has %u logins at once, and no more are registered", (unsigned)p.uid,
                                LOGINS_PER_UID);
                r = manager_reply_outcome(call, r, &failure);
                failure_done(&failure);
                return r;
        }
        if (r < 0)
                return r;
        audit_record(&(AuditEvent){ .kind = AUDIT_LOGIN_OPENED,
                        .uid = login->uid,
                        .user = login->user,
                        .verdict = "done",
                        .session = login->id,
                        .service = login->service,
                        .pid = login->leader });
        r = vault ? login_notice(m, vault, &notice) : 0;
        return r < 0 ? r
                     : call_reply(call, json_build("session", 's', login->id, "notice", 's', notice, NULL));
}

static int method_close(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { { "session", JSON_FIELD_STRING, 0, true, 64 }, {} };
        _cleanup_(freep) char *user = NULL;
        const char *id = NULL, *bad;
        Manager *m = userdata;
        uid_t uid;
        int r;

        if (json_dispatch(parameters, fields, &id, &bad) < 0)
                return call_invalid_parameter(call, bad);
        r = logins_close(m->logins, id, &uid, &user);
        if (r == 0)
                audit_record(&(AuditEvent){ .kind = AUDIT_LOGIN_CLOSED,
                                .uid = uid,
                                .user = user,
                                .verdict = "done",
                                .session = id });
        /* Closing what is gone already is no fault: its leader may have ended first. */
        return call_reply(call, NULL);
}

static const Method methods[] = {
        { "Open", METHOD_ROOT, method_open, .is_fiber = true },
        { "Close", METHOD_ROOT, method_close },
        {},
};

const Interface interface_login = { "io.vaultd.Login", description, DOOR_CONTROL, methods };
