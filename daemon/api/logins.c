/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Logins as PAM registered them, in memory and as small JSON files written by rename, like logind's.
 *
 * A login is over when PAM closes it or its leader process is gone; the latter is looked at whenever somebody asks, by
 * pid and start time together, so a reused pid is not taken for the leader. What is here tells where a caller comes
 * from; it never decides who the caller is. */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "api/logins.h"
#include "identity/principal.h"
#include "json/object.h"
#include "util/buffer.h"
#include "util/clock.h"
#include "util/encode.h"
#include "util/log.h"
#include "util/secret.h"

typedef struct Entry {
        Login login; /* first: a Login handed out is its Entry */
        struct Entry *next;
} Entry;

struct Logins {
        int folder_fd;
        Entry *entries;
};

static Entry *entry_free(Entry *e) {
        if (!e)
                return NULL;
        free(e->login.id);
        free(e->login.user);
        free(e->login.service);
        free(e->login.tty);
        free(e->login.rhost);
        free(e);
        return NULL;
}

DEFINE_CLEANUP(Entry *, entry_free)

/* Field 22 of /proc/PID/stat (proc(5)). The command name may hold anything, so fields are counted from its last ')'. */
static int process_start(pid_t pid, uint64_t *ret) {
        char path[64], text[1024];
        _cleanup_(closep) int fd = -1;
        unsigned long long start;
        ssize_t n;

        (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read(fd, text, sizeof(text) - 1);
        if (n <= 0)
                return n < 0 ? -errno : -ESRCH;
        text[n] = 0;
        const char *p = strrchr(text, ')');
        if (!p || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &start) != 1)
                return -EBADMSG;
        *ret = start;
        return 0;
}

static bool login_is_alive(const Login *l) {
        uint64_t start;

        return process_start(l->leader, &start) >= 0 && start == l->leader_start;
}

