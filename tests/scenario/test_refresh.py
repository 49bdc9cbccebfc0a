# SPDX-License-Identifier: LGPL-2.1-or-later
"""Refreshing (O6, T20, T21): once for a grant, durable before use, against a provider that rotates and finds reuse."""

import base64
import contextlib
import json
import os
import secrets
import subprocess
import time
import urllib.parse

import pytest
import swarm
from test_backup import Host
from test_bad_input import open_logins
from test_token import READERS, account_of
from world import ACCOUNTS, UIDS, World, as_user, wait_for

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


DEAD = {"path": "/token", "mode": "status"}


def read(world, user="alice", code=None):
    return world.json(user, "token", "notion", code=code)


def pending_faults(world):
    """How often faults are still to be applied: each request for a token uses one up."""
    return sum(each["times"] for each in world.stack.http(world.stack.issuer + "/_fixture/tamper").json["pending"])


@pytest.mark.parametrize("status,body", [
    (400, {"error": "invalid_grant"}), (401, {"error": "invalid_grant"}), (403, {"error": "invalid_grant"}), (200, {"ok": False, "error": "invalid_grant"}),
    (401, {"error": "invalid_client"})], ids=["400", "401", "403", "200-not-ok", "client-unknown"])
def test_grant_that_has_ended_needs_a_new_connect_and_says_so_for_good(connected, status, body):
    world = connected
    aged(world)
    world.stack.tamper({**DEAD, "status": status, "body": body, "times": 9})
    answer = read(world, code=3)
    assert answer["error"] == "io.vaultd.NotConnected" and "Notion" in answer["message"] and answer["hint"] == "Run: vaultctl connect notion"
    assert pending_faults(world) == 8
    assert read(world, code=3)["hint"] == "Run: vaultctl connect notion" and pending_faults(world) == 8, "a dead grant was asked for again"
    aged(world)
    entry = connection(world)
    assert entry["state"] == "needs-reconnect" and body["error"] in entry["reason"]
    assert "vaultctl connect notion" in world.vaultctl("alice", "status").stdout
    assert any("connection has to be made again" in line and "uid 1001" in line and body["error"] in line for line in world.log("vaultd").splitlines())
    # Who logs in is told, once for each service, and nobody else.
    told = {user: world.caller("root", "control").reply("io.vaultd.Login.Open", {"uid": uid, "user": user, "service": "test", "leader": os.getpid()})
            for user, uid in (("alice", 1001), ("bob", 1002))}
    assert told["alice"]["parameters"]["notice"] == "Notion credentials need to be connected again. Run: vaultctl connect notion"
    assert "notice" not in told["bob"]["parameters"]
    # It goes on with the consent that is asked for.
    world.stack.http(world.stack.issuer + "/_fixture/tamper", method="DELETE")
    world.connect("alice")
    assert connection(world)["state"] == "active" and account_of(world, token_of(world)) == (200, "alice@notion.test")


def test_error_that_repeats_the_token_is_not_repeated(connected):
    """T28: what a server says about a refresh goes to the terminal and the journal; a token must not."""
    world = connected
    aged(world)
    told = "tGzv3JOkF0XG5Qx2TlKWIA"
    for body in ({"error": told}, {"error": f"no {told}"}, {"error": "invalid_request", "error_description": told}):
        world.stack.tamper({**DEAD, "status": 400, "body": body})
        answer = read(world, code=6)
        assert answer["error"] == "io.vaultd.UpstreamFailed" and told not in str(answer)
        aged(world)
    assert told not in world.log("vaultd")


@pytest.mark.parametrize("fault", [{**DEAD, "status": 503}, {**DEAD, "status": 502}, {**DEAD, "status": 429, "headers": {"Retry-After": "7"}},
                                   {"path": "/token", "mode": "fail"}], ids=["503", "502", "429", "500"])
def test_server_in_trouble_is_asked_again_later_and_costs_no_grant(connected, fault):
    world = connected
    aged(world)
    world.stack.tamper({**fault, "times": 9})
    for _ in range(3):      # one request, then a pause of which everybody is told
        assert read(world, code=6)["error"] == "io.vaultd.UpstreamFailed"
    assert pending_faults(world) == 8 and connection(world)["state"] == "active"
    if "headers" in fault:
        assert "tried again in 7 s" in read(world)["message"] or "tried again in 6 s" in read(world)["message"]
    aged(world)             # forgets the pause
    world.stack.http(world.stack.issuer + "/_fixture/tamper", method="DELETE")
    assert account_of(world, token_of(world)) == (200, "alice@notion.test") and refreshes(world) == ({"alice@notion.test": 1}, 0)


