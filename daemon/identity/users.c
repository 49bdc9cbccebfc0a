/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Names of users. NSS may ask a directory over the network and blocks, so it only ever runs in the worker thread.
 * "Not found" and "could not ask" are kept apart: the first refuses a caller, the second is a passing fault.
 *
 * A name that was found stays at hand for a minute, since the way through the worker takes several times as long as the
 * rest of a WhoAmI. Only what was found is kept, so a user who is added is there at once and an outage is never
 * remembered. A look-up counts from its beginning, and the state of the passwd file is taken before it too: what changes
 * while it runs makes it old. Local users are renamed in that file, so that is noticed within a millisecond.
 *
 * One slot per hash of the uid: the memory is bounded whatever uids call, and a lost slot costs one look-up.
 *
 * Who may call: the loop's thread; users_name() on a fiber. */

#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>

#include "identity/mail.h"
#include "identity/name-services.h"
#include "identity/users.h"
#include "util/clock.h"

#define NSSWITCH_FILE "/etc/nsswitch.conf"

#define SLOT_BITS 12U
#define N_SLOTS   (1U << SLOT_BITS)
#define LOOK_USEC USEC_PER_MSEC

/* Which content a file has, as far as one call can tell. */
typedef struct FileStamp {
        dev_t device;
        ino_t inode;
        off_t size;
        struct timespec changed; /* ctime: nobody can set it back */
} FileStamp;

typedef struct Slot {
        char *name;
        uid_t uid;
        uint64_t since_usec;
        FileStamp stamp;
} Slot;

struct Users {
        Worker *worker;
        const char *passwd_file;
        FileStamp seen; /* at seen_usec; 0: never */
        uint64_t seen_usec;
        Slot slots[N_SLOTS];
};

typedef struct NameJob {
        uid_t uid;
        char *name;
        char *passwd_file; /* set: mail is wanted */
        char *mail;
} NameJob;

static void name_job_free(void *userdata) {
        NameJob *job = userdata;

        free(job->name);
        free(job->passwd_file);
        free(job->mail);
        free(job);
}

/* What getpwuid_r(3) and getpwnam_r(3) mean by finding nothing. glibc answers 0 when the last service it asked says that there is no such
 * user; that holds when all could be asked. An error is an outage, also ENOENT: that is what is left behind by a name service whose
 * library or socket is missing. One that cannot be loaded may leave nothing behind, and glibc then returns errno as it was: so the
 * callers set it before. */
static int nothing_found(int error) {
        int r;

        if (error != 0)
                return error == ENOENT ? -EHOSTUNREACH : -error;
        r = name_services_check(NSSWITCH_FILE);
        return r < 0 ? r : -ENOENT;
}

int users_new(Worker *w, const char *passwd_file, Users **ret) {
        Users *u = calloc(1, sizeof(Users));

        if (!u)
                return -ENOMEM;
        u->worker = w;
        u->passwd_file = passwd_file;
        *ret = u;
        return 0;
}

Users *users_free(Users *u) {
        if (!u)
                return NULL;
        for (unsigned i = 0; i < N_SLOTS; i++)
                free(u->slots[i].name);
        free(u);
        return NULL;
}

static bool file_stamp(const char *path, FileStamp *ret) {
        struct stat st;

        if (stat(path, &st) < 0)
                return false;
        *ret = (FileStamp){ st.st_dev, st.st_ino, st.st_size, st.st_ctim };
        return true;
}

