# SPDX-License-Identifier: LGPL-2.1-or-later
"""Backup and restore between two machines with keys of their own, and an old database found by the machine's own journal (V9, T8)."""

import json
import shutil
import time

import pytest
from scene import Scene

READERS = "[Server notion]\nTools=notion-get-self notion-search\nTokenReaders=user:alice\n"
DATABASE = "/var/lib/vaultd/vaultd.mdb"


def admin(scene, *arguments, check=True, stdin=None):
    result = scene.run(["vaultctl", "--json", "admin", *arguments], check=check, stdin=stdin)
    return json.loads(result.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def first(stage):
    with Scene(stage) as scene:
        scene.install().start_services().configure()
        scene.write("/etc/vaultd/policy.d/50-notion.conf", READERS)
        scene.run(["systemctl", "restart", "vaultd.service"])
        for user in ("alice", "bob"):
            scene.add_person(user, f"{user}@notion.test")
        scene.connect("alice")
        scene.vaultctl("bob", "status")
        admin(scene, "lock", "--user", "bob", "--reason", "on leave")
        yield scene


@pytest.fixture(scope="module")
def second(stage):
    with Scene(stage) as scene:
        scene.install()
        scene.write("/etc/vaultd/services.d/notion.conf", "[Service]\nName=notion\nTitle=Notion\nUrl=https://127.0.0.1:9442/mcp\n")
        scene.write("/etc/vaultd/policy.d/50-notion.conf", READERS)
        scene.run(["systemctl", "restart", "vaultd.service"])
        yield scene


def facts(scene):
    """All that administrators see of all vaults, without what is about this host alone."""
    shown = {}
    for vault in admin(scene, "users")["vaults"]:
        shown[vault["uid"]] = (vault, admin(scene, "vault", "show", "--uid", str(vault["uid"])))
    return json.dumps(shown, sort_keys=True)


def status(scene):
    return scene.vaultctl("alice", "status")["connections"]


def test_a_second_machine_gets_exactly_the_first_ones_store(first, second):
    key = admin(first, "init", "--new-recovery-key")["recovery"]["key"]
    made = admin(first, "backup", "/root/backup")
    token = first.as_user("alice", "vaultctl token notion").stdout
    copy = second.path("/root/backup")
    shutil.copy(first.path("/root/backup"), copy)
    assert first.path("/etc/credstore.encrypted/vaultd.kek").read_bytes() != second.path("/etc/credstore.encrypted/vaultd.kek").read_bytes()

    began = second.run(["systemctl", "show", "--value", "--property=NRestarts", "vaultd.service"]).stdout
    result = admin(second, "restore", "/root/backup", "--recovery-key-stdin", "--head", made["head"], stdin=key + "\n")
    assert (result["vaults"], result["credentials"], result["needsReconnect"]) == (2, 1, False)
    # The service manager has started it anew, and calls it no failure.
    deadline = time.monotonic() + 15
    states = set()
    while second.run(["systemctl", "show", "--value", "--property=NRestarts", "vaultd.service"]).stdout == began or "active" not in states:
        states.add(second.run(["systemctl", "is-active", "vaultd.service"], check=False).stdout.strip())
        assert time.monotonic() < deadline and "failed" not in states
        time.sleep(0.1)
    # The accounts come from elsewhere (a directory), and may come later than their vaults.
    for user in ("alice", "bob"):
        second.add_person(user, f"{user}@notion.test")
    assert facts(second) == facts(first)
    assert second.as_user("alice", "vaultctl token notion").stdout == token
    refused = second.as_user("bob", "vaultctl --json status", check=False)
    assert json.loads(refused.stdout)["state"] == "locked"
    assert key not in second.run(["journalctl", "--no-pager", "--output=export"]).stdout
    assert token.strip() not in second.run(["journalctl", "--no-pager", "--output=export"]).stdout


def put_back(scene, how):
    """The database of before the lock takes the place of the one with it; vaultd is started again in that way."""
    scene.run(["systemctl", "stop", "vaultd.socket", "vaultd.service"])
    scene.run(["cp", "-p", DATABASE, "/root/old.mdb"])
    scene.run(["systemctl", "start", "vaultd.socket"])
    admin(scene, "lock", "--user", "alice", "--reason", "lost laptop")
    time.sleep(1.5)     # the line comes once a second
    if how == "crash":
        scene.run(["sh", "-c", f"cp -p /root/old.mdb {DATABASE}.x && mv {DATABASE}.x {DATABASE} && systemctl kill --signal=KILL vaultd.service"])
        time.sleep(1)
    else:
        scene.run(["systemctl", "stop", "vaultd.socket", "vaultd.service"])
        scene.run(["cp", "-p", "/root/old.mdb", DATABASE])
        scene.run(["systemctl", "start", "vaultd.socket"])


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_an_old_database_that_is_put_back_is_found_at_the_start(first, how):
    put_back(first, how)
    refused = first.as_user("alice", "vaultctl --json status", check=False)
    assert refused.returncode == 4 and json.loads(refused.stdout)["state"] == "behind", refused.stdout
    findings = json.loads(first.as_user("alice", "vaultctl --json doctor", check=False).stdout)["findings"]
    assert ["fault"] == [each["verdict"] for each in findings if each["check"] == "history"]
    lines = first.run(["journalctl", "--no-pager", "--output=cat", "MESSAGE_ID=1a4f387abec94be0ab032fb5367eb36c"]).stdout
    assert "vaultctl admin accept-store" in lines
    assert admin(first, "accept-store")["credentials"] in (0, 1)
    time.sleep(1)
    assert [each["state"] for each in admin(first, "users")["vaults"] if each["user"] == "alice"] == ["active"]
    assert status(first) is not None
    first.run(["systemctl", "restart", "vaultd.service"])
    assert status(first) is not None


def test_a_line_that_somebody_else_logs_is_not_believed(first):
    """A message id is anybody's; the unit that wrote it is the journal's own word."""
    line = "MESSAGE=x\nMESSAGE_ID=4100a212d16543c69e3a293222cf6b48\nVAULTD_CHAIN=999999999 " + "ab" * 32 + "\n_SYSTEMD_UNIT=vaultd.service\n"
    first.as_user("alice", "logger --journald", stdin=line)
    first.run(["sh", "-c", "logger --journald"], stdin=line)
    first.run(["systemctl", "restart", "vaultd.service"])
    head = first.run(["cat", "/run/vaultd/journal-head"]).stdout
    assert head and not head.startswith("999999999")
    assert status(first) is not None


def test_asking_the_journal_takes_no_time_that_anybody_notices(first):
    first.run(["systemctl", "restart", "vaultd-journal-head.service"])
    usec = [int(first.run(["systemctl", "show", "--value", f"--property={name}TimestampMonotonic", "vaultd-journal-head.service"]).stdout)
            for name in ("ExecMainStart", "ExecMainExit")]
    assert 0 < usec[1] - usec[0] < 1_000_000
    first.run(["systemd-analyze", "security", "--no-pager", "--threshold=15", "vaultd-journal-head.service"])
