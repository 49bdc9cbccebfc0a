/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Looking names up, so that a dead name server delays nobody but those who need it.
 *
 * getaddrinfo(3) blocks, can hang for as long as it likes, and cannot be cut off. libcurl therefore makes a thread for each transfer; with two hundred
 * users' tokens to refresh at one provider whose name servers are silent that is two hundred threads, more than the service may have, and then
 * nobody's name is looked up. Here a name is looked up once, in a thread of its own, for all who ask, and there are at most LOOKUPS_MAX
 * at a time; further names wait for a place. Who waits is not the thread's business: they come and go, and are told when it is back.
 *
 * A look-up that is out for LOOKUP_USEC is given up by all who wait, and who asks next is told so at once. It keeps its thread until it comes
 * back, which the C library's own limits (resolv.conf(5), "timeout" and "attempts") bring about.
 *
 * Answers are kept for a minute, as libcurl does; failures are not. A kept answer is no trust: each address is judged when it is
 * connected to (guard.c).
 *
 * Invariants: everything is the loop's but what the lock guards, the list of those that are back. A thread touches its Lookup's host,
 * result and addresses, and nobody else does while it runs. Once the loop has left the Resolver alone the threads have it, and the last one
 * frees it.
 *
 * Who may call: the loop's thread, on fibers. */

#include <arpa/inet.h>
#include <assert.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "http/resolver.h"
#include "util/buffer.h"
#include "util/clock.h"
#include "util/fiber.h"

#define LOOKUPS_MAX   32U /* half of the unit's TasksMax= */
#define LOOKUP_USEC   (10 * USEC_PER_SEC)
#define KEPT_MAX      256U
#define KEPT_USEC     (60 * USEC_PER_SEC)
#define ADDRESSES_MAX 16U

typedef struct Waiter { /* on the waiting fiber's stack */
        struct Waiter *next;
        Fiber *fiber;
        bool is_answered, has_timed_out;
        int result;
        char *addresses;
} Waiter;

typedef enum LookupState {
        LOOKUP_WAITING, /* for a place */
        LOOKUP_RUNNING,
        LOOKUP_KEPT,
} LookupState;

typedef struct Lookup {
        struct Lookup *next, *next_back;
        Resolver *resolver;
        char *host;
        LookupState state;
        Waiter *waiters;
        uint64_t since_usec; /* it was asked for; kept: it is known */
        int result;
        char *addresses;
} Lookup;

struct Resolver {
        sd_event *event;
        sd_event_source *source;
        int event_fd;
        Lookup *lookups; /* oldest first */
        unsigned n_running;
        pthread_mutex_t lock;
        Lookup *back;
        bool is_left_alone;
};

static void lookup_free(Lookup *l) {
        Lookup **p = &l->resolver->lookups;

        assert(!l->waiters);
        while (*p != l)
                p = &(*p)->next;
        *p = l->next;
        free(l->host);
        free(l->addresses);
        free(l);
}

static void resolver_destroy(Resolver *r) {
        while (r->lookups)
                lookup_free(r->lookups);
        (void)safe_close(r->event_fd);
        pthread_mutex_destroy(&r->lock);
        free(r);
}

/* ---- the thread ---- */

static int addresses_append(Buffer *text, const struct sockaddr *address) {
        char one[INET6_ADDRSTRLEN];
        const void *bytes;

        if (address->sa_family == AF_INET)
                bytes = &((const struct sockaddr_in *)address)->sin_addr;
        else if (address->sa_family == AF_INET6)
                bytes = &((const struct sockaddr_in6 *)address)->sin6_addr;
        else
                return 0;
        if (!inet_ntop(address->sa_family, bytes, one, sizeof(one)))
                return -errno;
        return address->sa_family == AF_INET6 ? buffer_printf(text, "%s[%s]", text->size > 0 ? "," : "", one)
                                              : buffer_printf(text, "%s%s", text->size > 0 ? "," : "", one);
}

