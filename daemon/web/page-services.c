/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The page of one's services, and the pages on its way in and out.
 *
 * It is shown behind https only, to a browser that has a visit. Everything works with plain forms: each button is a POST that carries the
 * visit's form word. What a card can be told to do follows from its kind: services that hand out tokens by hand are connected in the terminal,
 * and the card says how. What a button cannot finish (a claim, a disconnect) ends on a page that names the command which does.
 *
 * The entry page says whose services it opens, since the link may have come from somebody who wants the visitor to connect his accounts to
 * another's vault (T14).
 *
 * A state is a word in a frame, never a colour alone; each button's name says which service it means, also to who hears the page. Ids for
 * tests and tools: user, host, open, code-field, cards, leave, offer-code, confirm-command, message, advice. Each card has
 * data-service and data-label.
 *
 * Who may call: routes-visit.c. */

#include <stdio.h>

#include "web/page-frame.h"
#include "web/pages.h"

void page_open(HtmlWriter *w, const char *nonce, const ApiInvitation *i, uint64_t now_usec) {
        char left[64], footer[128];

        page_time_left(i->expires_usec, now_usec, left, sizeof(left));
        page_begin(w, nonce, "Your services", false);
        html_put(w, "<h1>Open the services of <bdi>%s</bdi>?</h1>\n", i->user);
        html_put(w,
                        "<dl>\n"
                        "<div><dt>Unix user</dt><dd><bdi id=\"user\">%s</bdi></dd></div>\n"
                        "<div><dt>Host</dt><dd><bdi id=\"host\">%s</bdi></dd></div>\n"
                        "</dl>\n",
                        i->user, i->host);
        html_put(w,
                        "<p class=\"warn\">Go on only if <strong>you are <bdi>%s</bdi></strong> and have "
                        "just run "
                        "<code>vaultctl web</code> on <bdi>%s</bdi> yourself. If somebody sent you this "
                        "link, close "
                        "this page: what you connect here would be theirs.</p>\n",
                        i->user, i->host);
        html_put(w, "<form id=\"open\" method=\"post\">\n");
        if (i->takes_code)
                html_put(w, "<label for=\"code-field\">Code shown by <code>vaultctl web</code></label>\n"
                            "<input id=\"code-field\" name=\"code\" required maxlength=\"16\" "
                            "autocomplete=\"off\" autocapitalize=\"characters\" spellcheck=\"false\">\n");
        html_put(w, "<button type=\"submit\">Open</button></form>\n");
        (void)snprintf(footer, sizeof(footer), "This link works once, %s.", left);
        page_end(w, footer);
}

/* "in 3 days", "in 42 minutes". */
static void time_until(uint64_t until_usec, uint64_t now_usec, char *ret, size_t size) {
        static const struct {
                uint64_t seconds;
                const char *one, *many;
        } units[] = {
                { 86400, "day", "days" },
                { 3600, "hour", "hours" },
                { 60, "minute", "minutes" },
        };
        uint64_t left = until_usec > now_usec ? (until_usec - now_usec) / USEC_PER_SEC : 0;

        (void)snprintf(ret, size, left > 0 ? "in less than a minute" : "over");
        for (size_t i = 0; i < ELEMENTSOF(units); i++) {
                uint64_t n = left / units[i].seconds;

                /* From two on in the larger unit: "in 36 hours" says more than "in 1 day". */
                if (n >= 2 || (n == 1 && units[i].seconds == 60)) {
                        (void)snprintf(ret, size, "in %llu %s", (unsigned long long)n,
                                        n == 1 ? units[i].one : units[i].many);
                        return;
                }
        }
}

static void put_row(HtmlWriter *w, const char *name, const char *value) {
        html_put(w, "<div><dt>%s</dt><dd><bdi>%s</bdi></dd></div>\n", name, value);
}

static void put_expiry(HtmlWriter *w, const ApiCard *c, uint64_t now_usec) {
        char left[64];

        if (!streq(c->state, "active") && !streq(c->state, "refreshing"))
                return;
        if (c->renews) {
                html_put(w, "<div><dt>Access</dt><dd class=\"plain\">renews itself</dd></div>\n");
                return;
        }
        if (c->expires_usec == 0)
                return;
        if (c->expires_usec <= now_usec) {
                html_put(w, "<div><dt>Access</dt><dd>has expired</dd></div>\n");
                return;
        }
        time_until(c->expires_usec, now_usec, left, sizeof(left));
        html_put(w, "<div><dt>Access</dt><dd class=\"plain\">ends %s</dd></div>\n", left);
}

