# SPDX-License-Identifier: LGPL-2.1-or-later
"""A uid under another name (T7, I8), what root decides about vaults, and a name service that is away (T13)."""

import json
import re
import time

import pytest
from accounts import PASSWD, hanging_service, name_service, passwd
from world import ACCOUNTS, UIDS, wait_for

DAY = 24 * 3600


@pytest.fixture
def world(fresh_world):
    fresh_world.connect("alice")
    return fresh_world


def admin(world, *arguments, code=0):
    done = world.vaultctl("root", "--json", "--socket", str(world.sockets["control"]), "admin", *arguments)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr, world.log("vaultd")[-2000:])
    return json.loads(done.stdout)


def vaults(world):
    return {vault["uid"]: vault for vault in admin(world, "users")["vaults"]}


def refused(world, state="sealed"):
    """What every use and authority method says to uid 1001."""
    for arguments in (("whoami",), ("status",), ("session", "list"), ("disconnect", "notion", "--yes"), ("connect", "notion")):
        answer = world.json("alice", *arguments, code=4)
        assert (answer["error"], answer["state"]) == ("io.vaultd.VaultClosed", state), answer
        assert "alice" not in answer["message"]


def test_t7_another_name_seals_for_good(world):
    before = world.json("alice", "whoami")["vault"]["id"]
    with passwd() as renamed:
        renamed("alice", "mallory")
        refused(world)
        entry = vaults(world)[UIDS["alice"]]
        assert (entry["id"], entry["user"], entry["state"], entry["present"]) == (before, "alice", "sealed", "mallory")
        assert "mallory" in entry["reason"]
    # The old name is back, over a restart too, and it is still root's turn.
    refused(world)
    world.restart_vaultd()
    refused(world)
    assert "vault sealed: mallory, uid 1001" in world.log("vaultd")
    assert admin(world, "unseal", "--user", "alice")["vault"]["state"] == "active"
    assert world.json("alice", "whoami")["vault"] == {"id": before, "state": "active"}
    assert world.json("alice", "status")["connections"][0]["account"]["name"] == ACCOUNTS["alice"]


def test_t7_a_login_under_another_name_seals(world):
    reply = world.caller("root", "control").reply("io.vaultd.Login.Open", {"uid": 1001, "user": "mallory", "service": "sshd", "leader": world.web_process.pid})
    assert reply["parameters"]["session"]
    refused(world)


def test_t7_neither_lock_nor_unlock_ends_a_seal(world):
    with passwd() as renamed:
        renamed("alice", "mallory")
        refused(world)
        for verb in ("lock", "unlock"):
            answer = admin(world, verb, "--uid", "1001", code=4)
            assert (answer["error"], answer["state"]) == ("io.vaultd.VaultClosed", "sealed"), answer
        refused(world)


def test_unseal_rename_keeps_the_vault(world):
    before = world.json("alice", "whoami")["vault"]["id"]
    with passwd() as renamed:
        renamed("alice", "alicia")
        refused(world)
        answer = admin(world, "unseal", "--uid", "1001", code=4)
        assert "alicia" in answer["message"] and "--rename" in answer["hint"]
        answer = admin(world, "unseal", "--uid", "1001", "--rename")["vault"]
        assert (answer["user"], answer["state"]) == ("alicia", "active")
        assert world.json("alice", "whoami")["vault"] == {"id": before, "state": "active"}
        assert world.json("alice", "status")["connections"][0]["account"]["name"] == ACCOUNTS["alice"]


def test_unseal_new_gives_an_empty_vault_and_destroys_nothing(world):
    before = world.json("alice", "whoami")["vault"]["id"]
    terminal, page = world.park("alice", None, "--as", "parked")
    terminal.hear()
    terminal.kill()
    database = (world.root / "state/vaultd.mdb")
    with passwd() as renamed:
        renamed("alice", "mallory")
        refused(world)
        answer = admin(world, "unseal", "--user", "mallory", "--new")["vault"]
        assert (answer["user"], answer["state"]) == ("mallory", "active") and answer["id"] != before
        status = world.json("alice", "status")
        assert status["vault"]["id"] == answer["id"]
        assert (status["connections"], status["flows"]) == ([], [])
        assert world.json("alice", "session", "list")["sessions"] == []
        # The code that the former owner's browser showed opens nothing for the new one, nor does the pinned account bind her.
        assert world.claim("alice", page["ids"]["claim-code"], want=1)["error"] in ("io.vaultd.NotFound", "io.vaultd.ClaimRejected", "io.vaultd.FlowFailed")
        assert world.connect("alice", ACCOUNTS["carol"])["account"]["name"] == ACCOUNTS["carol"]
    world.stop_vaultd()
    assert before.encode() in database.read_bytes()


