# SPDX-License-Identifier: LGPL-2.1-or-later
"""Consent phishing, played with two users and two browsers through every way in (T14, T33; O4).

Alice begins and sends bob what she was given; bob's browser is signed in at the provider as bob, and he agrees. What becomes of the grant
is asked of the provider itself, by introspection of every token that it gave out.
"""

import time

import pytest
from matching import Watched, agree_and_copy, allow, approve
from world import ACCOUNTS, World, account_id, wait_for

OWN = {user: [account] for user, account in ACCOUNTS.items()}
BOB = "bob@notion.test"
LIFETIME = 6
SHORT = f"[Limits]\nFlowLifetime={LIFETIME}s\n"


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Flows live for seconds, and any account may be connected."""
    with Watched(settings=SHORT, record=tmp_path_factory.mktemp("record") / "tokens") as world:
        yield world


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Root says whose account is whose."""
    with Watched(record=tmp_path_factory.mktemp("record") / "tokens") as world:
        allow(world, OWN)
        yield world


def begin(world, way):
    """Alice's half: (her terminal, what she sends bob)."""
    terminal = world.converse("alice", "connect", "notion", "--no-browser", "--" + way, *(["--yes"] if way != "page" else []))
    return terminal, terminal.hear()


def forwarded(world, link, account):
    """Bob's browser comes to the page through a tunnel that alice made (ssh -L), so its connection is hers to the kernel."""
    return world.browse("alice", link, account)


def assert_nothing_is_left(world, user="alice"):
    status = world.json(user, "status")
    assert status["connections"] == [] and status["flows"] == []


# The victim closes the page

def test_page_that_is_closed_leaves_nothing_active(short):
    terminal, sent = begin(short, "page")
    page = forwarded(short, sent["link"], BOB)
    assert page["ids"]["account"] == BOB and "alice" in page["ids"]["requester"] and "do not give it to anybody" in page["text"]
    assert terminal.hear()["state"] == "quarantined"
    assert len(short.active()) == 2, "the grant was not live, so this proves nothing"
    end = time.monotonic() + LIFETIME
    wait_for(lambda: not short.active(), LIFETIME + 60, "the grant is active a minute after its end")
    print(f"inactive {time.monotonic() - end:+.0f} s after its end")
    wait_for(lambda: not short.json("alice", "status")["flows"], 10, "the flow was not erased")
    assert_nothing_is_left(short)
    assert short.claim("alice", page["ids"]["claim-code"], BOB, want=1)["error"] == "io.vaultd.NotFound"


def test_pasted_grant_that_nobody_agrees_to_leaves_nothing_active(short):
    reply = short.caller("alice").reply("io.vaultd.Connect.Start", {"service": "notion", "way": "paste"})["parameters"]
    address = agree_and_copy(short, reply["authorizationUrl"], BOB)
    assert not short.active(), "nothing is given out for an address that nobody pastes"
    assert short.caller("alice").reply("io.vaultd.Connect.Paste", {"flow": reply["flow"], "redirectUrl": address})["parameters"]["state"] == "quarantined"
    assert len(short.active()) == 2
    wait_for(lambda: not short.active(), LIFETIME + 60, "the grant is active a minute after its end")
    wait_for(lambda: not short.json("alice", "status")["flows"], 10)
    assert_nothing_is_left(short)


def test_terminal_that_is_closed_leaves_nothing_active(short):
    """^C or a lost terminal before the code: the same end."""
    terminal, sent = begin(short, "page")
    forwarded(short, sent["link"], BOB)
    assert terminal.hear()["state"] == "quarantined"
    terminal.kill()
    wait_for(lambda: not short.active(), LIFETIME + 60, "the grant is active a minute after its end")


def test_approved_device_code_that_nobody_agrees_to_leaves_nothing_active(tmp_path):
    """With alice's own account, since any other is refused before there is anything to agree to."""
    with Watched(record=tmp_path / "tokens") as world:
        allow(world, OWN, settings="[Limits]\nFlowLifetime=12s\n")
        terminal = world.converse("alice", "connect", "notion", "--device")
        approve(world, terminal.hear(), ACCOUNTS["alice"], user="alice")
        assert terminal.hear()["state"] == "quarantined"
        terminal.kill()
        assert len(world.active()) == 2
        wait_for(lambda: not world.active(), 12 + 60, "the grant is active a minute after its end")
        wait_for(lambda: not world.json("alice", "status")["flows"], 10)
        assert_nothing_is_left(world)


# The victim's own computer: the kernel knows whose browser it is

