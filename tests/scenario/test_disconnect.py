# SPDX-License-Identifier: LGPL-2.1-or-later
"""Giving a connection up (O9, T27): out of use at once, and revoked at its service and at the platform whatever happens meanwhile."""

import json
import signal
import time

import pytest
from world import World, wait_for

VALUE = "[Service]\nName=value\nTitle=Value\nAuth=environment\nVariable=VALUE\nAllowedHosts=value.test\n"
READERS = "[Server notion]\nTools=notion-get-self\nTokenReaders=user:alice\n"


@pytest.fixture
def connected():
    """A host where alice has notion connected, with a copy on the platform, and may read its token."""
    with World() as world:
        world.add_service("value", VALUE)
        world.configure(policy=READERS)
        world.restart_vaultd()
        world.connect("alice")
        [world.platform_vault] = world.json("alice", "session", "start", "--yes", "--server", "notion")["session"]["vaultIds"]
        yield world


def tamper(world, **order):
    world.stack.http(world.stack.issuer + "/_fixture/tamper", json.dumps(order).encode(), {"content-type": "application/json"})


def copies(world):
    """The copies on the platform that are alive."""
    return [each for each in world.platform_all(f"/v1/vaults/{world.platform_vault}/credentials") if not each["archived_at"]]


def disconnect(world, **parameters):
    answer = world.caller("alice").reply("io.vaultd.Connect.Disconnect", {"service": "notion", **parameters}, 60)
    assert "error" not in answer, answer
    return answer["parameters"]


def is_gone_here(world):
    token = json.loads(world.vaultctl("alice", "--json", "token", "notion").stdout)
    return world.json("alice", "status")["connections"] == [] and token.get("error") == "io.vaultd.NotConnected"


def test_revoked_there_archived_and_erased_here(connected):
    world = connected
    assert len(copies(world)) == 1
    answer = disconnect(world)
    assert (answer["revoked"], answer["pending"]) == (True, False) and "notice" not in answer
    assert is_gone_here(world) and world.grants("alice@notion.test") == (0, 0) and copies(world) == []
    wait_for(lambda: "grant revoked: alice" in world.log("vaultd"), 10, "no record of it")


def test_what_the_service_was_not_told_is_told_after_a_kill(connected):
    world = connected
    tamper(world, path="/token/revocation", mode="fail", times=1000)
    answer = disconnect(world)
    assert (answer["revoked"], answer["pending"]) == (False, True) and "HTTP 500" in answer["notice"]
    assert is_gone_here(world) and world.grants("alice@notion.test") == (1, 1)
    world.stop_vaultd(signal.SIGKILL)
    world.stack.http(world.stack.issuer + "/_fixture/tamper", method="DELETE")
    world.start_vaultd()
    wait_for(lambda: world.grants("alice@notion.test") == (0, 0), 15, "the start did not go on with it")


def test_killed_while_the_service_is_asked_it_is_finished_by_the_start(connected):
    world = connected
    tamper(world, path="/token/revocation", mode="slow", delay_ms=30000, times=1)
    terminal = world.converse("alice", "disconnect", "notion", "--yes")
    wait_for(lambda: world.json("alice", "status")["connections"] == [], 10, "it is in use as long as the service takes")
    world.stop_vaultd(signal.SIGKILL)
    terminal.kill()
    world.start_vaultd()
    wait_for(lambda: world.grants("alice@notion.test") == (0, 0), 15, "the start did not go on with it")
    wait_for(lambda: copies(world) == [], 15, "the copy on the platform stays")
    assert is_gone_here(world)


def test_place_is_free_while_the_platform_is_away(connected):
    world = connected
    world.fault({"match": "POST /v1/vaults/*/credentials/*/archive", "kind": "status", "status": 400, "times": -1})
    answer = disconnect(world)
    assert (answer["revoked"], answer["pending"]) == (False, True) and answer["notice"]
    assert is_gone_here(world) and world.grants("alice@notion.test") == (0, 0) and len(copies(world)) == 1
    assert world.connect("alice")["state"] == "connected"
    world.ask_platform("/_emulator/faults", method="DELETE")
    # Nobody has to ask again: it is tried after a while, and the new connection is not touched by it.
    wait_for(lambda: copies(world) == [], 60, "the copy on the platform stays")
    assert [each["state"] for each in world.json("alice", "status")["connections"]] == ["active"] and world.grants("alice@notion.test") == (1, 1)


def test_rekeying_goes_on_beside_what_is_pending(connected):
    world = connected
    tamper(world, path="/token/revocation", mode="fail", times=1000)
    assert disconnect(world)["pending"]
    answer = world.caller("root", "control").reply("io.vaultd.Admin.CheckRecords")["parameters"]
    assert answer["unknown"] is False and answer["damaged"] == []


def test_t26_a_user_has_a_bounded_number_of_them(connected):
    world = connected
    world.fault({"match": f"GET /v1/vaults/{world.platform_vault}/credentials", "kind": "status", "status": 400, "times": -1})
    alice, root = world.caller("alice"), world.caller("root", "control")
    for i in range(65):
        answer = alice.reply("io.vaultd.Connect.Keep", {"service": "value", "label": f"n{i}", "token": "a value"})
        assert "error" not in answer, answer
    began = time.monotonic()
    for i in range(64):
        if "error" in alice.reply("io.vaultd.Connect.Disconnect", {"service": "value", "label": f"n{i}"}, 60):
            break
    assert i == 63, f"refused at the {i}th after {time.monotonic() - began:.0f} s"
    refused = alice.reply("io.vaultd.Connect.Disconnect", {"service": "value", "label": "n64"})
    assert refused["error"] == "io.vaultd.LimitExceeded" and "64 connections" in refused["parameters"]["message"], refused
    # The administrator is not bound by it, and what is revoked makes room.
    world.ask_platform("/_emulator/faults", method="DELETE")
    assert len(root.reply("io.vaultd.Admin.Revoke", {"user": "alice", "service": "value"}, 60)["parameters"]["grants"]) == 65
    assert "error" not in alice.reply("io.vaultd.Connect.Disconnect", {"service": "notion"}, 60)
