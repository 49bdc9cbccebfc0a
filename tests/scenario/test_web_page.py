# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page of one's services, published by nginx and seen with Chromium (O1, O4, T14, T29, T34)."""

import concurrent.futures
import os
import re
import socket
import subprocess
import threading

import pytest
from logins import Login
from needles import ProcessSampler, Searcher
from page_world import PageWorld
from world import UIDS, as_user, wait_for


@pytest.fixture(scope="module")
def world():
    """Beside notion a service whose tokens are handed out by hand, and one that never answers: world.silent are those who wait for it."""
    with PageWorld(settings="[Limits]\nCalls=3\n") as world, socket.create_server(("127.0.0.1", 0)) as hanging:
        world.silent = []
        threading.Thread(target=collect, args=(hanging, world.silent), daemon=True).start()
        url = f"https://127.0.0.1:{hanging.getsockname()[1]}/mcp"
        world.more_upstreams.append(url)
        world.add_service("handed", "[Service]\nName=handed\nTitle=Handed\nAuth=environment\nVariable=HANDED\nAllowedHosts=handed.test\n")
        world.add_service("hanging", f"[Service]\nName=hanging\nTitle=Hanging\nUrl={url}\nAccountTool=who\nAccountIdField=id\nAccountNameField=name\n")
        world.configure()
        world.restart_vaultd()
        yield world


@pytest.fixture(autouse=True)
def no_page_is_open(world):
    for user in ("alice", "bob"):
        world.json(user, "web", "--end")


def collect(listener, connections):
    while True:
        try:
            connections.append(listener.accept()[0])
        except OSError:
            return


@pytest.fixture(scope="module")
def chromium(world):
    with world.chromium() as browser:
        yield browser


METADATA = "/.well-known/*"
CARD = '[data-service="notion"][data-label="default"]'


def open_page(world, window, user="alice"):
    answer = world.json(user, "web", "--no-browser")
    window.open(answer["link"])
    assert user in window.text("#user") and world.json(user, "whoami")["user"] == user
    return window.click("#open button")


def test_a_service_is_connected_and_disconnected_by_clicks_and_claims(world, chromium):
    window = open_page(world, chromium.person())
    assert window.url == world.origin + "/"
    assert "not connected" in window.text(CARD)

    window.click(f"{CARD} button")
    assert window.url.startswith(world.origin + "/connect/") and window.text("#user") == "alice"
    window.click("#continue button")
    window.write('input[name="login"]', "alice@notion.test")
    window.click("#login button")
    window.click("#consent button")
    assert window.text("#account") == "alice@notion.test", window.text()
    code = window.text("#claim-code")
    assert world.json("alice", "status")["connections"] == []

    window.click('a[href="/"]')
    assert "waits for your code" in window.text(CARD) and "alice@notion.test" in window.text(CARD)
    account = world.json("alice", "status")["flows"][0]["account"]["id"]
    world.json("alice", "claim", code, "--account", account)
    window.click('a[href="/"]')
    assert "connected" in window.text(CARD) and "not connected" not in window.text(CARD) and "alice@notion.test" in window.text(CARD)
    assert world.grants("alice@notion.test")[1] == 1

    window.click(f'{CARD} form[action="/offer"] button')
    assert "Nothing has happened yet" in window.text()
    command = window.text("#confirm-command").split()
    assert command[:3] == ["vaultctl", "web", "--confirm"] and command[3] == window.text("#offer-code")
    assert world.json("alice", "status")["connections"] != [] and world.grants("alice@notion.test")[1] == 1
    done = world.json("alice", *command[1:])
    assert done["service"] == "notion" and done["revoked"]
    assert world.json("alice", "status")["connections"] == [] and world.grants("alice@notion.test") == (0, 0)
    window.click('a[href="/"]')
    assert "not connected" in window.text(CARD)


# --- links and cookies ---------------------------------------------------------------------------------------------

def works(world, cookie):
    """Whether the cookie shows a page; whose."""
    answer = world.get("/", cookie)
    assert answer.status in (200, 403), answer.text
    return re.search(r'id="user">([^<]*)<', answer.text)[1] if answer.status == 200 else None


