/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The page of services: from a link to a visit, from a cookie to cards, from buttons to calls.
 *
 * A link is opened by a POST alone, so a preview or a scanner that follows links uses none up. What changes something is a form of our own
 * page: by Origin and Sec-Fetch-Site (site.c), by its content type, which other pages' scripts cannot send without asking first, and by the
 * word in it, which vaultd checks. The cookie is SameSite=Strict besides, so none of these stands alone.
 *
 * The cookie is read and written here only, and this file is reached only through the door behind https: on loopback a browser would hand it to
 * any port (T34). One that vaultd does not know, or that is there twice, is taken away from the browser. Redirects lead to our own root or
 * where vaultd says that our page about the flow is; nothing of a request gets into one.
 *
 * Who may call: routes.c, from any thread. */

#include <stdio.h>
#include <strings.h>

#include "util/clock.h"
#include "web/cookie.h"
#include "web/routes-internal.h"

#define FORM_TYPE "application/x-www-form-urlencoded"

typedef struct Form {
        Parameters fields;
        char *cookie; /* NULL: none that can be used */
        bool is_cookie_unclear;
} Form;

static void form_done(Form *f) {
        parameters_done(&f->fields);
        if (f->cookie)
                explicit_bzero(f->cookie, strlen(f->cookie));
        free(f->cookie);
        *f = (Form){};
}

/* life_usec 0: takes the cookie away. */
static int set_cookie(Reply *r, const char *value, uint64_t life_usec) {
        int n = asprintf(&r->set_cookie,
                        COOKIE_NAME "=%s; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=%llu", value,
                        (unsigned long long)(life_usec / USEC_PER_SEC));

        if (n < 0) {
                r->set_cookie = NULL;
                return -ENOMEM;
        }
        return 0;
}

static int form_read_cookie(const Request *q, Form *f) {
        int r = q->cookie && !q->is_cookie_repeated ? cookie_find(q->cookie, &f->cookie)
                : q->cookie                         ? COOKIE_UNCLEAR
                                                    : COOKIE_ABSENT;

        f->is_cookie_unclear = r == COOKIE_UNCLEAR;
        return r < 0 ? r : 0;
}

/* "application/x-www-form-urlencoded", or that with parameters. */
static bool is_form_type(const char *type) {
        size_t n = sizeof(FORM_TYPE) - 1;

        return type && strncasecmp(type, FORM_TYPE, n) == 0 &&
               (type[n] == 0 || type[n] == ';' || type[n] == ' ');
}

/* 0: read; 1: answered. */
static int form_read(const RouteContext *c, const Request *q, Form *f, Reply *r) {
        int k;

        if (!site_judge_post(&c->site, SITE_DOOR_EXTERNAL, q->host, q->origin, q->fetch_site))
                k = reply_fault(r, 403, "The button was not pressed on our page",
                                "The request does not come from a page that vaultctl's link opens.",
                                "Run: vaultctl web");
        else if (!is_form_type(q->content_type))
                k = reply_fault(r, 415, "This is no form of ours", "The page takes no such request.",
                                "Run: vaultctl web");
        else {
                k = parameters_parse(q->body ?: "", q->n_body, &f->fields);
                if (k == 0)
                        return form_read_cookie(q, f);
                if (k > 0)
                        k = reply_fault(r, 400, "This is no form of ours",
                                        "What the browser sent is damaged or contradicts itself.",
                                        "Run: vaultctl web");
        }
        return k < 0 ? k : 1;
}

/* There is no visit behind the cookie, if there was one at all. */
static int reply_closed(Reply *r, unsigned status, const char *message) {
        int k = set_cookie(r, "", 0);

        if (k < 0)
                return k;
        r->status = status;
        page_closed(&r->page, r->nonce, "This page is closed", message);
        return r->page.error;
}

/* A refusal of a call that named the visit. */
static int reply_visit_refused(Reply *r, const ApiFault *fault) {
        if (streq(fault->error, "io.vaultd.NotFound"))
                return reply_closed(r, 403, "It was closed, by you or because it was not used for a while.");
        return reply_refused(r, fault, "This did not work");
}

static int answer_invitation(const RouteContext *c, const Target *t, Reply *r) {
        _cleanup_(api_invitation_done) ApiInvitation invitation = {};
        _cleanup_(api_fault_done) ApiFault fault = {};
        int k;

        k = api_invitation(c->socket, t->segment, &invitation, &fault);
        if (k < 0)
                return reply_unreachable(r, k);
        if (k == API_REFUSED)
                return reply_refused(r, &fault, "This link no longer works");
        r->status = 200;
        r->form_action = "'self'";
        page_open(&r->page, r->nonce, &invitation, now_realtime());
        return r->page.error;
}

