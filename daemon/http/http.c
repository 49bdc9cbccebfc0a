/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* libcurl's multi interface inside the event loop, waited for on fibers.
 *
 * libcurl says which sockets it wants watched and when it wants to be called next; both become sd-event
 * sources. All its work happens in their handlers, in loop context and on the loop's stack; the fiber that
 * called http_perform() is parked meanwhile and does nothing but add and remove its handle. A thread per
 * request would need locks around the store and policy; blocking calls would stop everybody's requests for
 * one slow server.
 *
 * Invariants: a Transfer lives in http_perform()'s frame, so a cancelled fiber takes its handle out before
 * the frame goes, and no callback can come later. Handlers return 0 always (an error would make sd-event
 * switch the source off). Connections are kept and shared between requests to one origin; credentials are
 * in the requests, never in the connection.
 *
 * Who may call: the loop's thread; http_perform() on a fiber only. */

#include <assert.h>
#include <sys/epoll.h>

#include "http/exchange.h"
#include "http/memory.h"
#include "http/resolver.h"
#include "util/clock.h"
#include "util/crash-point.h"
#include "util/fiber.h"
#include "util/log.h"

#define KEPT_CONNECTIONS_MAX 16L

struct Http {
        sd_event *event;
        sd_event_source *timer;
        CURLM *multi;
        Resolver *resolver;
        HttpSettings settings;
        unsigned n_transfers;
};

typedef struct Transfer {
        Exchange exchange;
        Fiber *fiber;
        CURLcode result;
        bool is_done;
} Transfer;

/* Wakes the fibers whose transfers have ended. */
static void http_collect(Http *h) {
        CURLMsg *message;
        int left;

        while ((message = curl_multi_info_read(h->multi, &left))) {
                if (message->msg != CURLMSG_DONE)
                        continue;
                Transfer *t = exchange_userdata(message->easy_handle);

                assert(t);
                t->result = message->data.result;
                t->is_done = true;
                fiber_resume(t->fiber, 0);
        }
}

static int http_on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Http *h = userdata;
        int flags = 0, running;

        if (revents & EPOLLIN)
                flags |= CURL_CSELECT_IN;
        if (revents & EPOLLOUT)
                flags |= CURL_CSELECT_OUT;
        if (revents & (EPOLLERR | EPOLLHUP))
                flags |= CURL_CSELECT_ERR;
        if (curl_multi_socket_action(h->multi, fd, flags, &running) != CURLM_OK)
                log_debug("http: libcurl refused an event");
        http_collect(h);
        return 0;
}

static int http_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Http *h = userdata;
        int running;

        if (curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running) != CURLM_OK)
                log_debug("http: libcurl refused a timeout");
        http_collect(h);
        return 0;
}

/* CURLMOPT_SOCKETFUNCTION. A failure is not given back: libcurl would then refuse all work on this multi
 * handle for good. A socket that is not watched costs its own transfer the time limit. */
static int http_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *userdata, void *socket_data) {
        sd_event_source *source = socket_data;
        Http *h = userdata;
        uint32_t events = 0;
        int r;

        if (what == CURL_POLL_REMOVE) {
                sd_event_source_disable_unref(source);
                return 0;
        }
        if (what & CURL_POLL_IN)
                events |= EPOLLIN;
        if (what & CURL_POLL_OUT)
                events |= EPOLLOUT;
        if (source) {
                r = sd_event_source_set_io_events(source, events);
        } else {
                r = sd_event_add_io(h->event, &source, fd, events, http_on_io, h);
                if (r >= 0)
                        (void)curl_multi_assign(h->multi, fd, source);
        }
        if (r < 0)
                log_debug("http: cannot watch a socket: %s", strerror(-r));
        return 0;
}

/* CURLMOPT_TIMERFUNCTION. libcurl must not be entered from here; the timer fires at the next turn at the
 * earliest. */
static int http_timeout_wanted(CURLM *multi, long timeout_ms, void *userdata) {
        Http *h = userdata;

        if (timeout_ms < 0)
                return sd_event_source_set_enabled(h->timer, SD_EVENT_OFF) < 0 ? -1 : 0;
        if (sd_event_source_set_time_relative(h->timer, (uint64_t)timeout_ms * USEC_PER_MSEC) < 0)
                return -1;
        return sd_event_source_set_enabled(h->timer, SD_EVENT_ONESHOT) < 0 ? -1 : 0;
}

static int http_settings_set_proxy(HttpSettings *s, const char *proxy) {
        s->proxy = strdup(proxy);
        return s->proxy ? http_proxy_parse(proxy, &s->proxy_host, &s->proxy_port) : -ENOMEM;
}

static int http_settings_copy(HttpSettings *s, const HttpOptions *options) {
        int r = options->proxy ? http_settings_set_proxy(s, options->proxy) : 0;

        if (r < 0)
                return r;
        if (options->ca_file && access(options->ca_file, R_OK) < 0)
                return -errno;
        if ((options->ca_file && !(s->ca_file = strdup(options->ca_file))) ||
                        (options->user_agent && !(s->user_agent = strdup(options->user_agent))))
                return -ENOMEM;
        return allowances_parse(options->allow_private, &s->allowances, &s->n_allowances);
}

