/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Outgoing requests against real TLS servers on loopback (server.py beside this file, whose journal says
 * what arrived).
 *
 * Names are resolved by the getaddrinfo() below, which the resolver's threads find before the C library's: the
 * tests decide what a name leads to, and nothing leaves the machine. */

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "http/http.h"
#include "util/clock.h"
#include "util/fiber.h"
#include "util/log.h"

#define HANG_SECONDS 4U

static struct {
        char directory[64];
        pid_t pid;
        int input;
        unsigned port, untrusted_port, proxy_port;
} server;

/* Names under test: "hang" for a resolver that does not answer, otherwise the address. */
static const struct {
        const char *name, *address;
} hosts[] = {
        { "hang.test", NULL },
        { "hang-", NULL }, /* and whatever begins so */
        { "proxy.test", "127.0.0.1" },
        { "other.test", "127.0.0.1" },
        { "allowed.test", "127.0.0.1" },
        { "rebound.test", "127.0.0.1" },
        { "metadata.test", "169.254.169.254" },
        { "mapped.test", "::ffff:127.0.0.1" },
        { "inner.test", "10.0.0.1" },
};

static atomic_uint n_lookups;

typedef int (*GetAddrInfo)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

__attribute__((visibility("default"))) int getaddrinfo(const char *restrict node,
                const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict ret) {
        GetAddrInfo real = (GetAddrInfo)dlsym(RTLD_NEXT, "getaddrinfo");

        if (node)
                atomic_fetch_add(&n_lookups, 1);
        for (size_t i = 0; node && i < ELEMENTSOF(hosts); i++) {
                if (!streq(node, hosts[i].name) && !(hosts[i].name[strlen(hosts[i].name) - 1] == '-' &&
                                                                   startswith(node, hosts[i].name)))
                        continue;
                if (!hosts[i].address) {
                        (void)sleep(HANG_SECONDS);
                        return EAI_AGAIN;
                }
                struct addrinfo numeric = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
                return real(hosts[i].address, service, &numeric, ret);
        }
        return node && strchr(node, '.') && strspn(node, "0123456789.") != strlen(node)
                               ? EAI_NONAME
                               : real(node, service, hints, ret);
}

/* How often the file of the system's authorities was opened, which OpenSSL does so. */
static atomic_uint n_ca_opened;

__attribute__((visibility("default"))) FILE *fopen64(const char *restrict path, const char *restrict mode) {
        FILE *(*real)(const char *, const char *) =
                        (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen64");

        if (streq(path, "/etc/ssl/certs/ca-certificates.crt"))
                atomic_fetch_add(&n_ca_opened, 1);
        return real(path, mode);
}

/* ---- the server ---- */

static char *at(const char *name) {
        char *path;

        assert_true(asprintf(&path, "%s/%s", server.directory, name) > 0);
        return path;
}

static char *file_read(const char *path) {
        FILE *f = fopen(path, "re");
        char *text = calloc(1, 1024 * 1024);

        assert_non_null(f);
        assert_non_null(text);
        size_t n = fread(text, 1, 1024 * 1024 - 1, f);
        text[n] = 0;
        (void)fclose(f);
        return text;
}

/* How many lines of the server's journal contain this. */
static unsigned arrived(const char *what) {
        _cleanup_(freep) char *path = at("requests");
        _cleanup_(freep) char *text = file_read(path);
        unsigned n = 0;

        for (char *p = text; (p = strstr(p, what)); p += strlen(what))
                n++;
        return n;
}

static int server_start(void **state) {
        int input[2], output[2];
        char line[64] = "";

        (void)snprintf(server.directory, sizeof(server.directory), "/tmp/vaultd-http-XXXXXX");
        if (!mkdtemp(server.directory) || pipe2(input, O_CLOEXEC) < 0 || pipe2(output, O_CLOEXEC) < 0)
                return -1;
        server.pid = fork();
        if (server.pid == 0) {
                (void)dup2(input[0], STDIN_FILENO);
                (void)dup2(output[1], STDOUT_FILENO);
                (void)execl("/usr/bin/python3", "python3", SERVER_PATH, server.directory, (char *)NULL);
                _exit(127);
        }
        (void)close(input[0]);
        (void)close(output[1]);
        server.input = input[1];

        size_t n = 0;
        for (ssize_t k; n < sizeof(line) - 1 && !strchr(line, '\n') &&
                        (k = read(output[0], line + n, sizeof(line) - 1 - n)) > 0;)
                n += (size_t)k;
        (void)close(output[0]);
        return sscanf(line, "%u %u %u", &server.port, &server.untrusted_port, &server.proxy_port) == 3 ? 0
                                                                                                       : -1;
}

static int server_stop(void **state) {
        static const char *const names[] = {
                "requests",
                "names",
                "ca.pem",
                "ca.key",
                "ca.srl",
                "other-ca.pem",
                "other-ca.key",
                "other-ca.srl",
                "server.pem",
                "server.key",
                "server.csr",
                "untrusted.pem",
                "untrusted.key",
                "untrusted.csr",
                "log",
        };

        (void)close(server.input);
        (void)kill(server.pid, SIGTERM);
        (void)waitpid(server.pid, NULL, 0);
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_(freep) char *path = at(names[i]);
                (void)unlink(path);
        }
        return rmdir(server.directory);
}

