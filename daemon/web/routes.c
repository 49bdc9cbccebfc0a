/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From a request to a page: the order of the checks, and which of vaultd's answers is which status.
 *
 * The order is fixed: our name (Host), then the target, then the method, then where the request comes from, and only
 * then is vaultd asked. GET and HEAD change nothing, with one exception that the protocol forces on us: the
 * provider's redirect is a GET, and vaultd makes its state single use. HEAD on that path asks nobody. The pages cannot be
 * framed or fetched as a part of another page: where a browser says what it fetches for, it has to be a document.
 *
 * Nothing of a query is ever put on a page here. The provider's error and its description go to vaultd, which quotes
 * them in its message once it has recognised the state: a link made up by somebody else cannot put sentences
 * on our page, not even as text.
 *
 * The page of services exists behind https only: on loopback there are neither cookies nor buttons but the one that leads to the provider (T34).
 *
 * Knows no HTTP library; server.c translates. Who may call: server.c, from any thread. */

#include <stdio.h>
#include <sys/random.h>

#include "util/clock.h"
#include "util/encode.h"
#include "web/client-document.h"
#include "web/routes-internal.h"

typedef struct FaultRow {
        const char *error;
        unsigned status;
        const char *headline; /* NULL: depends on the page */
} FaultRow;

static const FaultRow fault_rows[] = {
        { "io.vaultd.NotFound", 404, "This link is not known" },
        { "io.vaultd.NoSuchService", 404, "This service is not set up" },
        { "io.vaultd.FlowFailed", 410, NULL },
        { "io.vaultd.NotAllowed", 403, "This is not allowed" },
        { "io.vaultd.VaultClosed", 403, "This vault is closed" },
        { "io.vaultd.ClaimRejected", 403, "This is not the code" },
        { "io.vaultd.AccountChanged", 409, "This is another account" },
        { "io.vaultd.UpstreamFailed", 502, "The service did not answer as it should" },
        { "io.vaultd.PlatformFailed", 502, "The platform did not answer as it should" },
        { "io.vaultd.NotConfigured", 503, "This is not set up yet" },
        { "io.vaultd.LimitExceeded", 503, "Too much at once" },
        { "io.vaultd.StoreFull", 503, "vaultd cannot store more" },
        { "io.vaultd.Damaged", 503, "What vaultd has stored is damaged" },
        { "io.vaultd.Internal", 503, "vaultd failed" },
        { "org.varlink.service.InvalidParameter", 400, "This address is not complete" },
};

static const FaultRow fault_unknown = { NULL, 503, "vaultd cannot do this now" };

void reply_done(Reply *r) {
        if (r->location)
                explicit_bzero(r->location, strlen(r->location));
        free(r->location);
        if (r->set_cookie)
                explicit_bzero(r->set_cookie, strlen(r->set_cookie));
        free(r->set_cookie);
        html_done(&r->page);
        *r = (Reply){};
}

/* 128 bits for the style's nonce; the policy is only as good as its being fresh. */
static int reply_begin(Reply *r, const char *name) {
        uint8_t bytes[16];
        _cleanup_(freep) char *nonce = NULL;

        if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
                return -EIO;
        nonce = base64url_encode(bytes, sizeof(bytes));
        if (!nonce)
                return -ENOMEM;
        *r = (Reply){ .name = name, .page.buffer.limit = 1024 * 1024 };
        (void)snprintf(r->nonce, sizeof(r->nonce), "%s", nonce);
        return 0;
}

int reply_fault(Reply *r, unsigned status, const char *headline, const char *message, const char *advice) {
        const PageFault fault = { .headline = headline, .message = message, .advice = advice };

        r->status = status;
        page_fault(&r->page, r->nonce, &fault);
        return r->page.error;
}

int reply_refused(Reply *r, const ApiFault *fault, const char *headline) {
        const FaultRow *row = &fault_unknown;
        PageFault page;

        for (size_t i = 0; i < ELEMENTSOF(fault_rows); i++)
                if (streq(fault->error, fault_rows[i].error))
                        row = &fault_rows[i];
        page = (PageFault){
                .headline = row->headline ?: headline,
                .message = fault->message ?: "The link is wrong, was used already, or is too old.",
                .advice = fault->hint,
        };
        r->status = row->status;
        page_fault(&r->page, r->nonce, &page);
        return r->page.error;
}

