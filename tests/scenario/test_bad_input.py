# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is wrong, hostile or missing gets a clear error, an exit code that says which kind, and loses nothing."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.parse

import pytest
from world import UIDS, World, as_user, wait_for


# The wire

@pytest.mark.parametrize("message", [
    b"{\0",
    b"[]\0",
    b"null\0",
    b"\0",
    b'{"method":"io.vaultd.WhoAmI","method":"io.vaultd.Status"}\0',
    b'{"method":"io.vaultd.WhoAmI","parameters":{"a":1,"\\u0061":2}}\0',
    b'{"method":"io.vaultd.WhoAmI","parameters":[]}\0',
    b'{"method":"io.vaultd.WhoAmI","more":1}\0',
    b'{"method":"io.vaultd.WhoAmI","more":true,"oneway":true}\0',
    b'{"method":"io.vaultd.WhoAmI","uid":1002}\0',
    b'{"method":"io.vaultd.WhoAmI","parameters":{"a":"\xff"}}\0',
    b'{"method":"io.vaultd.WhoAmI","parameters":{"a":"\\ud800"}}\0',
    b'{"method":"io.vaultd.WhoAmI","parameters":{"a":99999999999999999999}}\0',
    b'{"method":"io.vaultd.WhoAmI","parameters":' + b'{"a":' * 40 + b"1" + b"}" * 40 + b"}\0",
    b"{'method':'io.vaultd.WhoAmI'}\0",
    b"x" * (1024 * 1024 + 2),
], ids=lambda message: repr(message[:60]))
def test_what_is_no_call_closes_the_connection(world, message):
    assert world.caller("alice").raw(message) == b""
    assert world.json("alice", "whoami")["uid"] == 1001


def test_half_sent_message_is_dropped_in_time(fresh_world):
    fresh_world.configure(settings="[Limits]\nMessageTimeout=300ms\n")
    fresh_world.restart_vaultd()
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(fresh_world.sockets["public"]))
        peer.sendall(b'{"method":"io.vault')
        peer.settimeout(10)
        began = time.monotonic()
        assert peer.recv(1) == b"" and time.monotonic() - began < 3
    assert fresh_world.json("alice", "whoami")["uid"] == 1001


@pytest.mark.parametrize("parameters,field", [
    ({"service": 7}, "service"), ({}, "service"), ({"service": "notion", "uid": 1002}, "uid"), ({"service": "notion", "way": "magic"}, "way"),
    ({"service": "notion", "label": "UPPER"}, "label"), ({"service": "x" * 100}, "service"),
])
def test_wrong_parameter_is_named(world, parameters, field):
    reply = world.caller("alice").reply("io.vaultd.Connect.Start", parameters)
    assert reply == {"error": "org.varlink.service.InvalidParameter", "parameters": {"parameter": field}}


def test_calls_behind_one_another_are_answered_in_order(world):
    reply = world.caller("alice").raw(b'{"method":"io.vaultd.WhoAmI"}\0{"method":"io.vaultd.Nope"}\0')
    assert json.loads(reply.split(b"\0")[0])["parameters"]["uid"] == 1001


def test_unknown_method_and_interface_are_named(world):
    caller = world.caller("alice")
    assert caller.reply("io.vaultd.Nope")["error"] == "org.varlink.service.MethodNotFound"
    assert caller.reply("io.nobody.Nope")["error"] == "org.varlink.service.InterfaceNotFound"
    assert caller.reply("io.vaultd.Login.Close", {"session": "x"})["error"] == "org.varlink.service.InterfaceNotFound"


# Commands

def test_unknown_service_is_refused(world):
    done = world.vaultctl("alice", "connect", "nowhere", "--no-browser")
    assert done.returncode == 1 and "nowhere" in done.stderr and "Run: vaultctl services" in done.stderr


def test_daemon_away_is_exit_code_5(fresh_world):
    fresh_world.stop_vaultd()
    answer = fresh_world.json("alice", "whoami", code=5)
    assert "vaultd" in answer["message"]


