# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damage in the file under the real vaultd (T8): who is hit hears which record it is, nobody else notices, nothing is believed."""

import os
import re
import signal

import pytest
from world import World


@pytest.fixture(scope="module")
def world():
    with World(platform=False) as world:
        world.connect("alice")
        world.connect("bob")
        world.stop_vaultd()
        world.sound = (world.root / "state/vaultd.mdb").read_bytes()
        yield world


def start_with(world, changed):
    """Starts vaultd on other bytes of the same size."""
    assert len(changed) == len(world.sound)
    world.stop_vaultd(signal.SIGKILL)
    (world.root / "state/vaultd.mdb").write_bytes(changed)
    world.start_vaultd()


def flipped(content, places):
    changed = bytearray(content)
    for place in places:
        changed[place] ^= 1
    return bytes(changed)


def credential_ids(world, account):
    """Where the ids of the account's credential begin, in pages that are in use or were: its account is the next that follows."""
    found = [(match.start(), re.compile(rb"[a-z]+@notion\.test").search(world.sound, match.end())) for match in re.finditer(rb"c-[0-9a-f]{32}", world.sound)]
    return [place for place, name in found if name and name[0] == account]


def assert_only_alice_is_hit(world, record):
    log = world.log("vaultd")
    answer = world.json("alice", "status", code=1)
    assert answer["error"] == "io.vaultd.Damaged" and answer["record"] == record, answer
    assert record in answer["message"] and "vaultctl admin restore" in answer["hint"]
    said = world.log("vaultd").removeprefix(log)
    assert "uid 1001" in said and record in said, said
    shown = world.json("bob", "status")
    assert [each["account"]["name"] for each in shown["connections"]] == ["bob@notion.test"]
    assert world.vaultd_process.poll() is None


def test_damaged_credential_is_named_to_its_user_alone(world):
    places = credential_ids(world, b"alice@notion.test")
    assert places and not set(places) & set(credential_ids(world, b"bob@notion.test"))
    start_with(world, flipped(world.sound, [place + 9 for place in places]))
    assert_only_alice_is_hit(world, "credential notion/default")
    # Nothing is written over what may still be mended.
    answer = world.caller("alice").reply("io.vaultd.Connect.Disconnect", {"service": "notion"})
    assert answer["error"] == "io.vaultd.Damaged", answer


def test_damaged_vault_is_named_to_its_user_and_to_root(world):
    start_with(world, world.sound)
    vault = world.json("alice", "whoami")["vault"]["id"].encode()
    places = [found.start() for found in re.finditer(re.escape(vault), world.sound)]
    assert places
    start_with(world, flipped(world.sound, [place + 9 for place in places]))
    assert_only_alice_is_hit(world, "vault")
    answer = world.caller("root", "control").reply("io.vaultd.Admin.Lock", {"uid": 1001})
    assert answer["error"] == "io.vaultd.Damaged" and answer["parameters"]["record"] == "vault", answer


def test_file_that_was_cut_short_ends_vaultd_with_a_word_about_it(world):
    # LMDB reads through its map, where what is missing is a fault of memory and no error.
    start_with(world, world.sound)
    before = len(world.log("vaultd"))
    os.truncate(world.root / "state/vaultd.mdb", 2 * 4096)
    assert world.caller("alice")("io.vaultd.Status") == b""
    assert world.vaultd_process.wait(20) != 0
    said = world.log("vaultd")[before:]
    assert "vaultctl admin restore" in said, said[-2000:]
    # With the file back it goes on as if nothing had been.
    start_with(world, world.sound)
    assert [each["account"]["name"] for each in world.json("alice", "status")["connections"]] == ["alice@notion.test"]
