# SPDX-License-Identifier: LGPL-2.1-or-later
"""What vaultd's memory holds of secrets that went through it (T16): as root, who alone can look, after the work is done."""

import pathlib
import re
import time

import pytest
from world import World

POLICY = "[Server notion]\nTools=notion-get-self\nTokenReaders=user:alice\n"


def places(pid, needle):
    """The names of the mappings that hold the needle, each as often as it does."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if not rights.startswith("r") or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")) or "vaultd.mdb" in line:
                continue
            start, end = (int(each, 16) for each in span.split("-"))
            memory.seek(start)
            try:
                data = memory.read(end - start)
            except OSError:
                continue
            found += [line.split()[-1] if len(line.split()) > 5 else "anonymous"] * len(re.findall(re.escape(needle), data))
    return found


def settled(pid, needle, seconds=5):
    """The places once the last exchange is over."""
    deadline = time.monotonic() + seconds
    while (found := places(pid, needle)) and time.monotonic() < deadline:
        time.sleep(0.3)
    return found


@pytest.fixture(scope="module")
def used():
    with World() as world:
        world.configure(policy=POLICY)
        world.restart_vaultd()
        pid = world.vaultd_process.pid
        if "libasan" in pathlib.Path(f"/proc/{pid}/maps").read_text():
            pytest.skip("Address Sanitizer keeps what is released")
        # Each is looked for at once: what is not overwritten on purpose is so by chance, later.
        world.left = {}
        world.connect("alice")
        world.json("alice", "session", "start", "--yes")
        token = world.vaultctl("alice", "token", "notion", "--yes").stdout.strip()
        assert len(token) > 16
        world.left["token"] = settled(pid, token.encode())
        control = str(world.sockets["control"])
        recovery = world.json("root", "--socket", control, "admin", "init", "--kek-file", str(world.kek))["recovery"]["key"]
        world.left["recovery key"] = settled(pid, recovery.encode())
        former = world.kek.read_bytes()
        world.json("root", "--socket", control, "admin", "rekey", "--kek-file", str(world.kek))
        key = world.kek.read_bytes()
        for name, needle in (("former key", former), ("present key", key), ("present key, as it came", key.hex().encode())):
            world.left[name] = settled(pid, needle)
        yield world


def test_search_finds_what_is_in_use(used):
    assert places(used.vaultd_process.pid, used.platform_url.encode())


@pytest.mark.parametrize("secret", ["token", "recovery key", "former key", "present key", "present key, as it came"])
def test_nothing_is_left_of(used, secret):
    assert used.left[secret] == []
