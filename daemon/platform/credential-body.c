/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is said about a credential, and whether what is there can become what should be there. Pure.
 *
 * The bodies carry tokens, so they are not made of json-c objects, which spread copies over the heap:
 * they are written into one Buffer, which is erased when it is released.
 *
 * What custody means on the wire (V4): `mirror` sends the access token and never a refresh block, so the
 * platform cannot refresh and the host stays the one owner of the refresh token; `platform` sends both,
 * once, and never updates, since from then on the platform's tokens are the newer ones. The immutable
 * members are the server's address and all of the refresh block but its token, scope and client secret;
 * an expiry can be changed but not taken away.
 *
 * A static bearer has nothing to refresh: with `platform` it is sent once and forgotten here like a refresh token. A variable is
 * sent with its hosts, always `limited`, and put into headers alone: what a program writes into a body goes to whoever
 * reads that. */

#include "json/write.h"
#include "platform/platform-internal.h"
#include "util/clock.h"

#define EXPIRY_LEAST_USEC (60U * USEC_PER_SEC) /* the platform accepts future times only, by its own clock */

static bool credential_has_refresh(const Credential *c) {
        return c->custody == CUSTODY_PLATFORM && c->refresh_token;
}

/* Appends ,"name":"text"; nothing for NULL. The first member has no comma. */
static int member(Buffer *b, const char *name, const char *text) {
        int r;

        if (!text)
                return 0;
        r = buffer_printf(b, "%s\"%s\":", b->size > 0 && b->bytes[b->size - 1] != '{' ? "," : "", name);
        return r < 0 ? r : json_write_string(b, text);
}

static int member_open(Buffer *b, const char *name) {
        return buffer_printf(b, "%s\"%s\":{", b->size > 0 && b->bytes[b->size - 1] != '{' ? "," : "", name);
}

static int member_expiry(Buffer *b, const Credential *c) {
        uint64_t least_usec = now_realtime() + EXPIRY_LEAST_USEC;
        char text[21];

        if (c->expires_usec == 0)
                return 0;
        /* One that is about to end, or has ended while the platform can refresh: a moment from now, so
         * that it refreshes soon. */
        format_rfc3339(MAX(c->expires_usec, least_usec), text);
        return member(b, "expires_at", text);
}

static int member_client(Buffer *b, const Credential *c) {
        int r;

        r = member_open(b, "token_endpoint_auth");
        if (r >= 0)
                r = member(b, "type", c->authority.client_auth_method);
        if (r >= 0 && c->client_secret && !streq(c->authority.client_auth_method, "none"))
                r = member(b, "client_secret", secret_text(c->client_secret));
        return r < 0 ? r : buffer_append_text(b, "}");
}

static int member_refresh(Buffer *b, const Credential *c) {
        int r;

        if (!credential_has_refresh(c))
                return 0;
        r = member_open(b, "refresh");
        if (r >= 0)
                r = member(b, "client_id", c->authority.client_id);
        if (r >= 0)
                r = member(b, "refresh_token", secret_text(c->refresh_token));
        if (r >= 0)
                r = member(b, "token_endpoint", c->authority.token_endpoint);
        if (r >= 0)
                r = member_client(b, c);
        if (r >= 0)
                r = member(b, "scope", isempty(c->scope) ? NULL : c->scope);
        if (r >= 0)
                r = member(b, "resource", isempty(c->resource) ? NULL : c->resource);
        return r < 0 ? r : buffer_append_text(b, "}");
}

/* The platform's word for the kind. */
static const char *auth_type(const Credential *c) {
        return c->kind == CREDENTIAL_STATIC_BEARER ? "static_bearer"
               : c->kind == CREDENTIAL_ENVIRONMENT ? "environment_variable"
                                                   : "mcp_oauth";
}

static int member_oauth(Buffer *b, const Credential *c, bool is_create) {
        int r;

        r = is_create ? member(b, "mcp_server_url", c->upstream) : 0;
        if (r >= 0)
                r = member(b, "access_token", secret_text(c->access_token));
        if (r >= 0)
                r = member_expiry(b, c);
        return r >= 0 && is_create ? member_refresh(b, c) : r;
}

static int member_static_bearer(Buffer *b, const Credential *c, bool is_create) {
        int r;

        r = is_create ? member(b, "mcp_server_url", c->upstream) : 0;
        return r < 0 ? r : member(b, "token", secret_text(c->access_token));
}

