/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every page of vaultd-web: plain documents without scripts, images, fonts or cookies, so that the policy sent with
 * them can forbid everything but their own style (threats T29, T34).
 *
 * The connect page is the guard against being talked into somebody else's flow (threat T14): it says whose vault the
 * account goes to before anything is asked of the provider, in words that a person who was sent the link will
 * notice. The result page shows account and requester again, because only now the account is known. Texts name
 * what to do next, in the words of the command line.
 *
 * Elements that tests and tools look for have ids: user, host, service, upstream, scopes, continue, account,
 * requester, claim-code, message, advice. Who may call: routes.c. */

#include <stdio.h>

#include "web/pages.h"

static const char style[] =
                ":root{color-scheme:light "
                "dark;--ink:#1b1f24;--quiet:#57606a;--ground:#f4f5f7;--card:#fff;--line:#d8dce1;"
                "--act:#0a5bc4;--on-act:#fff;--warn-ground:#fff6df;--warn-line:#c98a00}"
                "@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--quiet:#a3abb5;--ground:#14171b;--"
                "card:#1e2227;"
                "--line:#363c44;--act:#7ab3ff;--on-act:#0b1420;--warn-ground:#2e2714;--warn-line:#d9a83a}}"
                "*{box-sizing:border-box}"
                "body{margin:0;padding:clamp(.75rem,4vw,3rem) "
                "clamp(.75rem,4vw,2rem);background:var(--ground);"
                "color:var(--ink);font:1rem/1.55 system-ui,sans-serif;overflow-wrap:anywhere}"
                "main{max-width:38rem;margin:0 "
                "auto;padding:clamp(1.1rem,5vw,2.25rem);background:var(--card);"
                "border:1px solid var(--line);border-radius:.75rem}"
                "header,footer{max-width:38rem;margin:0 auto;color:var(--quiet);font-size:.875rem}"
                "header{padding:0 0 .75rem;font-weight:600;letter-spacing:.02em}"
                "footer{padding:.9rem 0 0}"
                "h1{margin:0 0 1rem;font-size:clamp(1.35rem,5.5vw,1.75rem);line-height:1.25}"
                "p{margin:0 0 1rem}"
                "dl{margin:0 0 1.25rem;border-top:1px solid var(--line)}"
                "dl div{display:grid;grid-template-columns:8.5rem 1fr;gap:0 1rem;padding:.55rem 0;"
                "border-bottom:1px solid var(--line)}"
                "dt{color:var(--quiet)}dd{margin:0;font-weight:600}dd.plain{font-weight:400}"
                "ul{margin:0;padding:0;list-style:none;display:flex;flex-wrap:wrap;gap:.35rem}"
                "li{padding:.05rem .5rem;border:1px solid var(--line);border-radius:.35rem}"
                "li,code,.code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans "
                "Mono\",monospace}"
                "li,code{font-size:.92em}"
                "code{display:inline-block;max-width:100%;padding:0 "
                ".35rem;background:var(--ground);border-radius:.3rem}"
                ".keep{white-space:nowrap}"
                "main>:last-child{margin-bottom:0}"
                ".warn{padding:.85rem 1rem;background:var(--warn-ground);border-left:.25rem solid "
                "var(--warn-line);"
                "border-radius:.3rem}"
                "button{width:100%;padding:.8rem 1.2rem;border:0;border-radius:.5rem;background:var(--act);"
                "color:var(--on-act);font:inherit;font-weight:600;cursor:pointer}"
                "button:hover{filter:brightness(1.08)}"
                "button:focus-visible{outline:.2rem solid var(--ink);outline-offset:.15rem}"
                ".code{margin:.25rem 0 1rem;padding:1rem .5rem;border:2px dashed "
                "var(--line);border-radius:.5rem;"
                "text-align:center;font-size:clamp(1.15rem,6.4vw,2.75rem);font-weight:700;line-height:1.2;"
                "letter-spacing:.06em;user-select:all}"
                ".label{margin:0;color:var(--quiet)}"
                "@media(max-width:30rem){dl div{grid-template-columns:1fr}}";

static void page_begin(HtmlWriter *w, const char *nonce, const char *title) {
        html_put(w,
                        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                        "<meta name=\"color-scheme\" content=\"light dark\">\n"
                        "<title>%s · vaultd</title>\n<style nonce=\"%s\">",
                        title, nonce);
        if (w->error == 0)
                w->error = buffer_append(&w->buffer, style, sizeof(style) - 1);
        html_put(w, "</style>\n</head>\n<body>\n<header>vaultd</header>\n<main>\n");
}

static void page_end(HtmlWriter *w, const char *footer) {
        html_put(w, "</main>\n<footer>%s</footer>\n</body>\n</html>\n", footer);
}

/* "for another 9 minutes", rounded down so that it never promises too much. */
static void time_left(uint64_t expires_usec, uint64_t now_usec, char *ret, size_t size) {
        uint64_t minutes = expires_usec > now_usec ? (expires_usec - now_usec) / (60 * USEC_PER_SEC) : 0;

        if (minutes < 1)
                (void)snprintf(ret, size, "for less than a minute");
        else if (minutes == 1)
                (void)snprintf(ret, size, "for another minute");
        else
                (void)snprintf(ret, size, "for another %llu minutes",
                                (unsigned long long)MIN(minutes, UINT64_C(1440)));
}

void page_connect(HtmlWriter *w, const char *nonce, const ApiPage *p, uint64_t now_usec) {
        char left[64], title[128], footer[256];

        time_left(p->expires_usec, now_usec, left, sizeof(left));
        (void)snprintf(title, sizeof(title), "Connect %s", p->title);
        page_begin(w, nonce, title);
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
                        "<code>vaultctl connect %s</code> on <bdi>%s</bdi> yourself. "
                        "If somebody sent you this link, close this page: your <bdi>%s</bdi> account would "
                        "be "
                        "connected for them.</p>\n",
                        p->user, p->service, p->host, p->title);
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

void page_result(HtmlWriter *w, const char *nonce, const ApiResult *r, uint64_t now_usec) {
        char left[64], footer[256];

        time_left(r->expires_usec, now_usec, left, sizeof(left));
        page_begin(w, nonce, "One step left");
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
        html_put(w,
                        "<p class=\"warn\">Not your account, or you are not <bdi>%s</bdi>? Close this page "
                        "and type the "
                        "code nowhere. Without it nothing is kept, and the access is given back.</p>\n",
                        r->user);
        (void)snprintf(footer, sizeof(footer), "The code works once, %s.", left);
        page_end(w, footer);
}

void page_root(HtmlWriter *w, const char *nonce) {
        page_begin(w, nonce, "Nothing to see here");
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
        page_begin(w, nonce, f->headline);
        html_put(w, "<h1>%s</h1>\n<p id=\"message\">%s</p>\n", f->headline, f->message);
        put_advice(w, f->advice ?: "Run: vaultctl connect SERVICE");
        page_end(w, "You can close this page.");
}
