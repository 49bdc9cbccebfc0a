/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Our own names, against DNS rebinding and cross-site requests (threat T29).
 *
 * A page of any origin may make a browser connect to 127.0.0.1. What it cannot forge is Host, Origin and
 * Sec-Fetch-Site. A rebound name arrives in Host and is not one of ours. Our pages are sent with Referrer-Policy:
 * no-referrer, for which browsers put "Origin: null" on form posts (Fetch, "append a request Origin header");
 * "null" alone says nothing (sandboxed frames send it too), so it needs Sec-Fetch-Site: same-origin beside it. A
 * request with neither header is not from a browser of this decade and is refused: fail closed.
 *
 * The door also decides whether the two TCP addresses mean anything: behind a proxy they are the proxy's.
 *
 * Pure functions, no state but the configured name. Who may call: main.c, routes.c, tests. */

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "web/site.h"

static const char *const loopback_names[] = { "127.0.0.1", "localhost", "[::1]" };

/* host or host:port; characters of DNS names and bracketed addresses only. */
static bool is_authority(const char *text, size_t n) {
        bool is_bracketed = n > 0 && text[0] == '[';

        if (n == 0 || n > 300)
                return false;
        for (size_t i = 0; i < n; i++)
                if (!isalnum((unsigned char)text[i]) && !strchr(is_bracketed ? "[]:." : "-.:", text[i]))
                        return false;
        return true;
}

int site_init(Site *s, const char *external_url, bool is_external) {
        _cleanup_(freep) char *external = NULL;
        const char *authority;
        size_t n;

        if (external_url) {
                if (strncasecmp(external_url, "https://", 8) != 0)
                        return -EINVAL;
                authority = external_url + 8;
                n = strcspn(authority, "/");
                if (!is_authority(authority, n))
                        return -EINVAL;
                /* Browsers leave the scheme's own port out. */
                if (n > 4 && strncmp(authority + n - 4, ":443", 4) == 0)
                        n -= 4;
                if (asprintf(&external, "https://%.*s", (int)n, authority) < 0)
                        return -ENOMEM;
                for (char *p = external; *p; p++)
                        *p = (char)tolower((unsigned char)*p);
        }
        if (is_external && !external)
                return -EINVAL;
        *s = (Site){ .external = TAKE_PTR(external), .is_external = is_external };
        return 0;
}

void site_done(Site *s) {
        free(s->external);
        *s = (Site){};
}

SiteDoor site_judge_host(const Site *s, const char *host, uint16_t port) {
        char expected[32];

        if (s->external && strcasecmp(host, s->external + strlen("https://")) == 0)
                return SITE_DOOR_EXTERNAL;
        if (s->is_external)
                return SITE_DOOR_NONE;
        for (size_t i = 0; i < ELEMENTSOF(loopback_names); i++) {
                (void)snprintf(expected, sizeof(expected), "%s:%u", loopback_names[i], port);
                if (strcasecmp(host, expected) == 0 ||
                                (port == 80 && strcasecmp(host, loopback_names[i]) == 0))
                        return SITE_DOOR_LOOPBACK;
        }
        return SITE_DOOR_NONE;
}

static bool is_own_origin(const Site *s, SiteDoor door, const char *host, const char *origin) {
        const char *rest;

        if (door == SITE_DOOR_EXTERNAL)
                return strcasecmp(origin, s->external) == 0;
        rest = startswith(origin, "http://");
        return rest && strcasecmp(rest, host) == 0;
}

bool site_judge_post(
                const Site *s, SiteDoor door, const char *host, const char *origin, const char *fetch_site) {
        if (door == SITE_DOOR_NONE)
                return false;
        if (fetch_site && !streq(fetch_site, "same-origin"))
                return false;
        if (!origin)
                return fetch_site != NULL;
        if (streq(origin, "null"))
                return fetch_site != NULL;
        return is_own_origin(s, door, host, origin);
}
