# SPDX-License-Identifier: LGPL-2.1-or-later
"""What one user piles up is charged to that user, has an end, and leaves the others alone (T26)."""

import contextlib
import json
import signal
import subprocess
import time

import pytest
from world import TREE, UIDS, World, as_user, wait_for

# Opens n connections under whoever runs it, says so, and holds them until its input ends.
HOLD = """
import socket, sys
path, n = sys.argv[1], int(sys.argv[2])
held = []
for _ in range(n):
    peer = socket.socket(socket.AF_UNIX); peer.connect(path); held.append(peer)
print("held", flush=True)
sys.stdin.read()
"""

# Sends one call on a connection of its own n times and leaves each time without waiting for the answer.
LEAVE = """
import socket, sys, time
path, n, message = sys.argv[1], int(sys.argv[2]), sys.stdin.buffer.read()
for _ in range(n):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path); peer.sendall(message); time.sleep(0.02)
"""

# Calls without a pause until the daemon is gone.
STORM = """
import socket, sys
print("storm", flush=True)
while True:
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(sys.argv[1])
            while True:
                peer.sendall(b'{"method":"io.vaultd.Status"}\\0' * 20)
                if not peer.recv(65536): break
    except BlockingIOError: pass
    except (ConnectionRefusedError, FileNotFoundError): sys.exit(0)
    except OSError: pass
"""


def fibers(world):
    """How many fibers live in vaultd: their stacks are the mappings of 256 KiB behind a guard page."""
    sizes = []
    for line in open(f"/proc/{world.vaultd_process.pid}/maps"):
        low, high = (int(each, 16) for each in line.split()[0].split("-"))
        sizes.append((high - low, line.split()[1]))
    return sum(size == 256 * 1024 and mode == "rw-p" and before == (4096, "---p") for before, (size, mode) in zip(sizes, sizes[1:]))


def test_calls_that_were_left_behind_are_still_charged_for():
    with World(settings="[Limits]\nCalls=4\n") as world:
        world.connect("alice")
        plan = world.caller("alice").reply("io.vaultd.Session.Plan")["parameters"]["digest"]
        world.fault({"match": "GET /v1/vaults/*/credentials/*", "kind": "slow", "seconds": 4, "times": 100})
        before = fibers(world)
        call = json.dumps({"method": "io.vaultd.Session.Start", "parameters": {"plan": plan}}).encode() + b"\0"
        subprocess.run(["/usr/bin/python3", "-c", LEAVE, str(world.sockets["public"]), "40"], input=call, check=True, **as_user("alice"))
        assert fibers(world) - before <= 4
        refused = world.caller("alice").reply("io.vaultd.WhoAmI")
        assert refused["error"] == "io.vaultd.LimitExceeded" and refused["parameters"]["hint"], refused
        assert world.json("bob", "whoami")["uid"] == UIDS["bob"], "bob pays for alice"
        wait_for(lambda: "error" not in world.caller("alice").reply("io.vaultd.WhoAmI"), 60, "the charge is not given back")


