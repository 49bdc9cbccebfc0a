# SPDX-License-Identifier: LGPL-2.1-or-later
"""Refreshing (O6, T20, T21): once for a grant, durable before use, against a provider that rotates and finds reuse."""

import pytest
from test_token import READERS, account_of
from world import World, wait_for

HOUR = 3600


def aged(world, seconds=2 * HOUR):
    """Restarts vaultd with its clock set on, so that the access tokens it has are past their time."""
    world.restart_vaultd({"VAULTD_TEST_CLOCK_OFFSET": str(seconds)})


def refreshes(world):
    """(how many each account had, how many were refused)"""
    counts = world.stack.http(world.stack.issuer + "/_fixture/refreshes").json
    return counts["done"], counts["refused"]


def token_of(world, user="alice"):
    return world.vaultctl(user, "token", "notion").stdout.strip()


def connection(world, user="alice"):
    [only] = world.json(user, "status")["connections"]
    return only


@pytest.fixture
def connected():
    """alice is connected and may read her token."""
    with World() as world:
        world.configure(policy=READERS)
        world.restart_vaultd()
        world.connect("alice")
        yield world


def test_expired_token_is_refreshed_once_and_the_new_one_survives_a_crash(connected):
    world = connected
    old = token_of(world)
    assert account_of(world, old) == (200, "alice@notion.test")
    aged(world)
    fresh = token_of(world)
    assert fresh and fresh != old and account_of(world, fresh) == (200, "alice@notion.test")
    assert token_of(world) == fresh and refreshes(world) == ({"alice@notion.test": 1}, 0)
    # What was handed out was on the disk before.
    world.stop_vaultd(9)
    world.start_vaultd({"VAULTD_TEST_CLOCK_OFFSET": str(2 * HOUR)})
    assert token_of(world) == fresh and refreshes(world) == ({"alice@notion.test": 1}, 0)
    # The pair was kept, not the token alone: the next refresh goes on from it.
    aged(world, 4 * HOUR)
    assert account_of(world, token_of(world)) == (200, "alice@notion.test") and refreshes(world) == ({"alice@notion.test": 2}, 0)
    assert connection(world)["state"] == "active"
    assert sum("token refreshed" in line and "uid 1001" in line for line in world.log("vaultd").splitlines()) == 2
