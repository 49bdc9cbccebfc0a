/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* libmicrohttpd, tied down.
 *
 * One thread per connection because an answer may wait up to a minute for vaultd and vaultd's client is blocking on
 * purpose (it is shared with the PAM module); the number of threads is bounded and small. One request per connection,
 * so that no state of one request can meet another and every connection has an end. We accept the connections and hand
 * them over, for two reasons: the library, once full, would accept and drop whoever comes next, and when it stops it
 * may shutdown(2) a listening socket that the service manager still holds; the port must outlive us (threat T15).
 *
 * Every page carries the same set of headers, from one place; what differs is the nonce of its style and where its
 * forms may lead.
 *
 * Who may call: main.c. */

#include <arpa/inet.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>

#include "util/clock.h"
#include "web/access-log.h"
#include "web/connection.h"
#include "web/server.h"

#define LISTENERS_MAX 4
/* Request line and header together; a callback is at most 8 KiB (target.h). Above 32 KiB the library maps and unmaps
 * this memory, so that nothing of a request stays behind in the heap. */
#define REQUEST_MEMORY ((size_t)(36 * 1024))
/* How long accept(2) rests after it failed for want of descriptors or memory. */
#define ACCEPT_REST_USEC (200 * USEC_PER_MSEC)
/* Our forms have four short fields. */
#define BODY_MAX     ((size_t)1024)
#define THREAD_STACK ((size_t)(1024 * 1024))
/* The library's own time-out between two bytes, behind ours. */
#define IDLE_SECONDS 15U

typedef struct Listener {
        int fd;
        uint16_t port;
} Listener;

struct Server {
        const RouteContext *context;
        struct MHD_Daemon *daemon;
        ConnectionTable table;
        Listener listeners[LISTENERS_MAX];
        size_t n_listeners;
        uint64_t accept_after_usec; /* CLOCK_MONOTONIC; 0: now */
        bool is_draining;
};

/* "127.0.0.1:876" or "[::1]:876"; empty for what is neither. */
static void address_to_text(const struct sockaddr *a, char *ret, size_t size) {
        char text[INET6_ADDRSTRLEN];

        ret[0] = 0;
        if (a->sa_family == AF_INET) {
                const struct sockaddr_in *in = (const void *)a;

                if (inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text)))
                        (void)snprintf(ret, size, "%s:%u", text, ntohs(in->sin_port));
        } else if (a->sa_family == AF_INET6) {
                const struct sockaddr_in6 *in = (const void *)a;

                if (inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof(text)))
                        (void)snprintf(ret, size, "[%s]:%u", text, ntohs(in->sin6_port));
        }
}

/* The library has begun with a connection, or is about to close it. */
static void on_connection(void *userdata, struct MHD_Connection *mhd, void **socket_context,
                enum MHD_ConnectionNotificationCode code) {
        Server *s = userdata;

        if (code == MHD_CONNECTION_NOTIFY_STARTED) {
                const union MHD_ConnectionInfo *info =
                                MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);

                *socket_context = info ? connection_claim(&s->table, info->connect_fd) : NULL;
                return;
        }
        if (*socket_context)
                connection_remove(*socket_context);
        *socket_context = NULL;
}

static Connection *connection_of(struct MHD_Connection *mhd) {
        const union MHD_ConnectionInfo *info =
                        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

        return info ? info->socket_context : NULL;
}

/* The library's one chance to see the target before it cuts and decodes it. */
static void *on_request_line(void *userdata, const char *target, struct MHD_Connection *mhd) {
        Connection *c = connection_of(mhd);

        if (c && !c->target)
                c->target = strdup(target);
        return NULL;
}

