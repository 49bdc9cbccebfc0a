# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ./demo judges by: each way in which a session could be bound wrongly must make it fail.

The machine is played by a stand-in here, since a vaultd that binds wrongly should not exist; the story is the real one.
"""

import pytest
from demo import PEOPLE, Story, WrongVault, start_session


class Stand:
    """Answers like a Scene after alice's and bob's connect; what goes wrong is set from outside."""

    def __init__(self):
        self.platform_ids = ["vlt_alice"]
        self.shown_ids = ["vlt_alice"]
        self.seen = [PEOPLE["alice"]]
        self.started = False

    def vaultctl(self, user, command):
        assert user == "alice"
        self.started = self.started or command.startswith("session start")
        return {"session": {"id": "sesn_1", "vaultIds": self.shown_ids}}

    def ask_platform(self, path):
        assert path == "/v1/sessions/sesn_1"
        return {"id": "sesn_1", "vault_ids": self.platform_ids}

    def mcp_calls(self):
        before = [(PEOPLE["bob"], "notion-get-self")]
        return before + [(account, "notion-get-self") for account in self.seen] if self.started else before


@pytest.fixture
def stand(monkeypatch):
    clock = iter(range(0, 10**6, 7))
    monkeypatch.setattr("demo.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("demo.time.sleep", lambda _: None)
    return Stand()


def judge(stand):
    return start_session(Story(1), stand, "alice", "vlt_alice", PEOPLE["alice"])


def test_right_binding_passes(stand):
    assert judge(stand) == "sesn_1"


@pytest.mark.parametrize("ids", [["vlt_bob"], [], ["vlt_alice", "vlt_bob"], ["vlt_bob", "vlt_alice"]])
def test_any_other_vaults_at_the_platform_fail(stand, ids):
    stand.platform_ids = ids
    with pytest.raises(WrongVault, match="not exactly vlt_alice"):
        judge(stand)


def test_a_vault_that_vaultctl_shows_wrongly_fails(stand):
    stand.shown_ids = ["vlt_bob"]
    with pytest.raises(WrongVault, match="vaultctl shows"):
        judge(stand)


@pytest.mark.parametrize("seen", [[PEOPLE["bob"]], [], [PEOPLE["alice"], PEOPLE["bob"]]])
def test_any_other_account_at_the_service_fails(stand, seen):
    stand.seen = seen
    with pytest.raises(WrongVault, match="the MCP server saw"):
        judge(stand)
