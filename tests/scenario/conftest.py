# SPDX-License-Identifier: LGPL-2.1-or-later
"""Gives the scenario tests a host of their own: private mounts with two Unix users, and a private network.

The whole pytest process moves into new mount and network namespaces before the first test. In there /etc/passwd
and /etc/group are copies with alice, bob and vaultd's own users added, and loopback has every port free, so runs
of several checkouts do not meet and the host's files are never touched. Needs root.
"""

import ctypes
import os
import pathlib
import signal
import subprocess
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000

USERS = {"alice": 1001, "bob": 1002, "carol": 1003, "vaultd": 990, "vaultd-web": 991}


def _write_accounts(directory):
    passwd = [line for line in pathlib.Path("/etc/passwd").read_text().splitlines()
              if line.split(":")[0] not in USERS and int(line.split(":")[2]) not in USERS.values()]
    group = [line for line in pathlib.Path("/etc/group").read_text().splitlines()
             if line.split(":")[0] not in USERS and int(line.split(":")[2]) not in USERS.values()]
    for name, uid in USERS.items():
        passwd.append(f"{name}:x:{uid}:{uid}::/nonexistent:/bin/sh")
        group.append(f"{name}:x:{uid}:")
    (directory / "passwd").write_text("\n".join(passwd) + "\n")
    (directory / "group").write_text("\n".join(group) + "\n")


def _enter_private_host():
    # npm needs the network, so what the fixtures run on is put in place before it is gone.
    subprocess.run([HERE.parent / "fixtures/node/install"], check=True, stdout=subprocess.DEVNULL)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare: the scenario tests need root")
    # Who runs the tests from a login of his own would be told apart from alice; root may unset it, for this process and its children.
    login_uid = pathlib.Path("/proc/self/loginuid")
    if login_uid.exists() and int(login_uid.read_text()) != 0xFFFFFFFF:
        login_uid.write_text(str(0xFFFFFFFF))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        _write_accounts(directory)
        for file in ("passwd", "group"):
            # A bind mount keeps the file alive after its name is gone.
            subprocess.run(["mount", "--bind", directory / file, f"/etc/{file}"], check=True)


def pytest_configure(config):
    # A shell's background job begins with ^C ignored, which everything that the tests start would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.get("VAULTD_SCENARIO_NAMESPACE") != str(os.getpid()):
        _enter_private_host()
        os.environ["VAULTD_SCENARIO_NAMESPACE"] = str(os.getpid())


@pytest.fixture(scope="module")
def world():
    from world import World
    with World() as world:
        yield world


@pytest.fixture
def fresh_world():
    from world import World
    with World() as world:
        yield world
