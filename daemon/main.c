/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultd: reads its options, takes its sockets, runs the loop. */

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <systemd/sd-daemon.h>

#include "manager.h"
#include "util/fiber.h"
#include "util/log.h"

#define LISTENERS_MAX 8U
/* How many wait to be accepted, as in vaultd.socket. They stand in one line, whoever they are: who connects and leaves all the time keeps it
 * full, and everybody waits as long as it is. Who finds it full waits in connect(2), first come first served. */
#define BACKLOG 128
/* How long a connection beyond Connections= is kept before it is closed. */
#define REFUSAL_USEC (500 * USEC_PER_MSEC)

/* What can be locked in memory: less than the first starts no vaultd, for secrets would go to the swap (util/secret.c); less than the
 * second is used up by a few thousand secrets at once, after which others go there. */
#define MEMLOCK_NEEDED (1024U * 1024)
#define MEMLOCK_ENOUGH (8U * 1024 * 1024)

typedef struct ListenOption {
        Door door;
        const char *path;
} ListenOption;

typedef struct Options {
        DaemonOptions daemon;
        ListenOption listen[LISTENERS_MAX];
        size_t n_listen;
        int log_level;
} Options;

static void print_help(void) {
        printf("vaultd [OPTION]...\n\n"
               "The service that decides whose credentials an agent uses.\n\n"
               "  --state-dir DIR           database (default " VAULTD_STATE_DIR ")\n"
               "  --config-dir DIR          the administrator's files (default " VAULTD_CONFIG_DIR ")\n"
               "  --vendor-dir DIR          the shipped files (default " VAULTD_VENDOR_DIR ")\n"
               "  --runtime-dir DIR         registered logins (default " VAULTD_RUNTIME_DIR ")\n"
               "  --journal-head FILE       what the journal knows of the database (default: it is not "
               "asked)\n"
               "  --kek-file FILE           key of 32 bytes (default: the credential vaultd.kek)\n"
               "  --workspace-key-file FILE key of the Claude Platform workspace (default: the credential "
               "vaultd.workspace-key)\n"
               "  --listen NAME=PATH        listen there instead of on sockets from the service manager; "
               "NAME is public, control or web\n"
               "  --trust-owner             accept configuration owned by the uid that runs vaultd (for "
               "tests)\n"
               "  --log-level LEVEL         debug, info (default), notice or warning\n"
               "  --version, --help\n");
}

static int door_from_name(const char *name, size_t n, Door *ret) {
        static const struct {
                const char *name;
                Door door;
        } doors[] = { { "public", DOOR_PUBLIC }, { "varlink", DOOR_PUBLIC }, { "control", DOOR_CONTROL },
                { "web", DOOR_WEB } };

        for (size_t i = 0; i < ELEMENTSOF(doors); i++)
                if (strlen(doors[i].name) == n && memcmp(doors[i].name, name, n) == 0) {
                        *ret = doors[i].door;
                        return 0;
                }
        return -EINVAL;
}

static int parse_listen(Options *o, const char *text) {
        const char *path = strchr(text, '=');

        if (!path || o->n_listen == LISTENERS_MAX ||
                        door_from_name(text, (size_t)(path - text), &o->listen[o->n_listen].door) < 0)
                return -EINVAL;
        o->listen[o->n_listen++].path = path + 1;
        return 0;
}

static int parse_level(const char *text) {
        return streq(text, "debug")     ? LOG_DEBUG
               : streq(text, "info")    ? LOG_INFO
               : streq(text, "notice")  ? LOG_NOTICE
               : streq(text, "warning") ? LOG_WARNING
                                        : -EINVAL;
}

enum {
        OPTION_STATE = 1000,
        OPTION_CONFIG,
        OPTION_VENDOR,
        OPTION_RUNTIME,
        OPTION_JOURNAL_HEAD,
        OPTION_KEK,
        OPTION_WORKSPACE,
        OPTION_LISTEN,
        OPTION_TRUST,
        OPTION_LEVEL,
        OPTION_VERSION,
};

static const struct option long_options[] = {
        { "state-dir", required_argument, NULL, OPTION_STATE },
        { "config-dir", required_argument, NULL, OPTION_CONFIG },
        { "vendor-dir", required_argument, NULL, OPTION_VENDOR },
        { "runtime-dir", required_argument, NULL, OPTION_RUNTIME },
        { "journal-head", required_argument, NULL, OPTION_JOURNAL_HEAD },
        { "kek-file", required_argument, NULL, OPTION_KEK },
        { "workspace-key-file", required_argument, NULL, OPTION_WORKSPACE },
        { "listen", required_argument, NULL, OPTION_LISTEN },
        { "trust-owner", no_argument, NULL, OPTION_TRUST },
        { "log-level", required_argument, NULL, OPTION_LEVEL },
        { "version", no_argument, NULL, OPTION_VERSION },
        { "help", no_argument, NULL, 'h' },
        {},
};