static void put_state(HtmlWriter *w, const ApiCard *c) {
        if (c->begun && streq(c->state, "none"))
                html_put(w, "<p class=\"state warning\">%s</p>\n",
                                c->begun_account ? "waits for your code" : "waits for your consent");
        else if (streq(c->state, "active") || streq(c->state, "refreshing"))
                html_put(w, "<p class=\"state good\">connected</p>\n");
        else if (streq(c->state, "none"))
                html_put(w, "<p class=\"state\">%s</p>\n", c->not_set_up ? "not set up" : "not connected");
        else if (streq(c->state, "needs-reconnect"))
                html_put(w, "<p class=\"state warning\">needs reconnect</p>\n");
        else
                html_put(w, "<p class=\"state warning\">%s</p>\n", c->state);
}

/* What was begun, and what is to be done about it. */
static void put_begun(HtmlWriter *w, const ApiCard *c, uint64_t now_usec) {
        char left[64];

        if (!c->begun)
                return;
        page_time_left(c->begun_expires_usec, now_usec, left, sizeof(left));
        if (c->begun_account)
                html_put(w,
                                "<p>You agreed as <strong><bdi>%s</bdi></strong>. To finish, run "
                                "<code>vaultctl "
                                "claim</code> in a terminal and type the code that the page then showed, "
                                "%s.</p>\n",
                                c->begun_account, left);
        else
                html_put(w, "<p>Begun, and not agreed to yet. It waits %s; you can also begin again.</p>\n",
                                left);
}

/* A form with one button; label NULL: there is a field for it. */
static void put_form(HtmlWriter *w, const ApiServices *s, const ApiCard *c, const char *action,
                const char *class, const char *verb) {
        html_put(w,
                        "<form method=\"post\" action=\"/%s\"><input type=\"hidden\" name=\"form\" "
                        "value=\"%s\">"
                        "<input type=\"hidden\" name=\"service\" value=\"%s\">"
                        "<input type=\"hidden\" name=\"label\" value=\"%s\">",
                        action, s->form, c->service, c->label);
        html_put(w,
                        "<button type=\"submit\" class=\"%s\">%s<span class=\"unseen\"> %s "
                        "%s</span></button></form>\n",
                        class, verb, c->title, streq(c->label, "default") ? "" : c->label);
}

/* A second account: below the first one of a service. */
static void put_another(HtmlWriter *w, const ApiServices *s, const ApiCard *c, size_t index) {
        char id[32];

        (void)snprintf(id, sizeof(id), "label-%zu", index);
        html_put(w,
                        "<details><summary>Another account<span class=\"unseen\"> of %s</span></summary>\n"
                        "<form method=\"post\" action=\"/begin\"><input type=\"hidden\" name=\"form\" "
                        "value=\"%s\">"
                        "<input type=\"hidden\" name=\"service\" value=\"%s\">\n",
                        c->title, s->form, c->service);
        html_put(w,
                        "<label for=\"%s\">A name for it, such as work</label>\n"
                        "<input id=\"%s\" name=\"label\" required maxlength=\"32\" pattern=\"[a-z0-9\\-]+\" "
                        "title=\"a to z, 0 to 9 and dash\" autocapitalize=\"none\" autocomplete=\"off\">\n"
                        "<button type=\"submit\" class=\"quiet\">Connect<span class=\"unseen\"> another "
                        "account of "
                        "%s</span></button></form></details>\n",
                        id, id, c->title);
}

static void put_command(HtmlWriter *w, const ApiCard *c) {
        bool is_default = streq(c->label, "default");

        html_put(w,
                        "<p>%s, run in a terminal: <code>vaultctl connect %s <span class=\"keep\">"
                        "--token-stdin</span>%s%s</code></p>\n",
                        streq(c->state, "none") ? "To connect it with a token" : "To give it a new token",
                        c->service, is_default ? "" : " --as ", is_default ? "" : c->label);
}

static void put_actions(HtmlWriter *w, const ApiServices *s, const ApiCard *c) {
        bool is_there = !streq(c->state, "none"), can_connect = streq(c->kind, "grant") && !c->not_set_up;

        html_put(w, "<div class=\"actions\">\n");
        if (can_connect && !is_there)
                put_form(w, s, c, "begin", c->begun ? "quiet" : "main",
                                c->begun ? "Begin again" : "Connect");
        else if (can_connect)
                put_form(w, s, c, "begin", streq(c->state, "needs-reconnect") ? "main" : "quiet",
                                "Reconnect");
        if (is_there)
                put_form(w, s, c, "offer", "end", "Disconnect");
        html_put(w, "</div>\n");
}

