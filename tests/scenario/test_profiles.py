# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shipped service profiles, each against a fixture that answers in that service's documented shapes (O7, O9, T14, T18).

The fixture puts on record whatever the real service would not take; a test that does not provoke that ends with an empty record.
"""

import re
import time

import pytest
from service_world import SHIPPED, Services
from world import World, wait_for

# What each service calls alice, and the account that is pinned for her.
ACCOUNTS = {
    "asana": ("1201234567890", "alice@example.test"), "github": ("583231", "alice-gh"), "gitlab": ("42", "42"),
    "google": ("1081234567890", "alice@example.test"), "jira": ("712020:alice", "Alice A."),
    "linear": ("5f0c1b9e-0000-4000-8000-00000000a11c", "alice@example.test"), "notion": ("b3c1f0aa-0000-4000-8000-00000000a11c", "Alice"),
    "sentry": ("123456", "Alice A."), "slack": ("T0ACME/U0ALICE", "alice/Acme"),
}
WITHOUT_REVOCATION = {"jira", "notion"}     # no way is documented


@pytest.fixture(scope="module")
def services():
    with World() as world:
        yield Services(world).lead_all()


@pytest.fixture(autouse=True)
def at_peace(request):
    yield
    if "services" in request.fixturenames:
        services = request.getfixturevalue("services")
        for name in services.ready:
            services.order(name, login="alice", trouble={}, end=True)   # what could not be revoked is tried again and again otherwise


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


# What a service says no with

def failed(services, name, user="alice"):
    """The failure of a connect, and the page that the browser ended at."""
    terminal, page = services.begin(name, user)
    fault = terminal.hear()
    terminal.end()
    return fault, page


@pytest.mark.parametrize("name, word", [("github", "bad_verification_code"), ("slack", "invalid_code"), ("jira", "invalid_grant"), ("google", "invalid_grant")])
def test_no_to_the_code_is_heard_whatever_its_status(services, name, word):
    services.order(name, trouble={"token": word})
    fault, page = failed(services, name)
    assert fault["error"] == "io.vaultd.FlowFailed" or fault["error"] == "io.vaultd.UpstreamFailed", fault
    assert word in fault["message"] and "claim-code" not in page["ids"]
    status = 403 if name == "jira" else 400 if name == "google" else 200
    assert f"HTTP {status}" in fault["message"]
    assert [c for c in services.world.json("alice", "status")["connections"] if c["service"] == name] == []


def test_answer_as_a_form_is_read(services):
    services.order("github", trouble={"form": True})
    assert services.connect("github")["account"]["id"] == "583231"
    services.disconnect("github")
    services.order("github", trouble={"form": True, "token": "bad_verification_code"})
    assert "bad_verification_code" in failed(services, "github")[0]["message"]


@pytest.mark.parametrize("name", sorted(ACCOUNTS))
def test_somebody_else_is_not_taken_for_the_pinned_account(services, name):
    """The other's name is chosen so that it looks like alice's wherever its owner may choose it."""
    services.connect(name)      # the first one pins
    services.disconnect(name)
    services.order(name, login="mallory")
    fault, page = failed(services, name)
    assert "claim-code" not in page["ids"]
    if name == "sentry":    # her name has the words that stand in front of the id
        assert fault["error"] in ("io.vaultd.FlowFailed", "io.vaultd.UpstreamFailed") and "does not say whose account it is" in fault["message"], fault
    else:
        assert fault["error"] == "io.vaultd.AccountChanged" and fault["pinned"] == ACCOUNTS[name][1], fault
    if name not in WITHOUT_REVOCATION:
        wait_for(lambda: services.live(name) == [], what="the other's grant is in force")


# The way back

@pytest.mark.parametrize("name", ["github", "google", "linear", "slack"])
def test_access_that_was_removed_there_is_no_failure_to_revoke(services, name):
    services.connect(name)
    services.order(name, end=True)
    assert services.live(name) == []
    done = services.disconnect(name)
    assert done["revoked"] is True, done


@pytest.mark.parametrize("name, trouble, word", [("github", 422, "HTTP 422"), ("slack", "ratelimited", "ratelimited")])
def test_revocation_that_failed_is_told(services, name, trouble, word):
    services.connect(name)
    services.order(name, trouble={"revoke": trouble})
    done = services.disconnect(name)
    assert done["revoked"] is False and word in done["notice"], done
    assert len(services.live(name)) == 1


@pytest.mark.parametrize("app", [False, True])
def test_nothing_to_revoke_is_not_believed_while_the_token_works(services, app):
    """GitHub says 404 also to a client whose secret was changed since."""
    services.order("github", trouble={"app": app})
    services.connect("github")
    services.order("github", trouble={"revoke": 404, "app": app})
    done = services.disconnect("github")
    assert done["revoked"] is False and "still works" in done["notice"] and len(services.live("github")) == 1, done


def test_nothing_to_revoke_is_not_looked_into_at_another_address_than_the_grants(services, variant):
    """The profile names another server by now, and AccountUrl= is that one's: the token of before is none of its business."""
    services.connect("github")
    variant("github", f"Url={services.ready['github']['origin']}/moved/mcp")
    services.order("github", trouble={"revoke": 404})
    done = services.disconnect("github")
    assert done["revoked"] is True and len(services.live("github")) == 1, done
    services.order("github", end=True)


