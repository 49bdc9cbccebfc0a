# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk that fails under the real vaultd: whatever is in doubt ends the process, which comes back clean (T27).

A full map and a full disk are no such failure: tests/scenario/test_bad_input.py.
"""

import os
import shutil
import signal

import pytest
from world import BUILD, SANITIZER, World, wait_for

# Made by the run itself; the database is told by its name.
MODULE = BUILD / "tests/unit/store/failing-disk.so"


@pytest.fixture(scope="module")
def world():
    with World(platform=False) as world:
        world.connected = world.connect("alice")
        shutil.copy(MODULE, world.root / "bin/failing-disk.so")
        yield world


def failing(world, order):
    return {"LD_PRELOAD": str(world.root / "bin/failing-disk.so"), "VAULTD_TEST_DISK": order,
            "ASAN_OPTIONS": SANITIZER["ASAN_OPTIONS"] + ":verify_asan_link_order=0"}


@pytest.mark.parametrize("kind", ["sync", "meta", "data"])
def test_failed_write_ends_vaultd_which_comes_back_with_all_that_was_acknowledged(world, kind):
    log = len(world.log("vaultd"))
    world.stop_vaultd()
    # The first write is for the vault that is acknowledged, the next for one that cannot be.
    world.start_vaultd(failing(world, f"{kind}:{2 if kind != 'data' else 6}"))
    told = {}
    for uid, user in ((1002, "bob"), (1003, "carol"), *((3001 + i, f"storm{i:02}") for i in range(6))):
        answer = world.caller("root", "control")("io.vaultd.Login.Open", {"uid": uid, "user": user, "service": "test", "leader": os.getpid()})
        if not answer or b'"error"' in answer:
            assert answer == b"", answer
            break
        told[uid] = user
    assert told or kind == "data", "it failed before anything could be acknowledged"
    process = world.vaultd_process
    wait_for(lambda: process.poll() is not None, 10, "vaultd goes on after a failed write")
    assert process.returncode == -signal.SIGABRT
    said = world.log("vaultd")[log:]
    assert "memory and disk may disagree" in said and "Sanitizer" not in said, said[-2000:]

    world.start_vaultd()
    # Whatever the disk made of the last one: what was told is there, and all is of use.
    there = {each["uid"]: each["user"] for each in world.caller("root", "control").reply("io.vaultd.Admin.Users")["parameters"]["vaults"]}
    assert told.items() <= there.items()
    assert world.json("alice", "status")["connections"][0]["account"] == world.connected["account"]
    for user in ("bob", "carol"):
        assert world.json(user, "whoami")["vault"]["state"] == "active"


def test_unit_starts_vaultd_anew_after_an_abort():
    unit = (BUILD / "systemd/vaultd.service").read_text()
    # systemd.service(5), table "Exit causes and the effect of the Restart= settings": on-failure covers an unclean signal.
    assert "\nRestart=on-failure\n" in unit
