# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which account may be whose: AccountMatch= by root's file and by the name service, the pin, PasteBack=match (O4, O7; T14, T33).

Whatever cannot be looked up refuses; what was granted for it is given back.
"""

import json
import os
import re

import pytest
from accounts import PASSWD, name_service, passwd
from matching import agree_and_copy, allow, approve, write
from world import ACCOUNTS, World, account_id, wait_for

OWN = {user: [account] for user, account in ACCOUNTS.items()}
ALICE, BOB, CAROL = (ACCOUNTS[user] for user in ("alice", "bob", "carol"))


@pytest.fixture(scope="module")
def matched():
    with World() as world:
        world.file = allow(world, OWN)
        yield world


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    yield
    world = request.getfixturevalue("matched") if "matched" in request.fixturenames else None
    if not world:
        return
    write(world.file, OWN)
    world.file.chmod(0o644)
    os.chown(world.file, 0, 0)
    for flow in world.json("alice", "status")["flows"]:
        world.caller("alice").reply("io.vaultd.Connect.Cancel", {"flow": flow["flow"]})
    if world.json("alice", "status")["connections"]:
        world.json("alice", "disconnect", "notion", "--yes")
    for account in ACCOUNTS.values():
        wait_for(lambda account=account: world.grants(account) == (0, 0), 15, f"{account} has grants left over")


def by_page(world, account, *options):
    """(exit code, last document) of a connect by the page, with the code typed when there is one."""
    terminal = world.converse("alice", "connect", "notion", "--page", "--no-browser", *options)
    page = world.browse("alice", terminal.hear()["link"], account)
    return finish(terminal, page.get("ids", {}).get("claim-code"))


def by_paste(world, account, *options):
    terminal = world.converse("alice", "connect", "notion", "--paste", "--yes", *options)
    terminal.say(agree_and_copy(world, terminal.hear()["authorizationUrl"], account))
    return finish(terminal)


def by_device(world, account, *options):
    terminal = world.converse("alice", "connect", "notion", "--device", "--yes", *options)
    approve(world, terminal.hear(), account)
    return finish(terminal)


WAYS = {"page": by_page, "paste": by_paste, "device": by_device}


def finish(terminal, code=None):
    if code:
        terminal.hear()
        terminal.say(code)
    status, out, _ = terminal.end()
    return status, json.loads(out.strip().splitlines()[-1])


# Root's file

def test_uid_is_as_good_as_a_name(matched):
    write(matched.file, {"1001": [CAROL], "alice": [ALICE], "bob": [BOB]})
    assert by_page(matched, CAROL, "--replace-account")[0] == 0
    assert by_page(matched, ALICE, "--replace-account")[0] == 0
    assert by_page(matched, BOB, "--replace-account")[0] == 4


@pytest.mark.parametrize("fault,words", [
    (lambda file: file.chmod(0o666), "written by others"), (lambda file: file.chmod(0o600), "cannot be opened"), (lambda file: os.chown(file, 1001, 0), "belongs to uid 1001"),
    (lambda file: file.unlink(), "no such file"), (lambda file: file.write_text(f"alice {ALICE}\nbob\n"), "accounts:2"), (lambda file: file.write_text(""), "empty"),
    (lambda file: file.write_text(f"bob {ALICE}\n"), "does not know as alice's")])
def test_file_that_cannot_be_believed_lets_nobody_in(matched, fault, words):
    fault(matched.file)
    code, said = by_page(matched, ALICE)
    assert code == (4 if "know" in words else 1) and words in said["message"], said
    assert matched.json("alice", "status")["connections"] == []


def test_change_of_the_file_holds_at_the_claim(matched):
    """Between consent and claim lie up to ten minutes."""
    terminal, page = matched.park("alice", None, "--replace-account")
    assert terminal.hear()["state"] == "quarantined"
    write(matched.file, {"bob": [BOB]})
    terminal.say(page["ids"]["claim-code"])
    code, said = finish(terminal)
    assert code == 4 and "does not know as alice's" in said["message"]
    assert matched.json("alice", "status")["flows"] == []
    wait_for(lambda: matched.grants(ALICE) == (0, 0), 15, "what could not be claimed any more was not revoked")


def test_way_that_was_switched_off_holds_at_the_claim(matched):
    for way, switch in (("paste", "PasteBack=no\nDevice=yes\n"), ("device", "Device=no\n")):
        terminal = matched.converse("alice", "connect", "notion", "--" + way, "--replace-account")
        begun = terminal.hear()
        if way == "paste":
            terminal.say(agree_and_copy(matched, begun["authorizationUrl"], ALICE))
        else:
            approve(matched, begun, ALICE)
        assert terminal.hear()["state"] == "quarantined"
        terminal.kill()
        allow(matched, OWN, switch)
        refused = matched.json("alice", "claim", "--account", account_id(ALICE), code=4)
        assert "switched off" in refused["message"]
        allow(matched, OWN)
        wait_for(lambda: matched.grants(ALICE) == (0, 0), 15)


def token_of(world, user):
    """An access token of that user's own account, read by the user."""
    world.configure(policy=f"[Server notion]\nTools=notion-get-self\nTokenReaders=user:{user}\n")
    world.restart_vaultd()
    world.connect(user)
    return world.json(user, "token", "notion")["token"]


