/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Authority: what an authorization server told us about itself, as part of flows and credentials. Plain strings; the
 * records that embed it list its members through AUTHORITY_FIELDS.
 *
 * A credential keeps its own copy: a refresh and a revocation go to the server that issued the grant, whatever discovery says
 * about the service today. */

#include "store/records.h"

void authority_done(Authority *a) {
        free(a->issuer);
        free(a->authorization_endpoint);
        free(a->token_endpoint);
        free(a->revocation_endpoint);
        free(a->userinfo_endpoint);
        free(a->client_id);
        free(a->client_auth_method);
        free(a->revocation);
        free(a->revoked_answers);
        *a = (Authority){};
}

static int copy_text(const char *text, char **ret) {
        if (!text)
                return 0;
        *ret = strdup(text);
        return *ret ? 0 : -ENOMEM;
}

int authority_copy(const Authority *a, Authority *ret) {
        _cleanup_(authority_done) Authority copy = { .iss_supported = a->iss_supported };

        if (copy_text(a->issuer, &copy.issuer) < 0 ||
                        copy_text(a->authorization_endpoint, &copy.authorization_endpoint) < 0 ||
                        copy_text(a->token_endpoint, &copy.token_endpoint) < 0 ||
                        copy_text(a->revocation_endpoint, &copy.revocation_endpoint) < 0 ||
                        copy_text(a->userinfo_endpoint, &copy.userinfo_endpoint) < 0 ||
                        copy_text(a->client_id, &copy.client_id) < 0 ||
                        copy_text(a->client_auth_method, &copy.client_auth_method) < 0 ||
                        copy_text(a->revocation, &copy.revocation) < 0 ||
                        copy_text(a->revoked_answers, &copy.revoked_answers) < 0)
                return -ENOMEM;
        *ret = copy;
        copy = (Authority){};
        return 0;
}
