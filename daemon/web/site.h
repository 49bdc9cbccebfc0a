/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* Under which names we may be addressed, and from which pages a button may be pressed. */

typedef enum SiteDoor {
        SITE_DOOR_NONE = 0, /* not our name: refuse */
        SITE_DOOR_LOOPBACK, /* a browser on this host, or at the other end of a forwarded port */
        SITE_DOOR_EXTERNAL, /* through the proxy that does TLS */
} SiteDoor;

typedef struct Site {
        char *external;   /* "https://host[:port]" in lower case, or NULL */
        bool is_external; /* only the proxy connects: loopback names are refused then */
} Site;

/* Reads ExternalUrl=: https, a host, an optional port; a path is allowed and not looked at (the proxy strips it). -EINVAL, -ENOMEM. */
int site_init(Site *s, const char *external_url, bool is_external);
void site_done(Site *s);

/* Judges a Host header (RFC 9110 section 7.2) on a listener with that port. */
SiteDoor site_judge_host(const Site *s, const char *host, uint16_t port);

/* Whether a POST through door comes from our own page. origin and fetch_site are the Origin (RFC 6454) and Sec-Fetch-Site (W3C Fetch
 * Metadata) headers or NULL. */
bool site_judge_post(
                const Site *s, SiteDoor door, const char *host, const char *origin, const char *fetch_site);
