/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a profile says of its authorization server: all of it where metadata do not lead there, else single things.
 *
 * GitHub, Slack and Google have no dynamic registration and offer no usable metadata for it, so root writes the endpoints and the
 * id of a client that was registered by hand. Nobody is asked then, and PKCE, state and a callback address of the
 * issuer's own are used all the same: a service that knows no PKCE ignores it. What stands in the profile is as good
 * as discovered, and better guarded: only root can write it.
 *
 * A profile may ship without a client's id. Such a service is listed as not set up, and who connects it is told what an
 * administrator has to do, before anything is asked of anybody. */

#include "oauth/oauth-internal.h"
#include "util/url.h"

#define ASK_ADMINISTRATOR "Ask an administrator of this host to set it up; see vaultd.conf(5)"

static int set_text(char **field, const char *value) {
        char *copy = NULL;

        if (value && !(copy = strdup(value)))
                return -ENOMEM;
        free(*field);
        *field = copy;
        return 0;
}

/* By default an authorization server is called by its origin, as RFC 8414 has it for those without a path. */
static int issuer_of(const ServiceProfile *p, char **ret) {
        HttpUrl url = {};
        int r;

        if (p->issuer)
                return set_text(ret, p->issuer);
        r = http_url_parse(p->token_endpoint, &url);
        if (r < 0)
                return r;
        *ret = http_url_origin(&url);
        http_url_done(&url);
        return *ret ? 0 : -ENOMEM;
}

static int words_join(char *const *words, char **ret) {
        Buffer joined = {};
        int r = 0;

        for (; words && *words && r >= 0; words++)
                r = buffer_printf(&joined, "%s%s", joined.size > 0 ? " " : "", *words);
        if (r < 0) {
                buffer_done(&joined);
                return r;
        }
        *ret = (char *)joined.bytes;
        return 0;
}

int discovery_override(const ServiceProfile *p, Discovery *d) {
        static const char *const ways[] = { [REVOCATION_RFC7009] = NULL,
                [REVOCATION_DELETE] = "delete",
                [REVOCATION_BEARER] = "bearer",
                [REVOCATION_NONE] = "none" };
        Authority *a = &d->authority;
        int r;

        if (p->resource && (r = set_text(&d->resource, p->resource)) < 0)
                return r;
        if (p->revocation_endpoint && (r = set_text(&a->revocation_endpoint, p->revocation_endpoint)) < 0)
                return r;
        r = set_text(&a->revocation, ways[p->revocation]);
        if (r < 0)
                return r;
        free(a->revoked_answers);
        a->revoked_answers = NULL;
        return words_join(p->revoked_answers, &a->revoked_answers);
}

int discovery_from_profile(const ServiceProfile *p, Discovery *ret) {
        Discovery d = {};
        int r;

        if ((r = issuer_of(p, &d.authority.issuer)) < 0 ||
                        (r = set_text(&d.authority.authorization_endpoint, p->authorization_endpoint)) < 0 ||
                        (r = set_text(&d.authority.token_endpoint, p->token_endpoint)) < 0 ||
                        (r = set_text(&d.device_authorization_endpoint, p->device_endpoint)) < 0 ||
                        (r = set_text(&d.resource, p->url)) < 0 || (r = discovery_override(p, &d)) < 0 ||
                        (r = scope_base(p, NULL, false, &d.scope)) < 0) {
                discovery_done(&d);
                return r;
        }
        d.auth_none = d.auth_basic = true;
        *ret = d;
        return 0;
}

/* "github.conf" of the profile's file. */
static const char *file_name(const ServiceProfile *p) {
        const char *slash = strrchr(p->file, '/');

        return slash ? slash + 1 : p->file;
}

int oauth_check_set_up(Oauth *o, const ServiceProfile *p, Failure *failure) {
        _cleanup_(freep) char *issuer = NULL, *redirect = NULL;
        const char *lacks = service_lacks(p);
        int r;

        if (!lacks && service_lacks_account(p))
                return failure_set(failure, FAILURE_NOT_CONFIGURED, ASK_ADMINISTRATOR,
                                "%s is not set up: nothing tells whose account a token is; it needs "
                                "AccountTool=, AccountUrl= or Account= in %s",
                                p->title, p->file);
        if (!lacks)
                return 0;
        r = issuer_of(p, &issuer);
        if (r >= 0)
                r = flow_redirect_uri(o, p, issuer, &redirect);
        if (r < 0)
                return r;
        return failure_set(failure, FAILURE_NOT_CONFIGURED, ASK_ADMINISTRATOR,
                        "%s is not set up: it needs %s in %s/services.d/%s.d/client.conf, of a client that "
                        "is "
                        "registered there with the redirect address %s",
                        p->title, lacks, o->config->admin_dir, file_name(p), redirect);
}
