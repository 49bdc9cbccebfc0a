# SPDX-License-Identifier: LGPL-2.1-or-later
"""How vaultd gets from a server's address to a consent: what the metadata may say, what root may say instead, and who vaultd is there (O5, T18)."""

import hashlib
import urllib.parse

import pytest

from world import World

RESOURCE = "/.well-known/oauth-protected-resource/mcp"
SERVER = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")


@pytest.fixture
def host(world):
    """The world with metadata and settings that a test changes; everything is as before after it."""
    yield world
    for base in (world.stack.issuer, origin(world)):
        world.stack.http(f"{base}/_fixture/tamper", method="DELETE")
    world.configure()
    world.restart_vaultd()


def origin(world):
    return world.stack.url.rsplit("/", 1)[0]


def say(world, path, body, at, status=200, headers=None, times=1):
    world.stack.tamper({"path": path, "mode": "status", "status": status, "body": body, "headers": headers or {}, "times": times}, at)


def say_server(world, times=1, **changes):
    document = {**world.stack.http(world.stack.issuer + SERVER[0]).json, **changes}
    for path in SERVER:
        say(world, path, document, world.stack.issuer, times=times)


def say_resource(world, **changes):
    say(world, RESOURCE, {**world.stack.http(origin(world) + RESOURCE).json, **changes}, origin(world))


def profile(world, text):
    """More lines for the service's profile."""
    world.configure()
    file = world.root / "etc/services.d/notion.conf"
    file.write_text(file.read_text() + text)
    world.restart_vaultd()


def begin(world, user="alice", **parameters):
    """The reply of a connection that is begun by paste-back, and the query of its address; it is given up again."""
    caller = world.caller(user)
    answer = caller.reply("io.vaultd.Connect.Start", {"service": "notion", "way": "paste", **parameters})
    if "error" in answer:
        return answer["error"], answer["parameters"]
    caller.reply("io.vaultd.Connect.Cancel", {"flow": answer["parameters"]["flow"]})
    url = urllib.parse.urlsplit(answer["parameters"]["authorizationUrl"])
    return url, {name: values[0] for name, values in urllib.parse.parse_qs(url.query).items()}


def test_resource_is_sent_as_the_document_has_it(host):
    for resource in (host.stack.url + "/", origin(host), origin(host) + "/"):
        say_resource(host, resource=resource)
        assert begin(host)[1]["resource"] == resource


def test_path_above_the_server_needs_root_s_word(host):
    above = f"{origin(host)}/mc"
    say_resource(host, resource=above)
    error, parameters = begin(host)
    assert error == "io.vaultd.UpstreamFailed" and "about another server" in parameters["message"]
    profile(host, f"Resource={above}\n")
    say_resource(host, resource=above)
    assert begin(host)[1]["resource"] == above


def test_issuer_by_another_name_needs_root_s_word(host):
    alias = host.stack.issuer + "/"
    say_server(host, issuer=alias)
    error, parameters = begin(host)
    assert error == "io.vaultd.UpstreamFailed" and "names another issuer" in parameters["message"]
    profile(host, f"Issuer={alias}\n")
    say_server(host, issuer=alias)
    query = begin(host)[1]
    assert query["redirect_uri"].endswith("/" + hashlib.sha256(alias.encode()).hexdigest()[:16]), "and answers are held against that name"


