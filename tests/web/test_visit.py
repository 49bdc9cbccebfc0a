# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page of services as vaultd-web serves it: who gets a cookie, what a button has to bring, what never gets through (threats T14, T28, T29, T34)."""

import re
import time

import pytest
from fake_vaultd import Error, in_ten_minutes

OPEN = "/open/bGluaw"
HOST = "vault.example.org"
VISIT = "dmlzaXQtb2YtYWxpY2UtMDEyMzQ1Njc4OTAxMjM0NTY"
WORD = "Zm9ybS13b3JkLTAxMjM0NQ"
COOKIE = {"Cookie": f"__Host-vaultd={VISIT}"}
GONE = "__Host-vaultd=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"
FORMS = {
    "/begin": f"form={WORD}&service=notion&label=work",
    "/offer": f"form={WORD}&service=notion&label=default",
    "/leave": f"form={WORD}",
}
CALLS = {"/begin": "Begin", "/offer": "Offer", "/leave": "Leave"}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;</title></style>"


class Site:
    """vaultd-web as the proxy reaches it."""

    def __init__(self, web):
        self.web = web

    def get(self, path, headers=None, **more):
        return self.web.get(path, headers={"Sec-Fetch-Dest": "document", **(headers or {})}, **{"host": HOST, **more})

    def press(self, path, body=None, headers=None, **more):
        """headers replace what a browser sends for our button; None leaves one out."""
        ours = {"Origin": "null", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate",
                "Content-Type": "application/x-www-form-urlencoded", **COOKIE, **(headers or {})}
        body = FORMS.get(path, "") if body is None else body
        return self.web.ask("POST", path, headers={name: value for name, value in ours.items() if value is not None},
                            body=body if isinstance(body, bytes) else body.encode(), **{"host": HOST, **more})


@pytest.fixture
def site(start, vaultd):
    return Site(start("--external-url", f"https://{HOST}"))


# --- the link ------------------------------------------------------------------------------------------------------

def test_link_names_whose_services_it_opens_and_opens_nothing(site, vaultd):
    for _ in range(2):
        answer = site.get(OPEN)
        assert answer.status == 200 and answer.page.ids["user"] == "alice" and answer.page.ids["host"] == "build1.example.org"
        assert "Go on only if you are alice" in answer.page.text
        assert answer.header("Set-Cookie") is None
    site.web.ask("HEAD", OPEN, host=HOST)
    assert set(vaultd.methods_called()) == {"Invitation"}


def test_button_opens_the_page_with_a_cookie_for_this_host_alone(site, vaultd):
    vaultd.answers["Enter"]["expires"] = int((time.time() + 3600) * 1_000_000)
    answer = site.press(OPEN, headers={"Cookie": None})
    assert answer.status == 303 and answer.header("Location") == "/"
    match = re.fullmatch(r"__Host-vaultd=(\S+); Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=(\d+)", answer.header("Set-Cookie"))
    assert match and match[1] == VISIT and 3590 < int(match[2]) <= 3600
    assert vaultd.calls == [("Enter", {"ticket": "bGluaw"})]


def test_link_with_a_code_asks_for_it(site, vaultd):
    assert "code-field" not in site.get(OPEN).body
    vaultd.answers["Invitation"]["takesCode"] = True
    page = site.get(OPEN).page
    fields = [attributes for tag, attributes in page.tags if tag == "input"]
    assert [field["name"] for field in fields] == ["code"] and ("label", {"for": "code-field"}) in page.tags
    site.press(OPEN, "code=k7qf+2m9x")
    assert vaultd.calls[-1] == ("Enter", {"ticket": "bGluaw", "code": "k7qf 2m9x", "former": VISIT})


def test_refused_link_gives_no_cookie(site, vaultd):
    for name, status in (("NotFound", 404), ("ClaimRejected", 403), ("VaultClosed", 403), ("LimitExceeded", 503)):
        vaultd.answers["Enter"] = Error("io.vaultd." + name, message="It is void.", hint="Run: vaultctl web")
        answer = site.press(OPEN, headers={"Cookie": None})
        assert answer.status == status and answer.header("Set-Cookie") is None and answer.header("Location") is None
        assert answer.page.ids["message"] == "It is void."


@pytest.mark.parametrize("visit", ["", "a b", "a;b", "a\r\nX: y", "a,b", "x" * 65, "\u00e9", "a=b"])
def test_only_what_can_be_a_cookie_becomes_one(site, vaultd, visit):
    vaultd.answers["Enter"]["visit"] = visit
    answer = site.press(OPEN)
    assert answer.status == 503 and answer.header("Set-Cookie") is None and answer.header("X") is None