static int answer_enter(const RouteContext *c, const Request *q, const Target *t, Reply *r) {
        _cleanup_(api_fault_done) ApiFault fault = {};
        _cleanup_(form_done) Form form = {};
        uint64_t expires_usec, now;
        char *visit = NULL;
        int k;

        k = form_read(c, q, &form, r);
        if (k != 0)
                return MIN(k, 0);
        k = api_enter(c->socket, t->segment, parameters_get(&form.fields, "code"), form.cookie, &visit,
                        &expires_usec, &fault);
        if (k < 0)
                return reply_unreachable(r, k);
        if (k == API_REFUSED)
                return reply_refused(r, &fault, "This link no longer works");
        now = now_realtime();
        k = !cookie_is_legal(visit) ? -EBADMSG
                                    : set_cookie(r, visit, expires_usec > now ? expires_usec - now : 0);
        explicit_bzero(visit, strlen(visit));
        free(visit);
        if (k < 0)
                return reply_unreachable(r, k);
        r->location = strdup("/");
        r->status = 303;
        return r->location ? 0 : -ENOMEM;
}

static int answer_services(const RouteContext *c, const Request *q, Reply *r) {
        _cleanup_(api_services_done) ApiServices services = {};
        _cleanup_(api_fault_done) ApiFault fault = {};
        _cleanup_(form_done) Form form = {};
        int k;

        k = form_read_cookie(q, &form);
        if (k < 0)
                return k;
        if (form.is_cookie_unclear)
                return reply_closed(r, 400, "What the browser said about itself is not clear.");
        if (!form.cookie) {
                r->status = 200;
                page_closed(&r->page, r->nonce, "vaultd is listening",
                                "This page shows the services of whoever has opened it from a terminal.");
                return r->page.error;
        }
        k = api_services(c->socket, form.cookie, &services, &fault);
        if (k < 0)
                return reply_unreachable(r, k);
        if (k == API_REFUSED)
                return reply_visit_refused(r, &fault);
        r->status = 200;
        r->form_action = "'self'";
        page_services(&r->page, r->nonce, &services, now_realtime());
        return r->page.error;
}

static int send_begin(const RouteContext *c, const ApiForm *form, Reply *r) {
        _cleanup_(api_fault_done) ApiFault fault = {};
        int k;

        k = api_begin(c->socket, form, &r->location, &fault);
        if (k < 0)
                return reply_unreachable(r, k);
        if (k == API_REFUSED)
                return reply_visit_refused(r, &fault);
        r->status = 303;
        return 0;
}

static int send_offer(const RouteContext *c, const ApiForm *form, Reply *r) {
        _cleanup_(api_fault_done) ApiFault fault = {};
        _cleanup_(api_offer_done) ApiOffer offer = {};
        int k;

        k = api_offer(c->socket, form, &offer, &fault);
        if (k < 0)
                return reply_unreachable(r, k);
        if (k == API_REFUSED)
                return reply_visit_refused(r, &fault);
        r->status = 200;
        page_offer(&r->page, r->nonce, &offer, now_realtime());
        return r->page.error;
}

static int send_leave(const RouteContext *c, const ApiForm *form, Reply *r) {
        _cleanup_(api_fault_done) ApiFault fault = {};
        int k;

        k = api_leave(c->socket, form, &fault);
        if (k < 0)
                return reply_unreachable(r, k);
        if (k == API_REFUSED)
                return reply_visit_refused(r, &fault);
        return reply_closed(r, 200, "You have closed it.");
}

/* The forms of the page itself: all name the visit and carry its word. */
static int answer_form(const RouteContext *c, const Request *q, TargetRoute route, Reply *r) {
        _cleanup_(form_done) Form form = {};
        int k;

        k = form_read(c, q, &form, r);
        if (k != 0)
                return MIN(k, 0);
        if (!form.cookie)
                return reply_closed(r, form.is_cookie_unclear ? 400 : 403,
                                "The browser did not say clearly which page it has open.");
        const ApiForm send = {
                .visit = form.cookie,
                .form = parameters_get(&form.fields, "form"),
                .service = parameters_get(&form.fields, "service"),
                .label = parameters_get(&form.fields, "label"),
        };
        if (!send.form || (route != TARGET_LEAVE && !send.service) || (route == TARGET_OFFER && !send.label))
                return reply_fault(r, 400, "This is no form of ours", "A part of it is missing.",
                                "Run: vaultctl web");
        switch (route) {
        case TARGET_BEGIN:
                return send_begin(c, &send, r);
        case TARGET_OFFER:
                return send_offer(c, &send, r);
        default:
                return send_leave(c, &(ApiForm){ .visit = send.visit, .form = send.form }, r);
        }
}

int answer_visit(const RouteContext *c, const Request *q, const Target *t, Reply *r) {
        switch (t->route) {
        case TARGET_OPEN:
                r->name = "open";
                return streq(q->method, "POST") ? answer_enter(c, q, t, r) : answer_invitation(c, t, r);
        case TARGET_BEGIN:
                r->name = "begin";
                break;
        case TARGET_OFFER:
                r->name = "offer";
                break;
        case TARGET_LEAVE:
                r->name = "leave";
                break;
        default:
                r->name = "services";
                return answer_services(c, q, r);
        }
        return answer_form(c, q, t->route, r);
}
