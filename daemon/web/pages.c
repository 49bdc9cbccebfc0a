/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The pages of a flow: its beginning, its result, and what went wrong. Plain documents without scripts, images, fonts or cookies, so that
 * the policy sent with them can forbid everything but their own style (threats T29, T34).
 *
 * The connect page is the guard against being talked into somebody else's flow (threat T14): it says whose vault the
 * account goes to before anything is asked of the provider, in words that a person who was sent the link will
 * notice. The result page shows account and requester again, because only now the account is known. Texts name
 * what to do next, in the words of the command line.
 *
 * Elements that tests and tools look for have ids: user, host, service, upstream, scopes, continue, account,
 * requester, claim-code, message, advice. Who may call: routes.c, routes-visit.c. */

#include <stdio.h>

#include "web/page-frame.h"
#include "web/pages.h"

void page_connect(HtmlWriter *w, const char *nonce, const ApiPage *p, bool has_services, uint64_t now_usec) {
        char left[64], title[128], footer[256];

        page_time_left(p->expires_usec, now_usec, left, sizeof(left));
        (void)snprintf(title, sizeof(title), "Connect %s", p->title);
        page_begin(w, nonce, title, false);
        html_put(w, "<h1>Connect <bdi>%s</bdi> for <bdi>%s</bdi>?</h1>\n", p->title, p->user);
        html_put(w,
                        "<dl>\n"
                        "<div><dt>Unix user</dt><dd><bdi id=\"user\">%s</bdi></dd></div>\n"
                        "<div><dt>Host</dt><dd><bdi id=\"host\">%s</bdi></dd></div>\n"
                        "<div><dt>Service</dt><dd><bdi id=\"service\">%s</bdi></dd></div>\n"
                        "<div><dt>Address</dt><dd class=\"plain\"><bdi "
                        "id=\"upstream\">%s</bdi></dd></div>\n",
                        p->user, p->host, p->title, p->upstream);
        html_put(w, "<div><dt>Permissions</dt><dd class=\"plain\" id=\"scopes\">");
        if (p->n_scopes == 0)
                html_put(w, "whatever <bdi>%s</bdi> gives by default", p->title);
        else {
                html_put(w, "<ul>");
                for (size_t i = 0; i < p->n_scopes; i++)
                        html_put(w, "<li><bdi>%s</bdi></li>", p->scopes[i]);
                html_put(w, "</ul>");
        }
        html_put(w, "</dd></div>\n</dl>\n");
        html_put(w,
                        "<p class=\"warn\">Go on only if <strong>you are <bdi>%s</bdi></strong> and have "
                        "just run "
                        "<code>vaultctl connect %s</code> on <bdi>%s</bdi> yourself%s. "
                        "If somebody sent you this link, close this page: your <bdi>%s</bdi> account would "
                        "be "
                        "connected for them.</p>\n",
                        p->user, p->service, p->host,
                        has_services ? ", or pressed Connect on the page of your services" : "", p->title);
        html_put(w,
                        "<form id=\"continue\" method=\"post\"><button type=\"submit\">Continue to "
                        "%s</button></form>\n",
                        p->title);
        (void)snprintf(footer, sizeof(footer),
                        "The service asks for your consent and sends you back here for a code. "
                        "This link works once, %s.",
                        left);
        page_end(w, footer);
}

void page_result(
                HtmlWriter *w, const char *nonce, const ApiResult *r, bool has_services, uint64_t now_usec) {
        char left[64], footer[256];

        page_time_left(r->expires_usec, now_usec, left, sizeof(left));
        page_begin(w, nonce, "One step left", false);
        html_put(w, "<h1>One step left</h1>\n");
        html_put(w,
                        "<dl>\n"
                        "<div><dt><bdi>%s</bdi> account</dt><dd><bdi id=\"account\">%s</bdi></dd></div>\n"
                        "<div><dt>Requested by</dt><dd><bdi id=\"requester\">%s@%s</bdi></dd></div>\n"
                        "</dl>\n",
                        r->title, r->account, r->user, r->host);
        html_put(w, "<p class=\"label\">Your code</p>\n<p class=\"code\" id=\"claim-code\">%s</p>\n",
                        r->claim_code);
        html_put(w,
                        "<p><strong>Type this into the terminal where you ran <span class=\"keep\">"
                        "<code>vaultctl connect</code>;</span> do not give it to anybody.</strong> "
                        "Whoever asks you for it wants your <bdi>%s</bdi> account.</p>\n",
                        r->title);
        if (has_services)
                html_put(w,
                                "<p>If you began on the page of your services, run <code>vaultctl "
                                "claim</code> in a "
                                "terminal on <bdi>%s</bdi> and type it there.</p>\n",
                                r->host);
        html_put(w,
                        "<p class=\"warn\">Not your account, or you are not <bdi>%s</bdi>? Close this page "
                        "and type the "
                        "code nowhere. Without it nothing is kept, and the access is given back.</p>\n",
                        r->user);
        if (has_services)
                html_put(w, "<p><a href=\"/\">Back to your services</a></p>\n");
        (void)snprintf(footer, sizeof(footer), "The code works once, %s.", left);
        page_end(w, footer);
}

void page_root(HtmlWriter *w, const char *nonce) {
        page_begin(w, nonce, "Nothing to see here", false);
        html_put(w, "<h1>vaultd is listening</h1>\n"
                    "<p>Pages here open from links that <code>vaultctl</code> prints. To connect a service "
                    "to your "
                    "vault, run this in a terminal on the host:</p>\n"
                    "<p><code>vaultctl connect SERVICE</code></p>\n"
                    "<p>The services of the host are listed by <code>vaultctl services</code>.</p>\n");
        page_end(w, "This page knows nobody and keeps no cookies.");
}

/* "Run: COMMAND" with the command set as code, any other advice as a sentence. */
static void put_advice(HtmlWriter *w, const char *advice) {
        const char *command = startswith(advice, "Run: ");

        if (command)
                html_put(w, "<p id=\"advice\">Run: <code>%s</code></p>\n", command);
        else
                html_put(w, "<p id=\"advice\">%s</p>\n", advice);
}

void page_fault(HtmlWriter *w, const char *nonce, const PageFault *f) {
        page_begin(w, nonce, f->headline, false);
        html_put(w, "<h1>%s</h1>\n<p id=\"message\">%s</p>\n", f->headline, f->message);
        put_advice(w, f->advice ?: "Run: vaultctl connect SERVICE");
        page_end(w, "You can close this page.");
}
