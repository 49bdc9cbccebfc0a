# SPDX-License-Identifier: LGPL-2.1-or-later
"""Nobody reaches another's things by naming them (I1, I9, T12; requirement M5: forbidden answers like missing).

For every method that introspection lists at any door there is a row here that says where an id can go. Bob calls each
with every id of alice's; the answer must be, byte for byte, the one for an id that nobody has, and alice's records
must be as before. A method without a row fails the test, so a new one cannot be forgotten.
"""

import json
import re
import secrets
import string

import pytest
from world import World

DOORS = ("public", "control", "web")

# Method → parameter sets; "ID" marks where an id goes.
ROWS = {
    "org.varlink.service.GetInfo": [{}],
    "org.varlink.service.GetInterfaceDescription": [{"interface": "ID"}],
    "io.vaultd.WhoAmI": [{}],
    "io.vaultd.Status": [{}],
    "io.vaultd.Services": [{}],
    "io.vaultd.Doctor": [{}],
    "io.vaultd.Connect.Start": [{"service": "ID"}, {"service": "notion", "label": "ID"}],
    "io.vaultd.Connect.Paste": [{"flow": "ID", "redirectUrl": "http://127.0.0.1/callback/x?code=c&state=s"}, {"flow": "ID", "redirectUrl": "ID"}],
    "io.vaultd.Connect.Claim": [{"code": "ID"}, {"flow": "ID", "code": "ID"}, {"flow": "ID", "code": "AAAA-AAAA"}, {"flow": "ID", "account": "ID"}, {"account": "ID"}, {"code": "ID", "account": "ID"},
                                {"flow": "ID", "account": "alice@notion.test"}],
    "io.vaultd.Connect.Cancel": [{"flow": "ID"}],
    "io.vaultd.Connect.Identify": [{"service": "ID", "token": "t"}, {"service": "value", "token": "ID"}],
    "io.vaultd.Connect.Keep": [{"service": "ID", "token": "t"}, {"service": "value", "token": "ID"}, {"service": "value", "label": "ID", "token": "t", "account": "nobody"},
                               {"service": "value", "token": "t", "account": "ID"}],
    "io.vaultd.Connect.Check": [{}, {"service": "ID"}, {"service": "notion", "label": "ID"}, {"service": "notion", "tool": "ID"}],
    "io.vaultd.Connect.Disconnect": [{"service": "ID"}, {"service": "notion", "label": "ID"}],
    "io.vaultd.Token.Read": [{"service": "ID"}, {"service": "notion", "label": "ID"}, {"service": "notion"}],
    "io.vaultd.Page.Open": [{}, {"withCode": True}],
    "io.vaultd.Page.End": [{}],
    "io.vaultd.Page.Confirm": [{"code": "ID"}],
    "io.vaultd.Session.Plan": [{"servers": ["ID"]}, {"servers": ["notion:ID"]}],
    "io.vaultd.Session.Start": [{"servers": ["ID"], "plan": "ID"}, {"servers": ["notion"], "plan": "ID"}, {"plan": "ID"}],
    "io.vaultd.Session.List": [{}],
    "io.vaultd.Session.Show": [{"id": "ID"}],
    # Behind doors that bob cannot open: the kernel answers for every id alike.
    "io.vaultd.Login.Open": [{"uid": 1001, "user": "alice", "service": "ID", "leader": 1}],
    "io.vaultd.Login.Close": [{"session": "ID"}],
    "io.vaultd.Admin.Users": [{}, {"from": 1001}],
    "io.vaultd.Admin.Lock": [{"uid": 1001}, {"user": "ID"}, {"uid": 1001, "reason": "ID"}],
    "io.vaultd.Admin.Unlock": [{"uid": 1001}, {"user": "ID"}],
    "io.vaultd.Admin.Unseal": [{"uid": 1001, "way": "new"}, {"user": "ID"}],
    "io.vaultd.Admin.Revoke": [{"uid": 1001}, {"user": "ID"}, {"uid": 1001, "service": "notion"}],
    "io.vaultd.Admin.AccountClosed": [{"uid": 1001, "user": "alice", "how": "locked"}],
    "io.vaultd.Admin.ShowVault": [{"uid": 1001}, {"user": "ID"}],
    "io.vaultd.Admin.DestroyVault": [{"uid": 1001}, {"user": "ID"}, {"uid": 1001, "setAside": True}],
    "io.vaultd.Admin.NewRecoveryKey": [{}, {"replace": False}],
    "io.vaultd.Admin.CheckRecords": [{}],
    "io.vaultd.Admin.PrepareRekey": [{"key": "ID"}],
    "io.vaultd.Admin.Rekey": [{}, {"id": "ID"}],
    "io.vaultd.Store.Backup": [{}],
    "io.vaultd.Store.Restore": [{"replace": True}, {"head": "ID"}],
    "io.vaultd.Store.Accept": [{}],
    "io.vaultd.Web.Page": [{"ticket": "ID"}],
    "io.vaultd.Web.Continue": [{"ticket": "ID"}],
    "io.vaultd.Web.Callback": [{"path": "ID", "state": "ID", "code": "c"}],
    "io.vaultd.Web.Invitation": [{"ticket": "ID"}],
    "io.vaultd.Web.Enter": [{"ticket": "ID"}, {"ticket": "ID", "code": "ID", "former": "ID"}],
    "io.vaultd.Web.Services": [{"visit": "ID"}],
    "io.vaultd.Web.Begin": [{"visit": "ID", "form": "ID", "service": "notion"}],
    "io.vaultd.Web.Offer": [{"visit": "ID", "form": "ID", "service": "notion", "label": "ID"}],
    "io.vaultd.Web.Leave": [{"visit": "ID", "form": "ID"}],
}

