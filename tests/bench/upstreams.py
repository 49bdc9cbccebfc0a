# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bench of dead providers (O6, T26): 200 users' expired tokens are being refreshed where nobody answers, and others call.

Two ways to be dead: the token endpoint's address takes connections and says nothing; and its name is asked of a name server that says nothing."""

import contextlib
import os
import pathlib
import socket
import subprocess
import time

import stage as host
from benches import bench, compare

TOKEN_HOST = "auth.notion.example"      # as population.c has it
HANGING = 200
SETTINGS = f"[Http]\nAllowPrivate={TOKEN_HOST}:443\n[Limits]\nCallsPerSecond=1000000\n"


def readers():
    return "[Server notion]\n" + "".join(f"TokenReaders=user:{host.user_name(uid)}\n" for uid in range(host.FIRST_UID, host.FIRST_UID + host.N_USERS))


@contextlib.contextmanager
def file_instead(path, text):
    """Another content for a file, in this mount namespace."""
    copy = pathlib.Path("/mnt", path.strip("/").replace("/", "-"))
    copy.write_text(text, encoding="ascii")
    subprocess.run(["mount", "--bind", copy, path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@contextlib.contextmanager
def silent_endpoint():
    """The kernel takes the connections; nobody does more."""
    with file_instead("/etc/hosts", f"127.0.0.1 localhost {TOKEN_HOST}\n"), socket.create_server(("127.0.0.1", 443), backlog=host.BACKLOG):
        yield


@contextlib.contextmanager
def silent_name_server():
    with file_instead("/etc/hosts", "127.0.0.1 localhost\n"), file_instead("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n"), \
         file_instead("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        yield


@contextlib.contextmanager
def waiting(stage, name, uids):
    """Those users have asked for their tokens and wait."""
    with contextlib.ExitStack() as open_ones:
        callers = []
        for uid in uids:
            os.setresuid(uid, uid, 0)
            try:
                caller = open_ones.enter_context(socket.socket(socket.AF_UNIX))
                caller.connect(str(stage.sockets[name]))
                caller.sendall(host.TOKEN.encode() + b"\0")
            finally:
                os.setresuid(0, 0, 0)
            callers.append(caller)
        time.sleep(1)       # until each refresh is noted in the store and under way
        yield
        for caller in callers:
            with contextlib.suppress(BlockingIOError):
                raise RuntimeError(f"a token that cannot come: {caller.recv(65536, socket.MSG_DONTWAIT)!r}")


def dead_beside(stage, way, message, group, filled, seconds):
    """A stretch beside the group's refreshes and one without, of a daemon of its own: what has failed once is not tried again at once."""
    name, options = "vaultd-dead", ("mode=fresh", f"seconds={seconds}", "pause=500")
    with way():
        stage.add_vaultd(name, SETTINGS, filled=filled, policy=readers())
        try:
            stage.load(name, *options, message=message)     # not counted
            alone = stage.load(name, *options, message=message)
            with waiting(stage, name, group):
                return stage.load(name, *options, message=message), alone
        finally:
            stage.end_vaultd(name)


@bench("dead", "p99 of WhoAmI and of Token.Read beside 200 users whose tokens are refreshed where nobody answers, and where no name server does")
def dead(stage, rounds, seconds):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    first = host.FIRST_UID + HANGING
    groups = [range(uid, uid + HANGING) for uid in range(first, host.FIRST_UID + host.N_USERS, HANGING)][:rounds]
    for what, way in (("silent-endpoint", silent_endpoint), ("silent-dns", silent_name_server)):
        for call, message in (("whoami", host.WHOAMI), ("token", host.TOKEN)):
            filled = host.FilledStore(stage.program("fill"), stage.folder / f"dead-{what}-{call}", host.N_USERS, host.FIRST_UID, host.N_USERS - HANGING)
            pairs = [dead_beside(stage, way, message, group, filled, max(seconds, 1)) for group in groups]
            compare(f"{call}-p99-beside-{what}", "us", f"{call}-p99-alone", pairs, "p99", bar=1.5)