# --- the page ------------------------------------------------------------------------------------------------------

def test_without_a_cookie_the_page_says_how_to_open_it(site, vaultd):
    answer = site.get("/")
    assert answer.status == 200 and "vaultctl web" in answer.page.ids["advice"]
    assert answer.header("Set-Cookie") is None
    assert vaultd.calls == []


def test_the_cookie_alone_says_whose_page_it_is(site, vaultd):
    answer = site.get("/", COOKIE)
    assert answer.status == 200 and answer.page.ids["user"] == "alice"
    assert vaultd.calls == [("Services", {"visit": VISIT})]


def card_text(answer, service):
    """What a card says, with a blank wherever an element begins or ends."""
    card = re.search(rf'(?s)<li class="card" data-service="{service}".*?</li>', answer.body)[0]
    return " ".join(re.sub(r"</?(?:bdi|span|code|strong)[^>]*>", "", re.sub(r"<(?!/?(?:bdi|span|code|strong)\b)[^>]*>", " ", card)).split())


def test_cards_show_account_state_and_what_can_be_done(site, vaultd):
    answer = site.get("/", COOKIE)
    assert "connected Account alice@example.org Access renews itself Reconnect Notion Disconnect Notion" in card_text(answer, "notion")
    assert "needs reconnect Account alice Slack has ended the connection. Reconnect Slack Disconnect Slack" in card_text(answer, "slack")
    assert card_text(answer, "github") == "GitHub not connected To connect it with a token, run in a terminal: vaultctl connect github --token-stdin"
    assert "waits for your code You agreed as alice@linear.example. To finish, run vaultctl claim in a terminal" in card_text(answer, "linear")
    assert card_text(answer, "sentry") == "Sentry not connected Connect Sentry"


def test_what_the_host_lacks_is_said_in_place_of_a_button(site, vaultd):
    vaultd.answers["Services"]["cards"][-1]["notSetUp"] = "An administrator has to register a client."
    vaultd.answers["Services"]["cards"][0]["notSetUp"] = "An administrator has to register a client."
    answer = site.get("/", COOKIE)
    assert card_text(answer, "sentry") == "Sentry not set up An administrator has to register a client."
    assert card_text(answer, "notion").endswith("An administrator has to register a client. Disconnect Notion")


@pytest.mark.parametrize("left, shown", [(30, "ends in less than a minute"), (90, "ends in 1 minute"), (7000, "ends in 116 minutes"), (7300, "ends in 2 hours"),
                                         (40 * 3600, "ends in 39 hours"), (86400 * 3 + 60, "ends in 3 days"), (-60, "has expired")])
def test_expiry_is_told_when_nothing_renews(site, vaultd, left, shown):
    vaultd.answers["Services"]["cards"][0].update(renews=False, expires=int((time.time() + left) * 1_000_000))
    assert f"Access {shown}" in card_text(site.get("/", COOKIE), "notion")


def test_other_labels_have_their_own_cards_and_fields(site, vaultd):
    vaultd.answers["Services"]["cards"].insert(1, {**vaultd.answers["Services"]["cards"][0], "label": "work", "account": "a@work.example"})
    page = site.get("/", COOKIE).page
    cards = [(attributes["data-service"], attributes["data-label"]) for tag, attributes in page.tags if tag == "li" and attributes.get("class") == "card"]
    assert cards[:3] == [("notion", "default"), ("notion", "work"), ("slack", "default")]
    labels = [attributes["value"] for tag, attributes in page.tags if tag == "input" and attributes["name"] == "label" and attributes.get("type") == "hidden"]
    assert labels[:4] == ["default", "default", "work", "work"]


def test_foreign_words_are_text_on_every_page(site, vaultd):
    harmless = {path: page.tags for path, page in pages(site).items()}
    for method in ("Invitation", "Services", "Offer"):
        answer = vaultd.answers[method]
        answer.update({name: HOSTILE for name, value in answer.items() if isinstance(value, str) and name not in ("form", "label")})
    for index, card in enumerate(vaultd.answers["Services"]["cards"]):
        card.update({name: f"{HOSTILE}{index}" for name in ("service", "title", "account", "reason", "begunAccount") if name in card})
    for path, page in pages(site).items():
        assert [(tag, sorted(attributes)) for tag, attributes in page.tags] == [(tag, sorted(attributes)) for tag, attributes in harmless[path]], path
        assert not any(tag in ("script", "img") for tag, _ in page.tags)