/* No usable answer. The reason goes to the log of server.c by the status; a visitor needs to know what to do. */
int reply_unreachable(Reply *r, int error) {
        if (error == -ENOMEM)
                return error;
        if (error == -ETIMEDOUT)
                return reply_fault(r, 503, "vaultd takes too long",
                                "The vault daemon of this host did not answer in time, so nothing was "
                                "connected.",
                                "Wait a minute, then run vaultctl connect again. If it stays so, tell the "
                                "administrator.");
        return reply_fault(r, 503, "vaultd is not there",
                        "The vault daemon of this host cannot be reached, so nothing was connected.",
                        "Wait a minute, then reload this page. If it stays so, tell the administrator.");
}

static int answer_connect_page(const RouteContext *c, SiteDoor door, const Target *t, Reply *r) {
        _cleanup_(api_fault_done) ApiFault fault = {};
        _cleanup_(api_page_done) ApiPage page = {};
        int k;

        k = api_page(c->socket, t->segment, &page, &fault);
        if (k < 0)
                return reply_unreachable(r, k);
        if (k == API_REFUSED)
                return reply_refused(r, &fault, "This link no longer works");
        r->status = 200;
        /* Browsers hold the redirects after a form against this too, and the provider is where the button leads. */
        r->form_action = "'self' https:";
        page_connect(&r->page, r->nonce, &page, door == SITE_DOOR_EXTERNAL, now_realtime());
        return r->page.error;
}

static int answer_continue(const RouteContext *c, const Target *t, Reply *r) {
        _cleanup_(api_fault_done) ApiFault fault = {};
        int k;

        k = api_continue(c->socket, t->segment, &r->location, &fault);
        if (k < 0)
                return reply_unreachable(r, k);
        if (k == API_REFUSED)
                return reply_refused(r, &fault, "This link no longer works");
        r->status = 303;
        return 0;
}

static int answer_callback(
                const RouteContext *c, const Request *q, SiteDoor door, const Target *t, Reply *r) {
        _cleanup_(api_fault_done) ApiFault fault = {};
        _cleanup_(api_result_done) ApiResult result = {};
        const ApiCallback callback = {
                .path = t->segment,
                .state = target_get(t, "state"),
                .code = target_get(t, "code"),
                .iss = target_get(t, "iss"),
                .error = target_get(t, "error"),
                .error_description = target_get(t, "error_description"),
                /* Behind the proxy the other end is the proxy, which proves nothing about a person. */
                .local = door == SITE_DOOR_LOOPBACK ? q->local : NULL,
                .peer = door == SITE_DOOR_LOOPBACK ? q->peer : NULL,
        };
        int k;

        if (!callback.state || (!callback.code && !callback.error))
                return reply_fault(r, 400, "This address is not complete",
                                "The service sent the browser back without its answer, or the address was "
                                "cut on the way.",
                                NULL);
        k = api_callback(c->socket, &callback, &result, &fault);
        if (k < 0)
                return reply_unreachable(r, k);
        if (k == API_REFUSED)
                return reply_refused(r, &fault, "Not connected");
        r->status = 200;
        page_result(&r->page, r->nonce, &result, door == SITE_DOOR_EXTERNAL, now_realtime());
        return r->page.error;
}

static int reply_target_fault(Reply *r, int fault) {
        switch (fault) {
        case TARGET_UNKNOWN:
                return reply_fault(r, 404, "There is no such page",
                                "The address was mistyped or cut. Links work only as vaultctl prints them.",
                                NULL);
        case TARGET_REPEATED:
                return reply_fault(r, 400, "This address contradicts itself",
                                "A parameter occurs twice, so the answer of the service cannot be trusted.",
                                NULL);
        case TARGET_TOO_LONG:
                return reply_fault(r, 414, "This address is too long",
                                "Nobody's answer needs to be as long as this.", NULL);
        default:
                return reply_fault(r, 400, "This address is damaged",
                                "It has characters that no link of ours and no answer of a service has.",
                                NULL);
        }
}

