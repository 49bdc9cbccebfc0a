# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tokens that a service hands out by hand, and values of environment variables (V4, V5, V8): from standard input to the platform.

A real access token of the provider stands for one that was made by hand: the MCP server takes it like any bearer.
"""

import json
import os
import pty
import secrets
import select
import subprocess
import time

import pytest
from logins import Login
from world import Caller, World, as_user, wait_for

VALUE = "ghp_" + "0123456789abcdefXYZ" * 2
POLICY = "[Server notion]\nTools=notion-get-self\nTokenReaders=user:alice user:bob\n[Server notes]\nTools=notion-get-self\nTokenReaders=user:alice\n" \
         "[Server gh]\nTokenReaders=user:alice\n"


def bearer_profile(world, custody="auto"):
    return (f"[Service]\nName=notes\nTitle=Notes\nUrl={world.stack.url}\nAuth=bearer\nCustody={custody}\nAccountTool=notion-get-self\n"
            "AccountIdField=id\nAccountNameField=email\n")


def variable_profile(custody="auto"):
    return (f"[Service]\nName=gh\nTitle=GitHub\nAuth=environment\nVariable=GH_TOKEN\nAllowedHosts=api.github.test *.uploads.github.test\n"
            f"Custody={custody}\n")


@pytest.fixture(params=["auto"])
def tokens(request):
    """A world with a bearer service and a variable, and a token of each user."""
    with World() as world:
        world.add_service("notes", bearer_profile(world, request.param))
        world.add_service("gh", variable_profile(request.param))
        world.configure(policy=POLICY)
        world.restart_vaultd()
        world.tokens = {}
        for user in ("alice", "bob"):
            world.connect(user)
            world.tokens[user] = world.vaultctl(user, "token", "notion").stdout.strip()
            assert len(world.tokens[user]) > 16
        yield world


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def keep(world, user, token, *options, service="notes", code=0):
    done = world.vaultctl(user, "--json", "connect", service, "--token-stdin", *options, stdin=token + "\n")
    assert done.returncode == code, (done.stdout, done.stderr, world.log("vaultd")[-3000:])
    return lines(done)


def active(world):
    """The active credentials of alice's vault at the platform."""
    [vault] = [vault for vault in world.platform_all("/v1/vaults")]
    return [c for c in world.ask_platform(f"/v1/vaults/{vault['id']}/credentials?limit=100")["data"] if not c["archived_at"]]


def test_account_is_asked_of_the_service_and_shown_before_it_is_kept(tokens):
    world = tokens
    identified, connected = keep(world, "alice", world.tokens["alice"], "--yes")
    assert identified["state"] == "identified" and identified["account"]["name"] == "alice@notion.test" and identified["kind"] == "bearer"
    assert connected["state"] == "connected" and connected["account"] == identified["account"] and connected["custody"] == "mirror"
    [notes] = [c for c in world.json("alice", "status")["connections"] if c["service"] == "notes"]
    assert (notes["kind"], notes["state"], notes["account"]) == ("bearer", "active", identified["account"]) and "expires" not in notes
    assert world.vaultctl("alice", "token", "notes").stdout == world.tokens["alice"] + "\n"
    # Nothing of it is bob's, and nothing of it is written anywhere.
    assert [c["service"] for c in world.json("bob", "status")["connections"]] == ["notion"]
    for log in ("vaultd", "web"):
        assert world.tokens["alice"] not in world.log(log)


def test_without_a_terminal_the_account_is_named_beforehand(tokens):
    world = tokens
    alice = keep(world, "alice", world.tokens["alice"], "--yes")[0]["account"]["id"]
    world.json("alice", "disconnect", "notes")
    refused = world.vaultctl("alice", "connect", "notes", "--token-stdin", stdin=world.tokens["alice"])
    assert refused.returncode == 2 and "--account ID" in refused.stderr
    [_, fault] = keep(world, "alice", world.tokens["alice"], "--account", "somebody-else", code=1)
    assert fault["error"] == "io.vaultd.client.OtherAccount"
    assert [c["service"] for c in world.json("alice", "status")["connections"]] == ["notion"]
    assert keep(world, "alice", world.tokens["alice"], "--account", alice)[-1]["state"] == "connected"


