/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/un.h>

#include "ipc/stream.h"

/* A server with an interface of its own, `toy`, on a socket in a private folder, and clients that are processes: what
 * the tests of witnesses, streams and fairness share.
 *
 * toy.Echo: its parameters back. toy.Wait: answers when the test says so (toy_answer()). toy.Watch: needs `more`.
 * toy.WaitFor: the same at the charge of the uid that it names.
 * toy.Count: answers `more` three times. toy.Pipe: upgrades; the bytes are recorded and echoed in upper case.
 * toy.Mute: upgrades; the bytes are recorded. toy.Work, toy.Care: fibers that wait for a minute, the first with credentials, of
 * the services that it is given. */

typedef struct Toy {
        sd_event *event;
        Server *server;
        char folder[32];
        struct sockaddr_un address;

        /* What the methods saw. */
        unsigned n_calls;
        uid_t last_uid;
        uid_t order[1000]; /* whose each toy.Echo was */
        Call *waiting;
        Stream *stream;
        char bytes[256 * 1024]; /* of the stream */
        size_t n_bytes;
        bool has_ended, is_closed, has_drained;
        int close_error;
        unsigned n_closed;
} Toy;

/* A half-sent message has ten seconds, or the time given; a refused connection is closed at once, or after the time given. */
Toy *toy_new(const Limits *limits);
Toy *toy_new_with_timeout(const Limits *limits, uint64_t message_timeout_usec);
Toy *toy_new_with_times(const Limits *limits, uint64_t message_timeout_usec, uint64_t refusal_usec);
Toy *toy_free(Toy *toy);
DEFINE_CLEANUP(Toy *, toy_free)

/* Lets the loop run until it has nothing to do. */
void toy_turn(Toy *toy);
/* The same until *flag, for at most five seconds; fails the test otherwise. */
void toy_turn_until(Toy *toy, const bool *flag);
/* A connected client of this process. */
int toy_connect(Toy *toy);
/* Sends text and its NUL. */
void toy_say(int fd, const char *text);
/* The next message, which must be this; "": the server has closed the connection; NULL: nothing came. */
void toy_expect(Toy *toy, int fd, const char *expected);
/* Replies to toy.Wait. */
void toy_answer(Toy *toy);
