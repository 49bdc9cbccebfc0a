# SPDX-License-Identifier: LGPL-2.1-or-later
"""What vaultd stands on goes away, on a real host: journald, the directory of users, vaultd's own loop, the power.

What is waited for is waited for beside the other tests: the watchdog has a machine of its own, where vaultd hangs from the beginning
of this file to its end.
"""

import contextlib
import json
import time

import pytest
from scene import MachineError, Scene

BUDGET_SECONDS = 2.1                # of a login, sshd's own part included

# Fills the queue of journald's own socket, as any user can; /dev/log, where sshd writes, is another one.
FILL_JOURNAL = r"""
import json, socket, time
senders = []
while True:
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.setblocking(False)
    sender.connect("/run/systemd/journal/socket")
    senders.append(sender)
    n = 0
    try:
        while True:
            sender.send(b"MESSAGE=filler\n")
            n += 1
    except BlockingIOError:
        if n == 0:
            break
print(json.dumps({"senders": len(senders)}), flush=True)
time.sleep(600)
"""

# As alice: WhoAmI, and a call that vaultd must record, by turns. Prints the slowest in seconds.
ASK = r"""
import json, socket, sys, time
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(10)
peer.connect("/run/vaultd/io.vaultd")
worst = 0
for number in range(int(sys.argv[1])):
    for method, parameters in (("WhoAmI", {}), ("Connect.Disconnect", {"service": "notion"})):
        begin = time.monotonic()
        peer.sendall(json.dumps({"method": "io.vaultd." + method, "parameters": parameters}).encode() + b"\0")
        reply = b""
        while not reply.endswith(b"\0"):
            data = peer.recv(65536)
            if not data:
                sys.exit("vaultd closed the connection")
            reply += data
        worst = max(worst, time.monotonic() - begin)
        answer = json.loads(reply[:-1])
        assert method != "WhoAmI" or answer["parameters"]["user"] == "alice", answer
print(json.dumps({"worst": worst}))
"""

# As root: logins that are opened and closed, two lines in the journal each.
MANY_LOGINS = r"""
import json, os, socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(10)
peer.connect("/run/vaultd/io.vaultd.control")
def call(method, parameters):
    peer.sendall(json.dumps({"method": "io.vaultd.Login." + method, "parameters": parameters}).encode() + b"\0")
    reply = b""
    while not reply.endswith(b"\0"):
        reply += peer.recv(65536) or sys.exit("vaultd closed the connection")
    reply = json.loads(reply[:-1])
    return reply["parameters"] if "error" not in reply else sys.exit(str(reply))
for number in range(int(sys.argv[1])):
    login = call("Open", {"uid": int(sys.argv[2]), "user": "alice", "service": "many", "leader": os.getpid()})
    call("Close", {"session": login["session"]})
"""


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def property_of(host, unit, name):
    return host.run(["systemctl", "show", "--value", "--property", name, unit]).stdout.strip()


def sessions(host):
    folder = host.path("/run/vaultd/sessions")
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")} if folder.exists() else set()


class LastingLogin:
    """An SSH login of user in which commands are run one after the other, each answering with one line of JSON."""

    def __init__(self, host, user):
        self.terminal = host.converse(user, 'while read -r line; do eval "$line"; done')

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.terminal.__exit__(*exception)

    def ask(self, command, timeout=30):
        self.terminal.say(f"vaultctl --json {command}")
        return self.terminal.hear(timeout)


@pytest.fixture(scope="module", autouse=True)
def hung(stage):
    """A machine whose vaultd stands still: (scene, alice's lasting login, what whoami told her before, its pid, since when)."""
    with Scene(stage) as scene:
        scene.install()
        scene.add_person("alice", "alice@notion.test")
        with LastingLogin(scene, "alice") as login:
            before, pid = login.ask("whoami"), property_of(scene, "vaultd.service", "MainPID")
            scene.run(["systemctl", "kill", "--kill-whom=main", "--signal=STOP", "vaultd.service"])
            yield scene, login, before, pid, time.monotonic()


