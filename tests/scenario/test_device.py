# SPDX-License-Identifier: LGPL-2.1-or-later
"""The device flow (RFC 8628) through the real vaultctl, with a real provider: the code is approved in a browser that sees no page of ours."""

import subprocess
import time

import pytest
from matching import Watched, allow, approve
from world import ACCOUNTS, account_id, wait_for

OWN = {user: [account] for user, account in ACCOUNTS.items()}
ALICE = ACCOUNTS["alice"]


@pytest.fixture(scope="module")
def devices(tmp_path_factory):
    with Watched(record=tmp_path_factory.mktemp("record") / "tokens") as world:
        allow(world, OWN)
        yield world


@pytest.fixture
def clean(devices):
    """Nobody has anything, before and after."""
    yield devices
    for flow in devices.json("alice", "status")["flows"]:
        devices.caller("alice").reply("io.vaultd.Connect.Cancel", {"flow": flow["flow"]})
    if devices.json("alice", "status")["connections"]:
        devices.json("alice", "disconnect", "notion", "--yes")
    wait_for(lambda: not devices.active(), 15, "tokens are left over")


def begin(world, *options):
    terminal = world.converse("alice", "connect", "notion", "--device", *options)
    return terminal, terminal.hear()


def test_code_is_approved_and_the_account_agreed_to(clean):
    terminal, prompt = begin(clean, "--yes")
    assert prompt["state"] == "pending" and prompt["verificationUri"].startswith("https://") and "link" not in prompt and "authorizationUrl" not in prompt
    page = approve(clean, prompt, ALICE)
    assert "connected" in page["text"], page
    parked, connected = terminal.hear(), terminal.hear()
    assert (parked["state"], parked["account"]["name"]) == ("quarantined", ALICE)
    assert (connected["state"], connected["account"]["name"]) == ("connected", ALICE)
    assert terminal.end()[0] == 0
    assert clean.json("alice", "status")["flows"] == []


def test_device_code_stands_nowhere_for_the_user_to_see(clean):
    """The user's code is shown; the other one redeems."""
    _, prompt = begin(clean)
    assert set(prompt) == {"flow", "state", "service", "title", "userCode", "verificationUri", "verificationUriComplete", "host", "expires"}


def test_without_a_yes_nothing_is_connected(clean):
    terminal, prompt = begin(clean)
    approve(clean, prompt, ALICE)
    assert terminal.hear()["state"] == "quarantined"
    terminal.say("no")
    code, out, _ = terminal.end()
    assert code == 1 and '"io.vaultd.client.Declined"' in out
    wait_for(lambda: not clean.active(), 15)
    assert clean.json("alice", "status")["connections"] == []


def test_refusal_at_the_service_is_said(clean):
    terminal, prompt = begin(clean)
    approve(clean, prompt, ALICE, "--deny")
    code, out, _ = terminal.end()
    assert code == 1 and '"io.vaultd.FlowFailed"' in out and "refused" in out
    assert clean.json("alice", "status")["flows"] == []


def test_terminal_may_go_away_and_the_claim_be_made_elsewhere(clean):
    terminal, prompt = begin(clean)
    terminal.kill()
    approve(clean, prompt, ALICE)
    wait_for(lambda: [flow["state"] for flow in clean.json("alice", "status")["flows"]] == ["quarantined"], 30)
    assert clean.json("bob", "claim", "--account", account_id(ALICE), code=1)["error"] == "io.vaultd.NotFound"
    assert clean.json("alice", "claim", "--account", account_id(ACCOUNTS["bob"]), code=1)["error"] == "io.vaultd.NotFound"
    assert clean.json("alice", "claim", "--account", account_id(ALICE))["account"]["name"] == ALICE


def test_cancel_ends_the_polling_at_once(clean):
    _, prompt = begin(clean)
    began = time.monotonic()
    assert clean.caller("alice").reply("io.vaultd.Connect.Cancel", {"flow": prompt["flow"]}) == {"parameters": {}}
    assert time.monotonic() - began < 2 and clean.json("alice", "status")["flows"] == []
    before = len(clean.tokens())
    approve(clean, prompt, ALICE)
    time.sleep(7)       # more than a poll
    assert len(clean.tokens()) == before, "a code that was given up was redeemed"