/* Collects the headers that matter; a second one of a kind makes the request ambiguous. */
static enum MHD_Result on_header(
                void *userdata, enum MHD_ValueKind kind, const char *name, const char *value) {
        Request *q = userdata;
        struct {
                const char *name;
                const char **field;
        } wanted[] = {
                { MHD_HTTP_HEADER_HOST, &q->host },
                { MHD_HTTP_HEADER_ORIGIN, &q->origin },
                { "Sec-Fetch-Site", &q->fetch_site },
                { "Sec-Fetch-Dest", &q->fetch_dest },
                { MHD_HTTP_HEADER_CONTENT_TYPE, &q->content_type },
        };

        if (strcasecmp(name, MHD_HTTP_HEADER_COOKIE) == 0) {
                q->is_cookie_repeated = q->cookie != NULL;
                q->cookie = value ?: "";
                return MHD_YES;
        }

        for (size_t i = 0; i < ELEMENTSOF(wanted); i++) {
                if (strcasecmp(name, wanted[i].name) != 0)
                        continue;
                if (*wanted[i].field)
                        q->has_repeated_header = true;
                *wanted[i].field = value ?: "";
        }
        return MHD_YES;
}

static void page_buffer_free(void *userdata) {
        Buffer *b = userdata;

        buffer_done(b);
        free(b);
}

/* Hands the page over to the library, which erases it through us when it is sent. */
static struct MHD_Response *reply_to_response(Reply *r) {
        Buffer *page = calloc(1, sizeof(*page));
        struct MHD_Response *response;

        if (!page)
                return NULL;
        *page = r->page.buffer;
        r->page.buffer = (Buffer){};
        response = MHD_create_response_from_buffer_with_free_callback_cls(
                        page->size, page->bytes ? (void *)page->bytes : (void *)"", page_buffer_free, page);
        if (!response)
                page_buffer_free(page);
        return response;
}

static int response_add_headers(struct MHD_Response *response, const Reply *r) {
        char policy[256];
        const struct {
                const char *name, *value;
        } headers[] = {
                { MHD_HTTP_HEADER_CONTENT_TYPE, r->content_type ?: "text/html; charset=utf-8" },
                { "Content-Security-Policy", policy },
                { "X-Frame-Options", "DENY" },
                { "X-Content-Type-Options", "nosniff" },
                { "Referrer-Policy", "no-referrer" },
                { "Cross-Origin-Opener-Policy", "same-origin" },
                { "Cross-Origin-Resource-Policy", "same-origin" },
                { "X-Robots-Tag", "noindex" },
                { MHD_HTTP_HEADER_CACHE_CONTROL, "no-store" },
                { MHD_HTTP_HEADER_CONNECTION, "close" },
                { MHD_HTTP_HEADER_ALLOW, r->allow },
                { MHD_HTTP_HEADER_LOCATION, r->location },
                { MHD_HTTP_HEADER_SET_COOKIE, r->set_cookie },
                { MHD_HTTP_HEADER_RETRY_AFTER, r->status == 503 ? "60" : NULL },
        };

        (void)snprintf(policy, sizeof(policy),
                        "default-src 'none'; style-src 'nonce-%s'; form-action %s; "
                        "base-uri 'none'; frame-ancestors 'none'",
                        r->nonce, r->form_action ?: "'none'");
        for (size_t i = 0; i < ELEMENTSOF(headers); i++)
                if (headers[i].value && MHD_add_response_header(response, headers[i].name,
                                                        headers[i].value) != MHD_YES)
                        return -ENOMEM;
        return 0;
}

static enum MHD_Result send_reply(struct MHD_Connection *mhd, const char *method, Connection *c, Reply *r) {
        struct MHD_Response *response;
        enum MHD_Result result = MHD_NO;

        response = reply_to_response(r);
        if (!response)
                return MHD_NO;
        if (response_add_headers(response, r) == 0)
                result = MHD_queue_response(mhd, r->status, response);
        MHD_destroy_response(response);
        access_log_request(method, r->name, r->status, now_monotonic() - c->begun_usec);
        return result;
}

static bool declares_large_body(struct MHD_Connection *mhd) {
        const char *length =
                        MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

        return length && (strlen(length) > 6 || strtoul(length, NULL, 10) > BODY_MAX);
}

/* Overwrites what the calls before have left on this thread's stack (parts of answers, decoded bytes): the C library keeps
 * the stacks of ended threads for new ones. */
static __attribute__((__noinline__)) void burn_stack(void) {
        uint8_t frames[128 * 1024];

        explicit_bzero(frames, sizeof(frames));
}

