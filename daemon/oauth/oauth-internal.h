/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "json/object.h"
#include "oauth/oauth.h"

/* Shared by the files of oauth/ only. */

typedef struct FlowWatch FlowWatch;
typedef struct DevicePoll DevicePoll;
typedef struct Pace Pace;
typedef struct Refresh Refresh;
typedef struct Sweep Sweep;
typedef struct Work Work;

struct Oauth {
        sd_event *event;
        Http *http;
        Store *store;
        Keyring *keyring;
        const Config *config;
        char *hostname;
        Users *users;
        bool is_trusting_owner;
        FlowWatch *watches;
        DevicePoll *polls;
        Work *works;
        Pace *paces;
        size_t n_paces;
        Refresh *refreshes;
        struct RefreshPace *refresh_paces;
        Fiber *sweeper;
        Sweep *sweeps;
};

/* exchange.c: one HTTP exchange with an upstream, its answer a JSON object. who is the service's title, what the step ("its metadata"). */
typedef struct ExchangeNotes {
        bool is_sent;        /* the request may have reached the server; false: certainly not */
        uint64_t retry_usec; /* Retry-After of the answer, an hour at most; 0: none */
} ExchangeNotes;
typedef struct Exchange {
        const char *title;
        const char *what;
        HttpRequest request;
        ExchangeNotes *notes; /* filled whatever becomes of it; NULL: nobody wants to know */
        const ServiceProfile *profile; /* token_post(): how this service wants it; NULL: as the RFCs say */
        bool takes_form;               /* the answer may be a form as well */
} Exchange;
/* 0 with *ret_status, and *ret_object when the body is a JSON object, or a form that was taken (NULL otherwise). FAILED: no answer at all. */
int exchange_json(Oauth *o, const Exchange *exchange, unsigned *ret_status, json_object **ret_object,
                HttpResponse *ret_response, Failure *failure);
/* Sets an UPSTREAM failure about this exchange. */
int exchange_failure(const Exchange *exchange, Failure *failure, const char *format, ...) _printf_(3, 4);
/* Overwrites all strings in the object, then releases it: for answers that carried tokens. */
void json_scrub(json_object **object);
/* Appends "&name=value", both form-encoded; nothing for a value that is NULL or empty. */
int form_add(Buffer *form, const char *name, const char *value);

/* form.c: a form as the object that JSON would have been. Pure. FAILED: it is none; -ENOMEM. */
int form_parse(const char *text, size_t n, json_object **ret);
/* What form_add() made, as JSON. -EINVAL, -ENOMEM. */
int form_to_json(const Buffer *form, Buffer *ret);

/* discovery.c */
typedef struct Discovery {
        char *resource;
        char *scope;         /* space separated; NULL: ask for none */
        Authority authority; /* client fields empty */
        char *registration_endpoint;
        char *device_authorization_endpoint; /* RFC 8628 section 4; NULL */
        char *pushed_endpoint; /* where requests have to be pushed to (RFC 9126); NULL: they have not */
        bool takes_client_metadata; /* client_id_metadata_document_supported */
        bool has_other_name;        /* its metadata were found under another issuer than they name; root wrote that name */
        bool auth_none, auth_basic, auth_post; /* token_endpoint_auth_methods_supported */
} Discovery;
int discovery_run(Oauth *o, const ServiceProfile *profile, Discovery *ret, Failure *failure);
void discovery_done(Discovery *d);

/* static-authority.c: the same from a profile with endpoints of its own. Nobody is asked. -ENOMEM. */
int discovery_from_profile(const ServiceProfile *profile, Discovery *ret);
/* What the profile says in place of what was discovered. -ENOMEM. */
int discovery_override(const ServiceProfile *profile, Discovery *d);
/* begin.c: where the browser comes back to: one address for each issuer. */
int flow_redirect_uri(Oauth *o, const ServiceProfile *profile, const char *issuer, char **ret);

/* metadata.c: pure readers of the two documents. FAILED with *ret_reason (static). */
/* expected: a resource that is right because root wrote it, or NULL. */
int metadata_read_resource(json_object *document, const char *server_url, const char *expected,
                char **ret_resource, char **ret_issuer, char **ret_scope, const char **ret_reason);
