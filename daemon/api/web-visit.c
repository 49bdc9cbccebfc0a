/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Web, the part for the page of services: what a browser with a link or a cookie may ask through vaultd-web.
 *
 * The web process names nobody: a link or a cookie that vaultd minted says whose visit it is, that uid is charged before anything is waited for,
 * and its name and vault are looked up anew for each request, so a vault that was closed or sealed shows nothing, whatever ended visits
 * or did not. What changes something also brings the word from the page's form: a cookie alone, which a browser sends by itself, is not
 * enough.
 *
 * Nothing here is final (page.c says why). To begin a connection makes a provider do work and keeps a browser waiting, so a uid has two of
 * those at once, besides the limits that it has for beginnings anyway.
 *
 * Who may call: web.c, whose table has these rows. */

#include "api/choice.h"
#include "api/page.h"
#include "util/clock.h"

typedef struct Visitor {
        uid_t uid;
        uint64_t until_usec; /* monotonic */
        char *user;
        Vault *vault;
} Visitor;

static void visitor_done(Visitor *v) {
        free(v->user);
        (void)vault_free(v->vault);
        *v = (Visitor){};
}

static uint64_t realtime_of(uint64_t monotonic_usec) {
        uint64_t now = now_monotonic();

        return now_realtime() + (monotonic_usec > now ? monotonic_usec - now : 0);
}

static int failure_closed(Failure *failure) {
        return failure_set(failure, FAILURE_NOT_FOUND, "Run: vaultctl web",
                        "this page is not open, or not any more");
}

/* Name and vault of a uid that pays from here on. */
static int visitor_enter(Manager *m, Call *call, Visitor *v, Failure *failure) {
        int r = call_charge_to(call, v->uid);

        if (r < 0)
                return r;
        r = manager_user(m, v->uid, &v->user, failure);
        return r == 0 ? manager_open_vault(m, v->uid, v->user, &v->vault, failure) : r;
}

static int visitor_of_link(Manager *m, Call *call, const char *ticket, Visitor *v, bool *ret_takes_code,
                Failure *failure) {
        int r = visits_look(m->visits, ticket, now_monotonic(), &v->uid, ret_takes_code, &v->until_usec);

        if (r == -ENOENT)
                return failure_set(failure, FAILURE_NOT_FOUND, "Run: vaultctl web",
                                "this link was used already, or is too old");
        return r == 0 ? visitor_enter(m, call, v, failure) : r;
}

/* Of a request that changes nothing; form NULL. */
static int visitor_of_cookie(
                Manager *m, Call *call, const char *cookie, const char *form, Visitor *v, Failure *failure) {
        int r = visits_find(m->visits, cookie, now_monotonic(), &v->uid, &v->until_usec);

        if (r == -ENOENT)
                return failure_closed(failure);
        if (r < 0)
                return r;
        if (form && !visit_form_is_own(cookie, form))
                return failure_set(failure, FAILURE_NOT_ALLOWED,
                                "Open the page of your services, and press the button there",
                                "the button was pressed on a page that is not this visit's");
        return visitor_enter(m, call, v, failure);
}

static void visit_record(const Visitor *v, AuditEvent event) {
        event.uid = v->uid;
        event.user = v->user;
        audit_record(&event);
}

