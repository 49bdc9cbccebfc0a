# SPDX-License-Identifier: LGPL-2.1-or-later
"""The benches of the store: look-ups, durable writes, and what a million vaults cost those who call.

Large stores are made by bench-fill. Each figure says how many vaults it was measured with; the callers are spread over all of them."""

import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import time

import stage as host
from benches import activate, bench, compare, interleave, report, spawn

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parents[1]

LIMITS = f"[Limits]\nConnections={host.CONNECTIONS_PER_UID}\nCalls={host.CONNECTIONS_PER_UID}\nCallsPerSecond=1000000\n"


def settings(stage):
    return LIMITS + f"[Vaults]\nUidMin=1000\nUidMax={host.FILLED_UID + max(stage.counts)}\n"


def policy(stage):
    callers = sorted({uid for count in stage.counts for uid in host.filled_callers(count)})
    return "[Server notion]\nTokenReaders=" + " ".join(f"user:{host.user_name(uid)}" for uid in callers) + "\n"


def measured(command):
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def compare_rounds(name, unit, against, pairs, scale=1, **bar):
    compare(name, unit, against, [({"x": a / scale}, {"x": b / scale}) for a, b in pairs], "x", **bar)


@contextlib.contextmanager
def serving(stage, count):
    """A vaultd with that many vaults, whose callers all have called."""
    name = f"vaultd-{count}"
    stage.add_vaultd(name, settings(stage), filled=stage.filled(count), policy=policy(stage))
    try:
        for uid in host.filled_callers(count):
            stage.call(name, host.TOKEN, uid)
        yield name
    finally:
        stage.end_vaultd(name)


def spread(count):
    """Options of bench-load: each request from another one of the callers."""
    callers = host.filled_callers(count)
    return ("mode=fresh", f"uids={len(callers)}", f"step={callers.step}")


@bench("lookup", "a vault and a credential, read and opened, against bare mdb_get and AES-GCM over the same bytes; in the small and the large store", is_long=True)
def lookup(stage, rounds, seconds):
    for count in stage.counts:
        filled = stage.filled(count)
        result = measured([stage.program("lookup"), filled.state, filled.kek, str(count), str(host.FILLED_UID), str(5 * rounds)])
        for what, bar in (("vault", None), ("credential", None), ("both", 1.5)):
            compare_rounds(f"lookup-{what}-{count}", "us", "mdb-get-and-gcm", result[what], scale=1000, bar=bar)


@bench("writes", "durable puts of 64 writers against group commit of LMDB alone; p99 of a reader beside them")
def writes(stage, rounds, seconds):
    folders = [stage.folder / f"writes-{each}" for each in ("ours", "peer")]
    for each in folders:
        each.mkdir()
    result = measured([stage.program("writes"), *folders, "64", str(seconds), str(rounds)])
    compare_rounds("durable-writes-64", "1/s", "lmdb-group-commit", result["writes"], bar=0.6, at_least=True)
    compare_rounds("read-p99-beside-64-writers", "us", "read-p99-alone", result["reader"], scale=1000, bar=2)


@contextlib.contextmanager
def oidc_agent(stage):
    """The environment of an oidc-agent that has a token of the account "bench" at hand, from a provider of our own."""
    home, tls = stage.folder / "oidc", stage.folder / "tls"
    (home / ".oidc-agent").mkdir(mode=0o700, parents=True)
    subprocess.run([TREE / "tests/fixtures/tls/make-ca", tls], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home)}
    with subprocess.Popen([HERE / "oidc_provider.py", tls / "cert.pem", tls / "key.pem"], stdout=subprocess.PIPE, text=True) as provider:
        issuer = provider.stdout.readline().strip()
        with open(home / "said", "w", encoding="ascii") as said:
            subprocess.run(["oidc-agent"], stdin=subprocess.DEVNULL, stdout=said, check=True, env=environment)
        deadline = time.monotonic() + 10
        while not {"OIDC_SOCK", "OIDCD_PID"} <= environment.keys():
            if time.monotonic() > deadline:
                raise RuntimeError("oidc-agent does not say where it is")
            time.sleep(0.01)
            environment.update(line.split(";")[0].split("=", 1) for line in (home / "said").read_text(encoding="ascii").splitlines() if "=" in line)
        try:
            subprocess.run(["oidc-gen", "bench", f"--cp={tls / 'ca.pem'}", "--flow=refresh", "--rt=refresh-1", "--manual", "--pw-cmd=echo pw",
                            "--confirm-default", "--prompt=none", f"--iss={issuer}", "--client-id=bench", "--client-secret=x",
                            "--redirect-uri=http://localhost:8080", "--scope=openid offline_access"],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30, check=True, env=environment)
            yield environment
        finally:
            os.kill(int(environment["OIDCD_PID"]), signal.SIGTERM)
            provider.terminate()


@bench("token", "vaultctl token as a whole process against oidc-token with a cached token; Token.Read on one connection against the echo",
       packages=(("oidc-token", "oidc-agent-cli"),), is_long=True)