def test_session_without_connection_says_exactly_what_to_do(world):
    done = world.vaultctl("bob", "session", "start", "--yes")
    assert done.returncode == 3
    assert done.stderr.splitlines() == ["Notion credentials not configured", "Run: vaultctl connect notion"]
    answer = world.json("bob", "session", "start", "--yes", code=3)
    expected = {"error": "io.vaultd.NotConnected", "message": "Notion credentials not configured", "hint": "Run: vaultctl connect notion"}
    assert {name: answer[name] for name in expected} == expected


# The callback

def begin(world, user="alice"):
    terminal = world.converse(user, "connect", "notion", "--no-browser")
    link = terminal.hear()["link"]
    redirect = world.browse(user, link, None, "--stop-at-redirect-to", f"http://127.0.0.1:{world.port}/callback/")["redirect"]
    return terminal, urllib.parse.urlsplit(redirect)


def call_back(world, user, url, **changes):
    """GETs the callback as that user, with parameters replaced or (None) left out; (status, text)."""
    query = {name: values[0] for name, values in urllib.parse.parse_qs(url.query).items()}
    query.update(changes)
    target = urllib.parse.urlunsplit(url._replace(query=urllib.parse.urlencode({k: v for k, v in query.items() if v is not None})))
    done = subprocess.run(["/usr/bin/python3", "-c", """
import sys, urllib.request, urllib.error
try:
    r = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=30)
except urllib.error.HTTPError as e:
    r = e
print(r.status); print(r.read().decode())
""", target], capture_output=True, text=True, timeout=60, **as_user(user))
    status, _, text = done.stdout.partition("\n")
    return int(status), text


def ended(terminal):
    """What the waiting `vaultctl connect` said in the end: (exit code, its last JSON line)."""
    code, out, _ = terminal.end()
    return code, json.loads(out.strip().splitlines()[-1])


def test_callback_with_wrong_state_changes_nothing(world):
    terminal, url = begin(world)
    status, text = call_back(world, "alice", url, state="A" * 43)
    assert status >= 400 and "claim" not in text.lower()
    assert call_back(world, "alice", url, state=None)[0] >= 400
    status, _ = call_back(world, "alice", url)
    assert status == 200, "the right answer still counts"
    assert terminal.hear()["state"] == "quarantined"
    terminal.kill()


def test_state_works_once(world):
    terminal, url = begin(world)
    assert call_back(world, "alice", url)[0] == 200
    status, text = call_back(world, "alice", url)
    assert status >= 400 and "claim-code" not in text
    terminal.kill()


def test_callback_of_another_issuer_ends_the_flow_and_shows_nothing_of_it(world):
    terminal, url = begin(world)
    grants = world.grants("alice@notion.test")
    status, text = call_back(world, "alice", url, iss="https://evil.test", error="boo", error_description="call 555-EVIL")
    assert status >= 400 and "EVIL" not in text and "evil" not in text
    code, last = ended(terminal)
    assert code == 1 and last["error"] == "io.vaultd.FlowFailed" and "another authorization server" in last["message"]
    assert world.grants("alice@notion.test") == grants
    assert call_back(world, "alice", url)[0] >= 400


def test_missing_iss_is_refused_where_the_server_promises_it(world):
    terminal, url = begin(world)
    assert call_back(world, "alice", url, iss=None)[0] >= 400
    assert ended(terminal)[0] == 1


def test_denied_consent_is_said(world):
    terminal = world.converse("alice", "connect", "notion", "--no-browser")
    world.browse("alice", terminal.hear()["link"], None, "--deny")
    code, last = ended(terminal)
    assert code == 1 and "access_denied" in last["message"] and "Notion" in last["message"]


def test_expired_flow_is_over(fresh_world):
    fresh_world.configure(settings="[Limits]\nFlowLifetime=4s\n")
    fresh_world.restart_vaultd()
    terminal, url = begin(fresh_world)
    time.sleep(4.2)
    status, text = call_back(fresh_world, "alice", url)
    assert status >= 400 and "claim-code" not in text
    terminal.kill()
    assert fresh_world.grants("alice@notion.test")[1] == 0


