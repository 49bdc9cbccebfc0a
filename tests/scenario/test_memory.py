# SPDX-License-Identifier: LGPL-2.1-or-later
"""What vaultd's memory holds of secrets that went through it (T16): as root, who alone can look, after the work is done."""

import contextlib
import pathlib
import re
import resource
import time

import pytest
from page_world import PageWorld
from world import World, wait_for

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


def test_a_page_leaves_no_cookie_link_or_code_in_either_program():
    """vaultd keeps digests, and vaultd-web nothing: what breaks into that later finds nobody's visit (T29)."""
    with PageWorld(platform=False) as world:
        path = world.link("alice")
        answer = world.press(path)
        cookie, link = answer.cookie, path.rsplit("/", 1)[1]
        assert len(cookie) == 43 and len(link) == 22
        word = world.get("/", cookie).form
        ticket = world.press("/begin", cookie, {"form": word, "service": "notion"}).headers["Location"].rsplit("/", 1)[1]
        found = {}
        for name, process in (("vaultd", world.vaultd_process), ("vaultd-web", world.web_process)):
            for kind, secret in (("cookie", cookie), ("link", link), ("form's word", word), ("ticket", ticket)):
                found[name, kind] = settled(process.pid, secret.encode())
        assert {key: places for key, places in found.items() if places} == {}
        assert world.get("/", cookie).status == 200, "it was not in use any more"


@contextlib.contextmanager
def lockable(size):
    """What is started here may lock so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))


# Address Sanitizer makes mlock(2) do nothing, so this needs a build without, as the rest of this file.
@pytest.mark.parametrize("size, is_warned", [(8 << 20, False), (2 << 20, True)])
def test_little_lockable_memory_is_named_at_the_start_with_the_setting_that_mends_it(world, size, is_warned):
    since = len(world.log("vaultd"))
    with lockable(size):
        world.restart_vaultd()
    assert world.json("alice", "whoami")["vault"]["state"] == "active"
    assert ("LimitMEMLOCK=64M" in world.log("vaultd")[since:]) == is_warned


def test_vaultd_does_not_start_where_secrets_would_go_to_the_swap(world):
    since = len(world.log("vaultd"))
    world.stop_vaultd()
    with lockable(64 << 10):
        process = world.start_vaultd(wait=False)
        wait_for(lambda: process.poll() is not None, 10, "it runs with secrets that may go to the swap")
    assert process.returncode != 0 and "LimitMEMLOCK=64M" in world.log("vaultd")[since:]
