/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "identity/principal.h"
#include "ipc/account.h"
#include "json/object.h"

/* The Varlink server (UAPI.20): sockets, framing, calls. It knows no method: interfaces are tables. */

typedef struct Server Server;
typedef struct Call Call;

/* Which socket a call came through. */
typedef enum Door {
        DOOR_PUBLIC = 1 << 0,  /* anybody; the caller is the subject */
        DOOR_CONTROL = 1 << 1, /* root; verbs that name a uid */
        DOOR_WEB = 1 << 2,     /* vaultd-web; tickets */
} Door;

/* I10: what a method is allowed to be called for. */
typedef enum MethodClass {
        METHOD_USE,       /* an agent of the user may */
        METHOD_AUTHORITY, /* widens, stores, reveals or approves */
        METHOD_ROOT,      /* control socket only */
        METHOD_WEB,       /* web socket only */
} MethodClass;

/* Handles a call: replies (at once or later, through a reference), or returns -errno, which the server answers
 * through ServerOptions.fault. With is_fiber it runs on a fiber of its own and must have replied when it returns 0. */
typedef int (*MethodHandler)(Call *call, json_object *parameters, void *userdata);

typedef struct Method {
        const char *name; /* without the interface */
        MethodClass class;
        MethodHandler handle;
        bool is_fiber;
        bool is_quick; /* when it answers before it returns, it has not touched an event source: nothing is to be brought up to date for it */
        bool records_itself; /* leaves a record of each call by its own, so the gate leaves none of those it admits */
        bool is_recorded; /* each call is worth an audit line that says where the caller comes from; authority always is */
        bool opens_no_vault; /* of use or authority, but goes on to be served when the store is one that no vault may be opened of */
        bool is_stream;        /* may answer `more` with several replies */
        bool needs_more;       /* makes no sense without `more`: ExpectedMore */
        bool is_upgrade;       /* for `upgrade` alone; answers with call_upgrade() (stream.h) or an error */
        bool ends_with_client; /* the fiber is cancelled when the client leaves; otherwise it goes on to its end */
        bool uses_credentials; /* the fiber works with the caller's credentials while it waits, and is cancelled by server_end_calls() */
} Method;

typedef struct Interface {
        const char *name;
        const char *description; /* the .varlink text */
        unsigned doors;          /* of enum Door */
        const Method *methods;   /* ended by a NULL name */
} Interface;

typedef struct ServerOptions {
        const Interface *const *interfaces; /* NULL-ended, static */
        void *userdata;
        Limits limits;
        uid_t strangers_from; /* uids from here on share one account at the public door; 0: none do */
        uint64_t message_timeout_usec; /* a half-sent message may take this long */
        uint64_t refusal_usec; /* a connection beyond the limit is closed after this long, not at once; 0: at once */
        /* Runs before every method of the interfaces, on its fiber if it has one (optional). 0: go on; positive: refused, and answered; -errno.
         * Touches no event source. */
        int (*admit)(Call *call, const Method *method, void *userdata);
        void (*fault)(Call *call, int error, void *userdata); /* replies for a handler that failed */
        const char *vendor, *product, *version, *url;
} ServerOptions;

int server_new(sd_event *event, const ServerOptions *options, Server **ret);
/* Runs the event loop that the server was made with, and the server, until sd_event_exit(3): in place of sd_event_loop(3), by whose side the
 * server is not heard. The exit code or -errno. */
int server_loop(Server *s);
/* The same once, in place of sd_event_run(3): waits at most that long, UINT64_MAX for ever. 1: something was done; 0: nothing; -errno. */
int server_run(Server *s, uint64_t timeout_usec);
/* Closes all connections; fibers of calls must have ended. */
Server *server_free(Server *s);
DEFINE_CLEANUP(Server *, server_free)
/* Takes no more connections and begins no more calls; those under way come to their ends and are answered. For shutdown. */
void server_stop(Server *s);
/* What ends from outside (T22, T38). All are about the public door and the uid of the socket's peer; UID_INVALID: everybody. Not from within a
 * callback of a stream. The number of what was ended.
 *
 * Streams: no byte is handed on in either direction any more, each owner has heard on_closed(error) when this returns. */
unsigned server_close_streams(Server *s, uid_t uid, int error);
/* Only those of that audit session, and those of which it is not known. */
unsigned server_close_streams_of_login(Server *s, uid_t uid, uint32_t audit_session, int error);
/* Calls whose method says uses_credentials: each is cancelled, also when its client has left, and answered by fault(error) once its fiber has come
 * to its end. service: those that have said to work with others alone go on (call_uses_service()); NULL: all. */
unsigned server_end_calls(Server *s, uid_t uid, const char *service, int error);
/* Takes over a listening Unix stream socket. From now on each read of its connections says who wrote (SO_PASSCRED). */
int server_add_listener(Server *s, int fd, Door door);
/* Takes over one connected socket, as if it had been accepted. -EDQUOT: its uid has too many; -EPERM: its uid names nobody; the caller
 * keeps the descriptor on errors. For tests. */
int server_add_connection(Server *s, int fd, Door door);

const Principal *call_principal(Call *c);
/* The same with login uid and audit session read, once for a connection. */
const Principal *call_principal_with_audit(Call *c);
/* The process that connected lives and has its pid: what was read of /proc about it before this call is true (principal.h). */
bool call_peer_is_same_process(Call *c);
/* The peer's groups as principal_read_groups() reads them. -ENOTCONN: the client has left. */
int call_read_groups(Call *c, gid_t **ret, size_t *ret_n);
Door call_door(Call *c);
/* From now on this uid pays for the call (no stream), its bytes included, and not the one that made it: a door that speaks for others learns
 * whom a call concerns from the call itself. -EDQUOT: that uid has too many under way; who pays is as it was. */
int call_charge_to(Call *c, uid_t uid);
/* From now on the call works with credentials of that service, and of others it has named, and of no more. -ENOMEM. */
int call_uses_service(Call *c, const char *service);
/* The client asked for a stream. */
bool call_wants_more(Call *c);
/* The client has left: replies go nowhere. */
bool call_is_gone(Call *c);
Call *call_ref(Call *c);
Call *call_unref(Call *c);
DEFINE_CLEANUP(Call *, call_unref)

/* The final reply. Takes parameters (NULL: none). 0, or -errno when it could not be queued (the connection is closed then). */
int call_reply(Call *c, json_object *parameters);
/* The final reply, whose parameters are this text, one JSON object in UTF-8: for answers that carry a secret, of which json-c would leave copies in
 * memory that nobody erases. What is queued of it is erased once it has left; text is the caller's to erase. */
int call_reply_text(Call *c, const char *parameters, size_t n);
/* One reply of a stream that goes on; only after call_wants_more(). */
int call_notify(Call *c, json_object *parameters);
/* The final reply, an error. name is qualified. */
int call_error(Call *c, const char *name, json_object *parameters);
/* org.varlink.service.InvalidParameter naming the field. */
int call_invalid_parameter(Call *c, const char *field);
/* The final reply was given. */
bool call_is_answered(Call *c);
