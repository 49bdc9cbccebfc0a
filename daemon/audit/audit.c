/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The audit trail's journal lines. Each kind has a message id, so that `journalctl MESSAGE_ID=…` finds it whatever
 * the wording, and fields VAULTD_*, so that scripts need not read the message. Foreign texts are made printable here
 * once more: the journal is read on terminals (T28).
 *
 * Calls that are refused, or let pass and noted, cost a caller nothing: whoever makes them in a loop would fill the journal
 * and push the others' records out of it (T26). So those have a budget for each uid and what is left out is counted
 * in a record of its own. What has changed something is never left out: it cannot be caused at will, since each of those has
 * limits of its own, and it says by itself where the caller came from, so that it needs no other record to be understood.
 *
 * Who may call: oauth, platform and api, in the loop's thread, after the event is durable or refused. */

#include <stdarg.h>
#include <stdio.h>

#include "audit/audit.h"
#include "ipc/log-budget.h"
#include "util/encode.h"
#include "util/log.h"

typedef struct AuditName {
        const char *id; /* sd-journal message id, made once with systemd-id128 new */
        const char *text;
} AuditName;

static const AuditName audit_names[] = {
        [AUDIT_VAULT_CREATED] = { "6e3af79ab8884d25b4919878f57dc0ec", "vault made" },
        [AUDIT_LOGIN_OPENED] = { "5380b9df609b402287a49cad55ffc478", "login registered" },
        [AUDIT_LOGIN_CLOSED] = { "87d377599f0e45f29c2a40508b5619e4", "login ended" },
        [AUDIT_CONNECT_BEGUN] = { "c3a494fafe4d4af18d1d77d7df910220", "connecting begun" },
        [AUDIT_CONNECT_REFUSED] = { "d262dcf046134772a633bb319d5b88df", "connecting refused" },
        [AUDIT_GRANT_QUARANTINED] = { "6e95e86a99174a2c8fbeedda298d9b9b", "grant quarantined" },
        [AUDIT_GRANT_CLAIMED] = { "174096637f534d4280e5853a92c497d9", "grant claimed" },
        [AUDIT_GRANT_REVOKED] = { "730b6b2736c54e048aa306ddd704962d", "grant revoked" },
        [AUDIT_CLAIM_REJECTED] = { "ef963804e1a043a6b63388184b0f1b93", "claim rejected" },
        [AUDIT_DISCONNECTED] = { "3d9ef84d099d43f8ae07c2398fa473ca", "service disconnected" },
        [AUDIT_PLATFORM_VAULT] = { "a3acad5b5dbb4622b4b63b4456dab74b", "platform vault bound" },
        [AUDIT_CREDENTIAL_PUSHED] = { "4d2561e89e0440699d6cd1c14e88222d",
                        "credential given to the platform" },
        [AUDIT_SESSION_STARTED] = { "0f4fc510b6b34524a80b1fac4a18de89", "agent session started" },
        [AUDIT_SESSION_REFUSED] = { "3c8d151efea244e4b7146ee514ea84df", "agent session refused" },
        [AUDIT_CALL] = { "7b910d15ab4b49578440bf3aec365f20", "call" },
        [AUDIT_VAULT_SEALED] = { "73ed95a58d344e689613deefe714dba7", "vault sealed" },
        [AUDIT_VAULT_LOCKED] = { "9384156ed8a9471283e0735eff5071c2", "vault locked" },
        [AUDIT_VAULT_UNLOCKED] = { "6a1d1c1b30204b2aa7ea48d8794c76c6", "vault unlocked" },
        [AUDIT_VAULT_UNSEALED] = { "a1d905a72bbc4549896cb6da71e9a50b", "vault unsealed" },
        [AUDIT_VAULT_SET_ASIDE] = { "fd86e246189348c5a913e7508581d96c", "vault set aside" },
        [AUDIT_TOKEN_READ] = { "5ac82a3afe6c4d29947ba5aaffee5290", "token read" },
        [AUDIT_BACKED_UP] = { "65aa8ec6b8074f838db22d6ca2cf4880", "store backed up" },
        [AUDIT_RESTORED] = { "0b592da5c0c94b0f8379f90331c7e01b", "store restored" },
        [AUDIT_STORE_ACCEPTED] = { "543b3332ce2f428eb750abd52cfac336", "older store accepted" },
        [AUDIT_TOKEN_KEPT] = { "e604b9f01c2b4042bf98ecf4ee92a3df", "token kept" },
        [AUDIT_VAULT_DESTROYED] = { "a1aa1111b47a42b18b2aa658d0c01fe2", "vault destroyed" },
        [AUDIT_RECOVERY_KEY] = { "efacbcd902794f848f74552f4040d676", "recovery key made" },
        [AUDIT_REKEY_BEGUN] = { "c9a14a6df3b34bb39ceabb36ca9182d0", "rekeying begun" },
        [AUDIT_REKEY_DONE] = { "4fb35710dfef46d2accea1f57ddd965a", "rekeying done" },
        [AUDIT_TOKEN_REFRESHED] = { "6b76230f5e8248eca38d52c23aa0440d", "token refreshed" },
        [AUDIT_NEEDS_RECONNECT] = { "41cdea728924418ea3c2bd155132665b", "connection has to be made again" },
        [AUDIT_PAGE_OPENED] = { "eea59c2a934642d084f6f98fcbdbc948", "page of services opened" },
        [AUDIT_DISCONNECT_OFFERED] = { "ff274b60fc5245fe9b8bd39172994ed5", "disconnect asked for on the page" },
        [AUDIT_REVOKED] = { "483c566fca58442f9b8cc87f3166a4a3", "credentials revoked" },
};

