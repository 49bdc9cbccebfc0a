# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service that tells nobody whose account it is (Account=none): it can be connected, and nothing pretends to know (O7, T33)."""

import pytest

from world import World

ACCOUNT = "AccountTool=notion-get-self\nAccountIdField=id\nAccountNameField=email\n"


@pytest.fixture(scope="module")
def mute():
    with World(platform=False) as world:
        says_nothing(world)
        yield world


def says_nothing(world):
    world.configure()
    file = world.root / "etc/services.d/notion.conf"
    file.write_text(file.read_text().replace(ACCOUNT, "Account=none\n"))
    world.restart_vaultd()


def connected_account(world, user):
    return [each["account"] for each in world.json(user, "status")["connections"] if each["service"] == "notion"]


def test_it_is_connected_through_the_page_and_shown_as_unknown(mute):
    terminal, page = mute.park("alice")
    assert page["ids"]["account"] == "unknown account", page
    parked = terminal.hear()
    assert parked["account"] == {"id": "", "name": "unknown account"}
    terminal.say(page["ids"]["claim-code"])
    assert terminal.hear()["state"] == "connected" and terminal.end()[0] == 0
    assert connected_account(mute, "alice") == [{"id": "", "name": "unknown account"}]
    assert mute.mcp_calls() == [], "nobody was asked"


def test_it_is_connected_by_paste_back_after_a_yes(mute):
    terminal = mute.converse("bob", "connect", "notion", "--paste", "--yes")
    address = terminal.hear()["authorizationUrl"]
    terminal.say(mute.browse("bob", address, None, "--stop-at-redirect-to", "http://127.0.0.1")["redirect"])
    assert terminal.hear()["account"]["name"] == "unknown account"
    assert terminal.hear()["state"] == "connected" and terminal.end()[0] == 0


def test_somebody_else_s_account_comes_in_its_place_without_a_word(mute):
    """What is not known cannot be held against anything; the page of vaultd.conf(5) says so."""
    mute.connect("carol", "bob@notion.test")
    mute.connect("carol", "carol@notion.test")


def test_nothing_was_pinned_when_the_service_begins_to_tell(mute):
    mute.connect("alice")
    mute.configure()
    mute.restart_vaultd()
    assert mute.connect("alice", "bob@notion.test")["account"]["name"] == "bob@notion.test"
    says_nothing(mute)
