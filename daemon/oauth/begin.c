/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The first half of a flow: discovery, registration, the record, the link, our page, the way to the provider.
 *
 * Nothing is kept of a beginning that failed; the record is durable before anybody is given a link. The link's ticket
 * and the state parameter are 128 and 256 random bits of which only digests are stored in clear. */

#include <assert.h>
#include <stdio.h>

#include "oauth/device.h"
#include "util/clock.h"
#include "util/encode.h"

static char *random_base64url(size_t n) {
        uint8_t bytes[32];

        assert(n <= sizeof(bytes));
        random_bytes(bytes, n);
        char *text = base64url_encode(bytes, n);
        erase(bytes, sizeof(bytes));
        return text;
}

/* A new secret text and its SHA-256. */
static int new_handle(size_t n, Secret **ret, char **ret_text, uint8_t ret_digest[static 32]) {
        _cleanup_(freep) char *text = random_base64url(n);
        int r = 0;

        if (!text)
                return -ENOMEM;
        sha256(text, strlen(text), ret_digest);
        if (ret)
                r = secret_new_text(text, ret);
        if (r >= 0 && ret_text)
                *ret_text = TAKE_PTR(text);
        return r;
}

int flow_redirect_uri(Oauth *o, const ServiceProfile *p, const char *issuer, char **ret) {
        _cleanup_(freep) char *digest = issuer_digest(issuer);
        int n;

        if (!digest)
                return -ENOMEM;
        if (o->config->external_url)
                n = asprintf(ret, "%s/callback/%s", o->config->external_url, digest);
        else
                n = asprintf(ret, "http://%s:%u/callback/%s", p->redirect_host ?: "127.0.0.1",
                                o->config->loopback_port, digest);
        if (n < 0) {
                *ret = NULL;
                return -ENOMEM;
        }
        return 0;
}

int oauth_page_link(Oauth *o, const char *ticket, char **ret) {
        int n;

        if (o->config->external_url)
                n = asprintf(ret, "%s/connect/%s", o->config->external_url, ticket);
        else
                n = asprintf(ret, "http://127.0.0.1:%u/connect/%s", o->config->loopback_port, ticket);
        if (n < 0) {
                *ret = NULL;
                return -ENOMEM;
        }
        return 0;
}

static int flow_new(Oauth *o, const Vault *vault, const char *user, const ServiceProfile *p,
                const char *label, FlowWay way, bool is_replacing_account, Discovery *d, Flow **ret,
                char **ret_ticket) {
        _cleanup_(flow_freep) Flow *f = calloc(1, sizeof(Flow));
        uint8_t id[16];
        int r;

        if (!f)
                return -ENOMEM;
        random_bytes(id, sizeof(id));
        _cleanup_(freep) char *hex = hex_encode(id, sizeof(id));
        if (!hex || asprintf(&f->id, "f-%s", hex) < 0) {
                f->id = NULL;
                return -ENOMEM;
        }
        f->uid = vault->uid;
        f->vault_id = strdup(vault->id);
        f->user = strdup(user);
        f->host = strdup(o->hostname);
        f->service = strdup(p->name);
        f->label = strdup(label);
        f->upstream = strdup(p->url);
        f->resource = strdup(d->resource);
        f->scope = d->scope ? strdup(d->scope) : NULL;
        f->asked_scope = d->scope ? strdup(d->scope) : NULL;
        f->pushed_endpoint = TAKE_PTR(d->pushed_endpoint);
        if (!f->vault_id || !f->user || !f->host || !f->service || !f->label || !f->upstream ||
                        !f->resource || (d->scope && (!f->scope || !f->asked_scope)))
                return -ENOMEM;
        f->way = way;
        f->state = FLOW_PENDING;
        f->is_replacing_account = is_replacing_account;
        f->created_usec = now_realtime();
        f->expires_usec = f->created_usec + o->config->flow_lifetime_usec;
        f->authority = d->authority;
        d->authority = (Authority){};
        if ((r = new_handle(32, &f->state_text, NULL, f->state_digest)) < 0 ||
                        (r = new_handle(16, NULL, way == FLOW_WAY_PAGE ? ret_ticket : NULL,
                                         f->ticket_digest)) < 0)
                return r;
        _cleanup_(freep) char *verifier = random_base64url(32); /* 43 characters, RFC 7636 section 4.1 */
        if (!verifier)
                return -ENOMEM;
        r = secret_new_text(verifier, &f->code_verifier);
        explicit_bzero(verifier, strlen(verifier));
        if (r < 0)
                return r;
        *ret = TAKE_PTR(f);
        return 0;
}

