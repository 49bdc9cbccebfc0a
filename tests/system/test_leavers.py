# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who leaves, with the real usermod, chage and userdel of a machine, and the units that notice it (V10, T24)."""

import json
import re
import time

import pytest
from scene import Scene

CHECK_SECONDS = 2


@pytest.fixture(scope="module")
def host(stage):
    """People with passwords and vaults; accounts that are gone are looked for every two seconds."""
    with Scene(stage) as scene:
        scene.install()
        scene.write("/etc/vaultd/vaultd.conf", f"[Vaults]\nLeaverCheck={CHECK_SECONDS}s\n")
        scene.run(["systemctl", "try-restart", "vaultd.service"])
        for user in ("alice", "bob", "carol", "keys"):
            scene.add_person(user, f"{user}@notion.test")
        scene.run(["chpasswd"], stdin="alice:correct-horse\nbob:battery-staple\ncarol:tr0ub4dor\n")
        scene.run(["usermod", "--password", "!", "keys"])
        for user in ("alice", "bob", "carol", "keys"):
            assert scene.vaultctl(user, "whoami")["vault"]["state"] == "active"
        yield scene


def vaults(host):
    answer = json.loads(host.run(["vaultctl", "--json", "admin", "users"]).stdout)
    return {vault["user"]: (vault["state"], vault.get("reason")) for vault in answer["vaults"]}


def wait_for(host, user, state, seconds=15):
    deadline = time.monotonic() + seconds
    while vaults(host)[user] != state:
        assert time.monotonic() < deadline, (user, vaults(host), host.journal("-u", "vaultd-accounts.service", "-u", "vaultd.service"))
        time.sleep(0.2)


def look(host):
    """What the timer does."""
    return host.run(["systemctl", "start", "vaultd-accounts.service"])


def test_usermod_l_locks_the_vault_and_its_user_is_told(host):
    host.run(["usermod", "--lock", "alice"])
    wait_for(host, "alice", ("locked", "the account is locked"))
    # A login by key still works, which is why the vault has to be closed by itself.
    said = host.as_user("alice", "vaultctl status", check=False)
    assert said.returncode == 4 and "the account is locked" in said.stdout + said.stderr, (said.stdout, said.stderr)
    shown = host.run(["vaultctl", "admin", "users"]).stdout
    assert re.search(r"alice +locked .*the account is locked", shown), shown
    # An account that is open again opens no vault: that is the administrator's word.
    host.run(["usermod", "--unlock", "alice"])
    look(host)
    assert vaults(host)["alice"][0] == "locked"
    host.run(["vaultctl", "admin", "unlock", "--user", "alice"])
    look(host)
    assert host.vaultctl("alice", "whoami")["vault"]["state"] == "active"


def test_chage_e_locks_the_vault(host):
    host.run(["chage", "--expiredate", "0", "bob"])
    wait_for(host, "bob", ("locked", "the account has expired"))
    host.run(["chage", "--expiredate", "-1", "bob"])
    host.run(["vaultctl", "admin", "unlock", "--user", "bob"])
    # A day that is to come closes nothing; one that has come does, and nothing need have been written on it.
    host.run(["chage", "--expiredate", time.strftime("%Y-%m-%d", time.gmtime(time.time() + 2 * 86400)), "bob"])
    look(host)
    assert host.vaultctl("bob", "whoami")["vault"]["state"] == "active"
    host.run(["chage", "--expiredate", time.strftime("%Y-%m-%d", time.gmtime()), "bob"])
    wait_for(host, "bob", ("locked", "the account has expired"))


def test_an_account_that_logs_in_by_keys_alone_is_no_leaver(host):
    look(host)
    time.sleep(2 * CHECK_SECONDS)
    assert vaults(host)["keys"] == ("active", None)
    assert host.vaultctl("keys", "whoami")["vault"]["state"] == "active"
    # Locking it changes nothing in shadow; a day of expiry does.
    host.run(["usermod", "--lock", "--expiredate", "1", "keys"])
    wait_for(host, "keys", ("locked", "the account has expired"))


def test_userdel_locks_the_vault_and_who_comes_back_is_let_in_by_root(host):
    uid = host.run(["id", "-u", "carol"]).stdout.strip()
    # userdel wants no process of the user's, and the login just now may have one for a moment.
    host.run(["sh", "-c", "loginctl terminate-user carol; for i in $(seq 100); do pgrep -u carol >/dev/null || break; sleep 0.1; done"], check=False)
    host.run(["userdel", "carol"])
    wait_for(host, "carol", ("locked", "the account is gone"), 30)
    host.run(["useradd", "--uid", uid, "--no-create-home", "--home-dir", "/home/carol", "carol"])
    assert vaults(host)["carol"][0] == "locked"
    host.run(["vaultctl", "admin", "unlock", "--uid", uid])
    time.sleep(3 * CHECK_SECONDS)
    assert vaults(host)["carol"] == ("active", None)


def test_a_name_service_that_fails_locks_nobody(host):
    """What getpwuid says while /etc/passwd cannot be read is an error, and no "there is no such user"."""
    before = vaults(host)
    host.run(["mv", "/etc/nsswitch.conf", "/etc/nsswitch.conf.kept"])
    host.write("/etc/nsswitch.conf", "passwd: no-such-library\ngroup: files\nshadow: files\n")
    try:
        time.sleep(4 * CHECK_SECONDS + 2)
        assert vaults(host) == before
    finally:
        host.run(["mv", "/etc/nsswitch.conf.kept", "/etc/nsswitch.conf"])
    time.sleep(2 * CHECK_SECONDS)
    assert vaults(host) == before


def test_the_units_that_look_are_on_and_nothing_of_shadow_is_logged(host):
    for unit in ("vaultd-accounts.path", "vaultd-accounts.timer"):
        assert host.run(["systemctl", "is-enabled", unit]).stdout.strip() == "enabled"
        assert host.run(["systemctl", "is-active", unit]).stdout.strip() == "active"
    host.run(["systemd-analyze", "verify", "--man=no", "vaultd-accounts.service", "vaultd-accounts.path", "vaultd-accounts.timer"])
    journal = host.journal("-u", "vaultd-accounts.service")
    assert "$y$" not in journal and "The vault of alice was locked." in journal