def test_another_users_browser_cannot_finish_a_loopback_flow(world):
    """T14: bob is talked into opening alice's link; the kernel says whose browser it is."""
    terminal, url = begin(world)
    status, text = call_back(world, "bob", url)
    assert status >= 400 and "claim-code" not in text
    code, last = ended(terminal)
    assert code == 1 and "another user" in last["message"]


def test_link_works_once(world):
    terminal = world.converse("alice", "connect", "notion", "--no-browser")
    link = terminal.hear()["link"]
    world.browse("alice", link, None, "--stop-at-redirect-to", f"http://127.0.0.1:{world.port}/callback/")
    again = world.browse("alice", link)
    assert again.get("status", 0) >= 400 or "error" in again, again
    terminal.kill()


@pytest.mark.parametrize("order", [{"token": "fail"}, {"token": "cut"}, {"token": "garbage"}, {"token": "reset"}])
def test_failing_token_endpoint_ends_the_flow_with_exit_code_6(world, order):
    terminal, url = begin(world)
    world.stack.tamper(order)
    assert call_back(world, "alice", url)[0] >= 400
    code, last = ended(terminal)
    assert code == 6 and last["error"] == "io.vaultd.UpstreamFailed" and "Notion" in last["message"]


# The claim

def test_claim_by_another_uid_finds_nothing(world):
    terminal, page = world.park("alice")
    terminal.hear()
    assert world.claim("bob", page["ids"]["claim-code"], want=1)["error"] == "io.vaultd.NotFound"
    terminal.say(page["ids"]["claim-code"])
    assert terminal.hear()["state"] == "connected"
    terminal.end()


def test_third_wrong_code_revokes_the_grant(world):
    terminal, page = world.park("carol")
    parked = terminal.hear()
    assert world.grants("carol@notion.test")[1] >= 1
    claim = lambda: world.caller("carol").reply("io.vaultd.Connect.Claim", {"flow": parked["flow"], "code": "0000-0000"})  # noqa: E731
    assert [claim()["parameters"]["triesLeft"] for _ in range(3)] == [2, 1, 0]
    assert world.claim("carol", page["ids"]["claim-code"], want=1)["error"] == "io.vaultd.NotFound"
    assert wait_for(lambda: world.grants("carol@notion.test") == (0, 0), what="the grant was not revoked upstream")
    terminal.kill()


def test_code_works_once(world):
    terminal, page = world.park("alice")
    terminal.hear()
    code = page["ids"]["claim-code"]
    assert world.claim("alice", code.lower().replace("-", " "))["service"] == "notion"
    assert world.claim("alice", code, want=1)["error"] == "io.vaultd.NotFound"
    terminal.kill()


def test_unclaimed_grant_is_revoked_and_erased(fresh_world):
    fresh_world.configure(settings="[Limits]\nFlowLifetime=2s\n")
    fresh_world.restart_vaultd()
    terminal, page = fresh_world.park("alice")
    terminal.hear()
    terminal.kill()
    assert fresh_world.grants("alice@notion.test")[1] == 1
    wait_for(lambda: fresh_world.grants("alice@notion.test") == (0, 0), 60, "the unclaimed grant was not revoked")
    wait_for(lambda: not fresh_world.json("alice", "status")["flows"], 10)
    assert fresh_world.claim("alice", page["ids"]["claim-code"], want=1)["error"] == "io.vaultd.NotFound"


# Accounts

def test_another_account_needs_an_explicit_yes(fresh_world):
    world = fresh_world
    world.connect("alice")
    terminal = world.converse("alice", "connect", "notion", "--no-browser")
    world.browse("alice", terminal.hear()["link"], "carol@notion.test")
    code, last = ended(terminal)
    assert code == 1 and last["error"] == "io.vaultd.AccountChanged" and "--replace-account" in last["hint"]
    assert world.grants("carol@notion.test") == (0, 0), "the refused grant was not revoked"
    assert world.json("alice", "status")["connections"][0]["account"]["name"] == "alice@notion.test"
    terminal, page = world.park("alice", "carol@notion.test", "--replace-account")
    terminal.hear()
    terminal.say(page["ids"]["claim-code"])
    assert terminal.hear()["account"]["name"] == "carol@notion.test"
    terminal.end()
    assert world.grants("alice@notion.test") == (0, 0), "the former account's grant was not revoked"


