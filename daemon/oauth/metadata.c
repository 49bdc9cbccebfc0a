/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The two documents that lead from a server's address to its authorization server: protected resource metadata
 * (RFC 9728) and authorization server metadata (RFC 8414, OpenID Connect Discovery). Pure functions of texts.
 *
 * What is believed is small: the resource must be the server itself or a parent path on the same origin, the issuer
 * must be the very string that was asked for, every endpoint must be an https address, and PKCE S256 must be offered.
 * The resource and issuer strings are kept byte for byte: a re-serialised one is another one. */

#include <stdio.h>

#include "oauth/oauth-internal.h"
#include "util/url.h"

void strv_free(char **list) {
        for (char **s = list; s && *s; s++)
                free(*s);
        free(list);
}

/* origin + well-known segment + path (RFC 8414 section 3: inserted between host and path). */
static char *well_known(const HttpUrl *url, const char *segment, const char *path) {
        _cleanup_(freep) char *origin = http_url_origin(url);
        char *text;

        if (!origin || asprintf(&text, "%s/.well-known/%s%s", origin, segment, path) < 0)
                return NULL;
        return text;
}

static int strv_collect(char **texts, size_t n, char ***ret) {
        char **list = calloc(n + 1, sizeof(char *));
        bool is_complete = list;

        for (size_t i = 0; i < n; i++)
                is_complete = is_complete && texts[i];
        if (!is_complete) {
                for (size_t i = 0; i < n; i++)
                        free(texts[i]);
                free(list);
                return -ENOMEM;
        }
        memcpy(list, texts, n * sizeof(char *));
        *ret = list;
        return 0;
}

static bool path_is_root(const char *path) {
        return streq(path, "/");
}

int metadata_resource_urls(const char *server_url, char ***ret) {
        HttpUrl url = {};
        char *texts[2];
        size_t n = 0;
        int r;

        r = http_url_parse(server_url, &url);
        if (r < 0)
                return r;
        if (!path_is_root(url.path))
                texts[n++] = well_known(&url, "oauth-protected-resource", url.path);
        texts[n++] = well_known(&url, "oauth-protected-resource", "");
        http_url_done(&url);
        return strv_collect(texts, n, ret);
}

int metadata_authority_urls(const char *issuer, char ***ret) {
        HttpUrl url = {};
        char *texts[3];
        size_t n = 0;
        int r;

        r = http_url_parse(issuer, &url);
        if (r < 0)
                return r;
        /* A trailing slash belongs to the issuer's name, not to the address of its metadata. */
        size_t length = strlen(url.path);
        if (length > 0 && url.path[length - 1] == '/')
                url.path[length - 1] = 0;
        if (url.path[0]) {
                _cleanup_(freep) char *origin = http_url_origin(&url);

                texts[n++] = well_known(&url, "oauth-authorization-server", url.path);
                texts[n++] = well_known(&url, "openid-configuration", url.path);
                if (!origin || asprintf(&texts[n], "%s%s/.well-known/openid-configuration", origin,
                                               url.path) < 0)
                        texts[n] = NULL;
                n++;
        } else {
                texts[n++] = well_known(&url, "oauth-authorization-server", "");
                texts[n++] = well_known(&url, "openid-configuration", "");
        }
        http_url_done(&url);
        return strv_collect(texts, n, ret);
}

static bool is_https_url(const char *text) {
        HttpUrl url = {};

        if (!text || http_url_parse(text, &url) < 0)
                return false;
        http_url_done(&url);
        return true;
}

/* The resource names the server itself, or as a document at the root of its origin does, all of that origin. Servers differ about a last slash. A path
 * above the server's would let one tenant's document speak for its neighbours; where that is how it is, root says so (Resource=). */
static bool resource_fits(const char *resource, const char *server_url, const char *expected) {
        size_t n = strlen(resource);
        _cleanup_(freep) char *bound = strndup(resource, n > 0 && resource[n - 1] == '/' ? n - 1 : n);

        if (expected && streq(resource, expected))
                return true;
        return url_is_bound(bound, server_url) && (url_is_origin(bound) || url_is_bound(server_url, bound));
}

/* A space separated list from an array of strings that are scope tokens. */
static int scope_list(json_object *array, char **ret) {
        Buffer list = {};
        int r = 0;

        for (size_t i = 0; array && i < json_object_array_length(array) && r >= 0; i++) {
                json_object *scope = json_object_array_get_idx(array, i);
                const char *text = json_object_is_type(scope, json_type_string)
                                                   ? json_object_get_string(scope)
                                                   : NULL;

                if (!text || !scope_is_legal(text) || strchr(text, ' '))
                        continue;
                r = buffer_printf(&list, "%s%s", list.size > 0 ? " " : "", text);
        }
        if (r < 0) {
                buffer_done(&list);
                return r;
        }
        *ret = (char *)list.bytes; /* NUL terminated; NULL when nothing was added */
        return 0;
}