def test_server_that_greets_everybody_is_discovered_all_the_same(host):
    """Its tools, or their calls, are what wants a token."""
    greeting = {"jsonrpc": "2.0", "id": 2, "result": {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}}
    say(host, "/mcp", {"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "unknown"}}, origin(host), 404)
    say(host, "/mcp", greeting, origin(host), headers={"Content-Type": "application/json"})
    say(host, "/mcp", {}, origin(host), 202)
    assert begin(host)[1]["resource"] == host.stack.url


@pytest.mark.parametrize(("status", "body"), [
    (400, {"jsonrpc": "2.0", "id": 1, "error": {"code": -32022, "message": "Unsupported", "data": {"supported": ["2025-11-25"]}}}),
    (200, {"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "Method not found"}}),
    (200, {"jsonrpc": "2.0", "id": 1, "result": {"supportedVersions": ["2027-01-01"], "capabilities": {}}}),
    (405, {}), (404, {}), (500, {}), (200, {}),
], ids=lambda value: str(value)[:50])
def test_server_of_before_2026_is_greeted_its_own_way(host, status, body):
    say(host, "/mcp", body, origin(host), status, {"Content-Type": "application/json"})
    assert begin(host)[1]["resource"] == host.stack.url


@pytest.mark.parametrize("status", [403, 429])
def test_server_that_wants_to_be_left_alone_is(host, status):
    say(host, "/mcp", {}, origin(host), status)
    error, parameters = begin(host)
    assert error == "io.vaultd.UpstreamFailed" and f"HTTP {status}" in parameters["message"]


def test_client_document_takes_the_place_of_a_registration(host):
    before = host.stack.http(host.stack.issuer + "/_fixture/clients").json["registered"]
    profile(host, "ClientMetadataUrl=https://vendor.test/vaultd.json\n")
    say_server(host, client_id_metadata_document_supported=True)
    assert begin(host)[1]["client_id"] == "https://vendor.test/vaultd.json"
    assert host.stack.http(host.stack.issuer + "/_fixture/clients").json["registered"] == before
    assert begin(host)[1]["client_id"] != "https://vendor.test/vaultd.json", "a server that takes none is registered at"


def test_own_client_document_is_one_for_each_issuer(host):
    settings = "[Web]\nExternalUrl=https://vault.example.org\nClientMetadata=yes\n"
    host.configure()
    file = host.root / "etc/vaultd.conf"
    file.write_text(file.read_text().replace("[Web]\n", settings))
    host.restart_vaultd()
    say_server(host, client_id_metadata_document_supported=True)
    query = begin(host)[1]
    digest = hashlib.sha256(host.stack.issuer.encode()).hexdigest()[:16]
    assert query["client_id"] == f"https://vault.example.org/client/{digest}"
    assert query["redirect_uri"] == f"https://vault.example.org/callback/{digest}"


def test_server_that_wants_requests_pushed_gets_them_so(host):
    """RFC 9126: the browser carries the client and the request's name, and the connection goes on as ever."""
    assert "pushed_authorization_request_endpoint" in host.stack.http(host.stack.issuer + SERVER[0]).json
    say_server(host, require_pushed_authorization_requests=True)
    _, query = begin(host)
    assert set(query) == {"client_id", "request_uri"} and query["request_uri"].startswith("urn:"), query
    say_server(host, require_pushed_authorization_requests=True)
    assert host.connect("alice")["account"]["name"] == "alice@notion.test"


def test_server_that_only_offers_pushed_requests_is_asked_in_the_open(host):
    assert "state" in begin(host)[1]


@pytest.mark.parametrize("changes", [{"pushed_authorization_request_endpoint": None}, {"pushed_authorization_request_endpoint": "http://as.test/par"}])
def test_pushed_requests_that_go_nowhere_are_refused(host, changes):
    say_server(host, require_pushed_authorization_requests=True, **changes)
    assert begin(host)[0] == "io.vaultd.UpstreamFailed"


def test_refused_pushed_request_is_told_and_leaves_the_link_usable(host):
    endpoint = urllib.parse.urlsplit(host.stack.http(host.stack.issuer + SERVER[0]).json["pushed_authorization_request_endpoint"]).path
    say_server(host, require_pushed_authorization_requests=True)
    link = host.caller("bob").reply("io.vaultd.Connect.Start", {"service": "notion"})["parameters"]["link"]
    ticket = {"ticket": link.rsplit("/", 1)[1]}
    say(host, endpoint, {"error": "invalid_request"}, host.stack.issuer, 400)
    web = host.caller("vaultd-web", "web")
    refused = web.reply("io.vaultd.Web.Continue", ticket)
    assert refused["error"] == "io.vaultd.UpstreamFailed" and "invalid_request" in refused["parameters"]["message"]
    assert "request_uri=" in web.reply("io.vaultd.Web.Continue", ticket)["parameters"]["location"]