def test_interrupt_ends_the_polling(clean):
    terminal, prompt = begin(clean)
    terminal.process.send_signal(2)
    code, out, _ = terminal.end()
    assert code == 1 and "Interrupted" in out and clean.json("alice", "status")["flows"] == []


def test_tokens_of_a_poll_under_way_are_revoked_when_the_flow_is_given_up(clean):
    """The cancel waits for nothing; what the poll brings then is given back."""
    _, prompt = begin(clean)
    approve(clean, prompt, ALICE)
    before = len(clean.tokens())
    clean.stack.tamper({"path": "/token", "mode": "slow", "delay_ms": 4000})
    wait_for(lambda: not clean.stack.http(clean.stack.issuer + "/_fixture/tamper").json["pending"], 15, "there was no poll")
    began = time.monotonic()
    clean.caller("alice").reply("io.vaultd.Connect.Cancel", {"flow": prompt["flow"]})
    assert time.monotonic() - began < 2, "the cancel waited for the poll"
    wait_for(lambda: len(clean.tokens()) == before + 2, 15, "the poll brought nothing, so this proves nothing")
    wait_for(lambda: not clean.active(), 15, "tokens of a flow that was given up are active")
    assert clean.json("alice", "status")["connections"] == []


def test_faults_of_the_server_are_outlived(clean):
    terminal, prompt = begin(clean, "--yes")
    clean.stack.tamper({"path": "/token", "mode": "fail", "times": 1})
    approve(clean, prompt, ALICE)
    assert terminal.hear()["state"] == "quarantined"        # after one wait that was twice as long
    assert terminal.hear()["state"] == "connected" and terminal.end()[0] == 0


def test_restart_ends_it(clean):
    terminal, prompt = begin(clean)
    clean.restart_vaultd()
    terminal.kill()
    wait_for(lambda: not clean.json("alice", "status")["flows"], 5, "a code that nobody asks about is kept")
    before = len(clean.tokens())
    approve(clean, prompt, ALICE)
    time.sleep(7)
    assert len(clean.tokens()) == before


def test_kill_switch_ends_it(clean):
    terminal, prompt = begin(clean)
    clean.caller("root", "control").reply("io.vaultd.Admin.Revoke", {"uid": 1001})
    code, out, _ = terminal.end()
    assert code != 0 and clean.json("alice", "status")["flows"] == []
    before = len(clean.tokens())
    approve(clean, prompt, ALICE)
    time.sleep(7)
    assert len(clean.tokens()) == before


def test_closed_vault_ends_it(clean):
    _, prompt = begin(clean)
    clean.caller("root", "control").reply("io.vaultd.Admin.Lock", {"uid": 1001})
    before = len(clean.tokens())
    approve(clean, prompt, ALICE)
    time.sleep(7)
    clean.caller("root", "control").reply("io.vaultd.Admin.Unlock", {"uid": 1001})
    assert len(clean.tokens()) == before


def test_second_one_takes_the_place_of_the_first(clean):
    first, prompt = begin(clean)
    _, second = begin(clean)
    code, out, _ = first.end()
    assert code == 1 and "newer" in out and second["userCode"] != prompt["userCode"]
    assert [flow["flow"] for flow in clean.json("alice", "status")["flows"]] == [second["flow"]]


def test_one_link_to_a_service_is_out_at_a_time(clean):
    """Whatever the label: what is sent to somebody and forgotten would go on working."""
    terminal, prompt = begin(clean, "--as", "work")
    page = clean.caller("alice").reply("io.vaultd.Connect.Start", {"service": "notion"})["parameters"]
    code, out, _ = terminal.end()
    assert code == 1 and "newer" in out
    assert "not valid" in clean.browse("alice", page["link"][:-22] + "A" * 22)["text"]
    _, again = begin(clean, "--as", "other")
    assert "claim-code" not in clean.browse("alice", page["link"], ALICE)["ids"], "the former link works"
    assert [flow["flow"] for flow in clean.json("alice", "status")["flows"]] == [again["flow"]]


def test_human_sees_address_and_code(clean):
    process = subprocess.Popen(clean.command("connect", "notion", "--device"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=clean.environment(), user=1001, group=1001, extra_groups=[])
    try:
        lines = [process.stdout.readline().strip() for _ in range(8)]
    finally:
        process.send_signal(2)
        process.communicate(timeout=15)
    assert lines[0].startswith("Connecting Notion for alice on ") and lines[3] == clean.stack.issuer + "/device" and len(lines[7]) == 9