def test_disconnect_revokes_upstream_then_erases(fresh_world):
    world = fresh_world
    world.connect("alice")
    assert world.grants("alice@notion.test")[1] == 1
    assert world.json("alice", "disconnect", "notion", "--yes")["revoked"] is True
    assert world.grants("alice@notion.test") == (0, 0)
    assert world.json("alice", "status")["connections"] == []
    assert world.json("alice", "disconnect", "notion", "--yes", code=3)["error"] == "io.vaultd.NotConnected"


# Paste-back

def paste_flow(world, user, account=None):
    started = world.caller(user).reply("io.vaultd.Connect.Start", {"service": "notion", "way": "paste"})["parameters"]
    assert "link" not in started
    redirect = world.browse(user, started["authorizationUrl"], account, "--stop-at-redirect-to", "http://127.0.0.1")["redirect"]
    return started["flow"], redirect


def test_paste_back_connects_by_account(world):
    flow, redirect = paste_flow(world, "bob")
    caller = world.caller("bob")
    pasted = caller.reply("io.vaultd.Connect.Paste", {"flow": flow, "redirectUrl": redirect})["parameters"]
    assert pasted["account"]["name"] == "bob@notion.test"
    wrong = caller.reply("io.vaultd.Connect.Claim", {"flow": flow, "account": "somebody@else.test"})
    assert wrong["error"] == "io.vaultd.ClaimRejected"
    claimed = caller.reply("io.vaultd.Connect.Claim", {"flow": flow, "account": pasted["account"]["id"]})["parameters"]
    assert claimed["account"]["name"] == "bob@notion.test"


def test_pasted_address_of_anything_else_is_refused(world):
    flow, redirect = paste_flow(world, "carol")
    caller = world.caller("carol")
    paste = lambda url: caller.reply("io.vaultd.Connect.Paste", {"flow": flow, "redirectUrl": url})  # noqa: E731
    for url in ("https://evil.test/?code=1&state=2", redirect.replace("state=", "state=x"), redirect + "&code=twice", redirect.split("?")[0], "x"):
        assert paste(url)["error"] == "io.vaultd.FlowFailed", url
    bob = world.caller("bob").reply("io.vaultd.Connect.Paste", {"flow": flow, "redirectUrl": redirect})
    assert bob["error"] == "io.vaultd.NotFound"
    assert paste(redirect)["parameters"]["account"]["name"] == "carol@notion.test"
    assert world.caller("carol").reply("io.vaultd.Connect.Cancel", {"flow": flow})["parameters"] == {}


def test_callback_of_a_paste_flow_is_refused(world):
    _, redirect = paste_flow(world, "alice")
    status, text = call_back(world, "alice", urllib.parse.urlsplit(redirect))
    assert status >= 400 and "claim-code" not in text


def test_paste_back_can_be_switched_off():
    with World(services="PasteBack=no\n", platform=False) as world:
        reply = world.caller("alice").reply("io.vaultd.Connect.Start", {"service": "notion", "way": "paste"})
        assert reply["error"] == "io.vaultd.NotAllowed"


# Room

