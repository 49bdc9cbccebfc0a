# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page of one's services, published by nginx and seen with Chromium (O1, O4, T14, T29, T34)."""

import pytest
from page_world import PageWorld


@pytest.fixture(scope="module")
def world():
    with PageWorld() as world:
        yield world


@pytest.fixture(scope="module")
def chromium(world):
    with world.chromium() as browser:
        yield browser


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
