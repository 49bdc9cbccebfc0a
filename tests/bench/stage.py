# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the benches run on: a private host in small, the daemon and its peers under their own uids, pinned when asked.

`enter_private_host()` moves this process into mount and network namespaces of its own, where /etc/passwd has the
users of the benches and nothing of the real host changes. `Stage` holds one vaultd with the [Limits] stated below and one
bare echo server, and starts more when asked; all get their listening sockets passed by root, as from systemd, with the same backlog. The state lies on a
disk (durable writes are part of what is measured), the registered logins on a tmpfs as on a real host.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time

CLONE_NEWNS, CLONE_NEWNET, PR_SET_PDEATHSIG = 0x00020000, 0x40000000, 1
BACKLOG = 4096
DAEMON_UID = 990
FIRST_UID, N_USERS = 31000, 1000
# Ranges of users, so that no bench meets the vaults of another: one caller, one abuser, many idle, many new ones.
CALLER, ABUSER, IDLE, NEW = FIRST_UID, FIRST_UID + 1, FIRST_UID + 10, FIRST_UID + 400
# Two runs of 1,000 clients may overlap while the former ones are being closed.
CONNECTIONS_PER_UID = 4096
# The vaults of filled stores (bench-fill), and those of them who call.
FILLED_UID, FILLED_CALLERS = 100000, 100
TOKEN = '{"method":"io.vaultd.Token.Read","parameters":{"service":"notion"}}'
WHOAMI = '{"method":"io.vaultd.WhoAmI","parameters":{}}'


# As population.c has it.
SERVICE = """[Service]
Name=notion
Title=Notion
Url=https://mcp.notion.example/mcp
Custody=mirror
AccountTool=notion-get-self
AccountIdField=id
AccountNameField=name
"""


def user_name(uid):
    return f"bench{uid}"


def filled_callers(count):
    """Uids all over a filled store, as a range."""
    return range(FILLED_UID, FILLED_UID + count, max(count // FILLED_CALLERS, 1))


def enter_private_host(filled=(1000,)):
    """filled: the sizes of the filled stores whose callers are to have names."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "vaultd-bench", "/mnt"], check=True)
    uids = sorted({*range(FIRST_UID, FIRST_UID + N_USERS), *(uid for count in filled for uid in filled_callers(count))})
    for name in ("passwd", "group"):
        kept = [line for line in pathlib.Path("/etc", name).read_text(encoding="utf-8").splitlines()
                if line.split(":")[2] not in (str(DAEMON_UID), *map(str, uids))]
        extra = [f"{user_name(u)}:x:{u}:{u}::/nonexistent:/bin/sh" if name == "passwd" else f"{user_name(u)}:x:{u}:"
                 for u in (DAEMON_UID, *uids)]
        copy = pathlib.Path("/mnt", name)
        copy.write_text("\n".join(kept + extra) + "\n", encoding="utf-8")
        subprocess.run(["mount", "--bind", copy, f"/etc/{name}"], check=True)
    hard = max(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 20000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def listen(path):
    listener = socket.socket(socket.AF_UNIX)
    pathlib.Path(path).unlink(missing_ok=True)      # of a daemon that was ended
    listener.bind(str(path))
    os.chmod(path, 0o666)
    listener.listen(BACKLOG)
    return listener


def start(command, listeners, uid, log):
    """Starts a program as a service manager does: sockets as descriptors 3 and up, named, its own uid. Returns the pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        # Out of the way first: a source may be the number of another one's target.
        high = [os.dup2(each.fileno(), 200 + i) for i, (_, each) in enumerate(listeners)]
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i)
        with open(log, "ab", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.closerange(3 + len(high), 1024)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        # Nothing outlives the run, however that ends. After the change of uid, which takes it back (prctl(2)).
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        os.execve(command[0], command, {"PATH": os.environ["PATH"], "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(high)),
                                        "LISTEN_FDNAMES": ":".join(name for name, _ in listeners)})
    finally:
        os._exit(127)


def end(pid):
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        time.sleep(0.01)


def pin(pid, cpus):
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), cpus)