/* 0: run; positive: done; -EINVAL: usage. */
static int parse_options(int argc, char **argv, Options *o) {
        *o = (Options){ .daemon = { VAULTD_STATE_DIR, VAULTD_CONFIG_DIR, VAULTD_VENDOR_DIR,
                                        VAULTD_RUNTIME_DIR },
                .log_level = LOG_INFO };
        for (int c; (c = getopt_long(argc, argv, "h", long_options, NULL)) >= 0;)
                switch (c) {
                case OPTION_STATE:
                        o->daemon.state_dir = optarg;
                        break;
                case OPTION_CONFIG:
                        o->daemon.config_dir = optarg;
                        break;
                case OPTION_VENDOR:
                        o->daemon.vendor_dir = optarg;
                        break;
                case OPTION_RUNTIME:
                        o->daemon.runtime_dir = optarg;
                        break;
                case OPTION_JOURNAL_HEAD:
                        o->daemon.journal_head_file = optarg;
                        break;
                case OPTION_KEK:
                        o->daemon.kek_file = optarg;
                        break;
                case OPTION_WORKSPACE:
                        o->daemon.workspace_key_file = optarg;
                        break;
                case OPTION_TRUST:
                        o->daemon.is_trusting_owner = true;
                        break;
                case OPTION_LISTEN:
                        if (parse_listen(o, optarg) < 0) {
                                fprintf(stderr,
                                                "vaultd: --listen %s: expected NAME=PATH, NAME one of "
                                                "public, control, web\n",
                                                optarg);
                                return -EINVAL;
                        }
                        break;
                case OPTION_LEVEL:
                        o->log_level = parse_level(optarg);
                        if (o->log_level < 0) {
                                fprintf(stderr,
                                                "vaultd: --log-level %s: expected debug, info, notice or "
                                                "warning\n",
                                                optarg);
                                return -EINVAL;
                        }
                        break;
                case OPTION_VERSION:
                        puts("vaultd " VAULTD_VERSION);
                        return 1;
                case 'h':
                        print_help();
                        return 1;
                default:
                        return -EINVAL;
                }
        if (optind < argc) {
                fprintf(stderr, "vaultd: unexpected argument %s\n", argv[optind]);
                return -EINVAL;
        }
        return 0;
}

/* A listening socket of our own, for tests and other service managers. The folder decides who may reach the public one. */
static int listen_on(const ListenOption *l) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_(closep) int fd = -1;

        if (strlen(l->path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, l->path, strlen(l->path));
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        (void)unlink(l->path);
        mode_t mask = umask(l->door == DOOR_PUBLIC ? 0111 : 0177);
        int r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
        (void)umask(mask);
        if (r < 0)
                return r;
        if (listen(fd, BACKLOG) < 0)
                return -errno;
        return TAKE_FD(fd);
}

static int add_own_listeners(Server *server, const Options *o) {
        for (size_t i = 0; i < o->n_listen; i++) {
                int fd = listen_on(&o->listen[i]);

                if (fd < 0) {
                        log_error("cannot listen on %s: %s", o->listen[i].path, strerror(-fd));
                        return fd;
                }
                int r = server_add_listener(server, fd, o->listen[i].door);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Sockets of the service manager, told apart by their names (sd_listen_fds_with_names(3)). One that is not understood
 * ends the start: a socket in the wrong role would be a hole. */
static int add_passed_listeners(Server *server) {
        char **names = NULL;
        int n, r = 0;

        n = sd_listen_fds_with_names(true, &names);
        if (n < 0)
                return n;
        for (int i = 0; i < n && r >= 0; i++) {
                int fd = SD_LISTEN_FDS_START + i;
                Door door;

                if (door_from_name(names[i], strlen(names[i]), &door) < 0 ||
                                sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) <= 0) {
                        log_error("a socket named %s was passed; expected Unix sockets named public, "
                                  "control or web",
                                        names[i]);
                        r = -EINVAL;
                } else
                        r = server_add_listener(server, fd, door);
        }
        for (int i = 0; i < n; i++)
                free(names[i]);
        free(names);
        return r < 0 ? r : n;
}

/* Exchanges are cancelled and come to their ends inside the loop, commits included; the loop ends when none is left. */
static int on_stopping(sd_event_source *source, void *userdata) {
        if (fiber_cancel_all() == 0)
                (void)sd_event_exit(sd_event_source_get_event(source), 0);
        return 0;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        sd_event *event = sd_event_source_get_event(source);
        Server **server = userdata;

        /* Otherwise whoever keeps calling keeps us from ending. */
        server_stop(*server);
        /* A post source that is added now runs after the next event only; an idle daemon has none for a long time, so the first
         * cancellation is made here. */
        if (sd_event_add_post(event, NULL, on_stopping, NULL) < 0 || fiber_cancel_all() == 0)
                (void)sd_event_exit(event, 0);
        return 0;
}

static int add_signals(sd_event *event, Server **server) {
        sigset_t set;
        int r;

        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigaddset(&set, SIGINT);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        (void)signal(SIGPIPE, SIG_IGN);
        r = sd_event_add_signal(event, NULL, SIGTERM, on_signal, server);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGINT, on_signal, server);
        return r;
}

