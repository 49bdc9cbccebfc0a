# SPDX-License-Identifier: LGPL-2.1-or-later
"""vaultd-web as a browser, a hostile page and a hostile neighbour see it (threats T14, T15, T28, T29, T34)."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

import pytest

from conftest import PROGRAM, TICKET
from fake_vaultd import Error, FakeVaultd

CONNECT = f"/connect/{TICKET}"
CALLBACK = "/callback/9f86d081"
ANSWERED = CALLBACK + "?state=st4te&code=c0de"
# Tags in which foreign text could do harm, were it ever taken for markup.
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;</title></style>"


def test_link_shows_user_host_service_scopes(web, vaultd):
    answer = web.get(CONNECT)
    assert answer.status == 200
    ids = answer.page.ids
    assert ids["user"] == "alice"
    assert ids["host"] == "build1.example.org"
    assert ids["service"] == "Notion"
    assert ids["upstream"] == "https://mcp.notion.com/mcp"
    assert "read" in ids["scopes"] and "write" in ids["scopes"]
    assert ids["continue"] == "Continue to Notion"
    assert re.search(r"Go on only if you are alice", answer.page.text)
    assert re.search(r"for another (9|10) minutes", answer.page.text)
    assert vaultd.calls == [("Page", {"ticket": TICKET})]


def test_no_scope_is_left_away(web, vaultd):
    """Whoever names many would have the last ones consented to unseen."""
    vaultd.answers["Page"]["scopes"] = [f"harmless:{number}" for number in range(200)] + ["admin:everything"]
    assert "admin:everything" in web.get(CONNECT).page.ids["scopes"]


def test_service_without_scopes_has_a_page(web, vaultd):
    vaultd.answers["Page"]["scopes"] = []
    assert "by default" in web.get(CONNECT).page.ids["scopes"]


def test_button_leads_to_the_provider(web, vaultd):
    answer = web.press(CONNECT)
    assert answer.status == 303
    assert answer.header("Location") == vaultd.answers["Continue"]["location"]
    assert vaultd.calls == [("Continue", {"ticket": TICKET})]


@pytest.mark.parametrize("location", [
    "http://auth.example.org/", "javascript:alert(1)", "//evil.example", "", "https://a.example/\r\nSet-Cookie: a=b",
    "https://a.example/ b", "https://a.example/\u00e9", "HTTPS:/x", "data:text/html,x",
])
def test_never_redirects_to_what_is_not_https(web, vaultd, location):
    vaultd.answers["Continue"] = {"location": location}
    answer = web.press(CONNECT)
    assert answer.status == 503
    assert answer.header("Location") is None and answer.header("Set-Cookie") is None


def test_result_shows_account_requester_and_code(web, vaultd):
    answer = web.get(ANSWERED)
    assert answer.status == 200
    ids = answer.page.ids
    assert ids["account"] == "Alice Archer (alice@example.org)"
    assert ids["requester"] == "alice@build1.example.org"
    assert ids["claim-code"] == "7KQ2-M4XD-9RTB"
    assert "do not give it to anybody" in answer.page.text


def test_callback_passes_everything_verbatim(web, vaultd):
    values = {
        "state": "s+/=&%\u20ac \u00e9'\"\\", "code": "4/0Ab_<>;#?\n\t", "iss": "https://As.Example.org/Tenant/",
        "error": "access_denied", "error_description": "line\u2028two & more",
    }
    query = urllib.parse.urlencode(values)
    vaultd.answers["Callback"] = Error("io.vaultd.FlowFailed", message="m")
    local = peer = None
    with web.connect() as connection:
        local = "%s:%d" % connection.getpeername()
        peer = "%s:%d" % connection.getsockname()
        connection.sendall(f"GET {CALLBACK}?{query}&session_state=ignored HTTP/1.1\r\nHost: {local}\r\n\r\n".encode())
        while connection.recv(65536):
            pass
    (method, parameters), = vaultd.calls
    assert method == "Callback"
    assert parameters == {
        "path": "9f86d081", "state": values["state"], "code": values["code"], "iss": values["iss"], "error": values["error"],
        "errorDescription": values["error_description"], "local": local, "peer": peer,
    }


def test_absent_parameters_stay_absent(web, vaultd):
    web.get(ANSWERED)
    assert set(vaultd.calls[0][1]) == {"path", "state", "code", "local", "peer"}


def test_empty_parameter_is_passed_as_empty(web, vaultd):
    web.get(ANSWERED + "&iss=")
    assert vaultd.calls[0][1]["iss"] == ""


@pytest.mark.parametrize("query", [
    "state=a&code=b&state=a", "state=a&code=b&code=c", "state=a&code=b&%73tate=c", "state=a&code=b&x=1&x=2",
    "state=a&code=b&iss=i&iss=i", "state=a&code=b&state", "st%61te=a&code=b&state=",
])
def test_repeated_parameter_refused(web, vaultd, query):
    answer = web.get(f"{CALLBACK}?{query}")
    assert answer.status == 400
    assert vaultd.calls == []


def test_repeated_parameter_refused_on_the_connect_page(web, vaultd):
    assert web.get(CONNECT + "?a=1&a=2").status == 400
    assert vaultd.calls == []


@pytest.mark.parametrize("query", [
    "", "state=a", "code=b", "error=x", "state=a&code=%", "state=a&code=%4", "state=a&code=%zz", "state=a%00b&code=c",
    "state=%ff&code=c", "state=%ed%a0%80&code=c", "&".join(f"p{i}=1" for i in range(40)),
])
def test_damaged_callback_refused(web, vaultd, query):
    answer = web.get(f"{CALLBACK}?{query}")
    assert answer.status == 400
    assert vaultd.calls == []


@pytest.mark.parametrize("path", [
    "/connect", "/connect/", "/connect/a/b", "/connect/a%2fb", "/connect/..", "/connect/%2e%2e", "/connect/" + "a" * 129,
    "/callback", "/callback/", "/callback/a/b?state=a&code=b", "/Connect/abc", "/favicon.ico", "/connect/a;b", "//connect/a",
])
def test_unknown_path_is_404(web, vaultd, path):
    answer = web.get(path)
    assert answer.status == 404
    assert vaultd.calls == []
    assert "vaultctl connect" in answer.page.ids["advice"]


# --- who may ask ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["127.0.0.1:{port}", "localhost:{port}", "LocalHost:{port}", "[::1]:{port}"])
def test_own_names_admitted(web, vaultd, name):
    assert web.get(CONNECT, host=name.format(port=web.port)).status == 200


@pytest.mark.parametrize("name", [
    "evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost", "localhost.:{port}", "127.0.0.2:{port}",
    "127.0.0.1:{port}.evil.example", "127.0.0.1:{port}@evil.example", "evil.example#127.0.0.1:{port}", "127.1:{port}",
    "0.0.0.0:{port}", "127.0.0.1:0{port}", "127.0.0.1:{port} ", "vault.example.org", "2130706433:{port}",
])
def test_host_header_checked(web, vaultd, name):
    name = name.format(port=web.port)
    for target in (CONNECT, ANSWERED, "/", "/nowhere"):
        answer = web.get(target, host=name)
        assert answer.status == 421, target
        assert "evil" not in answer.body
    assert vaultd.calls == []


def test_two_host_headers_refused(web, vaultd):
    answer = web.get(CONNECT, headers=[("Host", "evil.example")])
    assert answer.status in (400, 421)
    assert vaultd.calls == []


def test_no_host_header_refused(web, vaultd):
    for version in ("1.0", "1.1"):
        answer = web.raw(f"GET {CONNECT} HTTP/{version}\r\n\r\n".encode())
        assert answer.split()[1] in (b"400", b"421")
    assert vaultd.calls == []


def test_absolute_target_refused(web, vaultd):
    answer = web.raw(f"GET http://evil.example{CONNECT} HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\n\r\n".encode())
    assert answer.split()[1] in (b"400", b"404")
    assert vaultd.calls == []


OWN = "http://127.0.0.1:{port}"


@pytest.mark.parametrize("origin, site", [
    (OWN, None), (OWN, "same-origin"), ("null", "same-origin"), (None, "same-origin"),
])
def test_own_button_admitted(web, vaultd, origin, site):
    headers = [("Origin", origin.format(port=web.port))] if origin else []
    headers += [("Sec-Fetch-Site", site)] if site else []
    assert web.press(CONNECT, headers=headers).status == 303


@pytest.mark.parametrize("origin, site", [
    (None, None), ("null", None), ("", None), ("https://evil.example", None), ("http://127.0.0.1", None),
    ("https://127.0.0.1:{port}", None), ("http://localhost:{port}", None), ("http://127.0.0.1:{port}.evil.example", None),
    (OWN, "cross-site"), (OWN, "same-site"), (OWN, "none"), (None, "cross-site"), (None, "same-site"), (None, "none"),
    ("null", "cross-site"), ("null", "same-site"), ("null", "none"), ("https://evil.example", "same-origin"), (None, ""),
    (None, "Same-Origin"),
])
def test_post_needs_same_origin(web, vaultd, origin, site):
    headers = [("Origin", origin.format(port=web.port))] if origin is not None else []
    headers += [("Sec-Fetch-Site", site)] if site is not None else []
    answer = web.press(CONNECT, headers=headers)
    assert answer.status == 403
    assert answer.header("Location") is None
    assert vaultd.calls == []


def test_two_origin_headers_refused(web, vaultd):
    own = OWN.format(port=web.port)
    for other in ("https://evil.example", own):
        answer = web.press(CONNECT, headers=[("Origin", own), ("Origin", other), ("Sec-Fetch-Site", "same-origin")])
        assert answer.status == 421
    assert vaultd.calls == []


@pytest.mark.parametrize("destination", ["iframe", "image", "empty", "script", "embed", "object"])
def test_part_of_another_page_refused(web, vaultd, destination):
    for target in (CONNECT, ANSWERED):
        assert web.get(target, headers={"Sec-Fetch-Dest": destination}).status == 403
    assert vaultd.calls == []
    assert web.get(CONNECT, headers={"Sec-Fetch-Dest": "document"}).status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "get"])
def test_other_methods_refused(web, vaultd, method):
    for target, allowed in ((CONNECT, "GET, HEAD, POST"), (ANSWERED, "GET, HEAD"), ("/", "GET, HEAD")):
        answer = web.ask(method, target)
        assert answer.status == 405
        assert answer.header("Allow") == allowed
    assert vaultd.calls == []


def test_callback_cannot_be_posted(web, vaultd):
    assert web.press(ANSWERED).status == 405
    assert vaultd.calls == []


def test_get_changes_nothing(web, vaultd):
    for _ in range(3):
        web.get(CONNECT)
        web.ask("HEAD", CONNECT)
        web.ask("HEAD", ANSWERED)
        web.get("/")
    assert set(vaultd.methods_called()) == {"Page"}


def test_head_is_get_without_a_body(web, vaultd):
    head, get = web.ask("HEAD", CONNECT), web.get(CONNECT)
    assert head.status == get.status == 200
    assert head.body == ""
    assert head.header("Content-Length") == get.header("Content-Length")
    assert web.ask("HEAD", ANSWERED).status == 200


# --- what the pages are made of ------------------------------------------------------------------------------------

def every_answer(web, vaultd):
    """One answer of each kind."""
    yield web.get(CONNECT)
    yield web.press(CONNECT)
    yield web.get(ANSWERED)
    yield web.get("/")
    yield web.get("/nowhere")
    yield web.ask("PUT", CONNECT)
    yield web.ask("HEAD", ANSWERED)
    yield web.get(CONNECT, host="evil.example")
    yield web.press(CONNECT, headers={})
    yield web.get(CALLBACK)
    yield web.ask("POST", CONNECT, headers={"Content-Length": "100000"})
    for method in ("Page", "Callback"):
        for name in ("NotFound", "FlowFailed", "UpstreamFailed", "Internal", "Nonsense"):
            vaultd.answers[method] = Error("io.vaultd." + name, message="m")
            yield web.get(CONNECT if method == "Page" else ANSWERED)


def test_headers_present(web, vaultd):
    nonces = set()
    for answer in every_answer(web, vaultd):
        policy = answer.header("Content-Security-Policy")
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "base-uri 'none'" in policy
        assert "unsafe" not in policy and "script-src" not in policy
        nonce = re.search(r"style-src 'nonce-([A-Za-z0-9_-]{22})'", policy).group(1)
        assert nonce not in nonces
        nonces.add(nonce)
        assert answer.header("X-Frame-Options") == "DENY"
        assert answer.header("X-Content-Type-Options") == "nosniff"
        assert answer.header("Referrer-Policy") == "no-referrer"
        assert answer.header("Cache-Control") == "no-store"
        assert answer.header("Cross-Origin-Resource-Policy") == "same-origin"
        assert answer.header("Content-Type") == "text/html; charset=utf-8"
        assert answer.header("Connection") == "close"
        assert answer.header("Access-Control-Allow-Origin") is None
        if answer.body:
            styles = [attributes for tag, attributes in answer.page.tags if tag == "style"]
            assert styles == [{"nonce": nonce}]


def test_no_cookie_ever(web, vaultd):
    for answer in every_answer(web, vaultd):
        assert answer.header("Set-Cookie") is None
    assert web.get(CONNECT, headers={"Cookie": "vaultd=1"}).header("Set-Cookie") is None


def test_pages_are_self_contained(web, vaultd):
    for answer in every_answer(web, vaultd):
        if not answer.body:
            continue
        for tag, attributes in answer.page.tags:
            assert tag not in ("script", "img", "link", "iframe", "object", "embed", "a", "base", "input")
            assert not any(name.startswith("on") or name in ("src", "href", "action", "style") for name in attributes)
        assert "url(" not in answer.body and "@import" not in answer.body


def test_html_escaped(web, vaultd):
    """Foreign text everywhere at once: the page has the same tags as with harmless text."""
    harmless = {kind: web.get(target).page.tags for kind, target in (("Page", CONNECT), ("Callback", ANSWERED))}
    for method, target in (("Page", CONNECT), ("Callback", ANSWERED)):
        answer = dict(vaultd.answers[method])
        for name, value in answer.items():
            if isinstance(value, str):
                answer[name] = HOSTILE
        if method == "Page":
            answer["scopes"] = [HOSTILE, HOSTILE]
        vaultd.answers[method] = answer
        page = web.get(target)
        assert page.status == 200
        assert "<script" not in page.body and "<img" not in page.body

        def names(tags):
            return [(tag, sorted(attributes)) for tag, attributes in tags]
        assert names(page.page.tags) == names(harmless[method])
        shown = page.page.ids["user" if method == "Page" else "account"]
        assert shown == HOSTILE

    vaultd.answers["Page"] = Error("io.vaultd.FlowFailed", message=HOSTILE, hint="Run: " + HOSTILE)
    page = web.get(CONNECT)
    assert "<script" not in page.body and "<img" not in page.body
    assert page.page.ids["message"] == HOSTILE
    assert page.page.ids["advice"] == "Run: " + HOSTILE


def test_controls_and_overrides_are_stripped(web, vaultd):
    vaultd.answers["Callback"]["account"] = "a\u202eb\u0007c\u001b[31md\u200be\u2066f\ng"
    shown = web.get(ANSWERED).page.ids["account"]
    assert shown == "a?b?c?[31md?e?f?g"


def test_long_text_is_bounded(web, vaultd):
    vaultd.answers["Callback"]["account"] = "x" * 100_000
    answer = web.get(ANSWERED)
    assert answer.status == 200
    assert len(answer.page.ids["account"]) < 700 and answer.page.ids["account"].endswith("…")


def test_error_description_is_text(web, vaultd):
    """vaultd quotes the provider's words in its message, once it knows the flow; here they are text, stripped and bounded."""
    vaultd.answers["Callback"] = lambda call: Error(
        "io.vaultd.FlowFailed", message=f"Notion refused alice: {call['error']}, {call['errorDescription']}", hint="Run: vaultctl connect notion")
    description = HOSTILE + "\x1b]0;x\x07" + "z" * 5000
    answer = web.get(f"{CALLBACK}?" + urllib.parse.urlencode(
        {"state": "s", "error": "access_denied", "error_description": description}))
    assert answer.status == 410
    assert "<script" not in answer.body and "<img" not in answer.body
    message = answer.page.ids["message"]
    assert message.startswith("Notion refused alice: access_denied, " + HOSTILE + "?]0;x?zzz")
    assert len(message) < 700
    assert answer.page.ids["advice"] == "Run: vaultctl connect notion"


