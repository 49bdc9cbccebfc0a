# SPDX-License-Identifier: LGPL-2.1-or-later
"""The leaver check (V10, T24): who is locked because the account is gone, and who is not although it seems so."""

import contextlib
import json
import pathlib
import subprocess
import time

from world import UIDS, World, wait_for

PASSWD = pathlib.Path("/etc/passwd")        # a bind mount of this test process's own: written in place, never renamed
CROWD = {f"person{i}": 2001 + i for i in range(12)}


@contextlib.contextmanager
def accounts(change):
    """/etc/passwd after change(lines) for a while."""
    before = PASSWD.read_text()
    PASSWD.write_text("\n".join(change(before.splitlines())) + "\n")
    try:
        yield
    finally:
        PASSWD.write_text(before)


def without(*users):
    return accounts(lambda lines: [line for line in lines if line.split(":")[0] not in users])


def vaults(world):
    return {each["user"]: each for each in world.caller("root", "control").reply("io.vaultd.Admin.Users")["parameters"]["vaults"]}


def host(seconds):
    return World(settings=f"[Vaults]\nLeaverCheck={seconds}s\n", platform=False)


def test_an_account_that_is_gone_twice_in_a_row_locks_its_vault_and_no_other():
    with host(1) as world:
        world.connect("alice")
        world.json("bob", "whoami")
        with without("alice"):
            wait_for(lambda: vaults(world)["alice"]["state"] == "locked", 20, "the vault was not locked")
            assert vaults(world)["alice"]["reason"] == "the account is gone" and vaults(world)["bob"]["state"] == "active"
            # Nothing is erased or revoked, and one lock is one record.
            assert world.grants("alice@notion.test") == (1, 1)
            time.sleep(2.5)
            assert sum("vault locked: alice" in line for line in world.log("vaultd").splitlines()) == 1
        refused = world.json("alice", "status", code=4)
        assert (refused["error"], refused["state"]) == ("io.vaultd.VaultClosed", "locked") and "the account is gone" in refused["message"]
        # Who comes back is let in by an administrator, also after a restart, and stays in.
        world.restart_vaultd()
        assert world.json("alice", "status", code=4)["error"] == "io.vaultd.VaultClosed"
        world.caller("root", "control").reply("io.vaultd.Admin.Unlock", {"user": "alice"})
        time.sleep(2.5)
        assert [each["account"]["name"] for each in world.json("alice", "status")["connections"]] == ["alice@notion.test"]


def test_one_answer_locks_nobody():
    """Less than a period gone each time: no two walks after each other can have seen it."""
    with host(3) as world:
        world.json("alice", "whoami")
        for _ in range(3):
            with without("alice"):
                time.sleep(2.7)
            time.sleep(4.5)
        assert vaults(world)["alice"]["state"] == "active"


def test_hardly_anybody_known_at_once_is_not_believed():
    def with_crowd(lines):
        return lines + [f"{name}:x:{uid}:{uid}::/nonexistent:/bin/sh" for name, uid in CROWD.items()]

    UIDS.update(CROWD)
    with accounts(with_crowd), host(1) as world:
        for user in ("alice", *CROWD):
            assert world.caller(user).reply("io.vaultd.WhoAmI")["parameters"]["user"] == user
        with without("alice", *CROWD):
            wait_for(lambda: "is not believed" in world.log("vaultd"), 20, "nothing was said")
            time.sleep(2)
            assert {each["state"] for each in vaults(world).values()} == {"active"}
        # One who is really gone among them is another matter.
        with without("alice"):
            wait_for(lambda: vaults(world)["alice"]["state"] == "locked", 20, "the vault was not locked")


def test_a_uid_under_another_name_is_sealed_without_a_call_of_its_own():
    with host(1) as world:
        world.json("bob", "whoami")
        with accounts(lambda lines: [line.replace("bob:x:1002:", "robert:x:1002:") for line in lines]):
            wait_for(lambda: vaults(world)["bob"]["state"] == "sealed", 20, "the vault was not sealed")


def test_what_root_read_of_an_account_locks_that_users_vault_alone():
    with host(3600) as world:
        world.json("alice", "whoami")
        tell = lambda **parameters: world.caller("root", "control").reply("io.vaultd.Admin.AccountClosed", parameters)     # noqa: E731
        assert tell(uid=1001, user="alicia", how="locked")["parameters"] == {"locked": False}
        assert tell(uid=1003, user="carol", how="locked")["parameters"] == {"locked": False}
        assert tell(uid=1001, user="alice", how="gone")["error"] == "org.varlink.service.InvalidParameter"
        assert vaults(world)["alice"]["state"] == "active"
        assert tell(uid=1001, user="alice", how="expired")["parameters"] == {"locked": True}
        assert "the account has expired" in world.json("alice", "status", code=4)["message"]
        # The first reason stays, and an administrator's own words are not the user's to read.
        assert tell(uid=1001, user="alice", how="locked")["parameters"] == {"locked": False}
        assert vaults(world)["alice"]["reason"] == "the account has expired"
        world.caller("root", "control").reply("io.vaultd.Admin.Lock", {"user": "alice", "reason": "suspected of theft"})
        assert "theft" not in json.dumps(world.json("alice", "status", code=4))


def test_the_program_that_reads_shadow_ends_well_without_anybody_to_name():
    """Its decisions are tried in tests/unit/accounts, with the real tools in tests/system; here only that it talks to nobody in vain."""
    with host(3600) as world:
        from world import BUILD
        done = subprocess.run([BUILD / "daemon/accounts/vaultd-accounts", "--socket", world.sockets["control"]], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "") and "$" not in done.stdout