static void check_memlock(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur >= MEMLOCK_ENOUGH)
                return;
        log_warning("only %llu KiB of memory can be locked, so secrets %s the swap: set LimitMEMLOCK=64M in "
                    "vaultd.service",
                        (unsigned long long)limit.rlim_cur / 1024,
                        limit.rlim_cur < MEMLOCK_NEEDED ? "would go to" : "may go to");
}

static int run(const Options *o) {
        /* Released in reverse: the server's calls work on the manager. */
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(manager_freep) Manager *m = NULL;
        _cleanup_(server_freep) Server *server = NULL;
        int r;

        r = identity_check_own_namespace();
        if (r < 0) {
                log_error("vaultd runs in a user namespace, where every caller looks alike; it does not "
                          "start (PrivateUsers= must be off)");
                return r;
        }
        check_memlock();
        r = secret_global_init();
        if (r >= 0)
                r = sd_event_new(&event);
        if (r >= 0)
                r = add_signals(event, &server);
        if (r < 0)
                return r;
        r = manager_new(event, &o->daemon, &m);
        if (r < 0)
                return r;

        const Config *c = m->config;
        r = server_new(event,
                        &(ServerOptions){ .interfaces = manager_interfaces,
                                        .userdata = m,
                                        .limits = { c->connections_per_uid, c->bytes_per_uid,
                                                        c->calls_per_uid, c->streams_per_uid,
                                                        c->calls_per_second },
                                        .strangers_from = c->uid_max + 1,
                                        .message_timeout_usec = c->message_timeout_usec,
                                        .refusal_usec = REFUSAL_USEC,
                                        .admit = manager_admit,
                                        .fault = manager_fault,
                                        .vendor = "vaultd",
                                        .product = "vaultd",
                                        .version = VAULTD_VERSION,
                                        .url = "file:///usr/share/doc/vaultd" },
                        &server);
        m->server = server;
        if (r >= 0)
                r = add_own_listeners(server, o);
        if (r >= 0)
                r = add_passed_listeners(server);
        if (r == 0 && o->n_listen == 0) {
                log_error("no sockets: start vaultd through its socket units, or with --listen");
                r = -ENOTCONN;
        }
        if (r >= 0) {
                (void)sd_event_set_watchdog(event, true);
                (void)sd_notify(false, "READY=1");
                log_info("vaultd " VAULTD_VERSION " is ready");
                r = server_loop(server);
                (void)sd_notify(false, "STOPPING=1");
                if (r >= 0)
                        r = m->exit_status;
        }
        m->server = NULL;
        return r;
}

int main(int argc, char **argv) {
        Options options;
        int r;

        r = parse_options(argc, argv, &options);
        if (r != 0)
                return r > 0 ? EXIT_SUCCESS : 2;
        (void)umask(0077);
        /* No core, no ptrace by the same uid: the address space holds tokens (T16). */
        if (prctl(PR_SET_DUMPABLE, 0) < 0) {
                perror("vaultd: prctl");
                return EXIT_FAILURE;
        }
        r = log_open(getenv("JOURNAL_STREAM") ? LOG_TARGET_JOURNAL : LOG_TARGET_STDERR, options.log_level);
        if (r < 0)
                return EXIT_FAILURE;
        r = run(&options);
        if (r < 0)
                log_error("vaultd ends: %s", strerror(-r));
        log_close();
        return r < 0 ? EXIT_FAILURE : r;
}
