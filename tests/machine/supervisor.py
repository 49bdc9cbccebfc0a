#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process that owns one running machine: it mounts, boots, waits, and cleans up behind it.

It is a process of its own because the one that asked for the machine (a test run, the demo) may be
killed at any instant, and then nothing may stay behind. So:

- it runs in a private mount namespace (its caller starts it under `unshare --mount`): the image, the
  overlay and whatever nspawn mounts vanish with the last process in it, without an unmount;
- it asks the kernel for SIGTERM when its caller dies, and binds nspawn to itself in the same way; SIGUSR1
  lets the machine outlive its caller;
- the machine gets control groups of its own, so that two machines do not share nspawn's "payload"
  and "supervisor"; at the end their members are killed and they are removed. A systemd on the host is not
  asked for them: the same few mkdir work without one.

Usage: supervisor.py SPECIFICATION.json (written by machine.py, which is the only caller).
"""

import ctypes
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 8
WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1)


def set_parent_death_signal(number):
    """What the kernel sends this process when its parent ends (prctl(2)); 0 for nothing."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def die_with_parent(number, parent):
    set_parent_death_signal(number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def cgroup_roots():
    """The hierarchies that nspawn touches: cgroup v2, and systemd's named one on a hybrid host."""
    candidates = [pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/sys/fs/cgroup/unified"),
                  pathlib.Path("/sys/fs/cgroup/systemd")]
    return [path for path in candidates if (path / "cgroup.procs").exists()]


def cgroups_enter(name):
    for root in cgroup_roots():
        group = root / name
        group.mkdir(exist_ok=True)
        (group / "cgroup.procs").write_text(str(os.getpid()))


def cgroups_remove(name):
    """End what still runs in the machine's groups and remove them bottom-up.

    The init of a killed nspawn lives on (its parent was a helper that is long gone), so a member is
    killed here: the groups are the machine's own, nobody else can be in them.
    """
    for root in cgroup_roots():
        group = root / name
        for _ in range(100):
            if not group.exists():
                break
            for path, _, _ in os.walk(group, topdown=False):
                for pid in _members(path):
                    if pid == os.getpid():
                        (root / "cgroup.procs").write_text(str(pid))
                    else:
                        _kill(pid)
                try:
                    os.rmdir(path)
                except OSError:
                    pass            # a member is still dying
            time.sleep(0.02)


def _members(group):
    try:
        return [int(pid) for pid in (pathlib.Path(group) / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def mount_root(directory, image, overlay):
    """Lay a writable layer (tmpfs, or a directory that is kept) over the image; returns the root."""
    lower, writable, root = directory / "lower", directory / "writable", directory / "root"
    for path in (lower, writable, root):
        path.mkdir()
    run = lambda *command: subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    run("mount", "-t", "squashfs", "-o", "loop,ro", image, str(lower))
    if overlay:
        writable = pathlib.Path(overlay)
        writable.mkdir(parents=True, exist_ok=True)
    else:
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(writable))
    for part in ("upper", "work"):
        (writable / part).mkdir(mode=0o755, exist_ok=True)
    run("mount", "-t", "overlay", "overlay", "-o",
        f"lowerdir={lower},upperdir={writable}/upper,workdir={writable}/work", str(root))
    return root


def nspawn_command(specification, root):
    """systemd-nspawn as an unregistered guest with a network of its own (only a loopback).

    All capabilities and bpf(2), since units' IPAddressDeny= is silently not enforced without; those that
    reach through to the host's clock, kernel modules and ports are taken away again.
    """
    command = ["systemd-nspawn", "--quiet", "--directory", str(root), "--machine", specification["name"],
               "--boot", "--register=no", "--keep-unit", "--console=pipe", "--private-network",
               "--link-journal=no", "--resolv-conf=off", "--timezone=off", "--capability=all",
               "--drop-capability=CAP_SYS_TIME,CAP_SYS_MODULE,CAP_SYS_RAWIO", "--system-call-filter=bpf"]
    for source, target, is_writable in specification["binds"]:
        # A colon separates the two paths, so one in a name is escaped.
        pair = ":".join(part.replace(":", "\\:") for part in (source, target))
        command.append(("--bind=" if is_writable else "--bind-ro=") + pair)
    return command


def forget_login_uid():
    """A login uid of whoever started us would be inherited by every service of the machine."""
    try:
        pathlib.Path("/proc/self/loginuid").write_text("4294967295")
    except OSError:
        pass


def start_nspawn(specification, root):
    me = os.getpid()

    def in_child():
        die_with_parent(signal.SIGKILL, me)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    environment = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
                   "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    return subprocess.Popen(nspawn_command(specification, root), stdin=subprocess.DEVNULL,
                            env=environment, preexec_fn=in_child)


def wait_for_end(nspawn):
    """Wait until nspawn is gone. The first signal asks it for an orderly power-off; in vain, it is killed."""
    deadline = None
    while nspawn.poll() is None:
        left = 3600 if deadline is None else deadline - time.monotonic()
        received = signal.sigtimedwait(WATCHED, max(0, left))
        if received is None and deadline is not None:
            nspawn.kill()
            nspawn.wait()
        elif received is None or received.si_signo == signal.SIGCHLD:
            continue
        elif received.si_signo == signal.SIGUSR1:
            set_parent_death_signal(0)
        elif deadline is None:
            nspawn.terminate()
            deadline = time.monotonic() + STOP_SECONDS
    return nspawn.returncode


def remove_traces(directory, name, group):
    """Undo what the private mount namespace does not undo by itself.

    Mount points are removed with rmdir alone: had an unmount failed, a recursive removal would reach
    into the overlay or into a folder of the host that is bound there.
    """
    cgroups_remove(group)
    for part in ("root", "lower", "writable"):
        if (directory / part).exists():
            subprocess.run(["umount", "--lazy", str(directory / part)], stderr=subprocess.DEVNULL, check=False)
            os.rmdir(directory / part)
    propagate = pathlib.Path("/run/systemd/nspawn/propagate") / name
    if propagate.exists():
        os.rmdir(propagate)
    for file in directory.iterdir():
        file.unlink()
    directory.rmdir()


def supervise(specification):
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    die_with_parent(signal.SIGTERM, specification["pid"])
    directory = pathlib.Path(specification["directory"])
    group = "vaultd-machine-" + specification["name"]
    try:
        forget_login_uid()
        root = mount_root(directory, specification["image"], specification["overlay"])
        cgroups_enter(group)
        nspawn = start_nspawn(specification, root)
        (directory / "nspawn.pid").write_text(str(nspawn.pid))
        return wait_for_end(nspawn)
    finally:
        remove_traces(directory, specification["name"], group)


if __name__ == "__main__":
    sys.exit(supervise(json.loads(pathlib.Path(sys.argv[1]).read_text())))
