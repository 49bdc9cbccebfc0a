/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Making and replacing the file of the key-encryption key.
 *
 * systemd-creds(1) encrypts it, to the TPM where there is one and to a secret of the host (its default, --with-key=auto), and
 * systemd decrypts it for vaultd alone when the service starts. The key itself is on its way only in a pipe: neither
 * in an argument, which every user can read, nor in a file.
 *
 * A file appears whole or not at all: it is written under another name, synced, and moved, and the folder is synced
 * too. What is there is never written over by kek_make(): without its key a store cannot be opened by anybody.
 *
 * Who may call: the commands that root runs (admin init, admin rekey). */

#include <fcntl.h>
#include <libgen.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "client/kek.h"
#include "util/buffer.h"
#include "util/encode.h"

#define SYSTEMD_CREDS  "/usr/bin/systemd-creds"
#define CREDENTIAL_MAX 65536U

static int fail(Fault *f, const char *what, const char *path, int error) {
        return fault_set(f, EXIT_CODE_FAILED, "io.vaultd.client.Key", NULL, "%s %s: %s", what, path,
                        strerror(error));
}

int kek_exists(const KekFile *k, Fault *fault) {
        struct stat st;

        if (lstat(k->path, &st) == 0)
                return 1;
        return errno == ENOENT ? 0 : fail(fault, "Cannot look at", k->path, errno);
}

static int sync_folder_of(const char *path) {
        _cleanup_(freep) char *copy = strdup(path);
        _cleanup_(closep) int fd = -1;

        if (!copy)
                return -ENOMEM;
        fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int read_all(int fd, Buffer *ret) {
        char piece[4096];
        ssize_t n;

        while ((n = read(fd, piece, sizeof(piece))) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (buffer_append(ret, piece, (size_t)n) < 0)
                        return -EFBIG;
        }
        return 0;
}

/* Starts systemd-creds between two descriptors, its complaints into a third. */
static int start_creds(int in, int out, int err, pid_t *ret_pid) {
        static char *const arguments[] = { (char *)"systemd-creds", (char *)"encrypt",
                (char *)"--name=vaultd.kek", (char *)"-", (char *)"-", NULL };
        static char *const environment[] = { (char *)"PATH=/usr/sbin:/usr/bin", (char *)"LC_ALL=C.UTF-8",
                NULL };
        posix_spawn_file_actions_t actions;
        int r;

        r = posix_spawn_file_actions_init(&actions);
        if (r != 0)
                return -r;
        r = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
        if (r == 0)
                r = posix_spawn(ret_pid, SYSTEMD_CREDS, &actions, NULL, arguments, environment);
        (void)posix_spawn_file_actions_destroy(&actions);
        return -r;
}

static int fault_of_creds(Fault *fault, int complaints) {
        char text[512] = "";
        ssize_t n = pread(complaints, text, sizeof(text) - 1, 0);
        _cleanup_(freep) char *shown = NULL;

        text[n > 0 ? n : 0] = 0;
        text[strcspn(text, "\n")] = 0;
        shown = printable(text, sizeof(text));
        return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Key", "See: man systemd-creds",
                        "systemd-creds could not encrypt the key: %s",
                        isempty(shown) ? "it gave no reason" : shown);
}

static int make_pipe(int *ret_reader, int *ret_writer) {
        int pair[2];

        if (pipe2(pair, O_CLOEXEC) < 0)
                return -errno;
        *ret_reader = pair[0];
        *ret_writer = pair[1];
        return 0;
}

/* The credential's text for the key. */
static int encrypt(const uint8_t key[static KEK_SIZE], Buffer *ret, Fault *fault) {
        _cleanup_(closep) int complaints = -1, key_end = -1, creds_in = -1, creds_out = -1, text_end = -1;
        int status = 0, r;
        pid_t pid;

        complaints = memfd_create("vaultctl-complaints", MFD_CLOEXEC);
        r = complaints < 0 ? -errno : make_pipe(&creds_in, &key_end);
        if (r >= 0)
                r = make_pipe(&text_end, &creds_out);
        /* Before there is a reader who could leave: it fits into the pipe. */
        if (r >= 0 && write(key_end, key, KEK_SIZE) != KEK_SIZE)
                r = -EIO;
        key_end = safe_close(key_end);
        if (r >= 0)
                r = start_creds(creds_in, creds_out, complaints, &pid);
        if (r < 0)
                return fail(fault, "Cannot run", SYSTEMD_CREDS, -r);
        creds_in = safe_close(creds_in);
        creds_out = safe_close(creds_out);
        r = read_all(text_end, ret);
        text_end = safe_close(text_end);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (r < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0 || ret->size == 0)
                return fault_of_creds(fault, complaints);
        return 0;
}

