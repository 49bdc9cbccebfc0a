/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* pam_vaultd.so: tells vaultd who has logged in (I6).
 *
 * session: open registers the login over the root-only control socket, which also makes the user's vault when there is
 * none, sets VAULTD_SESSION in the PAM environment and keeps the id for close. auth, account and password: PAM_IGNORE.
 *
 * The one rule is that a login never suffers: one round trip, one absolute deadline (timeout=, 1.5 s, so that the whole
 * login stays within two seconds), and whatever goes wrong is PAM_IGNORE and one line in the log that says why this login is without a vault. The name-service look-up
 * before it counts against the deadline but cannot be cut short; the program has just made the same one. `required`
 * turns failures into PAM_SESSION_ERR, except the daemon's answer that users of this kind have no vault: cron jobs of
 * root must run. Close is one message that nobody answers; should it be lost (sd-pam has given up root by then),
 * vaultd sees the leader's end by its pidfd.
 *
 * With notify=yes the user is told which connections have to be made again: that came with the one answer, so it costs no
 * other round trip, and its bytes are made harmless once more, for they end on a terminal.
 *
 * The code runs inside sshd, su, login and cron: no global state, no signal disposition changed, no descriptor kept,
 * no symbol exported but pam_sm_*, libc and libpam only. VAULTD_SESSION is a label, never evidence. */

#include <pwd.h>
#include <stdio.h>
#include <syslog.h>

#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <security/pam_modutil.h>

#include "util/clock.h"
#include "util/encode.h"

#include "login.h"
#include "options.h"

#define DATA_NAME "vaultd-session"
/* The kernel takes a message for a local socket at once or not at all; this is for a full backlog. */
#define CLOSE_BUDGET (5 * USEC_PER_MSEC)
/* Of what vaultd has to say to who logs in. */
#define NOTICE_LINES_MAX 8U
#define NOTICE_LINE_MAX  200U

/* With pamh NULL faults are not reported: open has done that. */
static void options_read(pam_handle_t *pamh, int argc, const char **argv, Options *ret) {
        options_init(ret);
        for (int i = 0; i < argc; i++)
                if (options_take(ret, argv[i]) < 0 && pamh)
                        pam_syslog(pamh, LOG_ERR,
                                        "option %d is not known or its value is wrong, it is ignored",
                                        i + 1);
}

static const char *get_text(pam_handle_t *pamh, int item) {
        const void *value = NULL;

        return pam_get_item(pamh, item, &value) == PAM_SUCCESS ? value : NULL;
}

static void session_free(pam_handle_t *pamh, void *data, int status) {
        free(data);
}

/* Looks the user up. *ret_login borrows from the handle. 0, or -errno and why. */
static int find_user(pam_handle_t *pamh, Login *ret_login, LoginFailure *ret_failure) {
        const char *user = get_text(pamh, PAM_USER), *service = get_text(pamh, PAM_SERVICE);
        const struct passwd *entry;

        *ret_failure = (LoginFailure){};
        if (isempty(user) || isempty(service)) {
                (void)snprintf(ret_failure->text, sizeof(ret_failure->text),
                                "the program did not say who logs in");
                return -EINVAL;
        }
        entry = pam_modutil_getpwnam(pamh, user);
        if (!entry) {
                (void)snprintf(ret_failure->text, sizeof(ret_failure->text), "the user is not known");
                return -ESRCH;
        }
        *ret_login = (Login){
                .uid = entry->pw_uid,
                .user = entry->pw_name,
                .service = service,
                .tty = get_text(pamh, PAM_TTY),
                .rhost = get_text(pamh, PAM_RHOST),
                .leader = getpid(),
        };
        return 0;
}

/* Hands the id to the program's environment and keeps it for close; session is taken over when that works. */
static int keep_session(pam_handle_t *pamh, char *session) {
        char variable[sizeof("VAULTD_SESSION=") + 128];
        int r;

        (void)snprintf(variable, sizeof(variable), "VAULTD_SESSION=%s", session);
        r = pam_putenv(pamh, variable);
        if (r != PAM_SUCCESS)
                return r;
        r = pam_set_data(pamh, DATA_NAME, session, session_free);
        if (r != PAM_SUCCESS)
                (void)pam_putenv(pamh, "VAULTD_SESSION");
        return r;
}