def test_a_link_opens_one_page_and_only_by_its_button(world):
    path = world.link("alice")
    for _ in range(3):
        assert world.get(path).status == 200
        assert world.ask("HEAD", path).status == 200
    first = world.press(path)
    assert first.status == 303 and works(world, first.cookie) == "alice"
    for answer in (world.press(path), world.get(path), world.press(path, first.cookie)):
        assert answer.status == 404 and answer.cookie is None
    assert works(world, first.cookie) == "alice"


def test_a_new_link_voids_the_old_one(world):
    old, new = world.link("alice"), world.link("alice")
    assert world.press(old).status == 404 and world.get(old).status == 404
    assert world.press(new).status == 303


def test_each_cookie_shows_its_own_users_services(world):
    alices, bobs = world.enter("alice"), world.enter("bob")
    assert alices != bobs and works(world, alices) == "alice" and works(world, bobs) == "bob"
    assert "bob" not in world.get("/", alices).text and "alice" not in world.get("/", bobs).text


def test_the_form_word_of_one_page_opens_no_other(world):
    """T29: what a forged form could know is the word of the forger's own page."""
    alices, bobs = world.enter("alice"), world.enter("bob")
    word = world.get("/", bobs).form
    for path, fields in (("/begin", {"service": "notion"}), ("/offer", {"service": "notion", "label": "default"})):
        answer = world.press(path, alices, {"form": word, **fields})
        assert answer.status == 403 and "Location" not in answer.headers
    world.press("/leave", alices, {"form": word})
    assert works(world, alices) == "alice"
    assert world.json("alice", "status")["flows"] == []


def test_who_opens_a_page_in_the_same_browser_leaves_the_former_one(world):
    former = world.enter("bob")
    cookie = world.enter("alice", former)
    assert works(world, cookie) == "alice" and works(world, former) is None


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Content-Type": "text/plain"},
                                     {"Origin": None, "Sec-Fetch-Site": None}], ids=str)
def test_a_request_forged_elsewhere_changes_nothing(world, headers):
    cookie = world.enter("alice")
    word = world.get("/", cookie).form
    for path, fields in (("/begin", {"service": "notion"}), ("/offer", {"service": "notion", "label": "default"}), ("/leave", {})):
        assert world.press(path, cookie, {"form": word, **fields}, headers).status in (403, 415)
    assert world.json("alice", "status")["flows"] == [] and works(world, cookie) == "alice"


@pytest.mark.parametrize("name", ["evil.test:{port}", "localhost.evil.test:{port}", "localhost", "localhost:1"])
def test_a_rebound_name_is_refused_behind_the_proxy_too(world, name):
    cookie = world.enter("alice")
    for path in ("/", world.link("alice")):
        answer = world.get(path, cookie, host=name.format(port=world.tls_port))
        assert answer.status == 421 and "alice" not in answer.text


def test_t34_past_the_proxy_there_are_neither_cookies_nor_buttons(world):
    cookie, path, here = world.enter("alice"), world.link("alice"), f"127.0.0.1:{world.port}"
    answer = world.get("/", cookie, host=here, port=world.port)
    assert answer.status == 200 and "alice" not in answer.text and "<form" not in answer.text and "Set-Cookie" not in answer.headers
    for method in (world.get, world.press):
        answer = method(path, host=here, port=world.port, **({"headers": {"Origin": f"http://{here}"}} if method == world.press else {}))
        assert answer.status == 404 and "Set-Cookie" not in answer.headers
    assert world.press(path).status == 303, "the link was used up on loopback"


# --- how a page ends -----------------------------------------------------------------------------------------------

def revoke(world):
    assert "error" not in world.caller("root", "control").reply("io.vaultd.Admin.Revoke", {"user": "alice"})


def lock_and_unlock(world):
    for verb in ("Lock", "Unlock"):
        assert "error" not in world.caller("root", "control").reply("io.vaultd.Admin." + verb, {"user": "alice"})


def end(world):
    assert world.json("alice", "web", "--end")["pages"] >= 1


