# SPDX-License-Identifier: LGPL-2.1-or-later
"""WhoAmI answered from what is at hand says the same as the long way, and never what was true before."""

import contextlib
import json
import pathlib

WHOAMI = b'{"method":"io.vaultd.WhoAmI","parameters":{}}\0'


@contextlib.contextmanager
def renamed(old, new):
    """Another name for the uid, in the private /etc/passwd of these tests."""
    passwd = pathlib.Path("/etc/passwd")
    before = passwd.read_text()
    passwd.write_text("".join(line.replace(f"{old}:", f"{new}:", 1) if line.startswith(f"{old}:") else line
                              for line in before.splitlines(keepends=True)))
    try:
        yield
    finally:
        passwd.write_text(before)


def test_answer_at_hand_equals_the_first_one(world):
    caller = world.caller("alice")
    first = caller("io.vaultd.WhoAmI")
    assert json.loads(first)["parameters"]["vault"]["state"] == "active"
    assert caller("io.vaultd.WhoAmI") == first
    world.restart_vaultd()
    assert caller("io.vaultd.WhoAmI") == first
    assert caller("io.vaultd.WhoAmI") == first


def test_root_has_no_vault_either_way(world):
    caller = world.caller("root")
    answers = [json.loads(caller("io.vaultd.WhoAmI"))["parameters"] for _ in range(2)]
    assert answers[0] == answers[1] and answers[0]["user"] == "root" and "vault" not in answers[0]


def test_calls_in_one_write_are_answered_in_order(world):
    # The first has to wait for the vault to be made, the others have not: none overtakes it. GetInfo never waits.
    world.restart_vaultd()
    message = WHOAMI + b'{"method":"org.varlink.service.GetInfo","parameters":{}}\0' + WHOAMI
    code = world.caller("bob").CODE.replace('while not data.endswith(b"\\0")', 'while data.count(b"\\0") < 3')
    caller = world.caller("bob")
    caller.CODE = code
    answers = [json.loads(each)["parameters"] for each in caller.raw(message).split(b"\0")[:3]]
    assert [sorted(each)[0] for each in answers] == ["origin", "interfaces", "origin"] and answers[0] == answers[2]


def test_renamed_user_is_noticed_at_once(fresh_world):
    caller = fresh_world.caller("carol")
    for _ in range(2):
        assert json.loads(caller("io.vaultd.WhoAmI"))["parameters"]["user"] == "carol"
    with renamed("carol", "caroline"):
        answer = json.loads(caller("io.vaultd.WhoAmI"))
        assert answer.get("error") == "io.vaultd.VaultClosed", answer