/* alias: another name that the issuer may give itself because root wrote it, or NULL. The one it uses becomes the authority's. */
int metadata_read_authority(json_object *document, const char *issuer, const char *alias, Discovery *discovery,
                bool *ret_offline_access, const char **ret_reason);
/* Candidate addresses of an issuer's metadata, in the order to try; NULL-ended, malloc()ed. */
int metadata_authority_urls(const char *issuer, char ***ret);
/* Candidate addresses of a server's resource metadata without a hint. */
int metadata_resource_urls(const char *server_url, char ***ret);
void strv_free(char **list);
static inline void strv_freep(char ***list) {
        strv_free(*list);
}

/* scope.c: lists of scopes between blanks; NULL is the empty one, also as a result. */
/* Whether all that is wanted is in scope. */
bool scope_covers(const char *scope, const char *wanted);
/* Each legal word of both once, at most 4 KiB of them. */
int scope_union(const char *a, const char *b, char **ret);
/* What to ask for at a first connect: see there. */
int scope_base(const ServiceProfile *profile, const char *discovered, bool offers_offline, char **ret);
/* What to ask for now. former: the place's credential, whatever its state, or NULL. wanted: what the user adds, or NULL. */
int scope_to_ask(const ServiceProfile *profile, const Credential *former, const char *issuer, const char *base,
                const char *wanted, char **ret);

/* step-up.c: the server wanted these scopes (NULL: it named none) for something and the credential's token had them not. *ret_reason: for its user.
 * *ret_hint: the command that asks for them; NULL where nothing new would be asked, or the scopes are none to be copied into a shell. Pure. */
int step_up_advice(const ServiceProfile *profile, const Credential *c, const char *wanted, char **ret_reason,
                char **ret_hint);

/* authorization-url.c: the name of a pushed request, from the answer to it (RFC 9126 section 2.2). Pure. FAILED: there is none. */
int pushed_answer_read(unsigned status, json_object *object, char **ret);

/* client.c: who we are at this issuer. Fills authority.client_id, client_auth_method and *ret_secret (NULL: public client). unanswered: the client id of a
 * flow whose user went to the provider and never came back, or NULL. */
int client_ensure(Oauth *o, const ServiceProfile *profile, Discovery *discovery, const char *redirect_uri,
                const char *unanswered, Secret **ret_secret, Failure *failure);
/* The server said that it does not know this client (invalid_client): if it is one that we registered, the next flow registers anew. */
void client_forget(Oauth *o, const ServiceProfile *profile, const Authority *authority);

/* Whether the client secret that root wrote may be shown to the authorization server that was found. Pure. */
bool client_secret_is_for(const ServiceProfile *profile, const Discovery *discovery);

/* registration.c */
int registration_choose_method(ClientAuth auth, const Discovery *discovery, bool has_secret, char **ret);
int registration_ask(Oauth *o, const ServiceProfile *profile, const Discovery *discovery, const char *redirect_uri,
                const char *scope, Client **ret, Failure *failure);
/* Whether this one will do to ask for that scope. unanswered: the client id of a flow whose user went to the provider and never came back, or NULL. Pure. */
bool registration_is_good(const Client *c, const char *scope, const char *unanswered, uint64_t now_usec);
/* The scope to register with: all that is wanted now, and of the known registration's (NULL: there is none) what has room beside it. -ENOMEM. Pure. */
int registration_scope(const Client *known, const char *wanted, char **ret);
/* From the answer to a registration (RFC 7591 section 3.2.1). Pure but for the time. FAILED: it is none. */
int registration_read(json_object *answer, const Discovery *discovery, const char *redirect_uri, const char *scope,
                Client **ret);

/* claim.c: "c-" and 32 hex digits; NULL without memory. */
char *credential_id_new(void);
/* Adds the pin of this account to the batch, in place of an older one. */
int credential_pin(Oauth *o, uid_t uid, const char *service, const char *label, const char *account_id,
                const char *account_name, StoreBatch *batch);