static int entry_save(Logins *l, const Entry *e) {
        _cleanup_(json_putp) json_object *object = json_build("id", 's', e->login.id, "uid", 'i', (int64_t)e->login.uid, "user", 's', e->login.user,
                        "service", 's', e->login.service, "tty", 's', e->login.tty, "rhost", 's', e->login.rhost, "leader", 'i', (int64_t)e->login.leader,
                        "leaderStart", 'i', (int64_t)e->login.leader_start, "auditSession", 'i', (int64_t)e->login.audit_session,
                        "opened", 'i', (int64_t)e->login.opened_usec, NULL);
        _cleanup_(closep) int fd = -1;
        const char *text = object ? json_text(object) : NULL;
        char temporary[64];

        if (!text)
                return -ENOMEM;
        (void)snprintf(temporary, sizeof(temporary), ".%s", e->login.id);
        fd = openat(l->folder_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        if (write(fd, text, strlen(text)) != (ssize_t)strlen(text) || renameat(l->folder_fd, temporary, l->folder_fd, e->login.id) < 0) {
                int r = errno ? -errno : -EIO;

                (void)unlinkat(l->folder_fd, temporary, 0);
                return r;
        }
        return 0;
}

static void entry_forget(Logins *l, Entry **link) {
        Entry *e = *link;

        *link = e->next;
        (void)unlinkat(l->folder_fd, e->login.id, 0);
        (void)entry_free(e);
}

/* Members that are missing leave a login that cannot be alive. */
static int entry_from_json(json_object *object, Entry **ret) {
        _cleanup_(entry_freep) Entry *e = calloc(1, sizeof(Entry));
        const char *id = json_string(object, "id"), *user = json_string(object, "user"), *service = json_string(object, "service");
        const char *tty = json_string(object, "tty"), *rhost = json_string(object, "rhost");
        int64_t uid = -1, leader = -1, start = 0, audit = UINT32_MAX, opened = 0;

        if (!e)
                return -ENOMEM;
        (void)json_get_int64(object, "uid", &uid);
        (void)json_get_int64(object, "leader", &leader);
        (void)json_get_int64(object, "leaderStart", &start);
        (void)json_get_int64(object, "auditSession", &audit);
        (void)json_get_int64(object, "opened", &opened);
        if (!id || !user || !service || uid < 0 || uid > UINT32_MAX || leader <= 0 || leader > INT32_MAX)
                return -EBADMSG;
        e->login = (Login){ .id = strdup(id), .uid = (uid_t)uid, .user = strdup(user), .service = strdup(service), .tty = tty ? strdup(tty) : NULL,
                .rhost = rhost ? strdup(rhost) : NULL, .leader = (pid_t)leader, .leader_start = (uint64_t)start, .audit_session = (uint32_t)audit,
                .opened_usec = (uint64_t)opened };
        if (!e->login.id || !e->login.user || !e->login.service)
                return -ENOMEM;
        *ret = TAKE_PTR(e);
        return 0;
}

static int logins_load_one(Logins *l, const char *name) {
        _cleanup_(closep) int fd = openat(l->folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        _cleanup_(json_putp) json_object *object = NULL;
        Entry *e = NULL;
        char text[4096];
        ssize_t n;
        int r;

        if (fd < 0)
                return -errno;
        n = read(fd, text, sizeof(text));
        if (n < 0)
                return -errno;
        r = json_parse(text, (size_t)n, &json_limits_wire, &object);
        if (r == 0)
                r = entry_from_json(object, &e);
        if (r != 0)
                return r < 0 ? r : -EBADMSG;
        e->next = l->entries;
        l->entries = e;
        if (!streq(e->login.id, name) || !login_is_alive(&e->login))
                entry_forget(l, &l->entries);
        return 0;
}

int logins_new(const char *folder, Logins **ret) {
        _cleanup_(logins_freep) Logins *l = calloc(1, sizeof(Logins));
        int fd;

        if (!l)
                return -ENOMEM;
        l->folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (l->folder_fd < 0)
                return -errno;
        fd = fcntl(l->folder_fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                return -errno;
        DIR *d = fdopendir(fd);
        if (!d) {
                (void)safe_close(fd);
                return -errno;
        }
        for (struct dirent *entry; (entry = readdir(d));) {
                if (entry->d_name[0] == '.')
                        continue;
                int r = logins_load_one(l, entry->d_name);
                if (r < 0) {
                        log_warning("dropping the login file %s: %s", entry->d_name, strerror(-r));
                        (void)unlinkat(l->folder_fd, entry->d_name, 0);
                }
        }
        (void)closedir(d);
        *ret = TAKE_PTR(l);
        return 0;
}

Logins *logins_free(Logins *l) {
        if (!l)
                return NULL;
        while (l->entries) {
                Entry *e = l->entries;

                l->entries = e->next;
                (void)entry_free(e);
        }
        (void)safe_close(l->folder_fd);
        free(l);
        return NULL;
}

int logins_open(Logins *l, const Login *login, const Login **ret) {
        _cleanup_(entry_freep) Entry *e = calloc(1, sizeof(Entry));
        Principal leader = { .pid = login->leader };
        uint8_t id[16];
        int r;

        if (!e)
                return -ENOMEM;
        random_bytes(id, sizeof(id));
        _cleanup_(freep) char *hex = hex_encode(id, sizeof(id));
        if (!hex || asprintf(&e->login.id, "l-%s", hex) < 0) {
                e->login.id = NULL;
                return -ENOMEM;
        }
        e->login.uid = login->uid;
        e->login.leader = login->leader;
        e->login.user = strdup(login->user);
        e->login.service = strdup(login->service);
        e->login.tty = login->tty ? strdup(login->tty) : NULL;
        e->login.rhost = login->rhost ? strdup(login->rhost) : NULL;
        if (!e->login.user || !e->login.service || (login->tty && !e->login.tty) || (login->rhost && !e->login.rhost))
                return -ENOMEM;
        r = process_start(login->leader, &e->login.leader_start);
        if (r < 0)
                return r == -ENOENT ? -ESRCH : r;
        principal_read_audit(&leader);
        e->login.audit_session = leader.audit_session;
        e->login.opened_usec = now_realtime();
        r = entry_save(l, e);
        if (r < 0)
                return r;
        e->next = l->entries;
        l->entries = e;
        *ret = &TAKE_PTR(e)->login;
        return 0;
}

int logins_close(Logins *l, const char *id, uid_t *ret_uid, char **ret_user) {
        for (Entry **link = &l->entries; *link; link = &(*link)->next)
                if (streq((*link)->login.id, id)) {
                        *ret_uid = (*link)->login.uid;
                        *ret_user = TAKE_PTR((*link)->login.user);
                        entry_forget(l, link);
                        return 0;
                }
        return -ENOENT;
}

const Login *logins_next(Logins *l, uid_t uid, const Login *after) {
        Entry **link = after ? &((Entry *)(uintptr_t)after)->next : &l->entries;

        while (*link) {
                if ((*link)->login.uid != uid)
                        link = &(*link)->next;
                else if (login_is_alive(&(*link)->login))
                        return &(*link)->login;
                else
                        entry_forget(l, link);
        }
        return NULL;
}

const Login *logins_find(Logins *l, uid_t uid, uint32_t audit_session) {
        if (audit_session == UINT32_MAX)
                return NULL;
        for (const Login *login = logins_next(l, uid, NULL); login; login = logins_next(l, uid, login))
                if (login->audit_session == audit_session)
                        return login;
        return NULL;
}