static int addresses_of(const char *host, char **ret) {
        const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
        _cleanup_(buffer_done) Buffer text = {};
        struct addrinfo *list = NULL;
        unsigned n = 0;
        int r;

        r = getaddrinfo(host, NULL, &hints, &list);
        if (r != 0)
                return r == EAI_MEMORY ? -ENOMEM : -ENXIO;
        r = 0;
        for (const struct addrinfo *a = list; a && n < ADDRESSES_MAX && r >= 0; a = a->ai_next, n++)
                r = addresses_append(&text, a->ai_addr);
        freeaddrinfo(list);
        if (r < 0)
                return r;
        if (text.size == 0)
                return -ENXIO;
        *ret = strndup((const char *)text.bytes, text.size);
        return *ret ? 0 : -ENOMEM;
}

static void *lookup_thread(void *userdata) {
        Lookup *l = userdata;
        Resolver *r = l->resolver;

        l->result = addresses_of(l->host, &l->addresses);
        pthread_mutex_lock(&r->lock);
        l->next_back = r->back;
        r->back = l;
        (void)eventfd_write(r->event_fd, 1);
        bool is_last = r->is_left_alone && --r->n_running == 0;
        pthread_mutex_unlock(&r->lock);
        if (is_last)
                resolver_destroy(r);
        return NULL;
}

/* ---- the loop ---- */

static int lookup_start(Lookup *l) {
        pthread_attr_t attributes;
        sigset_t all, before;
        pthread_t thread;
        int r;

        r = pthread_attr_init(&attributes);
        if (r > 0)
                return -r;
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        /* Signals are the loop's. */
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        l->state = LOOKUP_RUNNING;
        r = pthread_create(&thread, &attributes, lookup_thread, l);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        (void)pthread_attr_destroy(&attributes);
        if (r > 0) {
                l->state = LOOKUP_WAITING;
                return -r;
        }
        l->resolver->n_running++;
        return 0;
}

static void lookup_answer(Lookup *l, int result) {
        Waiter *next;

        for (Waiter *w = l->waiters; w; w = next) {
                next = w->next;
                w->is_answered = true;
                w->result = result;
                if (result >= 0) {
                        w->addresses = strdup(l->addresses);
                        if (!w->addresses)
                                w->result = -ENOMEM;
                }
                fiber_resume(w->fiber, 0);
        }
        l->waiters = NULL;
}

/* The places that are free go to those that wait, the longest first. */
static void resolver_start_waiting(Resolver *r) {
        Lookup *next;

        for (Lookup *l = r->lookups; l && r->n_running < LOOKUPS_MAX; l = next) {
                next = l->next;
                if (l->state != LOOKUP_WAITING)
                        continue;
                int k = lookup_start(l);
                if (k < 0) {
                        lookup_answer(l, k);
                        lookup_free(l);
                }
        }
}

static void resolver_take_back(Resolver *r, Lookup *l) {
        r->n_running--;
        l->state = LOOKUP_KEPT;
        l->since_usec = now_monotonic();
        lookup_answer(l, l->result);
        if (l->result < 0)
                lookup_free(l);
}

static int resolver_on_event(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Resolver *r = userdata;
        eventfd_t value;
        Lookup *next;

        (void)eventfd_read(fd, &value);
        pthread_mutex_lock(&r->lock);
        Lookup *l = TAKE_PTR(r->back);
        pthread_mutex_unlock(&r->lock);
        for (; l; l = next) {
                next = l->next_back;
                resolver_take_back(r, l);
        }
        resolver_start_waiting(r);
        return 0;
}

int resolver_new(sd_event *event, Resolver **ret) {
        Resolver *r = calloc(1, sizeof(Resolver));
        int k;

        if (!r)
                return -ENOMEM;
        pthread_mutex_init(&r->lock, NULL);
        r->event = sd_event_ref(event);
        r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        k = r->event_fd < 0 ? -errno
                            : sd_event_add_io(event, &r->source, r->event_fd, EPOLLIN, resolver_on_event, r);
        if (k < 0) {
                (void)resolver_free(r);
                return k;
        }
        *ret = r;
        return 0;
}