def test_account_is_pinned_like_that_of_a_grant(tokens):
    world = tokens
    keep(world, "alice", world.tokens["alice"], "--yes")
    fault = keep(world, "alice", world.tokens["bob"], "--yes", code=1)[-1]
    assert fault["error"] == "io.vaultd.AccountChanged" and fault["pinned"] == "alice@notion.test" and fault["hint"] == "Run: vaultctl connect notes --replace-account --token-stdin"
    assert world.vaultctl("alice", "token", "notes").stdout.strip() == world.tokens["alice"]
    # The pin outlives the connection, and another label has its own.
    world.json("alice", "disconnect", "notes")
    assert keep(world, "alice", world.tokens["bob"], "--yes", code=1)[-1]["error"] == "io.vaultd.AccountChanged"
    assert keep(world, "alice", world.tokens["bob"], "--yes", "--as", "other")[-1]["label"] == "other"
    assert keep(world, "alice", world.tokens["bob"], "--yes", "--replace-account")[-1]["account"]["name"] == "bob@notion.test"


def test_yes_to_another_account_than_the_services_keeps_nothing(tokens):
    """The second call is asked for again: a yes to what was not said is no yes."""
    world = tokens
    for account in ("bob@notion.test", "", None):
        parameters = {"service": "notes", "token": world.tokens["alice"], **({"account": account} if account is not None else {})}
        reply = world.caller("alice").reply("io.vaultd.Connect.Keep", parameters)
        assert reply["error"] == "io.vaultd.FlowFailed", reply
    assert [c["service"] for c in world.json("alice", "status")["connections"]] == ["notion"]


def test_token_that_the_service_refuses_is_not_kept(tokens):
    world = tokens
    fault = keep(world, "alice", "not-a-token-of-anybody", "--yes", code=6)[-1]
    assert fault["error"] == "io.vaultd.UpstreamFailed" and "does not accept the token" in fault["message"] and "not-a-token" not in json.dumps(fault)


def test_what_cannot_be_a_token_is_refused(tokens):
    world = tokens
    for text, word in (("", "No token"), ("\n", "No token"), ("a\x01b", "control"), ("a\nb", "control"), ("a\x7fb", "control"), ("x" * 65537, "64 KiB")):
        done = world.vaultctl("alice", "connect", "notes", "--token-stdin", "--yes", stdin=text)
        assert done.returncode == 1 and word in done.stderr, (text[:10], done.stderr)
    # vaultd does not rely on that.
    for text in ("", "a\x01b", "a b", "a\u00e4b", "a\x7fb", " a", "x" * 65537):
        for method in ("Identify", "Keep"):
            reply = world.caller("alice").reply(f"io.vaultd.Connect.{method}", {"service": "notes", "token": text})
            assert reply["error"] == "org.varlink.service.InvalidParameter" and reply["parameters"] == {"parameter": "token"}, reply
    # A variable's value may have blanks inside.
    assert keep(world, "alice", "two words", "--yes", service="gh")[-1]["state"] == "connected"


def test_each_service_takes_what_its_profile_says(tokens):
    world = tokens
    answer = world.json("alice", "connect", "notes", "--no-browser", code=4)
    assert answer["error"] == "io.vaultd.NotAllowed" and answer["hint"] == "Run: vaultctl connect notes --token-stdin"
    answer = keep(world, "alice", world.tokens["alice"], "--yes", service="notion", code=4)[-1]
    assert answer["error"] == "io.vaultd.NotAllowed" and answer["hint"] == "Run: vaultctl connect notion"


def test_both_ways_where_the_profile_says_both():
    with World(services="Auth=both\n") as world:
        world.configure(policy=POLICY)
        world.restart_vaultd()
        world.connect("alice")
        token = world.vaultctl("alice", "token", "notion").stdout.strip()
        before = world.grants("alice@notion.test")
        assert before[1] == 1
        connected = keep(world, "alice", token, "--yes", service="notion")[-1]
        assert connected["label"] == "default"
        # The grant that was there is revoked: nobody could refresh it any more.
        wait_for(lambda: world.grants("alice@notion.test")[1] == 0, what="the former grant lives on")
        assert world.json("alice", "status")["connections"][0]["kind"] == "bearer"
        world.connect("alice")
        assert world.json("alice", "status")["connections"][0]["kind"] == "oauth"