/* account-match.c: FAILED (ACCOUNT_CHANGED) when another account is pinned; 0 when none is or it is the same. *ret_is_pinned (optional): one is. */
int account_check_pin(Oauth *o, uid_t uid, const ServiceProfile *profile, const char *label,
                const char *account_id, const char *account_name, bool *ret_is_pinned, Failure *failure);
/* Whether AccountMatch= gives the account to the user. 0, also where root set none; FAILED: not, or it cannot be told; -errno. */
int account_check_match(Oauth *o, uid_t uid, const char *user, const ServiceProfile *p,
                const char *account_id, const char *account_name, Failure *failure);
/* Both for the account of a flow, with what the profile demands of its way. */
int flow_check_account(Oauth *o, const Flow *f, const ServiceProfile *p, Failure *failure);
/* Whether the profile lets a grant come in so at all. Waits for nothing. */
int way_is_allowed(const ServiceProfile *p, FlowWay way, Failure *failure);
/* PasteBack=match, and nothing says which account is known. Always FAILED, or -ENOMEM. */
int failure_way_needs_pin(const ServiceProfile *p, Failure *failure);

/* token-answer.c */
typedef struct TokenAnswer {
        Secret *access_token, *refresh_token; /* refresh_token NULL: none was given, a former one stays in force */
        uint64_t expires_usec;                /* realtime; 0: not told */
        char *scope;                          /* separated by single blanks; NULL: not told */
        char *account_id, *account_name;      /* with Account=token, if it was told; else NULL */
} TokenAnswer;
void token_answer_done(TokenAnswer *t);
/* Reads any answer of a token endpoint, as the service's profile (NULL: it is gone) says. Pure. FAILED with *ret_error: the error's code, or what is wrong;
 * malloc()ed, printable. */
int token_answer_parse(json_object *object, const ServiceProfile *profile, uint64_t now_usec,
                TokenAnswer *ret, char **ret_error);
/* Whether an error's code says that the grant has ended, so that only a new connect helps, whatever the HTTP status was. Pure. */
bool token_error_is_final(const ServiceProfile *profile, const char *error);

/* token.c */
int token_redeem(Oauth *o, const Flow *flow, const char *title, const char *code, TokenAnswer *ret,
                Failure *failure);
/* Sends a form with the client's authentication added, or what it says as JSON (TokenRequest=). */
int token_post(Oauth *o, Exchange *x, const Authority *a, const Secret *client_secret, Buffer *form,
                unsigned *ret_status, json_object **ret_object, Failure *failure);
/* base64(form(id) ":" form(secret)), RFC 6749 section 2.3.1. */
int token_basic_credentials(const char *id, const Secret *client_secret, Secret **ret);

/* revoke.c */
RevocationWay revocation_way(const Authority *a);
/* The service says that what was shown is not in force (any more). Beside FAILED, which is 1. */
#define REVOCATION_NOTHING_LEFT 2
/* What an answer to a revocation means; object NULL: it was no JSON object. Pure. 0; REVOCATION_NOTHING_LEFT; FAILED with *ret_error: the service's word, printable, malloc()ed. */
int revocation_judge(const Authority *a, unsigned status, json_object *object, char **ret_error);
int token_revoke(Oauth *o, const char *title, const Authority *authority, const Secret *client_secret,
                const Secret *access_token, const Secret *refresh_token, Failure *failure);

/* callback.c: tokens → account → quarantine. The flow, in its state FLOW_EXCHANGING, is written with the tokens, which are taken: from then on whoever ends
 * it revokes them; before, this does. 0, FAILED, -errno; *flow is to be ended by the caller then. */
int grant_park(Oauth *o, const Vault *vault, const ServiceProfile *profile, Flow **flow, TokenAnswer *tokens,
                char **ret_claim_code, Failure *failure);
/* device.c: nobody waits for this flow's code any more. */
void device_stop(Oauth *o, const char *flow_id);

/* account-answer.c: what an answer says of whose account it is. Pure. id_fields, name_fields: as AccountIdField=. 0, FAILED: it does not say it; -ENOMEM. */
int account_from_object(json_object *object, const char *id_fields, const char *name_fields, char **ret_id,
                char **ret_name);
