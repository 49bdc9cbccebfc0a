/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the readers of the documents that lead to an authorization server, and of what it makes of this host: resource metadata,
 * server metadata, the answers to a registration and to a pushed request. Each gets the same JSON object.
 *
 * Properties: an outcome that is documented, results exactly on success; what is believed is about the server that was asked
 * for; every address is https and parses; the issuer is the one asked for or root's other name for it; scopes are printable and
 * stand in the document; a registration has a client id and a way of authentication that we have, with a secret where
 * that needs one. */

#include <stdio.h>

#include "oauth/oauth-internal.h"
#include "util/url.h"

#define SERVER   "https://m.test/v1/mcp"
#define EXPECTED "https://m.test/v1"
#define ISSUER   "https://as.test/t"
#define ALIAS    "https://as.test"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *property) {
        if (!holds) {
                (void)fprintf(stderr, "violated: %s\n", property);
                abort();
        }
}

static void check_outcome(int r) {
        check(r == 0 || r == FAILED || r == -ENOMEM, "a documented outcome");
}

static void check_address(const char *text) {
        HttpUrl url = {};

        if (!text)
                return;
        check(http_url_parse(text, &url) == 0, "an https address");
        http_url_done(&url);
}

static void read_resource(json_object *o) {
        _cleanup_(freep) char *resource = NULL, *issuer = NULL, *scope = NULL;
        const char *reason = NULL;
        int r = metadata_read_resource(o, SERVER, EXPECTED, &resource, &issuer, &scope, &reason);

        check_outcome(r);
        check((r == FAILED) == (reason != NULL), "a reason exactly on refusal");
        check((r == 0) == (resource != NULL) && (r == 0) == (issuer != NULL), "results exactly on success");
        if (r != 0)
                return;
        check(streq(resource, json_string(o, "resource")), "the resource byte for byte");
        check(streq(resource, EXPECTED) || url_is_bound(resource, SERVER) ||
                                        url_is_bound(SERVER, resource) || startswith(SERVER "/", resource),
                        "the resource is this server's");
        check_address(issuer);
        check(!scope || scope_is_legal(scope), "scopes are legal");
}

static void read_authority(json_object *o) {
        const char *reason = NULL;
        bool offline = false;
        Discovery d = {};
        int r = metadata_read_authority(o, ISSUER, ALIAS, &d, &offline, &reason);

        check_outcome(r);
        check((r == FAILED) == (reason != NULL), "a reason exactly on refusal");
        if (r == 0) {
                check(streq(d.authority.issuer, ISSUER) || streq(d.authority.issuer, ALIAS),
                                "the issuer that was asked for");
                check(d.authority.authorization_endpoint && d.authority.token_endpoint, "both endpoints");
        }
        check_address(d.authority.authorization_endpoint);
        check_address(d.authority.token_endpoint);
        check_address(d.authority.revocation_endpoint);
        check_address(d.authority.userinfo_endpoint);
        check_address(d.registration_endpoint);
        check_address(d.device_authorization_endpoint);
        check_address(d.pushed_endpoint);
        discovery_done(&d);
}

static void read_registration(json_object *o) {
        const Discovery d = { .authority.issuer = (char *)ISSUER, .auth_basic = true };
        _cleanup_(client_freep) Client *c = NULL;
        int r = registration_read(o, &d, "http://127.0.0.1:876/callback/x", "read", &c);

        check_outcome(r);
        check((r == 0) == (c != NULL), "a client exactly on success");
        if (!c)
                return;
        check(*c->client_id && streq(c->issuer, ISSUER), "a client of this issuer");
        check(streq(c->auth_method, "none") ||
                                        ((streq(c->auth_method, "client_secret_basic") ||
                                                         streq(c->auth_method, "client_secret_post")) &&
                                                        c->client_secret),
                        "a way of authentication that we have");
}

static void read_pushed(json_object *o) {
        _cleanup_(freep) char *uri = NULL, *refused = NULL;
        int r = pushed_answer_read(201, o, &uri);

        check_outcome(r);
        check((r == 0) == (uri != NULL) && (!uri || *uri), "a name exactly on success");
        check(pushed_answer_read(400, o, &refused) == FAILED && !refused, "no name in a refusal");
        for (const char *p = uri; p && *p; p++)
                check(*p > ' ' && *p <= '~', "a name that can stand in an address");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        json_object *o = NULL;

        if (json_parse((const char *)data, size, &json_limits_wire, &o) != 0)
                return 0;
        if (json_object_is_type(o, json_type_object)) {
                read_resource(o);
                read_authority(o);
                read_registration(o);
                read_pushed(o);
        }
        json_object_put(o);
        return 0;
}
