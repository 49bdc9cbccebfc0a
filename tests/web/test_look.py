# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pages in a real browser, behind nginx: what is readable, what the keyboard reaches, what other sites can do with them (T29)."""

import contextlib
import http.server
import pathlib
import ssl
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from stage import NAME, Stage  # noqa: E402

EVERY = ["open", "services", "connect", "result", "offer", "fault", "closed"]
THEMES = ["light", "dark"]


@pytest.fixture(scope="module")
def stage():
    with Stage() as stage:
        yield stage


@pytest.fixture(scope="module")
def window(stage):
    """One visitor, who was shown everything."""
    return stage.visitor()


@pytest.fixture(autouse=True)
def as_before(request, stage):
    yield
    assert stage.vaultd.violations == []
    stage.vaultd.calls.clear()


def shown(stage, window, page):
    """The visitor's window with that page; whoever closed the page opens it again."""
    if not window.cookies():
        window.open(stage.origin + "/open/bGluaw")
        if window.has("#code-field"):
            window.write("#code-field", "K7QF-2M9X")
        window.click("#open button")
    return stage.show(window, page)


# Every text with the ground that it stands on, as the browser paints them.
TEXTS = """
(() => {
        const rgb = text => text.match(/[\\d.]+/g).map(Number);
        const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
        const light = c => { const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
        const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
        const found = [];
        for (const e of document.querySelectorAll('body *')) {
                if (!e.checkVisibility() || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
                found.push([e.textContent.trim().slice(0, 40), ratio(rgb(getComputedStyle(e).color), ground(e))]);
        }
        for (const e of document.querySelectorAll('input:not([type=hidden]), button'))
                found.push(['frame of ' + e.outerHTML.slice(0, 60), Math.max(1.5 * ratio(rgb(getComputedStyle(e).borderTopColor), ground(e.parentElement)),
                                                                         1.5 * ratio(ground(e), ground(e.parentElement)))]);
        return found;
})()
"""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("page", EVERY)
def test_texts_have_contrast(stage, window, page, theme):
    """At least 4.5 for text (WCAG 2.1, 1.4.3), and 3 for what shows where a field or button is (1.4.11)."""
    window.theme(theme)
    texts = shown(stage, window, page).ask(TEXTS)
    assert len(texts) > 3
    assert [text for text in texts if text[1] < 4.5] == []


