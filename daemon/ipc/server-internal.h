/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "ipc/message.h"
#include "ipc/server.h"
#include "util/buffer.h"
#include "util/fiber.h"
#include "util/log.h"

/* Shared by the files of ipc/ only. */

#define MESSAGE_SIZE_MAX (1024U * 1024U)
#define OUTPUT_SIZE_MAX  (4U * 1024U * 1024U)
#define READ_SIZE        (64U * 1024U)

/* What may happen on a connection in each state; anything else closes it. */
typedef enum ConnectionState {
        CONNECTION_IDLE,     /* a call may come */
        CONNECTION_CALLING,  /* one call in flight; further bytes wait in the kernel */
        CONNECTION_FLUSHING, /* the peer sends no more; closed once the output is out */
        CONNECTION_DEAD,     /* unlinked, freed at the end of the turn */
} ConnectionState;

typedef struct Connection {
        Server *server;
        int fd;
        Door door;
        ConnectionState state;
        bool has_ended; /* the peer has shut its sending side */
        bool is_dispatching; /* inside connection_message() */
        bool is_listed; /* in the list of half-sent messages */
        uint32_t interest;
        Principal principal;
        Account *account;
        Call *call;
        Buffer input, output;
        uint64_t partial_since; /* monotonic; when the half-sent message began */
        struct Connection *next, *previous;
        struct Connection *partial_next, *partial_previous;
} Connection;

typedef struct Listener {
        Server *server;
        int fd;
        Door door;
        bool is_paused;
        struct Listener *next;
} Listener;

struct Server {
        sd_event *event;
        ServerOptions options;
        int epoll_fd;
        sd_event_source *source;
        sd_event_source *timer;  /* half-sent messages */
        sd_event_source *resume; /* listeners that ran out of descriptors */
        Accounts *accounts;
        Listener *listeners;
        Connection *connections;
        Connection *partials, *partials_last; /* oldest first */
        Connection *dead;
        uint8_t *read_buffer;
        LogLimit refusals; /* lines about what peers do wrong */
        bool is_stopping;
};

struct Call {
        unsigned n_ref;
        Connection *connection; /* NULL once the client has left */
        Account *account; /* charged for this call; NULL once that is given back: when it was answered, or at its end */
        Server *server;
        Principal principal;
        Door door;
        Message message;
        const Method *method;
        Fiber *fiber;
        bool is_answered;
};

/* connection.c */
int connection_new(Server *s, int fd, Door door);
void connection_close(Connection *c);
void connection_free_dead(Server *s);
void connection_on_event(Connection *c, uint32_t events);
/* What to wait for follows from the state alone; called when that has changed. */
int connection_update_interest(Connection *c);
/* Queues one message with its ending NUL and sends what goes. */
int connection_send(Connection *c, const char *message, size_t n);
/* Takes the next complete message from the input, if the state allows one. */
void connection_next_message(Connection *c);
int connection_on_partial_timeout(sd_event_source *source, uint64_t usec, void *userdata);

/* call.c */
/* Starts the call in the message (taken over). -EBADMSG closes the connection. */
int call_start(Connection *c, Message *message);
/* The client has left. */
void call_abandon(Call *call);

/* introspection.c */
int introspection_dispatch(Call *call, const char *method);
