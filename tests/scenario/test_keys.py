# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keys of an installation: made once, shown once, changed while vaultd serves, destroyed with a vault (V2, V9, T8, T16)."""

import json
import os
import pathlib
import pty
import select
import signal
import subprocess
import threading
import time

import pytest
from world import UIDS


@pytest.fixture
def world(fresh_world):
    return fresh_world


def admin(world, *arguments, code=0, user="root", stdin=""):
    done = world.vaultctl(user, "--json", "--socket", str(world.sockets["control"]), "admin", *arguments, stdin=stdin)
    assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr, world.log("vaultd")[-2000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def init(world, *arguments, **how):
    return admin(world, "init", "--kek-file", str(world.kek), "--state-dir", str(world.root / "state"), *arguments, **how)


def rekey(world, *arguments, **how):
    return admin(world, "rekey", "--kek-file", str(world.kek), *arguments, **how)


def database(world):
    return (world.root / "state/vaultd.mdb").read_bytes()


def test_recovery_key_is_shown_once_and_kept_nowhere(world):
    before = world.kek.read_bytes()
    first = init(world)
    assert first["key"] == {"file": str(world.kek), "made": False, "boundTo": "none"}
    text = first["recovery"]["key"]
    assert text.startswith("VR1-") and len(text.split("-")) == 15
    again = init(world)
    assert "key" not in again["recovery"] and again["recovery"]["created"] == first["recovery"]["created"]
    another = init(world, "--new-recovery-key")["recovery"]["key"]
    assert another.startswith("VR1-") and another != text
    assert world.kek.read_bytes() == before
    world.stop_vaultd()
    kept = database(world) + world.log("vaultd").encode()
    assert text.encode() not in kept and text.split("-")[3].encode() + b"-" + text.split("-")[4].encode() not in kept
    assert "recovery key made" in world.log("vaultd")


def test_people_do_not_make_keys(world):
    for user in ("alice", "vaultd"):
        answer = admin(world, "init", "--kek-file", "/tmp/never", code=4, user=user)
        assert answer["error"] == "io.vaultd.client.NotRoot" and "sudo" in answer["hint"]
        assert admin(world, "rekey", code=4, user=user)["error"] == "io.vaultd.client.NotRoot"
    assert not pathlib.Path("/tmp/never").exists()


def test_key_is_never_made_beside_state_whose_key_is_gone(world):
    world.json("alice", "whoami")
    gone = world.root / "gone"
    answer = admin(world, "init", "--key-only", "--kek-file", str(gone), "--state-dir", str(world.root / "state"), code=1)
    assert str(gone) in answer["message"] and "gone" in answer["message"]
    assert not gone.exists()
    (world.root / "empty").mkdir()
    made = admin(world, "init", "--key-only", "--kek-file", str(gone), "--state-dir", str(world.root / "empty"))
    assert made["key"]["made"] and len(gone.read_bytes()) == 32 and gone.stat().st_mode & 0o777 == 0o600
    before = gone.read_bytes()
    assert not admin(world, "init", "--key-only", "--kek-file", str(gone), "--state-dir", str(world.root / "empty"))["key"]["made"]
    assert gone.read_bytes() == before


def test_credential_is_made_by_systemd_creds(world):
    """The usual case, with /etc and /var/lib/systemd of its own; the folder is on a disk, as systemd-creds demands."""
    folder = pathlib.Path(subprocess.run(["mktemp", "-d", "-p", "/var/tmp"], capture_output=True, text=True, check=True).stdout.strip())
    script = (f"mkdir {folder}/systemd {folder}/etc && cp /etc/machine-id {folder}/etc && mount --bind {folder}/systemd /var/lib/systemd && "
              f"mount --bind {folder}/etc /etc && '{world.root}/bin/vaultctl' --json admin init --key-only --state-dir {folder}/none && "
              "systemd-creds decrypt --name=vaultd.kek /etc/credstore.encrypted/vaultd.kek - | wc -c && "
              "stat -c %a /etc/credstore.encrypted/vaultd.kek && ls /etc/credstore.encrypted")
    try:
        done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        made = json.loads(lines[0])["key"]
        assert made["made"] and made["file"] == "/etc/credstore.encrypted/vaultd.kek"
        assert made["boundTo"] in ("host", "tpm2", "host+tpm2")
        assert lines[1:] == ["32", "600", "vaultd.kek"]
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)


