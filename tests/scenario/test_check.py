# SPDX-License-Identifier: LGPL-2.1-or-later
"""vaultctl check (O8): valid, invalid, unknown, each with the reason; and a service that refuses everything causes one refresh a minute at most."""


import pytest
from test_refresh import HOUR, aged, connection, pending_faults, refreshes
from test_static_tokens import POLICY, VALUE, bearer_profile, keep, variable_profile
from test_token import READERS
from world import World


def check(world, *arguments, user="alice", code=None):
    results = world.json(user, "check", *arguments, code=code)
    return results["results"]


def refuse(world, n=99, status=401):
    """The service's server answers the next requests so."""
    origin = world.stack.url.rsplit("/", 1)[0]
    world.stack.tamper({"path": "/mcp", "mode": "status", "status": status, "times": n, "body": {"error": "no"}}, origin)


def relent(world):
    world.stack.http(world.stack.url.rsplit("/", 1)[0] + "/_fixture/tamper", method="DELETE")
    world.stack.http(world.stack.issuer + "/_fixture/tamper", method="DELETE")


@pytest.fixture(scope="module")
def connected():
    with World(platform=False) as world:
        world.configure(policy=READERS)
        world.restart_vaultd()
        world.connect("alice")
        yield world


@pytest.fixture(autouse=True)
def as_it_was(request):
    if "connected" in request.fixturenames:
        relent(request.getfixturevalue("connected"))


def test_connection_that_works_is_valid_and_bob_has_none(connected):
    [result] = check(connected, code=0)
    assert (result["service"], result["label"], result["account"]["name"], result["verdict"]) == ("notion", "default", "alice@notion.test", "valid")
    assert "notion-search" in result["tools"] and "reason" not in result
    done = connected.vaultctl("alice", "check", "notion")
    assert done.returncode == 0 and "valid" in done.stdout and "invalid" not in done.stdout
    assert check(connected, user="bob", code=0) == []
    assert connected.json("bob", "check", "notion", code=3)["message"] == "Notion credentials not configured"
    assert connected.json("alice", "check", "notion", "--as", "work", code=3)["error"] == "io.vaultd.NotConnected"
    assert connected.json("alice", "check", "nonsense", code=1)["error"] == "io.vaultd.NoSuchService"
    assert connected.vaultctl("alice", "check", "--as", "work").returncode == 2


def test_tool_is_called_only_where_policy_has_it_on(connected):
    before = len(connected.mcp_calls())
    check(connected, "notion", "--tool", "notion-get-self", code=0)
    assert connected.mcp_calls()[before:] == [("alice@notion.test", "notion-get-self")]
    for tool in ("notion-create-pages", "notion-search"):   # READERS has one tool on
        assert connected.json("alice", "check", "notion", "--tool", tool, code=4)["error"] == "io.vaultd.NotAllowed"
    assert len(connected.mcp_calls()) == before + 1


@pytest.mark.parametrize("status", [500, 503, 429, 404])
def test_what_says_nothing_about_the_token_is_unknown(connected, status):
    refuse(connected, status=status)
    [result] = check(connected, code=6)
    assert result["verdict"] == "unknown" and str(status) in result["reason"] and result["state"] == "active"
    assert connected.vaultctl("alice", "check").returncode == 6


def test_server_that_is_away_is_unknown():
    with World(platform=False) as world:
        world.connect("alice")
        world.stack.mcp.stop()
        [result] = check(world, code=6)
        assert result["verdict"] == "unknown" and "refused" in result["reason"]


def test_refused_token_is_renewed_once_before_it_counts_as_invalid(connected):
    world = connected
    aged(world, HOUR // 2)      # half of its life is over, and the service refuses it all the same
    before = sum(refreshes(world)[0].values())
    refuse(world, 1)
    [result] = check(world, code=0)
    assert result["verdict"] == "valid" and sum(refreshes(world)[0].values()) == before + 1


def test_endless_refusals_cause_one_refresh_a_minute(connected):
    world = connected
    aged(world, 3 * HOUR // 4)
    before = sum(refreshes(world)[0].values())
    refuse(world)
    for _ in range(8):
        [result] = check(world, code=3)
        assert result["verdict"] == "invalid" and "does not accept the token" in result["reason"]
    assert sum(refreshes(world)[0].values()) == before + 1
    # Also over restarts, which forget everything that is not written down.
    world.restart_vaultd({"VAULTD_TEST_CLOCK_OFFSET": str(3 * HOUR // 4)})
    check(world, code=3)
    assert sum(refreshes(world)[0].values()) == before + 1
    aged(world, 3 * HOUR // 4 + 61)
    check(world, code=3)
    check(world, code=3)
    assert sum(refreshes(world)[0].values()) == before + 2
    assert connection(world)["state"] == "active", "the service's refusal is not the end of the grant"


def test_refused_token_that_cannot_be_renewed_just_now_is_unknown(connected):
    world = connected
    aged(world, 3 * HOUR)
    world.stack.tamper({"path": "/token", "mode": "status", "status": 503, "times": 9})
    [result] = check(world, code=6)
    assert result["verdict"] == "unknown" and "503" in result["reason"] and pending_faults(world) == 8


def test_grant_that_has_ended_is_invalid_with_the_command():
    with World(platform=False) as world:
        world.connect("alice")
        aged(world)
        world.stack.tamper({"path": "/token", "mode": "status", "status": 400, "body": {"error": "invalid_grant"}})
        for _ in range(2):      # found by this check, then known
            [result] = check(world, code=3)
            assert result["verdict"] == "invalid" and "invalid_grant" in result["reason"] and result["hint"] == "Run: vaultctl connect notion"
            assert result["state"] == "needs-reconnect"
        done = world.vaultctl("alice", "check")
        assert done.returncode == 3 and "vaultctl connect notion" in done.stdout


def test_what_the_platform_keeps_is_unknown_here():
    with World(custody="platform") as world:
        world.connect("alice")
        [result] = check(world, code=6)
        assert result["verdict"] == "unknown" and "Claude Platform keeps it" in result["reason"]


def test_tokens_that_were_given_by_hand_are_asked_about_where_somebody_can_be():
    """A bearer like any token at its server; the value of a variable belongs to no server, and its profile names nobody."""
    with World(platform=False) as world:
        world.add_service("notes", bearer_profile(world))
        world.add_service("gh", variable_profile())
        world.configure(policy=POLICY)
        world.restart_vaultd()
        world.connect("alice")
        keep(world, "alice", world.vaultctl("alice", "token", "notion").stdout.strip(), "--yes")
        keep(world, "alice", VALUE, "--yes", service="gh")
        results = {each["service"]: each for each in check(world, code=6)}
        assert {name: each["verdict"] for name, each in results.items()} == {"notion": "valid", "notes": "valid", "gh": "unknown"}
        assert "cannot be asked" in results["gh"]["reason"]
        # The bearer is the same token as the grant's, which is over now.
        world.json("alice", "disconnect", "notion")
        [result] = check(world, "notes", code=3)
        assert result["verdict"] == "invalid" and result["hint"] == "Run: vaultctl connect notes --token-stdin"
