# SPDX-License-Identifier: LGPL-2.1-or-later
"""The wire under people who misbehave (T2, T3, T26), with the real daemon and real uids."""

import contextlib
import fcntl
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from world import BUILD, SANITIZER, UIDS, World, as_user, wait_for

# What misbehaves, under whoever runs it; each says "ready" once it does.
CONNECT_MUCH = """
import socket, sys
for i in range(10000):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(sys.argv[1])
    if i == 100: print("ready", flush=True)
"""
FLOOD = """
import os, selectors, socket, sys
ask = b'{"method":"io.vaultd.WhoAmI"}\\0' * 50
peers = selectors.DefaultSelector()
for _ in range(60):
    peer = socket.socket(socket.AF_UNIX); peer.connect(sys.argv[1]); peer.setblocking(False); peers.register(peer, selectors.EVENT_READ | selectors.EVENT_WRITE)
print("ready", flush=True)
while True:
    for key, events in peers.select():
        try:
            if events & selectors.EVENT_READ: key.fileobj.recv(65536)
            if events & selectors.EVENT_WRITE: key.fileobj.send(ask)
        except BlockingIOError: pass
        except OSError: peers.unregister(key.fileobj)
"""
ASK_ONLY = """
import socket, sys, time
ask = b'{"method":"org.varlink.service.GetInterfaceDescription","parameters":{"interface":"io.vaultd"}}\\0' * 100
peers = []
for _ in range(20):
    peer = socket.socket(socket.AF_UNIX); peer.connect(sys.argv[1]); peer.setblocking(False); peers.append(peer)
began = time.monotonic()
while time.monotonic() - began < 3:
    for peer in peers:
        try: peer.send(ask)
        except OSError: pass
print("ready", flush=True)
time.sleep(60)
"""
NONSENSE = """
import socket, sys
for i in range(3000):
    with socket.socket(socket.AF_UNIX) as peer:
        try: peer.connect(sys.argv[1]); peer.sendall(b'{"uid":0}\\0'); peer.recv(1)
        except OSError: pass
    if i == 100: print("ready", flush=True)
"""
ASK_OFTEN = """
import socket, sys, time
peer = socket.socket(socket.AF_UNIX); peer.connect(sys.argv[1]); peer.settimeout(20)
times = []
for _ in range(300):
    began = time.monotonic()
    peer.sendall(b'{"method":"io.vaultd.WhoAmI"}\\0')
    data = b""
    while not data.endswith(b"\\0"): data += peer.recv(65536)
    assert b'"error"' not in data
    times.append(time.monotonic() - began)
print(sorted(times)[len(times) * 99 // 100])
"""


@contextlib.contextmanager
def running(world, user, code):
    process = subprocess.Popen(["/usr/bin/python3", "-c", code, str(world.sockets["public"])], stdout=subprocess.PIPE, **as_user(user))
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def p99(world, user):
    done = subprocess.run(["/usr/bin/python3", "-c", ASK_OFTEN, str(world.sockets["public"])], capture_output=True, text=True, timeout=120, **as_user(user))
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def descriptors(world):
    return len(os.listdir(f"/proc/{world.vaultd_process.pid}/fd"))


