# SPDX-License-Identifier: LGPL-2.1-or-later
"""Backups of a running vaultd, what they restore on another host, and an old database that is put back (V9, T8)."""

import contextlib
import json
import os
import pty
import re
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest
from world import UIDS, World, as_user, wait_for

READERS = "[Server notion]\nTools=notion-get-self\nTokenReaders=user:alice user:bob\n"


class Host(World):
    """A world whose vaultd is told what the journal knows, and which can become another machine."""

    def vaultd_command(self):
        return [*super().vaultd_command(), "--journal-head", str(self.head_file)]

    @property
    def head_file(self):
        return self.root / "journal-head"

    def head_of_log(self):
        """The newest line about the store, as vaultd-journal-head.service would find it."""
        lines = re.findall(r"the store stands at (\d+ [0-9a-f]{64})", self.log("vaultd"))
        return lines[-1]

    def tell_head(self):
        self.head_file.write_text(self.head_of_log() + "\n")

    def become_another_machine(self):
        """An empty store under a key of its own; nothing is known of the former one."""
        self.stop_vaultd()
        (self.root / "state").rename(self.root / "state-of-the-first")
        (self.root / "state").mkdir(mode=0o700)
        os.chown(self.root / "state", UIDS["vaultd"], UIDS["vaultd"])
        self.kek.write_bytes(secrets.token_bytes(32))
        self.head_file.unlink(missing_ok=True)
        self.start_vaultd()

    def admin(self, *arguments, code=0, stdin=""):
        done = self.vaultctl("root", "--json", "--socket", str(self.sockets["control"]), "admin", *arguments, stdin=stdin)
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr, self.log("vaultd")[-2000:])
        return json.loads(done.stdout.strip().splitlines()[-1])

    def new_recovery_key(self):
        reply = self.caller("root", "control").reply("io.vaultd.Admin.NewRecoveryKey")
        return next(value for value in reply["parameters"].values() if str(value).startswith("VR1-"))

    def restore(self, file, key, *options, code=0):
        """Restores and, when that is done, starts vaultd again as the service manager would."""
        answer = self.admin("restore", str(file), "--recovery-key-stdin", *options, code=code, stdin=key + "\n")
        if code == 0:
            assert self.vaultd_process.wait(15) == 75
            self.start_vaultd()
        return answer

    def doctor(self, check="history"):
        return next(each for each in self.json("alice", "doctor", code=None)["findings"] if each["check"] == check)


@pytest.fixture
def host():
    with Host() as world:
        world.configure(policy=READERS)
        world.restart_vaultd()
        yield world


