/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Filled records for the tests: every member has a value of its own, so a member that is not stored is noticed. */

#include "samples.h"
#include "store/record.h"

static Authority sample_authority(void) {
        return (Authority){
                .issuer = strdup("https://issuer.example"),
                .authorization_endpoint = strdup("https://issuer.example/authorize"),
                .token_endpoint = strdup("https://issuer.example/token"),
                .revocation_endpoint = strdup("https://issuer.example/revoke"),
                .userinfo_endpoint = strdup("https://issuer.example/userinfo"),
                .client_id = strdup("client-1"),
                .client_auth_method = strdup("client_secret_basic"),
                .revocation = strdup("delete"),
                .revoked_answers = strdup("404 gone"),
                .iss_supported = true,
        };
}

static char **texts(const char *a, const char *b) {
        char **list = calloc(3, sizeof(char *));

        assert_non_null(list);
        list[0] = strdup(a);
        list[1] = strdup(b);
        return list;
}

Credential *sample_credential(uid_t uid, const char *service, const char *label) {
        Credential *c = record_new(&credential_type);

        assert_non_null(c);
        c->uid = uid;
        c->service = strdup(service);
        c->label = strdup(label);
        c->id = strdup("c-0123456789abcdef0123456789abcdef");
        c->upstream = strdup("https://mcp.example/mcp");
        c->resource = strdup("https://mcp.example");
        c->authority = sample_authority();
        c->scope = strdup("read write");
        c->asked_scope = strdup("read write admin");
        c->account_id = strdup("account-7");
        c->account_name = strdup("Zo\xc3\xab");
        c->created_usec = 1234567890123456;
        c->expires_usec = UINT64_MAX;
        c->custody = 3;
        c->state = CREDENTIAL_NEEDS_RECONNECT;
        c->state_reason = strdup("the service refused the refresh token");
        c->level = CREDENTIAL_GLOBAL;
        c->platform_credential_id = strdup("cred_1");
        c->revoked_usec = 9;
        c->obtained_usec = 1234567890123457;
        c->refresh_attempt = REFRESH_ATTEMPTS_MAX;
        c->access_token = secret_of("access-token-canary");
        c->refresh_token = secret_of("refresh-token-canary");
        c->client_secret = secret_of("client-secret-canary");
        return c;
}

Credential *sample_environment_credential(uid_t uid, const char *service, const char *label) {
        Credential *c = sample_credential(uid, service, label);

        c->kind = CREDENTIAL_ENVIRONMENT;
        c->refresh_token = secret_free(c->refresh_token);
        c->variable = strdup("GH_TOKEN");
        c->allowed_hosts = texts("api.github.example", "*.github.example");
        return c;
}

Flow *sample_flow(const Vault *v, uint8_t fill) {
        Flow *f = record_new(&flow_type);

        assert_non_null(f);
        memset(f->state_digest, fill, sizeof(f->state_digest));
        f->uid = v->uid;
        f->id = strdup("f-0123456789abcdef0123456789abcdef");
        f->vault_id = strdup(v->id);
        f->user = strdup("alice");
        f->host = strdup("host.example");
        f->service = strdup("notion");
        f->label = strdup("default");
        f->upstream = strdup("https://mcp.example/mcp");
        f->resource = strdup("https://mcp.example");
        f->scope = strdup("read");
        f->asked_scope = strdup("read write");
        f->pushed_endpoint = strdup("https://issuer.example/par");
        f->redirect_uri = strdup("http://127.0.0.1:876/callback/x");
        f->authority = sample_authority();
        f->state = FLOW_QUARANTINED;
        f->way = FLOW_WAY_PASTE;
        f->created_usec = 1;
        f->expires_usec = UINT64_C(1) << 63;
        memset(f->ticket_digest, fill ^ 0x55, sizeof(f->ticket_digest));
        memset(f->claim_mac, fill ^ 0xaa, sizeof(f->claim_mac));
        f->tries_left = 3;
        f->is_replacing_account = true;
        f->account_id = strdup("account-7");
        f->account_name = strdup("Alice");
        f->token_expires_usec = 77;
        f->state_text = secret_of("state-canary");
        f->code_verifier = secret_of("verifier-canary");
        f->client_secret = secret_of("client-secret-canary");
        f->access_token = secret_of("access-token-canary");
        f->refresh_token = secret_of("refresh-token-canary");
        f->device_code = secret_of("device-code-canary");
        return f;
}