def test_doctor_says_when_there_is_no_recovery_key(world):
    def finding():
        return next(each for each in world.json("alice", "doctor", code=None)["findings"] if each["check"] == "recovery")
    assert finding()["verdict"] == "warning" and "sudo vaultctl admin init" in finding()["hint"]
    init(world)
    assert finding()["verdict"] == "ok"


def test_vaults_are_shown_without_what_is_in_them(world):
    world.connect("alice")
    facts = admin(world, "vault", "show", "--user", "alice")
    assert facts["vault"]["uid"] == UIDS["alice"] and facts["vault"]["state"] == "active"
    assert (facts["credentials"], facts["accounts"], facts["flows"], facts["needsReconnect"]) == (1, 1, 0, 0)
    assert facts["records"] >= 3 and facts["bytes"] > 500
    assert 0 <= time.time() - facts["keyCreated"] / 1e6 < 120
    assert "notion" not in json.dumps(facts)
    text = world.vaultctl("root", "--socket", str(world.sockets["control"]), "admin", "vault", "show", "--uid", "1001").stdout
    assert "alice (uid 1001)" in text and "Data key of" in text
    assert admin(world, "vault", "show", "--uid", "1002", code=1)["error"] == "io.vaultd.NotFound"


def test_destroyed_vault_is_gone_and_the_next_one_is_empty(world):
    world.connect("alice")
    world.connect("bob")
    before = world.json("alice", "whoami")["vault"]["id"]
    answer = admin(world, "vault", "destroy", "--uid", "1001", code=2)
    assert "--yes" in answer["message"]
    assert world.json("alice", "status")["connections"]
    destroyed = admin(world, "vault", "destroy", "--uid", "1001", "--yes")
    assert destroyed["user"] == "alice" and destroyed["records"] >= 3 and destroyed["erased"]
    assert before.encode() not in database(world)
    after = world.json("alice", "whoami")["vault"]["id"]
    assert after != before
    assert world.json("alice", "status")["connections"] == []
    assert world.json("bob", "status")["connections"][0]["account"]["name"] == "bob@notion.test"
    assert "vault destroyed: alice, uid 1001" in world.log("vaultd")
    assert admin(world, "vault", "destroy", "--uid", "1003", "--yes", code=1)["error"] == "io.vaultd.NotFound"
    # Grants stay where they are: nothing was revoked.
    assert world.grants("alice@notion.test")[1] >= 1


def test_name_has_to_be_typed_again_before_a_vault_is_destroyed(world):
    before = world.json("alice", "whoami")["vault"]["id"]

    def destroy(answer):
        master, slave = pty.openpty()
        process = subprocess.Popen(world.command("--socket", str(world.sockets["control"]), "admin", "vault", "destroy", "--uid", "1001"),
                                   stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=world.environment())
        os.close(slave)
        shown, deadline = b"", time.monotonic() + 30
        while b"type the name again" not in shown:
            assert select.select([master], [], [], max(0, deadline - time.monotonic()))[0], shown
            shown += os.read(master, 4096)
        os.write(master, answer + b"\n")
        code = process.wait(30)
        os.close(master)
        assert b"alice" in shown and b"Nothing is revoked" in shown
        return code
    assert destroy(b"bob") == 1 and destroy(b"") == 1 and destroy(b"1001") == 1
    assert world.json("alice", "whoami")["vault"]["id"] == before
    assert destroy(b"alice") == 0
    assert world.json("alice", "whoami")["vault"]["id"] != before


