# SPDX-License-Identifier: LGPL-2.1-or-later
"""The private machine itself: what it shuts in, and that it leaves nothing on the host, however it ends."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from machine import HERE, Machine, MachineError, machines_directory, sweep

BOOT_AND_WAIT = "import sys, time; sys.path.insert(0, sys.argv[1]); from machine import Machine; " \
                "print(Machine(sys.argv[2]).boot().name, flush=True); time.sleep(600)"


def traces(name):
    """Everything on the host that carries the machine's name."""
    places = [machines_directory() / name, pathlib.Path("/run/systemd/nspawn/propagate") / name]
    places += [root / ("vaultd-machine-" + name) for root in pathlib.Path("/sys/fs/cgroup").glob("*/")]
    places += [pathlib.Path("/sys/fs/cgroup/vaultd-machine-" + name)]
    found = [str(place) for place in places if place.exists()]
    return found + [line for line in pathlib.Path("/proc/mounts").read_text().splitlines() if name in line]


def gone(name, seconds=10):
    deadline = time.monotonic() + seconds
    while traces(name) and time.monotonic() < deadline:
        time.sleep(0.05)
    return traces(name)


@pytest.fixture
def other_process():
    """Another process that boots a machine and waits: (Popen, name)."""
    name = f"k{os.getpid()}x{time.monotonic_ns() % 10**8}"
    # A check that was started in the background ignores SIGINT, and its children would inherit that.
    process = subprocess.Popen([sys.executable, "-B", "-c", BOOT_AND_WAIT, str(HERE), name], stdout=subprocess.PIPE,
                               text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert process.stdout.readline().strip() == name
    yield process, name
    process.kill()
    process.wait()


def test_exit_code_and_streams_pass_through():
    with Machine() as machine:
        result = machine.run(["sh", "-c", "cat; echo err >&2; exit 7"], check=False, stdin="in\n")
        assert (result.returncode, result.stdout, result.stderr) == (7, "in\n", "err\n")
        with pytest.raises(MachineError, match="exit code 3"):
            machine.run(["sh", "-c", "exit 3"])


def test_arguments_arrive_as_they_were_given():
    words = ["$HOME", "${PATH-none}", "a b", "%n", "$$", "\\x41", "'", "ü"]
    with Machine() as machine:
        assert machine.run(["printf", "%s\\n", *words]).stdout.splitlines() == words


def test_machine_has_its_own_network_users_and_processes():
    with Machine() as first, Machine() as second:
        first.add_user("zoe")
        assert second.run(["id", "zoe"], check=False).returncode != 0
        assert first.run(["ip", "-brief", "link"]).stdout.split()[0] == "lo"
        assert len(first.run(["ip", "-brief", "link"]).stdout.splitlines()) == 1
        assert first.run(["cat", "/proc/1/comm"]).stdout == "systemd\n"
    assert subprocess.run(["id", "zoe"], capture_output=True, check=False).returncode != 0


def test_read_only_binds_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("kept\n")
    with Machine(binds=[(tmp_path, "/mnt", False)]) as machine:
        assert machine.run(["cat", "/mnt/file"]).stdout == "kept\n"
        assert machine.run(["sh", "-c", "echo changed > /mnt/file"], check=False).returncode != 0
    assert (tmp_path / "file").read_text() == "kept\n"


def test_stopping_leaves_nothing():
    machine = Machine().boot()
    assert traces(machine.name)
    machine.stop()
    assert traces(machine.name) == []
    machine.stop()


def test_each_boot_is_pristine_unless_the_layer_is_kept(tmp_path):
    with Machine() as machine:
        machine.write("/root/note", "x")
    with Machine() as machine:
        assert not machine.path("/root/note").exists()
    for expected in (False, True):
        with Machine(overlay=tmp_path / "layer") as machine:
            assert machine.path("/root/note").exists() == expected
            machine.write("/root/note", "x")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_stays_when_the_caller_is_killed(other_process, number):
    process, name = other_process
    process.send_signal(number)
    process.wait(30)
    assert gone(name) == []


def test_nothing_stays_when_the_supervisor_is_killed(other_process):
    _, name = other_process
    os.kill(Machine.find(name)._supervisor_pid(), signal.SIGKILL)
    time.sleep(0.2)
    sweep()
    assert gone(name) == []


def test_released_machine_outlives_its_caller_until_stopped():
    cli = [str(HERE / "machine")]
    name = subprocess.run([*cli, "boot"], check=True, capture_output=True, text=True).stdout.strip()
    try:
        assert subprocess.run([*cli, "run", "--name", name, "--", "sh", "-c", "exit 9"], check=False).returncode == 9
    finally:
        subprocess.run([*cli, "stop", "--name", name], check=True)
    assert traces(name) == []
