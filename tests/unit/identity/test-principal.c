/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The peer of a Unix socket and what /proc says about it, over real processes. Other uids, groups and namespaces are
 * played by children, which needs root; without it those properties are skipped and counted as such. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "identity/principal.h"
#include "identity/process.h"

#define OTHER_UID 12345

/* What a child becomes before it connects. */
typedef struct Costume {
        uid_t uid;
        const gid_t *groups;
        size_t n_groups;
        int namespaces;
        void (*change_root)(void); /* as root, before the uid */
        bool hands_on;             /* the connecting process ends, its child keeps the descriptor */
} Costume;

typedef struct Peer {
        int listener, fd;
        pid_t pid;
} Peer;

static void child_run(const Costume *costume, const struct sockaddr_un *address, socklen_t size) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        if (costume->change_root)
                costume->change_root();
        if (setgroups(costume->n_groups, costume->groups) < 0 ||
                        setresgid(costume->uid, costume->uid, costume->uid) < 0 ||
                        setresuid(costume->uid, costume->uid, costume->uid) < 0)
                _exit(1);
        if (costume->namespaces && unshare(costume->namespaces) < 0)
                _exit(2);
        if (connect(fd, (const struct sockaddr *)address, size) < 0)
                _exit(3);
        if (costume->hands_on && fork() != 0)
                _exit(0);
        /* Until the other end is closed; so a grandchild, whom nobody waits for, ends too. */
        (void)!read(fd, &(char){ 0 }, 1);
        _exit(0);
}

static void peer_open(Peer *p, const Costume *costume) {
        /* An abstract name chosen by the kernel: no file, and no other test has it. */
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        socklen_t size = sizeof(address);

        p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(p->listener >= 0);
        assert_int_equal(bind(p->listener, (struct sockaddr *)&address, sizeof(address.sun_family)), 0);
        assert_int_equal(getsockname(p->listener, (struct sockaddr *)&address, &size), 0);
        assert_int_equal(listen(p->listener, 1), 0);
        p->pid = fork();
        assert_true(p->pid >= 0);
        if (p->pid == 0)
                child_run(costume, &address, size);
        p->fd = accept(p->listener, NULL, NULL);
        assert_true(p->fd >= 0);
}

static void peer_end(Peer *p) {
        (void)kill(p->pid, SIGKILL);
        while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
                ;
}

static void peer_close(Peer *p) {
        peer_end(p);
        (void)close(p->fd);
        (void)close(p->listener);
}

static void need_root(void) {
        if (geteuid() != 0)
                skip();
}

static void the_uid_is_the_peers(void **state) {
        Principal principal;
        Peer p;

        need_root();
        peer_open(&p, &(Costume){ .uid = OTHER_UID });
        assert_int_equal(principal_from_socket(p.fd, &principal), 0);
        assert_int_equal(principal.uid, OTHER_UID);
        assert_int_equal(principal.gid, OTHER_UID);
        assert_int_equal(principal.pid, p.pid);
        assert_false(principal.has_audit);
        peer_close(&p);
}

static void the_overflow_uid_is_nobody(void **state) {
        Principal principal = { .uid = 7 };
        Peer p;

        need_root();
        peer_open(&p, &(Costume){ .uid = UID_OVERFLOW });
        assert_int_equal(principal_from_socket(p.fd, &principal), -EPERM);
        assert_int_equal(principal.uid, 7); /* untouched */
        peer_close(&p);
}

static void groups_are_those_of_the_peer(void **state) {
        static const gid_t groups[] = { 4242, 4343, 4444 };
        _cleanup_(freep) gid_t *read = NULL, *none = NULL;
        size_t n = 0, n_none = 1;
        Peer p;

        need_root();
        peer_open(&p, &(Costume){ .uid = OTHER_UID, .groups = groups, .n_groups = 3 });
        assert_int_equal(principal_read_groups(p.fd, &read, &n), 0);
        assert_int_equal(n, 3);
        assert_memory_equal(read, groups, sizeof(groups));
        peer_close(&p);
        peer_open(&p, &(Costume){ .uid = OTHER_UID });
        assert_int_equal(principal_read_groups(p.fd, &none, &n_none), 0);
        assert_int_equal(n_none, 0);
        assert_null(none);
        peer_close(&p);
}

static void a_living_peer_is_the_same_process(void **state) {
        Principal principal;
        Peer p;

        need_root();
        peer_open(&p, &(Costume){ .uid = OTHER_UID });
        assert_int_equal(principal_from_socket(p.fd, &principal), 0);
        assert_true(principal_is_same_process(&principal, p.fd));
        assert_false(principal_is_same_process(&principal, -1));
        peer_end(&p);
        assert_false(principal_is_same_process(&principal, p.fd));
        (void)close(p.fd);
        (void)close(p.listener);
}

/* T4: the pid of the connect is free to be somebody else's by now; here it is still a zombie, which no longer counts either. */
static void a_peer_that_handed_its_descriptor_on_is_not(void **state) {
        Principal principal;
        siginfo_t info;
        Peer p;

        need_root();
        peer_open(&p, &(Costume){ .uid = OTHER_UID, .hands_on = true });
        assert_int_equal(principal_from_socket(p.fd, &principal), 0);
        assert_int_equal(waitid(P_PID, (id_t)p.pid, &info, WEXITED | WNOWAIT), 0);
        assert_false(principal_is_same_process(&principal, p.fd));
        peer_close(&p);
}

