# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shipped profiles to the letter, through a CONNECT proxy that leads the services' real names to the fixture (O11, Proxy=, CaFile=).

vaultd has no way out but that proxy: the network of these tests has no names and no routes.
"""

import subprocess
import urllib.parse

import pytest
from service_world import SHIPPED, Proxy, Services, hosts_of
from world import FIXTURES, World


@pytest.fixture(scope="module")
def services():
    with World(platform=False) as world:
        tls = world.root / "tls"
        subprocess.run([FIXTURES / "tls/make-ca", tls, *sorted({host for text in SHIPPED.values() for host in hosts_of(text)})], check=True)
        services = Services(world, tls)
        names = {}
        for name, text in SHIPPED.items():
            origin = services.ready[name]["origin"]
            names.update({host: urllib.parse.urlsplit(origin).netloc for host in hosts_of(text)})
            values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
            services.order(name, origin="https://" + urllib.parse.urlsplit(values["Url"]).netloc, issuer=values.get("Issuer"))
        proxy = Proxy(world, names)
        world.stack.ca = tls / "ca.pem"     # CaFile= and the browser's: this authority and no other
        services.configure(proxy.address)
        services.proxy, services.browser_options = proxy, ("--proxy", proxy.address)
        world.restart_vaultd()
        yield services


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_profile_fits_to_the_letter(services, name):
    before = len(services.proxy.seen()["targets"])
    connected = services.connect(name)
    assert connected["account"]["id"]
    services.disconnect(name)
    assert services.state(name)["complaints"] == []
    seen = services.proxy.seen()
    asked = {target.removesuffix(":443") for target in seen["targets"][before:]}
    assert asked and asked <= set(hosts_of(SHIPPED[name])), asked
    # A proxy is told where to, and nothing of what goes there.
    headers = "\n".join(line.lower() for lines in seen["headers"] for line in lines)
    assert "authorization" not in headers and "cookie" not in headers and seen["refused"] == []


def test_without_the_proxy_there_is_no_way(services):
    """That the tests above went through it."""
    services.configure()
    services.world.restart_vaultd()
    try:
        fault = services.world.json("alice", "connect", "linear", "--no-browser", code=6)
        assert fault["error"] == "io.vaultd.UpstreamFailed", fault
    finally:
        services.configure(services.proxy.address)
        services.world.restart_vaultd()


def test_proxy_does_not_lead_to_private_places(services):
    """Names are looked up by the proxy, which root chose; an address that shows itself to be local is not even asked for."""
    before = services.proxy.seen()["targets"]
    services.drop_in("linear", "90-local", ["Url=https://127.0.0.1:1/mcp"])
    services.world.restart_vaultd()
    try:
        fault = services.world.json("alice", "connect", "linear", "--no-browser", code=6)
        assert "may be contacted" in fault["message"] and services.proxy.seen()["targets"] == before, fault
    finally:
        services.remove_drop_in("linear", "90-local")
        services.world.restart_vaultd()


def test_authority_that_root_did_not_name_is_not_trusted(services):
    services.world.stack.ca = services.world.root / "fixtures/ca.pem"
    services.configure(services.proxy.address)
    services.world.restart_vaultd()
    try:
        fault = services.world.json("alice", "connect", "linear", "--no-browser", code=6)
        assert fault["error"] == "io.vaultd.UpstreamFailed" and "certificate" in fault["message"].lower(), fault
    finally:
        services.world.stack.ca = services.world.root / "tls/ca.pem"
        services.configure(services.proxy.address)
        services.world.restart_vaultd()
