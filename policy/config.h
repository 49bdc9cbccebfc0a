/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* vaultd.conf and the drop-ins of services.d and policy.d, read strictly: unknown sections or keys, repeated scalars, overlong lines, NUL or invalid UTF-8 are
 * faults with file and line; files or folders that others than root may write are refused. Vendor folder below admin folder;
 * a file of the same name in the admin folder masks the vendor's. Rules of different policy files add up. */

typedef enum Custody {
        CUSTODY_AUTO, /* mirror with a workspace key, host without */
        CUSTODY_HOST,
        CUSTODY_PLATFORM,
        CUSTODY_MIRROR,
} Custody;

typedef enum PasteBack {
        PASTE_BACK_YES,
        PASTE_BACK_MATCH, /* only with a pinned or matching account */
        PASTE_BACK_NO,
} PasteBack;

/* What of an account AccountMatch= compares. */
typedef enum AccountMatchBy {
        ACCOUNT_MATCH_BY_UNSET, /* the id */
        ACCOUNT_MATCH_BY_ID,
        ACCOUNT_MATCH_BY_NAME,
} AccountMatchBy;

/* What a user connects a service with. */
typedef enum ServiceAuth {
        SERVICE_AUTH_OAUTH,
        SERVICE_AUTH_BEARER,      /* a token that the service hands out by hand */
        SERVICE_AUTH_BOTH,        /* either of them */
        SERVICE_AUTH_ENVIRONMENT, /* a value that programs find in a variable; no MCP server is involved */
} ServiceAuth;

/* How a grant is taken back at the service. */
typedef enum RevocationWay {
        REVOCATION_RFC7009, /* POST of a form with the token and the client's authentication */
        REVOCATION_DELETE,  /* DELETE with the client's Basic authentication and {"access_token": …} */
        REVOCATION_BEARER,  /* POST of nothing, with the token itself as Bearer */
        REVOCATION_NONE,    /* the service has no way: its user removes the access there */
} RevocationWay;

/* How the client that root registered shows itself at the token endpoint. */
typedef enum ClientAuth {
        CLIENT_AUTH_AUTO, /* as the metadata say; without any: basic with a secret, none without */
        CLIENT_AUTH_NONE,
        CLIENT_AUTH_BASIC,
        CLIENT_AUTH_POST,
} ClientAuth;

/* Who says whose account it is. */
typedef enum AccountSource {
        ACCOUNT_SOURCE_AUTO,  /* AccountTool=, else AccountUrl=, else the authorization server's userinfo */
        ACCOUNT_SOURCE_TOKEN, /* the token endpoint, in the answer that brings the token */
        ACCOUNT_SOURCE_NONE,  /* nobody: the account stays unknown and is not pinned */
} AccountSource;