/* Methods of a route, or NULL when request's is among them. */
static const char *refused_method(const Request *q, const Target *t) {
        static const char *const methods[] = {
                [TARGET_ROOT] = "GET, HEAD",
                [TARGET_CONNECT] = "GET, HEAD, POST",
                [TARGET_CALLBACK] = "GET, HEAD",
                [TARGET_CLIENT] = "GET, HEAD",
                [TARGET_OPEN] = "GET, HEAD, POST",
                [TARGET_BEGIN] = "POST",
                [TARGET_OFFER] = "POST",
                [TARGET_LEAVE] = "POST",
        };
        const char *all = methods[t->route];

        for (const char *p = all; *p; p += strspn(p, ", ")) {
                size_t n = strcspn(p, ",");

                if (strlen(q->method) == n && memcmp(p, q->method, n) == 0)
                        return NULL;
                p += n;
        }
        return all;
}

static int answer_connect(
                const RouteContext *c, const Request *q, SiteDoor door, const Target *t, Reply *r) {
        r->name = "connect";
        if (!streq(q->method, "POST"))
                return answer_connect_page(c, door, t, r);
        if (!site_judge_post(&c->site, door, q->host, q->origin, q->fetch_site))
                return reply_fault(r, 403, "The button was not pressed on our page",
                                "The request does not come from the page that vaultctl's link opens.",
                                "Open the link that vaultctl printed, and press the button there.");
        return answer_continue(c, t, r);
}

/* For authorization servers, which reach us through the proxy like everybody. */
static int answer_client(const RouteContext *c, SiteDoor door, const Target *t, Reply *r) {
        r->name = "client";
        if (door != SITE_DOOR_EXTERNAL || !client_digest_is_legal(t->segment))
                return reply_target_fault(r, TARGET_UNKNOWN);
        r->status = 200;
        r->content_type = "application/json";
        return client_document_write(c->site.external, t->segment, &r->page.buffer);
}

static int answer_target(const RouteContext *c, const Request *q, SiteDoor door, const Target *t, Reply *r) {
        r->allow = refused_method(q, t);
        if (r->allow)
                return reply_fault(r, 405, "This cannot be asked here", "The page takes no such request.",
                                NULL);
        if (q->fetch_dest && !streq(q->fetch_dest, "document"))
                return reply_fault(r, 403, "Open this page by itself",
                                "Another page tried to show this one inside itself.", NULL);

        switch (t->route) {
        case TARGET_CONNECT:
                return answer_connect(c, q, door, t, r);
        case TARGET_CALLBACK:
                r->name = "callback";
                if (streq(q->method, "HEAD")) {
                        r->status = 200;
                        return 0;
                }
                return answer_callback(c, q, door, t, r);
        case TARGET_CLIENT:
                return answer_client(c, door, t, r);
        default:
                break;
        }
        if (door == SITE_DOOR_EXTERNAL)
                return answer_visit(c, q, t, r);
        if (t->route != TARGET_ROOT)
                return reply_fault(r, 404, "There is no such page here",
                                "The page of one's services is shown behind https only.",
                                "Open the link exactly as vaultctl printed it.");
        r->name = "root";
        r->status = 200;
        page_root(&r->page, r->nonce);
        return r->page.error;
}

int route_answer(const RouteContext *c, const Request *q, Reply *ret) {
        _cleanup_(target_done) Target target = {};
        _cleanup_(reply_done) Reply r = {};
        SiteDoor door = SITE_DOOR_NONE;
        int k;

        k = reply_begin(&r, "none");
        if (k < 0)
                return k;
        if (q->host && !q->has_repeated_header)
                door = site_judge_host(&c->site, q->host, q->port);
        if (door == SITE_DOOR_NONE)
                k = reply_fault(&r, 421, "This is not our address",
                                "The browser asked for a name that does not belong to this page. Another "
                                "site may be trying to "
                                "use your browser to reach it.",
                                "Open the link exactly as vaultctl printed it.");
        else if (q->is_body_too_large)
                k = reply_fault(&r, 413, "This is too much", "The page takes no such request.", NULL);
        else {
                k = target_parse(q->target, &target);
                if (k > 0)
                        k = reply_target_fault(&r, k);
                else if (k == 0)
                        k = answer_target(c, q, door, &target, &r);
        }
        if (k < 0)
                return k;
        *ret = r;
        r = (Reply){};
        return 0;
}

int route_answer_busy(Reply *ret) {
        _cleanup_(reply_done) Reply r = {};
        int k;

        k = reply_begin(&r, "none");
        if (k == 0)
                k = reply_fault(&r, 503, "Too much at once",
                                "Too many pages are being asked for on this host.",
                                "Wait a minute, then reload this page.");
        if (k < 0)
                return k;
        *ret = r;
        r = (Reply){};
        return 0;
}
