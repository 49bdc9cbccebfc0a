# SPDX-License-Identifier: LGPL-2.1-or-later
"""A world whose services are the shipped profiles, led to a fixture that answers in their documented shapes.

The profiles are those of policy/services as they are. A drop-in, as an administrator would write one, leads their
addresses to the fixture and names the client that is registered there. The fixture puts on record whatever the real service would
not take.
"""

import json
import re
import ssl
import urllib.parse
import urllib.request

from world import FIXTURES, TREE, Program

SHIPPED = {path.stem: path.read_text() for path in sorted((TREE / "policy/services").glob("*.conf"))}


def led_to(text, origin):
    """The keys of a profile whose values are addresses, at the fixture's origin and with their paths."""
    lines = []
    for key, value in re.findall(r"^(\w+)=(https://\S+)$", text, re.MULTILINE):
        parts = urllib.parse.urlsplit(value)
        lines.append(f"{key}={origin}{parts.path}")
    return lines


def hosts_of(text):
    """The names of the hosts that a profile names."""
    return sorted({urllib.parse.urlsplit(value).netloc for value in re.findall(r"^\w+=(https://\S+)$", text, re.MULTILINE)})


class Proxy:
    """A CONNECT proxy that leads names elsewhere."""

    def __init__(self, world, names):
        arguments = [f"--name={name}={place}" for name, place in names.items()]
        self.address = world.enter_context(Program([FIXTURES / "proxy/run", *arguments], world.root / "log/proxy.log")).ready["address"]

    def seen(self):
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{self.address}/_fixture/seen", timeout=20) as answer:
            return json.load(answer)


class Services:
    """The fixture and the world that knows its services. directory: of a certificate that is not the world's own."""

    def __init__(self, world, directory=None, settings=None):
        self.world = world
        directory = directory or world.root / "fixtures"
        self.program = world.enter_context(Program(
            [FIXTURES / "services/run", "--tls-cert", directory / "cert.pem", "--tls-key", directory / "key.pem"], world.root / "log/services.log"))
        self.ready = self.program.ready
        self._open = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=directory / "ca.pem"))).open
        (world.root / "vendor/services.d").mkdir(mode=0o755)
        for name, text in SHIPPED.items():
            (world.root / f"vendor/services.d/{name}.conf").write_text(text)
        for name in SHIPPED:
            if self.ready[name]["client"]:
                self.register(name)

    def lead_all(self):
        """All addresses to the fixture's, and vaultd started anew."""
        self.world.more_upstreams = [each["origin"] for each in self.ready.values()]
        self.configure()
        for name in SHIPPED:
            self.lead(name)
        self.world.restart_vaultd()
        return self

    def configure(self, proxy=None, **arguments):
        self.world.configure(**arguments)
        if proxy:
            path = self.world.root / "etc/vaultd.conf"
            path.write_text(path.read_text().replace("[Http]\n", f"[Http]\nProxy=http://{proxy}\n"))
        (self.world.root / "etc/services.d/notion.conf").unlink()     # the world's own, which would mask the shipped one

    def lead(self, name):
        self.drop_in(name, "10-fixture", led_to(SHIPPED[name], self.ready[name]["origin"]))

    def register(self, name):
        secret = self.world._secret(f"{name}.secret", self.ready[name]["secret"].encode() + b"\n", "vaultd")
        self.drop_in(name, "20-client", [f"ClientId={self.ready[name]['client']}", f"ClientSecretFile={secret}"])

    def drop_in(self, name, file, lines):
        folder = self.world.root / f"etc/services.d/{name}.conf.d"
        folder.mkdir(mode=0o755, exist_ok=True)
        (folder / f"{file}.conf").write_text("[Service]\n" + "\n".join(lines) + "\n")

    def remove_drop_in(self, name, file):
        (self.world.root / f"etc/services.d/{name}.conf.d/{file}.conf").unlink()

    def ask(self, name, path, body=None):
        """The fixture's own answers to tests."""
        request = urllib.request.Request(f"{self.ready[name]['origin']}/_fixture/{path}", body and json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with self._open(request, timeout=20) as answer:
            return json.load(answer)

    def state(self, name):
        return self.ask(name, "state")

    def order(self, name, **order):
        self.ask(name, "order", order)

    def live(self, name):
        return [grant for grant in self.state(name)["grants"] if grant["live"]]

    browser_options = ()

    def begin(self, name, user="alice", *options):
        """As far as consent; (conversation, the page that the browser ended at)."""
        terminal = self.world.converse(user, "connect", name, "--no-browser", *options)
        pending = terminal.hear()
        assert pending.get("state") == "pending", (pending, self.world.log("vaultd")[-3000:])
        return terminal, self.world.browse(user, pending["link"], None, *self.browser_options)

    def connect(self, name, user="alice", *options):
        terminal, page = self.begin(name, user, *options)
        parked = terminal.hear()
        assert parked.get("state") == "quarantined", (parked, page, self.state(name)["complaints"])
        terminal.say(page["ids"]["claim-code"])
        connected = terminal.hear()
        code, _, errors = terminal.end()
        assert code == 0 and connected["state"] == "connected", (connected, errors)
        return connected

    def disconnect(self, name, user="alice"):
        return self.world.json(user, "disconnect", name)
