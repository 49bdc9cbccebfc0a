/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who connected and who writes must be one uid (I2; T2, T3, T38). Real processes: this program starts itself again from a
 * private tmpfs, setuid to another user, or as another user with a connected descriptor. Needs root, as all of
 * ./check does. The tmpfs stands in a mount namespace of this program: the host sees none of it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "ipc/receive.h"
#include "toy.h"
#include "util/wire-client.h"

#define ALICE 1001
#define BOB   1002
#define ECHO  "{\"method\":\"toy.Echo\"}"
#define REPLY "{\"parameters\":{}}"

static const Limits limits = { .n_connections = 8, .n_bytes = 1000000, .n_calls = 8, .n_streams = 2 };
static char private_folder[] = "/tmp/test-witness-XXXXXX";

/* What the copies of this program do. The exit code: 0 answered, 3 closed without an answer, 1 something else. */

static int talk(int fd) {
        char text[256];
        ssize_t n;

        if (send(fd, ECHO, sizeof(ECHO), MSG_NOSIGNAL) < 0)
                return errno == EPIPE ? 3 : 1;
        n = recv(fd, text, sizeof(text), 0);
        return n == 0 || (n < 0 && errno == ECONNRESET)   ? 3
               : n == sizeof(REPLY) && streq(text, REPLY) ? 0
                                                          : 1;
}

/* "connect PATH" or "effective PATH": connects itself. "inherited FD": speaks on a descriptor that it was left. */
static int act(char **argv) {
        _cleanup_(wire_client_freep) WireClient *client = NULL;
        const char *reply;
        size_t n;

        if (streq(argv[1], "inherited"))
                return talk(atoi(argv[2]));
        if (wire_client_connect(argv[2], UINT64_MAX, false, &client) < 0)
                return 1;
        if (streq(argv[1], "effective"))
                wire_client_send_effective(client);
        if (wire_client_send(client, ECHO, strlen(ECHO), UINT64_MAX) < 0)
                return 3;
        int r = wire_client_receive(client, UINT64_MAX, &reply, &n);
        return r == -EPIPE ? 3 : r == 0 && streq(reply, REPLY) ? 0 : 1;
}

static void become(uid_t uid) {
        if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
                _exit(1);
}