def token(stage, rounds, seconds):
    count, uid = stage.counts[0], host.FILLED_UID
    with serving(stage, count) as name, oidc_agent(stage) as environment:
        ours = {**os.environ, "VAULTD_SOCKET": str(stage.sockets[name])}
        pairs = interleave(rounds, lambda: spawn(stage, stage.build / "client/vaultctl", "token", "notion", environment=ours, uid=uid),
                           lambda: spawn(stage, "oidc-token", "bench", environment=environment))
        compare("vaultctl-token", "us", "oidc-token", pairs, "p50", bar=1.0)
        stage.add_echo("echo-token", len(stage.call(name, host.TOKEN, uid)))
        pairs = interleave(rounds, lambda: stage.load(name, f"seconds={seconds}", uid=uid, message=host.TOKEN),
                           lambda: stage.load("echo-token", f"seconds={seconds}", message=host.TOKEN))
        compare("token-persistent", "us", "echo-persistent", pairs, "p50")
        pairs = interleave(rounds, lambda: stage.load(name, "mode=fresh", f"seconds={seconds}", uid=uid, message=host.TOKEN),
                           lambda: stage.load("echo-token", "mode=fresh", f"seconds={seconds}", message=host.TOKEN))
        compare("token-fresh", "us", "echo-fresh", pairs, "p50", bar=1.4)


@bench("users", "vaultctl admin users of a thousand vaults, which comes in several replies", is_long=True)
def users(stage, rounds, seconds):
    count = stage.counts[0]
    with serving(stage, count) as name:
        command = [stage.build / "client/vaultctl", "--socket", stage.sockets[f"{name}-control"], "--json", "admin", "users"]
        taken = []
        for _ in range(rounds):
            started = time.monotonic()
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            taken.append((time.monotonic() - started) * 1000)
            if [each["uid"] for each in json.loads(done.stdout)["vaults"]] != list(range(host.FILLED_UID, host.FILLED_UID + count)):
                raise RuntimeError("admin users does not list every vault once, by uid")
        report(f"admin-users-{count}", statistics.median(taken), "ms", "limit-1000", statistics.median(taken) / 1000)


@bench("scale", "requests and memory with a million vaults against those with a thousand; start with a million", is_long=True)
def scale(stage, rounds, seconds):
    few, many = stage.counts
    with serving(stage, few) as small, serving(stage, many) as large:
        for what, message in (("whoami", host.WHOAMI), ("token", host.TOKEN)):
            pairs = interleave(rounds, lambda m=message: stage.load(large, *spread(many), f"seconds={seconds}", uid=host.FILLED_UID, message=m),
                               lambda m=message: stage.load(small, *spread(few), f"seconds={seconds}", uid=host.FILLED_UID, message=m))
            compare(f"{what}-{many}", "us", f"{what}-{few}", pairs, "p50", bar=1.1)
        memory = [host.anonymous_kib(stage.pids[each]) for each in (large, small)]
        report(f"memory-{many}", memory[0], "KiB", f"memory-{few}", memory[0] / memory[1], bar=1.05)
    pairs = interleave(rounds, lambda: start(stage, many), lambda: start(stage, few))
    value = statistics.median(a["ms"] for a, _ in pairs)
    report(f"start-{many}", value, "ms", "limit-100", value / 100, bar=1.0)
    compare(f"start-{many}", "ms", f"start-{few}", pairs, "ms")


@contextlib.contextmanager
def backing_up(stage, name):
    """While a backup runs; the file is not whole then and goes. Its end is awaited, so that it is in nobody's way later."""
    target = stage.folder / "backup"
    command = [stage.build / "client/vaultctl", "--socket", stage.sockets[f"{name}-control"], "admin", "backup", target]
    deadline = time.monotonic() + 20
    while True:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(0.3)
        if process.poll() is None:
            break
        said = process.communicate()[1]
        if "under way" not in said or time.monotonic() > deadline:
            raise RuntimeError(f"no backup: {said}")
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError(f"the backup ended before the measurement did: {process.communicate()[1]}")
    finally:
        process.terminate()
        process.communicate()
        target.unlink(missing_ok=True)
        time.sleep(1)


@bench("backup", "p99 of reads and of durable writes while the large store is backed up, against the same without", is_long=True)
def backup(stage, rounds, seconds):
    count = stage.counts[1]
    with serving(stage, count) as name:
        with contextlib.suppress(RuntimeError):     # a kept store may have its key already
            stage.call(f"{name}-control", '{"method":"io.vaultd.Admin.NewRecoveryKey"}', 0)

        def reads():
            return stage.load(name, *spread(count), f"seconds={seconds}", "pause=500", uid=host.FILLED_UID)

        def writes():
            message = json.dumps({"method": "io.vaultd.Admin.Lock", "parameters": {"uid": host.FILLED_UID + 1}})
            command = [stage.program("load"), stage.sockets[f"{name}-control"], message, "uid=0", f"seconds={seconds}"]
            return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)

        def beside(work):
            with backing_up(stage, name):
                return work()

        compare("read-p99-beside-backup", "us", "read-p99-alone", interleave(rounds, lambda: beside(reads), reads), "p99", bar=2)
        compare("write-p99-beside-backup", "us", "write-p99-alone", interleave(rounds, lambda: beside(writes), writes), "p99", bar=5)


def start(stage, count):
    """From connect to the first reply when the daemon is started for it."""
    folder = stage.folder / f"start-{count}"
    folder.mkdir(exist_ok=True)
    os.chown(folder, host.DAEMON_UID, host.DAEMON_UID)
    command = stage.vaultd_command(f"start-{count}", settings(stage), filled=stage.filled(count), policy=policy(stage))
    return {"ms": 1000 * activate(stage, command, folder / "socket")["seconds"]}