def open_logins(world, uids):
    """Root registers logins of these uids, one call after the other; the first error, or None."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(30)
        peer.connect(str(world.sockets["control"]))
        stream = peer.makefile("rb")
        for uid in uids:
            call = {"method": "io.vaultd.Login.Open", "parameters": {"uid": uid, "user": f"user{uid}", "service": "sshd", "leader": os.getpid()}}
            peer.sendall(json.dumps(call).encode() + b"\0")
            reply = b""
            while not reply.endswith(b"\0"):
                reply += stream.read1()
            reply = json.loads(reply[:-1])
            if "error" in reply:
                return reply
    return None


def test_full_map_is_said_and_loses_nothing():
    with World(settings="[Vaults]\nMapSize=1M\n", platform=False) as world:
        connected = world.connect("alice")
        full = open_logins(world, range(2000, 12000))
        assert full and full["error"] == "io.vaultd.StoreFull" and full["parameters"]["hint"], full
        assert world.json("alice", "status")["connections"][0]["account"] == connected["account"]
        world.restart_vaultd()
        assert world.json("alice", "status")["connections"][0]["account"] == connected["account"]
        assert world.json("alice", "disconnect", "notion", "--yes", code=None)


def test_full_disk_is_said_and_loses_nothing():
    with World(platform=False) as world:
        connected = world.connect("alice")
        world.stop_vaultd()
        state = world.root / "state"
        kept = world.root / "kept"
        state.rename(kept)
        state.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=512k,mode=700,uid={UIDS['vaultd']},gid={UIDS['vaultd']}", "vaultd-test", state], check=True)
        try:
            subprocess.run(["cp", "-a", "--sparse=always", f"{kept}/.", str(state)], check=True)
            world.start_vaultd()
            full = open_logins(world, range(2000, 12000))
            assert full and full["error"] == "io.vaultd.StoreFull", full
            assert world.json("alice", "status")["connections"][0]["account"] == connected["account"]
            world.restart_vaultd()
            assert world.json("alice", "status")["connections"][0]["account"] == connected["account"]
            world.stop_vaultd()
        finally:
            subprocess.run(["umount", "-l", state], check=True)


# The platform

@pytest.fixture
def connected(fresh_world):
    fresh_world.connect("alice")
    return fresh_world


@pytest.mark.parametrize("fault,status", [
    ({"kind": "status", "status": 400}, 400), ({"kind": "status", "status": 401}, 401), ({"kind": "status", "status": 409}, 409),
    ({"kind": "status", "status": 429, "retry_after": 7}, 429), ({"kind": "status", "status": 500}, 500),
])
def test_platform_refusals_are_exit_code_6_and_leave_nothing_half_done(connected, fault, status):
    connected.fault({"match": "POST /v1/sessions", "times": 1, **fault})
    answer = connected.json("alice", "session", "start", "--yes", code=6 if status != 500 else 0)
    if status == 500:
        # Ambiguous: looked for, not found, made once.
        assert answer["session"]["id"].startswith("sesn_")
    else:
        assert answer["error"] == "io.vaultd.PlatformFailed"
        assert connected.json("alice", "session", "list")["sessions"] == []
    assert len(connected.platform_all("/v1/sessions")) == (1 if status == 500 else 0)
    session = connected.json("alice", "session", "start", "--yes")["session"]
    assert session["vaultIds"] == [v["id"] for v in connected.platform_all("/v1/vaults")]


@pytest.mark.parametrize("path", ["/v1/agents", "/v1/environments", "/v1/sessions", "/v1/vaults/*/credentials"])
def test_cut_answer_of_a_create_is_found_again_not_doubled(connected, path):
    connected.fault({"match": f"POST {path}", "kind": "cut-after-write", "times": 1})
    session = connected.json("alice", "session", "start", "--yes")["session"]
    assert len(connected.platform_all("/v1/sessions")) == 1 and len(connected.platform_all("/v1/agents")) == 1
    assert len(connected.platform_all("/v1/environments")) == 1 and len(connected.platform_all("/v1/vaults")) == 1
    assert [s["id"] for s in connected.json("alice", "session", "list")["sessions"]] == [session["id"]]


def test_cut_vault_create_is_found_again_beside_decoys(fresh_world):
    """T35: a vault with the same name and tags is nobody's."""
    world = fresh_world
    world.ask_platform("/v1/vaults", {"display_name": f"vaultd {socket.gethostname()}/alice", "metadata": {"vaultd_uid": "1001", "vaultd_host": socket.gethostname()}})
    world.fault({"match": "POST /v1/vaults", "kind": "cut-after-write", "times": 1})
    world.connect("alice")
    made = world.platform_all("/v1/vaults")
    assert len(made) == 2, "one decoy, one vault"
    session = world.json("alice", "session", "start", "--yes")["session"]
    assert session["vaultIds"] == [vault["id"] for vault in made if "vaultd_nonce" in vault["metadata"]]