def test_token_typed_at_a_terminal_is_not_shown(tokens):
    world = tokens
    master, slave = pty.openpty()
    process = subprocess.Popen(world.command("connect", "notes", "--token-stdin"), stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                               env=world.environment(), **as_user("alice"))
    os.close(slave)
    shown = b""

    def until(word, answer):
        nonlocal shown
        deadline = time.monotonic() + 30
        while word not in shown:
            assert select.select([master], [], [], max(0, deadline - time.monotonic()))[0], shown
            shown += os.read(master, 4096)
        os.write(master, answer)

    until(b"it is not shown", world.tokens["alice"].encode() + b"\n")
    until(b"Connect Notes as", b"y\n")
    until(b"is connected as", b"")
    assert process.wait(30) == 0
    os.close(master)
    assert b"alice@notion.test" in shown and world.tokens["alice"].encode() not in shown


def test_bearer_is_pushed_as_one_and_archived_with_the_connection(tokens):
    world = tokens
    world.json("alice", "disconnect", "notion")     # one credential for one address; and its grant was alice's token
    world.connect("bob")
    token = world.vaultctl("bob", "token", "notion").stdout.strip()
    keep(world, "alice", token, "--yes")
    session = world.json("alice", "session", "start", "--yes", "--server", "notes", "--message", "call notes notion-get-self {}")["session"]
    [vault] = [v for v in world.platform_all("/v1/vaults") if v["id"] in session["vaultIds"]]
    there = world.ask_platform(f"/v1/vaults/{vault['id']}/credentials?limit=100")["data"]
    assert [c["auth"] for c in there if not c["archived_at"]] == [{"type": "static_bearer", "mcp_server_url": world.stack.url}]
    wait_for(lambda: ("bob@notion.test", "notion-get-self") in world.mcp_calls()[3:], what="the session did not reach the service")
    # A newer token takes the place of the older one there, too.
    done = world.json("alice", "disconnect", "notes")
    assert done["revoked"] is False and "take this one back there" in done["notice"]
    assert all(c["archived_at"] for c in world.ask_platform(f"/v1/vaults/{vault['id']}/credentials?limit=100&include_archived=true")["data"])


def test_variable_goes_with_its_hosts_and_nowhere_else():
    with World() as world:
        world.add_service("gh", variable_profile())
        world.configure(policy=POLICY)
        world.restart_vaultd()
        identified, connected = keep(world, "alice", VALUE, "--yes", service="gh")
        assert "account" not in identified and connected["account"] == {"id": "", "name": ""}
        read = world.json("alice", "token", "gh")
        assert (read["token"], read["kind"], read["variable"]) == (VALUE, "environment", "GH_TOKEN")
        assert read["allowedHosts"] == ["api.github.test", "*.uploads.github.test"]
        session = world.json("alice", "session", "start", "--yes", "--server", "gh")["session"]
        [credential] = active(world)
        assert credential["auth"] == {"type": "environment_variable", "secret_name": "GH_TOKEN",
                                      "networking": {"type": "limited", "allowed_hosts": ["api.github.test", "*.uploads.github.test"]},
                                      "injection_location": {"header": True, "body": False}}
        # The session's network lets through what the variable is for; there is no server of that name.
        environment = world.ask_platform(f"/v1/environments/{session['environment']}")
        assert environment["config"]["networking"]["allowed_hosts"] == ["*.uploads.github.test", "api.github.test"]
        assert world.ask_platform(f"/v1/sessions/{session['id']}")["agent"]["mcp_servers"] == []
        # A new value is an update in place, of the same credential.
        keep(world, "alice", VALUE + "2", "--yes", service="gh")
        world.json("alice", "session", "start", "--yes", "--server", "gh")
        assert len(active(world)) == 1
        assert VALUE not in world.log("vaultd")


def test_unknown_account_is_not_pretended_and_not_matched():
    with World(platform=False) as world:
        world.add_service("gh", variable_profile())
        world.restart_vaultd()
        fault = keep(world, "alice", VALUE, "--account", "1234", service="gh", code=1)[-1]
        assert fault["error"] == "io.vaultd.client.OtherAccount" and "cannot be asked" in fault["message"]
        done = world.vaultctl("alice", "connect", "gh", "--token-stdin", "--yes", stdin=VALUE)
        assert done.returncode == 0 and "cannot be asked whose token it is" in done.stdout and "GitHub is connected.\n" in done.stdout
        assert "This host keeps this credential" in done.stdout


