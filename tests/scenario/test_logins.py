# SPDX-License-Identifier: LGPL-2.1-or-later
"""Registered logins: how they end (I7), that a reused pid is nobody's leader (T4), and that they outlast vaultd."""

import contextlib
import json
import os
import signal
import subprocess
import time

import pytest
from logins import Login
from world import UIDS, wait_for


def listed(world, user="alice"):
    return {login["id"]: login for login in world.json(user, "status")["logins"]}


def files(world):
    return sorted(path.name for path in (world.root / "logins").iterdir())


def test_several_logins_of_a_user_say_where_from(world):
    with Login(world, "alice", "sshd", rhost="192.0.2.7", tty="ssh") as ssh, Login(world, "alice", "login", tty="/dev/tty1") as console, \
            Login(world, "bob", "cron") as cron:
        mine = listed(world)
        assert set(mine) == {ssh.session, console.session}
        assert (mine[ssh.session]["service"], mine[ssh.session]["rhost"], mine[ssh.session]["tty"]) == ("sshd", "192.0.2.7", "ssh")
        assert (mine[console.session]["service"], mine[console.session]["tty"]) == ("login", "/dev/tty1")
        assert abs(mine[ssh.session]["opened"] / 1e6 - time.time()) < 60
        assert set(listed(world, "bob")) == {cron.session}
        shown = world.vaultctl("alice", "status").stdout
        assert "192.0.2.7" in shown and "/dev/tty1" in shown


def test_i7_a_login_ends_with_its_leader_without_being_asked(world):
    """Nobody calls vaultd between the end and the look at its folder: the pidfd alone tells."""
    with Login(world, "alice") as login:
        assert login.session in files(world)
        login.end()
        wait_for(lambda: login.session not in files(world), 15, "the leader's end was not noticed")

    def told():
        lines = [line for line in world.log("vaultd").splitlines() if "login ended" in line and f"VAULTD_SESSION={login.session}" in line]
        return lines and "its leader has ended" in lines[0]
    wait_for(told, 15, "the leader's end left no record")


def test_a_close_ends_a_login_and_a_second_close_is_no_fault(world):
    with Login(world, "alice") as login:
        for _ in range(2):
            assert world.caller("root", "control").reply("io.vaultd.Login.Close", {"session": login.session}) == {"parameters": {}}
            assert login.session not in listed(world)


def test_logins_outlast_a_restart_and_are_watched_again(world):
    with Login(world, "alice") as stays, Login(world, "alice") as goes, Login(world, "alice") as watched:
        world.stop_vaultd(signal.SIGKILL)
        goes.end()
        world.start_vaultd()
        assert set(listed(world)) == {stays.session, watched.session}
        code, answer = stays.vaultctl("whoami")
        assert (answer["origin"], answer["session"]) == ("login", stays.session)
        watched.end()
        wait_for(lambda: watched.session not in files(world), 5, "the descriptor was not opened anew")


@pytest.mark.parametrize("change", [{"leaderStart": 1}, {"boot": "0" * 32}, {"leader": 2 ** 22 - 1}, {"id": "l-" + "0" * 32}])
def test_t4_a_login_file_that_names_another_process_or_boot_is_dropped(world, change):
    with Login(world, "alice") as login:
        world.stop_vaultd()
        file = world.root / "logins" / login.session
        content = json.loads(file.read_text())
        assert set(change) <= set(content), "the file does not say what the test changes"
        file.write_text(json.dumps({**content, **change}))
        world.start_vaultd()
        assert listed(world) == {} and files(world) == []


def test_t4_a_leader_that_is_gone_registers_nothing(world):
    gone = subprocess.Popen(["true"])
    gone.wait()
    reply = world.caller("root", "control").reply("io.vaultd.Login.Open", {"uid": UIDS["alice"], "user": "alice", "service": "sshd", "leader": gone.pid})
    assert reply == {"error": "org.varlink.service.InvalidParameter", "parameters": {"parameter": "leader"}}
    assert files(world) == []


@pytest.mark.parametrize("field,value", [("uid", -1), ("uid", 65534), ("uid", 2 ** 32 - 1), ("uid", 2 ** 32 + UIDS["alice"]), ("leader", 0), ("leader", -1),
                                         ("leader", 2 ** 31), ("leader", 2 ** 32 + os.getpid())])
def test_a_login_names_somebody_and_a_process(world, field, value):
    """Also where a narrower number than the wire's would make it one."""
    parameters = {"uid": UIDS["alice"], "user": "alice", "service": "sshd", "leader": os.getpid(), field: value}
    reply = world.caller("root", "control").reply("io.vaultd.Login.Open", parameters)
    assert reply == {"error": "org.varlink.service.InvalidParameter", "parameters": {"parameter": field}}
    assert files(world) == []


def test_a_login_of_root_is_registered_without_a_vault(world):
    with Login(world, "root") as root:
        code, answer = root.vaultctl("whoami")
        assert (answer["origin"], answer["session"], answer["vault"]) == ("login", root.session, None)


def test_many_logins_hold_one_descriptor_each_and_give_it_back(world):
    def descriptors():
        """Of processes alone: connections of earlier calls come and go."""
        folder = f"/proc/{world.vaultd_process.pid}/fd"
        targets = []
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                targets.append(os.readlink(f"{folder}/{name}"))
        return sum("pidfd" in target for target in targets)

    wait_for(lambda: descriptors() == 0, 5, "logins of earlier tests are watched still")
    logins = [Login(world, "alice") for _ in range(20)]
    assert descriptors() == 20
    for login in logins:
        login.end()
    wait_for(lambda: descriptors() == 0, 5, "descriptors of ended logins are kept")
