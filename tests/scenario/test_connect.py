# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connecting a service from the first link to the credential, with a real provider and a real MCP server."""

import time

from world import wait_for


def test_whoami_names_the_kernel_verified_caller(world):
    alice, bob = world.json("alice", "whoami"), world.json("bob", "whoami")
    assert (alice["uid"], alice["user"]) == (1001, "alice") and (bob["uid"], bob["user"]) == (1002, "bob")
    assert alice["vault"]["id"] != bob["vault"]["id"] and alice["vault"]["state"] == "active"
    assert alice["origin"] == "unproven"


def test_vault_is_made_once(world):
    first = world.json("carol", "whoami")["vault"]["id"]
    assert world.json("carol", "whoami")["vault"]["id"] == first
    world.restart_vaultd()
    assert world.json("carol", "whoami")["vault"]["id"] == first


def test_root_and_service_accounts_get_no_vault(world):
    assert world.json("root", "whoami").get("vault") is None


def test_uid_without_account_is_refused_by_name(world):
    answer = world.json("nobody-here", "whoami", code=4)
    assert answer["error"] == "io.vaultd.NotAllowed" and "54321" in answer["message"]


def test_connect_page_claim(world):
    terminal, page = world.park("alice")
    assert page["ids"]["account"] == "alice@notion.test"
    assert "alice" in page["ids"]["requester"]
    terminal.hear()
    terminal.say(page["ids"]["claim-code"])
    connected = terminal.hear()
    assert connected["account"]["name"] == "alice@notion.test"
    assert terminal.end()[0] == 0
    connections = world.json("alice", "status")["connections"]
    assert [(c["service"], c["account"]["name"], c["state"]) for c in connections] == [("notion", "alice@notion.test", "active")]
    assert world.json("bob", "status")["connections"] == []