/* ---- one request on a fiber ---- */

typedef struct Call {
        Http *http;
        HttpRequest request;
        HttpResponse response;
        bool is_sent, is_ended;
        int result;
        Fiber *fiber;
        uint64_t ended_usec;
} Call;

typedef struct Bench {
        sd_event *event;
        Http *http;
        char *allowed[4];
        unsigned n_alive;
} Bench;

static unsigned *alive;

static int call_entry(void *userdata) {
        Call *c = userdata;

        c->is_sent = true; /* to be overwritten */
        return http_perform(c->http, &c->request, &c->response, &c->is_sent);
}

static void call_ended(int result, void *userdata) {
        Call *c = userdata;

        c->result = result;
        c->is_ended = true;
        c->ended_usec = now_monotonic();
        (*alive)--;
}

static void bench_open_with(Bench *b, const char *proxy, const char *host) {
        _cleanup_(freep) char *ca = at("ca.pem");
        HttpOptions options = { .ca_file = ca,
                .proxy = proxy,
                .allow_private = (const char *const *)b->allowed,
                .user_agent = "vaultd-test" };
        const unsigned ports[] = { server.port, server.untrusted_port, 1 };

        *b = (Bench){};
        for (size_t i = 0; host && i < ELEMENTSOF(ports); i++)
                assert_true(asprintf(&b->allowed[i], "%s:%u", host, ports[i]) > 0);
        assert_int_equal(sd_event_new(&b->event), 0);
        assert_int_equal(http_new(b->event, &options, &b->http), 0);
        alive = &b->n_alive;
}

static void bench_open(Bench *b) {
        bench_open_with(b, NULL, "allowed.test");
}

static void bench_close(Bench *b) {
        b->http = http_free(b->http);
        assert_null(sd_event_unref(b->event));
        for (size_t i = 0; i < ELEMENTSOF(b->allowed); i++)
                free(b->allowed[i]);
}

static void call_start(Bench *b, Call *c) {
        c->http = b->http;
        assert_int_equal(fiber_spawn(b->event, call_entry, call_ended, c, &c->fiber), 0);
        b->n_alive++;
}

static void bench_run(Bench *b) {
        while (b->n_alive > 0)
                assert_true(sd_event_run(b->event, UINT64_MAX) >= 0);
}

/* A GET (or what `request` says) of https://HOST:PORT/PATH, to its end. */
static int perform(Bench *b, Call *c, const char *host, unsigned port, const char *path) {
        _cleanup_(freep) char *url = NULL;

        assert_true(asprintf(&url, "https://%s:%u%s", host, port, path) > 0);
        c->request.url = url;
        c->request.method = c->request.method ?: "GET";
        call_start(b, c);
        bench_run(b);
        c->request.url = NULL;
        return c->result;
}

static int get(Bench *b, Call *c, const char *path) {
        return perform(b, c, "allowed.test", server.port, path);
}

static void assert_error_without_response(const Call *c) {
        assert_null(c->response.body.bytes);
        assert_null(c->response.headers);
        assert_int_equal(c->response.status, 0);
}

/* ---- properties ---- */

static void answer_arrives_whole(void **state) {
        Bench b;
        Call c = { .request = { .method = "POST",
                                   .body = "a=b",
                                   .body_size = 3,
                                   .content_type = "application/x-test" } };

        bench_open(&b);
        assert_int_equal(get(&b, &c, "/echo?x=1"), 0);
        assert_true(c.is_sent);
        assert_int_equal(c.response.status, 200);
        const char *body = (const char *)c.response.body.bytes;
        assert_non_null(strstr(body, "\"method\": \"POST\""));
        assert_non_null(strstr(body, "\"body\": \"a=b\""));
        assert_non_null(strstr(body, "\"content-type\": \"application/x-test\""));
        assert_non_null(strstr(body, "\"user-agent\": \"vaultd-test\""));
        assert_null(strstr(body, "\"expect\""));
        http_response_done(&c.response);
        bench_close(&b);
}

static void empty_body_has_no_type(void **state) {
        static const char *const methods[] = { "POST", "DELETE", "GET" };
        Bench b;

        bench_open(&b);
        for (size_t i = 0; i < ELEMENTSOF(methods); i++) {
                Call c = { .request.method = methods[i] };
                char expected[64];

                assert_int_equal(get(&b, &c, "/echo"), 0);
                (void)snprintf(expected, sizeof(expected), "\"method\": \"%s\"", methods[i]);
                assert_non_null(strstr((char *)c.response.body.bytes, expected));
                assert_null(strstr((char *)c.response.body.bytes, "content-type"));
                http_response_done(&c.response);
        }
        bench_close(&b);
}

