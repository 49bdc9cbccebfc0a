# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keys on a real system: encrypted by systemd-creds, handed to vaultd by systemd, changed while it runs."""

import json

KEY = "/etc/credstore.encrypted/vaultd.kek"


def admin(machine, *arguments):
    return json.loads(machine.run(["vaultctl", "--json", "admin", *arguments]).stdout.strip().splitlines()[-1])


def test_keys_are_made_once_and_changed_while_vaultd_runs(fresh):
    fresh.install()
    fresh.add_person("alice", "alice@notion.test")
    vault = fresh.vaultctl("alice", "whoami")["vault"]
    made = admin(fresh, "init")
    assert made["key"]["made"] is False and made["key"]["boundTo"] in ("host", "tpm2", "host+tpm2")
    assert made["recovery"]["key"].startswith("VR1-")
    assert "key" not in admin(fresh, "init")["recovery"]
    before = fresh.path(KEY).read_bytes()
    assert admin(fresh, "rekey")["total"] == 1
    assert fresh.path(KEY).read_bytes() != before and not fresh.path(KEY + ".new").exists()
    assert fresh.path(KEY).stat().st_mode & 0o777 == 0o600
    assert fresh.vaultctl("alice", "whoami")["vault"] == vault
    # The next start is with the new key, and one with the former key is refused.
    fresh.run(["systemctl", "restart", "vaultd.service"])
    assert fresh.vaultctl("alice", "whoami")["vault"] == vault
    after = fresh.path(KEY).read_bytes()
    fresh.path(KEY).write_bytes(before)
    assert fresh.run(["systemctl", "restart", "vaultd.service"], check=False).returncode != 0
    fresh.path(KEY).write_bytes(after)
    fresh.run(["systemctl", "restart", "vaultd.service"])
    assert fresh.vaultctl("alice", "whoami")["vault"] == vault
    assert made["recovery"]["key"] not in fresh.run(["journalctl", "-u", "vaultd", "-o", "export"]).stdout