def test_grant_is_revoked_as_its_record_says_after_the_service_was_taken_off_the_host(services):
    world = services.world
    services.connect("github")
    (world.root / "etc/services.d/github.conf").symlink_to("/dev/null")
    try:
        world.restart_vaultd()
        done = world.caller("root", "control").reply("io.vaultd.Admin.Revoke", {"user": "alice", "service": "github"})
        wait_for(lambda: services.live("github") == [], what=f"the grant is in force: {done}")
    finally:
        (world.root / "etc/services.d/github.conf").unlink()
        world.restart_vaultd()


# Tokens that run out

@pytest.mark.parametrize("name", ["github", "slack"])
def test_grant_whose_token_ran_out_is_taken_back_all_the_same(services, name):
    """Only an access token in force revokes there; of one that is not, the service says that it is gone, and the grant lives on."""
    services.order(name, trouble={"life": 1, "app": True})
    services.connect(name)
    services.order(name, trouble={})
    time.sleep(1.1)
    assert len(services.live(name)) == 1
    done = services.disconnect(name)
    assert done["revoked"] is True and services.live(name) == [], done
    # The same after its refresh token was used up by others.
    services.order(name, trouble={"life": 1, "app": True})
    services.connect(name)
    services.order(name, trouble={}, end=True)
    time.sleep(1.1)
    assert services.disconnect(name)["revoked"] is True


READERS = "".join(f"[Server {name}]\nTokenReaders=user:alice\n" for name in sorted(ACCOUNTS))


def expired(services, name):
    """Connected, with an access token whose time is over."""
    services.configure(policy=READERS)
    services.world.restart_vaultd()
    services.order(name, trouble={"life": 1})
    services.connect(name)
    services.order(name, trouble={})
    time.sleep(1.1)
    return services.live(name)[-1]


@pytest.mark.parametrize("name", ["asana", "google", "jira", "notion", "slack"])
def test_refreshed_as_the_service_wants_it(services, name):
    before = expired(services, name)
    done = services.world.vaultctl("alice", "token", name)
    after = services.live(name)[-1]
    assert done.stdout.strip() == after["access"] != before["access"], done
    # Google and Asana give no new refresh token, the others take the old one out of force.
    assert (after["refresh"] == before["refresh"]) == (name in ("asana", "google"))
    services.order(name, trouble={"life": 1})
    services.disconnect(name)
    if name not in WITHOUT_REVOCATION:
        assert services.live(name) == []
    assert services.state(name)["complaints"] == []


@pytest.mark.parametrize("name, word", [("jira", "invalid_grant"), ("slack", "invalid_refresh_token"), ("slack", "token_revoked"), ("google", "invalid_grant")])
def test_end_of_a_grant_is_understood_in_the_services_words(services, name, word):
    expired(services, name)
    services.order(name, trouble={"token": word})
    done = services.world.vaultctl("alice", "token", name)
    assert done.returncode == 3 and f"vaultctl connect {name}" in done.stderr, done
    [connection] = [c for c in services.world.json("alice", "status")["connections"] if c["service"] == name]
    assert connection["state"] == "needs-reconnect"
    services.order(name, trouble={})
    services.disconnect(name)


@pytest.mark.parametrize("name, word", [("jira", "temporarily_unavailable"), ("slack", "ratelimited")])
def test_other_trouble_does_not_end_a_grant(services, name, word):
    expired(services, name)
    services.order(name, trouble={"token": word})
    assert services.world.vaultctl("alice", "token", name).returncode == 6
    [connection] = [c for c in services.world.json("alice", "status")["connections"] if c["service"] == name]
    assert connection["state"] == "active"
    services.order(name, trouble={})
    services.disconnect(name)


# Other shapes of the same services

def with_drop_in(services, name, lines):
    services.drop_in(name, "30-variant", lines)
    services.world.restart_vaultd()


@pytest.fixture
def variant(services):
    """Changes a service for one test."""
    changed = []

    def change(name, *lines):
        changed.append(name)
        with_drop_in(services, name, lines)

    yield change
    for name in set(changed):
        services.remove_drop_in(name, "30-variant")
    services.world.restart_vaultd()