def anonymous_kib(world):
    for line in pathlib.Path(f"/proc/{world.vaultd_process.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])


def test_ten_thousand_connects_leave_nothing(world):
    before = descriptors(world)
    with running(world, "bob", CONNECT_MUCH) as crowd:
        assert p99(world, "alice") < 0.5
        assert crowd.wait(120) == 0
    wait_for(lambda: descriptors(world) <= before, what="descriptors are left open")
    assert world.json("bob", "whoami")["uid"] == UIDS["bob"]


def test_flooding_uid_does_not_hold_up_another(world):
    """Turn by turn: beside sixty connections that never stop asking, one that asks now and then waits for a step or two.
    The bound is wide, since a machine may be busy; without turns it is each time the sixty calls before it."""
    alone = p99(world, "alice")
    with running(world, "bob", FLOOD):
        assert p99(world, "alice") < max(10 * alone, 0.1)


def test_readers_who_do_not_read_are_cut_within_their_bytes(fresh_world):
    world = fresh_world
    before = anonymous_kib(world)
    with running(world, "bob", ASK_ONLY):
        # 8 MiB of bob's, twice that in buffers that double, and what a sanitizer keeps of freed memory.
        assert anonymous_kib(world) - before < 300 * 1024
        assert p99(world, "alice") < 1
    assert "does not read its answers" in world.log("vaultd") or "too many bytes" in world.log("vaultd")


def test_lines_about_a_uid_are_few_and_counted(fresh_world):
    world = fresh_world
    with running(world, "bob", NONSENSE) as crowd:
        assert crowd.wait(120) == 0
    lines = [line for line in world.log("vaultd").splitlines() if f"uid {UIDS['bob']}" in line]
    assert 0 < len(lines) <= 200, len(lines)
    wait_for(lambda: f"uid {UIDS['bob']}: " in world.log("vaultd") and "more lines" in world.log("vaultd"), 15, "what was left out is not counted")


def test_stalled_log_reader_stalls_nobody():
    """Whoever reads vaultd's standard error is stopped and its pipe full: what journald does when it stalls."""
    with World(platform=False) as world:
        world.stop_vaultd()
        log = world.root / "log/vaultd.log"
        log.unlink()
        os.mkfifo(log)
        # The reader that does not read; the pipe is filled to its end before vaultd writes its first line.
        reader = os.open(log, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(reader, b"x" * 512)
        try:
            # A sanitizer writes its own remarks itself, and would wait.
            world.start_vaultd({"ASAN_OPTIONS": f"detect_stack_use_after_return=0:abort_on_error=1:log_path={world.root}/run/remarks"}, wait=False)
            wait_for(world._accepts)
            os.chown(world.sockets["control"], 0, 0)
            with running(world, "bob", NONSENSE) as crowd:
                assert p99(world, "alice") < 1
                assert crowd.wait(120) == 0
            began = time.monotonic()
            assert world.stop_vaultd() == 0
            assert time.monotonic() - began < 5
            assert world.vaultd_process.returncode == 0
        finally:
            os.set_blocking(reader, False)
            with contextlib.suppress(BlockingIOError):
                while os.read(reader, 65536):
                    pass
            os.close(reader)
            log.unlink()


# Sockets that root made, as the service manager does

@contextlib.contextmanager
def activated(world, names):
    """vaultd with listening sockets of root's under these descriptor names, in place of its own."""
    world.stop_vaultd()
    sockets = []
    for name in names:
        path = world.root / f"root-{name}"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        path.chmod(0o666 if name in ("varlink", "public") else 0o600)
        listener.listen(128)
        sockets.append((path, listener))
    command = world.vaultd_command()
    command = command[:command.index("--listen")]
    child = os.fork()
    if child == 0:
        try:
            held = [fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD, 50) for _, listener in sockets]
            for i, fd in enumerate(held):
                os.dup2(fd, 3 + i)
            os.closerange(3 + len(held), 200)
            log = os.open(world.root / "log/vaultd.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.close(log)
            os.setgroups([])
            os.setresgid(*[UIDS["vaultd"]] * 3)
            os.setresuid(*[UIDS["vaultd"]] * 3)
            os.execve(command[0], command, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(held)), "LISTEN_FDNAMES": ":".join(names), **SANITIZER})
        finally:
            os._exit(1)
    try:
        yield {name: path for name, (path, _) in zip(names, sockets)}
    finally:
        for _, listener in sockets:
            listener.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, world.log("vaultd")[-3000:]


def ask(path, user, method):
    from world import Caller
    return Caller(user, path).reply(method)


def test_passed_sockets_work_under_the_name_varlink_too(fresh_world):
    with activated(fresh_world, ["varlink", "control"]) as paths:
        assert ask(paths["varlink"], "alice", "io.vaultd.WhoAmI")["parameters"]["uid"] == UIDS["alice"]
        # A socket that was passed is as suspicious as one of our own.
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(10)
            peer.connect(str(paths["varlink"]))
            done = subprocess.run(["/usr/bin/python3", "-c", "import os,sys; os.write(int(sys.argv[1]), b'{\"method\":\"io.vaultd.WhoAmI\"}\\0')", str(peer.fileno())],
                                  pass_fds=[peer.fileno()], check=False, **as_user("bob"))
            assert done.returncode == 0
            with contextlib.suppress(ConnectionResetError):
                assert peer.recv(100) == b""
    assert f"uid 0 opened it, but uid {UIDS['bob']} writes on it" in fresh_world.log("vaultd")


def test_pam_in_an_unprivileged_users_su_is_not_stopped(fresh_world):
    """There the real uid is not the effective one; pam_vaultd attaches the latter, which the kernel checks."""
    folder = fresh_world.root / "pam"
    folder.mkdir(mode=0o755)
    (folder / "other").write_text("auth required pam_deny.so\n")
    with activated(fresh_world, ["public", "control"]) as paths:
        (folder / "su").write_text(f"session required {BUILD / 'pam_module/pam_vaultd.so'} socket={paths['control']} timeout=10\n")
        done = subprocess.run([BUILD / "tests/pam/pam-driver", folder, "su", "alice", f"real-uid={UIDS['bob']}"], capture_output=True, text=True, timeout=60,
                              env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(BUILD / "pam_module"), **SANITIZER})
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["open"] == 0 and result["session"], (result, fresh_world.log("vaultd")[-2000:])
