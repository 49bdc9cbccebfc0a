# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a service or its authorization server may say is foreign text: it leads nowhere it should not, and reaches no terminal or page raw (O11, T18, T28)."""

import re

import pytest

RESOURCE_METADATA = "/.well-known/oauth-protected-resource/mcp"
BAD_BYTES = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufffd]")


@pytest.fixture
def upstream(world):
    yield world
    for base in (world.stack.issuer, world.stack.url.rsplit("/", 1)[0]):
        world.stack.http(f"{base}/_fixture/tamper", method="DELETE")


def say(world, path, body=None, status=200, headers=None, at="mcp"):
    order = {"path": path, "mode": "status", "status": status, "headers": headers or {}}
    if body is not None:
        order["body"] = body
    world.stack.tamper(order, world.stack.url.rsplit("/", 1)[0] if at == "mcp" else None)


def refused(world):
    """The failure that `vaultctl connect` reports, which has to be the upstream's, in clean words."""
    answer = world.json("alice", "connect", "notion", "--no-browser", code=6)
    assert answer["error"] == "io.vaultd.UpstreamFailed" and "Notion" in answer["message"], answer
    assert not BAD_BYTES.search(answer["message"]) and len(answer["message"]) < 600, answer
    assert not BAD_BYTES.search(world.log("vaultd").replace("\n", "")[-3000:])
    return answer["message"]


@pytest.mark.parametrize("where", [
    "http://127.0.0.1/x", "https://169.254.169.254/latest", "https://10.0.0.1/x", "https://127.0.0.1:1/x", "https://[::1]/x", "https://localhost/x",
    "https://a@b.test/x", "file:///etc/passwd", "javascript:alert(1)", "https://0x7f.1/", "https://x.test/\x9b31m", "https://x.test/\xe2\x80\xae", "\xff\xfe",
    "https://x.test/" + "a" * 3000,
], ids=lambda where: repr(where[:40]))
def test_metadata_address_of_the_challenge_leads_to_no_other_place(upstream, where):
    say(upstream, "/mcp", {}, 401, {"WWW-Authenticate": f'Bearer resource_metadata="{where}"'})
    assert "may be contacted" in refused(upstream)


@pytest.mark.parametrize("document", [
    {}, [], {"resource": "https://evil.test/mcp", "authorization_servers": ["https://evil.test"]}, {"resource": "URL", "authorization_servers": []},
    {"resource": "URL/../admin", "authorization_servers": ["ISSUER"]}, {"resource": "URL\u001b[31m", "authorization_servers": ["ISSUER"]},
    {"resource": "URL", "authorization_servers": ["javascript:alert(1)"]}, {"resource": "URL", "authorization_servers": ["https://10.1.2.3/"]},
    {"resource": "URL", "authorization_servers": ["ISSUER/../x"]}, {"resource": "URL", "authorization_servers": [7]},
    {"resource": "URL", "authorization_servers": ["ISSUER"], "x": "y" * 300000},
])
def test_wrong_resource_metadata_is_refused(upstream, document):
    def fill(value):
        return value.replace("URL", upstream.stack.url).replace("ISSUER", upstream.stack.issuer) if isinstance(value, str) else value
    if isinstance(document, dict):
        document = {name: [fill(each) for each in value] if isinstance(value, list) else fill(value) for name, value in document.items()}
    say(upstream, RESOURCE_METADATA, document)
    refused(upstream)


@pytest.mark.parametrize("changes", [
    {"issuer": "https://evil.test"}, {"authorization_endpoint": "javascript:alert(1)"}, {"authorization_endpoint": "http://ISSUER/x"},
    {"authorization_endpoint": "https://x.test/\r\nSet-Cookie: a=b"}, {"authorization_endpoint": "https://x.test/#"}, {"token_endpoint": "https://user@x.test/"},
    {"code_challenge_methods_supported": ["plain"]}, {"code_challenge_methods_supported": None}, {"registration_endpoint": "https://192.168.0.1/register"},
])
def test_wrong_server_metadata_is_refused(upstream, changes):
    stack = upstream.stack
    path = "/.well-known/oauth-authorization-server"
    document = stack.http(stack.issuer + path).json
    for each in (path, "/.well-known/openid-configuration"):
        say(upstream, each, {**document, **changes}, at="provider")
    refused(upstream)


def test_scopes_that_are_none_stand_on_no_page(upstream):
    document = upstream.stack.http(upstream.stack.url.rsplit("/", 1)[0] + RESOURCE_METADATA).json
    document["scopes_supported"] = ["read", "\u001b[31mred", "turn\u202earound", "two words", "<b>\"quoted\""]
    document.pop("scopes", None)
    say(upstream, "/mcp", {}, 401, {"WWW-Authenticate": f'Bearer resource_metadata="{upstream.stack.url.rsplit("/", 1)[0]}{RESOURCE_METADATA}", scope="read \x9b31m"'})
    say(upstream, RESOURCE_METADATA, document)
    started = upstream.caller("alice").reply("io.vaultd.Connect.Start", {"service": "notion"})["parameters"]
    assert "link" in started, started
    link = started["link"]
    page = upstream.caller("vaultd-web", "web").reply("io.vaultd.Web.Page", {"ticket": link.rsplit("/", 1)[1]})["parameters"]
    assert page["scopes"][0] == "read" and set(page["scopes"][1:]) <= {"offline_access"}