/* libcurl asks for "100 Continue" beyond 1 MiB. */
#define BODY_SIZE (1200U * 1024U)

static void large_body_is_sent_without_expect(void **state) {
        _cleanup_(freep) char *body = malloc(BODY_SIZE);
        Call c = { .request = { .method = "POST",
                                   .body = body,
                                   .body_size = BODY_SIZE,
                                   .content_type = "text/plain",
                                   .max_response = 2 * BODY_SIZE } };
        Bench b;

        memset(body, 'b', BODY_SIZE);
        bench_open(&b);
        assert_int_equal(get(&b, &c, "/echo"), 0);
        assert_true(c.response.body.size > BODY_SIZE);
        assert_null(strstr((char *)c.response.body.bytes, "\"expect\""));
        http_response_done(&c.response);
        bench_close(&b);
}

static void answer_headers_are_kept(void **state) {
        Bench b;
        Call c = {};

        bench_open(&b);
        assert_int_equal(get(&b, &c, "/headers"), 0);
        assert_string_equal(http_response_header(&c.response, "LINK", 0), "<a>");
        assert_string_equal(http_response_header(&c.response, "link", 1), "<b>");
        assert_null(http_response_header(&c.response, "link", 2));
        assert_string_equal(http_response_header(&c.response, "www-authenticate", 0), "Bearer x=\"y\"");
        assert_string_equal(http_response_header(&c.response, "x-empty", 0), "");
        assert_null(http_response_header(&c.response, "www", 0));
        http_response_done(&c.response);
        bench_close(&b);
}

static void interim_and_trailing_headers_ignored(void **state) {
        Bench b;
        Call c = {}, d = {};

        bench_open(&b);
        assert_int_equal(get(&b, &c, "/interim"), 0);
        assert_string_equal(http_response_header(&c.response, "X-From", 0), "final");
        assert_null(http_response_header(&c.response, "X-From", 1));
        http_response_done(&c.response);

        assert_int_equal(get(&b, &d, "/trailer"), 0);
        assert_string_equal((char *)d.response.body.bytes, "hi");
        assert_null(http_response_header(&d.response, "X-From", 0));
        http_response_done(&d.response);
        bench_close(&b);
}

static void redirect_not_followed(void **state) {
        Bench b;
        Call c = {};

        bench_open(&b);
        assert_int_equal(get(&b, &c, "/redirect"), 0);
        assert_int_equal(c.response.status, 302);
        assert_string_equal(http_response_header(&c.response, "location", 0), "/landed");
        assert_int_equal(arrived("GET /landed"), 0);
        http_response_done(&c.response);
        bench_close(&b);
}

/* Everything that leads to a local address without an allowance, however it is written: refused before a
 * connection. */
static void private_address_refused(void **state) {
        static const char *const targets[] = {
                "rebound.test",
                "metadata.test",
                "mapped.test",
                "inner.test",
                "localhost",
                "x.localhost",
                "127.0.0.1",
                "127.1",
                "0x7f000001",
                "2130706433",
                "017700000001",
                "[::1]",
                "[::ffff:127.0.0.1]",
                "[64:ff9b::7f00:1]",
                "[2002:7f00:1::]",
                "0.0.0.0",
                "[::]",
                "10.0.0.1",
                "169.254.169.254",
                "[fe80::1]",
                "[fd00::1]",
                "224.0.0.1",
        };
        Bench b;

        bench_open(&b);
        unsigned before = arrived("connected");
        for (size_t i = 0; i < ELEMENTSOF(targets); i++) {
                Call c = {};

                if (perform(&b, &c, targets[i], server.port, "/private") != -EPERM)
                        fail_msg("%s: %d", targets[i], c.result);
                assert_false(c.is_sent);
                assert_error_without_response(&c);
        }
        assert_int_equal(arrived("connected"), before);
        assert_int_equal(arrived("GET /private"), 0);
        bench_close(&b);
}

static void allow_private_is_for_exact_host_and_port(void **state) {
        Bench b;
        Call c = {}, d = {}, e = {};

        bench_open(&b);
        assert_int_equal(perform(&b, &c, "allowed.test", server.port, "/allowed"), 0);
        http_response_done(&c.response);
        assert_int_equal(perform(&b, &d, "allowed.test", server.proxy_port, "/other-port"), -EPERM);
        assert_int_equal(perform(&b, &e, "rebound.test", server.port, "/other-host"), -EPERM);
        bench_close(&b);

        /* Also as an address; and a kept connection for one name does not serve another. */
        bench_open_with(&b, NULL, "127.0.0.1");
        Call f = {}, g = {};
        assert_int_equal(perform(&b, &f, "127.0.0.1", server.port, "/allowed"), 0);
        http_response_done(&f.response);
        assert_int_equal(perform(&b, &g, "allowed.test", server.port, "/other-host"), -EPERM);
        bench_close(&b);
        assert_int_equal(arrived("/other-"), 0);
}

