/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Vaults for the benches, written by the records' own code: each has its own data key, every credential is sealed under
 * it, and the members are as long as real ones are (addresses and client ids of a dynamic registration, an opaque access
 * token, a refresh token). Four are grants, one is a token that was given by hand.
 *
 * Tokens are random, so that nothing here compresses or repeats where real ones do not. */

#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>

#include "policy/config.h"
#include "population.h"
#include "util/clock.h"
#include "util/encode.h"

#define ACCESS_TOKEN_BYTES  48U
#define REFRESH_TOKEN_BYTES 48U

static const char *const services[POPULATION_SERVICES] = { "notion", "linear", "sentry", "atlassian",
        "github" };
/* The one whose token is given by hand. */
#define BEARER_SERVICE 4U

const char *population_service(unsigned i) {
        return services[i];
}

static char *random_text(const char *prefix, size_t n) {
        _cleanup_(freep) char *hex = NULL;
        uint8_t bytes[64];
        char *text;

        /* From the kernel: libgcrypt stirs a pool for each request, which would be most of the time of a fill. */
        if (getrandom(bytes, MIN(n, sizeof(bytes)), 0) != (ssize_t)MIN(n, sizeof(bytes)))
                return NULL;
        hex = hex_encode(bytes, MIN(n, sizeof(bytes)));
        return hex && asprintf(&text, "%s%s", prefix, hex) >= 0 ? text : NULL;
}

_printf_(1, 2) static char *text_of(const char *format, ...) {
        char *text;
        va_list list;
        int n;

        va_start(list, format);
        n = vasprintf(&text, format, list);
        va_end(list);
        return n < 0 ? NULL : text;
}

static int random_secret(const char *prefix, size_t n, Secret **ret) {
        _cleanup_(freep) char *text = random_text(prefix, n);

        return text ? secret_new(text, strlen(text), ret) : -ENOMEM;
}

static int add_grant(Credential *c, bool is_expired) {
        Authority *a = &c->authority;
        int r;

        a->issuer = text_of("https://auth.%s.example", c->service);
        a->authorization_endpoint = text_of("https://auth.%s.example/oauth/authorize", c->service);
        a->token_endpoint = text_of("https://auth.%s.example/oauth/token", c->service);
        a->revocation_endpoint = text_of("https://auth.%s.example/oauth/revoke", c->service);
        a->client_id = random_text("client-", 16);
        a->client_auth_method = text_of("none");
        c->resource = text_of("https://mcp.%s.example", c->service);
        c->scope = text_of("read write offline_access");
        if (is_expired)
                c->expires_usec = c->created_usec - 3600 * USEC_PER_SEC;
        else
                c->expires_usec = c->created_usec +
                                  3650 * 24 * 3600 * USEC_PER_SEC; /* still good when it is measured */
        if (!a->issuer || !a->authorization_endpoint || !a->token_endpoint || !a->revocation_endpoint ||
                        !a->client_id || !a->client_auth_method || !c->resource || !c->scope)
                return -ENOMEM;
        r = random_secret("refresh-", REFRESH_TOKEN_BYTES, &c->refresh_token);
        return r;
}

static int add_credential(StoreBatch *b, const Vault *v, unsigned i, bool is_expired) {
        _cleanup_(credential_freep) Credential *c = calloc(1, sizeof(Credential));
        int r;

        if (!c)
                return -ENOMEM;
        c->uid = v->uid;
        c->service = text_of("%s", services[i]);
        c->label = text_of("default");
        c->id = random_text("c-", 16);
        c->upstream = text_of("https://mcp.%s.example/mcp", services[i]);
        c->account_id = random_text("", 16);
        c->account_name = text_of("bench%u@university.example", (unsigned)v->uid);
        c->platform_credential_id = random_text("vcrd_", 12);
        c->created_usec = now_realtime();
        c->custody = CUSTODY_MIRROR;
        c->kind = i == BEARER_SERVICE ? CREDENTIAL_STATIC_BEARER : CREDENTIAL_OAUTH;
        if (!c->service || !c->label || !c->id || !c->upstream || !c->account_id || !c->account_name ||
                        !c->platform_credential_id)
                return -ENOMEM;
        r = i == BEARER_SERVICE ? 0 : add_grant(c, is_expired);
        if (r >= 0)
                r = random_secret("token-", ACCESS_TOKEN_BYTES, &c->access_token);
        return r < 0 ? r : credential_record_put(b, v, c);
}

int population_add(StoreBatch *b, Keyring *k, uid_t uid, bool is_expired) {
        _cleanup_(vault_freep) Vault *v = NULL;
        char user[32];
        int r;

        (void)snprintf(user, sizeof(user), "bench%u", (unsigned)uid);
        r = vault_new(k, uid, user, &v);
        if (r < 0)
                return r;
        v->platform_vault_id = random_text("vlt_", 12);
        if (!v->platform_vault_id)
                return -ENOMEM;
        r = vault_record_put(b, k, v);
        for (unsigned i = 0; i < POPULATION_SERVICES && r >= 0; i++)
                r = add_credential(b, v, i, is_expired);
        return r;
}
