/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "ipc/log-budget.h"
#include "ipc/message.h"
#include "ipc/refusal.h"
#include "ipc/schedule.h"
#include "ipc/server.h"
#include "ipc/stream.h"
#include "util/buffer.h"
#include "util/fiber.h"

/* Shared by the files of ipc/ only. */

#define MESSAGE_SIZE_MAX (1024U * 1024U)
#define OUTPUT_SIZE_MAX  (4U * 1024U * 1024U)
#define READ_SIZE        (64U * 1024U)

/* What may happen on a connection in each state; anything else closes it. */
typedef enum ConnectionState {
        CONNECTION_IDLE,     /* a call may come */
        CONNECTION_CALLING,  /* one call in flight; further bytes wait in the kernel */
        CONNECTION_UPGRADED, /* a byte stream of another protocol */
        CONNECTION_FLUSHING, /* the peer sends no more; closed once the output is out */
        CONNECTION_DEAD,     /* unlinked, freed at the end of the turn */
} ConnectionState;

typedef struct Connection {
        Server *server;
        int fd;
        Door door;
        ConnectionState state;
        bool has_ended;    /* the peer has shut its sending side */
        bool is_hung_up;   /* the peer is gone altogether */
        bool is_readable;  /* epoll has said so, and no read has found nothing since */
        bool is_writable;  /* the same of the output that waits */
        bool is_listed;    /* in the list of half-sent messages */
        bool is_queued;    /* in its uid's queue of those with something to do */
        bool is_prepaid;   /* its next step was paid for when it was accepted */
        int error;         /* to be closed for this at its next step */
        uint32_t interest; /* what epoll was asked for; 0: nothing yet */
        Principal principal;
        Account *account;
        uid_t payer; /* whose account that is; UID_INVALID: that of all strangers */
        Call *call;
        Stream *stream;
        Buffer input, output;
        size_t input_at; /* where the bytes begin that are still to be read; those before are done with */
        size_t input_searched;  /* no message ends before this place */
        uint64_t partial_since; /* monotonic; when the half-sent message began */
        struct Connection *next, *previous;
        struct Connection *partial_next, *partial_previous;
        struct Connection *ready_next, *ready_previous;
} Connection;

typedef struct Listener {
        Server *server;
        int fd;
        Door door;
        bool is_paused;
        bool is_drained; /* whoever came before its witness was enabled has been accepted */
        struct Listener *next;
} Listener;

struct Server {
        sd_event *event;
        ServerOptions options;
        int epoll_fd;            /* listeners, connections, and the descriptor of sd-event's own */
        sd_event_source *timer;  /* half-sent messages */
        sd_event_source *resume; /* listeners that ran out of descriptors */
        sd_event_source *refusal_timer;
        sd_event_source *release; /* uids that have used up their steps */
        bool is_releasing;        /* that one is set */
        Accounts *accounts;       /* of the public door */
        Accounts *inner_accounts; /* of the doors that are not for all */
        Schedule schedule;
        LogBudget *log;
        Listener *listeners;
        Connection *connections;
        Connection *partials, *partials_last; /* oldest first */
        Connection *dead;
        Call *users;                       /* calls under way whose methods say uses_credentials */
        Refusal *refusals, *refusals_last; /* oldest first */
        uint8_t *read_buffer;
        bool is_event_due; /* sd-event may have something to do, or has changed since it was armed */
        bool is_stopping;
};

struct Call {
        unsigned n_ref;
        Connection *connection; /* NULL once the client has left */
        Account *account;       /* charged for this call until its end; NULL: not charged */
        Server *server;
        Principal principal;
        Door door;
        Message message;
        size_t cost;    /* bytes charged for the message as parsed */
        bool is_stream; /* charged as such */
        const Method *method;
        Fiber *fiber;
        Call *users_next, *users_previous;
        int ended_by; /* -errno of server_end_calls(); 0: nobody ended it */
        char **services; /* what it has said to work with; NULL: it has not, so it may be any */
        size_t n_services;
        bool is_answered;
};

/* connection.c */
/* has_witness: its reads say who wrote without being told to (receive.h). */
int connection_new(Server *s, int fd, Door door, bool has_witness);
void connection_close(Connection *c);
/* The same for a reason; 0: none. */
void connection_end(Connection *c, int error);
void connection_free_dead(Server *s);
/* News from epoll: notes them and queues the connection for its step. */
void connection_on_event(Connection *c, uint32_t events);
/* The state has changed from outside of a step: queues the connection if there is something to do now. */
void connection_reconsider(Connection *c);
/* Does one thing: takes one message, or reads once, or hands on bytes once. */
void connection_step(Connection *c);
/* Queues bytes and sends what goes. -EDQUOT, or what send(2) says: the connection is to be closed then. */
int connection_send(Connection *c, const void *bytes, size_t n);
/* Closes it at its next step, so that no callback comes from within the caller's call. */
void connection_fail(Connection *c, int error);

/* input.c */
/* One step of an idle connection. -errno closes it. */
int input_step(Connection *c);
/* Whether such a step would do anything. */
bool input_is_waiting(Connection *c);
/* Reads once with both witnesses compared. *ret_size 0: nothing to read now, or the end (has_ended). -errno closes it. */
int input_receive(Connection *c, size_t *ret_size);
/* Keeps bytes behind those already kept. */
int input_keep(Connection *c, const uint8_t *bytes, size_t n);
/* The kept bytes up to here are done with. */
void input_drop(Connection *c, size_t n);
void input_done(Connection *c);
int input_on_partial_timeout(sd_event_source *source, uint64_t usec, void *userdata);

/* stream.c */
int stream_step(Connection *c);
bool stream_is_waiting(Connection *c);
/* All output has left. */
void stream_drained(Connection *c);
/* The connection is gone: tells the owner. error as for StreamHandler.on_closed. */
void stream_abandon(Stream *stream, int error);

/* call.c */
/* Starts the call in the message (taken over), for which cost bytes are charged (taken over as well). */
int call_start(Connection *c, Message *message, size_t cost);
/* The call was answered by handing the connection over: it ends without touching the connection's new state. */
void call_hand_over(Call *call);
/* The client has left. */
void call_abandon(Call *call);

/* Where uids are charged that come through this door. */
Accounts *server_accounts(Server *s, Door door);
/* Pays for one step. */
void connection_spend_step(Connection *c);

/* server.c */
/* To be called before anything is done with sd-event, or by code of others that may do so: brings its time up to date and has it armed
 * again before the loop waits. */
void server_sync_event(Server *s);

/* introspection.c */
int introspection_dispatch(Call *call, const char *method);
/* Whether the interface's text declares this method with no parameters. */
bool introspection_takes_nothing(const char *description, const char *method);
/* For a method that takes nothing: answers InvalidParameter if it was given something. */
int introspection_refuse_members(Call *call);
