/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Logins as PAM registered them, in memory and as small JSON files written by rename, like logind's.
 *
 * A login is over when PAM closes it, when its leader ends, or at boot (I7). The leader is held by a pidfd in the event
 * loop, opened anew when vaultd restarts; pid and start time together say that it is still the leader and not a
 * reused pid (T4), and are looked at again whenever somebody asks, which also serves where no pidfd could be had. The
 * folder is on tmpfs; the boot id in the files is for hosts where it is not, and left out where it is not readable.
 *
 * A uid may have so many at once and no more (LOGINS_PER_UID): crontab(5), at(1) and su(1) make as many as a user likes, by the
 * thousand, and each would cost everybody a descriptor and time (T26). Root's are not counted, nobody else makes them.
 *
 * What is here tells where a caller comes from; it never decides who the caller is. Who may call: the loop's thread.
 * A Login that was handed out is valid until the next turn of the loop. */

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <systemd/sd-id128.h>

#include "api/logins.h"
#include "audit/audit.h"
#include "identity/process.h"
#include "json/object.h"
#include "util/buffer.h"
#include "util/clock.h"
#include "util/encode.h"
#include "util/log.h"
#include "util/secret.h"

typedef struct Entry {
        Login login; /* first: a Login handed out is its Entry */
        struct Entry *next;
        Logins *logins;
        int pidfd;
        sd_event_source *source;
} Entry;

struct Logins {
        sd_event *event;
        char boot_id[SD_ID128_STRING_MAX]; /* "" where it cannot be read */
        int folder_fd;
        Entry *entries;
        void (*ended)(const Login *login, void *userdata);
        void *userdata;
        Entry *lost; /* found ended when somebody asked, who may have been handed them before */
};

static Entry *entry_free(Entry *e) {
        if (!e)
                return NULL;
        sd_event_source_disable_unref(e->source);
        (void)safe_close(e->pidfd);
        free(e->login.id);
        free(e->login.user);
        free(e->login.service);
        free(e->login.tty);
        free(e->login.rhost);
        free(e);
        return NULL;
}

DEFINE_CLEANUP(Entry *, entry_free)

static bool login_is_alive(const Login *l) {
        uint64_t start;

        return process_read_start(l->leader, &start) >= 0 && start == l->leader_start;
}

static bool entry_is_alive(const Entry *e) {
        struct pollfd ended = { .fd = e->pidfd, .events = POLLIN };

        return e->pidfd >= 0 ? poll(&ended, 1, 0) == 0 : login_is_alive(&e->login);
}