@pytest.mark.parametrize("how", [revoke, lock_and_unlock, end])
def test_what_ends_a_users_pages_ends_cookie_link_and_offer(world, how):
    """V10: also for a web process that goes on asking with a cookie that it has seen."""
    cookie, bobs, path = world.enter("alice"), world.enter("bob"), world.link("alice")
    word = world.get("/", cookie).form
    how(world)
    assert works(world, cookie) is None and works(world, bobs) == "bob"
    assert world.get("/", cookie).cookie == "", "the browser keeps a cookie that is worth nothing"
    assert world.press(path).status == 404
    answer = world.press("/begin", cookie, {"form": word, "service": "notion"})
    assert answer.status == 403 and "Location" not in answer.headers
    web = world.caller("vaultd-web", "web")
    for method, more in (("Services", {}), ("Begin", {"form": word, "service": "notion"}), ("Offer", {"form": word, "service": "notion", "label": "default"})):
        assert web.reply("io.vaultd.Web." + method, {"visit": cookie, **more})["error"] == "io.vaultd.NotFound"
    assert world.json("alice", "status")["flows"] == []


def test_a_locked_vault_shows_nothing_and_opens_no_page(world):
    root = world.caller("root", "control")
    root.reply("io.vaultd.Admin.Lock", {"user": "bob"})
    try:
        assert world.json("bob", "web", "--no-browser", code=4)["error"] == "io.vaultd.VaultClosed"
    finally:
        root.reply("io.vaultd.Admin.Unlock", {"user": "bob"})


def test_a_page_ends_with_the_login_that_it_was_opened_from(world):
    with Login(world, "alice") as login, Login(world, "alice") as other:
        cookies = []
        for each in (login, other):
            code, answer = each.vaultctl("web", "--no-browser")
            assert code == 0, answer
            cookies.append(world.press(answer["link"].removeprefix(world.origin)).cookie)
        without = world.enter("alice")
        assert [works(world, cookie) for cookie in cookies] == ["alice", "alice"]
        login.end()
        wait_for(lambda: works(world, cookies[0]) is None, 10, "the page outlasts its login")
        assert works(world, cookies[1]) == works(world, without) == "alice"


def test_a_restart_of_vaultd_ends_every_page(world):
    cookie = world.enter("alice")
    world.restart_vaultd()
    assert works(world, cookie) is None


def test_a_user_has_four_pages_at_once(world):
    cookies = [world.enter("alice") for _ in range(4)]
    assert world.json("alice", "status")["pages"] == 4 and world.json("bob", "status")["pages"] == 0
    assert "open in 4 browsers" in world.vaultctl("alice", "status").stdout and "browser" not in world.vaultctl("bob", "status").stdout
    refused = world.json("alice", "web", "--no-browser", code=1)
    assert refused["error"] == "io.vaultd.LimitExceeded" and refused["hint"] == "Run: vaultctl web --end"
    assert world.enter("bob")
    assert world.press("/leave", cookies[0], {"form": world.get("/", cookies[0]).form}).status == 200
    assert works(world, world.enter("alice")) == "alice"


# --- a browser's command line --------------------------------------------------------------------------------------

def test_a_link_in_a_browsers_command_line_opens_nothing_alone(world):
    """Other users can read it; the code is on the terminal only."""
    seen = world.root / "run/seen"
    browser = world.root / "bin/note-argv"
    browser.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{seen}\n")
    browser.chmod(0o755)
    seen.touch()
    os.chown(seen, UIDS["alice"], UIDS["alice"])
    done = subprocess.run(world.command("web"), text=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL,
                          env={**world.environment(), "BROWSER": str(browser)}, **as_user("alice"))
    assert done.returncode == 0, done.stderr
    code = re.search(r"asks for this code: ([0-9A-Z]{4}-[0-9A-Z]{4})", done.stdout)[1]
    wait_for(lambda: seen.read_text(), 5, "the browser was not started")
    link = seen.read_text().strip()
    assert link in done.stdout and code not in link and code.replace("-", "") not in link
    path = link.removeprefix(world.origin)
    assert "code-field" in world.get(path).text
    for fields in ({}, {"code": ""}, {"code": "AAAA-AAAA"}):
        answer = world.press(path, None, fields)
        assert answer.status in (403, 404) and answer.cookie is None
    assert world.press(path, None, {"code": code}).status == 404, "there was a fourth try"


def test_the_code_from_the_terminal_opens_the_page(world):
    answer = world.caller("alice").reply("io.vaultd.Page.Open", {"withCode": True})["parameters"]
    path = answer["link"].removeprefix(world.origin)
    assert world.press(path, None, {"code": answer["code"].lower().replace("-", "+")}).status == 303


