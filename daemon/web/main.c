/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultd-web: the connect page and the callback, as a program and a user of its own.
 *
 * It stands where browsers can reach it, so it is the part most likely to be broken into, and is given the least: a
 * listening socket, and the socket of io.vaultd.Web, whose three methods take tickets and states that vaultd minted.
 * It opens no file, knows no uid, and holds no key or token. What it sees of value for a moment (authorization
 * codes, claim codes) is erased behind it, and nobody can dump or trace the process.
 *
 * It refuses to serve on anything but loopback: the way out of the host leads through a proxy that does TLS, which
 * --external-url names. */

#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "web/server.h"

#define DRAIN_USEC (20 * USEC_PER_SEC)

typedef struct Options {
        const char *socket, *listen, *external_url;
        bool is_external;
} Options;

static void print_help(void) {
        (void)printf("vaultd-web [OPTIONS]\n\n"
                     "Serves vaultd's connect page and OAuth callback on loopback.\n\n"
                     "  --socket PATH        socket of io.vaultd.Web (default: %s)\n"
                     "  --listen ADDR:PORT   listen here instead of on the sockets handed over by the "
                     "service manager;\n"
                     "                       port 0 takes a free one; the address is printed\n"
                     "  --listen-fd          listen on the handed-over sockets (the default)\n"
                     "  --external-url URL   the https address under which a TLS proxy publishes these "
                     "pages\n"
                     "  --external           only that proxy connects: refuse loopback names\n"
                     "  --help, --version\n",
                        VAULTD_SOCKET_WEB);
}

/* 0: go on; 1: done; -EINVAL: wrong usage. */
static int options_parse(int argc, char **argv, Options *ret) {
        static const struct option longs[] = {
                { "socket", required_argument, NULL, 's' },
                { "listen", required_argument, NULL, 'l' },
                { "listen-fd", no_argument, NULL, 'f' },
                { "external-url", required_argument, NULL, 'u' },
                { "external", no_argument, NULL, 'e' },
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'v' },
                {},
        };
        Options o = { .socket = VAULTD_SOCKET_WEB };
        int c;

        while ((c = getopt_long(argc, argv, "", longs, NULL)) >= 0)
                switch (c) {
                case 's':
                        o.socket = optarg;
                        break;
                case 'l':
                        o.listen = optarg;
                        break;
                case 'f':
                        o.listen = NULL;
                        break;
                case 'u':
                        o.external_url = optarg;
                        break;
                case 'e':
                        o.is_external = true;
                        break;
                case 'h':
                        print_help();
                        return 1;
                case 'v':
                        (void)printf("vaultd-web %s\n", VAULTD_VERSION);
                        return 1;
                default:
                        return -EINVAL;
                }
        if (optind != argc) {
                (void)fprintf(stderr, "vaultd-web: unexpected argument\n");
                return -EINVAL;
        }
        *ret = o;
        return 0;
}

/* "127.0.0.1:876" or "[::1]:876" into a socket address. -EINVAL. */
static int address_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_size) {
        char address[INET6_ADDRSTRLEN] = {};
        struct sockaddr_storage a = {};
        struct sockaddr_in *in = (void *)&a;
        struct sockaddr_in6 *in6 = (void *)&a;
        const char *colon = strrchr(text, ':');
        bool is_bracketed = text[0] == '[';
        size_t n;
        char *end;
        unsigned long port;

        if (!colon || colon == text || colon[1] < '0' || colon[1] > '9')
                return -EINVAL;
        port = strtoul(colon + 1, &end, 10);
        if (*end || port > UINT16_MAX)
                return -EINVAL;
        n = (size_t)(colon - text);
        if (is_bracketed) {
                if (n < 2 || text[n - 1] != ']')
                        return -EINVAL;
                text++;
                n -= 2;
        }
        if (n >= sizeof(address))
                return -EINVAL;
        memcpy(address, text, n);
        if (is_bracketed && inet_pton(AF_INET6, address, &in6->sin6_addr) == 1) {
                in6->sin6_family = AF_INET6;
                in6->sin6_port = htons((uint16_t)port);
                *ret_size = sizeof(*in6);
        } else if (!is_bracketed && inet_pton(AF_INET, address, &in->sin_addr) == 1) {
                in->sin_family = AF_INET;
                in->sin_port = htons((uint16_t)port);
                *ret_size = sizeof(*in);
        } else
                return -EINVAL;
        *ret = a;
        return 0;
}