def pages(site):
    return {"open": site.get(OPEN).page, "services": site.get("/", COOKIE).page, "offer": site.press("/offer").page}


def test_pages_load_nothing_and_forms_stay_here(site):
    for page in pages(site).values():
        for tag, attributes in page.tags:
            assert tag not in ("script", "img", "link", "iframe", "object", "embed", "base")
            assert not any(name.startswith("on") or name in ("src", "style", "formaction", "target", "ping") for name in attributes)
            assert attributes.get("href") in (None, "/") and attributes.get("action") in (None, "/begin", "/offer", "/leave")
            assert tag != "form" or attributes["method"] == "post"


def test_every_form_of_the_page_carries_its_word(site):
    body = site.get("/", COOKIE).body
    forms = re.findall(r"(?s)<form .*?</form>", body)
    assert len(forms) > 5 and all(f'name="form" value="{WORD}"' in form for form in forms)


def test_policy_says_where_forms_may_lead(site, vaultd):
    def policy(answer):
        return re.search(r"form-action ([^;]*)", answer.header("Content-Security-Policy"))[1]
    assert policy(site.get("/", COOKIE)) == "'self'" and policy(site.get(OPEN)) == "'self'"
    assert policy(site.get("/connect/dGlja2V0")) == "'self' https:"
    for answer in (site.press("/offer"), site.get("/"), site.get("/nowhere"), site.get("/callback/9f86d081?state=s&code=c")):
        assert policy(answer) == "'none'"


def every_answer(site, vaultd):
    yield site.get(OPEN)
    yield site.press(OPEN)
    yield site.get("/", COOKIE)
    yield site.get("/")
    for path in FORMS:
        yield site.press(path)
        yield site.press(path, headers={"Origin": "https://evil.example"})
        yield site.press(path, "")
        yield site.get(path)
    for method in ("Invitation", "Enter", "Services", "Begin", "Offer", "Leave"):
        vaultd.answers[method] = Error("io.vaultd.NotFound", message="m")
    yield site.get(OPEN)
    yield site.press(OPEN)
    yield site.get("/", COOKIE)
    for path in FORMS:
        yield site.press(path)


def test_every_answer_has_the_headers(site, vaultd):
    for answer in every_answer(site, vaultd):
        policy = answer.header("Content-Security-Policy")
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "base-uri 'none'" in policy and "unsafe" not in policy
        for name, value in (("X-Frame-Options", "DENY"), ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"), ("Cache-Control", "no-store"),
                            ("Cross-Origin-Resource-Policy", "same-origin"), ("Cross-Origin-Opener-Policy", "same-origin")):
            assert answer.header(name) == value


# --- the buttons ---------------------------------------------------------------------------------------------------

def test_connect_leads_to_our_page_about_it(site, vaultd):
    answer = site.press("/begin")
    assert answer.status == 303 and answer.header("Location") == vaultd.answers["Begin"]["location"]
    assert vaultd.calls == [("Begin", {"visit": VISIT, "form": WORD, "service": "notion", "label": "work"})]
    site.press("/begin", f"form={WORD}&service=notion")
    assert "label" not in vaultd.calls[-1][1]


def test_disconnect_shows_the_command_that_does_it(site, vaultd):
    answer = site.press("/offer")
    assert answer.status == 200 and answer.page.ids["confirm-command"] == "vaultctl web --confirm K7QF-2M9X"
    assert "Nothing has happened yet" in answer.page.text and answer.page.ids["offer-code"] == "K7QF-2M9X"
    assert vaultd.calls == [("Offer", {"visit": VISIT, "form": WORD, "service": "notion", "label": "default"})]


def test_close_takes_the_cookie_away(site, vaultd):
    answer = site.press("/leave")
    assert answer.status == 200 and answer.header("Set-Cookie") == GONE
    assert vaultd.calls == [("Leave", {"visit": VISIT, "form": WORD})]


def test_a_visit_that_is_over_loses_its_cookie_and_says_how_to_open_another(site, vaultd):
    for method in ("Services", "Begin", "Offer", "Leave"):
        vaultd.answers[method] = Error("io.vaultd.NotFound", message="m")
    for answer in (site.get("/", COOKIE), *(site.press(path) for path in FORMS)):
        assert answer.status == 403 and answer.header("Set-Cookie") == GONE and answer.header("Location") is None
        assert "vaultctl web" in answer.page.ids["advice"]