/* A copy of this program in the private tmpfs, owned by owner, setuid or not. */
static void copy_self(const char *name, uid_t owner, mode_t mode, char *ret_path, size_t size) {
        _cleanup_(closep) int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to = -1;
        struct stat st;

        (void)snprintf(ret_path, size, "%s/%s", private_folder, name);
        (void)unlink(ret_path);
        to = open(ret_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
        assert_true(from >= 0 && to >= 0 && fstat(from, &st) == 0);
        while (lseek(to, 0, SEEK_CUR) < st.st_size)
                assert_true(sendfile(to, from, NULL, (size_t)st.st_size) > 0);
        assert_int_equal(fchown(to, owner, owner), 0);
        assert_int_equal(fchmod(to, mode), 0);
}

/* Runs argv as uid beside the server; its exit code. */
static int run(Toy *toy, uid_t uid, char *const argv[]) {
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                become(uid);
                char *const environment[] = { NULL };

                (void)execve(argv[0], argv, environment);
                _exit(1);
        }
        for (pid_t got; (got = waitpid(pid, &status, WNOHANG)) != pid;) {
                assert_int_equal(got, 0);
                assert_true(server_run(toy->server, 10 * USEC_PER_MSEC) >= 0);
        }
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static int run_copy(Toy *toy, uid_t uid, const char *path, const char *how, const char *where) {
        char *const argv[] = { (char *)path, (char *)how, (char *)where, NULL };

        return run(toy, uid, argv);
}

static void plain_program_is_answered(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        char path[64];

        copy_self("plain", 0, 0755, path, sizeof(path));
        assert_int_equal(run_copy(toy, ALICE, path, "connect", toy->address.sun_path), 0);
        assert_int_equal(toy->last_uid, ALICE);
}

static void setuid_program_with_its_effective_uid_is_refused(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        char path[64];

        /* Alice's own, which bob runs; and root's. */
        copy_self("alices", ALICE, 04755, path, sizeof(path));
        assert_int_equal(run_copy(toy, BOB, path, "connect", toy->address.sun_path), 3);
        copy_self("roots", 0, 04755, path, sizeof(path));
        assert_int_equal(run_copy(toy, BOB, path, "connect", toy->address.sun_path), 3);
        assert_int_equal(toy->n_calls, 0);
}

/* What pam_vaultd.so does in an unprivileged user's su. */
static void setuid_program_that_attaches_its_effective_uid_is_answered(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        char path[64];

        copy_self("roots", 0, 04755, path, sizeof(path));
        assert_int_equal(run_copy(toy, BOB, path, "effective", toy->address.sun_path), 0);
        assert_int_equal(toy->last_uid, 0);
}

/* Connects as uid, in a process that is gone when this returns. */
static int connect_as(Toy *toy, uid_t uid) {
        _cleanup_(closep) int ours = -1;
        int pair[2], fd, status;
        char byte = 0;
        union {
                struct cmsghdr header;
                uint8_t bytes[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct iovec iov = { &byte, 1 };
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                become(uid);
                fd = socket(AF_UNIX, SOCK_STREAM, 0);
                if (connect(fd, (struct sockaddr *)&toy->address, sizeof(toy->address)) < 0)
                        _exit(1);
                control.header = (struct cmsghdr){ CMSG_LEN(sizeof(fd)), SOL_SOCKET, SCM_RIGHTS };
                memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
                _exit(sendmsg(pair[1], &message, 0) == 1 ? 0 : 1);
        }
        (void)close(pair[1]);
        ours = pair[0];
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_int_equal(recvmsg(ours, &message, MSG_CMSG_CLOEXEC), 1);
        memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
        return fd;
}

static void passed_descriptor_is_refused(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = connect_as(toy, ALICE);

        /* We are root: no uid is above the rule. */
        toy_say(fd, ECHO);
        toy_expect(toy, fd, "");
        assert_int_equal(toy->n_calls, 0);
}

static void passed_descriptor_to_the_same_uid_is_answered(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = connect_as(toy, 0);

        toy_say(fd, ECHO);
        toy_expect(toy, fd, REPLY);
}

/* Leaves fd open across exec for a program that runs as uid, by the tool that is there for it. */
static int run_inheriting(Toy *toy, int fd, const char *const *tool) {
        char path[64], number[16], *argv[12];
        size_t n = 0;

        copy_self("plain", 0, 0755, path, sizeof(path));
        (void)snprintf(number, sizeof(number), "%d", fd);
        assert_int_equal(fcntl(fd, F_SETFD, 0), 0);
        for (; tool[n]; n++)
                argv[n] = (char *)tool[n];
        argv[n++] = path;
        argv[n++] = (char *)"inherited";
        argv[n++] = number;
        argv[n] = NULL;
        return run(toy, 0, argv);
}

static void descriptor_inherited_by_another_uid_is_refused(void **state) {
        static const char *const setpriv[] = { "/usr/bin/setpriv", "--reuid=1002", "--regid=1002",
                "--clear-groups", NULL };
        static const char *const same[] = { "/usr/bin/env", NULL };
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy), other = toy_connect(toy);

        toy_say(fd, ECHO);
        toy_expect(toy, fd, REPLY);
        assert_int_equal(run_inheriting(toy, fd, setpriv), 3);
        assert_int_equal(run_inheriting(toy, other, same), 0);
        assert_int_equal(toy->n_calls, 2);
}

/* A child that writes text on fd as uid. */
static void say_as(int fd, uid_t uid, const char *text) {
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                become(uid);
                _exit(send(fd, text, strlen(text) + 1, MSG_NOSIGNAL) < 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

static void bytes_written_before_accept_have_a_writer(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);

        say_as(fd, BOB, ECHO); /* the loop has not turned yet */
        toy_expect(toy, fd, "");
        assert_int_equal(toy->n_calls, 0);
}

/* Under socket activation the first client is there before the server, on a socket that nobody has set up. */
static void client_that_came_before_the_server_is_compared_as_well(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), mine, others;

        (void)unlink(toy->address.sun_path);
        assert_int_equal(bind(listener, (struct sockaddr *)&toy->address, sizeof(toy->address)), 0);
        assert_int_equal(listen(listener, 8), 0);
        mine = toy_connect(toy);
        others = toy_connect(toy);
        toy_say(mine, ECHO);
        say_as(others, BOB, ECHO);
        assert_int_equal(server_add_listener(toy->server, listener, DOOR_PUBLIC), 0);
        toy_expect(toy, mine, REPLY);
        toy_expect(toy, others, "");
        toy_say(mine, ECHO);
        toy_expect(toy, mine, REPLY);
        say_as(mine, BOB, ECHO);
        toy_expect(toy, mine, "");
        assert_int_equal(toy->n_calls, 2);
        (void)close(mine);
        (void)close(others);
        toy_turn(toy);
}

/* More of them than are accepted in one go, and the last is compared like the first. */
static void crowd_that_came_before_the_server_is_compared_as_well(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&(Limits){
                        .n_connections = 100, .n_bytes = 1000000, .n_calls = 100, .n_streams = 2 });
        int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), early[40];

        (void)unlink(toy->address.sun_path);
        assert_int_equal(bind(listener, (struct sockaddr *)&toy->address, sizeof(toy->address)), 0);
        assert_int_equal(listen(listener, ELEMENTSOF(early)), 0);
        for (unsigned i = 0; i < ELEMENTSOF(early); i++)
                early[i] = toy_connect(toy);
        assert_int_equal(server_add_listener(toy->server, listener, DOOR_PUBLIC), 0);
        toy_turn(toy);
        for (unsigned i = 0; i < ELEMENTSOF(early); i++) {
                toy_say(early[i], ECHO);
                toy_expect(toy, early[i], REPLY);
                say_as(early[i], BOB, ECHO);
                toy_expect(toy, early[i], "");
                (void)close(early[i]);
        }
        /* And whoever comes later needs nothing of that. */
        for (unsigned i = 0; i < ELEMENTSOF(early); i++) {
                early[i] = toy_connect(toy);
                toy_say(early[i], ECHO);
                toy_expect(toy, early[i], REPLY);
                say_as(early[i], BOB, ECHO);
                toy_expect(toy, early[i], "");
                (void)close(early[i]);
        }
        assert_int_equal(toy->n_calls, 2 * ELEMENTSOF(early));
        toy_turn(toy);
}