typedef struct ServiceProfile {
        char *name;  /* Name=: [a-z0-9-]{1,32} */
        char *title; /* Title=: for people, ≤ 64 printable */
        char *url; /* Url=: the MCP server, https; with Auth=environment the service itself, by default its first host */
        ServiceAuth auth; /* Auth= */
        Custody custody;
        PasteBack paste_back;
        bool has_device; /* Device=: the device flow (RFC 8628) may be used; needs AccountMatch= */
        char *device_endpoint; /* DeviceEndpoint=: where it begins, in place of what the authorization server's metadata say; NULL */
        char *account_match; /* AccountMatch=: "mail", or the path of root's file (account-match.h); NULL: any account */
        AccountMatchBy account_match_by; /* AccountMatchBy= */
        char **scopes;   /* Scopes=: asked for instead of what discovery says; NULL: discovery decides */
        char *client_id; /* ClientId=: pre-registered client */
        char *client_secret_file; /* ClientSecretFile=: readable by vaultd, closed to group and others */
        char *client_metadata_url; /* ClientMetadataUrl=: a client id metadata document that somebody serves for this host; NULL */
        char *redirect_host;      /* RedirectHost=: "127.0.0.1" (default) or "localhost" */
        char *account_tool; /* AccountTool=: MCP tool that says who the account is; NULL: see AccountSource */
        char *account_url;  /* AccountUrl=: answers whose token it is; NULL */
        char *account_id_field; /* AccountIdField=: fields between blanks, "a.b" for one inside another; NULL: as usual there */
        char *account_name_field; /* AccountNameField=: likewise */
        char *variable;           /* Variable=: with Auth=environment, its name; else NULL */
        char **allowed_hosts; /* AllowedHosts=: with Auth=environment, where the value may be sent; else NULL */
        /* The authorization server, where the service's metadata do not lead to it. All or none of the first two. */
        char *authorization_endpoint; /* AuthorizationEndpoint= */
        char *token_endpoint;         /* TokenEndpoint= */
        char *issuer; /* Issuer=: what it calls itself (RFC 9207), where its metadata name another one than led to them; by default the origin of TokenEndpoint= */
        char *resource; /* Resource=: RFC 8707; "" for "none": not sent; NULL: as discovered, else Url= */
        char *scope_parameter; /* ScopeParameter=: default "scope" */
        char scope_separator;  /* ScopeSeparator=: ' ' (default) or ',' */
        char **authorization_parameters; /* AuthorizationParameters=: "name=value", sent besides ours; NULL */
        ClientAuth client_auth;          /* ClientAuth= */
        bool is_token_request_json;      /* TokenRequest=json: else a form, as RFC 6749 has it */
        /* Its token endpoint's answers. */
        char *token_member; /* TokenMember=: the object in the answer that holds the token, where it is there; NULL */
        char *token_type; /* TokenType=: what it calls a bearer, besides "Bearer"; NULL */
        uint64_t token_life_usec; /* TokenLife=: of access tokens, where the answer does not tell; 0: not known */
        char **grant_errors; /* GrantErrors=: errors of a refresh, besides invalid_grant, that end the grant; NULL */
        /* The way back. */
        RevocationWay revocation;  /* Revocation= */
        char *revocation_endpoint; /* RevocationEndpoint=: "{client_id}" in it is replaced; NULL: as discovered */
        char **revoked_answers; /* RevokedAnswers=: HTTP numbers and errors that say: nothing left to revoke; NULL */
        /* Whose account it is, beyond the AccountX= above. */
        AccountSource account_source; /* Account= */
        char *account_arguments;      /* AccountArguments=: of AccountTool=, a JSON object; NULL: none */
        char *account_body; /* AccountBody=: a JSON object that is POSTed to AccountUrl=; NULL: it is a GET */
        char *account_id_text, *account_name_text; /* AccountIdText=, AccountNameText=: where the tool answers in words, the ones around '*' */
        char *file; /* where it was read */
        unsigned line;
} ServiceProfile;

/* What becomes of a call whose process belongs to the login of another uid (sudo, su). */
typedef enum Elevated {
        ELEVATED_AUTO, /* authority methods are refused, use methods recorded */
        ELEVATED_REFUSE,
        ELEVATED_RECORD,
        ELEVATED_ALLOW,
} Elevated;

typedef enum Containers {
        CONTAINERS_ALLOW,
        CONTAINERS_REFUSE, /* callers in user or pid namespaces or root folders of their own */
} Containers;

/* [Server NAME] of policy.d: what a session may do there. In this version exact tool names; wildcards are a fault. */
typedef struct ServerPolicy {
        char *service;
        char **tools;         /* Tools=: on */
        char **ask;           /* Ask=: a person confirms each call */
        char **deny;          /* Deny= wins over both */
        char **token_readers; /* TokenReaders=: who may read the token itself (V6), as "user:NAME"; NULL: nobody */
        char *file;
        unsigned line;
} ServerPolicy;