static void metadata_address_cannot_be_allowed(void **state) {
        Bench b;
        Call c = {}, d = {};

        bench_open_with(&b, NULL, "metadata.test");
        assert_int_equal(perform(&b, &c, "metadata.test", server.port, "/"), -EPERM);
        bench_close(&b);
        bench_open_with(&b, NULL, "169.254.169.254");
        assert_int_equal(perform(&b, &d, "169.254.169.254", server.port, "/"), -EPERM);
        bench_close(&b);
}

static void large_answer_refused(void **state) {
        static const char *const paths[] = { "/large", "/large-chunked" };
        Bench b;

        bench_open(&b);
        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                Call c = { .request.max_response = 150000 }, d = { .request.max_response = 250000 };

                assert_int_equal(get(&b, &c, paths[i]), -EMSGSIZE);
                assert_true(c.is_sent);
                assert_error_without_response(&c);
                assert_int_equal(get(&b, &d, paths[i]), 0);
                http_response_done(&d.response);
        }
        bench_close(&b);
}

static void large_or_unclean_header_refused(void **state) {
        Bench b;
        Call c = {}, d = {}, e = {};

        bench_open(&b);
        assert_int_equal(get(&b, &c, "/large-header"), -EMSGSIZE);
        assert_int_equal(get(&b, &d, "/many-headers"), -EMSGSIZE);
        assert_int_equal(get(&b, &e, "/folded-header"), -EPROTO);
        assert_error_without_response(&e);
        bench_close(&b);
}

static void slow_answer_times_out(void **state) {
        static const char *const paths[] = { "/slow", "/trickle" };
        Bench b;

        bench_open(&b);
        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                Call c = { .request.timeout_usec = 400 * USEC_PER_MSEC };
                uint64_t begin = now_monotonic();

                assert_int_equal(get(&b, &c, paths[i]), -ETIMEDOUT);
                assert_true(c.is_sent);
                assert_in_range(now_monotonic() - begin, 350 * USEC_PER_MSEC, 2 * USEC_PER_SEC);
                assert_error_without_response(&c);
        }
        bench_close(&b);
}

static void hanging_lookup_times_out(void **state) {
        Bench b;
        Call c = { .request.timeout_usec = 300 * USEC_PER_MSEC };
        uint64_t begin = now_monotonic();

        bench_open(&b);
        assert_int_equal(perform(&b, &c, "hang.test", server.port, "/"), -ETIMEDOUT);
        assert_false(c.is_sent);
        bench_close(&b);
        assert_in_range(now_monotonic() - begin, 0, 2 * USEC_PER_SEC);
}

static int on_cancel_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        fiber_cancel(((Call *)userdata)->fiber);
        return 0;
}

/* Starts a request, cancels it after a moment; gives the time from the cancel until the fiber had ended. */
static uint64_t cancel_during(Bench *b, Call *c, const char *host, const char *path) {
        sd_event_source *timer = NULL;
        uint64_t begin = now_monotonic();

        assert_true(sd_event_add_time_relative(b->event, &timer, CLOCK_MONOTONIC, 150 * USEC_PER_MSEC, 1,
                                    on_cancel_timer, c) >= 0);
        assert_int_equal(perform(b, c, host, server.port, path), -ECANCELED);
        sd_event_source_disable_unref(timer);
        return c->ended_usec - begin - 150 * USEC_PER_MSEC;
}

static void cancel_during_hanging_lookup_does_not_block(void **state) {
        Bench b;
        Call c = {};

        bench_open(&b);
        assert_in_range(cancel_during(&b, &c, "hang.test", "/"), 0, 500 * USEC_PER_MSEC);
        assert_false(c.is_sent);

        uint64_t begin = now_monotonic();
        bench_close(&b);
        assert_in_range(now_monotonic() - begin, 0, 500 * USEC_PER_MSEC);
}

static void one_name_is_looked_up_once_for_all_who_ask(void **state) {
        Call calls[20] = {};
        _cleanup_(freep) char *url = NULL;
        unsigned before = atomic_load(&n_lookups);
        Bench b;

        bench_open(&b);
        assert_true(asprintf(&url, "https://allowed.test:%u/echo", server.port) > 0);
        for (size_t i = 0; i < ELEMENTSOF(calls); i++) {
                calls[i].request = (HttpRequest){ .method = "GET", .url = url };
                call_start(&b, &calls[i]);
        }
        bench_run(&b);
        for (size_t i = 0; i < ELEMENTSOF(calls); i++) {
                assert_int_equal(calls[i].result, 0);
                http_response_done(&calls[i].response);
        }
        assert_int_equal(atomic_load(&n_lookups) - before, 1);
        bench_close(&b);
}

