/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The server: listeners, one epoll descriptor, turns.
 *
 * The epoll descriptor is a single source of the sd-event loop; one source per connection costs three times as much
 * per wake-up (measured). A turn is rounds: ask epoll for news, then one step for each uid that has something to do,
 * whichever of its connections comes first. So a newcomer waits for one step of each other uid at most, and nobody is
 * served twice before the others once (T26). A turn ends after a while although there is more to do, since timers,
 * transfers and fibers wait as well.
 *
 * accept(2) without descriptors pauses the listener for a moment: level triggered it would spin, and an event source whose handler
 * returns an error is switched off for good. */

#include <assert.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "ipc/receive.h"
#include "ipc/server-internal.h"
#include "util/clock.h"
#include "util/log.h"

#define EVENTS_PER_ROUND  64
#define STEPS_PER_TURN    64
#define ACCEPTS_PER_TURN  16
#define PAUSE_USEC        (200 * USEC_PER_MSEC)

/* Connections and listeners share the epoll set; a listener's pointer is marked by its lowest bit. */
static void *listener_tag(Listener *l) {
        return (void *)((uintptr_t)l | 1);
}

static Listener *listener_from_tag(void *p) {
        return (uintptr_t)p & 1 ? (Listener *)((uintptr_t)p & ~(uintptr_t)1) : NULL;
}

static void listener_pause(Listener *l) {
        struct epoll_event event = { .events = 0, .data.ptr = listener_tag(l) };

        if (epoll_ctl(l->server->epoll_fd, EPOLL_CTL_MOD, l->fd, &event) < 0)
                return;
        l->is_paused = true;
        /* In the name of root, so to speak: whoever caused it, it concerns all. */
        log_budget_line(l->server->log, LOG_WARNING, 0, "out of descriptors or memory: not accepting for a moment");
        (void)sd_event_source_set_time_relative(l->server->resume, PAUSE_USEC);
        (void)sd_event_source_set_enabled(l->server->resume, SD_EVENT_ONESHOT);
}

static int server_on_resume(sd_event_source *source, uint64_t usec, void *userdata) {
        Server *s = userdata;

        for (Listener *l = s->listeners; l; l = l->next) {
                struct epoll_event event = { .events = EPOLLIN, .data.ptr = listener_tag(l) };

                if (l->is_paused && epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, l->fd, &event) >= 0)
                        l->is_paused = false;
        }
        return 0;
}

static void listener_accept(Listener *l) {
        for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
                int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (fd < 0) {
                        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                                listener_pause(l);
                        return; /* nothing waits, or a client left between: neither is our trouble */
                }
                int r = connection_new(l->server, fd, l->door);
                if (r < 0) {
                        /* -EDQUOT has had its own line. */
                        if (r != -EDQUOT)
                                log_budget_line(l->server->log, LOG_INFO, UID_OVERFLOW, "refused a connection: %s",
                                                r == -EPERM ? "its uid names nobody here" : strerror(-r));
                        (void)safe_close(fd);
                }
        }
}

static void server_collect(Server *s) {
        struct epoll_event events[EVENTS_PER_ROUND];
        int n = epoll_wait(s->epoll_fd, events, EVENTS_PER_ROUND, 0);

        /* Nothing is closed in here, so every pointer stays good. */
        for (int i = 0; i < n; i++) {
                Listener *l = listener_from_tag(events[i].data.ptr);

                if (l)
                        listener_accept(l);
                else
                        connection_on_event(events[i].data.ptr, events[i].events);
        }
}

static void server_turn(Server *s) {
        unsigned n_steps = 0;

        s->is_turning = true;
        do {
                server_collect(s);
                for (unsigned n = s->schedule.n_accounts; n > 0; n--) {
                        Connection *c = schedule_next(&s->schedule);

                        if (!c)
                                break;
                        connection_step(c);
                        n_steps++;
                }
        } while (s->schedule.first && n_steps < STEPS_PER_TURN);
        s->is_turning = false;
        connection_free_dead(s);
        if (s->schedule.first)
                server_wake(s);
}

void server_wake(Server *s) {
        if (!s->is_turning)
                (void)sd_event_source_set_enabled(s->again, SD_EVENT_ONESHOT);
}

static int server_on_event(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        server_turn(userdata);
        return 0;
}

static int server_on_again(sd_event_source *source, void *userdata) {
        server_turn(userdata);
        return 0;
}

int server_new(sd_event *event, const ServerOptions *options, Server **ret) {
        _cleanup_(server_freep) Server *s = calloc(1, sizeof(Server));
        int r;

        if (!s)
                return -ENOMEM;
        s->event = sd_event_ref(event);
        s->options = *options;
        s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (s->epoll_fd < 0)
                return -errno;
        s->read_buffer = malloc(READ_SIZE);
        if (!s->read_buffer)
                return -ENOMEM;
        r = accounts_new(&options->limits, &s->accounts);
        if (r < 0)
                return r;
        r = sd_event_add_io(event, &s->source, s->epoll_fd, EPOLLIN, server_on_event, s);
        if (r < 0)
                return r;
        r = sd_event_add_time_relative(event, &s->timer, CLOCK_MONOTONIC, 0, 0, input_on_partial_timeout, s);
        if (r < 0)
                return r;
        r = sd_event_add_time_relative(event, &s->resume, CLOCK_MONOTONIC, 0, 0, server_on_resume, s);
        if (r < 0)
                return r;
        r = sd_event_add_defer(event, &s->again, server_on_again, s);
        if (r < 0)
                return r;
        r = log_budget_new(event, &s->log);
        if (r < 0)
                return r;
        (void)sd_event_source_set_enabled(s->again, SD_EVENT_OFF);
        (void)sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
        (void)sd_event_source_set_enabled(s->resume, SD_EVENT_OFF);
        *ret = TAKE_PTR(s);
        return 0;
}

Server *server_free(Server *s) {
        if (!s)
                return NULL;
        while (s->connections)
                connection_close(s->connections);
        connection_free_dead(s);
        while (s->listeners) {
                Listener *l = s->listeners;

                s->listeners = l->next;
                (void)safe_close(l->fd);
                free(l);
        }
        (void)accounts_free(s->accounts);
        sd_event_source_disable_unref(s->source);
        sd_event_source_disable_unref(s->timer);
        sd_event_source_disable_unref(s->resume);
        sd_event_source_disable_unref(s->again);
        (void)log_budget_free(s->log);
        sd_event_unref(s->event);
        (void)safe_close(s->epoll_fd);
        free(s->read_buffer);
        free(s);
        return NULL;
}

void server_stop(Server *s) {
        s->is_stopping = true;
        for (Listener *l = s->listeners; l; l = l->next)
                (void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, l->fd, NULL);
}

int server_add_listener(Server *s, int fd, Door door) {
        struct epoll_event event = { .events = EPOLLIN };
        int flags = fcntl(fd, F_GETFL), r;
        Listener *l;

        /* Who passes sockets need not have made them so (systemd-socket-activate does not), and accept(2) would block the loop. */
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;
        r = receive_enable_witness(fd);
        if (r < 0)
                return r;
        l = calloc(1, sizeof(Listener));
        if (!l)
                return -ENOMEM;
        *l = (Listener){ .server = s, .fd = fd, .door = door };
        event.data.ptr = listener_tag(l);
        if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
                r = -errno;
                free(l);
                return r;
        }
        l->next = s->listeners;
        s->listeners = l;
        return 0;
}

int server_add_connection(Server *s, int fd, Door door) {
        return connection_new(s, fd, door);
}
