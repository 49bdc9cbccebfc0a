/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultctl admin backup: the running vaultd's store into a file.
 *
 * The file is written under another name, synced, and given its name at the end; so whatever stops this, there is either a whole
 * backup or none. An existing file is never written over. What arrives is sealed already: nothing here could open it.
 *
 * The head that is printed is worth keeping: whoever restores this backup and knows that nothing newer existed proves it by
 * that (restore --head). */

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "client/command.h"
#include "client/frames.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/terminal.h"
#include "json/object.h"
#include "util/clock.h"

#define PROGRESS_USEC (200 * USEC_PER_MSEC)

typedef struct Target {
        const char *name; /* NULL: standard output */
        char *unfinished;
        int fd;
        uint64_t n_bytes, told_usec;
} Target;

/* What a signal has to remove. */
static const char *volatile unfinished_name;

static void on_signal(int number) {
        if (unfinished_name)
                (void)unlink(unfinished_name);
        (void)signal(number, SIG_DFL);
        (void)raise(number);
}

static void target_done(Target *t) {
        if (t->name)
                t->fd = safe_close(t->fd);
        if (t->unfinished)
                (void)unlink(t->unfinished);
        unfinished_name = NULL;
        free(t->unfinished);
}

static int fail_file(Fault *fault, const char *name, int error) {
        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.File", NULL, "%s: %s", name,
                        strerror(error));
}

static int target_open(Target *t, Fault *fault) {
        static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
        struct stat st;

        if (!t->name) {
                t->fd = STDOUT_FILENO;
                if (isatty(t->fd))
                        return fault_set(fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage",
                                        "Run: vaultctl admin backup FILE", "A backup is not for a terminal");
                return 0;
        }
        if (lstat(t->name, &st) == 0)
                return fail_file(fault, t->name, EEXIST);
        if (asprintf(&t->unfinished, "%s.unfinished", t->name) < 0) {
                t->unfinished = NULL;
                return fault_set_memory(fault);
        }
        t->fd = open(t->unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (t->fd < 0) {
                int error = errno;
                int r = fail_file(fault, t->unfinished, error);

                /* It is somebody else's. */
                free(TAKE_PTR(t->unfinished));
                return r;
        }
        unfinished_name = t->unfinished;
        for (size_t i = 0; i < ELEMENTSOF(signals); i++)
                (void)signal(signals[i], on_signal);
        return 0;
}

static int target_write(Target *t, const uint8_t *bytes, size_t n, Fault *fault) {
        t->n_bytes += n;
        while (n > 0) {
                ssize_t k = write(t->fd, bytes, n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return fail_file(fault, t->name ?: "standard output", errno);
                bytes += k;
                n -= (size_t)k;
        }
        return 0;
}

static int sync_folder(const char *name) {
        _cleanup_(freep) char *copy = strdup(name);
        _cleanup_(closep) int fd = -1;
        char *slash = copy ? strrchr(copy, '/') : NULL;

        if (!copy)
                return -ENOMEM;
        if (slash)
                slash[slash == copy] = 0;
        fd = open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* The whole file gets its name, if nobody has taken that meanwhile. */
static int target_finish(Target *t, Fault *fault) {
        if (!t->name)
                return 0;
        if (fsync(t->fd) < 0)
                return fail_file(fault, t->name, errno);
        if (renameat2(AT_FDCWD, t->unfinished, AT_FDCWD, t->name, RENAME_NOREPLACE) < 0) {
                /* Not every file system has that. */
                if ((errno != EINVAL && errno != ENOSYS) || access(t->name, F_OK) == 0 ||
                                rename(t->unfinished, t->name) < 0)
                        return fail_file(fault, t->name, errno == 0 ? EEXIST : errno);
        }
        unfinished_name = NULL;
        free(TAKE_PTR(t->unfinished));
        return sync_folder(t->name) < 0 ? fail_file(fault, t->name, errno) : 0;
}

static void progress(const Context *c, Target *t) {
        uint64_t now = now_monotonic();
        char text[64];

        if (now - t->told_usec < PROGRESS_USEC)
                return;
        t->told_usec = now;
        (void)snprintf(text, sizeof(text), "%.1f MiB written", (double)t->n_bytes / (1024 * 1024));
        terminal_progress(c, text);
}

static int receive(
                const Context *c, Target *t, json_object **ret_begin, json_object **ret_end, Fault *fault) {
        _cleanup_(frames_freep) Frames *frames = NULL;
        _cleanup_(call_freep) Call *call = NULL;
        const uint8_t *bytes;
        size_t n;
        int r;

        r = target_open(t, fault);
        if (r >= 0)
                r = call_open(c, &call, fault);
        if (r >= 0)
                r = call_upgrade(call, "io.vaultd.Store.Backup", NULL, ret_begin, fault);
        if (r >= 0)
                r = frames_new(call, &frames, fault);
        while (r >= 0 && (r = frames_receive(frames, &bytes, &n, ret_end, fault)) > 0) {
                r = target_write(t, bytes, n, fault);
                progress(c, t);
        }
        terminal_progress(c, NULL);
        return r < 0 ? r : target_finish(t, fault);
}

static ExitCode run(const Context *c, const Arguments *a) {
        _cleanup_(json_putp) json_object *begin = NULL, *end = NULL;
        _cleanup_(target_done) Target target = { .fd = -1 };
        _cleanup_(fault_done) Fault fault = {};
        int64_t records, sequence, created;
        const char *head, *host;

        target.name = streq(a->words[0], "-") ? NULL : a->words[0];
        if (!target.name && c->is_json) {
                (void)fault_set(&fault, EXIT_CODE_USAGE, "io.vaultd.client.Usage", NULL,
                                "Standard output cannot take the backup and --json");
                return fault_report(c, &fault);
        }
        if (receive(c, &target, &begin, &end, &fault) < 0 ||
                        reply_need_int64(end, "records", &records, &fault) < 0 ||
                        reply_need_int64(begin, "sequence", &sequence, &fault) < 0 ||
                        reply_need_int64(begin, "created", &created, &fault) < 0 ||
                        reply_need_string(begin, "head", &head, &fault) < 0 ||
                        reply_need_string(begin, "host", &host, &fault) < 0)
                return fault_report(c, &fault);
        if (c->is_json) {
                _cleanup_(json_putp) json_object *document = json_build("file", 's', target.name, "host",
                                's', host, "created", 'i', created, "sequence", 'i', sequence, "head", 's',
                                head, "records", 'i', records, "bytes", 'i', (int64_t)target.n_bytes, NULL);

                output_json(document);
        } else if (target.name) {
                say(c, "Backed up %" PRId64 " records of %s into %s (%" PRIu64 " bytes).", records, host,
                                target.name, target.n_bytes);
                say(c, "Head of the store: %s", head);
                say(c, "It opens with the recovery key alone.");
        } else
                complain("Backed up %" PRId64 " records of %s (%" PRIu64 " bytes). Head of the store: %s",
                                records, host, target.n_bytes, head);
        return EXIT_CODE_DONE;
}

const Command command_admin_backup = {
        .name = "admin backup",
        .synopsis = "FILE | -",
        .summary = "Write a backup of the store, sealed to the recovery key (root)",
        .help = "vaultd goes on serving. FILE must not exist; - is standard output.\n\n"
                "Example:\n  vaultctl admin backup /srv/backup/vaultd-$(date +%F)\n",
        .n_least = 1,
        .n_most = 1,
        .is_control = true,
        .run = run,
};
