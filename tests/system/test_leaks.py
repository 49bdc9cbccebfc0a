# SPDX-License-Identifier: LGPL-2.1-or-later
"""No secret in the real journal, the real state folder, or any command line or environment of the whole machine.

tests/scenario/test_leaks.py proves the searcher on canaries in every form and goes through every use and failure; here the
same searcher reads what a real host keeps: journald's files through journalctl, and /var/lib and /run as systemd made them.
"""

import json
import pathlib
import secrets
import sys

import pytest
from demo import PEOPLE
from scene import WORKSPACE_KEY_FILE, Scene

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scenario"))
from needles import ProcessSampler, Searcher    # noqa: E402 (the folder is not a package)

RECORD = "/root/issued.jsonl"
CANARY = "canary/" + secrets.token_urlsafe(24) + "="
KINDS = {"access_token", "refresh_token", "code", "state", "verifier"}


@pytest.fixture(scope="module")
def used(stage):
    """A machine on which both people connected, ran a session and disconnected: (scene, needles, sampler)."""
    with ProcessSampler() as sampler, Scene(stage) as scene:
        scene.install().start_services(PEOPLE.values(), provider_options=("--record", RECORD)).configure()
        for user, account in PEOPLE.items():
            scene.add_person(user, account)
            scene.connect(user)
            scene.vaultctl(user, "session start --yes --message 'call notion notion-get-self {}'")
        scene.vaultctl("bob", "disconnect notion")
        scene.run(["logger", "-t", "planted", CANARY])
        issued = [json.loads(line) for line in scene.path(RECORD).read_text().splitlines()]
        needles = {f"{each['kind']} {number}": each["value"].encode() for number, each in enumerate(issued)}
        needles["workspace key"] = scene.path(WORKSPACE_KEY_FILE).read_text().strip().encode()
        yield scene, needles, sampler


def test_there_is_something_to_look_for(used):
    assert KINDS <= {name.rsplit(" ", 1)[0] for name in used[1]}


def test_nothing_secret_in_the_journal(used):
    scene, needles, _ = used
    journal = scene.journal("--output=json", "--all").encode()
    assert Searcher({"canary": CANARY.encode()}).find(journal) == ["canary"], "the searcher finds nothing in a journal"
    assert b"VAULTD_ACCOUNT" in journal
    assert Searcher(needles).find(journal) == []


@pytest.mark.parametrize("folder", ["/var/lib/vaultd", "/run/vaultd"])
def test_nothing_secret_in_the_folder(used, folder):
    scene, needles, _ = used
    assert any(scene.path(folder).iterdir())
    found = {}
    for path in scene.path(folder).rglob("*"):
        if path.is_file():
            names = Searcher(needles).find(path.read_bytes())
            found.update({str(path): names} if names else {})
    assert found == {}


def test_nothing_secret_in_command_lines_and_environments(used):
    _, needles, sampler = used
    searcher = Searcher(needles)
    assert any(b"/usr/libexec/vaultd/vaultd" in each for each in sampler.cmdlines), "the machine's processes were not sampled"
    assert [each.split(b"\0")[0] for each in sampler.cmdlines | sampler.environs if searcher.find(each)] == []
