/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Page: what a user says in the terminal about the page of his services in a browser.
 *
 * Open is an authority method (I10): whoever can open the page can begin connections in the caller's name. The browser's own clicks are not
 * proof of a present human that is bound to what is done: a visit is up to an hour old, and an agent may sit behind it. So nothing that a
 * click asks for is final. What connects ends with the claim over the socket, and what disconnects is an offer that Confirm makes true: both are
 * authority methods, and the second names exactly one credential by the code that the page showed. To let a visit disconnect at once,
 * because it was opened by an authority method, was rejected: one proof would cover any number of calls for an hour.
 *
 * A visit ends when its user says so, with the login that it was opened from, when the vault is closed and when everything of the user's is
 * revoked. Only behind https: on loopback a cookie would go to whatever listens on another port of the same address (T34).
 *
 * Who may call: the caller whose page it is. */

#include <stdio.h>

#include "api/choice.h"
#include "api/page.h"
#include "api/revocation.h"
#include "util/clock.h"

static const char description[] =
#include "daemon/api/io.vaultd.Page.inc"
                ;

static void on_revoked(uid_t uid, const char *service, void *userdata) {
        Manager *m = userdata;

        /* A visit holds no credential: one service's end is only a card that changes. */
        if (service)
                visits_end_offers(m->visits, uid, service);
        else
                (void)visits_end(m->visits, uid);
}

int page_new(Manager *m) {
        int r = visits_new(&m->visits);

        return r < 0 ? r : manager_on_revoked(m, on_revoked, m);
}

static int open_reply(Manager *m, Call *call, const char *user, const char *ticket, const char *code) {
        _cleanup_(freep) char *link = NULL;
        int r;

        if (asprintf(&link, "%s/open/%s", m->config->external_url, ticket) < 0) {
                link = NULL;
                return -ENOMEM;
        }
        r = call_reply(call, json_build("link", 's', link, "code", 's', code, "user", 's', user, "host", 's',
                                             m->hostname, "expires", 'i',
                                             (int64_t)(now_realtime() + VISIT_LINK_USEC), NULL));
        explicit_bzero(link, strlen(link));
        return r;
}

static int page_open(Manager *m, Call *call, bool with_code, Failure *failure) {
        _cleanup_(freep) char *user = NULL, *ticket = NULL, *code = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;
        Origin origin;
        int r;

        if (!m->config->external_url)
                return failure_set(failure, FAILURE_NOT_CONFIGURED,
                                "Ask your administrator to publish the pages: ExternalUrl= in vaultd.conf, "
                                "see man vaultd-web",
                                "the page of your services is shown behind https only, and this host has "
                                "no ExternalUrl=");
        r = manager_caller(m, call, &user, &vault, failure);
        if (r != 0)
                return r;
        manager_origin(m, call, &origin);
        r = visits_invite(m->visits, vault->uid, origin.login ? origin.login->audit_session : UINT32_MAX,
                        now_monotonic(), &ticket, with_code ? &code : NULL);
        if (r == -EDQUOT)
                return failure_set(failure, FAILURE_LIMIT, "Run: vaultctl web --end",
                                "your page is open in %u browsers already", VISITS_PER_UID);
        if (r == 0)
                r = open_reply(m, call, user, ticket, code);
        if (ticket)
                explicit_bzero(ticket, strlen(ticket));
        if (code)
                explicit_bzero(code, strlen(code));
        return r;
}

static int method_open(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { { "withCode", JSON_FIELD_BOOL, 0, false }, {} };
        bool with_code = false;
        Manager *m = userdata;
        Failure failure = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, fields, &with_code, &bad) < 0)
                return call_invalid_parameter(call, bad);
        r = page_open(m, call, with_code, &failure);
        r = manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

static int method_end(Call *call, json_object *parameters, void *userdata) {
        Manager *m = userdata;
        unsigned n = visits_end(m->visits, call_principal(call)->uid);

        return call_reply(call, json_build("pages", 'i', (int64_t)n, NULL));
}

/* The credential of the offer, if it is the same one still. */
static int confirm_find(
                Manager *m, const Vault *vault, const Offer *offer, Credential **ret, Failure *failure) {
        _cleanup_(credential_freep) Credential *c = NULL;
        int r;

        r = credential_record_read(m->store, vault, offer->service, offer->label, &c);
        if (r < 0 && r != -ENOENT)
                return r;
        if (r == -ENOENT || !streq(c->id, offer->credential_id))
                return failure_set(failure, FAILURE_FLOW, "Run: vaultctl status",
                                "this connection was changed meanwhile");
        *ret = TAKE_PTR(c);
        return 0;
}

static int confirm_refused(unsigned tries, Failure *failure) {
        int r;

        if (tries == 0)
                r = failure_set(failure, FAILURE_CLAIM, "Press the button on the page once more",
                                "that was the third wrong code: nothing was disconnected");
        else
                r = failure_set(failure, FAILURE_CLAIM, NULL,
                                "that is not the code that the page showed; %u %s left", tries,
                                tries == 1 ? "try" : "tries");
        failure->tries_left = tries;
        return r;
}

static int confirm(Manager *m, Call *call, const char *code, Failure *failure) {
        _cleanup_(credential_freep) Credential *c = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;
        _cleanup_(offer_done) Offer offer = {};
        _cleanup_(freep) char *user = NULL;
        unsigned tries = 0;
        int r;

        r = manager_caller(m, call, &user, &vault, failure);
        if (r != 0)
                return r;
        r = visits_confirm(m->visits, vault->uid, code, now_monotonic(), &offer, &tries);
        if (r == -ENOENT)
                return failure_set(failure, FAILURE_NOT_FOUND, "Run: vaultctl web",
                                "no page of yours waits for a code");
        if (r == -EACCES)
                return confirm_refused(tries, failure);
        if (r == 0)
                r = confirm_find(m, vault, &offer, &c, failure);
        return r == 0 ? connect_disconnect(m, call, user, &vault, &c, failure) : r;
}

static int method_confirm(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { { "code", JSON_FIELD_STRING, 0, true, 64 }, {} };
        const char *code = NULL, *bad;
        Manager *m = userdata;
        Failure failure = {};
        int r;

        if (json_dispatch(parameters, fields, &code, &bad) < 0)
                return call_invalid_parameter(call, bad);
        r = confirm(m, call, code, &failure);
        if (r == FAILED)
                manager_audit(m, call,
                                (AuditEvent){ .kind = AUDIT_CLAIM_REJECTED,
                                                .verdict = "refused",
                                                .reason = failure.message });
        r = manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

static const Method methods[] = {
        { "Open", METHOD_AUTHORITY, method_open, .is_fiber = true },
        /* Only ends: an agent may. */
        { "End", METHOD_USE, method_end, .opens_no_vault = true, .is_recorded = true },
        { "Confirm", METHOD_AUTHORITY, method_confirm, .is_fiber = true },
        {},
};

const Interface interface_page = { "io.vaultd.Page", description, DOOR_PUBLIC, methods };
