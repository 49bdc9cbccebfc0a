# SPDX-License-Identifier: LGPL-2.1-or-later
"""Custody mirror (V4, O6): what a session on the platform is given is fresh, and is renewed in the background as long as a session lives, and not longer."""

import time

from test_custody import credentials
from test_refresh import aged, connection, refreshes
from world import World, wait_for

TTL = 12


def done(world, user="alice"):
    return refreshes(world)[0].get(f"{user}@notion.test", 0)


def expiry(world, session):
    [pushed] = [each for each in credentials(world, session["vaultIds"][0]) if not each["archived_at"]]
    assert not pushed["auth"].get("refresh"), "the platform was given the refresh token"
    return pushed["auth"]["expires_at"]


def test_session_starts_with_a_token_that_was_just_renewed(fresh_world):
    world = fresh_world
    world.connect("alice")
    aged(world)
    session = world.json("alice", "session", "start", "--yes", "--message", "call notion notion-get-self {}")["session"]
    assert done(world) == 1 and session["accounts"] == ["alice@notion.test"]
    wait_for(lambda: ("alice@notion.test", "notion-get-self") in world.mcp_calls()[1:], what="the session did not reach the service as alice")
    # A second one, with a token that is good: nothing to renew.
    world.json("alice", "session", "start", "--yes")
    assert done(world) == 1


def test_session_is_not_started_on_a_grant_that_has_ended(fresh_world):
    world = fresh_world
    world.connect("alice")
    aged(world)
    world.stack.tamper({"path": "/token", "mode": "status", "status": 400, "body": {"error": "invalid_grant"}})
    answer = world.json("alice", "session", "start", "--yes", code=3)
    assert answer["hint"] == "Run: vaultctl connect notion" and connection(world)["state"] == "needs-reconnect"
    assert world.platform_all("/v1/sessions") == []


def test_live_sessions_token_is_renewed_by_itself_and_not_after_its_end():
    with World(provider_options=("--access-ttl", str(TTL))) as world:
        for user in ("alice", "bob"):
            world.connect(user)
        session = world.json("alice", "session", "start", "--yes")["session"]
        first, begun = expiry(world, session), done(world)
        wait_for(lambda: done(world) > begun and expiry(world, session) > first, TTL + 10, "nobody renewed the token of a running session")
        # Also by a vaultd that was started meanwhile: the sessions on record say for whom.
        world.restart_vaultd()
        second, begun = expiry(world, session), done(world)
        wait_for(lambda: done(world) > begun and expiry(world, session) > second, TTL + 10, "a restart forgot the running session")
        world.ask_platform(f"/v1/sessions/{session['id']}/archive", {}, "POST")
        time.sleep(1)
        begun = done(world)
        time.sleep(TTL + 6)
        assert done(world) <= begun + 1     # one may have been under way
        begun = done(world)
        time.sleep(TTL)
        assert done(world) == begun, "tokens are renewed that no session uses"
        # Nobody uses bob's, so nobody asked for one.
        assert done(world, "bob") == 0 and connection(world, "bob")["state"] == "active"