int method_web_invitation(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { { "ticket", JSON_FIELD_STRING, 0, true, 64 }, {} };
        _cleanup_(visitor_done) Visitor v = {};
        const char *ticket = NULL, *bad;
        bool takes_code = false;
        Manager *m = userdata;
        Failure failure = {};
        int r;

        if (json_dispatch(parameters, fields, &ticket, &bad) < 0)
                return call_invalid_parameter(call, bad);
        r = visitor_of_link(m, call, ticket, &v, &takes_code, &failure);
        r = r == 0 ? call_reply(call, json_build("user", 's', v.user, "host", 's', m->hostname, "takesCode",
                                                      'b', takes_code, "expires", 'i',
                                                      (int64_t)realtime_of(v.until_usec), NULL))
                   : manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

typedef struct EnterParameters {
        const char *ticket, *code, *former;
} EnterParameters;

static const JsonField enter_fields[] = {
        { "ticket", JSON_FIELD_STRING, offsetof(EnterParameters, ticket), true, 64 },
        { "code", JSON_FIELD_STRING, offsetof(EnterParameters, code), false, 64 },
        { "former", JSON_FIELD_STRING, offsetof(EnterParameters, former), false, 64 },
        {},
};

static int enter_refused(int r, unsigned tries, Failure *failure) {
        if (r == -ENOENT)
                return failure_closed(failure);
        if (r != -EACCES)
                return r;
        if (tries == 0)
                r = failure_set(failure, FAILURE_CLAIM, "Run: vaultctl web",
                                "that was the third wrong code: the link is void");
        else
                r = failure_set(failure, FAILURE_CLAIM, "Go back and type the code that vaultctl web shows",
                                "that is not the code from the terminal; %u %s left", tries,
                                tries == 1 ? "try" : "tries");
        failure->tries_left = tries;
        return r;
}

static int enter(Manager *m, Call *call, const EnterParameters *p, Visitor *v, Failure *failure) {
        char *cookie = NULL;
        unsigned tries = 0;
        bool takes_code;
        int r;

        r = visitor_of_link(m, call, p->ticket, v, &takes_code, failure);
        if (r != 0)
                return r;
        /* The look-ups above may have waited: only this one uses the link up. */
        r = visits_enter(m->visits, p->ticket, p->code, p->former, now_monotonic(), &cookie, &tries);
        if (r != 0)
                return enter_refused(r, tries, failure);
        /* Not "done": who opens pages in a loop pays for the records out of the own budget. */
        visit_record(v, (AuditEvent){ .kind = AUDIT_PAGE_OPENED, .verdict = "admitted" });
        r = call_reply(call, json_build("visit", 's', cookie, "expires", 'i',
                                             (int64_t)(now_realtime() + VISIT_LIFE_USEC), NULL));
        explicit_bzero(cookie, strlen(cookie));
        free(cookie);
        return r;
}

int method_web_enter(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(visitor_done) Visitor v = {};
        EnterParameters p = {};
        Manager *m = userdata;
        Failure failure = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, enter_fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        r = enter(m, call, &p, &v, &failure);
        if (r == FAILED && v.user)
                visit_record(&v, (AuditEvent){ .kind = AUDIT_PAGE_OPENED,
                                                 .verdict = "refused",
                                                 .reason = failure.message });
        r = manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

int method_web_services(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { { "visit", JSON_FIELD_STRING, 0, true, 64 }, {} };
        _cleanup_(json_putp) json_object *cards = NULL;
        _cleanup_(visitor_done) Visitor v = {};
        _cleanup_(freep) char *form = NULL;
        const char *cookie = NULL, *bad;
        Manager *m = userdata;
        Failure failure = {};
        int r;

        if (json_dispatch(parameters, fields, &cookie, &bad) < 0)
                return call_invalid_parameter(call, bad);
        r = visitor_of_cookie(m, call, cookie, NULL, &v, &failure);
        if (r == 0)
                r = cards_to_json(m, v.vault, &cards);
        if (r == 0) {
                form = visit_form_word(cookie);
                r = form ? call_reply(call, json_build("user", 's', v.user, "host", 's', m->hostname, "form",
                                                            's', form, "expires", 'i',
                                                            (int64_t)realtime_of(v.until_usec), "cards", 'o',
                                                            TAKE_PTR(cards), NULL))
                         : -ENOMEM;
        } else
                r = manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

typedef struct FormParameters {
        const char *visit, *form, *service, *label;
} FormParameters;

static const JsonField begin_fields[] = {
        { "visit", JSON_FIELD_STRING, offsetof(FormParameters, visit), true, 64 },
        { "form", JSON_FIELD_STRING, offsetof(FormParameters, form), true, 64 },
        { "service", JSON_FIELD_STRING, offsetof(FormParameters, service), true, 64 },
        { "label", JSON_FIELD_STRING, offsetof(FormParameters, label), false, 64 },
        {},
};

static int begin(Manager *m, const FormParameters *p, const Visitor *v, char **ret_location,
                Failure *failure) {
        _cleanup_(freep) char *ticket = NULL;
        _cleanup_(flow_freep) Flow *flow = NULL;
        const ServiceProfile *profile;
        uid_t uid;
        int r;

        r = manager_service(m, p->service, &profile, failure);
        if (r == 0)
                r = connect_check_grant(profile, failure);
        if (r != 0)
                return r;
        r = visits_work_enter(m->visits, v->uid);
        if (r == -EDQUOT)
                return failure_set(failure, FAILURE_LIMIT, "Wait until those have begun, then try again",
                                "you are beginning %u connections at once", VISIT_WORKS_MAX);
        if (r < 0)
                return r;
        r = oauth_begin(m->oauth, v->vault, v->user, profile, p->label ?: LABEL_DEFAULT, NULL, FLOW_WAY_PAGE,
                        false, &flow, &ticket, failure);
        visits_work_leave(m->visits, v->uid);
        visit_record(v, (AuditEvent){ .kind = r == 0 ? AUDIT_CONNECT_BEGUN : AUDIT_CONNECT_REFUSED,
                                        .verdict = r == 0 ? "done" : "failed",
                                        .reason = failure->message,
                                        .service = profile->name });
        if (r != 0)
                return r;
        /* Whoever ended the visit meanwhile did not know of this connection. */
        if (visits_find(m->visits, p->visit, now_monotonic(), &uid, NULL) < 0) {
                (void)oauth_cancel(m->oauth, v->uid, flow->id, failure);
                return failure_closed(failure);
        }
        return oauth_page_link(m->oauth, ticket, ret_location);
}

int method_web_begin(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(visitor_done) Visitor v = {};
        _cleanup_(freep) char *location = NULL;
        FormParameters p = {};
        Manager *m = userdata;
        Failure failure = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, begin_fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (p.label && !label_is_valid(p.label))
                return call_invalid_parameter(call, "label");
        r = visitor_of_cookie(m, call, p.visit, p.form, &v, &failure);
        if (r == 0)
                r = begin(m, &p, &v, &location, &failure);
        r = r == 0 ? call_reply(call, json_build("location", 's', location, NULL))
                   : manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

static const JsonField offer_fields[] = {
        { "visit", JSON_FIELD_STRING, offsetof(FormParameters, visit), true, 64 },
        { "form", JSON_FIELD_STRING, offsetof(FormParameters, form), true, 64 },
        { "service", JSON_FIELD_STRING, offsetof(FormParameters, service), true, 64 },
        { "label", JSON_FIELD_STRING, offsetof(FormParameters, label), true, 64 },
        {},
};

static int offer(Manager *m, Call *call, const FormParameters *p, const Visitor *v, Failure *failure) {
        _cleanup_(credential_freep) Credential *c = NULL;
        const ServiceProfile *profile;
        char *code = NULL;
        int r;

        /* Also of a service that the host has no more: what is there can be given up. */
        profile = config_find_service(m->config, p->service);
        r = credential_record_read(m->store, v->vault, p->service, p->label, &c);
        if (r == -ENOENT)
                return failure_set(failure, FAILURE_FLOW, "Reload the page",
                                "there is no such connection any more");
        if (r < 0)
                return r;
        r = visits_offer(m->visits, p->visit, c->service, c->label, c->id, now_monotonic(), &code);
        if (r == -ENOENT)
                return failure_closed(failure);
        if (r < 0)
                return r;
        visit_record(v, (AuditEvent){ .kind = AUDIT_DISCONNECT_OFFERED,
                                        .verdict = "admitted",
                                        .service = c->service,
                                        .account = c->account_name,
                                        .object = c->id });
        r = call_reply(call,
                        json_build("user", 's', v->user, "host", 's', m->hostname, "title", 's',
                                        profile ? profile->title : c->service, "label", 's', c->label,
                                        "account", 's', c->account_name ?: "", "code", 's', code, "expires",
                                        'i', (int64_t)(now_realtime() + VISIT_OFFER_USEC), NULL));
        explicit_bzero(code, strlen(code));
        free(code);
        return r;
}

int method_web_offer(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(visitor_done) Visitor v = {};
        FormParameters p = {};
        Manager *m = userdata;
        Failure failure = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, offer_fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (!label_is_valid(p.label))
                return call_invalid_parameter(call, "label");
        r = visitor_of_cookie(m, call, p.visit, p.form, &v, &failure);
        if (r == 0)
                r = offer(m, call, &p, &v, &failure);
        r = manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

int method_web_leave(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = {
                { "visit", JSON_FIELD_STRING, offsetof(FormParameters, visit), true, 64 },
                { "form", JSON_FIELD_STRING, offsetof(FormParameters, form), true, 64 },
                {},
        };
        FormParameters p = {};
        Manager *m = userdata;
        const char *bad;

        if (json_dispatch(parameters, fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        /* A visit that is over already has been left too. */
        if (visit_form_is_own(p.visit, p.form))
                (void)visits_end_one(m->visits, p.visit);
        return call_reply(call, NULL);
}