# --- what a page may ask for ---------------------------------------------------------------------------------------

def begin(world, cookie, **fields):
    return world.press("/begin", cookie, {"form": world.get("/", cookie).form, "service": "notion", **fields})


def give_up(world, user):
    for flow in world.json(user, "status")["flows"]:
        world.caller(user).reply("io.vaultd.Connect.Cancel", {"flow": flow["flow"]})


def test_what_a_page_begins_is_its_users_and_needs_the_claim(world, chromium):
    cookie = world.enter("alice")
    answer = begin(world, cookie, label="work")
    assert answer.status == 303 and answer.headers["Location"].startswith(world.origin + "/connect/")
    flow, = world.json("alice", "status")["flows"]
    assert flow["service"] == "notion" and flow["state"] == "pending" and world.json("bob", "status")["flows"] == []
    window = chromium.person()
    window.open(answer.headers["Location"]).click("#continue button")
    window.write('input[name="login"]', "alice@notion.test")
    window.click("#login button")
    window.click("#consent button")
    code = window.text("#claim-code")
    assert world.claim("bob", code, "alice@notion.test", want=None)["error"] == "io.vaultd.NotFound"
    assert world.json("alice", "status")["connections"] == []
    assert world.claim("alice", code)["label"] == "work"
    world.json("alice", "disconnect", "notion")


@pytest.mark.parametrize("fields, status", [({"service": "nowhere"}, 404), ({"service": "handed"}, 403), ({"label": "No+Label"}, 400), ({"service": "x" * 65}, 400)])
def test_what_cannot_be_begun_is_said_kindly(world, fields, status):
    cookie = world.enter("alice")
    answer = begin(world, cookie, **fields)
    assert answer.status == status and "Location" not in answer.headers and re.search(r'id="message">[A-Z]?[^<]{10}', answer.text), answer.text
    assert works(world, cookie) == "alice"


def test_a_disconnect_is_done_by_its_own_user_alone(world):
    world.connect("alice")
    world.connect("bob")
    cookie = world.enter("alice")
    answer = world.press("/offer", cookie, {"form": world.get("/", cookie).form, "service": "notion", "label": "default"})
    code = re.search(r'id="offer-code">([^<]*)<', answer.text)[1]
    refused = world.json("bob", "web", "--confirm", code, code=1)
    assert refused["error"] == "io.vaultd.NotFound", "bob's pages wait for nothing"
    wrong = world.json("alice", "web", "--confirm", "AAAA-AAAA", code=1)
    assert wrong["error"] == "io.vaultd.ClaimRejected" and "2 tries left" in wrong["message"]
    assert [len(world.json(user, "status")["connections"]) for user in ("alice", "bob")] == [1, 1]
    done = world.json("alice", "web", "--confirm", "-", stdin=code.lower() + "\n")
    assert done["service"] == "notion" and done["revoked"]
    assert [len(world.json(user, "status")["connections"]) for user in ("alice", "bob")] == [0, 1]
    assert world.json("alice", "web", "--confirm", code, code=1)["error"] == "io.vaultd.NotFound", "a code works once"


def test_an_offer_is_about_the_connection_that_was_shown(world):
    """Who reconnects meanwhile keeps what is new."""
    world.connect("alice")
    cookie = world.enter("alice")
    answer = world.press("/offer", cookie, {"form": world.get("/", cookie).form, "service": "notion", "label": "default"})
    code = re.search(r'id="offer-code">([^<]*)<', answer.text)[1]
    world.connect("alice")
    assert world.json("alice", "web", "--confirm", code, code=1)["error"] == "io.vaultd.FlowFailed"
    assert len(world.json("alice", "status")["connections"]) == 1
    world.json("alice", "disconnect", "notion")


def test_no_page_disconnects_what_is_not_there(world):
    cookie = world.enter("alice")
    answer = world.press("/offer", cookie, {"form": world.get("/", cookie).form, "service": "notion", "label": "default"})
    assert answer.status == 410 and "offer-code" not in answer.text


