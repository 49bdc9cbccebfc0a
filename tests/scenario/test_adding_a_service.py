# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/ADDING-A-SERVICE.md is followed to the letter: what it says to write is written, what it says to run is run, and what it
says that vaultctl answers has to be in the answer. The names of its hosts lead to the fixture through a proxy."""

import re
import subprocess
import time
import urllib.parse

import pytest
from service_world import Proxy, Services
from world import FIXTURES, TREE, World

PAGE = (TREE / "docs/ADDING-A-SERVICE.md").read_text()
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HOSTS = ("mcp.tracker.example", "auth.tracker.example", "api.tracker.example")


@pytest.fixture(scope="module")
def services():
    with World(platform=False) as world:
        tls = world.root / "tls"
        subprocess.run([FIXTURES / "tls/make-ca", tls, *HOSTS], check=True)
        services = Services(world, tls)
        services.order("tracker", origin="https://auth.tracker.example")
        place = urllib.parse.urlsplit(services.ready["tracker"]["origin"]).netloc
        proxy = Proxy(world, {host: place for host in HOSTS})
        world.stack.ca = tls / "ca.pem"
        services.configure(proxy.address)
        services.browser_options = ("--proxy", proxy.address)
        yield services


class Reader:
    """Somebody who does what the page says."""

    def __init__(self, services):
        self.services, self.world = services, services.world
        self.said = ""
        self.is_changed = False
        self.n_commands = self.n_answers = 0

    def write(self, name, text):
        path = self.world.root / "etc/services.d" / (name or "tracker.conf")
        path.parent.mkdir(mode=0o755, exist_ok=True)
        # The one place that is not the reader's own: where the secret lies in this world.
        secret = self.world.root / "tracker.secret"
        if "ClientSecretFile" in text:
            self.world._secret("tracker.secret", self.services.ready["tracker"]["secret"].encode() + b"\n", "vaultd")
        with path.open("a") as file:
            file.write(text.replace("/etc/vaultd/tracker.secret", str(secret)))
        self.is_changed = True

    def run(self, command):
        if self.is_changed:
            self.world.restart_vaultd()
            self.is_changed = False
        self.n_commands += 1
        words = command.split()
        assert words[0] == "vaultctl"
        self.said = self.connect() if words[1] == "connect" else "".join(self.outputs(words[1:]))

    def outputs(self, words):
        done = self.world.vaultctl("alice", *words)
        return done.stdout, done.stderr

    def connect(self):
        """A whole connect, with a browser; whatever vaultctl says in the end."""
        terminal = self.world.converse("alice", "connect", "tracker", "--no-browser")
        heard = terminal.hear()
        if heard.get("state") == "pending":
            page = self.world.browse("alice", heard["link"], None, *self.services.browser_options)
            heard = terminal.hear()
            if heard.get("state") == "quarantined":
                terminal.say(page["ids"]["claim-code"])
                heard = terminal.hear()
        terminal.end()
        return heard["message"] if "message" in heard else f"{heard['title']} is {heard['state']} as {heard['account']['name']}."

    def expect(self, text):
        self.n_answers += 1
        for part in text.strip().split("…"):
            assert part in self.said, (part, self.said, self.world.log("vaultd")[-2000:])


def test_page_is_followed_to_the_letter(services):
    reader = Reader(services)
    for kind, name, text in BLOCK.findall(PAGE):
        if kind == "ini":
            reader.write(name, text)
        elif kind == "console":
            for line in text.splitlines():
                reader.run(line.removeprefix("$ "))
        elif kind == "text":
            reader.expect(text)
        else:
            pytest.fail(f"a block of kind {kind}, with which nothing can be done")
    assert reader.n_commands >= 6 and reader.n_answers >= 6
    # The page's last lines are sound, too, and what was connected on the way was taken back.
    services.world.restart_vaultd()
    assert [grant["live"] for grant in services.state("tracker")["grants"]] == [True, False]     # that of step 4 could not be taken back
    assert services.state("tracker")["complaints"] == []


def test_grant_errors_of_the_page_end_a_grant(services):
    """Step 6: what is written there means what the page says."""
    services.configure(services.browser_options[1], policy="[Server tracker]\nTokenReaders=user:alice\n")
    services.world.restart_vaultd()
    services.order("tracker", trouble={"life": 1})
    services.connect("tracker")
    services.order("tracker", trouble={"token": "refresh_token_gone"})
    time.sleep(1.1)
    done = services.world.vaultctl("alice", "token", "tracker")
    assert done.returncode == 3 and "vaultctl connect tracker" in done.stderr, done


def test_every_key_of_the_page_is_one_that_vaultd_knows():
    known = set(re.findall(r'KEY\("(\w+)"', (TREE / "policy/services.c").read_text()))
    used = set(re.findall(r"\b([A-Z][A-Za-z]+)=", PAGE)) - {"ExternalUrl"}
    assert known and used <= known, used - known
