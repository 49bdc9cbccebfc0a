# SPDX-License-Identifier: LGPL-2.1-or-later
"""The device flow (RFC 8628) through the real vaultctl, with a real provider: the code is approved in a browser that sees no page of ours."""

import json
import signal
import time

import pytest
from world import ACCOUNTS, World, wait_for

ACCOUNT_IDS = {user: account for user, account in ACCOUNTS.items()}


def allow(world, lines, more="", settings=None):
    """Device codes, for the accounts that root's file gives: {user: account name}."""
    path = world.root / "etc/accounts"
    path.write_text("# user account\n" + "".join(f"{user} {account}\n" for user, account in lines.items()))
    world._services = f"Device=yes\nAccountMatch={path}\nAccountMatchBy=name\n" + more
    world.configure(settings)
    world.restart_vaultd()
    return path


def approve(world, prompt, account, *options):
    return world.browse("bob", prompt["verificationUri"], account, "--user-code", prompt["userCode"], *options)


@pytest.fixture(scope="module")
def devices():
    with World() as world:
        allow(world, ACCOUNTS)
        yield world


def test_code_is_approved_and_the_account_agreed_to(devices):
    terminal = devices.converse("alice", "connect", "notion", "--device", "--yes")
    prompt = terminal.hear()
    assert prompt["state"] == "pending" and prompt["verificationUri"].startswith("https://") and "link" not in prompt and "authorizationUrl" not in prompt
    page = approve(devices, prompt, "alice@notion.test")
    assert "connected" in page["text"], page
    parked, connected = terminal.hear(), terminal.hear()
    assert (parked["state"], parked["account"]["name"]) == ("quarantined", "alice@notion.test")
    assert (connected["state"], connected["account"]["name"]) == ("connected", "alice@notion.test")
    assert terminal.end()[0] == 0
    assert devices.json("alice", "status")["flows"] == []