@pytest.mark.parametrize("path", [OPEN, *FORMS])
@pytest.mark.parametrize("headers", [
    {"Origin": None, "Sec-Fetch-Site": None}, {"Sec-Fetch-Site": None}, {"Origin": "https://evil.example"}, {"Origin": "https://evil.example", "Sec-Fetch-Site": None},
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}, {"Origin": f"http://{HOST}"}, {"Origin": f"https://{HOST}:8443"},
    {"Origin": f"https://{HOST}.evil.example"}, {"Sec-Fetch-Dest": "iframe"}, {"Sec-Fetch-Dest": "empty"},
], ids=lambda headers: "-".join(f"{value}" for value in headers.values()))
def test_button_pressed_elsewhere_refused(site, vaultd, path, headers):
    answer = site.press(path, headers=headers)
    assert answer.status == 403 and answer.header("Set-Cookie") is None and answer.header("Location") is None
    assert vaultd.calls == []


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("kind", [None, "text/plain", "multipart/form-data; boundary=x", "application/json", "application/x-www-form-urlencodedX"])
def test_other_bodies_than_forms_refused(site, vaultd, path, kind):
    assert site.press(path, headers={"Content-Type": kind}).status == 415
    assert vaultd.calls == []


def test_form_type_may_have_parameters(site, vaultd):
    assert site.press("/leave", headers={"Content-Type": "Application/X-WWW-Form-Urlencoded;charset=UTF-8"}).status == 200


@pytest.mark.parametrize("body", [
    f"form={WORD}&service=notion&label=work&label=default", f"form={WORD}&service=a&%73ervice=b&label=c", f"form={WORD}&form={WORD}&service=a&label=c",
    f"form={WORD}&service=%&label=c", f"form={WORD}&service=%00&label=c", f"form={WORD}&service=%ff&label=c", b"form=a\0b&service=a&label=c",
    "&".join(f"p{i}=1" for i in range(30)), "", "service=notion&label=default", f"form={WORD}",
])
def test_damaged_form_refused(site, vaultd, body):
    assert site.press("/offer", body).status == 400
    assert vaultd.calls == []


def test_body_is_bounded(site, vaultd):
    assert site.press("/leave", f"form={WORD}&x=" + "y" * 2000).status == 413
    assert vaultd.calls == []
    assert site.press("/leave", f"form={WORD}&x=" + "y" * 900).status == 200


def test_body_in_pieces_is_one_body(site, vaultd):
    head = (f"POST /leave HTTP/1.1\r\nHost: {HOST}\r\nSec-Fetch-Site: same-origin\r\nCookie: __Host-vaultd={VISIT}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n")
    pieces = "".join(f"{len(piece):x}\r\n{piece}\r\n" for piece in ("fo", f"rm={WORD[:7]}", WORD[7:], "&x=y"))
    assert site.web.raw((head + pieces + "0\r\n\r\n").encode()).split()[1] == b"200"
    assert vaultd.calls == [("Leave", {"visit": VISIT, "form": WORD})]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_forms_are_posted_only(site, vaultd, method):
    for path in FORMS:
        answer = site.web.ask(method, path, host=HOST, headers=COOKIE)
        assert answer.status == 405 and answer.header("Allow") == "POST"
    assert vaultd.calls == []


# --- the cookie ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("cookie", [
    f"__Host-vaultd={VISIT}; __Host-vaultd={VISIT}", f"__Host-vaultd={VISIT}; __Host-vaultd=other", "__Host-vaultd=", "__Host-vaultd=a b", "__Host-vaultd=" + "x" * 65,
])
def test_unclear_cookie_is_none(site, vaultd, cookie):
    for answer in (site.get("/", {"Cookie": cookie}), *(site.press(path, headers={"Cookie": cookie}) for path in FORMS)):
        assert answer.status == 400 and answer.header("Set-Cookie") == GONE
    assert vaultd.calls == []


def test_two_cookie_headers_are_unclear(site, vaultd):
    answer = site.web.ask("GET", "/", headers=[("Cookie", f"__Host-vaultd={VISIT}"), ("Cookie", "a=b")], host=HOST)
    assert answer.status == 400 and vaultd.calls == []