/* Its user was sent to the provider, and the provider did not send an answer. */
static bool flow_is_unanswered(const Flow *f) {
        return f->state == (f->way == FLOW_WAY_PAGE ? FLOW_CONTINUED : FLOW_PENDING);
}

/* One link to a service is out at a time, whatever the label: a second one could be sent to somebody and forgotten (T14). What has come back already, for
 * another label, waits for its claim. */
static bool flow_makes_way(const Flow *f, const char *service, const char *label) {
        if (f->state == FLOW_REVOKING || !streq(f->service, service))
                return false;
        return streq(f->label, label) || f->state == FLOW_PENDING || f->state == FLOW_CONTINUED;
}

/* Room for one more: the caller's unfinished flow for the same service makes way, and there is an upper number. *unanswered (optional) becomes the client id
 * of a flow that made way and was not answered. */
static int flow_make_room(Oauth *o, uid_t uid, const char *service, const char *label, char **unanswered,
                Failure *failure) {
        Flow **list = NULL;
        size_t n = 0, n_left = 0;
        Failure replaced = {};
        int r;

        r = flow_record_list(o->store, o->keyring, uid, &list, &n);
        if (r < 0)
                return r;
        (void)failure_set(&replaced, FAILURE_FLOW, NULL,
                        "a newer vaultctl connect took the place of this one");
        for (size_t i = 0; i < n; i++)
                if (flow_makes_way(list[i], service, label)) {
                        if (unanswered && !*unanswered && flow_is_unanswered(list[i]))
                                *unanswered = TAKE_PTR(list[i]->authority.client_id);
                        (void)flow_end(o, TAKE_PTR(list[i]), &replaced);
                } else
                        n_left++;
        failure_done(&replaced);
        for (size_t i = 0; i < n; i++)
                (void)flow_free(list[i]);
        free(list);
        n_left += work_count(o, WORK_BEGINNING, uid) - 1; /* of which this is one */
        if (n_left >= o->config->flows_per_uid)
                return failure_set(failure, FAILURE_LIMIT, "Run: vaultctl status",
                                "you have %zu unfinished connections; finish some or wait until they expire",
                                n_left);
        return 0;
}

/* A connection in whose place this one is to come has a say in the scopes. */
static int begin_scope(Oauth *o, const Vault *vault, const ServiceProfile *p, const char *label,
                const char *wanted, Discovery *d) {
        _cleanup_(credential_freep) Credential *former = NULL;
        _cleanup_(freep) char *base = TAKE_PTR(d->scope);
        int r;

        r = credential_record_read(o->store, vault, p->name, label, &former);
        if (r < 0 && r != -ENOENT)
                return r;
        return scope_to_ask(p, former, d->authority.issuer, base, wanted, &d->scope);
}

static int begin_work(Oauth *o, const Vault *vault, const char *user, const ServiceProfile *p,
                const char *label, const char *scope, FlowWay way, bool is_replacing_account,
                Flow **ret_flow, char **ret_ticket, Failure *failure) {
        _cleanup_(secret_freep) Secret *client_secret = NULL;
        _cleanup_(freep) char *redirect = NULL, *ticket = NULL, *unanswered = NULL;
        _cleanup_(device_poll_freep) DevicePoll *poll = NULL;
        _cleanup_(flow_freep) Flow *flow = NULL;
        Discovery d = {};
        int r;

        r = flow_make_room(o, vault->uid, p->name, label, &unanswered, failure);
        if (r == 0)
                r = discovery_run(o, p, &d, failure);
        if (r == 0)
                r = begin_scope(o, vault, p, label, scope, &d);
        if (r == 0 && way == FLOW_WAY_DEVICE)
                r = (redirect = strdup(DEVICE_GRANT)) ? 0 : -ENOMEM;
        else if (r == 0)
                r = flow_redirect_uri(o, p, d.authority.issuer, &redirect);
        if (r == 0)
                r = client_ensure(o, p, &d, redirect, unanswered, &client_secret, failure);
        /* Once more: others of this caller may have begun during the exchanges above. */
        if (r == 0)
                r = flow_make_room(o, vault->uid, p->name, label, NULL, failure);
        if (r == 0)
                r = flow_new(o, vault, user, p, label, way, is_replacing_account, &d, &flow, &ticket);
        if (r == 0) {
                flow->redirect_uri = TAKE_PTR(redirect);
                flow->client_secret = TAKE_PTR(client_secret);
        }
        if (r == 0 && way == FLOW_WAY_DEVICE)
                r = device_authorize(o, p, d.device_authorization_endpoint, flow, &poll, failure);
        discovery_done(&d);
        if (r == 0)
                r = flow_advance(o, vault, &flow, failure);
        if (r == 0 && poll)
                r = device_start(TAKE_PTR(poll), flow);
        if (r != 0)
                return r;
        *ret_flow = TAKE_PTR(flow);
        *ret_ticket = TAKE_PTR(ticket);
        return 0;
}