def test_lock_closes_and_unlock_opens(world):
    answer = admin(world, "lock", "--user", "alice", "--reason", "on leave")["vault"]
    assert (answer["state"], answer["reason"]) == ("locked", "on leave")
    refused(world, "locked")
    world.restart_vaultd()
    refused(world, "locked")
    assert "on leave" not in world.vaultctl("alice", "whoami").stderr
    wait_for(lambda: "vault locked: alice, uid 1001: on leave" in world.log("vaultd"), 5, "who decides leaves a record")
    assert world.json("bob", "whoami")["vault"]["state"] == "active"
    assert admin(world, "unseal", "--uid", "1001", code=4)["error"] == "io.vaultd.VaultClosed"
    assert admin(world, "unlock", "--uid", "1001")["vault"]["state"] == "active"
    assert world.json("alice", "status")["connections"]


@pytest.mark.parametrize("arguments", [("lock",), ("lock", "--user", "alice", "--uid", "1001"), ("lock", "--uid", "x"), ("lock", "--uid", "4294967295"),
                                       ("unseal", "--uid", "1001", "--new", "--rename")])
def test_admin_wants_one_vault_named_clearly(fresh_world, arguments):
    assert admin(fresh_world, *arguments, code=2)["error"] == "io.vaultd.client.Usage"


def test_admin_refuses_who_is_not_there_and_what_is_not_clear(world):
    assert admin(world, "lock", "--user", "nobody-of-that-name", code=1)["error"] == "io.vaultd.NotFound"
    assert admin(world, "lock", "--uid", "1003", code=1)["error"] == "io.vaultd.NotFound"
    world.json("bob", "whoami")
    with passwd() as renamed:
        # alice's name is bob's now: the account is uid 1002, the vault made for alice is 1001's.
        renamed("alice", "former")
        renamed("bob", "alice")
        answer = admin(world, "lock", "--user", "alice", code=1)
        assert "not clear" in answer["message"]


def test_a_name_that_two_vaults_were_made_for_is_not_clear(world):
    with passwd() as renamed:
        renamed("alice", "former")
        renamed("bob", "alice")
        assert world.json("bob", "whoami")["user"] == "alice"
        assert [vaults(world)[uid]["user"] for uid in (1001, 1002)] == ["alice", "alice"]
        answer = admin(world, "lock", "--user", "alice", code=1)
        assert "not clear" in answer["message"]
        assert {vault["state"] for vault in vaults(world).values()} == {"active"}


@pytest.mark.parametrize("method,parameters,field", [
    ("Lock", {}, "uid"), ("Lock", {"uid": 1001, "user": "alice"}, "uid"), ("Lock", {"uid": -1}, "uid"), ("Lock", {"uid": -2}, "uid"),
    ("Lock", {"uid": 2 ** 32 - 1}, "uid"), ("Lock", {"uid": 2 ** 32 + 1001}, "uid"), ("Lock", {"user": ""}, "user"), ("Unseal", {"uid": 1001, "way": "any"}, "way")])
def test_the_control_socket_wants_one_vault_named_clearly(world, method, parameters, field):
    """Whoever calls without vaultctl."""
    reply = world.caller("root", "control").reply(f"io.vaultd.Admin.{method}", parameters)
    assert reply == {"error": "org.varlink.service.InvalidParameter", "parameters": {"parameter": field}}
    assert vaults(world)[1001]["state"] == "active"


def test_a_control_socket_that_is_open_to_all_still_wants_root(world):
    """The socket's mode is one guard, the peer's uid another."""
    world.sockets["control"].chmod(0o666)
    for method, parameters in (("Admin.Users", {}), ("Admin.Lock", {"uid": 1001}), ("Login.Open", {"uid": 1001, "user": "alice", "service": "sshd", "leader": 1}),
                               ("Login.Close", {"session": "l-0"})):
        reply = world.caller("bob", "control").reply(f"io.vaultd.{method}", parameters)
        assert reply["error"] == "org.varlink.service.PermissionDenied", (method, reply)
    assert world.json("alice", "status")["logins"] == []


def test_admin_is_for_root_alone(world):
    for door in ("public", "control", "web"):
        reply = world.caller("alice", door)("io.vaultd.Admin.Unlock", {"uid": 1001})
        assert reply == b"" or "error" in json.loads(reply)
    reply = world.caller("root").reply("io.vaultd.Admin.Users")
    assert reply["error"] == "org.varlink.service.InterfaceNotFound"


def test_a_user_who_runs_an_admin_command_is_told_to_be_root(world):
    done = world.vaultctl("alice", "--socket", str(world.sockets["control"]), "admin", "users")
    assert (done.returncode, done.stdout) == (4, "")
    assert "is for administrators" in done.stderr and "Run it with sudo, or as root" in done.stderr


