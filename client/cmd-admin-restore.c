/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl admin restore and accept-store: the two ways in which an older state of the store becomes the present one, by an
 * administrator's word.
 *
 * The recovery key is typed at the terminal, unseen, or is the first line of standard input; it goes to vaultd over the socket and
 * nowhere else. The file is only passed on: vaultd reads, checks and refuses it. */

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <termios.h>

#include "client/command.h"
#include "client/frames.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/terminal.h"
#include "json/object.h"
#include "util/clock.h"

#define MAGIC         "VAULTDB1" /* daemon/store/backup-format.h */
#define PIECE         (64U * 1024U)
#define KEY_MAX       1024U
#define PROGRESS_USEC (200 * USEC_PER_MSEC)

static const Option restore_options[] = { { "replace", OPTION_FLAG }, { "head", OPTION_TEXT },
        { "recovery-key-stdin", OPTION_FLAG }, {} };

typedef struct Source {
        const char *name;
        int fd;
        uint64_t size, n_bytes, told_usec;
        uint8_t first[8];
} Source;

static void source_done(Source *s) {
        s->fd = safe_close(s->fd);
}

static int fail_file(Fault *fault, const char *name, int error) {
        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.File", NULL, "%s: %s", name,
                        strerror(error));
}

static ssize_t source_read(Source *s, uint8_t *ret, size_t n) {
        size_t done = 0;

        while (done < n) {
                ssize_t k = read(s->fd, ret + done, n - done);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                done += (size_t)k;
        }
        return (ssize_t)done;
}

/* Nobody is to type a key for a file that is none. */
static int source_open(Source *s, Fault *fault) {
        struct stat st;
        ssize_t n;

        s->fd = streq(s->name, "-") ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                    : open(s->name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (s->fd < 0)
                return fail_file(fault, s->name, errno);
        if (isatty(s->fd))
                return fault_set(fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage", NULL,
                                "A backup does not come from a terminal");
        if (fstat(s->fd, &st) == 0 && S_ISREG(st.st_mode))
                s->size = (uint64_t)st.st_size;
        n = source_read(s, s->first, sizeof(s->first));
        if (n < 0)
                return fail_file(fault, s->name, (int)-n);
        if ((size_t)n < sizeof(s->first) || memcmp(s->first, MAGIC, sizeof(s->first)) != 0)
                return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.File", NULL,
                                "%s is no backup of vaultd", s->name);
        return 0;
}

/* A line from the terminal behind this process, also when standard input is the backup. Its echo comes back whatever happens here; a signal
 * leaves that to the shell. */
static int ask_key(char **ret, Fault *fault) {
        _cleanup_(closep) int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
        struct termios before, hidden;
        char line[KEY_MAX];
        ssize_t n;

        if (fd < 0 || tcgetattr(fd, &before) < 0)
                return fault_set(fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage",
                                "Say --recovery-key-stdin and give it as the first line of standard input",
                                "There is no terminal to ask for the recovery key");
        hidden = before;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        hidden.c_lflag |= ECHONL;
        /* In this order: what is typed at the sight of the question is not shown. */
        if (tcsetattr(fd, TCSAFLUSH, &hidden) < 0 || dprintf(fd, "Recovery key (it is not shown): ") < 0)
                return fail_file(fault, "/dev/tty", errno);
        n = read(fd, line, sizeof(line) - 1);
        (void)tcsetattr(fd, TCSAFLUSH, &before);
        if (n > 0) {
                line[n] = 0;
                line[strcspn(line, "\n")] = 0;
                *ret = strdup(line);
        }
        explicit_bzero(line, sizeof(line));
        if (n <= 0)
                return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.BadInput", NULL,
                                "No recovery key was given");
        return *ret ? 0 : fault_set_memory(fault);
}

static int read_key(char **ret, Fault *fault) {
        int r = terminal_read_line(ret);

        if (r == -ENOMEM)
                return fault_set_memory(fault);
        if (r < 0 || strlen(*ret) >= KEY_MAX)
                return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.BadInput", NULL,
                                "The first line of standard input is no recovery key");
        return 0;
}

static void progress(const Context *c, Source *s) {
        uint64_t now = now_monotonic();
        char text[96];

        if (now - s->told_usec < PROGRESS_USEC)
                return;
        s->told_usec = now;
        if (s->size > 0)
                (void)snprintf(text, sizeof(text), "%.1f of %.1f MiB read",
                                (double)s->n_bytes / (1024 * 1024), (double)s->size / (1024 * 1024));
        else
                (void)snprintf(text, sizeof(text), "%.1f MiB read", (double)s->n_bytes / (1024 * 1024));
        terminal_progress(c, text);
}

/* The file, from its first bytes on, which were read already. */
static int send_file(const Context *c, Frames *frames, Source *s, Fault *fault) {
        uint8_t piece[PIECE];
        ssize_t n = sizeof(s->first);
        int r = 0;

        memcpy(piece, s->first, sizeof(s->first));
        do {
                r = frames_send(frames, piece, (size_t)n, fault);
                s->n_bytes += (uint64_t)n;
                progress(c, s);
                if (r < 0 || frames_is_answered(frames))
                        return r;
                n = source_read(s, piece, sizeof(piece));
        } while (n > 0);
        if (n < 0)
                return fail_file(fault, s->name, (int)-n);
        terminal_progress(c, "checking");
        return frames_send(frames, NULL, 0, fault);
}

