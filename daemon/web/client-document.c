/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What this host says of itself as a client (OAuth Client ID Metadata Document): for authorization servers that take an address for a
 * client id, fetch it, and believe what stands there instead of keeping registrations.
 *
 * There is one document for each authorization server, because each has a callback of its own (the digest of its issuer is the last
 * part of both paths): a document that named them all would let one server send its answer to another's callback. The
 * client id is the document's own address, byte for byte. Nothing in it is secret, nothing depends on who asks, and vaultd is not
 * asked; it names the same address by ClientMetadata=.
 *
 * A pure function. Who may call: routes.c. */

#include <stdio.h>

#include "json/object.h"
#include "web/client-document.h"

bool client_digest_is_legal(const char *digest) {
        return strlen(digest) == 16 && strspn(digest, "0123456789abcdef") == 16;
}

static json_object *list(const char *a, const char *b) {
        json_object *array = json_object_new_array();

        if (array && (json_array_add_string(array, a) < 0 || (b && json_array_add_string(array, b) < 0))) {
                json_object_put(array);
                return NULL;
        }
        return array;
}

int client_document_write(const char *external, const char *digest, Buffer *b) {
        _cleanup_(freep) char *id = NULL, *callback = NULL, *name = NULL;
        _cleanup_(json_putp) json_object *o = NULL;

        if (asprintf(&id, "%s/client/%s", external, digest) < 0) {
                id = NULL;
                return -ENOMEM;
        }
        if (asprintf(&callback, "%s/callback/%s", external, digest) < 0) {
                callback = NULL;
                return -ENOMEM;
        }
        if (asprintf(&name, "vaultd on %s", startswith(external, "https://") ?: external) < 0) {
                name = NULL;
                return -ENOMEM;
        }
        o = json_build("client_id", 's', id, "client_name", 's', name, "client_uri", 's', external,
                        "redirect_uris", 'o', list(callback, NULL), "grant_types", 'o',
                        list("authorization_code", "refresh_token"), "response_types", 'o',
                        list("code", NULL), "token_endpoint_auth_method", 's', "none", "application_type",
                        's', "web", NULL);
        const char *text = o ? json_text(o) : NULL;
        return text ? buffer_append_text(b, text) : -ENOMEM;
}
