# SPDX-License-Identifier: LGPL-2.1-or-later
"""What bash, zsh and fish offer behind vaultctl: every command and option that it has and no other, the names that vaultd knows,
and nothing that makes vaultd call out, starts it, or waits for it."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

import pytest

from shells import HERE, SHELLS

ROOT = HERE.parent
sys.path[:0] = [str(ROOT / "tests" / "man"), str(ROOT / "tests" / "scenario")]

import truth  # noqa: E402
from fake_vaultd import BUILD, Error, FakeVaultd  # noqa: E402

# Every text that a service or a user chose tries to be a name.
SERVICES = {"services": [
    {"name": "notion", "title": "No}t],\"io{n", "url": "https://x", "custody": "mirror", "connected": True,
     "account": {"id": "a}", "name": "evil-account"}},
    {"name": "gitlab", "title": "\",\"name\":\"evil-title\",\"x\":\"", "url": "u", "custody": "host", "connected": False}]}
STATUS = {"uid": 1001, "user": "alice", "connections": [
    {"service": "notion", "title": "[]\"}", "label": "default", "account": {"id": "1", "name": "\"}]"}, "state": "active", "custody": "host"},
    {"service": "notion", "title": "{\"label\":\"evil\"}", "label": "work", "account": {"id": "1", "name": "x"}, "state": "needs-reconnect",
     "custody": "host"},
    {"service": "slack", "title": "S", "label": "bot", "account": {"id": "1", "name": "x"}, "state": "active", "custody": "host"}],
    "flows": [{"flow": "f1", "service": "evil-flow", "title": "t", "state": "pending", "expires": 1}],
    "logins": [{"id": "l1", "service": "evil-login", "opened": 1}], "platform": True}
SESSIONS = {"sessions": [
    {"id": "sesn_1", "title": "{\"id\":\"evil\"}", "created": 1, "vaultIds": ["vlt_evil"], "servers": ["notion"], "accounts": ["A]\"}"],
     "agent": "agent_1", "agentVersion": 1, "environment": "env_1"},
    {"id": "sesn_2", "created": 2, "vaultIds": [], "servers": [], "accounts": [], "agent": "a", "agentVersion": 1, "environment": "e"}]}
VAULTS = {"vaults": [
    {"uid": 1001, "user": "alice", "id": "v1", "state": "active"},
    {"uid": 1002, "user": "bob", "id": "v2", "state": "sealed", "reason": "\",\"user\":\"evil", "present": "robert"}]}
METHODS = {"io.vaultd.Services": SERVICES, "io.vaultd.Status": STATUS, "io.vaultd.Session.List": SESSIONS}
ADMIN_METHODS = {"io.vaultd.Admin.Users": VAULTS}
LOCAL_CALLS = {"io.vaultd.Services", "io.vaultd.Status", "io.vaultd.Session.List"}

NAMES = {
    "vaultctl connect ": {"notion", "gitlab"},
    "vaultctl connect g": {"gitlab"},
    "vaultctl connect --paste --as work n": {"notion"},
    "vaultctl check ": {"notion", "slack"},
    "vaultctl check notion --as ": {"default", "work"},
    "vaultctl disconnect ": {"notion", "slack"},
    "vaultctl disconnect notion --as ": {"default", "work"},
    "vaultctl disconnect slack --as=": {"bot"},
    "vaultctl token ": {"notion", "slack"},
    "vaultctl token notion --as ": {"default", "work"},
    "vaultctl session show ": {"sesn_1", "sesn_2"},
    "vaultctl session start --server ": {"notion", "gitlab"},
    "vaultctl session start --server=g": {"gitlab"},
    "vaultctl session start --server notion --server g": {"gitlab"},
    "vaultctl --json connect n": {"notion"},
}
NOTHING = ["vaultctl connect notion ", "vaultctl claim ", "vaultctl session list ", "vaultctl session start --title ", "vaultctl connect --account ",
           "vaultctl disconnect nobody --as ", "vaultctl nonsense "]

pytestmark = pytest.mark.parametrize("shell", SHELLS)


def environment(**changes):
    return {"PATH": f"{BUILD}/client:{os.environ['PATH']}", "LANG": "C.UTF-8", **changes}


def offers(shell, lines, timeout=60, **variables):
    return dict(zip(lines, SHELLS[shell](lines, environment(**variables), timeout)))


def first_words():
    return {name.split()[0] for name in truth.commands()}


def test_every_command_is_offered_and_no_other(shell):
    groups = {}
    for name in truth.commands():
        if " " in name:
            groups.setdefault(name.split()[0], set()).add(name.split()[1])
    lines = ["vaultctl ", "vaultctl --json ", "vaultctl --socket /tmp/x "] + [f"vaultctl {group} " for group in groups]
    answers = offers(shell, lines)
    for line in lines[:3]:
        assert answers[line] == first_words(), line
    for group, words in groups.items():
        assert answers[f"vaultctl {group} "] == words


def test_every_option_is_offered_and_no_other(shell):
    commands = truth.commands()
    lines = {"vaultctl --": set()} | {f"vaultctl {name} --": set(options) for name, options in commands.items()}
    answers = offers(shell, list(lines))
    for line, options in lines.items():
        assert answers[line] == {"--" + option for option in options | truth.global_options().keys()}, line


def test_names_come_from_vaultd_by_calls_that_it_answers_itself(shell):
    with FakeVaultd(METHODS) as server:
        # A second is short on a busy machine: what was cut off is asked for again.
        for _ in range(4):
            answers = offers(shell, list(NAMES), VAULTD_SOCKET=server.path)
            if answers == NAMES:
                break
        assert answers == NAMES
        assert {call["method"] for call in server.calls} == LOCAL_CALLS


def test_where_nothing_is_known_nothing_is_offered(shell):
    with FakeVaultd(METHODS) as server:
        for line, words in offers(shell, NOTHING, VAULTD_SOCKET=server.path).items():
            # zsh offers the options where no word can come.
            assert {word for word in words if not word.startswith("--")} == set(), line
        assert {call["method"] for call in server.calls} <= LOCAL_CALLS


def test_socket_of_the_command_line_is_asked(shell):
    with FakeVaultd(METHODS) as server, FakeVaultd({}) as other:
        lines = [f"vaultctl --socket {server.path} connect g", f"vaultctl --socket={server.path} disconnect s"]
        for _ in range(4):
            answers = offers(shell, lines, VAULTD_SOCKET=other.path)
            if all(answers.values()):
                break
        assert list(answers.values()) == [{"gitlab"}, {"slack"}]
        assert other.calls == []


def test_users_come_from_the_control_socket(shell):
    """Which $VAULTD_SOCKET does not name."""
    with FakeVaultd(ADMIN_METHODS) as server, FakeVaultd({}) as other:
        lines = [f"vaultctl --socket {server.path} admin {command} --user " for command in ("lock", "unlock", "unseal")]
        for _ in range(4):
            answers = offers(shell, lines, VAULTD_SOCKET=other.path)
            if all(answers.values()):
                break
        assert list(answers.values()) == [{"alice", "bob"}] * 3
        assert {call["method"] for call in server.calls} == set(ADMIN_METHODS) and other.calls == []


def test_nothing_but_plain_names_gets_into_the_command_line(shell):
    names = ["plain", "$(touch x)", "a b", "-rf", "a;b", "a`b`", "--yes", "a\nb", "\u202ea", "*"]
    services = {"services": [{"name": name, "title": "t", "url": "u", "custody": "host", "connected": False} for name in names]}
    with FakeVaultd({"io.vaultd.Services": services}) as server:
        for _ in range(4):
            words = offers(shell, ["vaultctl connect "], VAULTD_SOCKET=server.path)["vaultctl connect "]
            if words:
                break
        assert words == {"plain"}


@pytest.mark.parametrize("what", ["absent", "refusing", "silent", "full", "failing", "nonsense"])
def test_vaultd_away_costs_a_moment_and_no_name(shell, what, tmp_path):
    path = str(tmp_path / "socket")
    listener = socket.socket(socket.AF_UNIX)
    clients = []
    if what != "absent":
        listener.bind(path)
    if what in ("silent", "full"):
        listener.listen(0 if what == "full" else 64)
    if what == "full":
        for _ in range(4):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            client.connect_ex(path)
            clients.append(client)
    server = {"failing": Error("io.vaultd.Internal", message="\"name\":\"evil\""), "nonsense": b"{\"name\":\"evil\"\0"}.get(what)
    lines = ["vaultctl connect ", "vaultctl disconnect ", "vaultctl session show "]
    if server:
        with FakeVaultd(dict.fromkeys(METHODS, server)) as fake:
            answers = offers(shell, lines, VAULTD_SOCKET=fake.path)
        assert set(map(frozenset, answers.values())) == {frozenset()}
        return
    began = time.monotonic()
    offers(shell, ["vaultctl "], VAULTD_SOCKET=path)
    start_up = time.monotonic() - began
    began = time.monotonic()
    answers = offers(shell, lines, VAULTD_SOCKET=path)
    took = time.monotonic() - began
    assert set(map(frozenset, answers.values())) == {frozenset()}
    # vaultctl by itself waits for five seconds to be let in and ten for an answer, at each of the three.
    assert took < start_up + 3 * 1 + 6
    for client in clients:
        client.close()
    listener.close()


@pytest.mark.parametrize("line,variables,call", [
    ("vaultctl connect ", {}, "--json services\n"),
    # The control socket is the system's whatever the variable says.
    ("vaultctl admin lock --user ", {"VAULTD_SOCKET": "/nonexistent"}, "--json admin users\n"),
], ids=["public", "control"])
@pytest.mark.parametrize("is_active", [True, False], ids=["active", "inactive"])
def test_vaultd_is_not_started_by_a_tab(shell, is_active, line, variables, call, tmp_path):
    """On the system's own sockets, behind which systemd would start it."""
    programs = tmp_path / "programs"
    programs.mkdir()
    asked = tmp_path / "asked"
    for name, text in (("systemctl", f"exit {0 if is_active else 3}"), ("vaultctl", f"echo \"$*\" >>{asked}")):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    # In a mount namespace of its own, in which this machine is one that systemd has booted.
    variables = {"PATH": f"{programs}:{os.environ['PATH']}", "LANG": "C.UTF-8", **variables}
    program = (f"import sys; sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r}); import shells; "
               f"shells.SHELLS[{shell!r}]([{line!r}], {variables!r}, 60)")
    subprocess.run(["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec "$@"', "sh",
                    sys.executable, "-B", "-c", program], check=True, timeout=90, capture_output=True)
    assert asked.exists() == is_active
    if is_active:
        assert asked.read_text() == call