def test_browser_of_another_user_of_this_host_is_refused_on_loopback(short):
    terminal, sent = begin(short, "page")
    page = short.browse("bob", sent["link"], BOB)
    assert "claim-code" not in page["ids"] and "another user" in page["text"]
    code, _, _ = terminal.end()
    assert code == 1 and not short.active()
    assert_nothing_is_left(short)


# The victim hands it over

def test_handed_over_code_is_worth_nothing_with_account_match(known):
    """There is no code to hand over: the account is refused before the page could show one."""
    before = len(known.tokens())
    terminal, sent = begin(known, "page")
    page = forwarded(known, sent["link"], BOB)
    assert "claim-code" not in page["ids"] and BOB in page["text"], page
    code, out, _ = terminal.end()
    assert code == 4 and '"io.vaultd.NotAllowed"' in out
    assert len(known.tokens()) == before + 2, "no grant was made, so this proves nothing"
    wait_for(lambda: not known.active(), 15, "what was refused is active")
    assert_nothing_is_left(known)


def test_handed_over_address_is_refused_with_account_match(known):
    before = len(known.tokens())
    terminal, sent = begin(known, "paste")
    terminal.say(agree_and_copy(known, sent["authorizationUrl"], BOB))
    code, out, _ = terminal.end()
    assert code == 4 and BOB in out
    assert len(known.tokens()) == before + 2
    wait_for(lambda: not known.active(), 15)
    assert_nothing_is_left(known)


def test_approved_device_code_is_refused_with_account_match(known):
    before = len(known.tokens())
    terminal, sent = begin(known, "device")
    assert "connected" in approve(known, sent, BOB)["text"]
    code, out, _ = terminal.end()
    assert code == 4 and BOB in out
    assert len(known.tokens()) == before + 2
    wait_for(lambda: not known.active(), 15)
    assert_nothing_is_left(known)


@pytest.mark.parametrize("way", ["page", "paste", "device"])
def test_own_account_comes_in_every_way_with_account_match(known, way):
    """The refusals above are about the account and nothing else."""
    terminal, sent = begin(known, way)
    if way == "page":
        page = known.browse("alice", sent["link"], ACCOUNTS["alice"])
        assert terminal.hear()["state"] == "quarantined"
        terminal.say(page["ids"]["claim-code"])
    elif way == "paste":
        terminal.say(agree_and_copy(known, sent["authorizationUrl"], ACCOUNTS["alice"], user="alice"))
        assert terminal.hear()["state"] == "quarantined"
    else:
        approve(known, sent, ACCOUNTS["alice"], user="alice")
        assert terminal.hear()["state"] == "quarantined"
    assert terminal.hear()["account"]["name"] == ACCOUNTS["alice"] and terminal.end()[0] == 0
    assert known.json("alice", "disconnect", "notion", "--yes")["revoked"]


def test_attackers_account_does_not_get_into_the_victims_vault(known):
    """The other direction: bob begins, and alice agrees in a browser that she lends him, so that he works in her account."""
    terminal = known.converse("bob", "connect", "notion", "--no-browser", "--page")
    page = known.browse("bob", terminal.hear()["link"], ACCOUNTS["alice"])
    assert "claim-code" not in page["ids"]
    assert terminal.end()[0] == 4
    assert_nothing_is_left(known, "bob")


def test_code_for_another_user_opens_nothing(short):
    """What bob reads out to carol is of use to alice alone, who began."""
    terminal, sent = begin(short, "page")
    page = forwarded(short, sent["link"], BOB)
    terminal.hear()
    assert short.claim("carol", page["ids"]["claim-code"], BOB, want=1)["error"] == "io.vaultd.NotFound"
    assert_nothing_is_left(short, "carol")
    terminal.kill()


# What is left without AccountMatch=: the README says the same

@pytest.mark.parametrize("way", ["page", "paste"])
def test_without_account_match_who_is_talked_into_it_gives_the_account_away(way):
    with World() as world:
        terminal, sent = begin(world, way)
        if way == "page":
            page = forwarded(world, sent["link"], BOB)
            terminal.hear()
            terminal.say(page["ids"]["claim-code"])
        else:
            terminal.say(agree_and_copy(world, sent["authorizationUrl"], BOB))
            terminal.hear()
        assert terminal.hear()["account"]["name"] == BOB and terminal.end()[0] == 0
        # It is not hidden: each listing names the account, and the journal has who began.
        assert world.json("alice", "status")["connections"][0]["account"] == {"id": account_id(BOB), "name": BOB}


def test_without_account_match_there_are_no_device_codes(short):
    terminal = short.converse("alice", "connect", "notion", "--device")
    code, out, _ = terminal.end()
    assert code == 4 and "switched off" in out
