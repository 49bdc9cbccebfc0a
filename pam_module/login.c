/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The calls of io.vaultd.Login: one line out, one line back.
 *
 * Trust: the socket lies in a folder of root's and is 0600, yet an admin may point socket= elsewhere, so the listener
 * has to be root or whoever we run as anyway; otherwise any user who owns that path could hand out session ids. The
 * answer is a stranger's text all the same: scanned strictly, one message, the id limited to harmless characters
 * before it gets near an environment, the error name before it gets near a log. The message text of an error is not
 * taken over at all, it is in the daemon's own journal.
 *
 * Credentials: inside a setuid su the real uid is the user's. Messages therefore carry the effective one explicitly,
 * which is what the daemon saw when we connected (wire_client_send_effective()).
 *
 * Labels (tty, rhost) that are empty, overlong or not UTF-8 are left out; rhost is partly the remote side's choice and
 * must not cost anybody the vault. Libc only, no state, any thread. */

#include <stdio.h>

#include "json/reader.h"
#include "json/scan.h"
#include "json/write.h"
#include "util/wire-client.h"

#include "login.h"

#define LABEL_MAX   256U
#define SESSION_MAX 128U

static int message_add_label(Buffer *b, const char *name, const char *text) {
        size_t size = b->size;
        int r;

        if (isempty(text) || strlen(text) > LABEL_MAX)
                return 0;
        r = buffer_printf(b, ",\"%s\":", name);
        if (r < 0)
                return r;
        r = json_write_string(b, text);
        if (r == -EILSEQ) {
                b->size = size;
                return 0;
        }
        return r;
}

static int message_open(Buffer *b, const Login *login) {
        int r;

        r = buffer_printf(b,
                        "{\"method\":\"io.vaultd.Login.Open\",\"parameters\":{\"uid\":%lu,\"leader\":%ld,"
                        "\"user\":",
                        (unsigned long)login->uid, (long)login->leader);
        if (r < 0)
                return r;
        r = json_write_string(b, login->user);
        if (r < 0)
                return r;
        r = buffer_append_text(b, ",\"service\":");
        if (r < 0)
                return r;
        r = json_write_string(b, login->service);
        if (r < 0)
                return r;
        r = message_add_label(b, "tty", login->tty);
        if (r < 0)
                return r;
        r = message_add_label(b, "rhost", login->rhost);
        if (r < 0)
                return r;
        return buffer_append_text(b, "}}");
}

static int message_close(Buffer *b, const char *session) {
        int r;

        r = buffer_append_text(b, "{\"method\":\"io.vaultd.Login.Close\",\"parameters\":{\"session\":");
        if (r < 0)
                return r;
        r = json_write_string(b, session);
        if (r < 0)
                return r;
        return buffer_append_text(b, "},\"oneway\":true}");
}

/* Whether text is 1 to max characters of the kind that names are made of. */
static bool is_plain_name(const char *text, size_t max) {
        size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.");

        return n > 0 && n <= max && text[n] == 0;
}

static int fail(LoginFailure *failure, int error, const char *text) {
        (void)snprintf(failure->text, sizeof(failure->text), "%s", text);
        return error;
}

static int fail_errno(LoginFailure *failure, int error, const char *what) {
        char buffer[64];

        (void)snprintf(failure->text, sizeof(failure->text), "%s: %s", what,
                        strerror_r(-error, buffer, sizeof(buffer)));
        return error;
}

static int connect_to(const char *socket, uint64_t deadline_usec, WireClient **ret) {
        _cleanup_(wire_client_freep) WireClient *c = NULL;
        uid_t uid;
        int r;

        r = wire_client_connect(socket, deadline_usec, /* require_root= */ false, &c);
        if (r < 0)
                return r;
        uid = wire_client_peer_uid(c);
        if (uid != 0 && uid != geteuid())
                return -EPERM;
        wire_client_send_effective(c);
        *ret = TAKE_PTR(c);
        return 0;
}