/* Calls to names that hang, in a group; then one to a name that does not. Gives how long that one took, and how many look-ups were begun. */
static uint64_t call_beside_hanging(unsigned n_names, unsigned *ret_lookups) {
        enum { N = 200 };
        Call calls[N] = {}, c = { .request.method = "GET" };
        char *urls[N];
        _cleanup_(freep) char *url = NULL;
        unsigned before = atomic_load(&n_lookups);
        Bench b;

        bench_open(&b);
        for (unsigned i = 0; i < N; i++) {
                assert_true(asprintf(&urls[i], "https://hang-%u.test:%u/", i % n_names, server.port) > 0);
                calls[i].request = (HttpRequest){
                        .method = "GET", .url = urls[i], .timeout_usec = 1500 * USEC_PER_MSEC
                };
                call_start(&b, &calls[i]);
        }
        for (unsigned i = 0; i < 3; i++)
                assert_true(sd_event_run(b.event, USEC_PER_MSEC) >= 0);
        uint64_t begin = now_monotonic();

        assert_true(asprintf(&url, "https://allowed.test:%u/echo", server.port) > 0);
        c.request.url = url;
        call_start(&b, &c);
        bench_run(&b);
        for (unsigned i = 0; i < N; i++) {
                assert_int_equal(calls[i].result, -ETIMEDOUT);
                free(urls[i]);
        }
        if (c.result == 0)
                http_response_done(&c.response);
        bench_close(&b);
        *ret_lookups = atomic_load(&n_lookups) - before;
        return c.result == 0 ? c.ended_usec - begin : UINT64_MAX;
}

static void name_that_hangs_delays_no_other(void **state) {
        unsigned n;

        assert_in_range(call_beside_hanging(1, &n), 0, 500 * USEC_PER_MSEC);
        assert_int_equal(n, 2);
}

/* With so many that all places are taken others wait, and no more threads are made. */
static void lookups_at_a_time_are_bounded(void **state) {
        unsigned n;

        (void)call_beside_hanging(100, &n);
        assert_in_range(n, 32, 33);
}

static void proxy_is_found_by_name(void **state) {
        _cleanup_(freep) char *proxy = NULL;
        unsigned before = atomic_load(&n_lookups);
        Bench b;
        Call c = {};

        assert_true(asprintf(&proxy, "http://proxy.test:%u", server.proxy_port) > 0);
        bench_open_with(&b, proxy, "allowed.test");
        assert_int_equal(get(&b, &c, "/echo"), 0);
        http_response_done(&c.response);
        assert_int_equal(atomic_load(&n_lookups) - before, 1);
        bench_close(&b);
}

static void cancel_removes_transfer(void **state) {
        Bench b;
        Call c = {}, d = {};

        bench_open(&b);
        assert_in_range(cancel_during(&b, &c, "allowed.test", "/slow"), 0, 500 * USEC_PER_MSEC);
        assert_true(c.is_sent);
        assert_error_without_response(&c);
        /* The loop goes on without it, and the next request finds everything in order. */
        assert_int_equal(get(&b, &d, "/late"), 0);
        assert_string_equal((char *)d.response.body.bytes, "late");
        http_response_done(&d.response);
        bench_close(&b); /* asserts that no transfer is left */
}

static void cancelled_fiber_sends_nothing(void **state) {
        Bench b;
        Call c = { .request = { .method = "GET", .url = "https://allowed.test/never" } };

        bench_open(&b);
        call_start(&b, &c);
        fiber_cancel(c.fiber);
        bench_run(&b);
        assert_int_equal(c.result, -ECANCELED);
        assert_false(c.is_sent);
        bench_close(&b);
}

static void bad_certificate_refused(void **state) {
        Bench b;
        Call c = {}, d = {};

        bench_open(&b);
        assert_int_equal(perform(&b, &c, "allowed.test", server.untrusted_port, "/"), -EPROTO);
        assert_false(c.is_sent);
        bench_close(&b);

        /* A good authority, but for another name. */
        bench_open_with(&b, NULL, "127.0.0.2");
        assert_int_equal(perform(&b, &d, "127.0.0.2", server.port, "/"), -ECONNREFUSED);
        bench_close(&b);
        bench_open_with(&b, NULL, "other.test");
        Call e = {};
        assert_int_equal(perform(&b, &e, "other.test", server.port, "/"), -EPROTO);
        assert_false(e.is_sent);
        bench_close(&b);
        assert_int_equal(arrived("untrusted"), 0);
}

/* To parse them takes the loop some 20 ms. */
static void authorities_of_the_system_are_read_once(void **state) {
        HttpOptions options = {};
        _cleanup_(freep) char *allowed = NULL;
        const char *list[] = { NULL, NULL };
        Bench b = {};

        assert_true(asprintf(&allowed, "allowed.test:%u", server.port) > 0);
        list[0] = allowed;
        options.allow_private = list;
        assert_int_equal(sd_event_new(&b.event), 0);
        assert_int_equal(http_new(b.event, &options, &b.http), 0);
        alive = &b.n_alive;
        atomic_store(&n_ca_opened, 0);
        for (unsigned i = 0; i < 3; i++) {
                Call c = {};

                assert_int_equal(get(&b, &c, "/echo"), -EPROTO);
        }
        assert_int_equal(atomic_load(&n_ca_opened), 1);
        bench_close(&b);
}