@contextlib.contextmanager
def stream(world, method, parameters=None):
    """An upgraded connection of root: (reply, what came behind it, socket)."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        s.connect(str(world.sockets["control"]))
        s.sendall(json.dumps({"method": method, "parameters": parameters or {}, "upgrade": True}).encode() + b"\0")
        data = b""
        while b"\0" not in data:
            data += s.recv(65536)
        reply, _, rest = data.partition(b"\0")
        yield json.loads(reply), rest, s


def frame(data):
    return struct.pack("<I", len(data)) + data


def test_everything_comes_back_on_another_machine(host):
    for user in ("alice", "bob"):
        host.connect(user)
    host.admin("lock", "--user", "bob", "--reason", "on leave")
    token = host.vaultctl("alice", "token", "notion").stdout
    users = host.admin("users")
    key = host.new_recovery_key()
    made = host.admin("backup", str(host.root / "backup"))
    assert (host.root / "backup").stat().st_mode & 0o777 == 0o600
    assert made["bytes"] == (host.root / "backup").stat().st_size and len(made["head"]) == 64

    host.become_another_machine()
    assert host.admin("users")["vaults"] == []
    result = host.restore(host.root / "backup", key, "--head", made["head"])
    assert (result["vaults"], result["credentials"], result["damaged"], result["needsReconnect"]) == (2, 2, 0, False)
    assert host.admin("users") == users
    assert host.vaultctl("alice", "token", "notion").stdout == token
    assert host.json("bob", "status", code=4)["state"] == "locked"
    # Without a word that nothing newer existed, a token is not used again.
    shutil.rmtree(host.root / "state-of-the-first")
    host.become_another_machine()
    assert host.restore(host.root / "backup", key)["needsReconnect"] is True
    assert host.admin("users") == users
    refused = host.vaultctl("alice", "token", "notion")
    assert refused.returncode != 0 and token.strip() not in refused.stdout
    host.connect("alice")
    assert host.vaultctl("alice", "token", "notion").returncode == 0
    # The recovery key came along: the next backup needs no admin init.
    host.admin("backup", str(host.root / "next"))


def test_no_secret_is_in_the_file_and_another_key_opens_nothing(host):
    host.connect("alice")
    token = host.vaultctl("alice", "token", "notion").stdout.strip()
    key = host.new_recovery_key()
    host.admin("backup", str(host.root / "backup"))
    data = (host.root / "backup").read_bytes()
    for needle in (token.encode(), b"alice", b"notion", host.kek.read_bytes(), key.encode(), host.workspace_key.encode()):
        assert needle not in data
    other = host.caller("root", "control").reply("io.vaultd.Admin.NewRecoveryKey", {"replace": True})
    assert "error" not in other, other
    other = next(value for value in other["parameters"].values() if str(value).startswith("VR1-"))
    host.become_another_machine()
    assert "another recovery key" in host.restore(host.root / "backup", other, code=1)["message"]
    mistyped = key[:8] + ("A" if key[8] != "A" else "B") + key[9:]
    assert "mistyped" in host.restore(host.root / "backup", mistyped, code=1)["message"]
    (host.root / "cut").write_bytes(data[:-1])
    assert "damaged" in host.restore(host.root / "cut", key, code=1)["message"]
    (host.root / "changed").write_bytes(data[:-40] + bytes([data[-40] ^ 1]) + data[-39:])
    assert "damaged" in host.restore(host.root / "changed", key, code=1)["message"]
    assert host.admin("users")["vaults"] == [] and not (host.root / "state/vaultd.mdb.restored").exists()
    for name in (key, token):
        assert name not in host.log("vaultd")
    host.restore(host.root / "backup", key)


def test_a_backup_has_what_was_acknowledged_before_its_begin(host):
    """A writer numbers its commits; the number that comes back lies between the last acknowledged before and the last begun after."""
    host.connect("alice")
    key = host.new_recovery_key()
    begun, acknowledged, is_over = [0], [0], threading.Event()

    def write():
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(host.sockets["control"]))
            while not is_over.is_set():
                begun[0] += 1
                s.sendall(json.dumps({"method": "io.vaultd.Admin.Lock", "parameters": {"uid": 1001, "reason": str(begun[0])}}).encode() + b"\0")
                data = b""
                while not data.endswith(b"\0"):
                    data += s.recv(65536)
                assert b"error" not in data, data
                acknowledged[0] = begun[0]

    writer = threading.Thread(target=write)
    writer.start()
    bounds = []
    try:
        for number in range(5):
            wait_for(lambda: acknowledged[0] > 20 * number)
            before = acknowledged[0]
            host.admin("backup", str(host.root / f"backup-{number}"))
            bounds.append((before, begun[0]))
    finally:
        is_over.set()
        writer.join()
    for number, (before, after) in enumerate(bounds):
        host.restore(host.root / f"backup-{number}", key, "--replace")
        restored = int(host.admin("users")["vaults"][0]["reason"])
        assert before <= restored <= after


def test_without_a_recovery_key_there_is_no_backup(host):
    answer = host.admin("backup", str(host.root / "backup"), code=1)
    assert (answer["error"], answer["hint"]) == ("io.vaultd.NotConfigured", "Run: sudo vaultctl admin init")
    assert not (host.root / "backup").exists() and not (host.root / "backup.unfinished").exists()


def test_a_store_with_vaults_is_not_replaced_unless_that_is_said(host):
    host.connect("alice")
    key = host.new_recovery_key()
    host.admin("backup", str(host.root / "backup"))
    host.json("bob", "status")
    answer = host.restore(host.root / "backup", key, code=4)
    assert answer["error"] == "io.vaultd.NotAllowed" and "--replace" in answer["hint"]
    assert len(host.admin("users")["vaults"]) == 2
    kept = host.restore(host.root / "backup", key, "--replace")["kept"]
    assert re.fullmatch(r"vaultd\.mdb\.\d{8}T\d{6}Z(-\d+)?", kept)
    assert (host.root / "state" / kept).stat().st_size > 0
    assert [vault["user"] for vault in host.admin("users")["vaults"]] == ["alice"]


def test_nothing_else_is_served_during_a_restore(host):
    key = host.new_recovery_key()
    host.json("alice", "status")
    with stream(host, "io.vaultd.Store.Restore", {"replace": True}) as (reply, _, s):
        assert reply == {"parameters": {}}
        s.sendall(frame(key.encode()) + frame(b"VAULTDB1"))
        for method, door in (("io.vaultd.Status", "public"), ("io.vaultd.WhoAmI", "public"), ("io.vaultd.Admin.Users", "control")):
            answer = host.caller("root" if door == "control" else "alice", door).reply(method)
            assert (answer["error"], "restore" in answer["parameters"]["message"]) == ("io.vaultd.NotAllowed", True), method
    # Whoever breaks off in the middle leaves nothing.
    wait_for(lambda: host.vaultctl("alice", "status").returncode == 0)
    assert not (host.root / "state/vaultd.mdb.restored").exists()


def test_a_crash_in_the_middle_of_a_restore_leaves_the_store_as_it_was(host):
    host.connect("alice")
    token = host.vaultctl("alice", "token", "notion").stdout
    key = host.new_recovery_key()
    host.admin("backup", str(host.root / "backup"))
    data = (host.root / "backup").read_bytes()
    for n_bytes in (0, 200, len(data) - 1, len(data)):
        with stream(host, "io.vaultd.Store.Restore", {"replace": True}) as (reply, _, s):
            assert reply == {"parameters": {}}
            s.sendall(frame(key.encode()) + (frame(data[:n_bytes]) if n_bytes else b""))
            wait_for(lambda: (host.root / "state/vaultd.mdb.restored").exists())
            host.stop_vaultd(signal.SIGKILL)
        host.start_vaultd()
        assert sorted(path.name for path in (host.root / "state").iterdir()) == ["lock", "vaultd.mdb", "vaultd.mdb-lock"]
        assert host.vaultctl("alice", "token", "notion").stdout == token, n_bytes


def test_one_backup_at_a_time_and_a_reader_that_leaves_is_forgotten(host):
    host.new_recovery_key()
    # It leaves at once: before, while or after its bytes are made.
    for _ in range(20):
        with stream(host, "io.vaultd.Store.Backup") as (reply, rest, s):
            assert "head" in reply["parameters"] or reply["error"] == "io.vaultd.LimitExceeded", reply
    wait_for(lambda: "error" not in host.admin("backup", str(host.root / f"backup-{time.monotonic_ns()}"), code=None))


def test_an_old_backup_is_told_from_the_newest_by_the_journal(host):
    """On the machine itself nobody has to type a head."""
    host.connect("alice")
    key = host.new_recovery_key()
    host.stop_vaultd()
    host.tell_head()
    host.start_vaultd()
    wait_for(lambda: host.doctor()["verdict"] == "ok")
    host.admin("backup", str(host.root / "old"))
    host.admin("lock", "--user", "alice")
    host.admin("unlock", "--user", "alice")
    host.stop_vaultd()
    host.tell_head()
    host.start_vaultd()
    host.admin("backup", str(host.root / "newest"))
    # The disk is lost, the journal is not.
    for name, is_old in (("newest", False), ("old", True)):
        assert host.restore(host.root / name, key, "--replace")["needsReconnect"] is is_old, name
        assert host.doctor()["verdict"] == "ok"


@pytest.fixture
def put_back(host):
    """Alice's vault was locked, then the database of before was put back."""
    host.connect("alice")
    host.stop_vaultd()
    shutil.copy(host.root / "state/vaultd.mdb", host.root / "old.mdb")
    host.start_vaultd()
    host.admin("lock", "--user", "alice", "--reason", "lost laptop")
    host.stop_vaultd()
    shutil.copy(host.root / "old.mdb", host.root / "state/vaultd.mdb")
    os.chown(host.root / "state/vaultd.mdb", UIDS["vaultd"], UIDS["vaultd"])
    host.tell_head()
    host.start_vaultd()
    return host


