/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultd-accounts: tells vaultd which local accounts are locked or expired (V10, T24).
 *
 * That stands in shadow(5), which only root may read, and vaultd is not root: so root's service manager runs this program, whenever the
 * file changes and every quarter of an hour, since a day of expiry comes without a change. It reads, names each closed account at the
 * control socket, and ends. vaultd locks the vault that was made for that user under that uid, if there is one and it is open; of what
 * else is in shadow nothing is said. No hash leaves this process, and each is overwritten before the next entry is read.
 *
 * Opening is nobody's but an administrator's (vaultctl admin unlock): an account that is open again tells who may log in, not that the
 * vault is to be.
 *
 * Accounts of a directory are not in shadow; of those vaultd notices by itself when they are gone.
 *
 * Libc only, as the PAM module. */

#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <time.h>

#include "accounts/account.h"
#include "json/reader.h"
#include "json/scan.h"
#include "json/write.h"
#include "util/buffer.h"
#include "util/clock.h"
#include "util/wire-client.h"

#define WAIT_USEC (10 * USEC_PER_SEC)

typedef struct Teller {
        const char *socket;
        WireClient *client;
        unsigned n_locked;
} Teller;

static int complain(int error, const char *what) {
        fprintf(stderr, "vaultd-accounts: %s: %s\n", what, strerror(-error));
        return error;
}

static int write_call(Buffer *b, uid_t uid, const char *user, AccountState state) {
        int r = buffer_printf(b,
                        "{\"method\":\"io.vaultd.Admin.AccountClosed\",\"parameters\":{\"uid\":%lu,\"how\":"
                        "\"%s\",\"user\":",
                        (unsigned long)uid, state == ACCOUNT_LOCKED ? "locked" : "expired");

        if (r >= 0)
                r = json_write_string(b, user);
        return r < 0 ? r : buffer_append_text(b, "}}");
}

static int read_reply(Teller *t, const char *reply, size_t n, const char *user) {
        _cleanup_(freep) char *error = NULL;
        bool is_locked = false;
        int r;

        if (json_scan(reply, n, &json_limits_wire, NULL) != 0)
                return -EBADMSG;
        r = json_read_string(reply, n, &error, "error", NULL);
        if (r == 0)
                return -EREMOTEIO;
        r = json_read_bool(reply, n, &is_locked, "parameters", "locked", NULL);
        if (r < 0)
                return r == -ENOMEM ? r : -EBADMSG;
        if (is_locked) {
                printf("The vault of %s was locked.\n", user);
                t->n_locked++;
        }
        return 0;
}

/* Whoever listens must be root, or who called us (tests): nobody else is told about accounts. */
static int teller_connect(Teller *t) {
        uid_t uid;
        int r;

        if (t->client)
                return 0;
        r = wire_client_connect(t->socket, now_monotonic() + WAIT_USEC, false, &t->client);
        if (r < 0)
                return complain(r, "cannot connect to vaultd");
        uid = wire_client_peer_uid(t->client);
        return uid == 0 || uid == geteuid() ? 0 : complain(-EPERM, "the listener of the socket is not root");
}

static int teller_tell(Teller *t, uid_t uid, const char *user, AccountState state) {
        _cleanup_(buffer_done) Buffer call = {};
        uint64_t deadline = now_monotonic() + WAIT_USEC;
        const char *reply;
        size_t n;
        int r;

        r = write_call(&call, uid, user, state);
        if (r == -EILSEQ)
                return 0; /* a name that is no text is no user of vaultd's */
        if (r >= 0)
                r = teller_connect(t);
        if (r >= 0)
                r = wire_client_send(t->client, (const char *)call.bytes, call.size, deadline);
        if (r >= 0)
                r = wire_client_receive(t->client, deadline, &reply, &n);
        if (r >= 0)
                r = read_reply(t, reply, n, user);
        return r < 0 ? complain(r, "vaultd was not told about an account") : 0;
}

/* 0: nothing to tell. */
static int tell_about(Teller *t, const struct spwd *entry, long today) {
        AccountState state = account_state(entry, today);
        const struct passwd *account;

        if (state == ACCOUNT_OPEN)
                return 0;
        account = getpwnam(entry->sp_namp);
        return account ? teller_tell(t, account->pw_uid, account->pw_name, state) : 0;
}

static int tell_all(Teller *t) {
        long today = (long)(now_realtime() / USEC_PER_SEC / 86400);
        struct spwd *entry;
        int r = 0;

        setspent();
        errno = 0;
        while (r >= 0 && (entry = getspent())) {
                r = tell_about(t, entry, today);
                if (entry->sp_pwdp)
                        explicit_bzero(entry->sp_pwdp, strlen(entry->sp_pwdp));
                errno = 0;
        }
        if (r >= 0 && errno != 0 && errno != ENOENT)
                r = complain(-errno, "cannot read the shadow file");
        endspent();
        return r;
}

static void print_help(void) {
        printf("vaultd-accounts [OPTION]...\n\n"
               "Tells vaultd which local accounts are locked or expired.\n\n"
               "  --socket PATH  vaultd's control socket (default " VAULTD_SOCKET_CONTROL ")\n"
               "  --version, --help\n");
}

int main(int argc, char **argv) {
        static const struct option options[] = { { "socket", required_argument, NULL, 's' },
                { "version", no_argument, NULL, 'v' }, { "help", no_argument, NULL, 'h' }, {} };
        Teller t = { .socket = VAULTD_SOCKET_CONTROL };
        int r;

        for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) >= 0;)
                switch (c) {
                case 's':
                        t.socket = optarg;
                        break;
                case 'v':
                        puts("vaultd-accounts " VAULTD_VERSION);
                        return EXIT_SUCCESS;
                case 'h':
                        print_help();
                        return EXIT_SUCCESS;
                default:
                        return 2;
                }
        if (optind < argc) {
                fprintf(stderr, "vaultd-accounts: unexpected argument %s\n", argv[optind]);
                return 2;
        }
        r = tell_all(&t);
        (void)wire_client_free(t.client);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