static void what_cannot_be_read_is_said(void **state) {
        Principal gone = { .pid = 0x3FFFFF, .login_uid = 0, .audit_session = 0 };

        principal_read_audit(&gone);
        assert_true(gone.has_audit);
        assert_int_equal(gone.login_uid, UID_INVALID);
        assert_int_equal(gone.audit_session, UINT32_MAX);
        if (access("/proc/self/loginuid", F_OK) == 0)
                assert_int_equal(gone.audit_error, -ESRCH);
}

static void namespaces_are_noticed(void **state) {
        Principal principal;
        Peer p;

        need_root();
        assert_int_equal(process_is_contained(getpid()), 0);
        assert_int_equal(identity_check_own_namespace(), 0);
        peer_open(&p, &(Costume){ .uid = OTHER_UID, .namespaces = CLONE_NEWUSER });
        /* Seen from here it is still its host uid (T5). */
        assert_int_equal(principal_from_socket(p.fd, &principal), 0);
        assert_int_equal(principal.uid, OTHER_UID);
        assert_int_equal(process_is_contained(principal.pid), 1);
        peer_close(&p);
        assert_int_equal(process_is_contained(0x3FFFFF), -ESRCH);
        assert_int_equal(process_is_contained(0), -ESRCH);
}

/* What a process may have of its own choice stands before that line in /proc/PID/status. */
static void a_crowd_of_groups_hides_no_pid_namespace(void **state) {
        static gid_t groups[20000];
        int ready[2];
        pid_t inner = 0;

        need_root();
        for (size_t i = 0; i < ELEMENTSOF(groups); i++)
                groups[i] = (gid_t)(1000000000 + i);
        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        pid_t outer = fork();
        if (outer == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (setgroups(ELEMENTSOF(groups), groups) < 0 || unshare(CLONE_NEWPID) < 0)
                        _exit(1);
                inner = fork();
                if (inner == 0) {
                        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                        (void)pause();
                        _exit(0);
                }
                _exit(write(ready[1], &inner, sizeof(inner)) == sizeof(inner) && pause() == 0 ? 0 : 1);
        }
        assert_int_equal(read(ready[0], &inner, sizeof(inner)), sizeof(inner));
        int r = process_is_contained(inner);
        (void)kill(outer, SIGKILL);
        (void)waitpid(outer, NULL, 0);
        (void)close(ready[0]);
        (void)close(ready[1]);
        assert_int_equal(r, 1);
}

static void own_mounts(void) {
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                _exit(4);
}

/* A service with PrivateTmp= and the like. */
static void own_tmp(void) {
        own_mounts();
        if (mount("tmpfs", "/tmp", "tmpfs", 0, NULL) < 0)
                _exit(5);
}

/* A container without user and pid namespaces, first from an image, then from a folder of the host's. */
static void image_as_root(void) {
        own_mounts();
        if (mount("tmpfs", "/mnt", "tmpfs", 0, NULL) < 0 || chroot("/mnt") < 0 || chdir("/") < 0)
                _exit(6);
}

static void bound_folder_as_root(void) {
        own_mounts();
        if (mount("/usr", "/mnt", NULL, MS_BIND, NULL) < 0 || chroot("/mnt") < 0 || chdir("/") < 0)
                _exit(7);
}

static void plain_folder_as_root(void) {
        if (chroot("/usr/bin") < 0 || chdir("/") < 0)
                _exit(8);
}

static int is_contained(void (*change_root)(void)) {
        Principal principal;
        Peer p;

        peer_open(&p, &(Costume){ .uid = OTHER_UID, .change_root = change_root });
        assert_int_equal(principal_from_socket(p.fd, &principal), 0);
        int r = process_is_contained(principal.pid);
        peer_close(&p);
        return r;
}

/* T6: mounts of its own are no container, a root folder of its own is. */
static void another_root_folder_is_noticed(void **state) {
        need_root();
        assert_int_equal(is_contained(own_mounts), 0);
        assert_int_equal(is_contained(own_tmp), 0);
        assert_int_equal(is_contained(image_as_root), 1);
        assert_int_equal(is_contained(bound_folder_as_root), 1);
        assert_int_equal(is_contained(plain_folder_as_root), 1);
}

static void a_process_has_a_start_and_a_group(void **state) {
        _cleanup_(freep) char *cgroup = NULL;
        uint64_t own, first;

        assert_int_equal(process_read_start(getpid(), &own), 0);
        assert_int_equal(process_read_start(1, &first), 0);
        assert_true(own >= first);
        assert_int_equal(process_read_cgroup(getpid(), &cgroup), 0);
        assert_int_equal(cgroup[0], '/');
}

int main(void) {
        const struct CMUnitTest tests[] = {
                { "the-uid-is-the-peers", the_uid_is_the_peers },
                { "the-overflow-uid-is-nobody", the_overflow_uid_is_nobody },
                { "groups-are-those-of-the-peer", groups_are_those_of_the_peer },
                { "a-living-peer-is-the-same-process", a_living_peer_is_the_same_process },
                { "a-peer-that-handed-its-descriptor-on-is-not",
                                a_peer_that_handed_its_descriptor_on_is_not },
                { "what-cannot-be-read-is-said", what_cannot_be_read_is_said },
                { "namespaces-are-noticed", namespaces_are_noticed },
                { "a-crowd-of-groups-hides-no-pid-namespace", a_crowd_of_groups_hides_no_pid_namespace },
                { "another-root-folder-is-noticed", another_root_folder_is_noticed },
                { "a-process-has-a-start-and-a-group", a_process_has_a_start_and_a_group },
        };

        return cmocka_run_group_tests_name("principal", tests, NULL, NULL);
}