@pytest.mark.parametrize("cookie", ["", "a=b", "vaultd=x", "__Secure-vaultd=x", f"__host-vaultd={VISIT}", f"x__Host-vaultd={VISIT}"])
def test_other_cookies_are_no_cookie(site, vaultd, cookie):
    assert site.get("/", {"Cookie": cookie}).status == 200
    assert site.press("/begin", headers={"Cookie": cookie}).status == 403
    assert vaultd.calls == []


def test_neither_cookies_nor_buttons_on_loopback(site, vaultd):
    """T34: a browser hands a loopback page's cookies to whatever listens on another port."""
    here = f"127.0.0.1:{site.web.port}"
    answers = [site.get("/", COOKIE, host=here), site.get(OPEN, COOKIE, host=here)]
    answers += [site.press(path, host=here, headers={"Origin": f"http://{here}"}) for path in (OPEN, *FORMS)]
    assert [answer.status for answer in answers] == [200] + [404] * 5
    for answer in answers:
        assert answer.header("Set-Cookie") is None and "<form" not in answer.body
    assert vaultd.calls == []


def test_without_an_external_url_there_is_no_page(start, vaultd):
    web = start()
    for path in (OPEN, *FORMS):
        assert web.press(path).status == 404
    assert "<form" not in web.get("/", headers=COOKIE).body
    assert vaultd.calls == []


@pytest.mark.parametrize("name", ["evil.example", "vault.example.org.evil.example", "vault.example.org:8443", "192.0.2.1", "vault.example.org@evil.example"])
def test_other_names_are_not_ours(site, vaultd, name):
    """DNS rebinding: the browser believes that the page is the attacker's."""
    for answer in (site.get("/", COOKIE, host=name), site.get(OPEN, host=name), *(site.press(path, host=name) for path in (OPEN, *FORMS))):
        assert answer.status == 421 and answer.header("Set-Cookie") is None
    assert vaultd.calls == []


@pytest.mark.parametrize("location", ["http://vault.example.org/", "//evil.example", "/begin", "javascript:alert(1)", "https://a.example/\r\nSet-Cookie: a=b", ""])
def test_never_redirects_to_what_is_not_https(site, vaultd, location):
    vaultd.answers["Begin"] = {"location": location}
    answer = site.press("/begin")
    assert answer.status == 503 and answer.header("Location") is None and answer.header("Set-Cookie") is None


def test_no_request_chooses_where_a_redirect_leads(site, vaultd):
    evil = "https%3A%2F%2Fevil.example"
    answers = [site.press(f"{OPEN}?next={evil}", f"next={evil}&url={evil}"), site.press(f"/begin?next={evil}&location={evil}", FORMS["/begin"] + f"&location={evil}"),
               site.press("/leave", FORMS["/leave"] + f"&next={evil}"), site.get(f"/?next={evil}", COOKIE)]
    assert [answer.header("Location") for answer in answers] == ["/", vaultd.answers["Begin"]["location"], None, None]
    assert not any("evil" in answer.body for answer in answers)


# --- vaultd, logs, memory ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("change", [
    {"cards": None}, {"cards": {}}, {"cards": [1]}, {"cards": [None]}, {"cards": [{}]}, {"form": 1}, {"user": None}, {"expires": -1},
])
def test_nonsense_from_vaultd_gives_503(site, vaultd, change):
    vaultd.answers["Services"].update(change)
    assert site.get("/", COOKIE).status == 503


def test_many_cards_are_counted(site, vaultd):
    vaultd.answers["Services"]["cards"] *= 50
    answer = site.get("/", COOKIE)
    assert answer.status == 200 and answer.body.count('class="card"') == 200 and "50 more are not shown" in answer.page.text


def test_no_services_at_all(site, vaultd):
    vaultd.answers["Services"]["cards"] = []
    assert "No services are set up" in site.get("/", COOKIE).page.ids["message"]


def test_log_names_no_secret(site, vaultd):
    site.get(OPEN)
    site.press(OPEN, "code=codeCanary")
    site.get("/", COOKIE)
    for path in FORMS:
        site.press(path)
    log = site.web.log_text()
    for line in ("GET open 200", "POST open 303", "GET services 200", "POST begin 303", "POST offer 200", "POST leave 200"):
        assert line in log
    for secret in (VISIT, WORD, "bGluaw", "Canary", "K7QF", "notion", "alice", "bmV3"):
        assert secret not in log


def test_expired_times_make_a_cookie_that_ends_at_once(site, vaultd):
    vaultd.answers["Enter"]["expires"] = in_ten_minutes() - 700_000_000
    assert site.press(OPEN).header("Set-Cookie").endswith("Max-Age=0")
