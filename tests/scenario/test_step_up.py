# SPDX-License-Identifier: LGPL-2.1-or-later
"""More rights for a connection that has too few, and clients that an authorization server has forgotten.

The world's service asks for the scope `read` alone, so that its writing tool answers 403 with insufficient_scope.
"""

import urllib.parse

import pytest

from world import World, wait_for

POLICY = "[Server notion]\nTools=notion-get-self notion-search notion-create-pages\n"


@pytest.fixture(scope="module")
def narrow():
    with World(services="Scopes=read\n", platform=False) as world:
        world.configure(policy=POLICY)
        world.restart_vaultd()
        yield world


def check(world, user, *options, code=0):
    return world.json(user, "check", "notion", *options, code=code)["results"][0]


def asked_scopes(world, user, **parameters):
    """What a connection begun now asks the provider for; it is given up again."""
    caller = world.caller(user)
    begun = caller.reply("io.vaultd.Connect.Start", {"service": "notion", "way": "paste", **parameters})["parameters"]
    caller.reply("io.vaultd.Connect.Cancel", {"flow": begun["flow"]})
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(begun["authorizationUrl"]).query)
    return query["scope"][0].split()


def connect(world, user, *options):
    terminal, page = world.park(user, None, *options)
    assert terminal.hear()["state"] == "quarantined"
    terminal.say(page["ids"]["claim-code"])
    assert terminal.hear()["state"] == "connected"
    assert terminal.end()[0] == 0


def test_refused_call_names_the_command_that_widens_and_that_command_does(narrow):
    connect(narrow, "alice")
    assert check(narrow, "alice")["verdict"] == "valid" and "hint" not in check(narrow, "alice")
    refused = check(narrow, "alice", "--tool", "notion-create-pages")
    assert refused["verdict"] == "valid" and refused["scope"] == "write"
    assert refused["hint"] == "Run: vaultctl connect notion --scope 'write'", refused

    grants = narrow.grants("alice@notion.test")
    assert grants[1] >= 1, "there is a refresh token, and it does not stand in for a consent"
    connect(narrow, "alice", "--scope", "write")
    widened = check(narrow, "alice", "--tool", "notion-create-pages")
    assert widened["verdict"] == "valid" and "scope" not in widened and "hint" not in widened, widened


def test_check_leaves_no_session_behind(narrow):
    def sessions():
        return narrow.stack.http(narrow.stack.url.rsplit("/", 1)[0] + "/_fixture/sessions").json["open"]

    before = sessions()
    for _ in range(2):
        assert check(narrow, "alice")["verdict"] == "valid"
    assert sessions() == before


def test_step_up_asks_for_what_was_asked_for_before_too(narrow):
    connect(narrow, "bob", "--scope", "write")
    assert asked_scopes(narrow, "bob", scope="openid") == ["read", "offline_access", "openid", "write"]


def test_another_user_is_asked_for_nothing_more(narrow):
    assert "write" not in asked_scopes(narrow, "carol")


def test_without_a_step_up_the_list_that_root_wrote_is_in_force(narrow):
    connect(narrow, "bob", "--scope", "write")
    assert asked_scopes(narrow, "bob") == ["read", "offline_access"]


@pytest.mark.parametrize("scope", ["", "a\"b", "a\\b", "a\nb", "ä", "a" * 1025])
def test_what_is_no_scope_is_not_asked_for(narrow, scope):
    answer = narrow.caller("carol").reply("io.vaultd.Connect.Start", {"service": "notion", "way": "paste", "scope": scope})
    assert answer["error"] == "org.varlink.service.InvalidParameter" and answer["parameters"] == {"parameter": "scope"}


def test_scopes_go_with_a_consent_only(narrow):
    done = narrow.vaultctl("alice", "connect", "notion", "--token-stdin", "--scope", "write", stdin="t\n")
    assert done.returncode == 2 and "--scope" in done.stderr


def registered(world):
    return world.stack.http(world.stack.issuer + "/_fixture/clients").json["registered"]


def test_client_that_the_server_forgot_is_registered_anew(fresh_world):
    """invalid_client at the token endpoint costs one connection, and the next one is another client's."""
    world = fresh_world
    terminal = world.converse("alice", "connect", "notion", "--no-browser")
    link = terminal.hear()["link"]
    redirect = world.browse("alice", link, None, "--stop-at-redirect-to", "http://127.0.0.1")["redirect"]
    assert registered(world) == 1
    world.stack.tamper({"forget_clients": True})
    world.browse("alice", redirect)
    refused = terminal.hear()
    assert "invalid_client" in refused["message"], refused
    terminal.end()
    world.stack.http(world.stack.issuer + "/_fixture/tamper", method="DELETE")

    world.connect("bob")
    assert registered(world) == 1
    world.connect("alice")
    assert registered(world) == 1, "and that client serves everybody"
    wait_for(lambda: world.grants("alice@notion.test")[1] == 1)
