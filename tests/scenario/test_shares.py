# SPDX-License-Identifier: LGPL-2.1-or-later
"""What one user makes vaultd do for connecting is that user's alone: callbacks that hang, beginnings, grants nobody claims (T26)."""

import concurrent.futures
import contextlib
import json
import signal
import time
import urllib.parse

from test_bad_input import call_back
from test_races import at_once, call
from world import FIXTURES, UIDS, Program, World, wait_for


def start(world, user, service="notion", label="default"):
    return world.caller(user).reply("io.vaultd.Connect.Start", {"service": service, "label": label})


def several_services(world, n):
    """The same server under n names, since a user has one link to a service out at a time."""
    for i in range(n):
        world.add_service(f"service-{i}", f"[Service]\nName=service-{i}\nTitle=Notion\nUrl={world.stack.url}\nCustody=host\nAccountTool=notion-get-self\nAccountIdField=id\n"
                          "AccountNameField=email\n")
    world.restart_vaultd()
    return [f"service-{i}" for i in range(n)]


def at_the_callback(world, user, service="notion", label="default"):
    """A flow of the user whose browser stands before our callback: its address."""
    link = start(world, user, service, label)["parameters"]["link"]
    return urllib.parse.urlsplit(world.browse(user, link, None, "--stop-at-redirect-to", f"http://127.0.0.1:{world.port}/callback/")["redirect"])


@contextlib.contextmanager
def hanging_callbacks(world, user, n, seconds):
    """n callbacks of the user that wait for the token endpoint, and one address more that was not called yet; gives (address, futures)."""
    urls = [at_the_callback(world, user, service) for service in several_services(world, n + 1)]
    world.stack.tamper({"path": "/token", "mode": "slow", "delay_ms": seconds * 1000, "times": 100})
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answers = [pool.submit(call_back, world, user, url) for url in urls[:n]]
        # Asked of the provider: the user's own calls would be in the way of the callbacks.
        left = lambda: world.stack.http(world.stack.issuer + "/_fixture/tamper").json["pending"][0]["times"]    # noqa: E731
        wait_for(lambda: left() == 100 - n or any(a.done() for a in answers), 20)
        assert not any(a.done() for a in answers), [a.result() for a in answers if a.done()]
        world.stack.http(world.stack.issuer + "/_fixture/tamper", method="DELETE")
        yield urls[n], answers


def states(world, user):
    """The user's flows but those that are being revoked."""
    return world.caller(user).reply("io.vaultd.Status")["parameters"]["flows"]


def test_t26_callbacks_are_charged_to_the_uid_whose_flow_it_is():
    """All come from vaultd-web's one account, whose calls alice would use up."""
    with World(settings="[Limits]\nCalls=4\n", platform=False) as world:
        with hanging_callbacks(world, "alice", 4, 90) as (_, answers):
            try:
                assert world.connect("bob")["state"] == "connected"
                assert not any(answer.done() for answer in answers), "alice's were not in the way any more"
                refused = world.caller("alice").reply("io.vaultd.WhoAmI")
                assert refused["error"] == "io.vaultd.LimitExceeded", "alice's callbacks are hers"
            finally:
                world.stop_vaultd()     # ends them


def test_t26_a_user_has_few_browsers_waiting_and_the_next_may_come_again():
    """vaultd-web has two dozen places for everybody."""
    with World(platform=False) as world:
        with hanging_callbacks(world, "alice", 4, 10) as (fifth, answers):
            status, text = call_back(world, "alice", fifth)
            assert status == 503 and "at once" in text, text
        assert [answer.result()[0] for answer in answers] == [200] * 4
        assert call_back(world, "alice", fifth)[0] == 200, "who was refused has lost nothing"


def test_t26_links_and_states_of_nobody_are_answered_and_charged_to_nobody():
    with World(settings="[Limits]\nCalls=1\n", platform=False) as world:
        url = at_the_callback(world, "alice")
        for _ in range(5):
            assert call_back(world, "bob", url, state="A" * 43)[0] == 410
        assert world.log("vaultd").count("connecting refused: unknown user, uid unknown: ") == 5
        assert call_back(world, "alice", url)[0] == 200


def test_t26_beginnings_have_a_pace():
    with World(settings="[Limits]\nFlowsPerMinute=3\n", platform=False) as world:
        flows = [start(world, "alice", label="one")["parameters"]["flow"] for _ in range(3)]
        refused = start(world, "alice", label="one")
        assert refused["error"] == "io.vaultd.LimitExceeded" and "3 times within a minute" in refused["parameters"]["message"], refused
        assert "minute" in refused["parameters"]["hint"]
        assert [flow["flow"] for flow in states(world, "alice")] == flows[-1:], "what was begun makes way for nothing"
        assert "flow" in start(world, "bob")["parameters"]
        done = world.vaultctl("alice", "connect", "notion", "--no-browser")
        assert done.returncode != 0 and "within a minute" in done.stderr and "Traceback" not in done.stderr