def test_platform_custody_forgets_the_token_here():
    """V4: one owner. What is gone there is gone, and the user is told so until a new connect."""
    with World(custody="platform") as world:
        world.add_service("gh", variable_profile("platform"))
        world.configure(policy=POLICY)
        world.restart_vaultd()
        assert "The Claude Platform keeps this credential" in keep(world, "alice", VALUE, "--yes", service="gh")[-1]["notice"]
        answer = world.json("alice", "token", "gh", code=4)
        assert "Claude Platform keeps" in answer["message"]
        world.json("alice", "session", "start", "--yes", "--server", "gh")
        [credential] = active(world)
        [vault] = world.platform_all("/v1/vaults")
        world.ask_platform(f"/v1/vaults/{vault['id']}/credentials/{credential['id']}/archive", {}, "POST")
        answer = world.json("alice", "session", "start", "--yes", "--server", "gh", code=3)
        assert answer["error"] == "io.vaultd.NotConnected" and answer["hint"] == "Run: vaultctl connect gh"
        # From now on everybody says so, without asking the platform.
        done = world.vaultctl("alice", "session", "start", "--yes", "--server", "gh")
        assert done.stderr == ("GitHub credentials need to be connected again: it was removed from the Claude Platform, which held it\n"
                               "Run: vaultctl connect gh\n"), done.stderr
        [connection] = world.json("alice", "status")["connections"]
        assert connection["state"] == "needs-reconnect" and "removed" in connection["reason"]
        assert "GitHub credentials need to be connected again" in world.vaultctl("alice", "status").stdout
        keep(world, "alice", VALUE, "--yes", service="gh")
        assert world.json("alice", "status")["connections"][0]["state"] == "active"
        world.json("alice", "session", "start", "--yes", "--server", "gh")


def test_disconnect_of_several_says_which():
    with World(platform=False) as world:
        world.add_service("gh", variable_profile())
        world.restart_vaultd()
        for label in ("home", "work"):
            keep(world, "alice", VALUE, "--yes", "--as", label, service="gh")
        answer = world.json("alice", "disconnect", "gh", code=4)
        assert "2 accounts" in answer["message"] and "--as LABEL" in answer["hint"]
        world.json("alice", "disconnect", "gh", "--as", "home")
        world.json("alice", "disconnect", "gh")
        assert world.json("alice", "status")["connections"] == []
        assert world.json("alice", "disconnect", "gh", code=3)["message"] == "GitHub credentials not configured"


def test_t1_sudo_slips_in_no_token():
    """Bob, in a login of his own, by sudo as alice: he neither learns whose a token is in her name nor gives her one."""
    with World(settings="[Identity]\n", platform=False) as world:
        world.add_service("gh", variable_profile())
        world.restart_vaultd()
        with Login(world, "bob") as bob:
            for method, parameters in (("Identify", {"service": "gh", "token": VALUE}), ("Keep", {"service": "gh", "token": VALUE})):
                message = json.dumps({"method": f"io.vaultd.Connect.{method}", "parameters": parameters}) + "\0"
                _, out, _ = bob.run(["/usr/bin/python3", "-c", Caller.CODE, world.sockets["public"], "30"], "alice", message)
                reply = json.loads(out.rstrip("\0"))
                assert reply["error"] == "io.vaultd.NotAllowed" and "1002" in reply["parameters"]["message"], (method, reply)
        assert world.json("alice", "status")["connections"] == []


def copies_in_memory(pid, needle):
    """Where a process has the bytes, secure memory included; root may look although the process is not dumpable."""
    found = []
    for line in open(f"/proc/{pid}/maps", encoding="utf-8"):
        span, rights, *_, name = line.split()
        begin, end = (int(number, 16) for number in span.split("-"))
        # The database is mapped sparsely, and sealed; a sanitizer's shadow is as large.
        if "r" not in rights or name.startswith("[v") or end - begin > 1 << 32:
            continue
        with open(f"/proc/{pid}/mem", "rb", 0) as memory:
            try:
                memory.seek(begin)
                found += [name] * memory.read(end - begin).count(needle)
            except OSError:
                continue
    return found


def test_t16_no_copy_of_a_token_stays_in_memory():
    """Kept, read and given to the platform: between two calls vaultd has it nowhere, not even where it was read from the socket."""
    with World() as world:
        world.add_service("gh", variable_profile())
        world.configure(policy=POLICY)
        world.restart_vaultd()
        pid, value = world.vaultd_process.pid, "ghp_" + secrets.token_hex(24)
        assert copies_in_memory(pid, b"io.vaultd.Token"), "what is there is not found"
        for command in (("connect", "gh", "--token-stdin", "--yes"), ("token", "gh"), ("session", "start", "--yes", "--server", "gh")):
            world.json("alice", *command, stdin=value)
            assert copies_in_memory(pid, value.encode()) == [], command