def test_an_outage_locks_nobody_out_who_was_known_within_a_day(world):
    with name_service(world.root, "nosuchservice"):
        assert world.json("alice", "status")["connections"]
        world.restart_vaultd()                                           # what is known is not in memory alone
        assert world.json("alice", "whoami")["user"] == "alice"
        world.restart_vaultd({"VAULTD_TEST_CLOCK_OFFSET": str(DAY - 3600)})
        assert world.json("alice", "whoami")["user"] == "alice"
        answer = world.json("bob", "whoami", code=4)                     # was never there before
        assert answer["error"] == "io.vaultd.NotAllowed" and "cannot be asked" in answer["message"]


def test_a_removed_account_is_refused_at_once(world):
    """That it was known a minute ago bridges an outage; here the name service says no."""
    assert world.json("alice", "whoami")["user"] == "alice"
    with passwd():
        PASSWD.write_text(re.sub("^alice:.*\n", "", PASSWD.read_text(), flags=re.MULTILINE))
        for arguments in (("whoami",), ("status",), ("disconnect", "notion", "--yes")):
            answer = world.json("alice", *arguments, code=None)
            assert answer.get("error") == "io.vaultd.NotAllowed" and "no account" in answer["message"], answer
    assert world.json("alice", "status")["connections"]


def test_in_an_outage_a_name_says_no_vault_and_unseals_none(world):
    with name_service(world.root, "nosuchservice"):
        answer = admin(world, "lock", "--user", "alice", code=1)
        assert answer["error"] == "io.vaultd.NotFound" and "cannot be asked" in answer["message"]
    with passwd() as renamed:
        renamed("alice", "mallory")
        refused(world)
    with name_service(world.root, "nosuchservice"):
        for way in ((), ("--rename",), ("--new",)):
            answer = admin(world, "unseal", "--uid", "1001", *way, code=4)
            assert answer["error"] == "io.vaultd.NotAllowed" and "cannot be asked" in answer["message"]
    assert vaults(world)[1001]["state"] == "sealed"


def test_an_outage_of_more_than_a_day_refuses(world):
    world.json("alice", "status")
    with name_service(world.root, "nosuchservice"):
        world.restart_vaultd({"VAULTD_TEST_CLOCK_OFFSET": str(DAY + 3600)})
        answer = world.json("alice", "whoami", code=4)
        assert answer["error"] == "io.vaultd.NotAllowed" and "more than a day" in answer["message"]
    assert world.json("alice", "whoami")["user"] == "alice"


def test_an_outage_renews_nothing(world):
    """Used every few hours during an outage, the day ends all the same."""
    with name_service(world.root, "nosuchservice"):
        for hours in (8, 16, 23):
            world.restart_vaultd({"VAULTD_TEST_CLOCK_OFFSET": str(hours * 3600)})
            assert world.json("alice", "status")["user"] == "alice"
        world.restart_vaultd({"VAULTD_TEST_CLOCK_OFFSET": str(DAY + 3600)})
        assert world.json("alice", "status", code=4)["error"] == "io.vaultd.NotAllowed"


def test_a_sealed_vault_stays_closed_in_an_outage(world):
    with passwd() as renamed:
        renamed("alice", "mallory")
        refused(world)
    with name_service(world.root, "nosuchservice"):
        assert world.json("alice", "status", code=4)["error"] in ("io.vaultd.NotAllowed", "io.vaultd.VaultClosed")


def test_a_name_service_that_hangs_holds_up_nobody(world):
    hang = hanging_service(world.root)
    world.json("bob", "whoami")
    with name_service(world.root, "hang files"):
        world.restart_vaultd({"LD_LIBRARY_PATH": str(world.root)})
        hang.touch()
        try:
            begin = time.monotonic()
            assert world.json("alice", "status")["connections"]
            assert time.monotonic() - begin < 8
            begin = time.monotonic()
            assert world.json("bob", "status")["user"] == "bob"          # does not queue behind it
            assert time.monotonic() - begin < 3
            # Methods that ask no name go on.
            assert world.caller("alice").reply("org.varlink.service.GetInfo")["parameters"]["vendor"] == "vaultd"
        finally:
            hang.unlink()
        wait_for(lambda: world.json("carol", "whoami", code=None).get("user") == "carol", 10, "it does not recover")


def test_vaultd_ends_while_a_name_service_hangs(world):
    hang = hanging_service(world.root)
    with name_service(world.root, "hang files"):
        world.restart_vaultd({"LD_LIBRARY_PATH": str(world.root)})
        hang.touch()
        try:
            assert world.json("alice", "status")["connections"]
            begin = time.monotonic()
            assert world.stop_vaultd() == 0
            assert time.monotonic() - begin < 10
        finally:
            hang.unlink()