static void refused_url_is_not_requested(void **state) {
        const char *const forms[] = {
                "http://allowed.test:%u/refused",
                "https://user@allowed.test:%u/refused",
                "https://u:p@allowed.test:%u/refused",
                "https://allowed.test.:%u/refused",
                "https://allowed.test:%u/refused\r\nX-Injected: 1",
                "https://allowed.test:%u/refused x",
                "https://allowed.test:%u/refused#f",
                "https://allowed.test:%u/a/../refused",
                "file:///etc/passwd?%u",
                "ftp://allowed.test:%u/refused",
                "allowed.test:%u/refused",
                "",
        };
        Bench b;

        bench_open(&b);
        for (size_t i = 0; i < ELEMENTSOF(forms); i++) {
                _cleanup_(freep) char *url = NULL;

                assert_true(asprintf(&url, forms[i], server.port) >= 0);
                Call c = { .request = { .method = "GET", .url = url } };
                call_start(&b, &c);
                bench_run(&b);
                if (c.result != -EPERM)
                        fail_msg("%s: %d", url, c.result);
                assert_false(c.is_sent);
        }
        assert_int_equal(arrived("refused"), 0);
        bench_close(&b);
}

static void header_injection_refused(void **state) {
        Secret *secret;
        Bench b;

        assert_int_equal(secret_new_text("x\r\nX-Injected: 1", &secret), 0);
        const HttpHeader headers[] = {
                { .name = "X-A", .value = "1\r\nX-Injected: 1" },
                { .name = "X-A", .value = "1\nX-Injected: 1" },
                { .name = "X A", .value = "1" },
                { .name = "X-A:", .value = "1" },
                { .name = "", .value = "1" },
                { .name = "Host", .value = "evil.test" },
                { .name = "content-length", .value = "0" },
                { .name = "Transfer-Encoding", .value = "chunked" },
                { .name = "Authorization", .secret = secret, .prefix = "Bearer " },
        };

        bench_open(&b);
        for (size_t i = 0; i < ELEMENTSOF(headers); i++) {
                Call c = { .request = { .headers = &headers[i], .n_headers = 1 } };

                assert_int_equal(get(&b, &c, "/injected"), -EINVAL);
                assert_false(c.is_sent);
        }
        assert_int_equal(arrived("/injected"), 0);
        assert_int_equal(arrived("X-Injected"), 0);
        (void)secret_free(secret);
        bench_close(&b);
}

static void unknown_method_refused(void **state) {
        static const char *const methods[] = { "get", "TRACE", "GET /x HTTP/1.1\r\n", "CONNECT", "" };
        Bench b;

        bench_open(&b);
        for (size_t i = 0; i < ELEMENTSOF(methods); i++) {
                Call c = { .request.method = methods[i] };

                assert_int_equal(get(&b, &c, "/method"), -EINVAL);
        }
        assert_int_equal(arrived("/method"), 0);
        bench_close(&b);
}

static void proxy_of_the_environment_ignored(void **state) {
        static const char *const names[] = { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                "http_proxy" };
        char value[64];
        Bench b;
        Call c = {};

        (void)snprintf(value, sizeof(value), "http://127.0.0.1:%u", server.proxy_port);
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                (void)setenv(names[i], value, 1);
        bench_open(&b);
        int r = get(&b, &c, "/direct");
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                (void)unsetenv(names[i]);
        assert_int_equal(r, 0);
        assert_int_equal(arrived("proxy CONNECT"), 0);
        http_response_done(&c.response);
        bench_close(&b);
}

static void configured_proxy_is_used_and_sees_no_secret(void **state) {
        Secret *secret;
        char proxy[64];
        Bench b;

        assert_int_equal(secret_new_text("canary-for-proxy", &secret), 0);
        HttpHeader header = { .name = "Authorization", .secret = secret, .prefix = "Bearer " };
        Call c = { .request = { .headers = &header, .n_headers = 1 } }, d = {}, e = {};

        (void)snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%u", server.proxy_port);
        (void)setenv("no_proxy", "*", 1);
        bench_open_with(&b, proxy, NULL);
        int r = perform(&b, &c, "far.test", 443, "/through-proxy");
        (void)unsetenv("no_proxy");
        assert_int_equal(r, 0);
        assert_int_equal(arrived("proxy CONNECT far.test:443"), 1);
        assert_int_equal(arrived("trusted GET /through-proxy"), 1);
        assert_int_equal(arrived("canary-for-proxy"), 1); /* at the server alone */
        assert_null(http_response_header(&c.response, "X-From-Proxy", 0));
        http_response_done(&c.response);

        /* What the URL itself shows to be local does not go to the proxy either. */
        assert_int_equal(perform(&b, &d, "127.0.0.1", server.port, "/proxied-local"), -EPERM);
        assert_int_equal(perform(&b, &e, "localhost", server.port, "/proxied-local"), -EPERM);
        assert_int_equal(arrived("proxy CONNECT 127"), 0);
        assert_int_equal(arrived("proxy CONNECT localhost"), 0);
        (void)secret_free(secret);
        bench_close(&b);
}

