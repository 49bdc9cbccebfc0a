/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "web/routes.h"

/* The HTTP side: libmicrohttpd, one thread per connection, one request per connection. */

typedef struct Server Server;

/* context is borrowed and must outlive the server. */
int server_new(const RouteContext *context, Server **ret);
/* Serves connections of a listening loopback TCP socket; takes fd, also on failure. -EADDRNOTAVAIL: the address is not loopback;
 * -EINVAL: not such a socket; -E2BIG: more than four. */
int server_listen(Server *s, int fd);
/* Runs until a signal can be read from signal_fd. */
int server_run(Server *s, int signal_fd);
/* Takes no more connections and waits, at most wait_usec, for those that are being answered. The listening sockets stay usable for
 * whoever else holds them; who comes now waits in their backlog. False when some are left: end the process then, do not free the server. */
bool server_drain(Server *s, uint64_t wait_usec);
Server *server_free(Server *s);
DEFINE_CLEANUP(Server *, server_free)

/* Whether fd is a listening TCP socket on 127.0.0.0/8 or ::1, and its port. Errors as server_listen(). */
int listener_check(int fd, uint16_t *ret_port);