def test_good_token_is_used_to_its_end_while_no_new_one_can_be_had(connected):
    world = connected
    old = token_of(world)
    aged(world, HOUR - 45)      # in its last minute
    world.stack.tamper({**DEAD, "status": 503, "times": 9})
    assert token_of(world) == old and token_of(world) == old and pending_faults(world) == 8
    # A provider that hangs keeps nobody waiting who has a token.
    aged(world, HOUR - 40)
    world.stack.http(world.stack.issuer + "/_fixture/tamper", method="DELETE")
    world.stack.tamper({"path": "/token", "mode": "slow", "delay_ms": 6000})
    begun = time.monotonic()
    assert token_of(world) == old and time.monotonic() - begun < 5
    begun = time.monotonic()
    assert [token_of(world) for _ in range(3)] == 3 * [old] and time.monotonic() - begun < 2, "each caller waits anew"
    # And when it answers after all, that is not lost.
    wait_for(lambda: refreshes(world)[0], what="the refresh was given up with its caller")
    wait_for(lambda: token_of(world) != old, what="what nobody waited for was thrown away")


def test_lost_answer_is_asked_for_once_more_and_then_the_grant_has_ended(connected):
    """The provider is strict: the token that went out was used up, and its coming back ends the grant."""
    world = connected
    aged(world)
    world.stack.tamper({"token": "cut"})
    assert read(world, code=3)["hint"] == "Run: vaultctl connect notion"
    assert refreshes(world) == ({"alice@notion.test": 1}, 1) and connection(world)["state"] == "needs-reconnect"


def test_lost_answer_is_asked_for_once_more_where_the_server_bears_with_it():
    with World(provider_options=("--lenient",)) as world:
        world.configure(policy=READERS)
        world.restart_vaultd()
        world.connect("alice")
        aged(world)
        world.stack.tamper({"token": "cut"})
        assert account_of(world, token_of(world)) == (200, "alice@notion.test")
        assert refreshes(world) == ({"alice@notion.test": 2}, 0) and connection(world)["state"] == "active"
        # Lost twice in a row: no third try, also not after a restart, and no state that is better than what is known.
        aged(world, 4 * HOUR)
        world.stack.tamper({"token": "cut", "times": 9})
        assert read(world, code=3)["hint"] == "Run: vaultctl connect notion" and pending_faults(world) == 7
        aged(world, 4 * HOUR)
        assert read(world, code=3)["error"] == "io.vaultd.NotConnected" and pending_faults(world) == 7
        assert connection(world)["state"] == "needs-reconnect" and "lost" in connection(world)["reason"]


def test_answer_without_a_refresh_token_leaves_the_old_one_in_force(connected):
    world = connected
    aged(world)
    world.stack.tamper({**DEAD, "status": 200, "body": {"access_token": "short-lived", "token_type": "Bearer", "expires_in": "10"}})
    assert token_of(world) == "short-lived"
    aged(world, 3 * HOUR)
    assert account_of(world, token_of(world)) == (200, "alice@notion.test") and refreshes(world) == ({"alice@notion.test": 1}, 0)


# What ends a connection while its refresh is under way: the provider has given new tokens by then, and holds its answer back.