Client *sample_client(void) {
        Client *c = record_new(&client_type);

        assert_non_null(c);
        c->issuer = strdup("https://issuer.example");
        c->redirect_uri = strdup("http://127.0.0.1:876/callback/x");
        c->client_id = strdup("client-1");
        c->auth_method = strdup("client_secret_basic");
        c->scope = strdup("read");
        c->registered_usec = 98;
        c->secret_expires_usec = 99;
        c->client_secret = secret_of("client-secret-canary");
        c->registration_access_token = secret_of("registration-canary");
        return c;
}

AgentSession *sample_agent_session(uid_t uid, const char *id) {
        AgentSession *a = record_new(&agent_session_type);

        assert_non_null(a);
        a->uid = uid;
        a->id = strdup(id);
        a->nonce = strdup("00112233445566778899aabbccddeeff");
        a->title = strdup("Title");
        a->agent_id = strdup("agent_1");
        a->agent_version = -5;
        a->environment_id = strdup("env_1");
        a->platform_vault_id = strdup("vlt_1");
        a->servers = texts("github", "notion");
        a->accounts = texts("alice", "");
        a->created_usec = 5;
        return a;
}

PlatformObject *sample_platform_object(RecordKind kind) {
        PlatformObject *o = record_new(&platform_object_type);

        assert_non_null(o);
        o->kind = kind;
        o->digest = strdup("deadbeef");
        o->nonce = strdup("00112233445566778899aabbccddeeff");
        o->nonce_usec = 6;
        o->platform_id = strdup("agent_1");
        o->version = INT64_MAX;
        return o;
}

PinnedAccount *sample_pinned_account(uid_t uid, const char *service) {
        PinnedAccount *p = record_new(&pinned_account_type);

        assert_non_null(p);
        p->uid = uid;
        p->service = strdup(service);
        p->label = strdup("default");
        p->account_id = strdup("account-7");
        p->account_name = strdup("Alice");
        return p;
}

#define SAVE(call)                                                                                          \
        do {                                                                                                \
                StoreBatch *b = batch_new();                                                                \
                                                                                                            \
                assert_int_equal(call, 0);                                                                  \
                assert_int_equal(commit(f, b), 0);                                                          \
        } while (0)

void save_credential(Fixture *f, const Vault *v, const Credential *c) {
        SAVE(credential_record_put(b, v, c));
}

void save_flow(Fixture *f, const Vault *v, const Flow *flow) {
        SAVE(flow_record_put(b, v, flow));
}

void save_client(Fixture *f, const Client *c) {
        SAVE(client_record_put(b, f->keyring, c));
}

void save_agent_session(Fixture *f, const AgentSession *a) {
        SAVE(agent_session_record_put(b, a));
}

void save_platform_object(Fixture *f, const PlatformObject *o) {
        SAVE(platform_object_record_put(b, o));
}

void save_pinned_account(Fixture *f, const PinnedAccount *p) {
        SAVE(pinned_account_record_put(b, p));
}

void save_revocation(Fixture *f, const Vault *v, const char *service) {
        _cleanup_(credential_freep) Credential *c = sample_credential(v->uid, service, "default"),
                                               *there = NULL;
        StoreBatch *b = batch_new();

        save_credential(f, v, c);
        assert_int_equal(credential_record_read(f->store, v, service, "default", &there), 0);
        assert_int_equal(revocation_record_move(b, v, there), 0);
        assert_int_equal(commit(f, b), 0);
}