static int restore(const Context *c, const Arguments *a, Source *source, const char *key, json_object **ret,
                Fault *fault) {
        _cleanup_(json_putp) json_object *begin = NULL, *parameters = json_build("head", 's',
                                                                        arguments_value(a, "head"), NULL);
        _cleanup_(frames_freep) Frames *frames = NULL;
        _cleanup_(call_freep) Call *call = NULL;
        const uint8_t *bytes;
        size_t n;
        int r;

        if (!parameters || (arguments_has(a, "replace") && json_add_bool(parameters, "replace", true) < 0))
                return fault_set_memory(fault);
        r = call_open(c, &call, fault);
        if (r >= 0)
                r = call_upgrade(call, "io.vaultd.Store.Restore", TAKE_PTR(parameters), &begin, fault);
        if (r >= 0)
                r = frames_new(call, &frames, fault);
        if (r >= 0)
                r = frames_send(frames, key, strlen(key), fault);
        if (r >= 0)
                r = send_file(c, frames, source, fault);
        if (r >= 0)
                r = frames_receive(frames, &bytes, &n, ret, fault);
        terminal_progress(c, NULL);
        return r > 0 ? fault_set_bad_reply(fault, "it sends a file instead of taking one") : r;
}

static int say_result(const Context *c, json_object *result, Fault *fault) {
        int64_t vaults, credentials, damaged, created;
        const char *host, *kept = json_string(result, "kept");
        bool needs_reconnect;

        if (reply_need_int64(result, "vaults", &vaults, fault) < 0 ||
                        reply_need_int64(result, "credentials", &credentials, fault) < 0 ||
                        reply_need_int64(result, "damaged", &damaged, fault) < 0 ||
                        reply_need_int64(result, "created", &created, fault) < 0 ||
                        reply_need_string(result, "host", &host, fault) < 0)
                return FAULT_SET;
        if (json_get_bool(result, "needsReconnect", &needs_reconnect) < 0)
                return fault_set_bad_reply(fault, "it does not say whether credentials need a reconnect");
        _cleanup_(freep) char *moment = format_moment(created);
        say(c, "Restored %" PRId64 " vaults with %" PRId64 " credentials, as %s was on %s.", vaults,
                        credentials, host, moment ?: "?");
        if (damaged > 0)
                say(c, "%" PRId64 " records did not open when the backup was made, and do not now.",
                                damaged);
        if (kept)
                say(c, "The former store is kept beside it as %s.", kept);
        say(c, needs_reconnect ? "Something newer may have existed, so each user has to connect each "
                                 "service again."
                               : "Nothing newer existed: connections go on.");
        say(c, "vaultd starts anew.");
        return 0;
}

static ExitCode run_restore(const Context *c, const Arguments *a) {
        _cleanup_(source_done) Source source = { .name = a->words[0], .fd = -1 };
        _cleanup_(json_putp) json_object *result = NULL;
        _cleanup_(erase_linep) char *key = NULL;
        _cleanup_(fault_done) Fault fault = {};
        int r = 0;

        /* The key's line comes before the file's bytes where both are standard input. */
        if (arguments_has(a, "recovery-key-stdin"))
                r = read_key(&key, &fault);
        if (r >= 0)
                r = source_open(&source, &fault);
        if (r >= 0 && !key)
                r = ask_key(&key, &fault);
        if (r >= 0 && isempty(key))
                r = fault_set(&fault, EXIT_CODE_FAILED, "io.vaultd.client.BadInput", NULL,
                                "No recovery key was given");
        if (r >= 0)
                r = restore(c, a, &source, key, &result, &fault);
        if (r >= 0 && !c->is_json)
                r = say_result(c, result, &fault);
        if (r < 0)
                return fault_report(c, &fault);
        if (c->is_json)
                output_json(result);
        return EXIT_CODE_DONE;
}

static ExitCode run_accept(const Context *c, const Arguments *a) {
        _cleanup_(json_putp) json_object *reply = NULL;
        _cleanup_(fault_done) Fault fault = {};
        int64_t credentials, damaged;

        if (call_method(c, "io.vaultd.Store.Accept", NULL, CALL_REMOTE_USEC, &reply, &fault) < 0 ||
                        reply_need_int64(reply, "credentials", &credentials, &fault) < 0 ||
                        reply_need_int64(reply, "damaged", &damaged, &fault) < 0)
                return fault_report(c, &fault);
        if (c->is_json) {
                output_json(reply);
                return EXIT_CODE_DONE;
        }
        say(c, "The store as it is now counts. %" PRId64 " credentials need a new connect.", credentials);
        if (damaged > 0)
                say(c, "%" PRId64 " records do not open.", damaged);
        say(c, "Locks that were set after the copy was made are not in it. vaultd starts anew.");
        return EXIT_CODE_DONE;
}

const Command command_admin_restore = {
        .name = "admin restore",
        .synopsis = "FILE | - [--replace] [--head HEX] [--recovery-key-stdin]",
        .summary = "Make the store anew from a backup (root)",
        .help = "Asks for the recovery key of the backup. Then vaultd starts anew.\n\n"
                "  --replace             Although this store has vaults; its file is kept beside\n"
                "  --head HEX            The newest head of the store that was backed up: when the\n"
                "                        backup is of that state, connections go on\n"
                "  --recovery-key-stdin  The key is the first line of standard input\n\n"
                "Example:\n  vaultctl admin restore /srv/backup/vaultd-2026-11-22\n",
        .options = restore_options,
        .n_least = 1,
        .n_most = 1,
        .is_control = true,
        .run = run_restore,
};

const Command command_admin_accept = {
        .name = "admin accept-store",
        .synopsis = "",
        .summary = "Go on with a database that is older than the newest (root)",
        .help = "For when doctor says that an older database was put in place of the newest, and\n"
                "that is meant. All credentials need a new connect then.\n\n"
                "Example:\n  vaultctl admin accept-store\n",
        .is_control = true,
        .run = run_accept,
};
