# SPDX-License-Identifier: LGPL-2.1-or-later
"""The story of ./demo as a test, and what else only whole machines show: real logins, real services, two people."""

import json

import pytest
from demo import PEOPLE, Story, tell
from scene import Scene


@pytest.fixture(scope="module")
def told(stage):
    """A machine on which the story has been told: (scene, {user: platform vault}, {user: agent session})."""
    scene = Scene(stage)
    try:
        yield scene, *tell(Story(1), scene)
    finally:
        scene.stop()


@pytest.fixture(scope="module")
def people(stage):
    """A machine where bob is connected and alice is not."""
    with Scene(stage) as scene:
        scene.install().start_services(PEOPLE.values()).configure()
        for user, account in PEOPLE.items():
            scene.add_person(user, account)
        scene.connect("bob")
        yield scene


def test_each_session_has_exactly_its_own_users_vault(told):
    scene, vaults, sessions = told
    assert len(set(vaults.values())) == len(PEOPLE)
    for user in PEOPLE:
        assert scene.ask_platform("/v1/sessions/" + sessions[user])["vault_ids"] == [vaults[user]]
        own = scene.vaultctl(user, "session list")["sessions"]
        assert [session["id"] for session in own] == [sessions[user]]


def test_missing_connection_is_named_with_its_remedy(people):
    result = people.as_user("alice", "vaultctl session start --yes", check=False)
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == "Notion credentials not configured\nRun: vaultctl connect notion\n"


def test_page_names_who_asks_and_for_what(people):
    begun = people.as_user("alice", "timeout 2 vaultctl --json connect notion --page --no-browser | head -n 1").stdout
    page = people.run(["curl", "--silent", "--max-time", "10", json.loads(begun)["link"]]).stdout
    assert "alice" in page and "Notion" in page and "vaultd-machine" in page


def test_connection_is_claimed_from_another_login_of_the_same_user_alone(people):
    begin = "vaultctl --json connect notion --page --no-browser < /dev/null; test $? = 3"
    with people.converse("alice", begin) as terminal:
        page = people.browse("alice", terminal.hear()["link"], PEOPLE["alice"])
        parked = terminal.hear()
        assert parked["state"] == "quarantined"
    code = page["ids"]["claim-code"]
    claim = f"vaultctl --json claim - --account {parked['account']['id']}"
    stolen = people.as_user("bob", claim, check=False, stdin=code + "\n")
    assert stolen.returncode == 1
    assert [each["account"]["name"] for each in people.vaultctl("bob", "status")["connections"]] == [PEOPLE["bob"]]
    assert json.loads(people.as_user("alice", claim, stdin=code + "\n").stdout)["state"] == "connected"
    assert people.as_user("alice", claim, check=False, stdin=code + "\n").returncode == 1
    assert [each["account"]["name"] for each in people.vaultctl("alice", "status")["connections"]] == [PEOPLE["alice"]]