@pytest.mark.parametrize("name", ["NotFound", "FlowFailed", "UpstreamFailed", "NotAllowed", "Internal"])
def test_strangers_cannot_put_words_on_our_page(web, vaultd, name):
    vaultd.answers["Callback"] = Error("io.vaultd." + name, message="This belongs to no connection.")
    answer = web.get(f"{CALLBACK}?state=made-up&error=555-0100&error_description=Call+555-0100+for+help&error_uri=555-0100")
    assert answer.status >= 400
    assert "555-0100" not in answer.body
    for target in ("/nowhere?x=Call+555-0100", "/555-0100", CONNECT + "x?y=%", "/connect/555-0100%"):
        assert "555-0100" not in web.get(target).body


@pytest.mark.parametrize("name, status", [
    ("io.vaultd.NotFound", 404), ("io.vaultd.FlowFailed", 410), ("io.vaultd.UpstreamFailed", 502),
    ("io.vaultd.AccountChanged", 409), ("io.vaultd.VaultClosed", 403), ("io.vaultd.NotAllowed", 403),
    ("io.vaultd.StoreFull", 503), ("io.vaultd.Damaged", 503), ("io.vaultd.Internal", 503), ("io.vaultd.NotConfigured", 503),
    ("org.varlink.service.InvalidParameter", 400), ("org.varlink.service.MethodNotFound", 503), ("io.other.Thing", 503),
])
def test_refusals_have_their_status_and_say_what_to_do(web, vaultd, name, status):
    error = Error(name, message="It went wrong for alice.", hint="Run: vaultctl connect notion")
    vaultd.answers.update(Page=error, Continue=error, Callback=error)
    for answer in (web.get(CONNECT), web.press(CONNECT), web.get(ANSWERED)):
        assert answer.status == status
        assert answer.page.ids["message"] == "It went wrong for alice."
        assert answer.page.ids["advice"] == "Run: vaultctl connect notion"
        assert (answer.header("Retry-After") is not None) == (status == 503)
    vaultd.answers["Page"] = Error(name)
    answer = web.get(CONNECT)
    assert answer.status == status and "vaultctl connect" in answer.page.ids["advice"]