def test_everything_works_on_with_a_new_key(world):
    world.connect("alice")
    terminal, page = world.park("bob")
    terminal.hear()
    old_key, old_store = world.kek.read_bytes(), database(world)
    plan = rekey(world, "--dry-run")
    assert plan["vaults"] == 2 and plan["damaged"] == [] and plan["rekey"] == "none"
    assert world.kek.read_bytes() == old_key and database(world)[:4096] == old_store[:4096]
    recovery = init(world)["recovery"]
    done = rekey(world)
    assert done["total"] == 2 and done["erased"]
    assert world.kek.read_bytes() != old_key and len(world.kek.read_bytes()) == 32
    assert world.kek.stat().st_uid == UIDS["vaultd"] and world.kek.stat().st_mode & 0o777 == 0o600
    assert not (world.root / "kek.new").exists()
    assert world.json("alice", "session", "start", "--yes")["session"]["vaultIds"]
    # A code that was shown before is still good.
    terminal.say(page["ids"]["claim-code"])
    assert terminal.hear()["state"] == "connected"
    world.restart_vaultd()
    assert world.json("alice", "status")["connections"][0]["account"]["name"] == "alice@notion.test"
    assert world.json("bob", "status")["connections"][0]["account"]["name"] == "bob@notion.test"
    assert init(world)["recovery"] == {"created": recovery["created"]}
    # The key never went through a log, and the old one is of no use.
    world.stop_vaultd()
    new_key = world.kek.read_bytes()
    assert new_key.hex() not in world.log("vaultd")
    for key in (old_key, new_key):
        assert key not in database(world)
    world.kek.write_bytes(old_key)
    process = world.start_vaultd(wait=False)
    assert process.wait(20) != 0
    assert "made with another one, or rekeyed since" in world.log("vaultd")
    world.kek.write_bytes(new_key)
    world.start_vaultd()


def test_damage_is_found_before_anything_is_changed(world):
    world.connect("alice")
    world.stop_vaultd()
    # Without LMDB's help: a byte of alice's credential record, wherever the file has a copy of it.
    file = world.root / "state/vaultd.mdb"
    data, name = bytearray(file.read_bytes()), b"c" + UIDS["alice"].to_bytes(4, "big") + b"notion/default"
    at, n = -1, 0
    while (at := data.find(name, at + 1)) >= 0:
        data[at + len(name) + 60] ^= 1
        n += 1
    assert n > 0
    file.write_bytes(data)
    key = world.kek.read_bytes()
    world.start_vaultd()
    for arguments in (("--dry-run",), ()):
        answer = rekey(world, *arguments, code=1)
        assert "nothing was changed" in answer["message"] and "uid 1001" in answer["message"]
    assert world.kek.read_bytes() == key and not (world.root / "kek.new").exists()
    # What does not open can be destroyed, and then keys can be changed.
    admin(world, "vault", "destroy", "--uid", "1001", "--yes")
    assert rekey(world)["total"] == 0


def test_rekeying_goes_on_beside_calls(world):
    """Calls of others are answered while keys change, and none is refused for it."""
    world.connect("alice")
    stop, failures, n = threading.Event(), [], [0]

    def ask(user):
        while not stop.is_set():
            done = world.vaultctl(user, "--json", "status")
            n[0] += 1
            if done.returncode != 0:
                failures.append((user, done.stdout, done.stderr))
    threads = [threading.Thread(target=ask, args=(user,)) for user in ("alice", "bob", "carol")]
    for thread in threads:
        thread.start()
    for _ in range(5):
        rekey(world)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures and n[0] > 5
    assert world.json("alice", "session", "start", "--yes")["session"]["vaultIds"]


def test_core_and_memory_are_closed(world):
    """T16: no core, nobody of the same uid attaches, and long-lived secrets are locked."""
    pid = world.vaultd_process.pid
    probe = subprocess.run(["/usr/bin/python3", "-c", f"open('/proc/{pid}/mem', 'rb')"], capture_output=True, text=True,
                           user=UIDS["vaultd"], group=UIDS["vaultd"], extra_groups=[])
    assert "PermissionError" in probe.stderr
    assert os.stat(f"/proc/{pid}/mem").st_uid == 0          # not dumpable: its files in /proc are root's
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    locked = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmLck:"))
    # Address Sanitizer has an mlock() of its own that does nothing.
    assert locked >= 1024 or "libasan" in pathlib.Path(f"/proc/{pid}/maps").read_text()
    world.vaultd_process.send_signal(signal.SIGABRT)
    world.vaultd_process.wait(20)
    assert not list(pathlib.Path.cwd().glob("core*"))