static void put_card(HtmlWriter *w, const ApiServices *s, size_t index, uint64_t now_usec) {
        const ApiCard *c = &s->cards[index];
        bool is_named = !streq(c->label, "default"),
             is_last_of_service = index + 1 == s->n_cards || !streq(s->cards[index + 1].service, c->service);
        char id[32];

        (void)snprintf(id, sizeof(id), "card-%zu", index);
        html_put(w, "<li class=\"card\" data-service=\"%s\" data-label=\"%s\" aria-labelledby=\"%s\">\n",
                        c->service, c->label, id);
        html_put(w, "<div class=\"head\"><h2 id=\"%s\"><bdi>%s</bdi>%s<span>%s</span></h2>\n", id, c->title,
                        is_named ? " " : "", is_named ? c->label : "");
        put_state(w, c);
        html_put(w, "</div>\n");
        if (c->account || !streq(c->state, "none")) {
                html_put(w, "<dl>\n");
                if (c->account)
                        put_row(w, "Account", c->account);
                put_expiry(w, c, now_usec);
                html_put(w, "</dl>\n");
        }
        if (c->reason)
                html_put(w, "<p>%s</p>\n", c->reason);
        put_begun(w, c, now_usec);
        if (streq(c->kind, "token"))
                put_command(w, c);
        if (c->not_set_up)
                html_put(w, "<p>%s</p>\n", c->not_set_up);
        if (streq(c->kind, "gone"))
                html_put(w, "<p>This host has the service no more.</p>\n");
        put_actions(w, s, c);
        if (is_last_of_service && streq(c->kind, "grant") && !c->not_set_up && !streq(c->state, "none"))
                put_another(w, s, c, index);
        html_put(w, "</li>\n");
}

void page_services(HtmlWriter *w, const char *nonce, const ApiServices *s, uint64_t now_usec) {
        char until[64], more[32];

        page_begin(w, nonce, "Your services", true);
        html_put(w, "<h1>Services of <bdi id=\"user\">%s</bdi> on <bdi id=\"host\">%s</bdi></h1>\n", s->user,
                        s->host);
        if (s->n_cards == 0)
                html_put(w, "<p id=\"message\">No services are set up on this host.</p>\n");
        html_put(w, "<ul class=\"cards\" id=\"cards\" role=\"list\">\n");
        for (size_t i = 0; i < s->n_cards; i++)
                put_card(w, s, i, now_usec);
        html_put(w, "</ul>\n");
        if (s->n_more > 0) {
                (void)snprintf(more, sizeof(more), "%zu", s->n_more);
                html_put(w, "<p>%s more are not shown. <code>vaultctl status</code> has all of them.</p>\n",
                                more);
        }
        time_until(s->expires_usec, now_usec, until, sizeof(until));
        html_put(w,
                        "</main>\n<footer>\n<form id=\"leave\" class=\"leave\" method=\"post\" "
                        "action=\"/leave\">"
                        "<p><a href=\"/\">Reload</a> to see what has changed. This page closes ten minutes "
                        "after you "
                        "last used it, when you log out on <bdi>%s</bdi>, and %s at the latest.</p>"
                        "<input type=\"hidden\" name=\"form\" value=\"%s\">"
                        "<button type=\"submit\" class=\"quiet\">Close this "
                        "page</button></form>\n</footer>\n",
                        s->host, until, s->form);
        html_put(w, "</body>\n</html>\n");
}

void page_offer(HtmlWriter *w, const char *nonce, const ApiOffer *o, uint64_t now_usec) {
        char left[64], footer[128];

        page_time_left(o->expires_usec, now_usec, left, sizeof(left));
        page_begin(w, nonce, "Disconnect", false);
        html_put(w, "<h1>Disconnect <bdi>%s</bdi>?</h1>\n<dl>\n", o->title);
        if (!isempty(o->account))
                put_row(w, "Account", o->account);
        if (!streq(o->label, "default"))
                put_row(w, "Name", o->label);
        html_put(w, "<div><dt>Of</dt><dd><bdi>%s@%s</bdi></dd></div>\n</dl>\n", o->user, o->host);
        html_put(w,
                        "<p>Nothing has happened yet. To revoke this connection and erase it, run this in a "
                        "terminal on "
                        "<bdi>%s</bdi>:</p>\n"
                        "<p><code id=\"confirm-command\">vaultctl web --confirm %s</code></p>\n"
                        "<p class=\"label\">The code</p>\n<p class=\"code\" id=\"offer-code\">%s</p>\n",
                        o->host, o->code, o->code);
        html_put(w, "<p><a href=\"/\">Back to your services</a></p>\n");
        (void)snprintf(footer, sizeof(footer), "The code works once, %s.", left);
        page_end(w, footer);
}

void page_closed(HtmlWriter *w, const char *nonce, const char *headline, const char *message) {
        page_begin(w, nonce, headline, false);
        html_put(w, "<h1>%s</h1>\n<p id=\"message\">%s</p>\n", headline, message);
        html_put(w, "<p>To open the page of your services, run this in a terminal on the host:</p>\n"
                    "<p id=\"advice\"><code>vaultctl web</code></p>\n"
                    "<p>To connect one service only: <code>vaultctl connect SERVICE</code></p>\n");
        page_end(w, "Pages here open from links that vaultctl prints.");
}