Resolver *resolver_free(Resolver *r) {
        if (!r)
                return NULL;
        r->source = sd_event_source_disable_unref(r->source);
        r->event = sd_event_unref(r->event);
        pthread_mutex_lock(&r->lock);
        for (Lookup *l = r->back; l; l = l->next_back)
                r->n_running--;
        bool is_left_alone = r->is_left_alone = r->n_running > 0;
        pthread_mutex_unlock(&r->lock);
        if (!is_left_alone)
                resolver_destroy(r);
        return NULL;
}

/* Old answers go, and the oldest where there are too many. */
static void resolver_forget(Resolver *r, uint64_t now) {
        unsigned n = 0;
        Lookup *next;

        for (Lookup *l = r->lookups; l; l = l->next)
                n += l->state == LOOKUP_KEPT;
        for (Lookup *l = r->lookups; l; l = next) {
                next = l->next;
                if (l->state != LOOKUP_KEPT || (l->since_usec + KEPT_USEC > now && n <= KEPT_MAX))
                        continue;
                lookup_free(l);
                n--;
        }
}

static int lookup_new(Resolver *r, const char *host, Lookup **ret) {
        Lookup *l = calloc(1, sizeof(Lookup)), **p = &r->lookups;

        if (!l || !(l->host = strdup(host))) {
                free(l);
                return -ENOMEM;
        }
        l->resolver = r;
        l->since_usec = now_monotonic();
        while (*p)
                p = &(*p)->next;
        *p = l;
        int k = r->n_running < LOOKUPS_MAX ? lookup_start(l) : 0;
        if (k < 0) {
                lookup_free(l);
                return k;
        }
        *ret = l;
        return 0;
}

static int waiter_on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Waiter *w = userdata;

        w->has_timed_out = true;
        fiber_resume(w->fiber, 0);
        return 0;
}

/* Nothing is begun that nobody waits for. */
static void lookup_leave(Lookup *l, Waiter *w) {
        Waiter **p = &l->waiters;

        while (*p != w)
                p = &(*p)->next;
        *p = w->next;
        if (!l->waiters && l->state == LOOKUP_WAITING)
                lookup_free(l);
}

static int lookup_wait(Lookup *l, uint64_t timeout_usec, char **ret) {
        Waiter w = { .next = l->waiters, .fiber = fiber_current() };
        sd_event_source *timer = NULL;
        int r;

        assert(w.fiber);
        l->waiters = &w;
        r = sd_event_add_time_relative(l->resolver->event, &timer, CLOCK_MONOTONIC, timeout_usec,
                        USEC_PER_MSEC, waiter_on_timeout, &w);
        while (r >= 0 && !w.is_answered && !w.has_timed_out)
                r = fiber_suspend();
        sd_event_source_disable_unref(timer);
        if (!w.is_answered) {
                lookup_leave(l, &w);
                return r < 0 ? r : -ETIMEDOUT;
        }
        if (r < 0 || w.result < 0) {
                free(w.addresses);
                return r < 0 ? r : w.result;
        }
        *ret = w.addresses;
        return 0;
}

int resolver_find(Resolver *r, const char *host, uint64_t timeout_usec, char **ret) {
        uint64_t now = now_monotonic();
        Lookup *l;
        int k;

        resolver_forget(r, now);
        for (l = r->lookups; l && !streq(l->host, host);)
                l = l->next;
        if (l && l->state == LOOKUP_KEPT) {
                *ret = strdup(l->addresses);
                return *ret ? 0 : -ENOMEM;
        }
        if (l && l->since_usec + LOOKUP_USEC <= now)
                return -ETIMEDOUT;
        if (!l) {
                k = lookup_new(r, host, &l);
                if (k < 0)
                        return k;
        }
        return lookup_wait(l, MIN(timeout_usec, l->since_usec + LOOKUP_USEC - now), ret);
}