def is_refused(host):
    for arguments in (("status",), ("token", "notion"), ("connect", "notion"), ("session", "list"), ("disconnect", "notion", "--yes")):
        answer = host.json("alice", *arguments, code=4)
        assert (answer["error"], answer["state"]) == ("io.vaultd.VaultClosed", "behind"), answer
        assert "vaultctl admin accept-store" in answer["hint"]
    ticket = host.caller("vaultd-web", "web").reply("io.vaultd.Web.Page", {"ticket": "x" * 22})
    assert ticket["error"] == "io.vaultd.VaultClosed", ticket
    finding = host.doctor()
    assert (finding["verdict"], finding["hint"]) == ("fault", "Run: sudo vaultctl admin accept-store")


def test_an_old_database_that_is_put_back_opens_no_vault(put_back):
    host = put_back
    is_refused(host)
    assert "the database is older than the newest one that the journal knows of" in host.log("vaultd")
    # What is written meanwhile moves its number on, and the journal may be lost: it stays what it is.
    for _ in range(3):
        host.admin("lock", "--user", "alice")
        host.admin("unlock", "--user", "alice")
    lines = host.log("vaultd").count("the store stands at")
    host.stop_vaultd(signal.SIGKILL)
    host.start_vaultd()
    is_refused(host)
    host.head_file.unlink()
    host.restart_vaultd()
    is_refused(host)
    assert host.log("vaultd").count("the store stands at") == lines, "its own lines would hide it at the next start"