static void netrc_ignored(void **state) {
        _cleanup_(freep) char *path = at(".netrc"), *home = strdup(getenv("HOME") ?: "/");
        FILE *f = fopen(path, "we");
        Bench b;
        Call c = {};

        assert_non_null(f);
        (void)fputs("machine allowed.test login canary password netrc\n", f);
        (void)fclose(f);
        (void)setenv("HOME", server.directory, 1);
        bench_open(&b);
        int r = get(&b, &c, "/echo");
        (void)setenv("HOME", home, 1);
        (void)unlink(path);
        assert_int_equal(r, 0);
        assert_null(strstr((char *)c.response.body.bytes, "authorization"));
        http_response_done(&c.response);
        bench_close(&b);
}

static void secret_header_reaches_server_but_no_log(void **state) {
        _cleanup_(freep) char *path = at("log");
        Secret *secret;
        Bench b;

        assert_int_equal(secret_new_text("canary-bearer-7f3a", &secret), 0);
        HttpHeader header = { .name = "Authorization", .secret = secret, .prefix = "Bearer " };
        Call c = { .request = { .headers = &header,
                                   .n_headers = 1,
                                   .method = "POST",
                                   .body = "canary-body-7f3a",
                                   .body_size = 16 } };
        Call d = c, e = c;

        int saved = dup(STDERR_FILENO), fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(saved >= 0 && fd >= 0);
        (void)dup2(fd, STDERR_FILENO);
        int opened = log_open(LOG_TARGET_STDERR, LOG_DEBUG);
        bench_open(&b);
        int good = get(&b, &c, "/echo?state=canary-query-7f3a");
        int cut = get(&b, &d, "/cut?state=canary-query-7f3a");
        int refused = perform(&b, &e, "rebound.test", server.port, "/?state=canary-query-7f3a");
        bench_close(&b);
        log_close();
        (void)dup2(saved, STDERR_FILENO);
        (void)close(saved);
        (void)close(fd);

        assert_true(opened >= 0);
        assert_int_equal(good, 0);
        assert_true(cut < 0 && refused < 0);
        assert_int_equal(arrived("\"authorization\": \"Bearer canary-bearer-7f3a\""), 2);
        _cleanup_(freep) char *log = file_read(path);
        assert_non_null(strstr(log, "allowed.test")); /* it does log */
        assert_null(strstr(log, "canary"));
        assert_null(strstr(log, "7f3a"));
        http_response_done(&c.response);
        (void)secret_free(secret);
}

static void concurrent_transfers_do_not_mix(void **state) {
        enum { N = 24 };
        Call calls[N] = {};
        char urls[N][96], bodies[N][16];
        Bench b;

        bench_open(&b);
        uint64_t begin = now_monotonic();
        for (size_t i = 0; i < N; i++) {
                (void)snprintf(urls[i], sizeof(urls[i]), "https://allowed.test:%u%s?n=%zu", server.port,
                                i % 2 ? "/late" : "/echo", i);
                (void)snprintf(bodies[i], sizeof(bodies[i]), "body-%zu-", i);
                calls[i].request = (HttpRequest){ .method = "POST",
                        .url = urls[i],
                        .body = bodies[i],
                        .body_size = strlen(bodies[i]),
                        .content_type = "text/plain" };
                call_start(&b, &calls[i]);
        }
        bench_run(&b);
        for (size_t i = 0; i < N; i++) {
                assert_int_equal(calls[i].result, 0);
                assert_non_null(strstr((char *)calls[i].response.body.bytes, i % 2 ? "late" : bodies[i]));
                http_response_done(&calls[i].response);
        }
        /* Twelve of them take 0.2 s each at the server: they ran side by side. */
        assert_in_range(now_monotonic() - begin, 0, 2 * USEC_PER_SEC);
        bench_close(&b);
}

static void refused_connection_is_not_sent(void **state) {
        Bench b;
        Call c = {}, d = {};

        bench_open(&b);
        assert_int_equal(perform(&b, &c, "allowed.test", 1, "/"), -ECONNREFUSED);
        assert_false(c.is_sent);
        assert_int_equal(perform(&b, &d, "unknown.test", server.port, "/"), -ENXIO);
        assert_false(d.is_sent);
        bench_close(&b);
}