static int write_synced(int fd, const void *bytes, size_t size, const char *owner) {
        struct stat st;

        if (owner && (stat(owner, &st) < 0 || fchown(fd, st.st_uid, st.st_gid) < 0))
                return -errno;
        if (fchmod(fd, 0600) < 0)
                return -errno;
        for (size_t done = 0; done < size;) {
                ssize_t n = write(fd, (const uint8_t *)bytes + done, size - done);

                if (n < 0)
                        return -errno;
                done += (size_t)n;
        }
        return fsync(fd) < 0 ? -errno : 0;
}

/* A new file with these bytes, or none. */
static int write_file(const char *path, const void *bytes, size_t size, const char *owner) {
        _cleanup_(freep) char *unfinished = NULL;
        _cleanup_(closep) int fd = -1;
        int r;

        if (asprintf(&unfinished, "%s.unfinished", path) < 0) {
                unfinished = NULL;
                return -ENOMEM;
        }
        (void)unlink(unfinished); /* of a run that was killed; it is nobody's key */
        fd = open(unfinished, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        r = write_synced(fd, bytes, size, owner);
        if (r >= 0 && renameat2(AT_FDCWD, unfinished, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
                r = -errno;
        if (r < 0) {
                (void)unlink(unfinished);
                return r;
        }
        return sync_folder_of(path);
}

int kek_make(const KekFile *like, const char *path, const char *owner, uint8_t ret_key[static KEK_SIZE],
                Fault *fault) {
        _cleanup_(buffer_done) Buffer text = { .limit = CREDENTIAL_MAX };
        _cleanup_(freep) char *folder = strdup(path);
        int r = 0;

        if (!folder)
                return fault_set_memory(fault);
        if (!like->is_plain && mkdir(dirname(folder), 0700) < 0 && errno != EEXIST)
                return fail(fault, "Cannot make", folder, errno);
        if (getrandom(ret_key, KEK_SIZE, 0) != KEK_SIZE)
                return fail(fault, "Cannot make", path, EIO);
        if (!like->is_plain)
                r = encrypt(ret_key, &text, fault);
        if (r < 0)
                return r;
        r = like->is_plain ? write_file(path, ret_key, KEK_SIZE, owner)
                           : write_file(path, text.bytes, text.size, owner);
        return r < 0 ? fail(fault, "Cannot make", path, -r) : 0;
}

int kek_replace(const KekFile *k, const char *path, Fault *fault) {
        int r;

        if (rename(path, k->path) < 0)
                return fail(fault, "Cannot put the new key in place of", k->path, errno);
        r = sync_folder_of(k->path);
        return r < 0 ? fail(fault, "Cannot sync the folder of", k->path, -r) : 0;
}

/* Encrypted credentials are base64 and begin with an id of the way in which they were encrypted (systemd, creds-util.h). */
const char *kek_binding(const KekFile *k, const char *path) {
        static const struct {
                const char *head; /* the id's first 15 bytes */
                const char *binding;
        } ways[] = {
                { "Whxqht+dQJax1aZeCGLx", "host" },
                { "DHzAexF2RZGcSwvqCLwg", "tpm2" },
                { "+vfrk0HjQSyhpDb5Wik2", "tpm2" },
                { "k6iUCUh0RJCQyvL8k8q1", "host+tpm2" },
                { "r0lQqEkTTrGnOEYwT/MM", "host+tpm2" },
        };
        _cleanup_(closep) int fd = -1;
        char head[32] = "";

        if (k->is_plain)
                return "none";
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || read(fd, head, sizeof(head) - 1) < 20)
                return "unknown";
        for (size_t i = 0; i < ELEMENTSOF(ways); i++)
                if (startswith(head, ways[i].head))
                        return ways[i].binding;
        return "unknown";
}
