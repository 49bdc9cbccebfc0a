# SPDX-License-Identifier: LGPL-2.1-or-later
"""Refreshing (O6, T20, T21): once for a grant, durable before use, against a provider that rotates and finds reuse."""

import base64
import urllib.parse

import pytest
import swarm
from test_token import READERS, account_of
from world import ACCOUNTS, World, wait_for

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


def judged(world, token):
    """What the provider says of a token: the account, or None when it is not alive."""
    name, secret = world.stack.introspection
    answer = world.stack.http(world.stack.issuer + "/token/introspection", urllib.parse.urlencode({"token": token}).encode(),
                              {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()})
    return answer.json.get("email") or answer.json.get("username") if answer.json["active"] else None


def crowded_world(crowd):
    """The accounts of all of them exist, all may read tokens, and one uid may have a thousand calls at once."""
    accounts = ",".join([*ACCOUNTS.values(), *(f"{swarm.account_of(name)}={swarm.account_of(name)}" for name in crowd)])
    return World(platform=False, provider_options=("--accounts", accounts),
                 settings="[Limits]\nConnections=1100\nCalls=1100\nCallsPerSecond=100000\nBytes=64M\n")


@pytest.mark.parametrize("n_others", [200])
def test_thousand_callers_of_one_grant_cause_one_refresh_beside_others_grants(n_others):
    """T20, T21: at one provider, with one token endpoint, everybody gets the token of the own uid, and each grant is refreshed exactly once."""
    with swarm.users(n_others + 1) as crowd, crowded_world(crowd) as world:
        world.configure(policy="[Server notion]\nTools=notion-get-self\n" + "".join(f"TokenReaders=user:{name}\n" for name in crowd))
        world.restart_vaultd()
        swarm.connect(world, crowd)
        aged(world)
        busy, *others = crowd
        told = swarm.read(world, {busy: (crowd[busy], 1000), **{name: (crowd[name], 1) for name in others}})
        tokens = {}
        for name, answers in told.items():
            assert len(answers) == 1 and sum(answers.values()) == (1000 if name == busy else 1), (name, answers)
            [tokens[name]] = answers
        assert len(set(tokens.values())) == len(crowd), "two users have the same token"
        assert {name: judged(world, token) for name, token in tokens.items()} == {name: swarm.account_of(name) for name in crowd}
        assert refreshes(world) == ({swarm.account_of(name): 1 for name in crowd}, 0)