static enum MHD_Result answer(Server *s, struct MHD_Connection *mhd, Connection *c, const char *method) {
        _cleanup_(reply_done) Reply reply = {};
        Request request = {
                .method = method,
                .target = c->target ?: "",
                .is_body_too_large = c->is_body_too_large,
                .port = c->port,
                .body = c->body,
                .n_body = c->n_body_kept,
                .local = isempty(c->local) ? NULL : c->local,
                .peer = isempty(c->peer) ? NULL : c->peer,
        };
        int r;

        (void)MHD_get_connection_values(mhd, MHD_HEADER_KIND, on_header, &request);
        if (connection_begin_answer(c))
                r = route_answer(s->context, &request, &reply);
        else
                r = route_answer_busy(&reply);
        burn_stack();
        connection_forget_request(c);
        connection_end_answer(c);
        return r < 0 ? MHD_NO : send_reply(mhd, method, c, &reply);
}

/* Called when the header is there, then for each piece of a body, then at its end. */
static enum MHD_Result on_request(void *userdata, struct MHD_Connection *mhd, const char *url,
                const char *method, const char *version, const char *upload_data, size_t *upload_data_size,
                void **request_context) {
        Connection *c = connection_of(mhd);

        if (!c)
                return MHD_NO;
        if (!c->is_begun) {
                c->is_begun = true;
                c->is_body_too_large = declares_large_body(mhd);
                if (!streq(method, "POST") || c->is_body_too_large)
                        return answer(userdata, mhd, c, method);
                return MHD_YES;
        }
        if (*upload_data_size > 0) {
                /* The library lets nobody answer in the middle of a body: swallow a little, then hang up. */
                if (!connection_keep_body(c, upload_data, *upload_data_size, BODY_MAX))
                        c->is_body_too_large = true;
                *upload_data_size = 0;
                return c->n_body > 16 * BODY_MAX ? MHD_NO : MHD_YES;
        }
        return answer(userdata, mhd, c, method);
}

int listener_check(int fd, uint16_t *ret_port) {
        struct sockaddr_storage a = {};
        socklen_t size = sizeof(a);
        int value = 0;
        socklen_t value_size = sizeof(value);

        if (getsockname(fd, (struct sockaddr *)&a, &size) < 0)
                return errno == ENOTSOCK ? -EINVAL : -errno;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &value_size) < 0 || value == 0)
                return -EINVAL;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &value_size) < 0 || value != SOCK_STREAM)
                return -EINVAL;
        if (a.ss_family == AF_INET) {
                const struct sockaddr_in *in = (const void *)&a;

                if (ntohl(in->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
                        return -EADDRNOTAVAIL;
                *ret_port = ntohs(in->sin_port);
                return 0;
        }
        if (a.ss_family == AF_INET6) {
                const struct sockaddr_in6 *in = (const void *)&a;

                if (!IN6_IS_ADDR_LOOPBACK(&in->sin6_addr))
                        return -EADDRNOTAVAIL;
                *ret_port = ntohs(in->sin6_port);
                return 0;
        }
        return -EINVAL;
}

int server_new(const RouteContext *context, Server **ret) {
        Server *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return -ENOMEM;
        s->context = context;
        r = connection_table_init(&s->table);
        if (r < 0) {
                free(s);
                return r;
        }
        s->daemon = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                                                     MHD_USE_POLL | MHD_USE_ITC | MHD_USE_NO_LISTEN_SOCKET,
                        0, NULL, NULL, on_request, s,
                        /* Ours is the limit that counts, and is smaller. */
                        MHD_OPTION_CONNECTION_LIMIT, 2 * CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                        REQUEST_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS,
                        MHD_OPTION_THREAD_STACK_SIZE, THREAD_STACK, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                        MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_URI_LOG_CALLBACK,
                        on_request_line, NULL, MHD_OPTION_END);
        if (!s->daemon) {
                connection_table_done(&s->table);
                free(s);
                return -EIO;
        }
        *ret = s;
        return 0;
}

