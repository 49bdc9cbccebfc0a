# SPDX-License-Identifier: LGPL-2.1-or-later
"""The benches. Each compares vaultd with a named peer in interleaved rounds and prints its figures.

A figure is the median over the rounds, a ratio the median of each round's ratio: what else runs on the machine then strikes both
sides alike. A bar of None is for scale only.
"""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import statistics
import subprocess
import time

import stage as host

BENCHES = {}


@dataclasses.dataclass
class Bench:
    run: object
    summary: str
    packages: tuple = ()
    is_long: bool = False


def bench(name, summary, packages=(), is_long=False):
    """Registers a function of (stage, rounds, seconds); packages: (program, Debian package), installed when named. is_long: also
    runs only when named, because it makes a large store first."""
    def register(function):
        BENCHES[name] = Bench(function, summary, packages, is_long)
        return function
    return register


def report(name, value, unit, against, ratio, bar=None, at_least=False):
    ok = None if bar is None else bool(ratio >= bar if at_least else ratio <= bar)
    print(json.dumps({"bench": name, "value": float(f"{value:.4g}"), "unit": unit, "against": against, "ratio": float(f"{ratio:.3g}"),
                      "bar": bar, "want": None if bar is None else "at least" if at_least else "at most", "ok": ok}), flush=True)


def interleave(rounds, ours, peer):
    """[(ours(), peer())…], the first to go alternating; one round before that is thrown away."""
    pairs = []
    for i in range(rounds + 1):
        if i % 2:
            a, b = ours(), peer()
        else:
            b, a = peer(), ours()
        pairs.append((a, b))
    return pairs[1:]


def compare(name, unit, against, pairs, key, **bar):
    pairs = [(a[key], b[key]) for a, b in pairs]
    report(name, statistics.median(a for a, _ in pairs), unit, against, statistics.median(a / b for a, b in pairs), **bar)


def against_echo(stage, rounds, *options, cpus=None):
    return interleave(rounds, lambda: stage.load("vaultd", *options, cpus=cpus), lambda: stage.load("echo", *options, cpus=cpus))


@bench("fresh", "WhoAmI over a connection of its own: latency, unpinned and with both on one CPU; rate at 64 in flight")
def fresh(stage, rounds, seconds):
    options = ("mode=fresh", f"seconds={seconds}")
    one_cpu = {max(stage.all_cpus)}
    compare("whoami-fresh", "us", "echo-fresh", against_echo(stage, rounds, *options), "p50", bar=1.3)
    compare("whoami-fresh-pinned", "us", "echo-fresh-pinned", against_echo(stage, rounds, *options, cpus=one_cpu), "p50", bar=1.6)
    # A caller with a login uid has an audit session as well, which is one file more in /proc to read.
    compare("whoami-fresh-login", "us", "echo-fresh", against_echo(stage, rounds, *options, "login=yes"), "p50")
    compare("whoami-fresh-rate-64", "1/s", "echo-fresh-rate-64", against_echo(stage, rounds, "clients=64", *options), "rate", bar=0.4, at_least=True)


@bench("persistent", "WhoAmI again and again on one connection: latency, unpinned and with both on one CPU")
def persistent(stage, rounds, seconds):
    options = (f"seconds={seconds}",)
    one_cpu = {max(stage.all_cpus)}
    compare("whoami-persistent", "us", "echo-persistent", against_echo(stage, rounds, *options), "p50")
    compare("whoami-persistent-pinned", "us", "echo-persistent-pinned", against_echo(stage, rounds, *options, cpus=one_cpu), "p50")


@bench("clients", "rate of WhoAmI with 1, 8, 64 and 1,000 persistent clients; p99 at 64")
def clients(stage, rounds, seconds):
    for n in (1, 8, 64, 1000):
        pairs = against_echo(stage, rounds, f"clients={n}", f"seconds={seconds}")
        compare(f"whoami-rate-{n}", "1/s", f"echo-rate-{n}", pairs, "rate", bar=0.3 if n == 64 else None, at_least=True)
        if n == 64:
            compare("whoami-p99-64", "us", "echo-p99-64", pairs, "p99", bar=5)


