/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The cards of the page of services: for each service of the host, in its order, what the user has connected under which label, what he has
 * begun, and an empty place where there is neither. What the host's configuration has no more comes last, so that it can be given up.
 *
 * A card is one label of one service: a connection and a flow that is to take its place share one. No token, claim code, id of a credential
 * or of a flow goes out here.
 *
 * Who may call: web-visit.c, on a fiber. */

#include "api/choice.h"
#include "api/page.h"

typedef struct Holdings {
        Credential **credentials;
        size_t n_credentials;
        Flow **flows;
        size_t n_flows;
} Holdings;

static void holdings_done(Holdings *h) {
        credential_list_free(h->credentials, h->n_credentials);
        flow_list_free(h->flows, h->n_flows);
        *h = (Holdings){};
}

static const Flow *flow_of(const Holdings *h, const char *service, const char *label) {
        for (size_t i = 0; i < h->n_flows; i++)
                if (h->flows[i]->state != FLOW_REVOKING && streq(h->flows[i]->service, service) &&
                                streq(h->flows[i]->label, label))
                        return h->flows[i];
        return NULL;
}

static bool has_credential(const Holdings *h, const char *service, const char *label) {
        for (size_t i = 0; i < h->n_credentials; i++)
                if (streq(h->credentials[i]->service, service) && streq(h->credentials[i]->label, label))
                        return true;
        return false;
}

static const char *card_kind(const ServiceProfile *p) {
        if (!p)
                return "gone";
        return p->auth == SERVICE_AUTH_BEARER || p->auth == SERVICE_AUTH_ENVIRONMENT ? "token" : "grant";
}

/* Whoever owns the refresh token sees to a new access token in time. */
static bool is_renewed(const Credential *c) {
        return c->kind == CREDENTIAL_OAUTH && (c->refresh_token || c->custody == CUSTODY_PLATFORM);
}

/* What one service's cards have in common. */
typedef struct Place {
        const ServiceProfile *profile; /* NULL: the host has it no more */
        const char *service;
        const char *not_set_up; /* why it cannot be connected; NULL: it can */
} Place;

/* c, f: NULL where there is none. */
static int card_add(json_object *cards, const Place *place, const char *label, const Credential *c,
                const Flow *f) {
        const ServiceProfile *p = place->profile;
        const char *reason = NULL, *state = c ? oauth_credential_state(c, &reason) : "none";
        json_object *card;

        card = json_build("service", 's', place->service, "title", 's', p ? p->title : place->service,
                        "label", 's', label, "kind", 's', card_kind(p), "state", 's', state, "account", 's',
                        c ? c->account_name : NULL, "reason", 's', reason, "renews", 'b', c && is_renewed(c),
                        "notSetUp", 's', place->not_set_up, "begun", 's',
                        f ? flow_state_to_string(f->state) : NULL, "begunAccount", 's',
                        f && f->state == FLOW_QUARANTINED ? f->account_name : NULL, NULL);
        if (!card ||
                        (c && c->expires_usec > 0 &&
                                        json_add_int64(card, "expires", (int64_t)c->expires_usec) < 0) ||
                        (f && json_add_int64(card, "begunExpires", (int64_t)f->expires_usec) < 0)) {
                json_object_put(card);
                return -ENOMEM;
        }
        return json_object_array_add(cards, card) < 0 ? -ENOMEM : 0;
}

static int place_add(json_object *cards, const Place *place, const Holdings *h) {
        const char *service = place->service;
        bool is_empty = true;
        int r = 0;

        for (size_t i = 0; i < h->n_credentials && r == 0; i++) {
                const Credential *c = h->credentials[i];

                if (!streq(c->service, service))
                        continue;
                is_empty = false;
                r = card_add(cards, place, c->label, c, flow_of(h, service, c->label));
        }
        for (size_t i = 0; i < h->n_flows && r == 0; i++) {
                const Flow *f = h->flows[i];

                /* One for each label, though a crash may have left two. */
                if (!streq(f->service, service) || flow_of(h, service, f->label) != f ||
                                has_credential(h, service, f->label))
                        continue;
                is_empty = false;
                r = card_add(cards, place, f->label, NULL, f);
        }
        return r == 0 && is_empty ? card_add(cards, place, LABEL_DEFAULT, NULL, NULL) : r;
}

/* All cards of one service. */
static int service_add(Manager *m, json_object *cards, const ServiceProfile *p, const Holdings *h) {
        Place place = { .profile = p, .service = p->name };
        Failure lacks = {};
        int r = 0;

        if (streq(card_kind(p), "grant"))
                r = oauth_check_set_up(m->oauth, p, &lacks);
        if (r >= 0) {
                place.not_set_up = r == FAILED ? lacks.message : NULL;
                r = place_add(cards, &place, h);
        }
        failure_done(&lacks);
        return r;
}

int cards_to_json(Manager *m, const Vault *vault, json_object **ret) {
        _cleanup_(json_putp) json_object *cards = json_object_new_array();
        _cleanup_(holdings_done) Holdings h = {};
        int r;

        if (!cards)
                return -ENOMEM;
        r = credential_record_list(m->store, vault, NULL, &h.credentials, &h.n_credentials);
        if (r >= 0)
                r = flow_record_list(m->store, m->keyring, vault->uid, &h.flows, &h.n_flows);
        if (r < 0)
                return r;
        r = 0;
        for (size_t i = 0; i < m->config->n_services && r == 0; i++)
                r = service_add(m, cards, &m->config->services[i], &h);
        for (size_t i = 0; i < h.n_credentials && r == 0; i++) {
                const Credential *c = h.credentials[i];

                if (!config_find_service(m->config, c->service))
                        r = card_add(cards, &(Place){ .service = c->service }, c->label, c, NULL);
        }
        if (r == 0)
                *ret = TAKE_PTR(cards);
        return r;
}