static void cut_connection_counts_as_sent(void **state) {
        static const struct {
                const char *path;
                int result;
        } rows[] = { { "/cut", -ECONNRESET }, { "/cut-in-body", -ECONNRESET }, { "/garbage", -EPROTO } };
        Bench b;

        bench_open(&b);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Call c = { .request.method = "POST" };

                assert_int_equal(get(&b, &c, rows[i].path), rows[i].result);
                assert_true(c.is_sent);
                assert_error_without_response(&c);
        }
        bench_close(&b);
}

/* A kept connection that the server cuts after the second request: libcurl would send that request again. */
static void post_never_sent_twice(void **state) {
        Bench b;
        Call first = { .request.method = "POST" }, second = { .request.method = "POST" };

        bench_open(&b);
        unsigned connected = arrived("connected");
        assert_int_equal(get(&b, &first, "/cut-when-kept"), 0);
        http_response_done(&first.response);
        assert_int_equal(get(&b, &second, "/cut-when-kept"), -ECONNRESET);
        assert_true(second.is_sent);
        assert_int_equal(arrived("POST /cut-when-kept"), 2);
        assert_in_range(arrived("connected") - connected, 1,
                        2); /* the second request did use the kept connection */
        bench_close(&b);
}

static void missing_ca_file_refused(void **state) {
        HttpOptions options = { .ca_file = "/nonexistent/ca.pem" };
        _cleanup_(http_freep) Http *h = NULL;
        sd_event *event = NULL;

        assert_int_equal(sd_event_new(&event), 0);
        assert_int_equal(http_new(event, &options, &h), -ENOENT);
        assert_null(h);
        assert_null(sd_event_unref(event));
}

static void error_texts_are_for_people(void **state) {
        static const int errors[] = { EPERM, ENXIO, ECONNREFUSED, EHOSTUNREACH, ECONNRESET, ETIMEDOUT,
                EPROTO, EMSGSIZE, ECANCELED };

        for (size_t i = 0; i < ELEMENTSOF(errors); i++) {
                assert_non_null(http_error_text(-errors[i]));
                assert_string_not_equal(http_error_text(-errors[i]), strerror(errors[i]));
        }
        assert_string_equal(http_error_text(-ENOMEM), strerror(ENOMEM));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                { "answer-arrives-whole", answer_arrives_whole },
                { "empty-body-has-no-type", empty_body_has_no_type },
                { "large-body-is-sent-without-expect", large_body_is_sent_without_expect },
                { "answer-headers-are-kept", answer_headers_are_kept },
                { "interim-and-trailing-headers-ignored", interim_and_trailing_headers_ignored },
                { "redirect-not-followed", redirect_not_followed },
                { "private-address-refused", private_address_refused },
                { "allow-private-is-for-exact-host-and-port", allow_private_is_for_exact_host_and_port },
                { "metadata-address-cannot-be-allowed", metadata_address_cannot_be_allowed },
                { "large-answer-refused", large_answer_refused },
                { "large-or-unclean-header-refused", large_or_unclean_header_refused },
                { "slow-answer-times-out", slow_answer_times_out },
                { "hanging-lookup-times-out", hanging_lookup_times_out },
                { "one-name-is-looked-up-once-for-all-who-ask", one_name_is_looked_up_once_for_all_who_ask },
                { "name-that-hangs-delays-no-other", name_that_hangs_delays_no_other },
                { "lookups-at-a-time-are-bounded", lookups_at_a_time_are_bounded },
                { "cancel-during-hanging-lookup-does-not-block",
                                cancel_during_hanging_lookup_does_not_block },
                { "cancel-removes-transfer", cancel_removes_transfer },
                { "cancelled-fiber-sends-nothing", cancelled_fiber_sends_nothing },
                { "bad-certificate-refused", bad_certificate_refused },
                { "authorities-of-the-system-are-read-once", authorities_of_the_system_are_read_once },
                { "refused-url-is-not-requested", refused_url_is_not_requested },
                { "header-injection-refused", header_injection_refused },
                { "unknown-method-refused", unknown_method_refused },
                { "proxy-of-the-environment-ignored", proxy_of_the_environment_ignored },
                { "configured-proxy-is-used-and-sees-no-secret",
                                configured_proxy_is_used_and_sees_no_secret },
                { "proxy-is-found-by-name", proxy_is_found_by_name },
                { "netrc-ignored", netrc_ignored },
                { "concurrent-transfers-do-not-mix", concurrent_transfers_do_not_mix },
                { "refused-connection-is-not-sent", refused_connection_is_not_sent },
                { "cut-connection-counts-as-sent", cut_connection_counts_as_sent },
                { "post-never-sent-twice", post_never_sent_twice },
                { "missing-ca-file-refused", missing_ca_file_refused },
                { "error-texts-are-for-people", error_texts_are_for_people },
                { "secret-header-reaches-server-but-no-log", secret_header_reaches_server_but_no_log },
        };

        if (secret_global_init() < 0)
                return 1;
        return cmocka_run_group_tests_name("http-http", tests, server_start, server_stop);
}