/* What could not be finished is not begun. */
static int begin_check_way(Oauth *o, uid_t uid, const ServiceProfile *p, const char *label, FlowWay way,
                Failure *failure) {
        _cleanup_(pinned_account_freep) PinnedAccount *pin = NULL;
        int r;

        r = way_is_allowed(p, way, failure);
        if (r != 0 || way != FLOW_WAY_PASTE || p->paste_back != PASTE_BACK_MATCH || p->account_match)
                return r;
        r = pinned_account_record_read(o->store, uid, p->name, label, &pin);
        return r == -ENOENT ? failure_way_needs_pin(p, failure) : r;
}

int oauth_way_from_afar(Oauth *o, uid_t uid, const ServiceProfile *p, const char *label, FlowWay *ret) {
        Failure ignored = {};
        int r;

        *ret = FLOW_WAY_PAGE;
        if (o->config->external_url)
                return 0;
        r = begin_check_way(o, uid, p, label, FLOW_WAY_PASTE, &ignored);
        failure_done(&ignored);
        if (r == 0)
                *ret = FLOW_WAY_PASTE;
        return MIN(r, 0);
}

int oauth_begin(Oauth *o, const Vault *vault, const char *user, const ServiceProfile *p, const char *label,
                const char *scope, FlowWay way, bool is_replacing_account, Flow **ret_flow,
                char **ret_ticket, Failure *failure) {
        Work work;
        int r;

        /* Before anything makes way for it. */
        r = oauth_check_set_up(o, p, failure);
        if (r == 0)
                r = begin_check_way(o, vault->uid, p, label, way, failure);
        if (r != 0)
                return r;
        r = work_enter(o, &work, WORK_BEGINNING, vault->uid, failure);
        if (r != 0)
                return r;
        r = pace_beginning(o, vault->uid, failure);
        if (r == 0)
                r = begin_work(o, vault, user, p, label, scope, way, is_replacing_account, ret_flow,
                                ret_ticket, failure);
        work_leave(o, &work);
        return r;
}

int oauth_page(Oauth *o, const char *ticket, Flow **ret, Failure *failure) {
        _cleanup_(flow_freep) Flow *flow = NULL;
        uint8_t digest[32];
        int r;

        sha256(ticket, strlen(ticket), digest);
        r = flow_record_find_ticket(o->store, o->keyring, digest, &flow);
        if (r < 0 && r != -ENOENT)
                return r;
        if (!flow || flow->way != FLOW_WAY_PAGE || flow_is_expired(flow))
                return failure_set(failure, FAILURE_NOT_FOUND, "Run: vaultctl connect",
                                "this link is not valid, or no longer");
        if (flow->state != FLOW_PENDING)
                return failure_set(failure, FAILURE_FLOW, "Run: vaultctl connect",
                                "this link was used already");
        *ret = TAKE_PTR(flow);
        return 0;
}

int oauth_continue(Oauth *o, const char *ticket, char **ret_location, Failure *failure) {
        _cleanup_(freep) char *location = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;
        _cleanup_(flow_freep) Flow *flow = NULL;
        int r;

        r = oauth_page(o, ticket, &flow, failure);
        if (r != 0)
                return r;
        /* First, since it may have to ask the server; who presses twice uses the link once all the same. */
        r = oauth_authorization_url(o, flow, &location, failure);
        if (r == 0)
                r = vault_record_read(o->store, o->keyring, flow->uid, &vault);
        if (r != 0)
                return r;
        flow->state = FLOW_CONTINUED;
        r = flow_advance(o, vault, &flow, failure);
        if (r == 0)
                *ret_location = TAKE_PTR(location);
        return r;
}