int metadata_read_resource(json_object *document, const char *server_url, const char *expected,
                char **ret_resource, char **ret_issuer, char **ret_scope, const char **ret_reason) {
        _cleanup_(freep) char *resource = NULL, *issuer = NULL, *scope = NULL;
        json_object *servers = NULL, *scopes = NULL, *first;
        const char *text = json_string(document, "resource");

        if (!text || !resource_fits(text, server_url, expected)) {
                *ret_reason = "its resource metadata is about another server";
                return FAILED;
        }
        resource = strdup(text);
        (void)json_get_array(document, "authorization_servers", &servers);
        first = servers && json_object_array_length(servers) > 0 ? json_object_array_get_idx(servers, 0)
                                                                 : NULL;
        if (!json_object_is_type(first, json_type_string) || !is_https_url(json_object_get_string(first))) {
                *ret_reason = "its resource metadata names no authorization server";
                return FAILED;
        }
        issuer = strdup(json_object_get_string(first));
        if (!resource || !issuer)
                return -ENOMEM;
        (void)json_get_array(document, "scopes_supported", &scopes);
        int r = scope_list(scopes, &scope);
        if (r < 0)
                return r;
        *ret_resource = TAKE_PTR(resource);
        *ret_issuer = TAKE_PTR(issuer);
        *ret_scope = TAKE_PTR(scope);
        return 0;
}

static bool array_has(json_object *array, const char *text) {
        for (size_t i = 0; array && i < json_object_array_length(array); i++) {
                json_object *element = json_object_array_get_idx(array, i);

                if (json_object_is_type(element, json_type_string) &&
                                streq(json_object_get_string(element), text))
                        return true;
        }
        return false;
}

/* Copies an address; an unusable optional one is left out. */
static int endpoint(json_object *document, const char *name, char **ret) {
        const char *text = json_string(document, name);

        if (!is_https_url(text))
                return 0;
        *ret = strdup(text);
        return *ret ? 0 : -ENOMEM;
}

int metadata_read_authority(json_object *document, const char *issuer, const char *alias, Discovery *d,
                bool *ret_offline_access, const char **ret_reason) {
        const char *name = json_string(document, "issuer");
        json_object *methods = NULL, *scopes = NULL, *auth = NULL;
        Authority *a = &d->authority;
        bool wants_pushed = false;
        int r;

        if (!name || (!streq(name, issuer) && !streq_ptr(name, alias))) {
                *ret_reason = "its authorization server's metadata names another issuer";
                return FAILED;
        }
        (void)json_get_array(document, "code_challenge_methods_supported", &methods);
        if (!array_has(methods, "S256")) {
                *ret_reason = "its authorization server does not offer PKCE S256";
                return FAILED;
        }
        a->issuer = strdup(name);
        if (!a->issuer)
                return -ENOMEM;
        d->has_other_name = !streq(name, issuer);
        if ((r = endpoint(document, "authorization_endpoint", &a->authorization_endpoint)) < 0 ||
                        (r = endpoint(document, "token_endpoint", &a->token_endpoint)) < 0 ||
                        (r = endpoint(document, "revocation_endpoint", &a->revocation_endpoint)) < 0 ||
                        (r = endpoint(document, "userinfo_endpoint", &a->userinfo_endpoint)) < 0 ||
                        (r = endpoint(document, "registration_endpoint", &d->registration_endpoint)) < 0 ||
                        (r = endpoint(document, "device_authorization_endpoint",
                                         &d->device_authorization_endpoint)) < 0)
                return r;
        (void)json_get_bool(document, "require_pushed_authorization_requests", &wants_pushed);
        if (wants_pushed && (r = endpoint(document, "pushed_authorization_request_endpoint", &d->pushed_endpoint)) < 0)
                return r;
        if (!a->authorization_endpoint || !a->token_endpoint || (wants_pushed && !d->pushed_endpoint)) {
                *ret_reason = "its authorization server's metadata has no usable endpoints";
                return FAILED;
        }
        (void)json_get_bool(document, "authorization_response_iss_parameter_supported", &a->iss_supported);
        (void)json_get_bool(document, "client_id_metadata_document_supported", &d->takes_client_metadata);
        (void)json_get_array(document, "scopes_supported", &scopes);
        *ret_offline_access = array_has(scopes, "offline_access");
        if (json_get_array(document, "token_endpoint_auth_methods_supported", &auth) >= 0) {
                d->auth_none = array_has(auth, "none");
                d->auth_basic = array_has(auth, "client_secret_basic");
                d->auth_post = array_has(auth, "client_secret_post");
        } else
                d->auth_basic = true; /* RFC 8414 section 2 */
        return 0;
}
