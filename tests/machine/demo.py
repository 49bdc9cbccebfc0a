#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The story that `./demo` tells, step by step, on real parts. Started by ./demo, which builds first.

Two people share one host. Each logs in through sshd, connects the same service with an account of their
own, and starts an agent session. Then the other side is asked, past vaultd: which vault was each session
given, and as which account did the service see it act? Any other answer than "the person's own" fails.

Whose vault a platform vault is, is not taken from vaultd either: it is the vault that appeared at the platform
while that person connected.
"""

import argparse
import json
import pathlib
import shlex
import shutil
import signal
import sys
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from scene import MachineError, Scene, TREE      # noqa: E402

PEOPLE = {"alice": "alice@notion.test", "bob": "bob@notion.test"}
# What the emulator's scripted agent understands; it really makes this call, to the session's MCP server.
CALL = "call notion notion-get-self {}"


class WrongVault(Exception):
    """What must never happen happened; the text says what."""


class Story:
    """Prints numbered steps and, indented, what happens in them."""

    def __init__(self, first_step):
        self.number = first_step - 1

    def step(self, title):
        self.number += 1
        print(f"\n== Step {self.number}: {title}", flush=True)

    def tell(self, text):
        for line in text.splitlines():
            print("   " + line, flush=True)

    def command(self, user, text):
        print(f"   {user}$ {text}", flush=True)


def log_in(story, scene, user):
    story.step(f"{user} logs in over SSH")
    story.command(user, "vaultctl whoami --json")
    answer = scene.vaultctl(user, "whoami")
    story.tell(json.dumps(answer))
    story.tell(f"The kernel says uid {answer['uid']}, PAM registered login session {answer['session']}, "
               f"and the vault {answer['vault']['id']} is there.")
    if answer["user"] != user or not answer.get("session"):
        raise WrongVault(f"the daemon takes {user} for {answer['user']}, session {answer.get('session')}")
    return answer["vault"]["id"]


def refused_before_connecting(story, scene, user):
    story.step(f"{user} starts a session too early")
    story.command(user, "vaultctl session start --yes")
    result = scene.as_user(user, "vaultctl session start --yes", check=False)
    story.tell(result.stderr or result.stdout)
    story.tell(f"Exit code {result.returncode}: no other credential is used instead.")
    if result.returncode != 3:
        raise WrongVault(f"a session without {user}'s own connection ended with {result.returncode}, not 3")


def connect(story, scene, user, account):
    story.step(f"{user} connects Notion, as {account}")
    before = set(scene.platform_vaults())
    story.command(user, "vaultctl connect notion --page --no-browser --json")
    with scene.converse(user, "vaultctl --json connect notion --page --no-browser") as terminal:
        link = terminal.hear()["link"]
        story.tell(f"vaultctl prints the link of our own page, {link}, and waits.")
        page = scene.browse(user, link, account)
        story.tell(f"{user}'s browser opens it, goes on to the provider, signs in and consents. The last page says:")
        story.tell("   " + " ".join(page["text"].split()))
        story.tell(f"vaultctl: {json.dumps(terminal.hear())}")
        story.tell(f"{user} types the code of that page into the waiting vaultctl.")
        terminal.say(page["ids"]["claim-code"])
        story.tell(f"vaultctl: {json.dumps(terminal.hear())}")
    appeared = set(scene.platform_vaults()) - before
    if len(appeared) != 1:
        raise WrongVault(f"while {user} connected, {len(appeared)} vaults appeared at the platform, not one")
    vault = appeared.pop()
    story.tell(f"At the platform one vault appeared: {vault}. So that one is {user}'s.")
    return vault


def start_session(story, scene, user, own_vault, account):
    story.step(f"{user} starts an agent session and has it ask Notion who it is")
    n_calls_before = len(scene.mcp_calls())
    start = "session start --yes --message " + shlex.quote(CALL)
    story.command(user, f"vaultctl {start} --json")
    session = scene.vaultctl(user, start)["session"]
    shown = scene.vaultctl(user, "session show " + shlex.quote(session["id"]))["session"]
    deadline = time.monotonic() + 30
    while len(scene.mcp_calls()) == n_calls_before and time.monotonic() < deadline:
        time.sleep(0.1)
    seen = sorted({seen_account for seen_account, _ in scene.mcp_calls()[n_calls_before:]})
    at_platform = scene.ask_platform(f"/v1/sessions/{session['id']}")["vault_ids"]
    story.tell(f"session            {session['id']}")
    story.tell(f"vault_ids          {at_platform}   (the platform says; {user}'s own is {own_vault})")
    story.tell(f"account at Notion  {', '.join(seen) or 'none'}   (the MCP server says; {user}'s own is {account})")
    if at_platform != [own_vault]:
        raise WrongVault(f"{user}'s session has the vaults {at_platform}, not exactly {own_vault}")
    if shown["vaultIds"] != [own_vault]:
        raise WrongVault(f"vaultctl shows {user} the vaults {shown['vaultIds']}, not exactly {own_vault}")
    if seen != [account]:
        raise WrongVault(f"in {user}'s session the MCP server saw {seen or 'nobody'}, not {account}")
    return session["id"]


def not_each_others(story, scene, sessions):
    story.step("bob asks for alice's session")
    story.command("bob", "vaultctl session show " + sessions["alice"])
    foreign = scene.as_user("bob", f"vaultctl --json session show {shlex.quote(sessions['alice'])}", check=False)
    missing = scene.as_user("bob", f"vaultctl --json session show {shlex.quote('sesn_' + uuid.uuid4().hex)}", check=False)
    story.tell((foreign.stderr + foreign.stdout).strip())
    if foreign.returncode == 0 or json.loads(foreign.stdout)["error"] != json.loads(missing.stdout)["error"]:
        raise WrongVault("bob's question about alice's session is not answered like one about no session at all")
    story.tell("The same answer as for a session that does not exist.")


def tell(story, scene):
    story.step("a private machine boots (systemd as PID 1, sshd, its own network and users)")
    scene.boot()
    story.tell(f"Machine {scene.name}. This host's PAM, users and units are not touched.")
    story.step("an admin installs vaultd there: units, sockets, PAM profile, key")
    story.tell("root# ./install.sh --staged /stage --yes")
    scene.install()
    story.tell(scene.run(["systemctl", "--no-legend", "--plain", "list-sockets", "vaultd*"]).stdout)
    story.step("the outside world starts, on the machine's loopback")
    scene.start_services(PEOPLE.values())
    story.tell(f"authorization server  {scene.provider}\nMCP server            {scene.mcp}\n"
               f"Claude Platform       {scene.platform} (emulator)")
    story.step("the admin writes /etc/vaultd/vaultd.conf, services.d/notion.conf, policy.d/50-notion.conf")
    scene.configure()
    story.tell(scene.run(["cat", "/etc/vaultd/vaultd.conf", "/etc/vaultd/services.d/notion.conf"]).stdout)
    story.step("two Unix users are created")
    for user, account in PEOPLE.items():
        story.tell(f"{user}: uid {scene.add_person(user, account)}, at Notion {account}")
    local = {user: log_in(story, scene, user) for user in PEOPLE}
    if len(set(local.values())) != len(PEOPLE):
        raise WrongVault("two users were given one vault")
    refused_before_connecting(story, scene, "alice")
    vaults = {user: connect(story, scene, user, account) for user, account in PEOPLE.items()}
    sessions = {user: start_session(story, scene, user, vaults[user], account) for user, account in PEOPLE.items()}
    not_each_others(story, scene, sessions)
    return vaults, sessions


def main(argv):
    parser = argparse.ArgumentParser(prog="demo")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--stage", required=True, help="a staged build; removed at the end")
    parser.add_argument("--first-step", type=int, default=1)
    arguments = parser.parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    # Said aloud, since a background job of a script starts with this signal ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    story = Story(arguments.first_step)
    scene = Scene(arguments.stage, "demo-" + uuid.uuid4().hex[:6])
    finished = False
    try:
        vaults, sessions = tell(story, scene)
        finished = True
    except (WrongVault, MachineError) as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        if scene.leader:
            print(scene.journal("--unit", "vaultd", "--unit", "vaultd-web", "--unit", "ssh", "--lines", "40"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted, cleaning up", file=sys.stderr)
        return 130
    finally:
        if finished and arguments.keep:
            scene.release()
        else:
            scene.stop()
        shutil.rmtree(arguments.stage)
    story.step("the result")
    for user in PEOPLE:
        story.tell(f"{user:6} session {sessions[user]}  vault {vaults[user]}  acts as {PEOPLE[user]}")
    print("\nEach session has exactly its own user's vault, and the service saw exactly that user's account.")
    if arguments.keep:
        machine = TREE / "tests/machine/machine"
        print(f"\nThe machine is still up. A shell as one of the users:\n"
              f"    {machine} shell --name {scene.name} --user alice\n"
              f"and at the end:\n    {machine} stop --name {scene.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
