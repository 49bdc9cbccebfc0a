# SPDX-License-Identifier: LGPL-2.1-or-later
"""A private machine: a real systemd as PID 1 in systemd-nspawn, to be used from tests and from ./demo.

    with Machine(binds=[("/src", "/src", False)]) as machine:
        machine.run(["systemctl", "start", "vaultd.socket"])

Each machine has its own name, network (loopback only), control groups and writable layer; the host's PAM,
units and users are never touched. What a machine leaves on the host while it runs is one directory,
$VAULTD_MACHINES/NAME (default /run/vaultd-machines), which its supervisor removes at the end.

Commands run inside through nsenter and `systemd-run --pipe --wait`: nsenter alone would leave them in a
control group of the host's, where logind and `systemctl status` of the machine do not see them.
"""

import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import image as machine_image           # noqa: E402 (the folder is not a package: scripts run from it)
import supervisor                       # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
BOOT_SECONDS = 60
LOGIN_KEY = "/root/.ssh/machine-login"


class MachineError(RuntimeError):
    """The machine could not do what was asked; the text says what and why."""


def machines_directory():
    path = pathlib.Path(os.environ.get("VAULTD_MACHINES", "/run/vaultd-machines"))
    path.mkdir(parents=True, exist_ok=True)
    return path


def _start_time(pid):
    """Clock ticks since boot at which pid began (proc(5)), which with the pid names a process for good; None when dead."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def sweep():
    """Remove what supervisors that were killed outright could not: their directories and groups."""
    for directory in machines_directory().iterdir():
        # Until the machine is up, the one who boots it is its owner; then its supervisor is.
        for file in ("state.json", "specification.json"):
            try:
                owner = json.loads((directory / file).read_text())
            except (OSError, ValueError):
                continue
            if _start_time(owner["pid"]) != owner["start"]:
                _remove_traces(directory)
            break


def _remove_traces(directory):
    try:
        supervisor.remove_traces(directory, directory.name, "vaultd-machine-" + directory.name)
    except FileNotFoundError:
        pass                            # its supervisor, or another sweep, was faster


def _literal(argv):
    """argv such that systemd does not put its own environment in place of $NAME (systemd.service(5))."""
    return [str(word).replace("$", "$$") for word in argv]


class Machine:
    """One machine. `binds` are (source, target, is_writable) triples; `overlay` keeps the writable layer."""

    def __init__(self, name=None, binds=(), overlay=None):
        self.name = name or "t" + uuid.uuid4().hex[:10]
        self.directory = machines_directory() / self.name
        self.binds = [(str(source), str(target), bool(is_writable)) for source, target, is_writable in binds]
        self.overlay = str(overlay) if overlay else None
        self.leader = None
        self._supervisor = None

    @classmethod
    def find(cls, name=None):
        """A machine that another process booted; without a name, the only one there is."""
        sweep()
        names = [name] if name else sorted(path.name for path in machines_directory().iterdir())
        if len(names) != 1:
            raise MachineError(f"say which machine with --name: {' '.join(names) or 'none is running'}")
        found = cls(names[0])
        try:
            found.leader = json.loads((found.directory / "state.json").read_text())["leader"]
        except (OSError, ValueError, KeyError):
            raise MachineError(f"no machine named {names[0]} is running") from None
        return found

    def __enter__(self):
        return self.boot()

    def __exit__(self, *_):
        self.stop()

    # Life

    def boot(self):
        """Boot, and return when systemd says that everything is up; raises MachineError otherwise."""
        if os.geteuid() != 0:
            raise MachineError("the private machine needs root (mounts and namespaces)")
        path = machine_image.ensure_image()
        sweep()
        try:
            self.directory.mkdir(mode=0o700)
        except FileExistsError:
            raise MachineError(f"a machine named {self.name} is already there") from None
        specification = {"name": self.name, "directory": str(self.directory), "image": str(path),
                         "overlay": self.overlay, "binds": self.binds,
                         "pid": os.getpid(), "start": _start_time(os.getpid())}
        (self.directory / "specification.json").write_text(json.dumps(specification))
        with open(self.directory / "console.log", "wb") as console:
            self._supervisor = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "/usr/bin/python3", "-B",
                 str(HERE / "supervisor.py"), str(self.directory / "specification.json")],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True)
        try:
            self._wait_for_boot(open(self.directory / "console.log", "r", errors="replace"))
        except BaseException:
            self.stop()
            raise
        return self

    def _wait_for_boot(self, console):
        deadline = time.monotonic() + BOOT_SECONDS
        with console:
            while self._supervisor.poll() is None and time.monotonic() < deadline:
                self.leader = self.leader or self._find_leader()
                if self.leader and pathlib.Path(f"/proc/{self.leader}/root/run/systemd/private").exists():
                    break
                time.sleep(0.02)
            else:
                raise MachineError("the machine did not boot:\n" + console.read()[-4000:])
            pid = self._supervisor.pid
            state = {"leader": self.leader, "pid": pid, "start": _start_time(pid)}
            partial = self.directory / "state.json.new"
            partial.write_text(json.dumps(state))
            partial.rename(self.directory / "state.json")
            while time.monotonic() < deadline:
                result = subprocess.run(self._enter("systemctl", "is-system-running", "--wait"),
                                        capture_output=True, text=True, check=False)
                if result.stdout.strip() == "running":
                    return
                if result.stdout.strip() == "degraded":
                    failed = subprocess.run(self._enter("systemctl", "--failed", "--no-legend", "--plain"),
                                            capture_output=True, text=True, check=False)
                    raise MachineError("units failed while the machine booted:\n" + failed.stdout)
                time.sleep(0.05)
            raise MachineError("the machine's systemd was not up in time:\n" + console.read()[-4000:])

    def _find_leader(self):
        """The machine's PID 1, in our numbering: nspawn's child in another pid namespace."""
        try:
            nspawn = (self.directory / "nspawn.pid").read_text()
            children = pathlib.Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
            for child in children:
                if os.readlink(f"/proc/{child}/ns/pid") != os.readlink("/proc/self/ns/pid"):
                    return int(child)
        except OSError:
            pass
        return None

    def release(self):
        """Let the machine live on when this process ends; until then it goes with it, however it ends."""
        os.kill(self._supervisor.pid, signal.SIGUSR1)

    def stop(self):
        """Power off and wait until nothing of the machine is left. Safe to call twice."""
        pid = self._supervisor_pid()
        if pid is not None:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            deadline = time.monotonic() + supervisor.STOP_SECONDS + 10
            while self._supervisor_pid() is not None:
                if time.monotonic() > deadline:
                    raise MachineError(f"machine {self.name} does not end (supervisor {pid})")
                time.sleep(0.02)
        if self._supervisor is not None and self.directory.exists():
            _remove_traces(self.directory)      # it was killed before it could
        self.leader = None

    def cut_power(self):
        """End it as a power cut does: nothing in it gets a word. Its overlay is kept; stop() cleans up as ever."""
        os.kill(self.leader, signal.SIGKILL)

    def _supervisor_pid(self):
        """The supervisor's pid while it lives, whether this process or an earlier one started it."""
        if self._supervisor is not None:
            return self._supervisor.pid if self._supervisor.poll() is None else None
        try:
            state = json.loads((self.directory / "state.json").read_text())
        except (OSError, ValueError):
            return None
        return state["pid"] if _start_time(state["pid"]) == state["start"] else None

    # Commands

    def _enter(self, *command):
        if not self.leader:
            raise MachineError(f"machine {self.name} is not running")
        return ["nsenter", "--target", str(self.leader), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
                "env", "--ignore-environment", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
                "TERM=" + os.environ.get("TERM", "dumb"), *map(str, command)]

    def command(self, argv, environment=(), directory="/root", is_terminal=False):
        """The host's argv that runs argv as root inside, in a unit of its own, exit code passed through."""
        run = ["systemd-run", "--quiet", "--collect", "--wait", "--service-type=exec",
               "--pty" if is_terminal else "--pipe", "--working-directory=" + directory]
        run += [f"--setenv={key}={value}" for key, value in dict(environment).items()]
        return self._enter(*run, "--", *_literal(argv))

    def run(self, argv, check=True, stdin=None, timeout=120, **options):
        """Run argv as root; returns the CompletedProcess (text). A failure raises unless check is false."""
        result = subprocess.run(self.command(argv, **options), input=stdin if stdin is not None else "",
                                capture_output=True, text=True, timeout=timeout, check=False)
        if check and result.returncode != 0:
            raise MachineError(f"{shlex.join(map(str, argv))}: exit code {result.returncode}\n"
                               f"{result.stdout[-3000:]}{result.stderr[-3000:]}")
        return result

    def start(self, unit, argv, timeout=30, environment=()):
        """Start a background program that prints one line of JSON when it is ready; returns that object.

        It runs as the transient unit `unit`, its errors in the journal, until stopped or the machine ends.
        """
        output = f"/run/{unit}.out"
        run = ["systemd-run", "--quiet", "--collect", "--service-type=exec", "--unit=" + unit,
               "--property=StandardOutput=truncate:" + output]
        run += [f"--setenv={key}={value}" for key, value in dict(environment).items()]
        subprocess.run(self._enter(*run, "--", *_literal(argv)), check=True, capture_output=True, text=True)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            text = self.path(output).read_text() if self.path(output).exists() else ""
            if "\n" in text:
                return json.loads(text.splitlines()[0])
            active = subprocess.run(self._enter("systemctl", "is-active", unit), capture_output=True, text=True,
                                    check=False).stdout.strip()
            if active not in ("active", "activating"):
                break
            time.sleep(0.05)
        raise MachineError(f"{unit} did not get ready:\n" + self.journal("--unit", unit)[-3000:])

    def journal(self, *options):
        """What the machine's journal holds, filtered by journalctl's options, as text."""
        subprocess.run(self._enter("journalctl", "--sync"), check=False, capture_output=True)
        return subprocess.run(self._enter("journalctl", "--no-pager", "--output=short-monotonic", *options),
                              check=False, capture_output=True, text=True).stdout

    # Files and users

    def path(self, inside):
        """The host's path of a file inside, through /proc/PID/root. Absolute symbolic links do not resolve."""
        return pathlib.Path(f"/proc/{self.leader}/root") / str(inside).lstrip("/")

    def write(self, inside, text, mode=0o644):
        """Write a root-owned file; it has its mode before it has its content."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, mode)
            file.write(text)

    def add_user(self, user):
        """Create a Unix user who can log in over SSH with the machine's login key; returns the uid."""
        self.run(["sh", "-ec", """
            user=$1 key=$2
            mkdir -p -m 0700 /root/.ssh
            test -e "$key" || ssh-keygen -q -t ed25519 -N '' -f "$key"
            useradd --create-home --shell /bin/bash "$user"
            install -d -m 0700 -o "$user" -g "$user" "/home/$user/.ssh"
            install -m 0600 -o "$user" -g "$user" "$key.pub" "/home/$user/.ssh/authorized_keys"
            """, "add-user", user, LOGIN_KEY])
        return int(self.run(["id", "-u", user]).stdout)

    def ssh_command(self, user, command, is_terminal=False):
        """argv, for run(), that logs user in through sshd and PAM and runs a shell command line there."""
        return ["ssh", "-q", "-i", LOGIN_KEY, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                "-o", "BatchMode=yes", "-o", "KexAlgorithms=curve25519-sha256", *(["-t"] if is_terminal else []),
                f"{user}@127.0.0.1", *([command] if command else [])]

    def ssh(self, user, command, **options):
        """Log user in and run a shell command line; returns the CompletedProcess like run()."""
        return self.run(self.ssh_command(user, command), **options)


