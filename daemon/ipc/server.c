/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The server: listeners, one epoll descriptor, turns, and the loop around them.
 *
 * The loop waits in that descriptor, and sd-event's own is a member of it, asked only when it has something, or when somebody may have set
 * something up there. The other way round (a single source of sd-event's) each wake-up asks two descriptors; a source of sd-event's for each
 * connection costs three times as much (both measured). What it takes: sd-event is armed whenever the loop waits, and nobody touches it
 * between without server_sync_event().
 *
 * A turn is rounds: ask epoll for news, then one step for each uid that has something to do, whichever of its connections comes first. So a
 * newcomer waits for one step of each other uid, or for STEPS_PER_ROUND in all, and nobody is served twice before the
 * others once (T26). A turn ends after a while although there is more to do, since timers,
 * transfers and fibers wait as well.
 *
 * accept(2) without descriptors pauses the listener for a moment: level triggered it would spin, and an event source whose handler
 * returns an error is switched off for good. */

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "ipc/receive.h"
#include "ipc/server-internal.h"
#include "util/clock.h"
#include "util/log.h"

#define EVENTS_PER_ROUND  64
#define STEPS_PER_TURN    64
#define STEPS_PER_ROUND   4U /* at least: to ask epoll costs a tenth of a call */
#define ACCEPTS_PER_ROUND 16
/* How long a uid that has used up its steps waits for the next ones. What has come together is served in one go, which others
 * feel: short, so that it is little at a time. */
#define HOLD_USEC  (2 * USEC_PER_MSEC)
#define PAUSE_USEC (200 * USEC_PER_MSEC)

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
        log_budget_line(l->server->log, LOG_WARNING, 0,
                        "out of descriptors or memory: not accepting for a moment");
        server_sync_event(l->server);
        (void)sd_event_source_set_time(l->server->resume, now_monotonic() + PAUSE_USEC);
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

/* 0: accepted, or refused; -EAGAIN: nobody waits; or another -errno of accept4(2). */
static int listener_accept_one(Listener *l) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), r;

        if (fd < 0)
                return -errno;
        r = connection_new(l->server, fd, l->door, l->is_drained);
        if (r >= 0)
                return 0;
        /* -EDQUOT has had its own line. */
        if (r != -EDQUOT)
                log_budget_line(l->server->log, LOG_INFO, UID_OVERFLOW, "refused a connection: %s",
                                r == -EPERM ? "its uid names nobody here" : strerror(-r));
        (void)safe_close(fd);
        return 0;
}

/* One at a time, since the listener is reported again: accept(2) until nobody waits costs each lone client a call that finds nothing.
 *
 * Newer kernels hand SO_PASSCRED down at connect(2) and not at accept(2): whoever came before us, whom socket activation lets wait, has it
 * not. They come first, so they are all accepted once nobody waits. */
static void listener_accept(Listener *l) {
        unsigned n = l->is_drained ? 1 : ACCEPTS_PER_ROUND;
        int r = 0;

        for (; n > 0 && r >= 0; n--)
                r = listener_accept_one(l);
        if (r == -EAGAIN)
                l->is_drained = true;
        /* Anything else but these: a client left between, which is not our trouble. */
        if (r == -EMFILE || r == -ENFILE || r == -ENOBUFS || r == -ENOMEM) {
                if (!refusal_drop_all(l->server))
                        listener_pause(l);
        }
}

/* Whether there was news. */
static bool server_collect(Server *s, int timeout_msec) {
        struct epoll_event events[EVENTS_PER_ROUND];
        int n = epoll_wait(s->epoll_fd, events, EVENTS_PER_ROUND, timeout_msec);

        /* Nothing is closed in here, so every pointer stays good. */
        for (int i = 0; i < n; i++) {
                Listener *l = listener_from_tag(events[i].data.ptr);

                if (events[i].data.ptr == s)
                        s->is_event_due = true;
                else if (l)
                        listener_accept(l);
                else
                        connection_on_event(events[i].data.ptr, events[i].events);
        }
        return n > 0;
}

/* Whoever has used up its steps gets some of the next ones every now and then. */
static void server_release_later(Server *s) {
        if (s->schedule.held.n == 0 || s->is_releasing)
                return;
        server_sync_event(s);
        (void)sd_event_source_set_time(s->release, now_monotonic() + HOLD_USEC);
        (void)sd_event_source_set_enabled(s->release, SD_EVENT_ONESHOT);
        s->is_releasing = true;
}

static int server_on_release(sd_event_source *source, uint64_t usec, void *userdata) {
        Server *s = userdata;

        s->is_releasing = false;
        schedule_release(&s->schedule);
        server_release_later(s);
        return 0;
}

/* Whether there was anything to do. */
static bool server_turn(Server *s, int timeout_msec) {
        unsigned n_steps = 0;
        bool has_news = false;

        do {
                has_news |= server_collect(s, timeout_msec);
                timeout_msec = 0;
                for (unsigned n = MAX(s->schedule.ring.n, STEPS_PER_ROUND); n > 0; n--) {
                        Connection *c = schedule_next(&s->schedule);

                        if (!c)
                                break;
                        connection_step(c);
                        n_steps++;
                }
        } while (s->schedule.ring.first && n_steps < STEPS_PER_TURN);
        connection_free_dead(s);
        server_release_later(s);
        return has_news || n_steps > 0;
}

void server_sync_event(Server *s) {
        /* sd_event_now(3) is the time of the last sd_event_wait(3), from which relative timers count. Errors come back when it is armed. */
        if (sd_event_get_state(s->event) == SD_EVENT_ARMED)
                (void)sd_event_wait(s->event, 0);
        s->is_event_due = true;
}