typedef struct Config {
        /* [Platform] */
        char *platform_url;     /* Url=, default https://api.anthropic.com */
        char *platform_version; /* Version=, default 2023-06-01 */
        char *platform_model;   /* Model=, default claude-opus-4-5 */
        char **session_servers; /* Servers=: what `session start` uses without --server; NULL: the only service, or the only one that policy mentions */
        uint64_t adopt_wait_usec; /* AdoptWait=: how long a cut create is looked for before a new one; default 10s */
        /* [Http] */
        char *ca_file;        /* CaFile= */
        char *proxy;          /* Proxy= */
        char **allow_private; /* AllowPrivate=: list of host:port */
        /* [Web] */
        char *external_url; /* ExternalUrl=: https origin under which vaultd-web is published; NULL: loopback */
        bool has_client_metadata; /* ClientMetadata=: vaultd-web serves client id metadata documents there; default no */
        unsigned loopback_port; /* LoopbackPort=, default 876 */
        /* [Identity] */
        Elevated elevated;     /* Elevated= */
        Containers containers; /* Containers= */
        /* [Vaults] */
        uid_t uid_min, uid_max;     /* UidMin=, UidMax=; default from /etc/login.defs, else 1000, 60000 */
        uint64_t map_size;          /* MapSize=, default 64G */
        uint64_t leaver_check_usec; /* LeaverCheck=, 15min (1s…24h) */
        /* [Limits] */
        unsigned connections_per_uid;  /* Connections=, 64 */
        uint64_t bytes_per_uid;        /* Bytes=, 8M */
        unsigned calls_per_uid;        /* Calls=, 32 */
        unsigned calls_per_second;     /* CallsPerSecond=, 2000 */
        unsigned streams_per_uid;      /* Streams=, 8 */
        unsigned flows_per_uid;        /* Flows=, 8 */
        unsigned flows_per_minute;     /* FlowsPerMinute=, 20 */
        uint64_t message_timeout_usec; /* MessageTimeout=, 10s */
        uint64_t flow_lifetime_usec;   /* FlowLifetime=, 10min (1s…1h) */

        char *admin_dir; /* as it was read: where an administrator's files are */
        ServiceProfile *services;
        size_t n_services;
        ServerPolicy *servers;
        size_t n_servers;
} Config;

typedef struct ConfigFault {
        char *file;
        unsigned line; /* 0: the file as a whole */
        char *text;    /* "unknown key 'Urll', expected one of Name Title Url …" */
} ConfigFault;

typedef struct ConfigFaults {
        ConfigFault *faults;
        size_t n_faults;
} ConfigFaults;

/* Reads everything; all faults are collected. 0 and *ret only without any fault; -EINVAL with faults; -ENOMEM, -EIO ….
 * is_trusting_owner (tests): accept files owned by the calling uid as if by root. */
int config_load(const char *vendor_dir, const char *admin_dir, bool is_trusting_owner, Config **ret,
                ConfigFaults *ret_faults);
Config *config_free(Config *c);
DEFINE_CLEANUP(Config *, config_free)
void config_faults_done(ConfigFaults *f);

const ServiceProfile *config_find_service(const Config *c, const char *name);
/* Whether the authorization server is the one that root wrote; else it is discovered. Pure. */
static inline bool service_has_endpoints(const ServiceProfile *p) {
        return p->authorization_endpoint;
}
/* What an administrator has to add before anybody can connect it: a key ("ClientId="), or NULL. Pure. */
const char *service_lacks(const ServiceProfile *p);
/* Whether nothing could ever tell whose account a grant is. Pure. */
bool service_lacks_account(const ServiceProfile *p);
const ServerPolicy *config_find_server(const Config *c, const char *service); /* merged over files at load */

typedef enum ToolVerdict { TOOL_OFF, TOOL_ASK, TOOL_ON } ToolVerdict;
/* Whether the user, by its name on this host, may read a token of the service; nobody may unless a file says so. Pure. */
bool server_policy_may_read_token(const ServerPolicy *p, const char *user);
/* deny > ask > on; not mentioned = off. Pure. */
ToolVerdict server_policy_tool(const ServerPolicy *p, const char *tool);