def test_t26_unfinished_connections_are_few_also_when_begun_at_once():
    with World(settings="[Limits]\nFlows=2\n", platform=False) as world:
        services = several_services(world, 12)
        # All would come out of their discoveries together.
        world.stack.tamper({"path": "/.well-known/*", "mode": "slow", "delay_ms": 1500, "times": 1000})
        replies = at_once(world, "alice", [call("Start", service=service) for service in services])
        assert sum("error" not in reply for reply in replies) <= 2 and len(states(world, "alice")) <= 2
        assert {reply["error"] for reply in replies if "error" in reply} == {"io.vaultd.LimitExceeded"}
        left = world.stack.http(world.stack.issuer + "/_fixture/tamper").json["pending"][0]["times"]
        assert 1000 - left <= 6, "for those that are refused nobody is asked"
        world.stack.http(world.stack.issuer + "/_fixture/tamper", method="DELETE")
        for service in services[:2]:
            start(world, "alice", service)
        assert len(states(world, "alice")) == 2
        # Connecting the same thing again takes the place of the one before.
        again = states(world, "alice")[0]
        held = {flow["service"] for flow in states(world, "alice")}
        assert "error" in start(world, "alice", next(service for service in services if service not in held))
        assert "flow" in start(world, "bob")["parameters"]
        assert again in states(world, "alice")


def records(world, user, since=0):
    """Audit lines about the uid."""
    return [line for line in world.log("vaultd")[since:].splitlines() if "MESSAGE_ID=" in line and f"VAULTD_UID={UIDS[user]} " in line + " "]


def test_t26_noted_calls_fill_no_journal_and_hide_no_change():
    with World(platform=False) as world:
        poke = json.dumps(call("Cancel", flow="f-" + "0" * 32) | {"oneway": True}).encode() + b"\0"
        assert b'"uid"' in world.caller("alice").raw(poke * 300 + b'{"method":"io.vaultd.WhoAmI"}\0')
        wait_for(lambda: len(records(world, "alice")) >= 20)
        since = len(world.log("vaultd"))
        world.connect("alice")
        world.json("alice", "disconnect", "notion")
        assert world.claim("bob", "0000-0000", want=None)["error"]
        wait_for(lambda: "service disconnected: alice" in world.log("vaultd")[since:])
        for done in ("connecting begun: alice", "grant quarantined: alice", "grant claimed: alice", "service disconnected: alice"):
            line = next(line for line in records(world, "alice", since) if done in line)
            assert "grant quarantined" in line or "VAULTD_ORIGIN=unproven" in line, "where it came from is in no other record now"
        assert any("call: " in line and "VAULTD_GROUPS=" in line for line in records(world, "bob", since)), "bob's records suffer for alice's"
        wait_for(lambda: any("records left out" in line for line in records(world, "alice")), 20, "what was left out is not counted")
        assert len(records(world, "alice")) < 80


@contextlib.contextmanager
def second_service(world):
    """Another provider and another server, configured as `slack`; gives the provider's address."""
    folder = world.root / "fixtures"
    tls = ["--tls-cert", folder / "cert.pem", "--tls-key", folder / "key.pem", "--introspection-client", f"mcp:{folder / 'introspection.secret'}"]
    with Program([FIXTURES / "provider/run", *tls, "--accounts", "bob@notion.test"], folder / "provider2.log") as provider, \
            Program([FIXTURES / "mcp/run", *tls, "--ca", world.stack.ca, "--issuer", provider.ready["issuer"]], folder / "mcp2.log") as mcp:
        world.more_upstreams = [provider.ready["issuer"], mcp.ready["url"]]
        (world.root / "etc/services.d/slack.conf").write_text(
            f"[Service]\nName=slack\nTitle=Slack\nUrl={mcp.ready['url']}\nCustody=host\nAccountTool=notion-get-self\nAccountIdField=id\nAccountNameField=email\n")
        yield provider.ready["issuer"]


def test_t26_a_provider_that_hangs_holds_up_no_other_ones_revocations():
    with World(settings="[Limits]\nFlowLifetime=12s\n", platform=False) as world, second_service(world) as issuer:
        world.configure()
        world.restart_vaultd()
        for i in range(6):
            assert call_back(world, "alice", at_the_callback(world, "alice", label=f"label-{i}"))[0] == 200
        assert "claim-code" in world.browse("bob", start(world, "bob", service="slack")["parameters"]["link"])["ids"]
        grants = lambda: world.stack.http(issuer + "/_fixture/grants").json["bob@notion.test"]["refresh_tokens"]    # noqa: E731
        assert grants() == 1
        hung = world.stack.provider._process
        hung.send_signal(signal.SIGSTOP)
        try:
            # A flow lives twelve seconds, a sweep comes every fifteen; bob's may be due one later than alice's.
            wait_for(lambda: len(states(world, "alice")) < 6, 40, "nothing of alice's is being revoked")
            time.sleep(1)
            assert len(states(world, "alice")) >= 2, "four are being revoked, the rest waits for them"
            wait_for(lambda: grants() == 0, 32, "bob's grant waits for alice's")
        finally:
            hung.send_signal(signal.SIGCONT)
        wait_for(lambda: world.grants("alice@notion.test") == (0, 0), 60, "they were given up")
