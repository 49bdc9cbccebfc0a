/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What all our pages share: the look, the head, the foot.
 *
 * One style for light and dark, chosen by the browser's own setting; every pair of text and ground has a contrast of at least 4.5 (WCAG 2.1,
 * 1.4.3; tests measure it in a browser), and a state is always also a word. Nothing is loaded from anywhere. The style stands in the page, admitted by
 * the nonce of its policy.
 *
 * Who may call: pages.c, page-services.c. */

#include <stdio.h>

#include "web/page-frame.h"

static const char style[] =
                ":root{color-scheme:light dark;"
                "--ink:#1b1f24;--quiet:#545c66;--ground:#f4f5f7;--card:#fff;--line:#d8dce1;--edge:#7d8590;"
                "--act:#0a5bc4;--on-act:#fff;--warn-ground:#fff6df;--warn-line:#c98a00;"
                "--good:#1a6b35;--good-ground:#e2f4e7;--bad:#a4261d}"
                "@media(prefers-color-scheme:dark){:root{"
                "--ink:#e8eaed;--quiet:#a3abb5;--ground:#14171b;--card:#1e2227;--line:#363c44;--edge:#"
                "7f8894;"
                "--act:#7ab3ff;--on-act:#0b1420;--warn-ground:#2e2714;--warn-line:#d9a83a;"
                "--good:#7ed69a;--good-ground:#173223;--bad:#ff9d94}}"
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
                "a{color:var(--act)}"
                "dl{margin:0 0 1.25rem;border-top:1px solid var(--line)}"
                "dl div{display:grid;grid-template-columns:8.5rem 1fr;gap:0 1rem;padding:.55rem 0;"
                "border-bottom:1px solid var(--line)}"
                "dt{color:var(--quiet)}dd{margin:0;font-weight:600}dd.plain{font-weight:400}"
                "dd ul{margin:0;padding:0;list-style:none;display:flex;flex-wrap:wrap;gap:.35rem}"
                "dd li{padding:.05rem .5rem;border:1px solid var(--line);border-radius:.35rem}"
                "dd li,code,.code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans "
                "Mono\",monospace}"
                "dd li,code{font-size:.92em}"
                "code{display:inline-block;max-width:100%;padding:0 .35rem;background:var(--ground);"
                "border-radius:.3rem}"
                ".keep{white-space:nowrap}"
                "main>:last-child{margin-bottom:0}"
                ".warn{padding:.85rem 1rem;background:var(--warn-ground);"
                "border-left:.25rem solid var(--warn-line);border-radius:.3rem}"
                "button{width:100%;padding:.8rem 1.2rem;border:1px solid transparent;border-radius:.5rem;"
                "background:var(--act);color:var(--on-act);font:inherit;font-weight:600;cursor:pointer}"
                "button:hover{filter:brightness(1.08)}"
                "button.quiet{background:transparent;color:var(--ink);border-color:var(--edge)}"
                "button.end{background:transparent;color:var(--bad);border-color:var(--edge)}"
                ":focus-visible{outline:.2rem solid var(--ink);outline-offset:.15rem}"
                "label{display:block;margin:0 0 .3rem}"
                "input{width:100%;margin:0 0 1rem;padding:.6rem .7rem;border:1px solid var(--edge);"
                "border-radius:.4rem;background:var(--card);color:inherit;font:inherit}"
                ".code{margin:.25rem 0 1rem;padding:1rem .5rem;border:2px dashed var(--line);"
                "border-radius:.5rem;text-align:center;font-size:clamp(1.15rem,6.4vw,2.75rem);"
                "font-weight:700;line-height:1.2;letter-spacing:.06em;user-select:all}"
                ".label{margin:0;color:var(--quiet)}"
                ".unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);"
                "white-space:nowrap}"
                /* The page of services. */
                ".wide header,.wide footer,.wide main{max-width:62rem}"
                ".wide main{padding:0;background:none;border:0}"
                ".cards{margin:0;padding:0;list-style:none;display:grid;gap:1rem;"
                "grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr))}"
                ".card{display:flex;flex-direction:column;padding:1.15rem 1.25rem;background:var(--card);"
                "border:1px solid var(--line);border-radius:.75rem}"
                ".card .head{display:flex;flex-wrap:wrap;gap:.4rem .75rem;align-items:center;"
                "justify-content:space-between;margin:0 0 .85rem}"
                ".card h2{margin:0;font-size:1.15rem;line-height:1.3}"
                ".card h2 span{color:var(--quiet);font-weight:400}"
                ".card dl{margin:0 0 1rem;font-size:.925rem}"
                ".card dl div{grid-template-columns:4.25rem 1fr;gap:0 .5rem;padding:.35rem 0}"
                ".card p{margin:0 0 1rem;font-size:.925rem}"
                ".card .actions{margin-top:auto;display:flex;flex-wrap:wrap;gap:.6rem}"
                ".card .actions form{flex:1 1 7rem}"
                ".card button{padding:.55rem .9rem}"
                ".card .state{margin:0;padding:.1rem .6rem;border-radius:1rem;font-size:.85rem;"
                "font-weight:600;background:var(--ground);color:var(--quiet);"
                "border:1px solid var(--line)}"
                ".card .good{background:var(--good-ground);color:var(--good);border-color:transparent}"
                ".card .warning{background:var(--warn-ground);color:var(--ink);"
                "border-color:var(--warn-line)}"
                "details{margin-top:.75rem}"
                "summary{padding:.35rem 0;cursor:pointer;color:var(--act);font-size:.925rem}"
                "details form{padding:.5rem 0 0}"
                ".leave{display:flex;flex-wrap:wrap;gap:.6rem 1rem;align-items:center;"
                "justify-content:space-between}"
                ".leave p{margin:0;flex:1 1 20rem}"
                ".leave button{width:auto;padding:.45rem .9rem;font-size:.925rem}"
                "@media(max-width:30rem){dl div{grid-template-columns:1fr}"
                ".card dl div{grid-template-columns:4.25rem 1fr}}";

void page_begin(HtmlWriter *w, const char *nonce, const char *title, bool is_wide) {
        html_put(w,
                        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                        "<meta name=\"color-scheme\" content=\"light dark\">\n"
                        "<title>%s · vaultd</title>\n<style nonce=\"%s\">",
                        title, nonce);
        if (w->error == 0)
                w->error = buffer_append(&w->buffer, style, sizeof(style) - 1);
        html_put(w, "</style>\n</head>\n<body class=\"%s\">\n<header>vaultd</header>\n<main>\n",
                        is_wide ? "wide" : "narrow");
}

void page_end(HtmlWriter *w, const char *footer) {
        html_put(w, "</main>\n<footer>%s</footer>\n</body>\n</html>\n", footer);
}

/* "for another 9 minutes", rounded down so that it never promises too much. */
void page_time_left(uint64_t expires_usec, uint64_t now_usec, char *ret, size_t size) {
        uint64_t minutes = expires_usec > now_usec ? (expires_usec - now_usec) / (60 * USEC_PER_SEC) : 0;

        if (minutes < 1)
                (void)snprintf(ret, size, "for less than a minute");
        else if (minutes == 1)
                (void)snprintf(ret, size, "for another minute");
        else
                (void)snprintf(ret, size, "for another %llu minutes",
                                (unsigned long long)MIN(minutes, UINT64_C(1440)));
}