int server_listen(Server *s, int fd) {
        _cleanup_(closep) int listener = fd;
        uint16_t port;
        int r, flags;

        if (s->n_listeners == LISTENERS_MAX)
                return -E2BIG;
        r = listener_check(listener, &port);
        if (r < 0)
                return r;
        /* A visitor who leaves between poll(2) and accept(2) must not make us wait for the next one. */
        flags = fcntl(listener, F_GETFL);
        if (flags < 0 || fcntl(listener, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;
        s->listeners[s->n_listeners++] = (Listener){ .fd = TAKE_FD(listener), .port = port };
        return 0;
}

/* Takes one connection from a listener. When there are no descriptors or threads, the rest of the backlog has to wait a
 * little, and is not forgotten. */
static void server_accept(Server *s, const Listener *l) {
        struct sockaddr_storage peer = {}, local = {};
        socklen_t peer_size = sizeof(peer), local_size = sizeof(local);
        _cleanup_(closep) int fd = -1;
        Connection *c;

        fd = accept4(l->fd, (struct sockaddr *)&peer, &peer_size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
                if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                        s->accept_after_usec = now_monotonic() + ACCEPT_REST_USEC;
                return;
        }
        if (connection_add(&s->table, fd, &c) < 0)
                return;
        c->port = l->port;
        address_to_text((struct sockaddr *)&peer, c->peer, sizeof(c->peer));
        if (getsockname(fd, (struct sockaddr *)&local, &local_size) == 0)
                address_to_text((struct sockaddr *)&local, c->local, sizeof(c->local));
        /* The library closes it from here on, also when this fails; an unclaimed entry then runs out. */
        if (MHD_add_connection(s->daemon, TAKE_FD(fd), (struct sockaddr *)&peer, peer_size) != MHD_YES)
                s->accept_after_usec = now_monotonic() + ACCEPT_REST_USEC;
}

/* Milliseconds from now until a CLOCK_MONOTONIC time for poll(2), rounded up; -1 for never. */
static int poll_timeout(uint64_t until_usec) {
        uint64_t now = now_monotonic();

        if (until_usec == UINT64_MAX)
                return -1;
        if (until_usec <= now)
                return 0;
        return (int)MIN((until_usec - now + USEC_PER_MSEC - 1) / USEC_PER_MSEC, UINT64_C(60000));
}

/* Waits once for visitors, a deadline, a change of the table, or signal_fd. 1: the signal is there. */
static int server_turn(Server *s, int signal_fd, uint64_t limit_usec) {
        struct pollfd fds[2 + LISTENERS_MAX] = {
                { .fd = s->table.wake_fd, .events = POLLIN },
                { .fd = signal_fd, .events = POLLIN },
        };
        uint64_t now = now_monotonic(), next = MIN(connection_reap(&s->table, now), access_log_settle(now)),
                 count;
        bool is_open = !s->is_draining && connection_admits(&s->table);

        if (is_open && s->accept_after_usec > now) {
                next = MIN(next, s->accept_after_usec);
                is_open = false;
        }
        for (size_t i = 0; i < s->n_listeners; i++)
                fds[2 + i] = (struct pollfd){ .fd = is_open ? s->listeners[i].fd : -1, .events = POLLIN };
        if (poll(fds, 2 + s->n_listeners, poll_timeout(MIN(next, limit_usec))) < 0)
                return errno == EINTR ? 0 : -errno;
        if (fds[0].revents != 0)
                (void)!read(s->table.wake_fd, &count, sizeof(count));
        for (size_t i = 0; i < s->n_listeners; i++)
                if (fds[2 + i].revents != 0 && connection_admits(&s->table))
                        server_accept(s, &s->listeners[i]);
        return fds[1].revents != 0;
}

int server_run(Server *s, int signal_fd) {
        int r;

        do
                r = server_turn(s, signal_fd, UINT64_MAX);
        while (r == 0);
        return r < 0 ? r : 0;
}

bool server_drain(Server *s, uint64_t wait_usec) {
        uint64_t until = now_monotonic() + wait_usec;

        s->is_draining = true;
        connection_cut_unfinished(&s->table);
        while (connection_count(&s->table) > 0 && now_monotonic() < until)
                if (server_turn(s, -1, until) < 0)
                        break;
        return connection_count(&s->table) == 0;
}

Server *server_free(Server *s) {
        if (!s)
                return NULL;
        MHD_stop_daemon(s->daemon);
        (void)access_log_settle(UINT64_MAX);
        for (size_t i = 0; i < s->n_listeners; i++)
                (void)safe_close(s->listeners[i].fd);
        connection_table_done(&s->table);
        free(s);
        return NULL;
}
