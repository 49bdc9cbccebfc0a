/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The client's life. It owns a copy of the workspace key, in secure memory, and nothing else that is
 * secret; that key goes into one header of each request (request.c) and nowhere else (S8).
 *
 * The objects it is given (Http, Store, Keyring, Config) outlive it. It must not be freed before its
 * fibers have ended: the daemon cancels them and runs the loop until none is left. */

#include <assert.h>

#include "platform/platform-internal.h"

int platform_new(const PlatformOptions *o, Platform **ret) {
        _cleanup_(platform_freep) Platform *p = NULL;
        HttpUrl url = {};
        size_t n;
        int r;

        if (!o->workspace_key || o->workspace_key->size == 0 || isempty(o->hostname))
                return -EINVAL;
        r = http_url_parse(o->config->platform_url, &url);
        if (r < 0)
                return r;
        bool has_query = url.query != NULL;
        http_url_done(&url);
        if (has_query)
                return -EINVAL;

        p = calloc(1, sizeof(Platform));
        if (!p)
                return -ENOMEM;
        p->http = o->http;
        p->store = o->store;
        p->keyring = o->keyring;
        p->config = o->config;
        p->base = strdup(o->config->platform_url);
        p->hostname = strdup(o->hostname);
        if (!p->base || !p->hostname)
                return -ENOMEM;
        for (n = strlen(p->base); n > 0 && p->base[n - 1] == '/'; n--)
                p->base[n - 1] = 0;
        r = secret_new(o->workspace_key->bytes, o->workspace_key->size, &p->workspace_key);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}

Platform *platform_free(Platform *p) {
        if (!p)
                return NULL;
        assert(!p->gates);
        (void)secret_free(p->workspace_key);
        free(p->base);
        free(p->hostname);
        free(p);
        return NULL;
}