@pytest.fixture(scope="module")
def host(stage):
    """alice, whom /etc/passwd knows, and dirk, whom only the directory knows; a journald that need not be spared."""
    with Scene(stage) as scene:
        scene.install()
        for user in ("alice", "dirk"):
            scene.add_person(user, f"{user}@notion.test")
        for name, program in (("fill", FILL_JOURNAL), ("ask", ASK), ("many", MANY_LOGINS)):
            scene.write(f"/usr/local/lib/{name}.py", program)
        scene.run(["sh", "-ec", r"""
            for file in passwd shadow group; do
                grep ^dirk: /etc/$file > /var/lib/extrausers/$file
                sed -i /^dirk:/d /etc/$file
            done
            chmod 0640 /var/lib/extrausers/shadow
            sed -i -E 's/^(passwd|group|shadow):.*/& extrausers/' /etc/nsswitch.conf
            """])
        yield scene


# journald

@contextlib.contextmanager
def stalled_journald(host):
    host.run(["systemctl", "kill", "--kill-whom=main", "--signal=STOP", "systemd-journald.service"])
    try:
        yield
    finally:
        host.run(["systemctl", "kill", "--kill-whom=main", "--signal=CONT", "systemd-journald.service"])


@contextlib.contextmanager
def full_journal(host):
    """Nobody's line gets through. logind waits ten seconds for each of its own, so logins have to do without it."""
    host.run(["systemctl", "mask", "--now", "--runtime", "systemd-logind.service"])
    with stalled_journald(host):
        try:
            assert host.start("fill", ["/usr/bin/python3", "/usr/local/lib/fill.py"])["senders"] > 1
            yield
        finally:
            host.run(["systemctl", "stop", "fill"], check=False)
    host.run(["systemctl", "unmask", "--runtime", "systemd-logind.service"])
    host.run(["systemctl", "start", "systemd-logind.service"])


def asked_by_alice(host, times):
    return json.loads(host.run(["setpriv", "--reuid=alice", "--regid=alice", "--init-groups", "/usr/bin/python3",
                                "/usr/local/lib/ask.py", str(times)]).stdout)["worst"]


def timed_login(host, user="alice"):
    begin = time.monotonic()
    session = host.as_user(user, 'echo "$VAULTD_SESSION"').stdout.strip()
    return time.monotonic() - begin, session


def test_a_stalled_journald_stalls_nobody(host):
    host.vaultctl("alice", "whoami")
    usual = asked_by_alice(host, 50)
    with full_journal(host):
        worst = asked_by_alice(host, 50)
        seconds, session = timed_login(host)
        assert host.vaultctl("alice", "whoami")["session"]
    assert worst <= max(0.1, 3 * usual), (worst, usual)
    assert session and seconds <= BUDGET_SECONDS
    # What was said meanwhile is there afterwards.
    wait_for(lambda: "login registered" in host.journal("VAULTD_SESSION=" + session), 20, "the line did not come after all")


def test_a_stalled_journald_keeps_vaultd_neither_from_stopping_nor_from_starting(host):
    host.vaultctl("alice", "whoami")
    with full_journal(host):
        asked_by_alice(host, 5)                 # lines wait
        begin = time.monotonic()
        host.run(["systemctl", "restart", "vaultd.service"])
        seconds, session = timed_login(host)
        assert time.monotonic() - begin <= 6
        assert session and seconds <= BUDGET_SECONDS
    assert property_of(host, "vaultd.service", "NRestarts") == "0"


def test_lines_that_a_stalled_journald_left_no_room_for_are_counted(host):
    n_logins, uid = 3000, host.run(["id", "-u", "alice"]).stdout.strip()

    def lines():
        return len(host.journal("--output=cat", "--grep=^login (registered: alice, many|ended)", "_SYSTEMD_UNIT=vaultd.service").splitlines())

    def dropped():
        notes = host.journal("--output=cat", "--grep=log lines were dropped", "_SYSTEMD_UNIT=vaultd.service").splitlines()
        return sum(int(note.split()[0]) for note in notes)

    with full_journal(host):
        host.run(["/usr/bin/python3", "/usr/local/lib/many.py", str(n_logins), uid])
        worst = asked_by_alice(host, 20)
    assert worst <= 0.1
    wait_for(lambda: dropped() > 0, 20, "nobody says that lines were dropped")
    wait_for(lambda: lines() + dropped() >= 2 * n_logins, 20, "lines are neither there nor counted")
    assert lines() >= 4096              # what the queue holds is kept


# The directory of users

def take_away(host):
    host.run(["mv", "/var/lib/extrausers/passwd", "/root/directory"])