def test_tokens_by_hand_are_matched_too():
    with World() as world:
        path = allow(world, OWN, "Auth=both\n")
        theirs, other = token_of(world, "alice"), token_of(world, "bob")
        refused = world.json("alice", "connect", "notion", "--token-stdin", "--yes", "--replace-account", stdin=other, code=4)
        assert "does not know as alice's" in refused["message"]
        assert world.json("alice", "connect", "notion", "--token-stdin", "--yes", "--as", "again", stdin=theirs)["account"]["name"] == ALICE
        write(path, {"bob": [BOB]})
        assert world.json("alice", "connect", "notion", "--token-stdin", "--yes", "--as", "again", stdin=theirs, code=4)


# The claim

def test_claim_that_names_an_account_needs_both_to_be_right(matched):
    """A script says whom it expects; which of the two was wrong is not told, and each wrong one is a try."""
    terminal, page = matched.park("alice", None, "--replace-account")
    terminal.hear()
    terminal.kill()
    code = page["ids"]["claim-code"]
    wrong = matched.claim("alice", code, BOB, want=1)
    assert wrong["error"] == "io.vaultd.ClaimRejected" and "2 tries left" in wrong["message"], wrong
    also = matched.claim("alice", "0000-0000", ALICE, want=1)
    assert also["message"] == wrong["message"].replace("2 tries", "1 try")
    assert matched.claim("alice", code, ALICE)["account"]["name"] == ALICE


def test_grant_of_the_page_is_not_claimed_by_its_account_alone(matched):
    terminal, page = matched.park("alice", None, "--replace-account")
    terminal.hear()
    terminal.kill()
    assert matched.json("alice", "claim", "--account", account_id(ALICE), code=1)["error"] == "io.vaultd.NotFound"
    assert matched.claim("alice", page["ids"]["claim-code"], ALICE)["account"]["name"] == ALICE


# The name service

@pytest.fixture(scope="module")
def mailed():
    with World(services="AccountMatch=mail\nAccountMatchBy=name\nDevice=yes\n") as world:
        yield world


def set_gecos(user, text):
    changed, n = re.subn(rf"^({user}:[^:]*:[^:]*:[^:]*:)[^:]*:", rf"\g<1>{text}:", PASSWD.read_text(), flags=re.MULTILINE)
    assert n == 1
    PASSWD.write_text(changed)      # in place: it is a bind mount


@pytest.mark.parametrize("gecos,account,code", [
    (f"Alice,,,,{ALICE}", ALICE, 0), ("Alice,,,,ALICE@Notion.Test", ALICE, 0), (f"Alice,,,,{ALICE}", BOB, 4),
    ("", ALICE, 4), (f"{ALICE}", ALICE, 4), (f"{BOB},,,,{ALICE}", BOB, 4), (f"Alice,,,,{ALICE},{BOB}", ALICE, 4)])