def test_scopes_go_by_the_name_and_with_the_separator_of_the_profile(services, variant):
    variant("slack", "Scopes=chat:write users:read", "AuthorizationParameters=team=T0ACME prompt=consent", "Resource=none")
    services.connect("slack")
    parameters = services.live("slack")[0]["parameters"]
    assert parameters["scope"] == "chat:write,users:read" and parameters["team"] == "T0ACME" and parameters["prompt"] == "consent"
    assert "resource" not in parameters and parameters["code_challenge_method"] == "S256"
    assert parameters["redirect_uri"].startswith("http://localhost:")
    services.disconnect("slack")
    variant("slack", "ScopeParameter=user_scope")
    services.connect("slack")
    parameters = services.live("slack")[0]["parameters"]
    assert "scope" not in parameters and "channels:history" in parameters["user_scope"]
    services.disconnect("slack")
    assert services.state("slack")["complaints"] == []


def test_graphql_tells_whose_account_it_is(services, variant):
    origin = services.ready["linear"]["origin"]
    (services.world.root / "etc/services.d/linear.conf").write_text(
        f"[Service]\nName=linear\nTitle=Linear\nUrl={origin}/mcp\nAccountUrl={origin}/graphql\n"
        'AccountBody={"query":"query { viewer { id name email organization { urlKey } } }"}\n'
        "AccountIdField=data.viewer.id\nAccountNameField=data.viewer.email data.viewer.organization.urlKey\n")
    try:
        services.remove_drop_in("linear", "10-fixture")
        services.world.restart_vaultd()
        connected = services.connect("linear")
        assert connected["account"]["id"] == ACCOUNTS["linear"][0] and connected["account"]["name"] == "alice@example.test/acme"
        services.disconnect("linear")
    finally:
        (services.world.root / "etc/services.d/linear.conf").unlink()
        services.lead("linear")
        services.world.restart_vaultd()


def test_answer_that_the_profile_counts_as_done_is_done_and_no_other(services, variant):
    """The refresh token goes first and takes the access token along, of which that address then says 400."""
    endpoint = f"RevocationEndpoint={services.ready['linear']['origin']}/direct/revoke"
    variant("linear", endpoint)
    services.connect("linear")
    done = services.disconnect("linear")
    assert done["revoked"] is False and "HTTP 400" in done["notice"] and services.live("linear") == [], done
    variant("linear", endpoint, "RevokedAnswers=400")
    services.connect("linear")
    assert services.disconnect("linear")["revoked"] is True


def test_device_flow_where_everything_is_http_200_and_a_form(services, variant):
    allowed = services.world.root / "accounts"
    allowed.write_text("alice 583231\n")
    variant("github", "Device=yes", f"DeviceEndpoint={services.ready['github']['origin']}/login/device/code", f"AccountMatch={allowed}")
    services.order("github", trouble={"device": "authorization_pending", "form": True})
    terminal = services.world.converse("alice", "connect", "github", "--device", "--yes")
    prompt = terminal.hear()
    assert prompt["state"] == "pending" and prompt["userCode"] == "WDJB-MJHT", prompt
    polled = lambda: [call["polled"] for call in services.state("github")["calls"] if "polled" in call]     # noqa: E731
    before = len(polled())
    wait_for(lambda: len(polled()) > before, what="nobody polls")
    services.order("github", trouble={"device": "slow_down", "form": True})
    wait_for(lambda: "slow_down" in polled(), what="nobody polls any more")
    services.order("github", trouble={"device": "approved", "form": True})
    assert [terminal.hear(30)["state"], terminal.hear(30)["state"]] == ["quarantined", "connected"]
    assert terminal.end()[0] == 0
    services.order("github", trouble={})
    services.disconnect("github")
    assert services.live("github") == []


def test_life_of_the_profile_counts_where_the_answer_tells_none(services, variant):
    services.connect("github")
    [connection] = [c for c in services.world.json("alice", "status")["connections"] if c["service"] == "github"]
    assert "expires" not in connection
    services.disconnect("github")
    variant("github", "TokenLife=8h")
    services.connect("github")
    [connection] = [c for c in services.world.json("alice", "status")["connections"] if c["service"] == "github"]
    assert 8 * 3600 - 60 < connection["expires"] / 1e6 - time.time() <= 8 * 3600
    services.disconnect("github")


def test_text_that_looks_like_a_form_is_no_answer(services):
    """A form is one that says so; a page of whoever stands in between is none."""
    services.order("github", trouble={"page": "access_token=from-a-page&token_type=bearer"})
    fault, page = failed(services, "github")
    assert "did not give a token" in fault["message"] and "claim-code" not in page["ids"], fault