/* One source of sd-event's. 1: done; 0: none is due, and its descriptor will say when one is. */
static int server_dispatch_event(Server *s) {
        int r = 0;

        if (sd_event_get_state(s->event) == SD_EVENT_ARMED)
                r = sd_event_wait(s->event, 0);
        if (r >= 0 && sd_event_get_state(s->event) == SD_EVENT_INITIAL)
                r = sd_event_prepare(s->event);
        if (r >= 0 && sd_event_get_state(s->event) == SD_EVENT_PENDING) {
                r = sd_event_dispatch(s->event);
                return r < 0 ? r : 1;
        }
        return r;
}

/* As epoll_wait(2) takes it: rounded up, so that nobody spins towards a time. */
static int timeout_to_msec(uint64_t usec) {
        return usec == UINT64_MAX ? -1
                                  : (int)MIN(usec / USEC_PER_MSEC + (usec % USEC_PER_MSEC > 0),
                                                    (uint64_t)INT_MAX);
}

static int server_pass(Server *s, uint64_t timeout_usec) {
        int r = 0;

        if (s->is_event_due) {
                r = server_dispatch_event(s);
                if (r < 0 || sd_event_get_state(s->event) == SD_EVENT_FINISHED)
                        return r;
                s->is_event_due = r > 0;
        }
        int timeout_msec = r > 0 || s->schedule.ring.first ? 0 : timeout_to_msec(timeout_usec);
        return server_turn(s, timeout_msec) || s->is_event_due || r > 0;
}

int server_run(Server *s, uint64_t timeout_usec) {
        int r = sd_event_get_state(s->event) == SD_EVENT_INITIAL ? sd_event_prepare(s->event) : 0;

        if (r < 0)
                return r;
        /* What the caller did with it between two runs is not known; and as with sd_event_run(3), what is due by now is done. */
        s->is_event_due = true;
        return server_pass(s, timeout_usec);
}

int server_loop(Server *s) {
        int r, code;

        while (sd_event_get_state(s->event) != SD_EVENT_FINISHED) {
                r = server_pass(s, UINT64_MAX);
                if (r < 0)
                        return r;
        }
        r = sd_event_get_exit_code(s->event, &code);
        return r < 0 ? r : code;
}

/* Root and vaultd-web may be busy at the public door as well, or somebody in their name: whatever they are charged for there, a login
 * finds the control socket as it is, and a browser the pages. */
Accounts *server_accounts(Server *s, Door door) {
        return door == DOOR_PUBLIC ? s->accounts : s->inner_accounts;
}

static int server_open_accounts(Server *s) {
        Limits inner = s->options.limits;
        int r;

        r = accounts_new(&s->options.limits, &s->accounts);
        /* What these are asked is never put off. */
        inner.n_steps_per_sec = 0;
        return r < 0 ? r : accounts_new(&inner, &s->inner_accounts);
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
        r = server_open_accounts(s);
        if (r < 0)
                return r;
        if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, sd_event_get_fd(event),
                            &(struct epoll_event){ .events = EPOLLIN, .data.ptr = s }) < 0)
                return -errno;
        s->is_event_due = true;
        r = sd_event_add_time_relative(event, &s->timer, CLOCK_MONOTONIC, 0, 0, input_on_partial_timeout, s);
        if (r < 0)
                return r;
        r = sd_event_add_time_relative(event, &s->resume, CLOCK_MONOTONIC, 0, 0, server_on_resume, s);
        if (r < 0)
                return r;
        r = sd_event_add_time_relative(event, &s->refusal_timer, CLOCK_MONOTONIC, 0, 0, refusal_on_timer, s);
        if (r < 0)
                return r;
        r = sd_event_add_time_relative(
                        event, &s->release, CLOCK_MONOTONIC, 0, USEC_PER_MSEC, server_on_release, s);
        if (r < 0)
                return r;
        r = log_budget_new(event, &s->log);
        if (r < 0)
                return r;
        (void)sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
        (void)sd_event_source_set_enabled(s->resume, SD_EVENT_OFF);
        (void)sd_event_source_set_enabled(s->refusal_timer, SD_EVENT_OFF);
        (void)sd_event_source_set_enabled(s->release, SD_EVENT_OFF);
        *ret = TAKE_PTR(s);
        return 0;
}

Server *server_free(Server *s) {
        if (!s)
                return NULL;
        while (s->connections)
                connection_close(s->connections);
        connection_free_dead(s);
        (void)refusal_drop_all(s);
        while (s->listeners) {
                Listener *l = s->listeners;

                s->listeners = l->next;
                (void)safe_close(l->fd);
                free(l);
        }
        (void)accounts_free(s->accounts);
        (void)accounts_free(s->inner_accounts);
        sd_event_source_disable_unref(s->timer);
        sd_event_source_disable_unref(s->resume);
        sd_event_source_disable_unref(s->refusal_timer);
        sd_event_source_disable_unref(s->release);
        (void)log_budget_free(s->log);
        sd_event_unref(s->event);
        (void)safe_close(s->epoll_fd);
        free(s->read_buffer);
        free(s);
        return NULL;
}

void server_stop(Server *s) {
        s->is_stopping = true;
        /* Nothing new is begun, and what is under way is to end soon. */
        s->schedule.is_unlimited = true;
        schedule_release(&s->schedule);
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
        return connection_new(s, fd, door, false);
}
