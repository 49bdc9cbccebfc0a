# SPDX-License-Identifier: LGPL-2.1-or-later
"""install.sh, as an admin uses it: what comes, what goes, what stays."""

KEY = "/etc/credstore.encrypted/vaultd.kek"


def files(machine):
    """Everything below the folders that an installation may write to, user data and caches left out."""
    return set(machine.run(["find", "/usr", "/etc", "-xdev", "-not", "-type", "d", "-printf", "%p %l\\n"]).stdout.splitlines())


def test_uninstall_and_reinstall_keep_every_vault(fresh):
    fresh.install()
    fresh.add_person("alice", "alice@notion.test")
    vault = fresh.vaultctl("alice", "whoami")["vault"]["id"]
    key = fresh.path(KEY).read_bytes()
    fresh.run(["/src/install.sh", "--uninstall", "--yes"])
    assert fresh.as_user("alice", "true").returncode == 0
    fresh.install()
    assert fresh.path(KEY).read_bytes() == key
    assert fresh.vaultctl("alice", "whoami")["vault"]["id"] == vault


def test_uninstall_leaves_nothing_but_state_key_and_users(fresh):
    before = files(fresh)
    fresh.install()
    assert files(fresh) > before
    fresh.run(["/src/install.sh", "--uninstall", "--yes"])
    left = {line.split()[0] for line in files(fresh) - before}
    account_files = {"/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-"}
    assert left - account_files == {KEY}
    assert fresh.run(["systemctl", "list-unit-files", "--no-legend", "vaultd*"], check=False).stdout == ""


def test_upgrade_keeps_the_key_and_the_listeners(fresh):
    fresh.install()
    fresh.add_person("alice", "alice@notion.test")
    vault = fresh.vaultctl("alice", "whoami")["vault"]["id"]
    inode = fresh.run(["stat", "--format", "%i", "/run/vaultd/io.vaultd"]).stdout
    key = fresh.path(KEY).read_bytes()
    fresh.install()
    assert fresh.path(KEY).read_bytes() == key
    assert fresh.run(["stat", "--format", "%i", "/run/vaultd/io.vaultd"]).stdout == inode
    assert fresh.vaultctl("alice", "whoami")["vault"]["id"] == vault


def test_vaults_without_their_key_stop_the_installer(fresh):
    fresh.install()
    fresh.add_person("alice", "alice@notion.test")
    fresh.vaultctl("alice", "whoami")
    fresh.run(["rm", KEY])
    result = fresh.run(["/src/install.sh", "--staged", "/stage", "--yes"], check=False)
    assert result.returncode != 0
    assert KEY in result.stderr
    assert not fresh.path(KEY).exists()


def test_pam_is_changed_only_when_said(fresh):
    before = fresh.path("/etc/pam.d/common-session").read_text()
    fresh.run(["/src/install.sh", "--staged", "/stage", "--no-pam", "--yes"])
    assert fresh.path("/etc/pam.d/common-session").read_text() == before
    fresh.run(["/src/install.sh", "--staged", "/stage"])        # no terminal to ask at, no --yes
    assert fresh.path("/etc/pam.d/common-session").read_text() == before
    fresh.install()
    assert "pam_vaultd.so" in fresh.path("/etc/pam.d/common-session").read_text()