def anonymous_kib(pid):
    """RssAnon: what the process itself has taken, without the database's pages and libraries (proc_pid_status(5))."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise ValueError("no RssAnon")


class FilledStore:
    """A store with that many vaults (bench-fill), in a folder that outlives a run when --filled names it: a million take some minutes."""

    def __init__(self, program, folder, count, first_uid=FILLED_UID, n_expired=0):
        self.folder, self.count = folder / str(count), count
        self.state, self.kek = self.folder / "state", self.folder / "kek"
        if self.state.exists():
            return
        unfinished = folder / f"{count}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / "state").mkdir(parents=True, mode=0o700)
        (unfinished / "kek").touch(0o600)
        (unfinished / "kek").write_bytes(secrets.token_bytes(32))
        subprocess.run([program, unfinished / "state", unfinished / "kek", str(count), str(first_uid), str(n_expired)], stdout=subprocess.DEVNULL, check=True)
        for each in (unfinished / "state", *(unfinished / "state").iterdir()):
            os.chown(each, DAEMON_UID, DAEMON_UID)
        unfinished.rename(self.folder)


class Stage(contextlib.ExitStack):
    def __init__(self, build, filled=None, counts=(1000, 1000000)):
        super().__init__()
        self.counts = counts
        self.build = pathlib.Path(build)
        self.all_cpus = os.sched_getaffinity(0)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vaultd-bench-", dir="/var/tmp"))
        self.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)
        self.sockets, self.pids = {}, {}
        self._filled_folder = filled or self.folder / "filled"

    def filled(self, count):
        self._filled_folder.mkdir(mode=0o755, exist_ok=True)
        return FilledStore(self.program("fill"), self._filled_folder, count)

    def __enter__(self):
        super().__enter__()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def _build(self):
        self.add_vaultd("vaultd", f"[Limits]\nConnections={CONNECTIONS_PER_UID}\nCalls={CONNECTIONS_PER_UID}\nCallsPerSecond=1000000\n")
        # The echo answers with as many bytes as vaultd does.
        self.reply_size = len(self.call("vaultd", WHOAMI))
        self.add_echo("echo", self.reply_size)

    def add_echo(self, name, reply_size):
        self._start(name, [str(self.program("echo")), str(reply_size)], [name])

    def _start(self, name, command, sockets):
        listeners = []
        for each in sockets:
            self.sockets[each] = self.folder / f"{each}.socket"
            listeners.append(listen(self.sockets[each]))
        # Names that vaultd knows; the echo does not look at them.
        self.pids[name] = start(command, list(zip(("public", "control"), listeners)), DAEMON_UID, self.folder / "log")
        self.callback(lambda: name in self.pids and end(self.pids[name]))
        for each in listeners:
            each.close()

    def add_vaultd(self, name, settings="", **more):
        """Starts one more vaultd with these lines in vaultd.conf; its control socket is called NAME-control."""
        self._start(name, self.vaultd_command(name, settings, **more), [name, f"{name}-control"])

    def end_vaultd(self, name):
        end(self.pids.pop(name))

    def vaultd_command(self, name, settings="", filled=None, policy=""):
        """filled: a FilledStore to work on instead of a new one. Its folders are kept from one command of that name to the next."""
        state, logins = filled.state if filled else self.folder / f"{name}-state", pathlib.Path(f"/mnt/{name}-logins")
        config, vendor, kek = self.folder / f"{name}-etc", self.folder / f"{name}-vendor", self.folder / f"{name}-kek"
        shutil.rmtree(config, ignore_errors=True)
        for each in (state, logins):
            each.mkdir(mode=0o700, exist_ok=bool(filled))
            os.chown(each, DAEMON_UID, DAEMON_UID)
        for each in (config, config / "services.d", config / "policy.d", vendor):
            each.mkdir(mode=0o755, exist_ok=bool(filled))
        (config / "policy.d/bench.conf").write_text(policy, encoding="ascii")
        (config / "services.d/notion.conf").write_text(SERVICE, encoding="ascii")
        (config / "vaultd.conf").write_text(settings, encoding="ascii")
        kek.touch(0o600)
        kek.write_bytes(filled.kek.read_bytes() if filled else secrets.token_bytes(32))
        os.chown(kek, DAEMON_UID, DAEMON_UID)
        command = [self.build / "daemon/vaultd", "--state-dir", state, "--runtime-dir", logins, "--config-dir", config,
                   "--vendor-dir", vendor, "--kek-file", kek, "--log-level", "notice"]
        if filled:      # with the platform: it has something to look for in the vaults at start
            key = self.folder / f"{name}-workspace-key"
            key.touch(0o600)
            key.write_text("sk-bench\n", encoding="ascii")
            os.chown(key, DAEMON_UID, DAEMON_UID)
            command += ["--workspace-key-file", key]
        return [str(each) for each in command]

    def program(self, name):
        return self.build / f"tests/bench/bench-{name}"

    def call(self, name, message, uid=CALLER):
        """One call under that uid; the reply's bytes with their NUL."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(20)
                    client.connect(str(self.sockets[name]))
                    client.sendall(message.encode() + b"\0")
                    data = b""
                    while not data.endswith(b"\0"):
                        piece = client.recv(65536)
                        if not piece:
                            break
                        data += piece
                    os.write(writer, data)
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            data = file.read()
        os.waitpid(pid, 0)
        if not data.startswith(b'{"parameters"'):
            raise RuntimeError(f"no good answer from {name}: {data!r} {(self.folder / 'log').read_text(errors='replace')}")
        return data

    def load_command(self, name, *options, message=WHOAMI):
        return [self.program("load"), self.sockets[name], message, *options]

    def load(self, name, *options, cpus=None, uid=CALLER, message=WHOAMI):
        """A finished run of the load client against that server, both on these CPUs (all when None)."""
        pin(self.pids[name], cpus or self.all_cpus)
        done = subprocess.run(self.load_command(name, f"uid={uid}", *options, message=message), stdout=subprocess.PIPE, check=True,
                              preexec_fn=lambda: os.sched_setaffinity(0, cpus or self.all_cpus))
        result = json.loads(done.stdout)
        if result["failed"] or not result["requests"]:
            raise RuntimeError(f"{name} failed {result['failed']} of the calls and answered {result['requests']}")
        return result
