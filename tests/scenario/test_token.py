# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reading a token (V6): a right of its own, off for everybody, recorded each time, and never another user's (T16, T20)."""

import json
import subprocess

from world import World, as_user, wait_for

READERS = "[Server notion]\nTools=notion-get-self\nTokenReaders=user:alice user:bob\n"


def account_of(world, token):
    """Whose token it is, past vaultd: the service itself says."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
               "MCP-Protocol-Version": "2025-11-25"}

    def post(message):
        return world.stack.http(world.stack.url, json.dumps({"jsonrpc": "2.0", **message}).encode(), headers)

    hello = post({"id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {},
                                                              "clientInfo": {"name": "test", "version": "1"}}})
    if hello.headers.get("Mcp-Session-Id"):
        headers["Mcp-Session-Id"] = hello.headers["Mcp-Session-Id"]
        post({"method": "notifications/initialized"})
    answer = post({"id": 2, "method": "tools/call", "params": {"name": "notion-get-self", "arguments": {}}})
    return answer.status, next((account for account in ("alice@notion.test", "bob@notion.test", "carol@notion.test") if account in answer.text), None)


def records(world, verdict):
    return [line for line in world.log("vaultd").splitlines() if "token read" in line and verdict in line]


def test_nobody_reads_a_token_unless_policy_names_the_user(fresh_world):
    world = fresh_world
    world.connect("alice")
    done = world.vaultctl("alice", "token", "notion")
    assert (done.returncode, done.stdout) == (4, "") and "TokenReaders=user:alice" in done.stderr, done
    world.configure(policy="[Server notion]\nTokenReaders=user:bob\n")
    world.restart_vaultd()
    assert world.json("alice", "token", "notion", code=4)["error"] == "io.vaultd.NotAllowed"


def test_two_users_of_one_service_each_read_their_own():
    with World() as world:
        world.configure(policy=READERS)
        world.restart_vaultd()
        for user in ("alice", "bob"):
            world.connect(user)
        tokens = {user: world.vaultctl(user, "token", "notion") for user in ("alice", "bob")}
        for user, done in tokens.items():
            assert done.returncode == 0 and done.stdout.count("\n") == 1 and done.stdout.endswith("\n"), done
            assert account_of(world, done.stdout.strip()) == (200, f"{user}@notion.test")
        assert tokens["alice"].stdout != tokens["bob"].stdout
        # At once and in turn on warm and cold names: nobody gets what was read for the other.
        for _ in range(20):
            both = [subprocess.Popen(world.command("token", "notion"), stdout=subprocess.PIPE, text=True, env=world.environment(), **as_user(user))
                    for user in ("alice", "bob", "bob", "alice")]
            got = [process.communicate(timeout=30)[0] for process in both]
            assert got == [tokens[user].stdout for user in ("alice", "bob", "bob", "alice")]
        # Not named: carol, connected or not.
        world.connect("carol")
        assert world.vaultctl("carol", "token", "notion").returncode == 4
        # Not a token of theirs: bob cannot name alice, and another label is just missing.
        assert world.json("bob", "token", "notion:work", code=3)["message"] == "Notion credentials not configured"


def test_each_read_leaves_one_record_and_no_token():
    with World() as world:
        world.configure(policy=READERS)
        world.restart_vaultd()
        world.connect("alice")
        before = len(records(world, "uid 1001"))
        tokens = {world.vaultctl("alice", "token", "notion").stdout.strip() for _ in range(7)}
        wait_for(lambda: len(records(world, "uid 1001")) == before + 7, what="not one record for each read")
        assert all("notion" in line and "alice@notion.test" in line for line in records(world, "uid 1001"))
        [token] = tokens
        assert len(token) > 16 and token not in world.log("vaultd") and token not in world.log("web")
        # The call is not noted a second time by the gate.
        assert "io.vaultd.Token.Read" not in world.log("vaultd") and ", Read," not in world.log("vaultd")
        world.configure(policy="[Server notion]\nTools=notion-get-self\n")
        world.restart_vaultd()
        world.vaultctl("alice", "token", "notion")
        wait_for(lambda: any("may not read tokens" in line for line in records(world, "uid 1001")), what="no record of a refused read")


def test_answer_in_json_says_what_it_is():
    with World() as world:
        world.configure(policy=READERS)
        world.restart_vaultd()
        world.connect("alice")
        answer = world.json("alice", "token", "notion")
        assert answer["kind"] == "oauth" and answer["label"] == "default" and answer["account"]["name"] == "alice@notion.test"
        assert account_of(world, answer["token"]) == (200, "alice@notion.test") and answer["expires"] > 0
        assert "variable" not in answer and "allowedHosts" not in answer


def test_missing_credentials_are_named_with_what_to_do():
    with World() as world:
        world.configure(policy=READERS)
        world.restart_vaultd()
        done = world.vaultctl("alice", "token", "notion")
        assert done.returncode == 3 and done.stdout == ""
        assert done.stderr == "Notion credentials not configured\nRun: vaultctl connect notion\n"
        done = world.vaultctl("alice", "token", "notion:work")
        assert done.stderr == "Notion credentials not configured\nRun: vaultctl connect notion --as work\n"
        assert world.json("alice", "token", "nonsense", code=1)["error"] == "io.vaultd.NoSuchService"


def test_of_several_accounts_the_label_says_which():
    """T19: equal rank is refused by name, for tokens as for sessions; the label picks."""
    with World() as world:
        world.configure(policy=READERS)
        world.restart_vaultd()
        world.connect("alice")
        terminal, page = world.park("alice", "carol@notion.test", "--as", "work")
        terminal.hear()
        terminal.say(page["ids"]["claim-code"])
        assert terminal.hear()["label"] == "work"
        terminal.end()
        answer = world.json("alice", "token", "notion", code=4)
        assert "2 accounts" in answer["message"] and "default, work" in answer["message"] and "notion:LABEL" in answer["hint"]
        for word, account in (("notion:default", "alice@notion.test"), ("notion:work", "carol@notion.test")):
            assert account_of(world, world.vaultctl("alice", "token", word).stdout.strip()) == (200, account)
        assert account_of(world, world.vaultctl("alice", "token", "notion", "--as", "work").stdout.strip())[1] == "carol@notion.test"
        assert world.vaultctl("alice", "token", "notion:work", "--as", "default").returncode == 2
        # A session takes the one that is said, and not both.
        answer = world.json("alice", "session", "start", "--yes", code=4)
        assert "default, work" in answer["message"] and "--server notion:LABEL" in answer["hint"]
        session = world.json("alice", "session", "start", "--yes", "--server", "notion:work")["session"]
        assert session["accounts"] == ["carol@notion.test"]
        assert "not both" in world.json("alice", "session", "start", "--yes", "--server", "notion:work", "--server", "notion:default", code=4)["message"]


def test_what_the_platform_keeps_is_not_read_here():
    with World(custody="platform") as world:
        world.configure(policy=READERS)
        world.restart_vaultd()
        world.connect("alice")
        answer = world.json("alice", "token", "notion", code=4)
        assert answer["error"] == "io.vaultd.NotAllowed" and "Claude Platform keeps" in answer["message"]


def test_locked_vault_gives_no_token():
    with World() as world:
        world.configure(policy=READERS)
        world.restart_vaultd()
        world.connect("alice")
        assert world.vaultctl("alice", "token", "notion").returncode == 0
        assert "error" not in world.caller("root", "control").reply("io.vaultd.Admin.Lock", {"uid": 1001})
        # Right behind a read that was answered at once.
        assert world.json("alice", "token", "notion", code=4)["error"] == "io.vaultd.VaultClosed"
