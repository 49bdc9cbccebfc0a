/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The calls of the page of services. A visit's cookie and an offer's code are read from the checked answer's bytes and never become a tree;
 * the cards, which hold no secret, do. What vaultd says of a card is shown as it stands: which words exist is not known here, so that
 * an older web process still shows what a newer vaultd has.
 *
 * Who may call: routes-visit.c, from any thread; there is no state. */

#include "json/object.h"
#include "json/reader.h"
#include "web/api-internal.h"

void api_invitation_done(ApiInvitation *i) {
        free(i->user);
        free(i->host);
        *i = (ApiInvitation){};
}

int api_invitation(const char *socket, const char *ticket, ApiInvitation *ret, ApiFault *ret_fault) {
        const ApiMember members[] = { { "ticket", ticket } };
        _cleanup_(api_invitation_done) ApiInvitation invitation = {};
        _cleanup_(buffer_done) Buffer answer = {};
        int r;

        r = api_call(socket, "Invitation", members, ELEMENTSOF(members), API_QUICK_USEC, &answer, ret_fault);
        if (r != 0)
                return r;
        if (json_read_bool((const char *)answer.bytes, answer.size, &invitation.takes_code, "parameters",
                            "takesCode", NULL) < 0)
                return -EBADMSG;
        if ((r = api_take_text(&answer, "user", &invitation.user)) < 0 ||
                        (r = api_take_text(&answer, "host", &invitation.host)) < 0 ||
                        (r = api_take_time(&answer, "expires", &invitation.expires_usec)) < 0)
                return r;
        *ret = invitation;
        invitation = (ApiInvitation){};
        return 0;
}

int api_enter(const char *socket, const char *ticket, const char *code, const char *former, char **ret_visit,
                uint64_t *ret_expires_usec, ApiFault *ret_fault) {
        const ApiMember members[] = { { "ticket", ticket }, { "code", code }, { "former", former } };
        _cleanup_(buffer_done) Buffer answer = {};
        uint64_t expires_usec;
        char *visit;
        int r;

        r = api_call(socket, "Enter", members, ELEMENTSOF(members), API_QUICK_USEC, &answer, ret_fault);
        if (r != 0)
                return r;
        r = api_take_time(&answer, "expires", &expires_usec);
        if (r < 0)
                return r;
        r = api_take_text(&answer, "visit", &visit);
        if (r < 0)
                return r;
        *ret_visit = visit;
        *ret_expires_usec = expires_usec;
        return 0;
}

static void card_done(ApiCard *c) {
        free(c->service);
        free(c->title);
        free(c->label);
        free(c->kind);
        free(c->state);
        free(c->not_set_up);
        free(c->account);
        free(c->reason);
        free(c->begun);
        free(c->begun_account);
        *c = (ApiCard){};
}

void api_services_done(ApiServices *s) {
        for (size_t i = 0; i < s->n_cards; i++)
                card_done(&s->cards[i]);
        free(s->cards);
        free(s->user);
        free(s->host);
        (void)free_erased(s->form);
        *s = (ApiServices){};
}

/* is_optional: absent leaves NULL. */
static int card_text(json_object *o, const char *name, bool is_optional, char **ret) {
        const char *text;
        int r = json_get_string(o, name, &text);

        if (r == -ENOENT && is_optional)
                return 0;
        if (r < 0)
                return -EBADMSG;
        *ret = strdup(text);
        return *ret ? 0 : -ENOMEM;
}

/* Absent leaves 0. */
static int card_time(json_object *o, const char *name, uint64_t *ret) {
        int64_t value;
        int r = json_get_int64(o, name, &value);

        if (r == -ENOENT)
                return 0;
        if (r < 0 || value < 0)
                return -EBADMSG;
        *ret = (uint64_t)value;
        return 0;
}

static int card_read(json_object *o, ApiCard *c) {
        int r;

        if (!json_object_is_type(o, json_type_object) || json_get_bool(o, "renews", &c->renews) < 0)
                return -EBADMSG;
        if ((r = card_text(o, "service", false, &c->service)) < 0 ||
                        (r = card_text(o, "title", false, &c->title)) < 0 ||
                        (r = card_text(o, "label", false, &c->label)) < 0 ||
                        (r = card_text(o, "kind", false, &c->kind)) < 0 ||
                        (r = card_text(o, "state", false, &c->state)) < 0 ||
                        (r = card_text(o, "notSetUp", true, &c->not_set_up)) < 0 ||
                        (r = card_text(o, "account", true, &c->account)) < 0 ||
                        (r = card_text(o, "reason", true, &c->reason)) < 0 ||
                        (r = card_text(o, "begun", true, &c->begun)) < 0 ||
                        (r = card_text(o, "begunAccount", true, &c->begun_account)) < 0 ||
                        (r = card_time(o, "expires", &c->expires_usec)) < 0)
                return r;
        return card_time(o, "begunExpires", &c->begun_expires_usec);
}