static int entry_save(Logins *l, const Entry *e) {
        _cleanup_(json_putp) json_object *object = json_build("id", 's', e->login.id, "uid", 'i',
                        (int64_t)e->login.uid, "user", 's', e->login.user, "service", 's', e->login.service,
                        "tty", 's', e->login.tty, "rhost", 's', e->login.rhost, "leader", 'i',
                        (int64_t)e->login.leader, "leaderStart", 'i', (int64_t)e->login.leader_start,
                        "auditSession", 'i', (int64_t)e->login.audit_session, "opened", 'i',
                        (int64_t)e->login.opened_usec, "boot", 's', isempty(l->boot_id) ? NULL : l->boot_id,
                        NULL);
        _cleanup_(closep) int fd = -1;
        const char *text = object ? json_text(object) : NULL;
        char temporary[64];

        if (!text)
                return -ENOMEM;
        (void)snprintf(temporary, sizeof(temporary), ".%s", e->login.id);
        fd = openat(l->folder_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        if (write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
                        renameat(l->folder_fd, temporary, l->folder_fd, e->login.id) < 0) {
                int r = errno ? -errno : -EIO;

                (void)unlinkat(l->folder_fd, temporary, 0);
                return r;
        }
        return 0;
}

/* `su -l` to oneself and the like share the audit session. */
static bool logins_has_another(const Logins *l, const Login *login) {
        for (const Entry *e = l->entries; e; e = e->next)
                if (e->login.uid == login->uid && e->login.audit_session == login->audit_session &&
                                entry_is_alive(e))
                        return true;
        return false;
}

static void entry_forget(Logins *l, Entry **link) {
        Entry *e = *link;

        *link = e->next;
        (void)unlinkat(l->folder_fd, e->login.id, 0);
        if (l->ended && !logins_has_another(l, &e->login))
                l->ended(&e->login, l->userdata);
        e->source = sd_event_source_disable_unref(e->source);
        e->pidfd = safe_close(e->pidfd);
        e->next = l->lost;
        l->lost = e;
}

/* The leader of *link has ended without a close. */
static void entry_lose(Logins *l, Entry **link) {
        const Login *login = &(*link)->login;

        audit_record(&(AuditEvent){ .kind = AUDIT_LOGIN_CLOSED,
                        .uid = login->uid,
                        .user = login->user,
                        .verdict = "done",
                        .reason = "its leader has ended",
                        .session = login->id,
                        .service = login->service,
                        .pid = login->leader });
        entry_forget(l, link);
}

/* Nobody has one of these any more. */
static void logins_free_lost(Logins *l) {
        while (l->lost) {
                Entry *e = l->lost;

                l->lost = e->next;
                (void)entry_free(e);
        }
}

static int entry_on_leader(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Entry *e = userdata;
        Logins *l = e->logins;

        logins_free_lost(l);
        for (Entry **link = &l->entries; *link; link = &(*link)->next)
                if (*link == e) {
                        entry_lose(l, link);
                        break;
                }
        return 0;
}

/* Adds an entry whose leader is told by pid and start time. -ESRCH: it is not there any more. */
static int entry_watch(Logins *l, Entry *e) {
        /* Through syscall(2): the C library of Debian 12 has a wrapper, its predecessor's has not. */
        e->pidfd = (int)syscall(SYS_pidfd_open, e->login.leader, 0U);
        if (!login_is_alive(&e->login))
                return -ESRCH; /* looked at after the open: from here on the descriptor is the leader's */
        if (e->pidfd >= 0 &&
                        sd_event_add_io(l->event, &e->source, e->pidfd, EPOLLIN, entry_on_leader, e) < 0)
                e->pidfd = safe_close(e->pidfd);
        if (e->pidfd < 0)
                log_warning("the leader of login %s cannot be watched; its end is seen when somebody asks",
                                e->login.id);
        e->logins = l;
        e->next = l->entries;
        l->entries = e;
        return 0;
}

/* Members that are missing leave a login that cannot be alive. */
static int entry_from_json(json_object *object, Entry **ret) {
        _cleanup_(entry_freep) Entry *e = calloc(1, sizeof(Entry));
        const char *id = json_string(object, "id"), *user = json_string(object, "user"),
                   *service = json_string(object, "service");
        const char *tty = json_string(object, "tty"), *rhost = json_string(object, "rhost");
        int64_t uid = -1, leader = -1, start = 0, audit = UINT32_MAX, opened = 0;

        if (!e)
                return -ENOMEM;
        e->pidfd = -1;
        (void)json_get_int64(object, "uid", &uid);
        (void)json_get_int64(object, "leader", &leader);
        (void)json_get_int64(object, "leaderStart", &start);
        (void)json_get_int64(object, "auditSession", &audit);
        (void)json_get_int64(object, "opened", &opened);
        if (!id || !user || !service || uid < 0 || uid > UINT32_MAX || leader <= 0 || leader > INT32_MAX)
                return -EBADMSG;
        e->login = (Login){ .id = strdup(id),
                .uid = (uid_t)uid,
                .user = strdup(user),
                .service = strdup(service),
                .tty = tty ? strdup(tty) : NULL,
                .rhost = rhost ? strdup(rhost) : NULL,
                .leader = (pid_t)leader,
                .leader_start = (uint64_t)start,
                .audit_session = (uint32_t)audit,
                .opened_usec = (uint64_t)opened };
        if (!e->login.id || !e->login.user || !e->login.service)
                return -ENOMEM;
        *ret = TAKE_PTR(e);
        return 0;
}

static int logins_load_one(Logins *l, const char *name) {
        _cleanup_(closep) int fd =
                        openat(l->folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        _cleanup_(json_putp) json_object *object = NULL;
        _cleanup_(entry_freep) Entry *e = NULL;
        const char *boot;
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
        if (!streq(e->login.id, name))
                return -EBADMSG;
        boot = json_string(object, "boot");
        r = boot && !isempty(l->boot_id) && !streq(boot, l->boot_id) ? -ESRCH : entry_watch(l, e);
        if (r == -ESRCH) {
                audit_record(&(AuditEvent){ .kind = AUDIT_LOGIN_CLOSED,
                                .uid = e->login.uid,
                                .user = e->login.user,
                                .verdict = "done",
                                .reason = "its leader ended while vaultd was down",
                                .session = e->login.id,
                                .service = e->login.service });
                (void)unlinkat(l->folder_fd, name, 0);
                return 0;
        }
        if (r >= 0)
                (void)TAKE_PTR(e);
        return r;
}

int logins_new(sd_event *event, const char *folder, Logins **ret) {
        _cleanup_(logins_freep) Logins *l = calloc(1, sizeof(Logins));
        sd_id128_t boot;
        int fd;

        if (!l)
                return -ENOMEM;
        l->event = sd_event_ref(event);
        if (sd_id128_get_boot(&boot) >= 0)
                (void)sd_id128_to_string(boot, l->boot_id);
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
        logins_free_lost(l);
        (void)safe_close(l->folder_fd);
        sd_event_unref(l->event);
        free(l);
        return NULL;
}

/* One that is kept costs a descriptor, and a look each time somebody asks where a caller comes from. */
static bool logins_has_room(Logins *l, uid_t uid) {
        unsigned n = 0;

        for (const Entry *e = l->entries; e; e = e->next)
                n += e->login.uid == uid;
        if (uid == 0 || n < LOGINS_PER_UID)
                return true;
        /* Some may have ended unnoticed. */
        n = 0;
        for (const Login *login = logins_next(l, uid, NULL); login; login = logins_next(l, uid, login))
                n++;
        return n < LOGINS_PER_UID;
}

int logins_open(Logins *l, const Login *login, const Login **ret) {
        _cleanup_(entry_freep) Entry *e = NULL;
        uid_t login_uid;
        uint8_t id[16];
        int r;

        logins_free_lost(l);
        if (!logins_has_room(l, login->uid))
                return -EDQUOT;
        e = calloc(1, sizeof(Entry));
        if (!e)
                return -ENOMEM;
        e->pidfd = -1;
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
        if (!e->login.user || !e->login.service || (login->tty && !e->login.tty) ||
                        (login->rhost && !e->login.rhost))
                return -ENOMEM;
        e->login.audit_session = UINT32_MAX;
        r = process_read_start(login->leader, &e->login.leader_start);
        if (r >= 0)
                r = process_read_login(login->leader, &login_uid, &e->login.audit_session);
        if (r < 0)
                return r;
        e->login.opened_usec = now_realtime();
        r = entry_save(l, e);
        if (r < 0)
                return r;
        r = entry_watch(l, e);
        if (r < 0) {
                (void)unlinkat(l->folder_fd, e->login.id, 0);
                return r;
        }
        *ret = &TAKE_PTR(e)->login;
        return 0;
}

void logins_watch(Logins *l, void (*ended)(const Login *login, void *userdata), void *userdata) {
        l->ended = ended;
        l->userdata = userdata;
}

int logins_close(Logins *l, const char *id, uid_t *ret_uid, char **ret_user) {
        logins_free_lost(l);
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
                else if (entry_is_alive(*link))
                        return &(*link)->login;
                else
                        entry_lose(l, link);
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