static int listen_open(const char *text, int *ret) {
        _cleanup_(closep) int fd = -1;
        struct sockaddr_storage a;
        socklen_t size;
        int r, on = 1;

        r = address_parse(text, &a, &size);
        if (r < 0)
                return r;
        fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(fd, (struct sockaddr *)&a, size) < 0 || listen(fd, 128) < 0)
                return -errno;
        *ret = TAKE_FD(fd);
        return 0;
}

/* Opens the address of --listen and says where that is. The port matters to whoever asked for port 0. */
static int serve_address(Server *s, const char *text) {
        _cleanup_(closep) int fd = -1;
        uint16_t port;
        int r;

        r = listen_open(text, &fd);
        if (r == 0)
                r = listener_check(fd, &port);
        if (r == 0)
                r = server_listen(s, TAKE_FD(fd));
        if (r < 0)
                return r;
        (void)printf("listening on %.*s:%u\n", (int)(strrchr(text, ':') - text), text, port);
        return fflush(stdout) == 0 ? 0 : -EIO;
}

static int serve_handed_over(Server *s) {
        int n = sd_listen_fds(true), r = 0;

        if (n < 0)
                return n;
        if (n == 0)
                return -ENOENT;
        for (int i = 0; i < n && r == 0; i++)
                r = server_listen(s, SD_LISTEN_FDS_START + i);
        return r;
}

static const char *listen_error(int error) {
        switch (error) {
        case -EADDRNOTAVAIL:
                return "the address is not a loopback address of this host; publish the pages through a "
                       "proxy and --external-url";
        case -ENOENT:
                return "no socket was handed over; start vaultd-web.socket, or use --listen";
        case -EINVAL:
                return "that is not a listening TCP socket, or not an address like 127.0.0.1:8876";
        default:
                return strerror(-error);
        }
}

/* The signals that end us are read from a descriptor; must come before any thread starts. */
static int signals_open(void) {
        sigset_t set;

        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigaddset(&set, SIGINT);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        (void)signal(SIGPIPE, SIG_IGN);
        int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return fd < 0 ? -errno : fd;
}

static int run(const Options *o, const RouteContext *context) {
        _cleanup_(server_freep) Server *server = NULL;
        _cleanup_(closep) int signal_fd = signals_open();
        int r;

        if (signal_fd < 0)
                return signal_fd;
        r = server_new(context, &server);
        if (r < 0)
                return r;
        r = o->listen ? serve_address(server, o->listen) : serve_handed_over(server);
        if (r < 0) {
                (void)fprintf(stderr, "vaultd-web: cannot listen: %s\n", listen_error(r));
                return r;
        }
        (void)sd_notify(false, "READY=1");
        r = server_run(server, signal_fd);
        (void)sd_notify(false, "STOPPING=1");
        if (!server_drain(server, DRAIN_USEC))
                _exit(r < 0 ? EXIT_FAILURE
                            : EXIT_SUCCESS); /* somebody still waits for vaultd; nothing of ours is lost */
        return r;
}

int main(int argc, char **argv) {
        _cleanup_(site_done) Site site = {};
        Options options;
        int r;

        r = options_parse(argc, argv, &options);
        if (r != 0)
                return r < 0 ? 2 : EXIT_SUCCESS;
        r = site_init(&site, options.external_url, options.is_external);
        if (r < 0) {
                (void)fprintf(stderr, "vaultd-web: --external-url must be https://HOST[:PORT], and "
                                      "--external needs it\n");
                return 2;
        }
        if (prctl(PR_SET_DUMPABLE, 0) < 0) {
                (void)fprintf(stderr, "vaultd-web: cannot forbid core dumps: %s\n", strerror(errno));
                return EXIT_FAILURE;
        }
        const RouteContext context = { .socket = options.socket, .site = site };
        return run(&options, &context) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
