# SPDX-License-Identifier: LGPL-2.1-or-later
"""Changing all keys (V9) and being killed at any point of it, vaultd or the administrator's vaultctl.

After each kill vaultd starts with the key that is in place, without being told anything; everybody's connections are there and can
be used; the change of keys comes to its end; and then the former key opens nothing.
"""

import os
import signal
import time

import pytest
from ground import Campaign
from world import UIDS

LIMIT = int(os.environ.get("VAULTD_CRASH_POINTS", "0"))     # 0: all
POINTS_OF_VAULTCTL = ("rekey-made", "rekey-announced", "rekey-in-place")


def admin(ground, *arguments, environment=None):
    """vaultctl admin as root: what it said as JSON lines, or None when it failed or was killed."""
    import json
    import subprocess
    done = subprocess.run(ground.command("--json", "--socket", str(ground.sockets["control"]), "admin", *arguments), text=True,
                          capture_output=True, timeout=60, env=ground.environment() | (environment or {}))
    return json.loads(done.stdout.strip().splitlines()[-1]) if done.returncode == 0 else None


def rekey(ground, environment=None):
    return admin(ground, "rekey", "--kek-file", str(ground.kek), environment=environment)


def set_key(ground, key):
    ground.kek.write_bytes(key)
    (ground.root / "kek.new").unlink(missing_ok=True)


def accounts(ground):
    return [ground.json(user, "status")["connections"][0]["account"]["name"] for user in ("alice", "bob")]


EXPECTED = ["alice@notion.test", "bob@notion.test"]


@pytest.fixture(scope="module")
def prepared(grounds):
    """Both grounds with connections of two users and a recovery key; their states and keys."""
    states = {}
    for ground in grounds:
        ground.reset()
        ground.start()
        ground.connect("alice")
        ground.connect("bob")
        created = admin(ground, "init", "--kek-file", str(ground.kek))["recovery"]["created"]
        states[ground] = (ground.keep("rekey-state"), ground.kek.read_bytes(), created)
    yield states
    for ground, (_, key, _) in states.items():
        ground.stop_vaultd(signal.SIGKILL)
        set_key(ground, key)


def finish(ground, old_key, created):
    """From whatever was left: to the end, and nothing is missing."""
    ground.start()
    assert accounts(ground) == EXPECTED, "a connection does not open after the kill"
    done = None
    deadline = time.monotonic() + 30
    while not (done := rekey(ground)):
        assert time.monotonic() < deadline, ground.log("vaultd")[-3000:]
        time.sleep(0.2)
    assert done["erased"]
    assert accounts(ground) == EXPECTED
    assert admin(ground, "init", "--kek-file", str(ground.kek))["recovery"] == {"created": created}
    ground.stop_vaultd()
    new_key = ground.kek.read_bytes()
    assert new_key != old_key
    assert not (ground.root / "kek.new").exists()
    set_key(ground, old_key)
    process = ground.start_vaultd(wait=False)
    assert process.wait(20) != 0, "the former key still opens the store"
    set_key(ground, new_key)
    ground.start()
    assert accounts(ground) == EXPECTED


def test_vaultd_is_killed_while_keys_change(grounds, prepared, tell):
    def try_point(ground, point):
        state, key, created = prepared[ground]
        ground.reset(state)
        set_key(ground, key)
        ground.start(point)
        is_complete = rekey(ground) is not None
        if not ground.was_killed(is_complete):
            return None
        place = ground.trail()[-1]
        finish(ground, key, created)
        return place
    campaign = Campaign(grounds, try_point, LIMIT)
    n = campaign.run()
    assert n > 10 or LIMIT
    tell(f"{n} points in rekeying ({campaign.by_name()})")


@pytest.mark.parametrize("point", range(1, len(POINTS_OF_VAULTCTL) + 1))
@pytest.mark.parametrize("restarts", [False, True])
def test_vaultctl_is_killed_while_keys_change(grounds, prepared, point, restarts):
    ground = grounds[0]
    state, key, created = prepared[ground]
    ground.reset(state)
    set_key(ground, key)
    ground.start()
    assert rekey(ground, {"VAULTD_TEST_CRASH_AT": str(point)}) is None
    assert ground.vaultd_process.poll() is None
    if restarts:
        ground.stop_vaultd()
    else:
        assert accounts(ground) == EXPECTED
        assert rekey(ground), "the same command again does not come to the end"
        ground.stop_vaultd()
    finish(ground, key, created)
    assert UIDS["vaultd"] == ground.kek.stat().st_uid
