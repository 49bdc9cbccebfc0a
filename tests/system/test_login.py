# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logins through the real sshd and PAM: registered when vaultd is there, never broken or held up when not (I6)."""

import concurrent.futures
import contextlib
import json
import time

import pytest

BUDGET_SECONDS = 2.1        # of the whole login, sshd's own part included
FILL_BACKLOG = r"""
import json, resource, socket, time
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
while True:
    peer = socket.socket(socket.AF_UNIX)
    peer.setblocking(False)
    try:
        peer.connect("/run/vaultd/io.vaultd.control")
    except BlockingIOError:
        break
    held.append(peer)
print(json.dumps({"held": len(held)}), flush=True)
time.sleep(3600)
"""

# What listens in vaultd's place, as root at the real path, and how it treats whoever calls.
FALSE_DAEMON = r"""
import json, os, socket, sys, threading, time
PATH = "/run/vaultd/io.vaultd.control"
REPLY = json.dumps({"parameters": {"session": "s-0123456789abcdef"}}).encode() + b"\0"

def trickle(peer, data):
    for byte in data:
        peer.sendall(bytes([byte]))
        time.sleep(1)

def never_end(peer):
    while True:
        peer.sendall(b" " * 4096)

def keep_calling(peer):
    while True:
        peer.sendall(b'{"parameters":{"session":"s-0123456789abcdef"},"continues":true}' + b"\0")
        time.sleep(0.1)

BEHAVIOURS = {
    "garbage": lambda peer: peer.sendall(os.urandom(200).replace(b"\0", b"x") + b"\0"),
    "an id that is none": lambda peer: peer.sendall(REPLY.replace(b"s-0123", b"a\\nLD_PRELOAD=/tmp/x")),
    "replies without end": keep_calling,
    "a byte a second": lambda peer: trickle(peer, REPLY),
    "garbage by the byte": lambda peer: trickle(peer, b"]" * 100),
    "no end": never_end,
    "nothing": lambda peer: None,
}

def serve(peer):
    with peer:
        try:
            if sys.argv[1] != "nothing":
                peer.recv(65536)
            BEHAVIOURS[sys.argv[1]](peer)
        except OSError:
            pass

os.unlink(PATH)
listener = socket.socket(socket.AF_UNIX)
listener.bind(PATH)
os.chmod(PATH, 0o600)
listener.listen(64)
print(json.dumps({"ready": True}), flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


@contextlib.contextmanager
def false_daemon(host, behaviour):
    host.run(["systemctl", "stop", "vaultd.socket", "vaultd.service"])
    host.write("/root/false.py", FALSE_DAEMON)
    try:
        host.start("false-daemon", ["/usr/bin/python3", "/root/false.py", behaviour])
        yield
    finally:
        host.run(["systemctl", "stop", "false-daemon"], check=False)
        host.run(["rm", "-f", "/run/vaultd/io.vaultd.control"])
        host.run(["systemctl", "start", "vaultd.socket"])


def timed_login(host):
    """(seconds, output) of one SSH login of alice that prints its session variable."""
    begin = time.monotonic()
    output = host.as_user("alice", 'echo "in:${VAULTD_SESSION-none}"').stdout
    return time.monotonic() - begin, output


def journal_since(host, cursor):
    return host.journal("--after-cursor", cursor)


def cursor_now(host):
    lines = host.run(["journalctl", "--lines", "1", "--show-cursor", "--quiet"]).stdout
    return lines.rpartition("cursor: ")[2].strip()


def test_login_is_registered_and_ends(host):
    inside = json.loads(host.as_user("alice", 'vaultctl --json whoami').stdout)
    assert inside["origin"] == "login"
    session = host.as_user("alice", 'echo "$VAULTD_SESSION"').stdout.strip()
    assert session
    assert session not in host.as_user("alice", "vaultctl --json status").stdout
    deadline = time.monotonic() + 5
    while any(host.path("/run/vaultd/sessions").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not list(host.path("/run/vaultd/sessions").iterdir())


def test_login_works_while_vaultd_is_stopped(host):
    host.vaultctl("alice", "whoami")
    host.run(["systemctl", "stop", "vaultd.socket", "vaultd.service"])
    cursor = cursor_now(host)
    try:
        seconds, output = timed_login(host)
    finally:
        host.run(["systemctl", "start", "vaultd.socket"])
    assert output == "in:none\n"
    assert seconds <= BUDGET_SECONDS
    assert [line for line in journal_since(host, cursor).splitlines() if "pam_vaultd" in line and "without a vault" in line]


def test_login_works_while_vaultd_hangs_and_its_backlog_is_full(host):
    host.vaultctl("alice", "whoami")
    host.run(["systemctl", "kill", "--kill-whom=main", "--signal=STOP", "vaultd.service"])
    host.write("/root/fill.py", FILL_BACKLOG)
    try:
        assert host.start("fill", ["/usr/bin/python3", "/root/fill.py"])["held"] > 0
        cursor = cursor_now(host)
        seconds, output = timed_login(host)
        log = journal_since(host, cursor)
    finally:
        host.run(["systemctl", "stop", "fill"], check=False)
        host.run(["systemctl", "kill", "--kill-whom=main", "--signal=CONT", "vaultd.service"])
    assert output == "in:none\n"
    assert seconds <= BUDGET_SECONDS
    assert [line for line in log.splitlines() if "pam_vaultd" in line and "without a vault" in line]
    assert host.vaultctl("alice", "whoami")["user"] == "alice"


def test_login_works_while_vaultd_hangs(host):
    host.vaultctl("alice", "whoami")
    host.run(["systemctl", "kill", "--kill-whom=main", "--signal=STOP", "vaultd.service"])
    cursor = cursor_now(host)
    try:
        seconds, output = timed_login(host)
        log = journal_since(host, cursor)
    finally:
        host.run(["systemctl", "kill", "--kill-whom=main", "--signal=CONT", "vaultd.service"])
    assert output == "in:none\n"
    assert seconds <= BUDGET_SECONDS
    assert [line for line in log.splitlines() if "pam_vaultd" in line and "without a vault" in line]


@pytest.mark.parametrize("behaviour", ["garbage", "an id that is none", "replies without end", "a byte a second", "garbage by the byte",
                                       "no end", "nothing"])
def test_login_works_whatever_answers_in_vaultds_place(host, behaviour):
    with false_daemon(host, behaviour):
        cursor = cursor_now(host)
        seconds, output = timed_login(host)
        log = journal_since(host, cursor)
    assert output == "in:none\n"
    assert seconds <= BUDGET_SECONDS
    assert [line for line in log.splitlines() if "pam_vaultd" in line and "without a vault" in line]
    assert host.vaultctl("alice", "whoami")["origin"] == "login"


def test_two_logins_at_once_make_one_vault(host):
    for user in ("twin1", "twin2", "twin3"):
        host.add_person(user, user + "@notion.test")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda _: host.vaultctl(user, "whoami"), range(2)))
        vaults = {answer["vault"]["id"] for answer in answers}
        assert len(vaults) == 1
        assert len({answer["session"] for answer in answers}) == 2
        assert host.vaultctl(user, "whoami")["vault"]["id"] in vaults