static void bytes_of_two_writers_never_merge(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);

        /* All of it lies in the socket before the first read. */
        toy_say(fd, ECHO);
        say_as(fd, BOB, ECHO);
        toy_say(fd, ECHO);
        toy_expect(toy, fd, REPLY);
        toy_expect(toy, fd, "");
        assert_int_equal(toy->n_calls, 1);
}

static void message_that_another_uid_completes_is_refused(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);

        assert_int_equal(send(fd, ECHO, 10, 0), 10);
        say_as(fd, BOB, &ECHO[10]);
        toy_expect(toy, fd, "");
        assert_int_equal(toy->n_calls, 0);
}

static void another_process_of_the_same_uid_may_go_on(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);

        /* The kernel ends a read between two pids: what is behind must not be forgotten. */
        toy_say(fd, ECHO);
        say_as(fd, 0, ECHO);
        toy_say(fd, ECHO);
        for (unsigned i = 0; i < 3; i++)
                toy_expect(toy, fd, REPLY);
        toy_expect(toy, fd, NULL);
}

static void upgraded_connection_is_still_compared(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);

        toy_say(fd, "{\"method\":\"toy.Pipe\",\"upgrade\":true}");
        toy_expect(toy, fd, REPLY);
        toy_say(fd, "mine");
        toy_expect(toy, fd, "MINE");
        say_as(fd, BOB, "not mine");
        toy_expect(toy, fd, "");
        assert_true(toy->is_closed);
        assert_int_equal(toy->close_error, -EPERM);
        assert_int_equal(toy->n_bytes, sizeof("mine"));
}