static bool file_stamp_equal(const FileStamp *a, const FileStamp *b) {
        return a->device == b->device && a->inode == b->inode && a->size == b->size &&
               a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static Slot *users_slot(Users *u, uid_t uid) {
        /* Fibonacci hashing: neighbours lie apart, and so do uids that are given out in steps, of a hundred or of a power of two. */
        return &u->slots[(uint32_t)(uid * UINT32_C(2654435769)) >> (32 - SLOT_BITS)];
}

static void filep(FILE **f) {
        if (*f)
                (void)fclose(*f);
}

/* Whether the account is in the file that chfn(1) changes: 0 no, 1 yes. What cannot be told is an error. */
static int passwd_file_has(const char *path, const char *name) {
        _cleanup_(filep) FILE *f = fopen(path, "re");
        size_t n = strlen(name), size = 0;
        _cleanup_(freep) char *line = NULL;
        int found = 0;

        if (!f)
                return -errno;
        while (found == 0 && getline(&line, &size, f) >= 0)
                found = strncmp(line, name, n) == 0 && line[n] == ':';
        return found == 0 && ferror(f) ? -EIO : found;
}

static int job_take_mail(NameJob *job, const char *gecos) {
        int r;

        r = passwd_file_has(job->passwd_file, job->name);
        if (r >= 0)
                r = gecos_mail(gecos ?: "", r == 0, &job->mail);
        return r == -ENOENT ? 0 : r;
}

/* By name if there is one, else by uid; fills in the other. */
static int users_job(void *userdata) {
        NameJob *job = userdata;
        bool is_named = job->name;
        size_t size = 1024;

        for (;; size *= 2) {
                _cleanup_(freep) char *buffer = malloc(size);
                struct passwd entry, *found = NULL;
                int r;

                if (!buffer)
                        return -ENOMEM;
                errno = EHOSTUNREACH;
                r = is_named ? getpwnam_r(job->name, &entry, buffer, size, &found)
                             : getpwuid_r(job->uid, &entry, buffer, size, &found);
                if (r == ERANGE && size < 1024 * 1024)
                        continue;
                if (!found)
                        return nothing_found(r);
                job->uid = entry.pw_uid;
                if (!is_named)
                        job->name = strdup(entry.pw_name);
                if (!job->name)
                        return -ENOMEM;
                return job->passwd_file ? job_take_mail(job, entry.pw_gecos) : 0;
        }
}

/* Forgets what is known about the uid, and keeps the name when there is one. */
static void users_keep(Users *u, uid_t uid, const char *name, uint64_t since_usec, const FileStamp *stamp) {
        Slot *slot = users_slot(u, uid);

        if (slot->name && slot->uid != uid && !name)
                return;
        free(slot->name);
        *slot = (Slot){
                .name = name ? strdup(name) : NULL, .uid = uid, .since_usec = since_usec, .stamp = *stamp
        };
}

int users_name(Users *u, uid_t uid, char **ret) {
        uint64_t since_usec = now_monotonic();
        NameJob *job = calloc(1, sizeof(NameJob));
        void *userdata = job;
        FileStamp stamp = {};
        bool is_stamped;
        int r;

        if (!job)
                return -ENOMEM;
        job->uid = uid;
        is_stamped = file_stamp(u->passwd_file, &stamp);
        r = worker_run_within(u->worker, USERS_WAIT_USEC, users_job, &userdata, name_job_free);
        users_keep(u, uid, r == 0 && is_stamped ? job->name : NULL, since_usec, &stamp);
        if (r == 0)
                *ret = TAKE_PTR(job->name);
        if (userdata)
                name_job_free(userdata);
        return r;
}

int users_uid(Users *u, const char *name, uid_t *ret) {
        NameJob *job = calloc(1, sizeof(NameJob));
        void *userdata = job;
        int r;

        if (!job || !(job->name = strdup(name))) {
                free(job);
                return -ENOMEM;
        }
        r = worker_run_within(u->worker, USERS_WAIT_USEC, users_job, &userdata, name_job_free);
        if (r == 0)
                *ret = job->uid;
        if (userdata)
                name_job_free(userdata);
        return r;
}

int users_mail(Users *u, uid_t uid, char **ret_name, char **ret_mail) {
        NameJob *job = calloc(1, sizeof(NameJob));
        void *userdata = job;
        int r;

        if (!job || !(job->passwd_file = strdup(u->passwd_file))) {
                free(job);
                return -ENOMEM;
        }
        job->uid = uid;
        r = worker_run_within(u->worker, USERS_WAIT_USEC, users_job, &userdata, name_job_free);
        if (r == 0) {
                *ret_name = TAKE_PTR(job->name);
                *ret_mail = TAKE_PTR(job->mail);
        }
        if (userdata)
                name_job_free(userdata);
        return r;
}

/* Looks at the file again after LOOK_USEC: among many calls it would be the dearest part of each. */
static bool users_look(Users *u, uint64_t now_usec) {
        if (u->seen_usec > 0 && now_usec - u->seen_usec < LOOK_USEC)
                return true;
        u->seen_usec = file_stamp(u->passwd_file, &u->seen) ? now_usec : 0;
        return u->seen_usec > 0;
}

const char *users_name_within(Users *u, uid_t uid, uint64_t now_usec, uint64_t within_usec) {
        const Slot *slot = users_slot(u, uid);

        if (!slot->name || slot->uid != uid ||
                        now_usec - slot->since_usec >= MIN(within_usec, USERS_AT_HAND_USEC))
                return NULL;
        return users_look(u, now_usec) && file_stamp_equal(&u->seen, &slot->stamp) ? slot->name : NULL;
}

const char *users_name_at_hand(Users *u, uid_t uid, uint64_t now_usec) {
        return users_name_within(u, uid, now_usec, USERS_AT_HAND_USEC);
}
