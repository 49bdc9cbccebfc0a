# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shipped service profiles, each against a fixture that answers in that service's documented shapes (O7, O9, T14, T18).

The profiles are those of policy/services as they are. A drop-in, as an administrator would write one, leads their
addresses to the fixture and names the client that is registered there. The fixture puts on record whatever the real service would
not take; a test that does not provoke that ends with an empty record.
"""

import json
import re
import shutil
import time
import urllib.parse

import pytest
from world import FIXTURES, TREE, Program, World, wait_for

SHIPPED = {path.stem: path.read_text() for path in sorted((TREE / "policy/services").glob("*.conf"))}
# What each service calls alice, and the account that is pinned for her.
ACCOUNTS = {
    "asana": ("1201234567890", "alice@example.test"), "github": ("583231", "alice-gh"), "gitlab": ("42", "42"),
    "google": ("1081234567890", "alice@example.test"), "jira": ("712020:alice", "Alice A."),
    "linear": ("5f0c1b9e-0000-4000-8000-00000000a11c", "alice@example.test"), "notion": ("b3c1f0aa-0000-4000-8000-00000000a11c", "Alice"),
    "sentry": ("123456", "Alice A."), "slack": ("T0ACME/U0ALICE", "alice/Acme"),
}
WITHOUT_REVOCATION = {"jira", "notion"}     # no way is documented


def led_to(text, origin):
    """The keys of a profile whose values are addresses, at the fixture's origin and with their paths."""
    lines = []
    for key, value in re.findall(r"^(\w+)=(https://\S+)$", text, re.MULTILINE):
        parts = urllib.parse.urlsplit(value)
        lines.append(f"{key}={origin}{parts.path}")
    return lines


class Services:
    """The fixture and the world that knows its services."""

    def __init__(self, world):
        self.world = world
        directory = world.root / "fixtures"
        self.program = world.enter_context(Program(
            [FIXTURES / "services/run", "--tls-cert", directory / "cert.pem", "--tls-key", directory / "key.pem"], world.root / "log/services.log"))
        self.ready = self.program.ready
        world.more_upstreams = [each["origin"] for each in self.ready.values()]
        (world.root / "vendor/services.d").mkdir(mode=0o755)
        for name, text in SHIPPED.items():
            (world.root / f"vendor/services.d/{name}.conf").write_text(text)
        self.configure()
        for name, each in self.ready.items():
            self.lead(name)
            if each["client"]:
                self.register(name)
        world.restart_vaultd()

    def configure(self, **arguments):
        self.world.configure(**arguments)
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

    def state(self, name):
        return self.world.stack.http(self.ready[name]["origin"] + "/_fixture/state").json

    def order(self, name, **order):
        answer = self.world.stack.http(self.ready[name]["origin"] + "/_fixture/order", json.dumps(order).encode(), {"Content-Type": "application/json"})
        assert answer.status == 200

    def live(self, name):
        return [grant for grant in self.state(name)["grants"] if grant["live"]]

    def begin(self, name, user="alice", *options):
        """As far as consent; (conversation, the page that the browser ended at)."""
        terminal = self.world.converse(user, "connect", name, "--no-browser", *options)
        pending = terminal.hear()
        assert pending.get("state") == "pending", (pending, self.world.log("vaultd")[-3000:])
        return terminal, self.world.browse(user, pending["link"])

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


@pytest.fixture(scope="module")
def services():
    with World() as world:
        yield Services(world)


@pytest.fixture(autouse=True)
def at_peace(request):
    yield
    if "services" in request.fixturenames:
        services = request.getfixturevalue("services")
        for name in services.ready:
            services.order(name, login="alice", trouble={})


def test_every_shipped_profile_has_a_fixture():
    assert sorted(SHIPPED) == sorted(ACCOUNTS)


@pytest.mark.parametrize("name", sorted(ACCOUNTS))
def test_connected_and_taken_back_as_the_service_wants_it(services, name):
    connected = services.connect(name)
    account = (connected["account"]["id"], connected["account"]["name"])
    assert account == ACCOUNTS[name]
    [grant] = services.live(name)
    assert grant["login"] == "alice"

    done = services.disconnect(name)
    if name in WITHOUT_REVOCATION:
        assert done["revoked"] is False and "remove the access in" in done["notice"], done
    else:
        assert done["revoked"] is True, done
        assert services.live(name) == []
    assert services.state(name)["complaints"] == []
    # No token was ever in an address or a log.
    secrets = [token for each in services.state(name)["grants"] for token in (each["access"], each["refresh"]) if token]
    assert not any(secret in services.world.log(log) for secret in secrets for log in ("vaultd", "web", "services"))


@pytest.mark.parametrize("name", sorted(set(ACCOUNTS) - {"gitlab", "jira", "linear", "notion", "sentry"}))
def test_service_without_its_client_says_what_is_to_be_added_and_where(services, name):
    services.remove_drop_in(name, "20-client")
    try:
        services.world.restart_vaultd()
        [listed] = [each for each in services.world.json("alice", "services")["services"] if each["name"] == name]
        file = f"{services.world.root}/etc/services.d/{name}.conf.d/client.conf"
        for part in ("is not set up", "ClientId= and ClientSecretFile=", file, f":{services.world.port}/callback/"):
            assert part in listed["notSetUp"], listed
        calls = len(services.state(name)["calls"])
        refused = services.world.json("alice", "connect", name, "--no-browser", code=None)
        assert refused["error"] == "io.vaultd.NotConfigured" and refused["message"] == listed["notSetUp"] and "administrator" in refused["hint"]
        assert len(services.state(name)["calls"]) == calls      # nobody was asked
        shown = services.world.vaultctl("alice", "services").stdout
        assert re.search(rf"^{name} .* not set up ", shown, re.MULTILINE) and listed["notSetUp"] in shown
        # What it says is enough: written there, with the address registered, it connects.
        services.drop_in(name, "client", (f"ClientId={services.ready[name]['client']}", f"ClientSecretFile={services.world.root}/{name}.secret"))
        redirect = re.search(r"http://\S+/callback/\w+", listed["notSetUp"]).group()
        services.world.restart_vaultd()
        services.connect(name)
        assert services.live(name)[0]["parameters"]["redirect_uri"] == redirect
        services.disconnect(name)
    finally:
        services.register(name)
        services.world.restart_vaultd()
