/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pthread.h>

#include "util/macro.h"

/* The open connections and how long each may take. Absolute deadlines, not idle ones: a client that sends a byte now and then must
 * not hold a place (threat T26). */

typedef enum ConnectionState {
        CONNECTION_RECEIVING, /* the request is not complete; may be cut to make room */
        CONNECTION_ANSWERING, /* in our hands; calls to vaultd have deadlines of their own */
        CONNECTION_SENDING,
} ConnectionState;

#define CONNECTION_RECEIVE_USEC (5 * USEC_PER_SEC)
#define CONNECTION_SEND_USEC    (10 * USEC_PER_SEC)
/* Above this number, the oldest connection that has not sent its request yet has to go. */
#define CONNECTIONS_CROWDED 32U
/* No further ones are accepted; they wait in the listener's backlog. Each costs a thread (TasksMax= of the unit). */
#define CONNECTIONS_MAX 48U
/* Requests that may wait for vaultd at once; beyond it the answer is 503 at once. */
#define ANSWERING_MAX 24U

typedef struct ConnectionTable ConnectionTable;

typedef struct Connection {
        ConnectionTable *table;
        struct Connection *previous, *next;
        int fd; /* borrowed from libmicrohttpd; valid until connection_remove() */
        ConnectionState state;
        uint64_t deadline_usec; /* CLOCK_MONOTONIC */
        bool is_cut;
        bool is_claimed; /* a thread of the library has it; before that fd is not ours to touch */
        char *target;    /* raw, from the request line */
        size_t n_body;
        char *body; /* its first n_body_kept bytes; NULL: none */
        size_t n_body_kept;
        bool is_begun, is_body_too_large;
        uint64_t begun_usec;
        char local[64], peer[64];
        uint16_t port;
} Connection;

struct ConnectionTable {
        pthread_mutex_t lock;
        Connection *oldest, *newest; /* by age */
        unsigned n_connections, n_cut, n_answering;
        int wake_fd; /* eventfd: the earliest deadline may have changed */
};

int connection_table_init(ConnectionTable *t);
void connection_table_done(ConnectionTable *t);

/* Whether there is room for one more. */
bool connection_admits(ConnectionTable *t);
/* Adds an accepted connection, cutting the oldest unfinished one when it is crowded. -ENOMEM. */
int connection_add(ConnectionTable *t, int fd, Connection **ret);
/* The connection that was added with fd last and is not claimed yet, now claimed; NULL when there is none. */
Connection *connection_claim(ConnectionTable *t, int fd);
/* Adds n bytes to the body, of which max are kept. False: it is longer, or there is no memory. */
bool connection_keep_body(Connection *c, const char *bytes, size_t n, size_t max);
/* Erases target and body, which may hold an authorization code and a form's word. */
void connection_forget_request(Connection *c);
/* Forgets it; must come before its descriptor is closed. */
void connection_remove(Connection *c);
/* From RECEIVING to ANSWERING. False when too many are there already; the state is then SENDING. */
bool connection_begin_answer(Connection *c);
void connection_end_answer(Connection *c);
/* Cuts what is late and returns the next deadline, UINT64_MAX when there is none. */
uint64_t connection_reap(ConnectionTable *t, uint64_t now_usec);
unsigned connection_count(ConnectionTable *t);
/* Cuts every connection whose request is not complete. */
void connection_cut_unfinished(ConnectionTable *t);