def test_themes_differ(stage, window):
    grounds = set()
    for theme in THEMES:
        window.theme(theme)
        grounds.add(shown(stage, window, "services").ask("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


@pytest.mark.parametrize("width", [320, 390, 1100])
@pytest.mark.parametrize("page", EVERY)
def test_no_page_is_wider_than_the_window(stage, window, page, width):
    window.size(width, 700, is_phone=width < 500)
    shown(stage, window, page)
    assert window.ask("document.documentElement.scrollWidth") <= width
    assert window.ask("[...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && !e.classList.contains('unseen') && e.getBoundingClientRect().right > innerWidth + 1).length") == 0
    window.size(1100, 800)


@pytest.mark.parametrize("page", EVERY)
def test_pages_have_their_landmarks_and_one_heading(stage, window, page):
    shown(stage, window, page)
    assert window.ask("['header', 'main', 'footer', 'h1'].map(e => document.querySelectorAll(e).length)") == [1, 1, 1, 1]
    assert window.ask("document.documentElement.lang") == "en" and window.ask("document.title").endswith("vaultd")
    levels = window.ask("[...document.querySelectorAll('h1, h2, h3, h4')].map(e => +e.tagName[1])")
    assert levels[0] == 1 and all(b <= a + 1 for a, b in zip(levels, levels[1:]))


@pytest.mark.parametrize("page", EVERY)
def test_every_field_has_a_label_and_every_button_a_name_of_its_own(stage, window, page):
    shown(stage, window, page)
    assert window.ask("[...document.querySelectorAll('input:not([type=hidden])')].filter(e => !e.labels.length || !e.labels[0].textContent.trim()).length") == 0
    names = window.ask("[...document.querySelectorAll('button, summary')].map(e => e.textContent.trim().replace(/\\s+/g, ' '))")
    assert all(names) and len(names) == len(set(names)), names
    ids = window.ask("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_the_keyboard_reaches_everything_and_shows_where_it_is(stage, window):
    window.theme("light")
    shown(stage, window, "services")
    expected = window.ask("[...document.querySelectorAll('a[href], button, summary, input:not([type=hidden])')].filter(e => e.checkVisibility()).length")
    reached = []
    for _ in range(expected):
        window.key("Tab")
        where = window.ask("""(e => { const s = getComputedStyle(e), b = e.getBoundingClientRect();
                return [e.outerHTML.length + ':' + e.textContent.trim(), s.outlineStyle, parseFloat(s.outlineWidth), b.width > 0 && b.top >= 0 && b.bottom <= innerHeight + 1,
                        b.top + scrollY] })(document.activeElement)""")
        assert where[1] == "solid" and where[2] >= 2 and where[3], where
        reached.append(where)
    assert len({each[0] for each in reached}) == expected


def test_a_visitor_without_a_mouse_connects_a_service(stage, window):
    shown(stage, window, "services")
    for _ in range(40):
        window.key("Tab")
        if window.ask("document.activeElement.closest('[data-service=sentry]') !== null"):
            break
    window.press("Enter")
    assert stage.vaultd.calls[-2][0] == "Begin" and stage.vaultd.calls[-2][1]["service"] == "sentry" and stage.vaultd.calls[-1][0] == "Page"
    assert window.url == stage.vaultd.answers["Begin"]["location"]


def test_another_account_is_asked_for_by_name(stage, window):
    shown(stage, window, "services")
    card = '[data-service="notion"][data-label="work"]'
    window.touch(f"{card} summary")
    window.write(f"{card} details input[name=label]", "home")
    window.click(f"{card} details button")
    assert [parameters for method, parameters in stage.vaultd.calls if method == "Begin"][0]["label"] == "home"


def test_a_name_that_cannot_be_one_is_not_sent(stage, window):
    shown(stage, window, "services")
    card = '[data-service="notion"][data-label="work"]'
    window.touch(f"{card} summary")
    window.write(f"{card} details input[name=label]", "My Home!")
    window.touch(f"{card} details button")
    assert window.ask(f"""document.querySelector('{card} details input[name=label]').validity.patternMismatch""")
    assert "Begin" not in [method for method, _ in stage.vaultd.calls]


def test_closing_the_page_forgets_it(stage):
    window = stage.visitor()
    assert window.cookies()["__Host-vaultd"]["httpOnly"] and window.cookies()["__Host-vaultd"]["secure"] and window.cookies()["__Host-vaultd"]["sameSite"] == "Strict"
    window.click("#leave button")
    assert window.cookies() == {} and "vaultctl web" in window.text("#advice")
    window.open(stage.origin + "/")
    assert "Services" not in [method for method, _ in stage.vaultd.calls[-1:]] and not window.has("#cards")


# --- other sites ---------------------------------------------------------------------------------------------------

class Evil(http.server.BaseHTTPRequestHandler):
    PAGES = {}
    asked = []

    def do_GET(self):
        Evil.asked.append((self.path, dict(self.headers)))
        body = Evil.PAGES.get(self.path, "<p>nothing</p>").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def evil(stage):
    """A site of an attacker's, under https too: evil.test, and a sibling of ours, evil.example.org."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(stage.folder / "tls/cert.pem", stage.folder / "tls/key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with contextlib.closing(server.socket):
        yield lambda name: f"https://{name}:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("name", ["evil.test", "evil.example.org"])
@pytest.mark.parametrize("path", ["/begin", "/offer", "/leave", "/open/bGluaw"])
def test_a_form_on_another_site_does_nothing(stage, window, evil, name, path):
    """CSRF: also from a sibling of our name, which browsers take for the same site and send the cookie."""
    shown(stage, window, "services")
    word = stage.vaultd.answers["Services"]["form"]
    Evil.PAGES["/csrf"] = (f'<form method="post" action="{stage.origin}{path}"><input name="form" value="{word}"><input name="service" value="notion">'
                           '<input name="label" value="default"><button>Win a prize</button></form>')
    window.open(evil(name) + "/csrf")
    stage.vaultd.calls.clear()
    window.click("button")
    assert window.url == stage.origin + path and "The button was not pressed on our page" in window.text()
    assert stage.vaultd.calls == []


@pytest.mark.parametrize("name", ["evil.test", "evil.example.org"])
def test_another_site_cannot_frame_a_page(stage, window, evil, name):
    """Clickjacking: our button under the attacker's picture of another one."""
    shown(stage, window, "services")
    Evil.PAGES["/frame"] = f'<h1>Win</h1><iframe src="{stage.origin}/" width="800" height="600"></iframe><iframe src="{stage.origin}/connect/dGlja2V0"></iframe>'
    stage.vaultd.calls.clear()
    window.open(evil(name) + "/frame")
    assert window.ask("frames.length") == 2
    assert stage.vaultd.calls == [], "a frame was filled"


def test_a_link_on_another_site_shows_no_services(stage, window, evil):
    """The cookie is for navigations that begin here: who comes from elsewhere sees the closed page, and may reload it."""
    shown(stage, window, "services")
    Evil.PAGES["/link"] = f'<a href="{stage.origin}/">Services</a>'
    window.open(evil("evil.test") + "/link")
    stage.vaultd.calls.clear()
    window.click("a")
    assert window.has("#advice") and not window.has("#cards") and stage.vaultd.calls == []
    window.open(stage.origin + "/")
    assert window.has("#cards")


def test_no_page_tells_another_site_where_it_was(stage, window, evil):
    """The provider, and whoever else a page leads to, is told no address of ours: it may hold a ticket."""
    shown(stage, window, "services")
    stage.vaultd.answers["Continue"]["location"] = evil("evil.test") + "/provider"
    Evil.asked.clear()
    window.open(stage.origin + "/connect/dGlja2V0").click("#continue button")
    (path, headers), = [each for each in Evil.asked if each[0] == "/provider"]
    assert "Referer" not in headers and "Cookie" not in headers and NAME not in str(headers).replace(headers["Host"], "")