# --- vaultd misbehaves ---------------------------------------------------------------------------------------------

def test_vaultd_away_gives_503(start, folder):
    web = start()
    for answer in (web.get(CONNECT), web.press(CONNECT), web.get(ANSWERED)):
        assert answer.status == 503
        assert "cannot be reached" in answer.page.ids["message"]
        assert answer.header("Retry-After")
    assert web.get("/").status == 200
    server = FakeVaultd(folder / "io.vaultd.web")
    try:
        assert web.get(CONNECT).status == 200
    finally:
        server.close()


def test_hanging_vaultd_gives_503_within_its_deadline(web, vaultd):
    release = threading.Event()
    vaultd.answers["Page"] = lambda _: release.wait(30) or {}
    begun = time.monotonic()
    answer = web.get(CONNECT)
    taken = time.monotonic() - begun
    release.set()
    assert answer.status == 503
    assert "in time" in answer.page.ids["message"]
    assert 4 < taken < 8


def test_callback_may_take_its_time(web, vaultd):
    result = dict(vaultd.answers["Callback"])

    def slowly(_):
        time.sleep(7)
        return result
    vaultd.answers["Callback"] = slowly
    assert web.get(ANSWERED).status == 200


@pytest.mark.parametrize("answer", [
    b"\0", b"nonsense\0", b"{}\0", b"[]\0", b"null\0", b'{"parameters":[]}\0', b'{"parameters":{}}\0', b'{"parameters":null}\0',
    b'{"parameters":{"user":1,"host":"h","service":"s","title":"t","upstream":"u","scopes":[],"expires":1}}\0',
    b'{"parameters":{"user":"u","host":"h","service":"s","title":"t","upstream":"u","scopes":[1],"expires":1}}\0',
    b'{"parameters":{"user":"u","host":"h","service":"s","title":"t","upstream":"u","scopes":{},"expires":1}}\0',
    b'{"parameters":{"user":"u","user":"v","host":"h","service":"s","title":"t","upstream":"u","scopes":[],"expires":1}}\0',
    b'{"parameters":{"user":"u","host":"h","service":"s","title":"t","upstream":"u","scopes":[],"expires":-1}}\0',
    b'{"error":7,"parameters":{}}\0', b'{"error":null}\0', b'{"parameters":{}} {}\0', b"{" * 1000 + b"\0", b"half an answ",
    b'{"x":"' + b"x" * (2 << 20) + b'"}\0', b"",
], ids=lambda answer: answer[:40].decode())
def test_nonsense_from_vaultd_gives_503(web, vaultd, answer):
    vaultd.answers["Page"] = answer
    if not answer.endswith(b"\0"):
        # A cut answer: close at once instead of waiting for us.
        vaultd.answers["Page"] = lambda _: (_ for _ in ()).throw(ConnectionResetError())
    assert web.get(CONNECT).status == 503