static int cards_read(const Buffer *answer, ApiServices *s) {
        _cleanup_(json_putp) json_object *o = NULL;
        json_object *parameters, *cards;
        size_t n;
        int r = 0;

        if (json_parse((const char *)answer->bytes, answer->size, &json_limits_wire, &o) != 0 ||
                        json_get_object(o, "parameters", &parameters) < 0 ||
                        json_get_array(parameters, "cards", &cards) < 0)
                return -EBADMSG;
        n = json_object_array_length(cards);
        s->n_more = n - MIN(n, API_CARDS_MAX);
        n -= s->n_more;
        s->cards = calloc(MAX(n, (size_t)1), sizeof(ApiCard));
        if (!s->cards)
                return -ENOMEM;
        for (; s->n_cards < n && r == 0; s->n_cards++)
                r = card_read(json_object_array_get_idx(cards, s->n_cards), &s->cards[s->n_cards]);
        return r;
}

int api_services(const char *socket, const char *visit, ApiServices *ret, ApiFault *ret_fault) {
        const ApiMember members[] = { { "visit", visit } };
        _cleanup_(api_services_done) ApiServices services = {};
        _cleanup_(buffer_done) Buffer answer = {};
        int r;

        r = api_call(socket, "Services", members, ELEMENTSOF(members), API_QUICK_USEC, &answer, ret_fault);
        if (r != 0)
                return r;
        if ((r = api_take_text(&answer, "user", &services.user)) < 0 ||
                        (r = api_take_text(&answer, "host", &services.host)) < 0 ||
                        (r = api_take_text(&answer, "form", &services.form)) < 0 ||
                        (r = api_take_time(&answer, "expires", &services.expires_usec)) < 0 ||
                        (r = cards_read(&answer, &services)) < 0)
                return r;
        *ret = services;
        services = (ApiServices){};
        return 0;
}

/* A call with a form's members. */
static int call_form(const char *socket, const char *method, const ApiForm *f, uint64_t budget_usec,
                Buffer *answer, ApiFault *ret_fault) {
        const ApiMember members[] = {
                { "visit", f->visit },
                { "form", f->form },
                { "service", f->service },
                { "label", f->label },
        };

        return api_call(socket, method, members, ELEMENTSOF(members), budget_usec, answer, ret_fault);
}

int api_begin(const char *socket, const ApiForm *form, char **ret_location, ApiFault *ret_fault) {
        _cleanup_(buffer_done) Buffer answer = {};
        int r;

        r = call_form(socket, "Begin", form, API_UPSTREAM_USEC, &answer, ret_fault);
        return r != 0 ? r : api_take_location(&answer, ret_location);
}

void api_offer_done(ApiOffer *o) {
        free(o->user);
        free(o->host);
        free(o->title);
        free(o->label);
        free(o->account);
        (void)free_erased(o->code);
        *o = (ApiOffer){};
}

int api_offer(const char *socket, const ApiForm *form, ApiOffer *ret, ApiFault *ret_fault) {
        _cleanup_(api_offer_done) ApiOffer offer = {};
        _cleanup_(buffer_done) Buffer answer = {};
        int r;

        r = call_form(socket, "Offer", form, API_QUICK_USEC, &answer, ret_fault);
        if (r != 0)
                return r;
        if ((r = api_take_text(&answer, "user", &offer.user)) < 0 ||
                        (r = api_take_text(&answer, "host", &offer.host)) < 0 ||
                        (r = api_take_text(&answer, "title", &offer.title)) < 0 ||
                        (r = api_take_text(&answer, "label", &offer.label)) < 0 ||
                        (r = api_take_text(&answer, "account", &offer.account)) < 0 ||
                        (r = api_take_text(&answer, "code", &offer.code)) < 0 ||
                        (r = api_take_time(&answer, "expires", &offer.expires_usec)) < 0)
                return r;
        *ret = offer;
        offer = (ApiOffer){};
        return 0;
}

int api_leave(const char *socket, const ApiForm *form, ApiFault *ret_fault) {
        _cleanup_(buffer_done) Buffer answer = {};

        return call_form(socket, "Leave", form, API_QUICK_USEC, &answer, ret_fault);
}