def test_mail_of_the_name_service_is_whose_account_it_is(mailed, gecos, account, code):
    with passwd():
        set_gecos("alice", gecos)
        for way in ("page", "paste"):
            status, said = WAYS[way](mailed, account, "--replace-account")
            assert status == code, said
            if code == 0:
                mailed.json("alice", "disconnect", "notion", "--yes")
            wait_for(lambda: mailed.grants(account) == (0, 0), 15)


def test_mail_that_cannot_be_asked_for_lets_nobody_in(mailed, tmp_path):
    """The name service answers when alice begins, and is gone when the browser comes back."""
    with passwd():
        set_gecos("alice", f"Alice,,,,{ALICE}")
        terminal = mailed.converse("alice", "connect", "notion", "--page", "--no-browser")
        link = terminal.hear()["link"]
        with name_service(tmp_path, "gone"):
            page = mailed.browse("alice", link, ALICE)
            code, said = finish(terminal, page.get("ids", {}).get("claim-code"))
        assert code == 1 and "does not say which mail address" in said["message"], said
        wait_for(lambda: mailed.grants(ALICE) == (0, 0), 15)


# The pin

@pytest.mark.parametrize("way", WAYS)
def test_another_account_needs_an_explicit_yes_in_every_way(matched, way):
    """Also after a disconnect: the pin stays."""
    write(matched.file, {"alice": [ALICE, CAROL]})
    assert by_page(matched, ALICE, "--replace-account")[0] == 0
    matched.json("alice", "disconnect", "notion", "--yes")
    code, said = WAYS[way](matched, CAROL)
    assert code == 1 and said["error"] == "io.vaultd.AccountChanged" and "--replace-account" in said["hint"], said
    wait_for(lambda: matched.grants(CAROL) == (0, 0), 15, "what was refused was not revoked")
    code, said = WAYS[way](matched, CAROL, "--replace-account")
    assert (code, said["account"]["name"]) == (0, CAROL)


def test_account_that_was_pinned_meanwhile_holds_at_the_claim():
    """A token by hand takes the place while a grant of another account waits for its claim there."""
    with World(services="Auth=both\n") as world:
        token = token_of(world, "carol")
        terminal, page = world.park("alice", ALICE)
        terminal.hear()
        assert world.json("alice", "connect", "notion", "--token-stdin", "--yes", stdin=token)["account"]["name"] == CAROL
        terminal.say(page["ids"]["claim-code"])
        code, said = finish(terminal)
        assert code == 1 and said["error"] == "io.vaultd.AccountChanged", said
        wait_for(lambda: world.grants(ALICE) == (0, 0), 15)
        assert world.json("alice", "status")["connections"][0]["account"]["name"] == CAROL


# PasteBack=

def test_pasting_for_known_accounts_only():
    with World(services="PasteBack=match\n") as world:
        refused = world.json("alice", "connect", "notion", "--paste", stdin="", code=4)
        assert "known account only" in refused["message"]
        assert by_page(world, ALICE)[0] == 0
        world.json("alice", "disconnect", "notion", "--yes")
        assert by_paste(world, ALICE)[0] == 0
        code, said = by_paste(world, BOB)
        assert code == 1 and said["error"] == "io.vaultd.AccountChanged"
        # The user's yes to another account is no knowledge of it.
        code, said = by_paste(world, BOB, "--replace-account")
        assert code == 4 and "known account only" in said["message"]
        wait_for(lambda: world.grants(BOB) == (0, 0), 15)


def test_pasting_of_an_account_that_root_knows():
    with World() as world:
        allow(world, OWN, "PasteBack=match\n")
        assert by_paste(world, BOB)[0] == 4
        assert by_paste(world, ALICE)[0] == 0


def test_over_ssh_pasting_is_the_way_where_it_could_be_finished():
    with World() as world:
        def way():
            reply = world.caller("alice").reply("io.vaultd.Connect.Start", {"service": "notion", "way": "remote"})["parameters"]
            return "page" if "link" in reply else "paste" if "authorizationUrl" in reply else None
        assert way() == "paste"
        for services, wanted in (("PasteBack=no\n", "page"), ("PasteBack=match\n", "page"), (f"PasteBack=match\nAccountMatch={world.root}/etc/accounts\n", "paste")):
            world._services = services
            world.configure()
            world.restart_vaultd()
            assert way() == wanted, services