int http_new(sd_event *event, const HttpOptions *options, Http **ret) {
        _cleanup_(http_freep) Http *h = NULL;
        int r;

        r = http_global_init();
        if (r < 0)
                return r;
        h = calloc(1, sizeof(Http));
        if (!h)
                return -ENOMEM;
        h->event = sd_event_ref(event);
        r = http_settings_copy(&h->settings, options);
        if (r < 0)
                return r;

        /* Accuracy 1 µs: sd-event's default would let each short wait of libcurl take up to 250 ms. */
        r = sd_event_add_time(event, &h->timer, CLOCK_MONOTONIC, 0, 1, http_on_timer, h);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(h->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;

        r = resolver_new(event, &h->resolver);
        if (r < 0)
                return r;

        h->multi = curl_multi_init();
        if (!h->multi)
                return -ENOMEM;
        if (curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, http_socket_wanted) != CURLM_OK ||
                        curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h) != CURLM_OK ||
                        curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, http_timeout_wanted) !=
                                        CURLM_OK ||
                        curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h) != CURLM_OK ||
                        curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, KEPT_CONNECTIONS_MAX) != CURLM_OK)
                return -EOPNOTSUPP;

        *ret = TAKE_PTR(h);
        return 0;
}

Http *http_free(Http *h) {
        if (!h)
                return NULL;
        assert(h->n_transfers == 0);

        (void)curl_multi_cleanup(h->multi); /* still calls the two functions above */
        (void)resolver_free(h->resolver);
        sd_event_source_disable_unref(h->timer);
        sd_event_unref(h->event);
        allowances_free(h->settings.allowances, h->settings.n_allowances);
        free(h->settings.ca_file);
        free(h->settings.proxy);
        free(h->settings.proxy_host);
        free(h->settings.user_agent);
        free(h);
        return NULL;
}

/* Finds out where to connect to, which counts towards the request's time. */
static int http_resolve(Http *h, Exchange *x) {
        const char *host = exchange_peer(x);
        uint64_t begin_usec = now_monotonic(), timeout_usec = exchange_timeout(x->request), taken_usec;
        _cleanup_(freep) char *addresses = NULL;
        int r;

        if (!host)
                return 0;
        r = resolver_find(h->resolver, host, timeout_usec, &addresses);
        if (r < 0)
                return r;
        taken_usec = now_monotonic() - begin_usec;
        return taken_usec < timeout_usec ? exchange_set_addresses(x, addresses, timeout_usec - taken_usec)
                                         : -ETIMEDOUT;
}

/* Runs the prepared transfer to its end, or to the fiber's cancellation unless it is awaited then. */
static int http_run(Http *h, Transfer *t, bool is_awaited) {
        CURLMcode code;
        int r = 0;

        code = curl_multi_add_handle(h->multi, t->exchange.easy);
        if (code != CURLM_OK)
                return code == CURLM_OUT_OF_MEMORY ? -ENOMEM : -EIO;
        h->n_transfers++;

        while (!t->is_done && r >= 0) {
                r = fiber_suspend();
                /* Libcurl's own time limit brings the resume. */
                if (r == -ECANCELED && is_awaited && t->exchange.is_sent)
                        r = t->is_done ? 0 : fiber_suspend_uncancellable();
        }

        (void)curl_multi_remove_handle(h->multi, t->exchange.easy);
        h->n_transfers--;
        return r < 0 ? r : exchange_result(&t->exchange, t->result);
}

int http_perform(Http *h, const HttpRequest *request, HttpResponse *ret_response, bool *ret_sent) {
        Transfer t = { .fiber = fiber_current() };
        uint64_t begin_usec = now_monotonic();
        int r;

        assert(t.fiber);
        if (ret_sent)
                *ret_sent = false;
        if (fiber_is_cancelled(t.fiber))
                return -ECANCELED;

        r = exchange_init(&t.exchange, &h->settings, request, &t);
        if (r >= 0)
                r = http_resolve(h, &t.exchange);
        if (r >= 0) {
                crash_point("http-before-send");
                r = http_run(h, &t, request->is_awaited);
                if (r >= 0)
                        crash_point("http-after-answer");
        }

        if (ret_sent)
                *ret_sent = t.exchange.is_sent;
        /* Method, host and outcome; never the path or query, which may hold a code or a state. */
        log_debug("http: %s %s: %s (%s), %u ms", t.exchange.url.host ? request->method : "-",
                        t.exchange.url.host ?: "-", http_error_text(r), curl_easy_strerror(t.result),
                        (unsigned)((now_monotonic() - begin_usec) / USEC_PER_MSEC));
        if (r >= 0)
                exchange_take_response(&t.exchange, ret_response);
        exchange_done(&t.exchange);
        return r;
}

void http_response_done(HttpResponse *response) {
        HeaderLines lines = { .lines = response->headers };

        while (lines.lines && lines.lines[lines.n])
                lines.n++;
        header_lines_done(&lines);
        buffer_done(&response->body);
        *response = (HttpResponse){};
}

const char *http_error_text(int r) {
        static const struct {
                int error;
                const char *text;
        } texts[] = {
                { 0, "answered" },
                { ECANCELED, "cancelled" },
                { EPERM, "this address is not one that may be contacted" },
                { ENXIO, "the host's name was not found" },
                { ECONNREFUSED, "the connection was refused" },
                { EHOSTUNREACH, "the host cannot be reached" },
                { ECONNRESET, "the connection was cut before the answer was complete" },
                { ETIMEDOUT, "no answer in time" },
                { EPROTO, "no trustworthy answer (TLS certificate or protocol)" },
                { EMSGSIZE, "the answer was too large" },
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if (texts[i].error == abs(r))
                        return texts[i].text;
        return strerror(abs(r));
}