# --- clients misbehave ---------------------------------------------------------------------------------------------

def test_big_request_refused(web, vaultd):
    assert web.get(f"{CALLBACK}?state=s&code=" + "c" * 9000).status == 414
    assert web.get(f"{CALLBACK}?state=s&code=" + "c" * 7900).status == 200
    answer = web.ask("POST", CONNECT, headers={"Content-Length": "1025"}, body=b"x" * 1025)
    assert answer.status == 413
    status = web.raw(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nX: ".encode() + b"y" * 60_000 + b"\r\n\r\n").split()[1]
    assert status in (b"413", b"431")
    assert vaultd.methods_called() == ["Callback"]


def test_endless_body_is_cut(web, vaultd):
    with web.connect() as connection:
        connection.sendall(f"POST {CONNECT} HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        with pytest.raises(OSError):
            for _ in range(2000):
                connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
                time.sleep(0.001)
    assert vaultd.calls == []
    assert web.get(CONNECT).status == 200


def test_chunked_body_beyond_the_limit_refused(web, vaultd):
    head = (f"POST {CONNECT} HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nSec-Fetch-Site: same-origin\r\n"
            "Transfer-Encoding: chunked\r\n\r\n").encode()
    assert web.raw(head + b"800\r\n" + b"x" * 2048 + b"\r\n0\r\n\r\n").split()[1] == b"413"
    assert vaultd.calls == []
    assert web.raw(head + b"4\r\na=bc\r\n0\r\n\r\n").split()[1] == b"303"


def test_second_request_on_a_connection_is_not_read(web, vaultd):
    request = f"GET {CONNECT} HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nConnection: keep-alive\r\n\r\n".encode()
    answer = web.raw(request * 3)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert vaultd.methods_called() == ["Page"]


def test_slow_client_cut(web, vaultd):
    """A byte a second is not progress: the connection ends, and meanwhile others are served."""
    begun = time.monotonic()
    slow = web.connect(timeout=1)
    request = f"GET {CONNECT} HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nX-Slow: {'y' * 100}".encode()
    is_cut = False
    for byte in request[:12]:
        try:
            slow.sendall(bytes([byte]))
            if slow.recv(1) == b"":
                is_cut = True
                break
        except socket.timeout:
            assert web.get(CONNECT).status == 200
        except OSError:
            is_cut = True
            break
    slow.close()
    assert is_cut
    assert 4 < time.monotonic() - begun < 9


def test_many_idle_clients_do_not_stop_others(web, vaultd):
    """Far more connections than there are places, all silent, and the next visitor gets in at once."""
    idle = []
    for i in range(300):
        connection = web.connect()
        if i % 2:
            connection.sendall(b"GET / HTTP/1.1\r\nX: y")
        idle.append(connection)
        if i % 60 == 59:
            begun = time.monotonic()
            assert web.get(CONNECT).status == 200
            assert time.monotonic() - begun < 2
    for connection in idle:
        connection.close()
    assert web.get(CONNECT).status == 200


def test_waiting_calls_do_not_stop_others(web, vaultd):
    """When as many requests wait for vaultd as may, the next one is told so at once."""
    release = threading.Event()
    page = dict(vaultd.answers["Page"])
    vaultd.answers["Page"] = lambda _: release.wait(4) and page or page
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(web.get(CONNECT).status)) for _ in range(30)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    begun = time.monotonic()
    assert web.get("/").status == 503
    assert time.monotonic() - begun < 1
    release.set()
    for thread in threads:
        thread.join()
    assert statuses.count(200) == 24 and statuses.count(503) == 6
    assert web.get(CONNECT).status == 200


def test_client_that_reads_nothing_is_cut(web, vaultd):
    with web.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        connection.sendall(f"GET {CONNECT} HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\n\r\n".encode())
        assert web.get(CONNECT).status == 200


# --- the program ---------------------------------------------------------------------------------------------------

def test_log_names_no_ticket_state_or_code(web, vaultd):
    web.get(CONNECT)
    web.press(CONNECT)
    web.get(f"{CALLBACK}?state=stateCanary&code=codeCanary&error_description=wordsCanary")
    web.get("/nowhere-canary?x=queryCanary")
    web.ask("CANARY", "/")
    log = web.log_text()
    assert "GET connect 200" in log and "POST connect 303" in log and "GET callback 200" in log and "GET none 404" in log
    for canary in (TICKET, "Canary", "canary", "CANARY", "7KQ2", "9f86d081", "xyz"):
        assert canary not in log


def test_log_is_bounded_and_counts_the_rest(web, vaultd):
    """T26: whoever reaches the port can ask in a loop."""
    before = len(web.log_text())
    for _ in range(450):
        web.get("/nowhere")
    deadline = time.monotonic() + 30
    while True:
        lines = web.log_text()[before:].splitlines()
        counts = [int(line.split()[0]) for line in lines if line.endswith("more requests")]
        shown = sum(line.startswith("GET ") for line in lines)
        if shown + sum(counts) >= 450 or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert shown < 450 and counts, "every request is a line"
    assert shown + sum(counts) >= 450, "some are not told of"
    assert len(counts) <= 3


def memory_findings(pid, canaries):
    """Which canaries are somewhere in the writable memory of a process, and in which mapping."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            start, end = (int(x, 16) for x in line.split()[0].split("-"))
            if "rw" not in line.split()[1] or end - start > 1 << 30:
                continue
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except OSError:
                continue
            found += [(canary, line.split()[-1]) for canary in canaries if canary.encode() in content]
    return found


def test_codes_are_not_kept_in_memory(web, vaultd):
    """Once the page is sent neither the authorization code nor the claim code is anywhere in the process."""
    code, claim = "codeCanary8842", "CLAIM-CANARY-77"
    # The canaries are looked for as root through /proc; the process itself cannot be dumped by its own uid.
    if os.getuid() != 0:
        pytest.skip("needs root to read the memory of an undumpable process")
    result = {**vaultd.answers["Callback"], "claimCode": claim}
    seen_while_asking = []

    def look_meanwhile(_):
        seen_while_asking.extend(memory_findings(web.process.pid, [code]))
        return result
    vaultd.answers["Callback"] = look_meanwhile
    assert claim in web.get(f"{CALLBACK}?state=stateCanary8842&code={code}").body
    assert seen_while_asking, "the search does not find what is there"
    until = time.monotonic() + 3  # the thread of the connection ends a moment after the page was read
    while (found := memory_findings(web.process.pid, [code, claim])) and time.monotonic() < until:
        time.sleep(0.05)
    assert found == []


@pytest.fixture
def open_program():
    """vaultd-web at a place where other users reach it; the tree may be in root's home."""
    with tempfile.TemporaryDirectory(prefix="vaultd-web-") as directory:
        os.chmod(directory, 0o755)
        yield shutil.copy(PROGRAM, directory)


def test_process_cannot_be_dumped(open_program):
    """Its files in /proc belong to root, though it runs as somebody else: neither a core dump nor ptrace by its own uid."""
    uid = 12345 if os.getuid() == 0 else os.getuid()
    process = subprocess.Popen([open_program, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
                               **({"user": uid} if os.getuid() == 0 else {}))
    try:
        assert process.stdout.readline().startswith(b"listening on")
        assert f"Uid:\t{uid}\t" in open(f"/proc/{process.pid}/status").read()
        assert os.stat(f"/proc/{process.pid}/mem").st_uid == 0
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.mark.parametrize("address", [
    "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999", "localhost:0", "::1:0", ":0",
])
def test_non_loopback_address_refused(address):
    ended = subprocess.run([PROGRAM, "--listen", address], capture_output=True, timeout=20)
    assert ended.returncode != 0
    assert ended.stdout == b"" and b"cannot listen" in ended.stderr


def test_wrong_options_are_usage_errors():
    for options in (["--external"], ["--external-url", "http://a.example"], ["--external-url", "https://"], ["--nonsense"], ["word"],
                    ["--external-url", "https://a.example@b.example/"]):
        ended = subprocess.run([PROGRAM, "--listen", "127.0.0.1:0", *options], capture_output=True, timeout=20)
        assert ended.returncode == 2, options
    assert subprocess.run([PROGRAM, "--help"], capture_output=True, timeout=20).returncode == 0
    assert subprocess.run([PROGRAM, "--version"], capture_output=True, timeout=20).stdout.startswith(b"vaultd-web ")


def test_ipv6_loopback_served(start, vaultd):
    web = start(address="[::1]:0")
    with socket.create_connection(("::1", web.port), 20) as connection:
        connection.sendall(f"GET {ANSWERED} HTTP/1.1\r\nHost: [::1]:{web.port}\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert vaultd.calls[0][1]["local"] == f"[::1]:{web.port}"
        assert vaultd.calls[0][1]["peer"] == "[::1]:%d" % connection.getsockname()[1]


def test_client_document_names_itself_and_one_callback(start, vaultd):
    web = start("--external", "--external-url", "https://vault.example.org")
    answer = web.get("/client/0123456789abcdef", host="vault.example.org")
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json"
    document = json.loads(answer.body)
    assert document["client_id"] == "https://vault.example.org/client/0123456789abcdef"
    assert document["redirect_uris"] == ["https://vault.example.org/callback/0123456789abcdef"]
    assert document["token_endpoint_auth_method"] == "none" and document["grant_types"] == ["authorization_code", "refresh_token"]
    assert document["client_name"] == "vaultd on vault.example.org"
    assert vaultd.calls == []


@pytest.mark.parametrize("path", ["/client/", "/client/0123456789abcde", "/client/0123456789abcdeg", "/client/0123456789ABCDEF",
                                  "/client/0123456789abcdef0", "/client/..%2f", "/client"])
def test_client_document_is_nowhere_else(start, vaultd, path):
    web = start("--external", "--external-url", "https://vault.example.org")
    assert web.get(path, host="vault.example.org").status == 404


def test_client_document_is_not_on_loopback(web):
    assert web.get("/client/0123456789abcdef").status == 404


def test_external_name_admitted_and_peer_left_out(start, vaultd):
    web = start("--external-url", "https://Vault.Example.org:443/some/path")
    assert web.get(ANSWERED, host="vault.example.org").status == 200
    assert set(vaultd.calls[0][1]) == {"path", "state", "code"}
    own = {"Origin": "https://vault.example.org"}
    assert web.press(CONNECT, headers=own, host="vault.example.org").status == 303
    assert web.press(CONNECT, headers={"Origin": "http://vault.example.org"}, host="vault.example.org").status == 403
    assert web.press(CONNECT, headers=own, host=f"127.0.0.1:{web.port}").status == 403
    assert web.get(CONNECT, host="vault.example.org:8443").status == 421
    web.get(ANSWERED)
    assert "peer" in vaultd.calls[-1][1]


def test_behind_a_proxy_loopback_names_are_refused(start, vaultd):
    web = start("--external", "--external-url", "https://vault.example.org")
    assert web.get(CONNECT).status == 421
    assert web.get(CONNECT, host=f"localhost:{web.port}").status == 421
    assert web.get(CONNECT, host="vault.example.org").status == 200


def spawn_with_socket(listener, folder, log):
    """As the service manager would: the socket is descriptor 3, LISTEN_PID is the program's."""
    def hand_over():
        os.dup2(listener.fileno(), 3)
        os.environ["LISTEN_PID"] = str(os.getpid())
    # /bin/sh keeps its pid over exec, so LISTEN_PID is right for the program.
    command = f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" --socket "$1"'
    return subprocess.Popen(["/bin/sh", "-c", command, str(PROGRAM), str(folder / "io.vaultd.web")], stderr=log,
                            pass_fds=(3,), preexec_fn=hand_over)


def test_port_stays_held_over_a_restart(folder, vaultd):
    """The listening socket belongs to the service manager: while we are away connections wait in it, afterwards they are served."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener, open(folder / "log", "wb") as log:
        port = listener.getsockname()[1]
        request = f"GET {CONNECT} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), 20) as early:  # before the program runs
                early.sendall(request)
                process = spawn_with_socket(listener, folder, log)
                assert early.recv(65536).startswith(b"HTTP/1.1 200")
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, (folder / "log").read_text()


def test_non_loopback_handed_over_socket_refused(folder):
    with socket.create_server(("0.0.0.0", 0)) as listener, open(folder / "log", "wb") as log:
        process = spawn_with_socket(listener, folder, log)
        assert process.wait(20) == 1
    assert "loopback" in (folder / "log").read_text()


def test_unix_socket_as_listener_refused(folder):
    with socket.socket(socket.AF_UNIX) as listener, open(folder / "log", "wb") as log:
        listener.bind(str(folder / "x"))
        listener.listen()
        assert spawn_with_socket(listener, folder, log).wait(20) == 1


def test_stop_lets_an_answer_finish(start, vaultd):
    web = start()
    result = dict(vaultd.answers["Callback"])
    asked = threading.Event()

    def slowly(_):
        asked.set()
        time.sleep(2)
        return result
    vaultd.answers["Callback"] = slowly
    answers = []
    thread = threading.Thread(target=lambda: answers.append(web.get(ANSWERED)))
    thread.start()
    assert asked.wait(10)
    idle = web.connect()
    web.process.send_signal(signal.SIGTERM)
    thread.join()
    idle.close()
    assert answers[0].status == 200 and "7KQ2-M4XD-9RTB" in answers[0].body
    assert web.process.wait(10) == 0


def test_readiness_is_told(folder, vaultd):
    path = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(20)
        process = subprocess.Popen([PROGRAM, "--socket", vaultd.path, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                                   env={**os.environ, "NOTIFY_SOCKET": str(path)})
        assert notify.recv(100) == b"READY=1"
        process.send_signal(signal.SIGTERM)
        assert notify.recv(100) == b"STOPPING=1"
        assert process.wait(20) == 0
        process.stdout.close()
