# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two things at once to one flow: whichever wins, no token stays alive that nobody holds, and every caller gets a true answer (T14, T27)."""

import contextlib
import json
import signal
import subprocess
import threading
import urllib.parse

import pytest
from test_bad_input import begin, call_back, ended
from world import as_user, wait_for

CROWD = """
import json, socket, sys
path, messages = sys.argv[1], json.load(sys.stdin)
peers = []
for message in messages:
    peer = socket.socket(socket.AF_UNIX); peer.settimeout(30); peer.connect(path)
    peer.sendall(json.dumps(message).encode() + b"\\0")
    peers.append(peer)
print("sent", flush=True)
for peer in peers:
    data = b""
    while not data.endswith(b"\\0"):
        piece = peer.recv(65536)
        if not piece: break
        data += piece
    print(data.rstrip(b"\\0").decode() or "null", flush=True)
"""


def at_once(world, user, messages):
    """The replies to calls that vaultd finds waiting together, each on a connection of its own; None: it was closed."""
    world.vaultd_process.send_signal(signal.SIGSTOP)
    try:
        crowd = subprocess.Popen(["/usr/bin/python3", "-c", CROWD, str(world.sockets["public"])], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True, **as_user(user))
        crowd.stdin.write(json.dumps(messages))
        crowd.stdin.close()
        assert crowd.stdout.readline() == "sent\n"
    finally:
        world.vaultd_process.send_signal(signal.SIGCONT)
    replies = [json.loads(line) for line in crowd.stdout]
    assert crowd.wait(30) == 0
    return replies


def call(method, **parameters):
    return {"method": f"io.vaultd.Connect.{method}", "parameters": parameters}


@contextlib.contextmanager
def exchanging(world, user):
    """A flow whose tokens were given, while its account is being asked; gives (terminal, flow id, what the browser got in the end)."""
    before = world.grants(f"{user}@notion.test")
    terminal = world.converse(user, "connect", "notion", "--no-browser")
    pending = terminal.hear()
    url = world.browse(user, pending["link"], None, "--stop-at-redirect-to", f"http://127.0.0.1:{world.port}/callback/")["redirect"]
    origin = world.stack.url.rsplit("/", 1)[0]
    world.stack.tamper({"path": "/mcp", "mode": "slow", "delay_ms": 4000}, origin)
    answers = []
    browser = threading.Thread(target=lambda: answers.append(call_back(world, user, urllib.parse.urlsplit(url))))
    browser.start()
    try:
        wait_for(lambda: world.grants(f"{user}@notion.test") > before, what="no tokens were given")
        # Between the token endpoint's answer and its commit nobody holds them; the account is asked after that.
        wait_for(lambda: not world.stack.http(f"{origin}/_fixture/tamper").json["pending"], what="the account is not asked")
        yield terminal, pending["flow"], answers
    finally:
        browser.join()
        if terminal.process.poll() is None:
            terminal.kill()


def test_cancel_while_the_account_is_asked_revokes_the_tokens(fresh_world):
    with exchanging(fresh_world, "alice") as (terminal, flow, answers):
        assert fresh_world.caller("alice").reply("io.vaultd.Connect.Cancel", {"flow": flow}) == {"parameters": {}}
        code, last = ended(terminal)
        assert code == 1 and "given up" in last["message"], (code, last)
    assert answers[0][0] >= 400 and "claim-code" not in answers[0][1]
    wait_for(lambda: fresh_world.grants("alice@notion.test") == (0, 0), what="tokens of a cancelled flow stay alive")
    assert fresh_world.json("alice", "status")["flows"] == []


def test_connecting_again_while_the_account_is_asked_revokes_the_first_tokens(fresh_world):
    with exchanging(fresh_world, "alice") as (terminal, _, answers):
        second, _ = begin(fresh_world)
        code, last = ended(terminal)
        assert code == 1 and "newer" in last["message"]
    assert answers[0][0] >= 400
    wait_for(lambda: fresh_world.grants("alice@notion.test") == (0, 0), what="tokens of a replaced flow stay alive")
    second.kill()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_tokens_whose_flow_the_end_of_vaultd_cut_are_revoked_by_the_next(fresh_world, how):
    with exchanging(fresh_world, "alice"):
        fresh_world.stop_vaultd(how)
    assert fresh_world.grants("alice@notion.test")[1] == 1
    fresh_world.start_vaultd()
    wait_for(lambda: fresh_world.grants("alice@notion.test") == (0, 0), what="tokens of a flow that was cut stay alive")
    wait_for(lambda: fresh_world.json("alice", "status")["flows"] == [])


def test_cancels_at_once_are_all_answered(world):
    flow = world.caller("alice").reply("io.vaultd.Connect.Start", {"service": "notion"})["parameters"]["flow"]
    replies = at_once(world, "alice", [call("Cancel", flow=flow)] * 6)
    assert {"parameters": {}} in replies
    for reply in replies:
        assert reply == {"parameters": {}} or reply["error"] == "io.vaultd.NotFound", reply


def test_guesses_at_once_are_each_counted(world):
    terminal, page = world.park("carol")
    flow = terminal.hear()["flow"]
    terminal.kill()
    guesses = [call("Claim", flow=flow, code=f"0000-{n:04}") for n in range(8)]
    replies = at_once(world, "carol", guesses)
    tries = sorted(reply["parameters"]["triesLeft"] for reply in replies if reply["error"] == "io.vaultd.ClaimRejected")
    assert tries == [0, 1, 2], replies
    assert {reply["error"] for reply in replies} == {"io.vaultd.ClaimRejected", "io.vaultd.NotFound"}, replies
    assert world.claim("carol", page["ids"]["claim-code"], want=1)["error"] == "io.vaultd.NotFound"
    wait_for(lambda: world.grants("carol@notion.test") == (0, 0), what="the grant was not revoked upstream")


def test_claims_at_once_connect_once(world):
    terminal, page = world.park("alice")
    flow = terminal.hear()["flow"]
    terminal.kill()
    replies = at_once(world, "alice", [call("Claim", flow=flow, code=page["ids"]["claim-code"])] * 4)
    assert sum("error" not in reply for reply in replies) == 1, replies
    assert {reply.get("error") for reply in replies} == {None, "io.vaultd.NotFound"}, replies


def test_cancel_and_claim_at_once_leave_one_outcome(world):
    terminal, page = world.park("bob")
    flow = terminal.hear()["flow"]
    terminal.kill()
    claim, cancel = at_once(world, "bob", [call("Claim", flow=flow, code=page["ids"]["claim-code"]), call("Cancel", flow=flow)])
    assert {claim.get("error"), cancel.get("error")} == {None, "io.vaultd.NotFound"}, (claim, cancel)
