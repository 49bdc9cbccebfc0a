/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading /proc/PID. These files are world-readable, which matters since vaultd has no capability: the links in
 * /proc/PID/ns and /proc/PID/root are not, so namespaces are told by what they do: a map of uids that is not the identity,
 * a pid that has a second number further in, a root folder that is not ours. That last one tells a container from a service with
 * PrivateTmp= and the like, which has mounts of its own too and is a part of the host all the same.
 *
 * A login uid is set once by pam_loginuid and inherited across su and sudo, which change every other uid. But a process
 * whose login uid is still unset may write any value there, once; and each such write makes a new audit session. So a
 * login uid is a hint against whoever has it, and evidence for him only together with an audit session that PAM
 * registered (design: Identity).
 *
 * Invariant: nothing here decides who a caller is. Who may call: identity, and api for what audit and policy need. */

#include <fcntl.h>
#include <stdio.h>

#include "identity/process.h"

#define PROC_FILE_MAX   4096U
#define ROOT_FOLDER_MAX 1024U
#define ROOT_LINES_MAX  64U

static int proc_open(pid_t pid, const char *name) {
        char path[64];
        int fd;

        if (pid <= 0)
                return -ESRCH;
        (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        return fd;
}

/* Reads /proc/PID/name up to the size of the buffer. The number of bytes, NUL behind them. */
static ssize_t proc_read(pid_t pid, const char *name, char *buffer, size_t size) {
        _cleanup_(closep) int fd = proc_open(pid, name);
        size_t n = 0;

        if (fd < 0)
                return fd;
        while (n < size - 1) {
                ssize_t k = read(fd, buffer + n, size - 1 - n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t)k;
        }
        buffer[n] = 0;
        return (ssize_t)n;
}

int process_read_start(pid_t pid, uint64_t *ret) {
        unsigned long long start;
        char text[1024];
        ssize_t n;

        n = proc_read(pid, "stat", text, sizeof(text));
        if (n <= 0)
                return n < 0 ? (int)n : -ESRCH;
        /* The command name may hold anything, so fields are counted from its last ')'. */
        const char *p = strrchr(text, ')');
        if (!p || sscanf(p + 1,
                                  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
                                  "%*d %llu",
                                  &start) != 1)
                return -EBADMSG;
        *ret = start;
        return 0;
}

/* A number comes whole in one read (fs/proc/base.c, simple_read_from_buffer()); this runs once for each connection, where every call
 * to the kernel shows. */
static int proc_read_number(pid_t pid, const char *name, uint32_t *ret) {
        _cleanup_(closep) int fd = proc_open(pid, name);
        char text[32], *end;
        ssize_t n;

        if (fd < 0)
                return fd;
        n = read(fd, text, sizeof(text) - 1);
        if (n <= 0)
                return n < 0 ? -errno : -ESRCH;
        text[n] = 0;
        errno = 0;
        unsigned long value = strtoul(text, &end, 10);
        if (errno != 0 || end == text || value > UINT32_MAX)
                return -EBADMSG;
        *ret = (uint32_t)value;
        return 0;
}

int process_read_login(pid_t pid, uid_t *ret_login_uid, uint32_t *ret_audit_session) {
        uint32_t login_uid = UID_INVALID, session = UINT32_MAX;
        int r;

        r = proc_read_number(pid, "loginuid", &login_uid);
        /* Both are set and unset as one (audit_set_loginuid() of the kernel): who has no login uid has no session. */
        if (r >= 0 && login_uid != UID_INVALID)
                r = proc_read_number(pid, "sessionid", &session);
        /* Without CONFIG_AUDIT nobody has these files; then nothing is known of anybody, which is not the same as hidden. */
        if (r < 0 && (r != -ESRCH || access("/proc/self/loginuid", F_OK) == 0))
                return r;
        *ret_login_uid = (uid_t)login_uid;
        *ret_audit_session = session;
        return 0;
}

int process_read_cgroup(pid_t pid, char **ret) {
        const char *unified = NULL, *systemd = NULL;
        char text[PROC_FILE_MAX], *rest = text;
        ssize_t n;

        n = proc_read(pid, "cgroup", text, sizeof(text));
        if (n < 0)
                return (int)n;
        for (char *line; (line = strsep(&rest, "\n"));) {
                char *systemds = strstr(line, ":name=systemd:");

                if (startswith(line, "0::"))
                        unified = line + strlen("0::");
                else if (systemds)
                        systemd = systemds + strlen(":name=systemd:");
        }
        const char *found = unified && !streq(unified, "/") ? unified : systemd ?: unified ?: "";
        char *copy = strdup(found);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

/* user_namespaces(7): inside the first one the map is the identity over all uids. */
int process_has_own_uids(pid_t pid) {
        unsigned long inside, outside, count;
        char text[PROC_FILE_MAX];
        ssize_t n;
        int used = 0;

        n = proc_read(pid, "uid_map", text, sizeof(text));
        if (n < 0)
                return (int)n;
        if (sscanf(text, "%lu %lu %lu %n", &inside, &outside, &count, &used) != 3 || text[used] != 0)
                return 1;
        return inside != 0 || outside != 0 || count != UINT32_MAX;
}

static int proc_open_lines(pid_t pid, const char *name, FILE **ret) {
        _cleanup_(closep) int fd = proc_open(pid, name);
        FILE *file;

        if (fd < 0)
                return fd;
        file = fdopen(fd, "re");
        if (!file)
                return -errno;
        (void)TAKE_FD(fd);
        *ret = file;
        return 0;
}

/* proc(5), NSpid: the pid in our namespace, then one more for each that is nested below. The line stands behind that of the groups, which
 * may be half a million bytes long, as the process likes. A kernel without such namespaces has none. */
static int process_has_own_pids(pid_t pid) {
        _cleanup_(freep) char *line = NULL;
        bool is_found = false;
        int outer, inner, r;
        size_t size = 0;
        FILE *file;

        r = proc_open_lines(pid, "status", &file);
        if (r < 0)
                return r;
        errno = 0;
        while (!is_found && getline(&line, &size, file) >= 0)
                is_found = startswith(line, "NSpid:");
        r = is_found ? sscanf(line, "NSpid: %d %d", &outer, &inner) == 2 : -errno;
        (void)fclose(file);
        return r;
}

/* The mount that a process sees as its root folder. */
typedef struct RootMount {
        unsigned major, minor; /* st_dev of the file system */
        char folder[ROOT_FOLDER_MAX]; /* which folder of it; "" where the root is no mount at all, as after a plain chroot(2) */
} RootMount;

/* proc(5), /proc/PID/mountinfo: "ID PARENT MAJOR:MINOR ROOT MOUNT-POINT …". 1: this is the line of the root. */
static int root_mount_from_line(char *line, RootMount *ret) {
        RootMount root = {};
        char *words[5];
        size_t n = 0;

        while (n < ELEMENTSOF(words) && (words[n] = strsep(&line, " ")))
                n++;
        if (n < ELEMENTSOF(words))
                return -EBADMSG;
        if (!streq(words[4], "/"))
                return 0;
        if (sscanf(words[2], "%u:%u", &root.major, &root.minor) != 2 ||
                        strlen(words[3]) >= sizeof(root.folder))
                return -EBADMSG;
        (void)strcpy(root.folder, words[3]);
        *ret = root;
        return 1;
}

/* Mount points are as the process sees them, and what it cannot reach is not in the file. The line of the root comes first or
 * nearly, and how many follow is the process's choice: so only the beginning is read. */
static int process_read_root(pid_t pid, RootMount *ret) {
        _cleanup_(freep) char *line = NULL;
        RootMount root = {};
        size_t size = 0;
        FILE *file;
        int r;

        r = proc_open_lines(pid, "mountinfo", &file);
        if (r < 0)
                return r;
        for (unsigned n = 0; n < ROOT_LINES_MAX && r == 0; n++) {
                errno = 0;
                if (getline(&line, &size, file) < 0) {
                        r = -errno;
                        break;
                }
                r = root_mount_from_line(line, &root);
        }
        (void)fclose(file);
        if (r < 0)
                return r;
        *ret = root;
        return 0;
}

static int process_has_own_root(pid_t pid) {
        RootMount theirs, ours;
        int r;

        r = process_read_root(pid, &theirs);
        if (r >= 0)
                r = process_read_root(getpid(), &ours);
        if (r < 0)
                return r;
        return theirs.major != ours.major || theirs.minor != ours.minor ||
               !streq(theirs.folder, ours.folder);
}

int process_is_contained(pid_t pid) {
        int r = process_has_own_uids(pid);

        if (r == 0)
                r = process_has_own_pids(pid);
        return r != 0 ? r : process_has_own_root(pid);
}