def test_the_web_door_takes_no_uid_and_knows_nobody_by_name(world):
    web = world.caller("vaultd-web", "web")
    for more in ({"uid": 1001}, {"user": "alice"}):
        for method, parameters in (("Services", {"visit": "x"}), ("Enter", {"ticket": "x"}), ("Begin", {"visit": "x", "form": "y", "service": "notion"})):
            assert web.reply("io.vaultd.Web." + method, {**parameters, **more})["error"] == "org.varlink.service.InvalidParameter"
    for method in ("io.vaultd.Page.Open", "io.vaultd.Page.Confirm", "io.vaultd.Connect.Disconnect"):
        assert "error" in web.reply(method, {"code": "x"}), "a door of its own"


def test_t26_services_that_hang_keep_two_browsers_of_a_user_waiting(world):
    """vaultd-web has two dozen places for everybody, and a service may take its time."""
    cookie, bobs = world.enter("alice"), world.enter("bob")
    word = world.get("/", cookie).form
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = [pool.submit(world.press, "/begin", cookie, {"form": word, "service": "hanging", "label": f"l{i}"}) for i in range(2)]
        wait_for(lambda: len(world.silent) == 2 or any(each.done() for each in waiting), 10, "nothing hangs")
        refused = begin(world, cookie)
        assert refused.status == 503 and "beginning 2 connections at once" in refused.text
        # With one more call she has all that she may; bob has all of his.
        terminal = world.converse("alice", "connect", "notion", "--no-browser")
        assert terminal.hear()["state"] == "pending"
        assert world.caller("alice").reply("io.vaultd.WhoAmI")["error"] == "io.vaultd.LimitExceeded"
        terminal.kill()
        assert begin(world, bobs).status == 303 and works(world, cookie) == "alice"
        # Who ends the page meanwhile ends what it was beginning.
        end(world)
        for each in world.silent:
            each.close()
        assert all(each.result().status >= 400 for each in waiting)
    give_up(world, "alice")
    give_up(world, "bob")


def test_what_was_being_begun_when_the_page_ended_is_given_up(world):
    cookie = world.enter("alice")
    word = world.get("/", cookie).form
    world.stack.tamper({"path": METADATA, "mode": "slow", "delay_ms": 3000, "times": 1})
    pending = lambda: world.stack.http(world.stack.issuer + "/_fixture/tamper").json["pending"]    # noqa: E731
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(world.press, "/begin", cookie, {"form": word, "service": "notion"})
        wait_for(lambda: not any(each["times"] for each in pending()), 10, "nobody asked for the metadata")
        assert not answer.done()
        end(world)
        assert answer.result().status == 403 and "Location" not in answer.result().headers
    assert world.json("alice", "status")["flows"] == []


# --- secrets -------------------------------------------------------------------------------------------------------

def test_no_log_or_file_has_a_link_cookie_word_or_code(world):
    world.connect("alice")
    path = world.link("alice")
    cookie = world.press(path).cookie
    word = world.get("/", cookie).form
    offer = re.search(r'id="offer-code">([^<]*)<', world.press("/offer", cookie, {"form": word, "service": "notion", "label": "default"}).text)[1]
    opened = world.caller("bob").reply("io.vaultd.Page.Open", {"withCode": True})["parameters"]
    with ProcessSampler() as sampler:
        location = begin(world, cookie, label="other").headers["Location"]
        world.json("alice", "web", "--confirm", "-", stdin=offer + "\n")
    needles = {"link": path.rsplit("/", 1)[1], "cookie": cookie, "word": word, "offer": offer, "code": opened["code"], "ticket": location.rsplit("/", 1)[1]}
    searcher = Searcher({name: value.encode() for name, value in needles.items()})
    for folder in ("log", "state", "nginx", "logins"):
        assert searcher.find_in_files(world.root / folder) == {}
    assert [names for line in sampler.cmdlines | sampler.environs if (names := searcher.find(line))] == []
    assert "page of services opened" in world.log("vaultd") and "disconnect asked for on the page" in world.log("vaultd")
    give_up(world, "alice")


def test_without_https_vaultctl_says_what_is_missing(world):
    file = world.root / "etc/vaultd.conf"
    written = file.read_text()
    file.write_text(written.replace(f"ExternalUrl={world.origin}\n", ""))
    world.restart_vaultd()
    try:
        refused = world.json("alice", "web", code=1)
    finally:
        file.write_text(written)
        world.restart_vaultd()
    assert refused["error"] == "io.vaultd.NotConfigured" and "ExternalUrl=" in refused["message"] and "man vaultd-web" in refused["hint"]
    assert world.link("alice")