#define AUDIT_TEXT_MAX 256U
#define AUDIT_LEFT_OUT "e694b02ca97b4c84a6d83f5c185eacbb"

/* Like the log's queue these are the process's: a record is written by whoever knows of it. */
static LogBudget *budget;
static uid_t strangers;

static void tell_left_out(uid_t uid, unsigned n_more) {
        char who[16] = "", reason[64];

        (void)snprintf(reason, sizeof(reason), "%u more records and lines like these", n_more);
        if (uid != UID_INVALID)
                (void)snprintf(who, sizeof(who), "%u", (unsigned)uid);
        const LogField fields[] = {
                { "MESSAGE_ID", AUDIT_LEFT_OUT },
                { "VAULTD_UID", isempty(who) ? NULL : who },
                { "VAULTD_REASON", reason },
        };
        log_full(LOG_NOTICE, fields, ELEMENTSOF(fields), "records left out, %s%s: %s",
                        isempty(who) ? "uids that are nobody's login" : "uid ", who, reason);
}

int audit_open(sd_event *event, uid_t strangers_from) {
        int r = log_budget_new(event, &budget);

        if (r < 0)
                return r;
        log_budget_set_tell(budget, tell_left_out);
        strangers = strangers_from;
        return 0;
}

void audit_close(void) {
        budget = log_budget_free(budget);
}

/* Whether the uid has had enough of what it can cause at will. */
static bool is_spent(uid_t uid) {
        uid_t payer = strangers > 0 && uid >= strangers ? UID_INVALID : uid;

        return budget && !log_budget_admits(budget, payer);
}

void audit_line(int level, uid_t uid, const char *format, ...) {
        char text[512];
        va_list args;

        if (is_spent(uid))
                return;
        va_start(args, format);
        (void)vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        log_full(level, NULL, 0, "%s", text);
}

void audit_record(const AuditEvent *e) {
        if (!streq(e->verdict, "done") && is_spent(e->uid))
                return;
        const AuditName *name = &audit_names[e->kind];
        _cleanup_(freep) char *account = printable(e->account ?: "", AUDIT_TEXT_MAX);
        _cleanup_(freep) char *reason = printable(e->reason ?: "", AUDIT_TEXT_MAX);
        _cleanup_(freep) char *cgroup =
                        printable(e->origin && e->origin->cgroup ? e->origin->cgroup : "", AUDIT_TEXT_MAX);
        uid_t login_uid = e->origin ? e->origin->login_uid : UID_INVALID;
        uint32_t audit_session = e->origin ? e->origin->audit_session : UINT32_MAX;
        bool is_other = login_uid != UID_INVALID && login_uid != e->uid;
        char uid[16], pid[16], login[16], session[16];

        (void)snprintf(uid, sizeof(uid), "%u", (unsigned)e->uid);
        (void)snprintf(pid, sizeof(pid), "%d", (int)e->pid);
        (void)snprintf(login, sizeof(login), "%u", (unsigned)login_uid);
        (void)snprintf(session, sizeof(session), "%u", audit_session);
        const LogField fields[] = {
                { "MESSAGE_ID", name->id },
                { "VAULTD_UID", e->uid != UID_INVALID ? uid : NULL },
                { "VAULTD_USER", e->user },
                { "VAULTD_VERDICT", e->verdict },
                { "VAULTD_REASON", isempty(reason) ? NULL : reason },
                { "VAULTD_SERVICE", e->service },
                { "VAULTD_ACCOUNT", isempty(account) ? NULL : account },
                { "VAULTD_SESSION", e->session },
                { "VAULTD_OBJECT", e->object },
                { "VAULTD_PID", e->pid > 0 ? pid : NULL },
                { "VAULTD_ORIGIN", e->origin ? e->origin->name : NULL },
                { "VAULTD_LOGIN_UID", login_uid != UID_INVALID ? login : NULL },
                { "VAULTD_AUDIT_SESSION", audit_session != UINT32_MAX ? session : NULL },
                { "VAULTD_CGROUP", isempty(cgroup) ? NULL : cgroup },
                { "VAULTD_CONTAINER", e->origin ? e->origin->container : NULL },
                { "VAULTD_GROUPS", e->origin ? e->origin->groups : NULL },
        };
        log_full(streq(e->verdict, "done") || streq(e->verdict, "admitted") ? LOG_INFO : LOG_NOTICE, fields,
                        ELEMENTSOF(fields), "%s: %s%s%s, uid %s%s%s%s%s%s%s", name->text,
                        e->user ?: "unknown user", e->service ? ", " : "", e->service ?: "",
                        e->uid != UID_INVALID ? uid : "unknown", is_other ? ", login uid " : "",
                        is_other ? login : "", isempty(account) ? "" : ", account ", account ?: "",
                        isempty(reason) ? "" : ": ", reason ?: "");
}