@contextlib.contextmanager
def held(stage, name, n, uids):
    """n idle connections of that many uids, each after one call."""
    command = stage.load_command(name, "mode=hold", f"clients={n}", f"uid={host.IDLE}", f"uids={uids}")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        answer = json.loads(process.stdout.readline() or "{}")
        if answer != {"held": n, "failed": 0}:
            process.kill()
            raise RuntimeError(f"{name} did not hold {n} connections: {answer}")
        yield
        process.stdin.close()


@bench("idle", "memory (RssAnon) of a daemon that has served, and for each of 10,000 idle connections of 160 uids")
def idle(stage, rounds, seconds):
    stage.add_vaultd("vaultd-idle")     # the shipped limits
    n, uids, pid = 10000, 160, stage.pids["vaultd-idle"]
    for uid in range(host.IDLE, host.IDLE + uids):
        stage.call("vaultd-idle", host.WHOAMI, uid)
    before = host.anonymous_kib(pid)
    report("idle-memory", before, "KiB", "limit-6144", before / 6144, bar=1.0)
    with held(stage, "vaultd-idle", n, uids):
        n_open = len(os.listdir(f"/proc/{pid}/fd"))
        if n_open < n:
            raise RuntimeError(f"only {n_open} descriptors are open: the daemon has closed idle connections")
        each = (host.anonymous_kib(pid) - before) / n
        report("idle-connection-memory", each, "KiB", "limit-1", each, bar=1.0)
        # And what the crowd costs those who work.
        pairs = interleave(rounds, lambda: stage.load("vaultd-idle", "mode=fresh", f"seconds={seconds}"),
                           lambda: stage.load("vaultd", "mode=fresh", f"seconds={seconds}"))
        compare("whoami-fresh-beside-10000-idle", "us", "whoami-fresh", pairs, "p50")


@contextlib.contextmanager
def flood(stage, name, cpus=None):
    """One uid that does what it can: 64 connections with 16 calls in every write, and more connections than it may have."""
    where = cpus or stage.all_cpus
    options = (["clients=64", "pipeline=16"], ["clients=64", "mode=fresh"])
    processes = [subprocess.Popen(stage.load_command(name, f"uid={host.ABUSER}", "seconds=600", *each), stdout=subprocess.DEVNULL,
                                  preexec_fn=lambda: os.sched_setaffinity(0, where)) for each in options]
    try:
        time.sleep(0.2)
        yield
        if any(process.poll() is not None for process in processes):
            raise RuntimeError("the flood dried up")
    finally:
        for process in processes:
            process.kill()
            process.wait()


@bench("abuse", "p99 of a well-behaved uid beside one that floods, under the shipped limits; unpinned and with the flood on a CPU of its own")
def abuse(stage, rounds, seconds):
    stage.add_vaultd("vaultd-abuse")
    options = ("mode=fresh", f"seconds={max(seconds, 0.3)}", "pause=500")

    def beside(name, cpus, flood_cpus):
        with flood(stage, name, flood_cpus):
            return stage.load(name, *options, cpus=cpus)

    def both(name, cpus=None, flood_cpus=None):
        return interleave(rounds, lambda: beside(name, cpus, flood_cpus), lambda: stage.load(name, *options, cpus=cpus))

    stage.call("vaultd-abuse", host.WHOAMI, host.ABUSER)
    compare("whoami-p99-beside-flood", "us", "whoami-p99-alone", both("vaultd-abuse"), "p99", bar=2)
    # How much of that is the scheduler's: the same flood at a server without any fairness, and clients that do not share a CPU.
    compare("echo-p99-beside-flood", "us", "echo-p99-alone", both("echo"), "p99")
    first, *others = sorted(stage.all_cpus)
    if others:
        compare("whoami-p99-beside-flood-apart", "us", "whoami-p99-alone", both("vaultd-abuse", set(others), {first}), "p99", bar=2)