/* phrases: as AccountIdText=; name_phrase NULL: the id stands for the name. */
int account_from_text(const char *text, const char *id_phrase, const char *name_phrase, char **ret_id,
                char **ret_name);
/* From the result of tools/call. */
int account_from_tool(json_object *result, const ServiceProfile *profile, char **ret_id, char **ret_name);

/* account.c: who the tokens belong to, asked of the service; with Account=token what is in the flow already stays. */
int account_ask(Oauth *o, const ServiceProfile *profile, const Flow *flow, const Secret *access_token,
                char **ret_id, char **ret_name, Failure *failure);
/* The same for a token that was given by hand; 0 without id and name when the profile names nobody to ask. */
int account_ask_for_token(Oauth *o, const ServiceProfile *profile, const Secret *token, char **ret_id,
                char **ret_name, Failure *failure);
/* mcp-answer.c (mcp.h has the rest): from an MCP answer body (JSON, or SSE when is_stream) the result of request id. Pure. */
int mcp_answer_parse(const char *body, size_t n, bool is_stream, int64_t id, json_object **ret_result);

/* quota.c: what one uid may have under way here. */
typedef enum WorkKind {
        WORK_BEGINNING, /* discovery, registration */
        WORK_EXCHANGE,  /* code → tokens → account */
} WorkKind;
struct Work { /* on the stack of the fiber that does it */
        Work *next;
        uid_t uid;
        WorkKind kind;
};
/* Says that the work begins. FAILED: this uid has as much of that kind under way as it may; nothing is to be left then. */
int work_enter(Oauth *o, Work *work, WorkKind kind, uid_t uid, Failure *failure);
void work_leave(Oauth *o, Work *work);
unsigned work_count(Oauth *o, WorkKind kind, uid_t uid);
/* Counts one more beginning. FAILED: the uid had FlowsPerMinute= of them within a minute. */
int pace_beginning(Oauth *o, uid_t uid, Failure *failure);

/* flow.c and watch.c */
/* Somebody else changed or ended the flow since it was read: look again. Beside FAILED, which is 1. */
#define FLOW_MOVED 2
/* Writes the flow and reads it back. 0, FLOW_MOVED, -errno. */
int flow_commit(Oauth *o, const Vault *vault, Flow **flow);
/* The same with FLOW_MOVED as a failure. */
int flow_advance(Oauth *o, const Vault *vault, Flow **flow, Failure *failure);
int flow_find_own(Oauth *o, uid_t uid, const char *flow_id, Flow **ret, Failure *failure);
/* Ends a flow, which is taken over: tells who waits why, and erases it. Where it holds tokens it is written as FLOW_REVOKING, and a fiber of the sweeper's
 * revokes them upstream at once and erases it then; nobody waits for the service here. 0; FLOW_MOVED: not ended by us, and nobody was told;
 * other -errno. */
int flow_end(Oauth *o, Flow *flow, const Failure *why);
/* The same, but waits for the service; for those fibers. -EAGAIN: it could not be told, the sweeper tries again. */
int flow_end_and_revoke(Oauth *o, Flow *flow, const Failure *why);
/* sweep.c: begins to revoke what the flow, in its state FLOW_REVOKING, holds. Without memory a later sweep finds it. */
void sweep_soon(Oauth *o, Flow **flow);
bool flow_is_expired(const Flow *flow);
bool flow_has_tokens(const Flow *flow);
const char *flow_title(Oauth *o, const Flow *flow);
char *issuer_digest(const char *issuer);
/* Moves the tokens into the flow and makes that durable. 0, FLOW_MOVED, -errno; they are in the flow in any case. */
int flow_keep_tokens(Oauth *o, const Vault *vault, Flow **flow, TokenAnswer *tokens);
/* Fills in the claim's secret and parks the grant. */
int flow_quarantine(Oauth *o, const Vault *vault, Flow **flow, char **ret_claim_code, Failure *failure);
void watch_notify(Oauth *o, const char *flow_id, const Failure *why);