static int read_error(const char *error, LoginFailure *ret_failure) {
        if (streq(error, "io.vaultd.NotAllowed"))
                ret_failure->is_no_vault_user = true;
        if (is_plain_name(error, 100))
                (void)snprintf(ret_failure->text, sizeof(ret_failure->text), "vaultd refused: %s", error);
        else
                (void)snprintf(ret_failure->text, sizeof(ret_failure->text), "vaultd refused");
        return -EREMOTEIO;
}

/* Takes the reply apart. 0 and the id, or -errno and why. */
static int read_reply(const char *reply, size_t n, char **ret_session, char **ret_notice,
                LoginFailure *ret_failure) {
        _cleanup_(freep) char *error = NULL, *session = NULL, *notice = NULL;
        bool continues = false;
        int r;

        r = json_scan(reply, n, &json_limits_wire, NULL);
        if (r < 0)
                return fail_errno(ret_failure, r, "cannot read the reply of vaultd");
        if (r > 0) {
                (void)snprintf(ret_failure->text, sizeof(ret_failure->text), "the reply of vaultd is %s",
                                json_fault_to_string(r));
                return -EBADMSG;
        }

        r = json_read_string(reply, n, &error, "error", NULL);
        if (r == 0)
                return read_error(error, ret_failure);
        if (r == -ENOENT)
                r = json_read_bool(reply, n, &continues, "continues", NULL);
        if (r == -ENOENT || (r == 0 && !continues))
                r = json_read_string(reply, n, &session, "parameters", "session", NULL);
        else if (r == 0)
                r = -EBADMSG;
        if (r == -ENOMEM)
                return fail_errno(ret_failure, r, "cannot read the reply of vaultd");
        if (r < 0 || !is_plain_name(session, SESSION_MAX))
                return fail(ret_failure, -EBADMSG, "the reply of vaultd is not what io.vaultd.Login says");

        /* Beside the point of a login: one that cannot be read is none. */
        (void)json_read_string(reply, n, &notice, "parameters", "notice", NULL);
        *ret_session = TAKE_PTR(session);
        *ret_notice = TAKE_PTR(notice);
        return 0;
}

int login_open(const char *socket, const Login *login, uint64_t deadline_usec, char **ret_session,
                char **ret_notice, LoginFailure *ret_failure) {
        _cleanup_(wire_client_freep) WireClient *c = NULL;
        _cleanup_(buffer_done) Buffer b = {};
        const char *reply;
        size_t n;
        int r;

        *ret_failure = (LoginFailure){};

        r = message_open(&b, login);
        if (r < 0)
                return fail_errno(ret_failure, r, "cannot write the request");
        r = connect_to(socket, deadline_usec, &c);
        if (r == -EPERM)
                return fail(ret_failure, r, "the listener of the socket is not root");
        if (r == -ETIMEDOUT)
                return fail(ret_failure, r, "vaultd does not take connections, timed out");
        if (r < 0)
                return fail_errno(ret_failure, r, "cannot connect to vaultd");
        r = wire_client_send(c, (const char *)b.bytes, b.size, deadline_usec);
        if (r < 0)
                return fail_errno(ret_failure, r, "cannot send to vaultd");
        r = wire_client_receive(c, deadline_usec, &reply, &n);
        if (r == -ETIMEDOUT)
                return fail(ret_failure, r, "vaultd did not answer in time");
        if (r == -EPIPE)
                return fail(ret_failure, r, "vaultd closed the connection without an answer");
        if (r < 0)
                return fail_errno(ret_failure, r, "cannot receive from vaultd");
        return read_reply(reply, n, ret_session, ret_notice, ret_failure);
}

int login_close(const char *socket, const char *session, uint64_t deadline_usec) {
        _cleanup_(wire_client_freep) WireClient *c = NULL;
        _cleanup_(buffer_done) Buffer b = {};
        int r;

        r = message_close(&b, session);
        if (r < 0)
                return r;
        r = connect_to(socket, deadline_usec, &c);
        if (r < 0)
                return r;
        return wire_client_send(c, (const char *)b.bytes, b.size, deadline_usec);
}