def pam_folder(stage):
    folder = stage.folder / "pam"
    folder.mkdir(exist_ok=True)
    module = stage.build / "pam_module/pam_vaultd.so"
    (folder / "vaultd").write_text(f"session required {module} required socket={stage.sockets['vaultd-control']}\n", encoding="utf-8")
    (folder / "permit").write_text("session required pam_permit.so\n", encoding="ascii")
    (folder / "other").write_text("auth required pam_deny.so\n", encoding="ascii")
    return folder


def login(stage, folder, service, who, first, count):
    done = subprocess.run([stage.program("login"), folder, service, who, str(first), str(count), "yes" if service == "vaultd" else "no"],
                          stdout=subprocess.PIPE, check=True)
    result = json.loads(done.stdout)
    if result["failed"]:
        raise RuntimeError(f"{result['failed']} logins failed: {(stage.folder / 'log').read_text(errors='replace')[-500:]}")
    return result


def disk_sync(stage, n):
    """The median of n times two writes of 4 KiB, each with its fdatasync(2), on the disk of the state: the least that a commit waits for."""
    taken = []
    fd = os.open(stage.folder / "disk", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for i in range(n):
            started = time.monotonic()
            for half in range(2):
                os.pwrite(fd, os.urandom(4096), (2 * i + half) * 4096)
                os.fdatasync(fd)
            taken.append((time.monotonic() - started) * 1e6)
    finally:
        os.close(fd)
    return {"open": statistics.median(taken)}


@bench("pam", "pam_open_session for a returning user and at a first login, which makes the vault durable")
def pam(stage, rounds, seconds):
    folder, returning = pam_folder(stage), host.user_name(host.CALLER)
    per_round = min(20, (host.N_USERS - (host.NEW - host.FIRST_UID)) // (rounds + 1))
    new = iter(range(host.NEW, host.NEW + per_round * (rounds + 1), per_round))
    pairs = interleave(rounds, lambda: login(stage, folder, "vaultd", returning, 50, 0), lambda: login(stage, folder, "permit", returning, 50, 0))
    value = statistics.median(a["open"] for a, _ in pairs)
    report("pam-open-returning", value, "us", "limit-300", value / 300, bar=1.0)
    compare("pam-login-returning", "us", "pam-login-permit", pairs, "whole")
    pairs = interleave(rounds, lambda: login(stage, folder, "vaultd", "bench", next(new), per_round), lambda: disk_sync(stage, per_round))
    value = statistics.median(a["open"] for a, _ in pairs)
    report("pam-open-first", value, "us", "limit-1000", value / 1000, bar=1.0)
    compare("pam-open-first-disk", "us", "two-disk-syncs", pairs, "open")


def activate(stage, command, path):
    """Seconds from connect to the reply of a program that systemd-socket-activate starts for it."""
    path.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(os.open(stage.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            os.setgroups([])
            os.setresgid(host.DAEMON_UID, host.DAEMON_UID, host.DAEMON_UID)
            os.setresuid(host.DAEMON_UID, host.DAEMON_UID, host.DAEMON_UID)
            os.execvp("systemd-socket-activate", ["systemd-socket-activate", "--fdname=public", "-l", str(path), *command])
        finally:
            os._exit(127)
    try:
        deadline = time.monotonic() + 10
        while "Listening" not in (stage.folder / "log").read_text(errors="replace").rpartition("bench-mark")[2]:
            if time.monotonic() > deadline:
                raise RuntimeError("systemd-socket-activate does not listen")
            time.sleep(0.002)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            started = time.monotonic()
            client.connect(str(path))
            client.sendall(host.WHOAMI.encode() + b"\0")
            data = b""
            while not data.endswith(b"\0"):
                piece = client.recv(65536)
                if not piece:
                    raise RuntimeError((stage.folder / "log").read_text(errors="replace")[-500:])
                data += piece
            return {"seconds": time.monotonic() - started}
    finally:
        host.end(pid)
        with open(stage.folder / "log", "a", encoding="ascii") as log:
            log.write("bench-mark\n")


@bench("activate", "from connect to the first reply when the daemon is started for it (systemd-socket-activate)")
def activation(stage, rounds, seconds):
    folder = stage.folder / "activate"
    folder.mkdir()
    os.chown(folder, host.DAEMON_UID, host.DAEMON_UID)
    ours, peer = stage.vaultd_command("vaultd-activate"), [str(stage.program("echo")), str(stage.reply_size)]
    pairs = interleave(rounds, lambda: activate(stage, ours, folder / "socket"), lambda: activate(stage, peer, folder / "socket"))
    pairs = [({"ms": a["seconds"] * 1000}, {"ms": b["seconds"] * 1000}) for a, b in pairs]
    compare("activation", "ms", "echo-activation", pairs, "ms")


def spawn(stage, *command, environment=None, uid=None):
    done = subprocess.run([stage.program("spawn"), "40", "0", *command], stdout=subprocess.PIPE, check=True, env={**os.environ, **(environment or {})},
                          user=uid, group=uid, extra_groups=[] if uid else None)
    return json.loads(done.stdout)


@bench("process", "whole processes: vaultctl whoami, and ssh-add -l with one key, against an empty dynamic binary")
def process(stage, rounds, seconds):
    empty = lambda: spawn(stage, stage.program("empty"))    # noqa: E731
    vaultctl = lambda: spawn(stage, stage.build / "client/vaultctl", "--json", "whoami", environment={"VAULTD_SOCKET": str(stage.sockets["vaultd"])})   # noqa: E731
    compare("vaultctl-whoami", "us", "empty-binary", interleave(rounds, vaultctl, empty), "p50", bar=1.6)
    key, path = stage.folder / "key", stage.folder / "agent"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL) as agent:
        try:
            await_socket(path)
            environment = {"SSH_AUTH_SOCK": str(path)}
            subprocess.run(["ssh-add", "-q", key], check=True, env={**os.environ, **environment})
            compare("ssh-add-l", "us", "empty-binary", interleave(rounds, lambda: spawn(stage, "ssh-add", "-l", environment=environment), empty), "p50")
        finally:
            agent.terminate()


def await_socket(path):
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"nobody listens on {path}")
        time.sleep(0.01)


@bench("oidc", "whole process oidc-add -l against an empty dynamic binary", packages=(("oidc-add", "oidc-agent-cli"),))
def oidc(stage, rounds, seconds):
    home = stage.folder / "home"
    home.mkdir()
    (home / ".oidc-agent").mkdir()
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home)}
    # Into a file: the agent goes into the background with its output, and a pipe would never end.
    with open(home / "said", "w", encoding="utf-8") as said:
        subprocess.run(["oidc-agent"], stdin=subprocess.DEVNULL, stdout=said, check=True, env=environment)
    deadline, told = time.monotonic() + 10, {}
    while not {"OIDC_SOCK", "OIDCD_PID"} <= told.keys():
        if time.monotonic() > deadline:
            raise RuntimeError("oidc-agent does not say where it is")
        time.sleep(0.01)
        # Lines of shell: OIDC_SOCK=…; export OIDC_SOCK;
        told = dict(line.split(";")[0].split("=", 1) for line in (home / "said").read_text(encoding="utf-8").splitlines() if "=" in line)
    environment.update(told)
    try:
        pairs = interleave(rounds, lambda: spawn(stage, "oidc-add", "-l", environment=environment), lambda: spawn(stage, stage.program("empty")))
        compare("oidc-add-l", "us", "empty-binary", pairs, "p50")
    finally:
        os.kill(int(told["OIDCD_PID"]), signal.SIGTERM)