@contextlib.contextmanager
def holding(world, uid, n):
    process = subprocess.Popen(["/usr/bin/python3", "-c", HOLD, str(world.sockets["public"]), str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, user=uid, group=uid, extra_groups=[])
    try:
        assert process.stdout.readline() == "held\n"
        yield
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def connections(world):
    """Unix sockets that vaultd holds open."""
    listing = subprocess.run(["ls", "-l", f"/proc/{world.vaultd_process.pid}/fd"], capture_output=True, text=True, check=True).stdout
    return listing.count("socket:")


def test_uids_that_are_nobodys_login_share_one_account():
    """A login user may have tens of thousands of subordinate uids (subuid(5)), each with 64 connections otherwise."""
    with World(settings="[Limits]\nConnections=4\n", platform=False) as world, contextlib.ExitStack() as crowd:
        before = connections(world)
        for uid in range(100000, 100015):
            crowd.enter_context(holding(world, uid, 3))
        # Eight times as many are refused and not closed yet, and are closed soon.
        assert connections(world) - before <= 4 + 8 * 4
        wait_for(lambda: connections(world) - before <= 4)
        assert world.json("alice", "whoami")["uid"] == UIDS["alice"]


# Calls without a pause on eight connections until its input ends, then prints how many answers came.
COUNT = """
import os, select, socket, sys
peers = []
for _ in range(8):
    peer = socket.socket(socket.AF_UNIX); peer.connect(sys.argv[1]); peers.append(peer)
    peer.sendall(b'{"method":"io.vaultd.WhoAmI"}\\0' * 20)
print("counting", flush=True)
answers = 0
while sys.stdin not in (ready := select.select([sys.stdin, *peers], [], [])[0]):
    for peer in ready:
        n = peer.recv(65536).count(0); answers += n
        peer.sendall(b'{"method":"io.vaultd.WhoAmI"}\\0' * n)
print(answers, flush=True)
"""


def test_who_calls_too_often_waits_and_the_others_do_not():
    """Told by counting: beyond its calls per second a uid is neither refused nor served, and its neighbour's calls are all answered."""
    with World(settings="[Limits]\nCallsPerSecond=200\n", platform=False) as world:
        assert world.json("alice", "whoami")["uid"] == UIDS["alice"]
        began = time.monotonic()
        flood = subprocess.Popen(["/usr/bin/python3", "-c", COUNT, str(world.sockets["public"])], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True, **as_user("alice"))
        try:
            assert flood.stdout.readline() == "counting\n"
            bob = world.caller("bob")
            for _ in range(100):
                assert bob.reply("io.vaultd.WhoAmI")["parameters"]["uid"] == UIDS["bob"]
            time.sleep(1)
            assert bob.reply("io.vaultd.WhoAmI")["parameters"]["uid"] == UIDS["bob"]
            out, _ = flood.communicate("", timeout=20)
        finally:
            flood.kill()
            flood.wait()
        answers, seconds = int(out), time.monotonic() - began
        # A second's worth that was saved up, and what was given since.
        assert 200 <= answers <= 200 * (seconds + 1) + 50, (answers, seconds)


# Connects and leaves until there is no more room to wait in; prints how often that went.
FILL = """
import socket, sys
for n in range(10000):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.setblocking(False)
        try: peer.connect(sys.argv[1])
        except BlockingIOError: break
print(n)
"""


def test_the_line_before_the_door_is_short():
    """Whoever connects and leaves faster than vaultd accepts keeps it full, and everybody waits as long as it is."""
    with World(platform=False) as world:
        assert world.json("bob", "whoami")["uid"] == UIDS["bob"]
        world.vaultd_process.send_signal(signal.SIGSTOP)
        try:
            done = subprocess.run(["/usr/bin/python3", "-c", FILL, str(world.sockets["public"])], stdout=subprocess.PIPE, text=True, check=True, **as_user("alice"))
            assert 64 <= int(done.stdout) <= 256
            # Who finds it full waits, and is no less served.
            bob = subprocess.Popen(world.command("whoami"), env=world.environment(), stdout=subprocess.PIPE, text=True, **as_user("bob"))
            time.sleep(0.2)
        finally:
            world.vaultd_process.send_signal(signal.SIGCONT)
        assert bob.communicate(timeout=20)[0] and bob.returncode == 0
    assert "\nBacklog=128\n" in (TREE / "systemd/vaultd.socket").read_text()


def test_stop_is_not_kept_up_by_those_who_keep_calling(fresh_world):
    storms = [subprocess.Popen(["/usr/bin/python3", "-c", STORM, str(fresh_world.sockets["public"])], stdout=subprocess.PIPE, **as_user(user))
              for user in ("alice", "alice", "bob")]
    try:
        for storm in storms:
            assert storm.stdout.readline() == b"storm\n"
        time.sleep(0.5)
        began = time.monotonic()
        fresh_world.vaultd_process.send_signal(signal.SIGTERM)
        wait_for(lambda: fresh_world.vaultd_process.poll() is not None, 10, "it is kept up")
        assert fresh_world.vaultd_process.returncode == 0 and time.monotonic() - began < 3
    finally:
        for storm in storms:
            storm.kill()
            storm.communicate()


def test_stop_at_work_is_clean_and_leaks_nothing(fresh_world):
    """SIGTERM reaches the loop, whichever thread the kernel offers it to, and everything that was under way is released."""
    fresh_world.connect("alice")
    terminal, _ = fresh_world.park("bob")
    terminal.hear()
    waiting = fresh_world.converse("carol", "connect", "notion", "--no-browser")
    waiting.hear()
    began = time.monotonic()
    assert fresh_world.stop_vaultd() == 0, fresh_world.log("vaultd")[-3000:]
    assert time.monotonic() - began < 5
    assert "Sanitizer" not in fresh_world.log("vaultd")
    code, out, _ = waiting.end()
    assert code == 5, out


def test_nonsense_does_not_push_the_audit_out_of_the_log(fresh_world):
    """journald lets a service write some ten thousand lines in half a minute and then drops them all, whatever they say."""
    call = b"no call\0"
    before = fresh_world.log("vaultd").count("\n")
    subprocess.run(["/usr/bin/python3", "-c", LEAVE.replace("time.sleep(0.02)", "peer.recv(1)"), str(fresh_world.sockets["public"]), "500"],
                   input=call, check=True, **as_user("alice"))
    assert fresh_world.json("bob", "whoami")["uid"] == UIDS["bob"]
    wait_for(lambda: "vault made: bob" in fresh_world.log("vaultd"))
    lines = fresh_world.log("vaultd").count("\n") - before
    assert 1 < lines < 60


def test_client_that_takes_no_answer_is_no_error_of_vaultd(fresh_world):
    deaf = LEAVE.replace("peer.connect(path);", "peer.connect(path); peer.shutdown(socket.SHUT_RD);").replace("time.sleep(0.02)", "time.sleep(1)")
    call = b'{"method":"io.vaultd.Connect.Start","parameters":{"service":"notion"},"more":true}\0'
    subprocess.run(["/usr/bin/python3", "-c", deaf, str(fresh_world.sockets["public"]), "2"], input=call, check=True, **as_user("alice"))
    wait_for(lambda: fresh_world.log("vaultd").count("connecting begun: alice") == 2)
    assert fresh_world.json("alice", "whoami")["uid"] == UIDS["alice"]
    assert fresh_world.stop_vaultd() == 0
    assert "<3>" not in fresh_world.log("vaultd"), fresh_world.log("vaultd")[-1000:]
