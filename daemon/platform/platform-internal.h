/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "json/object.h"
#include "platform/platform.h"

/* Shared by the files of platform/ only. */

typedef struct Gate Gate;

struct Platform {
        Http *http;
        Store *store;
        Keyring *keyring;
        const Config *config;
        Secret *workspace_key;
        char *base; /* platform_url without a slash at the end */
        char *hostname;
        Gate *gates;
};

#define PLATFORM_ID_MAX 128U
#define NONCE_SIZE      16U /* bytes: 128 bits (V3) */

/* gate.c: one fiber at a time works on the platform's side of an object; the others wait in line. */
int gate_enter(Platform *p, const char *name, Gate **ret);
bool gate_is_taken(Platform *p, const char *name);
Gate *gate_leave(Gate *g);
DEFINE_CLEANUP(Gate *, gate_leave)

/* request.c */
typedef struct Request {
        const char *method;
        const char *path; /* from the slash on, with the query */
        const char *what; /* for people, behind "cannot": "create the vault" */
        const char *body; /* NULL: none */
        size_t body_size;
        bool is_repeatable; /* doing it twice is doing it once */
        bool has_secret;    /* the body carries one, so the platform's own words are not repeated */
} Request;

/* What is known after a FAILED request. */
typedef enum RequestOutcome {
        REQUEST_REFUSED, /* it had no effect */
        REQUEST_UNKNOWN, /* it may have had, or may still get, its effect */
} RequestOutcome;

/* 0 with *ret (the answer, an object); FAILED with *ret_outcome (optional); -errno: the outcome is
 * unknown. */
int request_perform(Platform *p, const Request *request, json_object **ret, RequestOutcome *ret_outcome,
                Failure *failure);
/* Sets a PLATFORM failure "cannot <what>: …" that has no HTTP status. */
int platform_failure(Failure *failure, const char *what, const char *format, ...) _printf_(3, 4);

/* answer.c: pure readers of what the platform says. */
/* Sets the failure for an answer that is not a success. answer may be NULL. */
int answer_failure(const Request *request, const HttpResponse *response, json_object *answer,
                const Secret *key, Failure *failure);
/* Seconds to wait as told by retry-after, -1 when it does not say (an HTTP date counts as not told). */
int64_t answer_retry_after(const HttpResponse *response);
/* The member "id" when it is one with this prefix and safe in a path; NULL otherwise. Borrowed. */
const char *object_id(json_object *object, const char *prefix);
/* A member of "metadata", or NULL. Borrowed. */
const char *object_metadata(json_object *object, const char *name);
bool object_is_archived(json_object *object);
/* Whether everything in sent is in answered with the same value: objects by member, arrays by element,
 * addresses as the platform compares them, a model given by its id also as an object with that id. */
bool json_covers(json_object *sent, json_object *answered);
/* Whether two MCP server addresses are the same to the platform: default port and trailing slashes do
 * not count. */
bool server_url_equal(const char *a, const char *b);

/* list.c: calls visit for each element of a list, over all its pages, until it returns non-zero
 * (negative: handed on; positive: enough). */
typedef int (*ListVisit)(json_object *element, void *userdata);
int list_walk(Platform *p, const char *path, const char *query, const char *what, ListVisit visit,
                void *userdata, Failure *failure);

/* nonce.c */
typedef struct Creation Creation;
struct Creation {
        const char *what;      /* "vault" */
        const char *path;      /* where it is created and listed */
        const char *query;     /* of the list, "" for none */
        const char *id_prefix; /* "vlt_" */
        bool has_since_filter; /* the list knows created_at[gte] */
        bool is_newest_first;  /* by documentation: what comes behind an old one is older */
        const char *key;       /* in metadata */
        const char *nonce;
        uint64_t nonce_usec; /* when the nonce was made; realtime */
        const char *body;
        size_t body_size;
        bool has_secret;
        /* Whether the object is as empty as a new one of ours. 0, FAILED, -errno. */
        int (*is_as_new)(Platform *p, const Creation *c, json_object *object, bool *ret, Failure *failure);
        void *userdata;
};

/* What is known after a FAILED creation. */
typedef enum CreationOutcome {
        CREATION_REFUSED,   /* there is no such object: the nonce can be forgotten */
        CREATION_NOT_THERE, /* the request's fate is unknown, but nothing was found for as long as we look */
        CREATION_UNKNOWN,   /* could not be looked for, or there are several */
} CreationOutcome;

/* Creates, or finds what an earlier attempt created. was_tried: the nonce was durable before this call,
 * so there may be one already. */
int creation_run(Platform *p, const Creation *c, bool was_tried, json_object **ret,
                CreationOutcome *ret_outcome, Failure *failure);
/* Only looks, until found or until_usec (monotonic). 0 with *ret NULL: not there. */
int creation_look(Platform *p, const Creation *c, uint64_t until_usec, json_object **ret, Failure *failure);
char *nonce_new(void);

/* vault.c */
int vault_adopt_only(Platform *p, uid_t uid, uint64_t until_usec, Failure *failure);

/* object.c: agents and environments, one per definition. */
typedef struct Definition {
        RecordKind kind;
        json_object *body; /* as sent, without metadata */
        char *digest;
} Definition;
void definition_done(Definition *d);
/* Takes body. */
int definition_init(Definition *ret, RecordKind kind, json_object *body);
int definition_ensure(Platform *p, const Definition *d, PlatformObject **ret, Failure *failure);
/* Forgets it when it is archived or deleted on the platform. */
int definition_check(Platform *p, const Definition *d, bool *ret_is_gone, Failure *failure);

/* agent.c, environment.c */
int agent_definition(const SessionPlan *plan, Definition *ret, Failure *failure);
int environment_definition(const SessionPlan *plan, Definition *ret);

/* session.c */
#define SESSION_TITLE_MAX 100U /* characters */
bool session_is_pending(const AgentSession *s);
/* session-end.c */
int session_path(const char *id, const char *suffix, char **ret);
int session_end(Platform *p, const char *id, Failure *failure);
int session_adopt_only(Platform *p, uid_t uid, const char *record_id, uint64_t until_usec, Failure *failure);
int session_finish_leftovers(Platform *p, uid_t uid, Failure *failure);

/* credential-body.c */
typedef enum CredentialMatch {
        CREDENTIAL_KEEP,    /* as it should be; we have nothing newer */
        CREDENTIAL_UPDATE,  /* ours, and what differs can be changed */
        CREDENTIAL_REPLACE, /* something that cannot be changed differs */
        CREDENTIAL_GONE,    /* archived */
} CredentialMatch;
/* Whether what is there is in the place that this credential needs: a vault has one for each server address, and one for each variable. */
bool credential_is_same_place(const Credential *c, json_object *auth);
CredentialMatch credential_compare(const Credential *c, json_object *there);
int credential_create_body(const Credential *c, Buffer *ret);
int credential_update_body(const Credential *c, Buffer *ret);