def test_texts_beside_the_commands_are_those_of_help(shell):
    """bash shows none."""
    source = (HERE / {"bash": "vaultctl.bash", "zsh": "_vaultctl", "fish": "vaultctl.fish"}[shell]).read_text()
    summaries = re.findall(r'\.name = "([a-z -]+)",.*?\.summary = "([^"]+)"',
                           "".join(path.read_text() for path in sorted((ROOT / "client").glob("cmd-*.c"))), re.DOTALL)
    assert {name for name, _ in summaries} == set(truth.commands())
    source = source.replace("\\'", "'")
    for name, summary in summaries:
        word = name.split()[-1]
        if shell == "zsh":
            assert f"'{word}:{summary}'\n" in source or f'"{word}:{summary}"\n' in source
        elif shell == "fish":
            assert f"-a {word} -d '{summary}'\n" in source


def test_file_is_installed_where_the_shell_looks(shell):
    installed = json.loads((BUILD / "meson-info" / "intro-installed.json").read_text())
    name, place = {"bash": ("vaultctl.bash", "share/bash-completion/completions/vaultctl"),
                   "zsh": ("_vaultctl", "share/zsh/vendor-completions/_vaultctl"),
                   "fish": ("vaultctl.fish", "share/fish/vendor_completions.d/vaultctl.fish")}[shell]
    assert installed[str(HERE / name)].endswith("/" + place)