static unsigned count_descriptors(void) {
        unsigned n = 0;

        for (int fd = 0; fd < 1024; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

static void passing_descriptors_closes_and_takes_none(void **state) {
        _cleanup_(toy_freep) Toy *toy = toy_new(&limits);
        _cleanup_(closep) int fd = toy_connect(toy);
        struct iovec iov = { (char *)ECHO, sizeof(ECHO) };
        int fds[3] = { fd, STDERR_FILENO, fd };
        union {
                struct cmsghdr header;
                uint8_t bytes[CMSG_SPACE(sizeof(fds))];
        } control = {};
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };

        toy_turn(toy);
        unsigned before = count_descriptors();
        control.header = (struct cmsghdr){ CMSG_LEN(sizeof(fds)), SOL_SOCKET, SCM_RIGHTS };
        memcpy(CMSG_DATA(&control.header), fds, sizeof(fds));
        assert_int_equal(sendmsg(fd, &message, 0), sizeof(ECHO));
        toy_expect(toy, fd, "");
        assert_int_equal(toy->n_calls, 0);
        assert_int_equal(count_descriptors(), before - 1); /* the server's end of the connection */
}

/* A socket that nobody told to name its writers; the server tells each of its own. */
static void bytes_without_a_writer_are_refused(void **state) {
        int fds[2];
        char text[sizeof(ECHO)];
        size_t n = 0;
        uid_t writer = 0;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        assert_int_equal(send(fds[0], ECHO, sizeof(ECHO), 0), sizeof(ECHO));
        assert_int_equal(receive_witnessed(fds[1], getuid(), text, sizeof(text), &n, &writer),
                        RECEIVED_NO_CREDENTIALS);
        assert_int_equal(writer, UID_INVALID);
        assert_int_equal(receive_enable_witness(fds[1]), 0);
        assert_int_equal(send(fds[0], ECHO, sizeof(ECHO), 0), sizeof(ECHO));
        assert_int_equal(
                        receive_witnessed(fds[1], getuid(), text, sizeof(text), &n, &writer), RECEIVED_DATA);
        assert_int_equal(writer, getuid());
        (void)close(fds[0]);
        (void)close(fds[1]);
}

static int setup(void **state) {
        /* A private tmpfs without nosuid, which the host's /tmp may have. */
        if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0)
                return -1;
        if (!mkdtemp(private_folder) || mount("test", private_folder, "tmpfs", 0, "mode=0755") < 0)
                return -1;
        return 0;
}

static int teardown(void **state) {
        return umount2(private_folder, MNT_DETACH) < 0 || rmdir(private_folder) < 0 ? -1 : 0;
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(plain_program_is_answered),
                cmocka_unit_test(setuid_program_with_its_effective_uid_is_refused),
                cmocka_unit_test(setuid_program_that_attaches_its_effective_uid_is_answered),
                cmocka_unit_test(passed_descriptor_is_refused),
                cmocka_unit_test(passed_descriptor_to_the_same_uid_is_answered),
                cmocka_unit_test(descriptor_inherited_by_another_uid_is_refused),
                cmocka_unit_test(bytes_written_before_accept_have_a_writer),
                cmocka_unit_test(client_that_came_before_the_server_is_compared_as_well),
                cmocka_unit_test(crowd_that_came_before_the_server_is_compared_as_well),
                cmocka_unit_test(bytes_of_two_writers_never_merge),
                cmocka_unit_test(message_that_another_uid_completes_is_refused),
                cmocka_unit_test(another_process_of_the_same_uid_may_go_on),
                cmocka_unit_test(upgraded_connection_is_still_compared),
                cmocka_unit_test(passing_descriptors_closes_and_takes_none),
                cmocka_unit_test(bytes_without_a_writer_are_refused),
        };

        if (argc == 3)
                _exit(act(argv)); /* no leak check at the end: it cannot look into a setuid program */
        return cmocka_run_group_tests_name("ipc-witness", tests, setup, teardown);
}