def test_an_administrator_accepts_it_and_grants_need_a_reconnect(put_back):
    host = put_back
    answer = host.admin("accept-store")
    assert answer == {"credentials": 1, "damaged": 0}
    assert host.vaultd_process.wait(15) == 75
    host.start_vaultd()
    assert "older store accepted" in host.log("vaultd")
    assert host.doctor()["verdict"] == "ok"
    assert host.vaultctl("alice", "token", "notion").returncode != 0
    assert host.admin("accept-store", code=4)["error"] == "io.vaultd.NotAllowed"
    host.connect("alice")
    assert host.vaultctl("alice", "token", "notion").returncode == 0
    # And the same copy once more is older again.
    host.stop_vaultd()
    host.tell_head()
    shutil.copy(host.root / "old.mdb", host.root / "state/vaultd.mdb")
    host.start_vaultd()
    is_refused(host)


def test_what_the_journal_knows_is_believed_of_root_alone(host):
    host.json("alice", "status")
    host.stop_vaultd()
    for content, owner, mode, verdict in (("9999 " + "ab" * 32 + "\n", UIDS["alice"], 0o644, "fault"), ("9999 " + "ab" * 32 + "\n", 0, 0o666, "fault"),
                                          ("nonsense\n", 0, 0o644, "fault"), ("", 0, 0o644, "ok"), (None, 0, 0o644, "warning")):
        host.head_file.unlink(missing_ok=True)
        if content is not None:
            host.head_file.write_text(content)
            os.chown(host.head_file, owner, owner)
            host.head_file.chmod(mode)
        host.start_vaultd()
        assert host.doctor()["verdict"] == verdict, (content, owner, oct(mode))
        host.json("alice", "status")
        host.stop_vaultd()


