# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon that answers nonsense, too much, too slowly or not at all: vaultctl says so, in time, and uses nothing of it."""

import concurrent.futures
import json
import os
import socket
import threading
import time

import pytest

from fake_vaultd import CLAIMED, WHOAMI, Error, FakeVaultd, documents, flow, run

GOOD = json.dumps({"parameters": WHOAMI})
NONSENSE = {
    "not-json": b"hello\0",
    "empty": b"\0",
    "single-quotes": b"{'parameters':{}}\0",
    "duplicate-key": GOOD.replace('"uid": 1001', '"uid": 1001, "uid": 0').encode() + b"\0",
    "duplicate-escaped-key": GOOD.replace('"uid": 1001', '"uid": 1001, "\\u0075id": 0').encode() + b"\0",
    "trailing-text": GOOD.encode() + b" x\0",
    "not-an-object": b"[1]\0",
    "null": b"null\0",
    "unknown-member": GOOD[:-1].encode() + b', "upgrade": true}\0',
    "continues-unasked": GOOD[:-1].encode() + b', "continues": true}\0',
    "continues-no-flag": GOOD[:-1].encode() + b', "continues": 1}\0',
    "parameters-a-list": b'{"parameters":[]}\0',
    "error-a-number": b'{"error":4}\0',
    "member-missing": b'{"parameters":{"uid":1}}\0',
    "uid-a-text": GOOD.replace("1001", '"1001"').encode() + b"\0",
    "uid-too-big": GOOD.replace("1001", "18446744073709551616").encode() + b"\0",
    "nan": GOOD.replace("1001", "NaN").encode() + b"\0",
    "lone-surrogate": GOOD.replace("alice", "\\ud800").encode() + b"\0",
    "bad-utf8": GOOD.replace("alice", "ali@ce").encode().replace(b"@", b"\xff") + b"\0",
    "deep": b'{"parameters":' + b"[" * 5000 + b"]" * 5000 + b"}\0",
    "oversized": b'{"parameters":{"user":"' + b"x" * (1024 * 1024 + 10) + b'"}}\0',
    "endless": b"x" * (3 * 1024 * 1024),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_reply_is_exit_1(name):
    with FakeVaultd({"io.vaultd.WhoAmI": NONSENSE[name]}) as server:
        result = run(server, "whoami")
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith("vaultd gave an answer that makes no sense: ")
        result = run(server, "whoami", "--json")
        assert result.returncode == 1 and documents(result)[0]["error"] == "io.vaultd.client.BadReply"


@pytest.mark.parametrize("command,method,reply", [
    ("status", "Status", {"connections": [1], "flows": [], "logins": []}),
    ("status", "Status", {"connections": [], "flows": {}, "logins": []}),
    ("services", "Services", {"services": [{"name": "x"}]}),
    ("session list", "Session.List", {"sessions": [{"id": 4}]}),
    ("session show x", "Session.Show", {"session": {"id": "x"}}),
    ("claim x --account a", "Connect.Claim", {}),
    ("check", "Connect.Check", {"results": [{"service": "x", "label": "default"}]}),
    ("disconnect x", "Connect.Disconnect", {"title": "X"}),
    ("web --end", "Page.End", {}),
    ("web --confirm x", "Page.Confirm", {"title": "X"}),
    ("session start --yes", "Session.Plan", {"digest": "d"}),
    ("session start --yes", "Session.Plan", {"digest": "d", "vault": "v", "model": "m", "servers": [
        {"title": "N", "account": "a", "toolsOn": [{}], "toolsAsk": []}]}),
])
def test_reply_without_what_it_promises_is_exit_1(command, method, reply):
    with FakeVaultd({"io.vaultd." + method: reply}) as server:
        result = run(server, *command.split())
        assert result.returncode == 1 and "makes no sense" in result.stderr
        assert server.parameters_of("Session.Start") == []


@pytest.mark.parametrize("first", [
    {"link": None}, {"link": "javascript:alert(1)"}, {"link": "http://evil.test/x"}, {"link": "http://127.0.0.1:1@evil.test/"},
    {"link": "https://user@evil.test/"}, {"link": "https://x/\x1b[2J"}, {"link": "https://x/ --flag"}, {"link": "https://"},
    {"link": "https://x/" + "a" * 3000}, {"state": "quarantined"}, {"flow": None},
])
def test_link_that_must_not_be_opened_is_refused(first, tmp_path):
    browser = tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    browser.chmod(0o755)
    env = {"BROWSER": str(browser)}
    with FakeVaultd({"io.vaultd.Connect.Start": [flow(**first), flow("quarantined")]}) as server:
        from fake_vaultd import environment
        result = run(server, "connect", "notion", env=environment(server, **env))
        assert result.returncode == 1 and "makes no sense" in result.stderr and not (tmp_path / "started").exists()


def test_flow_of_another_state_claims_nothing():
    with FakeVaultd({"io.vaultd.Connect.Start": [flow(), flow("active")], "io.vaultd.Connect.Claim": CLAIMED}) as server:
        result = run(server, "connect", "notion", "--no-browser", stdin="CODE\n")
        assert result.returncode == 1 and server.parameters_of("Connect.Claim") == []


# Silence

def trickle(conversation, message):
    for byte in GOOD.encode() + b"\0":
        conversation.send(bytes([byte]))
        time.sleep(1)


def hang(conversation, message):
    time.sleep(60)


def cut(conversation, message):
    conversation.send(GOOD.encode()[:20])
    conversation.connection.shutdown(socket.SHUT_RDWR)


def test_silence_and_trickle_end_in_time_with_exit_5():
    def measure(answer):
        with FakeVaultd({"io.vaultd.WhoAmI": answer}) as server:
            begun = time.monotonic()
            return run(server, "whoami"), time.monotonic() - begun

    with concurrent.futures.ThreadPoolExecutor() as pool:
        for result, seconds in pool.map(measure, (trickle, hang)):
            assert (result.returncode, result.stdout) == (5, "") and "did not answer within 10 seconds" in result.stderr
            assert 9.5 < seconds < 14


def test_connection_cut_in_a_reply_is_exit_5():
    with FakeVaultd({"io.vaultd.WhoAmI": cut}) as server:
        result = run(server, "whoami")
        assert result.returncode == 5 and "closed the connection" in result.stderr


def test_connection_cut_while_waiting_says_how_to_go_on():
    def start(conversation, message):
        conversation.send(flow(), continues=True)
        conversation.connection.shutdown(socket.SHUT_RDWR)

    with FakeVaultd({"io.vaultd.Connect.Start": start}) as server:
        result = run(server, "connect", "notion", "--no-browser")
        assert result.returncode == 5 and "vaultctl claim CODE" in result.stderr


@pytest.mark.parametrize("kind", ["absent", "refused", "too-long", "a-file"])
def test_unreachable_is_exit_5(kind, tmp_path):
    path = str(tmp_path / "socket")
    if kind == "refused":
        socket.socket(socket.AF_UNIX).bind(path)
    elif kind == "too-long":
        path = "/" + "x" * 200
    elif kind == "a-file":
        open(path, "w").close()
    result = run(path, "whoami")
    assert result.returncode == 5 and result.stderr.startswith(f"Cannot reach vaultd at {path}: ")
    assert documents(run(path, "whoami", "--json"))[0]["error"] == "io.vaultd.client.Unreachable"


def test_full_backlog_ends_in_time_with_exit_5(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(path)
        begun = time.monotonic()
        result = run(path, "whoami")
        assert result.returncode == 5 and time.monotonic() - begun < 8
        for each in waiting:
            each.close()


def test_progress_does_not_spin():
    """Waiting for a browser costs no processor time."""
    release = threading.Event()

    def start(conversation, message):
        conversation.send(flow(), continues=True)
        release.wait(20)
        conversation.send(Error("io.vaultd.FlowFailed", message="Over"))

    with FakeVaultd({"io.vaultd.Connect.Start": start}) as server, concurrent.futures.ThreadPoolExecutor() as pool:
        before = os.times()
        waiting = pool.submit(run, server, "connect", "notion", "--no-browser", "--json")
        time.sleep(4)
        release.set()
        assert waiting.result().returncode == 1
        after = os.times()
        assert after.children_user + after.children_system - before.children_user - before.children_system < 1.5