@contextlib.contextmanager
def refresh_under_way(world, hold_ms=2500):
    """vaultctl token waits for an answer that the provider holds back; yields its process."""
    aged(world)
    world.stack.tamper({"path": "/token", "mode": "hold", "delay_ms": hold_ms})
    reader = subprocess.Popen(world.command("--json", "token", "notion"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              env=world.environment(), **as_user("alice"))
    try:
        wait_for(lambda: refreshes(world)[0].get("alice@notion.test"), what="no refresh began")
        yield reader
    finally:
        if reader.poll() is None:
            reader.kill()
        reader.communicate()


def heard(reader, within):
    begun = time.monotonic()
    answer = json.loads(reader.communicate(timeout=30)[0])
    assert time.monotonic() - begun < within, "it was kept waiting"
    return answer


def admin(world, method, **parameters):
    answer = world.caller("root", "control").reply(f"io.vaultd.Admin.{method}", parameters)
    assert "error" not in answer, answer
    return answer["parameters"]


@pytest.mark.parametrize("end", [
    lambda world: admin(world, "Revoke", uid=1001), lambda world: world.json("alice", "disconnect", "notion"),
    lambda world: admin(world, "DestroyVault", uid=1001)], ids=["admin-revoke", "disconnect", "vault-destroyed"])
def test_what_ends_during_its_refresh_stays_ended_and_the_new_tokens_are_revoked(connected, end):
    world = connected
    with refresh_under_way(world) as reader:
        end(world)
        assert heard(reader, 3)["error"] in ("io.vaultd.Revoked", "io.vaultd.NotConnected")
    wait_for(lambda: world.grants("alice@notion.test") == (0, 0), what="tokens that nobody holds live on at the provider")
    time.sleep(0.5)
    assert world.json("alice", "status")["connections"] == [] and read(world)["error"] == "io.vaultd.NotConnected"
    aged(world)
    assert world.json("alice", "status")["connections"] == []


def test_vaultd_that_is_stopped_during_a_refresh_takes_its_answer_along(connected):
    """A package that is replaced must not cost grants at a provider that rotates."""
    world = connected
    with refresh_under_way(world):
        assert world.stop_vaultd() == 0
    world.start_vaultd({"VAULTD_TEST_CLOCK_OFFSET": str(2 * HOUR)})
    assert connection(world)["state"] == "active"
    assert account_of(world, token_of(world)) == (200, "alice@notion.test") and refreshes(world) == ({"alice@notion.test": 1}, 0)


def test_kill_switch_does_not_wait_for_a_refresh(connected):
    with refresh_under_way(connected, 8000) as reader:
        admin(connected, "Revoke", uid=1001)
        assert heard(reader, 1)["error"] == "io.vaultd.Revoked"


def test_vault_that_is_locked_during_a_refresh_gives_nothing_and_has_lost_nothing(connected):
    world = connected
    with refresh_under_way(world) as reader:
        admin(world, "Lock", uid=1001)
        assert heard(reader, 1)["error"] == "io.vaultd.Revoked"
    assert read(world)["error"] == "io.vaultd.VaultClosed"
    wait_for(lambda: "token refreshed" in world.log("vaultd"), what="the new tokens were thrown away")
    admin(world, "Unlock", uid=1001)
    assert account_of(world, token_of(world)) == (200, "alice@notion.test") and refreshes(world) == ({"alice@notion.test": 1}, 0)


def test_keys_that_are_changed_during_a_refresh_do_not_lose_it(connected):
    world = connected
    with refresh_under_way(world) as reader:
        done = world.vaultctl("root", "--socket", str(world.sockets["control"]), "admin", "rekey", "--kek-file", str(world.kek))
        assert done.returncode == 0, done
        token = heard(reader, 5)["token"]
    assert account_of(world, token) == (200, "alice@notion.test") and token_of(world) == token and refreshes(world) == ({"alice@notion.test": 1}, 0)


def test_new_consent_during_a_refresh_is_what_stays(connected):
    world = connected
    with refresh_under_way(world, 5000) as reader:
        world.connect("alice")
        heard(reader, 6)
    time.sleep(0.5)
    assert connection(world)["state"] == "active" and account_of(world, token_of(world)) == (200, "alice@notion.test")
    assert refreshes(world) == ({"alice@notion.test": 1}, 0)


def test_full_disk_holds_the_new_tokens_until_there_is_room(connected):
    """T27: the provider has used the old token up, so what it gave is not thrown away because it cannot be written just now."""
    world = connected
    world.stop_vaultd()
    state, kept = world.root / "state", world.root / "kept"
    state.rename(kept)
    state.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=512k,mode=700,uid={UIDS['vaultd']},gid={UIDS['vaultd']}", "vaultd-test", state], check=True)
    try:
        subprocess.run(["cp", "-a", "--sparse=always", f"{kept}/.", str(state)], check=True)
        aged(world)
        # So long that no page of the file that is free can take it.
        token = secrets.token_urlsafe(30000)
        world.stack.tamper({**DEAD, "status": 200, "body": {"access_token": token, "refresh_token": "r", "expires_in": HOUR}, "delay_ms": 6000})
        reader = subprocess.Popen(world.command("--json", "token", "notion"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                  env=world.environment(), **as_user("alice"))
        wait_for(lambda: pending_faults(world) == 0, what="no refresh began")
        full = open_logins(world, range(2000, 12000))
        assert full and full["error"] == "io.vaultd.StoreFull", full
        # Nobody gets a token that is not on the disk, and nobody waits for room.
        assert heard(reader, 10)["error"] == "io.vaultd.StoreFull" and read(world)["error"] == "io.vaultd.StoreFull"
        subprocess.run(["mount", "-o", "remount,size=16m", state], check=True)
        wait_for(lambda: read(world).get("token") == token, what="the tokens were thrown away")
        assert refreshes(world) == ({}, 0) and connection(world)["state"] == "active"
        world.stop_vaultd()
    finally:
        subprocess.run(["umount", "-l", state], check=True)


def test_callers_that_leave_do_not_take_the_refresh_along(connected):
    world = connected
    with refresh_under_way(world):
        others = [subprocess.Popen(world.command("token", "notion"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=world.environment(),
                                   **as_user("alice")) for _ in range(5)]
        time.sleep(0.5)
        for other in others:
            other.kill()
            other.wait()
    wait_for(lambda: "token refreshed" in world.log("vaultd"), what="the refresh ended with its callers")
    assert account_of(world, token_of(world)) == (200, "alice@notion.test") and refreshes(world) == ({"alice@notion.test": 1}, 0)


def test_store_that_is_put_back_during_a_refresh_starts_with_a_new_connect():
    """V9, T21: a refresh token that may have been used up meanwhile is not used."""
    with Host() as world:
        world.configure(policy=READERS)
        world.restart_vaultd()
        world.connect("alice")
        key = world.new_recovery_key()
        world.admin("backup", str(world.root / "backup"))
        with refresh_under_way(world, 3000):
            assert world.restore(world.root / "backup", key, "--replace")["needsReconnect"] is True
        assert connection(world)["state"] == "needs-reconnect"
        before = refreshes(world)
        assert read(world, code=3)["hint"] == "Run: vaultctl connect notion" and refreshes(world) == before