class HalfBackup(threading.Thread):
    """A vaultd that sends the beginning of a backup and then nothing, or closes."""

    def __init__(self, path, closes):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.closes = closes
        self.start()

    def run(self):
        connection, _ = self.listener.accept()
        data = b""
        while b"\0" not in data:
            data += connection.recv(4096)
        reply = {"parameters": {"host": "h", "created": 1, "sequence": 1, "head": "0" * 64, "records": 5}}
        connection.sendall(json.dumps(reply).encode() + b"\0" + frame(b"VAULTDB1" + b"x" * 1000))
        self.connection = connection
        if self.closes:
            connection.close()


@pytest.mark.parametrize("how", ["interrupt", "hangup", "closed"])
def test_a_backup_that_is_cut_leaves_no_file(host, how, tmp_path):
    server = HalfBackup(tmp_path / "socket", how == "closed")
    process = subprocess.Popen(host.command("--socket", str(tmp_path / "socket"), "admin", "backup", str(tmp_path / "backup")),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=host.environment())
    if how != "closed":
        wait_for(lambda: (tmp_path / "backup.unfinished").exists() and (tmp_path / "backup.unfinished").stat().st_size > 1000)
        process.send_signal(signal.SIGINT if how == "interrupt" else signal.SIGHUP)
    process.communicate(timeout=20)
    assert process.returncode == (5 if how == "closed" else -(signal.SIGINT if how == "interrupt" else signal.SIGHUP))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["socket"]
    server.listener.close()


def test_an_existing_file_is_never_written_over(host, tmp_path):
    host.new_recovery_key()
    (tmp_path / "backup").write_text("mine")
    assert "File exists" in host.admin("backup", str(tmp_path / "backup"), code=1)["message"]
    (tmp_path / "other.unfinished").write_text("mine too")
    assert "File exists" in host.admin("backup", str(tmp_path / "other"), code=1)["message"]
    assert [(tmp_path / name).read_text() for name in ("backup", "other.unfinished")] == ["mine", "mine too"]


def test_a_key_that_is_typed_is_not_shown(host):
    key = host.new_recovery_key()
    host.admin("backup", str(host.root / "backup"))
    child, terminal = pty.fork()
    if child == 0:
        os.execve(host.command()[0], host.command("--socket", str(host.sockets["control"]), "admin", "restore", str(host.root / "backup")),
                  {**host.environment(), "TERM": "xterm"})
    shown = b""

    def hear(until):
        nonlocal shown
        while until not in shown:
            assert select.select([terminal], [], [], 20)[0], shown
            try:
                shown += os.read(terminal, 4096)
            except OSError:     # the other side has ended
                return

    hear(b"not shown")
    os.write(terminal, key.encode() + b"\n")
    hear(b"starts anew")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown
    os.close(terminal)
    assert b"Restored 0 vaults" in shown and key.encode() not in shown and key.split("-")[3].encode() not in shown
    assert host.vaultd_process.wait(15) == 75


def test_people_make_no_backups(host):
    host.new_recovery_key()
    for method in ("Backup", "Restore", "Accept"):
        message = json.dumps({"method": "io.vaultd.Store." + method, "parameters": {}, **({"upgrade": True} if method != "Accept" else {})})
        for user, door in (("alice", "public"), ("alice", "control"), ("vaultd-web", "web")):
            answer = host.caller(user, door).raw(message.encode() + b"\0")
            assert b"parameters" not in answer or b"error" in answer, (user, door, answer)