static int member_variable(Buffer *b, const Credential *c, bool is_create) {
        int r;

        r = is_create ? member(b, "secret_name", c->variable) : 0;
        if (r >= 0)
                r = member(b, "secret_value", secret_text(c->access_token));
        if (r >= 0)
                r = member_open(b, "networking");
        if (r >= 0)
                r = member(b, "type", "limited");
        if (r >= 0)
                r = buffer_append_text(b, ",\"allowed_hosts\":[");
        for (size_t i = 0; c->allowed_hosts && c->allowed_hosts[i] && r >= 0; i++) {
                r = i > 0 ? buffer_append_text(b, ",") : 0;
                if (r >= 0)
                        r = json_write_string(b, c->allowed_hosts[i]);
        }
        return r < 0 ? r
                     : buffer_append_text(b, "]},\"injection_location\":{\"header\":true,\"body\":false}");
}

static int member_auth(Buffer *b, const Credential *c, bool is_create) {
        int r;

        r = member_open(b, "auth");
        if (r >= 0)
                r = member(b, "type", auth_type(c));
        if (r >= 0)
                r = c->kind == CREDENTIAL_STATIC_BEARER ? member_static_bearer(b, c, is_create)
                    : c->kind == CREDENTIAL_ENVIRONMENT ? member_variable(b, c, is_create)
                                                        : member_oauth(b, c, is_create);
        return r < 0 ? r : buffer_append_text(b, "}");
}

int credential_create_body(const Credential *c, Buffer *ret) {
        int r;

        r = buffer_append_text(ret, "{");
        if (r >= 0)
                r = member(ret, "display_name", c->service);
        if (r >= 0)
                r = member_open(ret, "metadata");
        if (r >= 0)
                r = member(ret, "vaultd_credential", c->id);
        if (r >= 0)
                r = buffer_append_text(ret, "}");
        if (r >= 0)
                r = member_auth(ret, c, true);
        return r < 0 ? r : buffer_append_text(ret, "}");
}

int credential_update_body(const Credential *c, Buffer *ret) {
        int r;

        r = buffer_append_text(ret, "{");
        if (r >= 0)
                r = member_auth(ret, c, false);
        return r < 0 ? r : buffer_append_text(ret, "}");
}

/* Whether a refresh block that is there can take our refresh token. */
static bool refresh_fits(const Credential *c, json_object *refresh) {
        json_object *client = NULL;

        return streq_ptr(json_string(refresh, "client_id"), c->authority.client_id) &&
               streq_ptr(json_string(refresh, "token_endpoint"), c->authority.token_endpoint) &&
               streq_ptr(json_string(refresh, "resource"), isempty(c->resource) ? NULL : c->resource) &&
               json_get_object(refresh, "token_endpoint_auth", &client) >= 0 &&
               streq_ptr(json_string(client, "type"), c->authority.client_auth_method);
}

bool credential_is_same_place(const Credential *c, json_object *auth) {
        bool is_variable = streq_ptr(json_string(auth, "type"), "environment_variable");

        if (is_variable || c->kind == CREDENTIAL_ENVIRONMENT)
                return is_variable && streq_ptr(json_string(auth, "secret_name"), c->variable);
        return server_url_equal(json_string(auth, "mcp_server_url"), c->upstream);
}

CredentialMatch credential_compare(const Credential *c, json_object *there) {
        json_object *auth = NULL, *refresh = NULL;
        bool has_refresh, is_ours, is_address;

        if (object_is_archived(there))
                return CREDENTIAL_GONE;
        if (json_get_object(there, "auth", &auth) < 0)
                return CREDENTIAL_REPLACE;
        is_ours = streq_ptr(object_metadata(there, "vaultd_credential"), c->id);
        is_address = streq_ptr(json_string(auth, "type"), auth_type(c)) && credential_is_same_place(c, auth);
        has_refresh = json_get_object(auth, "refresh", &refresh) >= 0;
        if (!is_ours || !is_address)
                return CREDENTIAL_REPLACE;
        /* What is the platform's alone by now is there or is lost. */
        if (c->custody == CUSTODY_PLATFORM &&
                        !(c->kind == CREDENTIAL_OAUTH ? c->refresh_token : c->access_token))
                return CREDENTIAL_KEEP;
        if (c->kind != CREDENTIAL_OAUTH)
                return CREDENTIAL_UPDATE;
        if (has_refresh != credential_has_refresh(c) || (has_refresh && !refresh_fits(c, refresh)))
                return CREDENTIAL_REPLACE;
        /* The platform has had this grant and may have refreshed it since: our tokens are the older
         * ones, and a refresh token that was used is not to be used again. */
        if (c->custody == CUSTODY_PLATFORM)
                return CREDENTIAL_KEEP;
        if (c->expires_usec == 0 && json_string(auth, "expires_at"))
                return CREDENTIAL_REPLACE;
        return CREDENTIAL_UPDATE;
}