OPENERS = {"public": "bob", "control": "root", "web": "vaultd-web"}


def listed_methods(world):
    methods = {}
    for door in DOORS:
        caller = world.caller(OPENERS[door], door)
        for interface in caller.reply("org.varlink.service.GetInfo")["parameters"]["interfaces"]:
            text = caller.reply("org.varlink.service.GetInterfaceDescription", {"interface": interface})["parameters"]["description"]
            for name in re.findall(r"^method (\w+)", text, re.MULTILINE):
                methods.setdefault(f"{interface}.{name}", door)
    return methods


def random_like(text):
    """An id of the same shape, character class by character class, that nobody has."""
    classes = (string.digits, "abcdef", string.ascii_lowercase, string.ascii_uppercase)
    return "".join(next((secrets.choice(kind) for kind in classes if character in kind), character) for character in text)


def fill(parameters, value):
    return json.loads(json.dumps(parameters).replace('"ID"', json.dumps(value)))


# What is new in each answer to Start, whoever asks: bob may use any label, also one that is an id of alice's.
FRESH = re.compile(rb'"(flow|link)":"[^"]*"|"expires":\d+')


def answer(caller, method, parameters, value):
    reply = caller(method, fill(parameters, value))
    # What bob himself said may stand in an error; what he did not say may not.
    reply = reply.replace(json.dumps(value)[1:-1].encode(), b"ID")
    return FRESH.sub(b"fresh", reply) if method.endswith(".Start") else reply


def possessions(world):
    status = world.json("alice", "status")
    for login in status["logins"]:
        login.pop("opened", None)
    return json.dumps({"status": status, "sessions": world.json("alice", "session", "list"), "grants": world.grants("alice@notion.test")}, sort_keys=True)


@pytest.fixture(scope="module")
def rich():
    """Alice has one of everything: a vault, a credential, a login, sessions, flows in each state that waits."""
    with World() as world:
        world.add_service("value", "[Service]\nName=value\nTitle=Value\nAuth=environment\nVariable=VALUE\nAllowedHosts=value.test\n")
        # One link to a service is out at a time.
        for name in ("waiting", "pasted"):
            world.add_service(name, f"[Service]\nName={name}\nTitle=Notion\nUrl={world.stack.url}\nAccountTool=notion-get-self\nAccountIdField=id\nAccountNameField=email\n")
        world.configure(policy="[Server notion]\nTools=notion-get-self notion-search\nTokenReaders=user:alice user:bob\n")
        world.restart_vaultd()
        world.connect("alice")
        session = world.json("alice", "session", "start", "--yes", "--server", "notion")["session"]
        login = world.caller("root", "control").reply("io.vaultd.Login.Open", {
            "uid": 1001, "user": "alice", "service": "sshd", "leader": world.web_process.pid})["parameters"]["session"]
        pending = world.caller("alice").reply("io.vaultd.Connect.Start", {"service": "waiting"})["parameters"]
        pasted = world.caller("alice").reply("io.vaultd.Connect.Start", {"service": "pasted", "way": "paste"})["parameters"]
        terminal, page = world.park("alice", None, "--as", "parked")
        parked = terminal.hear()
        terminal.kill()
        world.ids = {
            "vault": world.json("alice", "whoami")["vault"]["id"],
            "account": world.json("alice", "status")["connections"][0]["account"]["id"],
            "session": session["id"],
            "platform-vault": session["vaultIds"][0],
            "agent": session["agent"],
            "environment": session["environment"],
            "login": login,
            "pending-flow": pending["flow"],
            "pending-ticket": pending["link"].rsplit("/", 1)[1],
            "pasted-flow": pasted["flow"],
            "parked-flow": parked["flow"],
            "token": world.json("alice", "token", "notion")["token"],
            "claim-code": page["ids"]["claim-code"],
            "plan": world.json("alice", "session", "start", "--yes", "--server", "notion")["session"]["id"],
        }
        world.ids["plan-digest"] = world.caller("alice").reply("io.vaultd.Session.Plan", {"servers": ["notion"]})["parameters"]["digest"]
        yield world


def test_every_listed_method_has_a_row(rich):
    assert set(listed_methods(rich)) == set(ROWS)


def test_methods_that_name_a_uid_are_behind_the_root_door_alone(rich):
    methods = listed_methods(rich)
    for method, door in methods.items():
        if any("uid" in parameters for parameters in ROWS[method]):
            assert door == "control", method


@pytest.mark.parametrize("method", sorted(ROWS))
def test_another_users_id_is_answered_like_a_random_one(rich, method):
    door = listed_methods(rich)[method]
    bob = rich.caller("bob", door)
    before = possessions(rich)
    for parameters in ROWS[method]:
        if "ID" not in json.dumps(parameters):
            reply = bob(method, parameters)
            for kind, value in rich.ids.items():
                assert value.encode() not in reply, (kind, "of alice stands in bob's answer")
            assert door == "public" or reply == b"", "bob came through a door that is not his"
            continue
        for kind, value in rich.ids.items():
            mine, other = answer(bob, method, parameters, value), answer(bob, method, parameters, random_like(value))
            assert mine == other, (kind, parameters, mine, other)
    assert possessions(rich) == before


def test_alice_can_still_finish_what_bob_poked_at(rich):
    """Runs last: bob's wrong claims used up none of alice's tries."""
    connected = rich.claim("alice", rich.ids["claim-code"])
    assert connected["label"] == "parked" and connected["account"]["name"] == "alice@notion.test"