/* One line for each connection that has to be made again. The program shows it or not; a login does not depend on it. */
static void show_notice(pam_handle_t *pamh, const char *notice) {
        for (unsigned n = 0; *notice && n < NOTICE_LINES_MAX; n++) {
                size_t length = strcspn(notice, "\n");
                _cleanup_(freep) char *line = strndup(notice, length);
                _cleanup_(freep) char *shown = line ? printable(line, NOTICE_LINE_MAX) : NULL;

                if (!isempty(shown))
                        (void)pam_info(pamh, "%s", shown);
                notice += length + (notice[length] == '\n');
        }
}

/* What a login without a vault comes to, and its one line. */
static int without_vault(pam_handle_t *pamh, const Options *options, const LoginFailure *failure) {
        if (failure->is_no_vault_user) {
                if (options->is_debug)
                        pam_syslog(pamh, LOG_DEBUG, "users of this kind have no vault");
                return PAM_IGNORE;
        }
        if (options->is_quiet && !options->is_required)
                return PAM_IGNORE;

        const char *name = get_text(pamh, PAM_USER);
        _cleanup_(freep) char *user = printable(name ? name : "?", 64);

        if (options->is_required) {
                pam_syslog(pamh, LOG_ERR, "login of %s is refused, it would be without a vault: %s",
                                user ? user : "?", failure->text);
                return PAM_SESSION_ERR;
        }
        pam_syslog(pamh, LOG_WARNING, "login of %s is without a vault: %s", user ? user : "?",
                        failure->text);
        return PAM_IGNORE;
}

_public_ int pam_sm_open_session(pam_handle_t *pamh, int flags, int argc, const char **argv) {
        uint64_t started = now_monotonic();
        _cleanup_(freep) char *session = NULL, *notice = NULL;
        const void *known = NULL;
        LoginFailure failure;
        Options options;
        Login login;

        options_read(pamh, argc, argv, &options);
        if (pam_get_data(pamh, DATA_NAME, &known) == PAM_SUCCESS && known)
                return PAM_SUCCESS; /* the module stands in the stack twice */

        if (find_user(pamh, &login, &failure) < 0 ||
                        login_open(options.socket, &login, started + options.timeout_usec, &session, &notice,
                                        &failure) < 0)
                return without_vault(pamh, &options, &failure);

        if (keep_session(pamh, session) != PAM_SUCCESS) {
                (void)login_close(options.socket, session, now_monotonic() + CLOSE_BUDGET);
                (void)snprintf(failure.text, sizeof(failure.text), "out of memory");
                return without_vault(pamh, &options, &failure);
        }
        if (options.is_debug)
                pam_syslog(pamh, LOG_DEBUG, "registered login session %s in %llu microseconds", session,
                                (unsigned long long)(now_monotonic() - started));
        (void)TAKE_PTR(session);
        if (options.is_notifying && notice && !(flags & PAM_SILENT))
                show_notice(pamh, notice);
        return PAM_SUCCESS;
}

_public_ int pam_sm_close_session(pam_handle_t *pamh, int flags, int argc, const char **argv) {
        const void *session = NULL;
        Options options;
        int r;

        options_read(NULL, argc, argv, &options);
        if (pam_get_data(pamh, DATA_NAME, &session) != PAM_SUCCESS || !session)
                return PAM_IGNORE;

        r = login_close(options.socket, session, now_monotonic() + CLOSE_BUDGET);
        if (options.is_debug)
                pam_syslog(pamh, LOG_DEBUG, "login session %s has ended%s", (const char *)session,
                                r < 0 ? ", vaultd could not be told and will see it by itself" : "");
        (void)pam_set_data(pamh, DATA_NAME, NULL, NULL);
        return PAM_SUCCESS;
}

_public_ int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv) {
        return PAM_IGNORE;
}

_public_ int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv) {
        return PAM_IGNORE;
}

_public_ int pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc, const char **argv) {
        return PAM_IGNORE;
}

_public_ int pam_sm_chauthtok(pam_handle_t *pamh, int flags, int argc, const char **argv) {
        return PAM_IGNORE;
}
