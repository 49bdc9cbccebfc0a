# SPDX-License-Identifier: LGPL-2.1-or-later
"""A power cut within a refresh (O6, T21, T27): what the record says after it, and what the next use makes of it.

The same points at two providers. The strict one takes a refresh token that comes a second time for a stolen one and ends the grant, so an
answer that was lost there costs a new consent, and the state must say so; the lenient one bears with it, so nothing is lost. Whatever
happens: no state is better than what is known, and the old token goes out once more at most.
"""

import base64
import signal
import subprocess
import threading
import urllib.parse

import pytest
from ground import Ground
from world import as_user, wait_for

AGED = {"VAULTD_TEST_CLOCK_OFFSET": "7200"}     # the access token is over, the refresh token is not
ACCOUNT = "alice@notion.test"

# Point → (place that it is, state after the restart, state after the next use at the strict and at the lenient one, requests after the restart).
# Places are counted from "http-before-send", which a refresh has once. Where the answer is lost the strict provider has heard the token twice.
POINTS = {
    "before the attempt is written": (-2, "store-before-commit", "active", "active", "active", 1),
    "the attempt is written": (-1, "store-after-commit", "refreshing", "active", "active", 1),
    "before it is sent": (0, "http-before-send", "refreshing", "active", "active", 1),
    "it was sent": (None, None, "refreshing", "needs-reconnect", "active", 1),
    "the answer was read": (1, "http-after-answer", "refreshing", "needs-reconnect", "active", 1),
    "before the new pair is committed": (2, "store-before-commit", "refreshing", "needs-reconnect", "active", 1),
    "the new pair is committed": (3, "store-after-commit", "active", "active", "active", 0),
    "the caller was told": (4, "reply", "active", "active", "active", 0),
}


def requests(ground):
    counts = ground.stack.http(ground.stack.issuer + "/_fixture/refreshes").json
    return counts["done"].get(ACCOUNT, 0) + counts["refused"]


def begin(ground):
    """A connection whose access token is over at the next start."""
    ground.reset()
    ground.start()
    ground.connect("alice")
    ground.stop_vaultd()


def read(ground):
    return ground.json("alice", "token", "notion", code=None)


def judged(ground, token):
    """Whose token it is, as the provider says; None: it is not alive."""
    name, secret = ground.stack.introspection
    answer = ground.stack.http(ground.stack.issuer + "/token/introspection", urllib.parse.urlencode({"token": token}).encode(),
                               {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}).json
    return answer.get("email") if answer["active"] else None


def state(ground):
    [connection] = ground.json("alice", "status")["connections"]
    return connection["state"]


def send_place(ground):
    """The number of the place at which the refresh of a token read is sent."""
    begin(ground)
    ground.start(environment=AGED)
    assert "token" in read(ground)
    return ground.trail().index("http-before-send") + 1


def cut_while_it_is_under_way(ground):
    ground.start(environment=AGED)
    ground.stack.tamper({"path": "/token", "mode": "hold", "delay_ms": 4000})
    before = requests(ground)
    reader = subprocess.Popen(ground.command("token", "notion"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ground.environment(), **as_user("alice"))
    wait_for(lambda: requests(ground) > before, what="no refresh was sent")
    ground.stop_vaultd(signal.SIGKILL)
    reader.wait(20)


def try_point(ground, base, name):
    """Returns what was found: (state after the restart, state after the next use, requests after the restart)."""
    offset, place = POINTS[name][:2]
    begin(ground)
    told = {}
    if offset is None:
        cut_while_it_is_under_way(ground)
    else:
        ground.start(base + offset, AGED)
        told = read(ground)
        assert ground.was_killed("token" in told) and ground.trail()[-1] == place, ground.trail()
    ground.start(environment=AGED)
    first, before = state(ground), requests(ground)
    answer = read(ground)
    after = state(ground)
    if "token" in told:
        assert answer.get("token") == told["token"], "a token that was told is another one now"
    if after == "active":
        assert judged(ground, answer["token"]) == ACCOUNT, "what was handed out is not alive at the provider"
    else:
        assert answer["error"] == "io.vaultd.NotConnected" and answer["hint"] == "Run: vaultctl connect notion"
        # Dead is dead: nothing is sent any more, also after one more restart.
        ground.stop_vaultd()
        ground.start(environment=AGED)
        dead = requests(ground)
        assert read(ground)["error"] == "io.vaultd.NotConnected" and requests(ground) == dead and state(ground) == "needs-reconnect"
        ground.stop_vaultd()
        return first, after, dead - before
    return first, after, requests(ground) - before


@pytest.fixture(scope="module")
def servers():
    from contextlib import ExitStack
    with ExitStack() as stack:
        grounds = {"strict": stack.enter_context(Ground(platform=False)), "lenient": stack.enter_context(Ground(platform=False, provider_options=("--lenient",)))}
        for ground in grounds.values():
            ground.configure(policy="[Server notion]\nTokenReaders=user:alice\n")
        yield grounds


def test_refresh_is_finished_or_says_that_it_cannot_be_wherever_the_power_fails(servers, tell):
    found, failures = {}, []

    def work(kind, ground):
        try:
            base = send_place(ground)
            for name in POINTS:
                found[name, kind] = try_point(ground, base, name)
        except BaseException as failure:    # handed to the test's own thread
            failures.append(failure)

    threads = [threading.Thread(target=work, args=each) for each in servers.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    wrong = []
    for name, (_, _, first, strict, lenient, n) in POINTS.items():
        for kind, after in (("strict", strict), ("lenient", lenient)):
            verdict = "as expected" if found[name, kind] == (first, after, n) else f"FOUND {found[name, kind]}"
            tell(f"refresh, {kind} server, killed when {name}: expected {first}, then {after} after {n} more request{'s' * (n != 1)}; {verdict}")
            if found[name, kind] != (first, after, n):
                wrong.append((name, kind, found[name, kind]))
    assert not wrong, wrong