def give_back(host):
    host.run(["sh", "-c", "cd /var/lib/extrausers && rm -f passwd; mv /root/directory passwd"])


def hang(host):
    take_away(host)
    host.run(["mkfifo", "-m", "0644", "/var/lib/extrausers/passwd"])


def misname(host):
    host.run(["sed", "-i", "/^passwd:/s/extrausers/extrausors/", "/etc/nsswitch.conf"])


def name_right(host):
    host.run(["sed", "-i", "/^passwd:/s/extrausors/extrausers/", "/etc/nsswitch.conf"])


@pytest.mark.parametrize("end, restore", [(take_away, give_back), (hang, give_back), (misname, name_right)], ids=["gone", "hanging", "misnamed"])
def test_an_outage_of_the_directory_locks_nobody_out_who_was_there_today(host, end, restore):
    with LastingLogin(host, "dirk") as dirk, LastingLogin(host, "alice") as alice:
        before = dirk.ask("whoami")
        assert (before["user"], before["origin"]) == ("dirk", "login")
        alice.ask("whoami")
        end(host)
        try:
            host.run(["systemctl", "restart", "vaultd.service"])        # what is known must not be in memory alone
            assert dirk.ask("whoami") == before
            assert dirk.ask("status")["vault"] == before["vault"]
            begin = time.monotonic()
            assert alice.ask("whoami")["user"] == "alice"
            assert time.monotonic() - begin < 5
        finally:
            restore(host)
        # Not sealed, and no second vault.
        wait_for(lambda: dirk.ask("whoami") == before, 10, "the end of the outage changed something")
    assert "could not be looked up" in host.journal("_SYSTEMD_UNIT=vaultd.service")


def test_in_an_outage_a_stranger_is_refused_and_root_is_told(host):
    uid = 40999
    take_away(host)
    try:
        answer = host.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "vaultctl", "--json", "whoami"], check=False)
    finally:
        give_back(host)
    assert answer.returncode == 4 and json.loads(answer.stdout)["error"] == "io.vaultd.NotAllowed"
    assert "cannot be asked" in json.loads(answer.stdout)["message"]


# The power

def test_a_power_cut_ends_logins_and_keeps_vaults(stage, tmp_path):
    with Scene(stage, overlay=tmp_path / "disk") as scene:
        scene.install()
        scene.add_person("alice", "alice@notion.test")
        with pytest.raises(MachineError), LastingLogin(scene, "alice") as login:
            before = login.ask("whoami")
            assert before["session"] in sessions(scene)
            assert scene.run(["findmnt", "--noheadings", "--output", "FSTYPE", "--target", "/run/vaultd/sessions"]).stdout.strip() == "tmpfs"
            # A file that comes over the boot, as if the folder were on a disk; the boot id is hidden from vaultd (ProcSubset=pid).
            scene.run(["cp", "-a", f"/run/vaultd/sessions/{before['session']}", "/root/former"])
            scene.cut_power()
            login.ask("whoami")
    with Scene(stage, overlay=tmp_path / "disk") as scene:
        assert sessions(scene) == set()
        scene.run(["install", "-d", "-o", "vaultd", "-g", "vaultd", "-m", "0700", "/run/vaultd/sessions"])
        # Its leader's pid is somebody's again, as pids are after a boot.
        file = f"/run/vaultd/sessions/{before['session']}"
        scene.write(file, json.dumps({**json.loads(scene.path("/root/former").read_text()), "leader": 1}))
        scene.run(["chown", "vaultd:vaultd", file])
        after = scene.vaultctl("alice", "status")
        assert after["vault"] == before["vault"]
        assert before["session"] not in {each["id"] for each in after["logins"]} | sessions(scene)


# vaultd itself

def test_the_watchdog_restarts_a_vaultd_that_hangs(hung):
    host, login, before, pid, since = hung
    assert property_of(host, "vaultd.service", "WatchdogUSec") == "30s"
    assert before["session"] in sessions(host)
    wait_for(lambda: property_of(host, "vaultd.service", "MainPID") not in (pid, "0"), max(0, since + 35 - time.monotonic()),
             "it hangs on")
    assert "watchdog" in host.journal("--unit=vaultd.service").lower()
    assert login.ask("whoami") == before
    assert before["session"] in {each["id"] for each in login.ask("status")["logins"]}
    assert property_of(host, "vaultd.socket", "ActiveState") == "active"
