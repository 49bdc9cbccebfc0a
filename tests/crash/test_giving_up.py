# SPDX-License-Identifier: LGPL-2.1-or-later
"""vaultd is killed at each point of giving a connection up (T27, O9, V10): by its user, and by `admin revoke`.

Whatever was acknowledged stays so; and in the end nothing is left that nobody holds: a grant is either whole, in use and shown, or
revoked at its service, archived at the platform and erased here. The start does that by itself; nobody asks again.
"""

import os
import signal

from ground import Campaign
from world import wait_for

LIMIT = int(os.environ.get("VAULTD_CRASH_POINTS", "0"))     # 0: all
ACCOUNT = "alice@notion.test"


def control(ground, *arguments):
    return ground.json("root", "--socket", str(ground.sockets["control"]), "admin", *arguments, code=None)


def connections(ground):
    return [each["state"] for each in ground.json("alice", "status")["connections"]]


def flows(ground):
    return [each["state"] for each in ground.json("alice", "status")["flows"]]


def copies(ground):
    """The copies in alice's platform vault that are alive."""
    [vault] = ground.new("vaults")
    return [each["id"] for each in ground.platform_all(f"/v1/vaults/{vault['id']}/credentials") if not each["archived_at"]]


def grants(ground):
    return tuple(now - before for now, before in zip(ground.grants(ACCOUNT), ground.grants_at_first))


def prepare(ground, is_parking):
    """Alice has notion connected and a copy of it on the platform, and perhaps a second account that waits for its claim."""
    ground.reset()
    ground.grants_at_first = ground.grants(ACCOUNT)
    ground.start()
    ground.connect("alice")
    ground.json("alice", "session", "start", "--yes")
    if is_parking:
        terminal, page = ground.park("alice", None, "--as", "second")
        assert terminal.hear()["state"] == "quarantined"
        terminal.kill()
        ground.parked_code = page["ids"]["claim-code"]
    ground.stop_vaultd()


def disconnect(ground):
    answer = ground.json("alice", "disconnect", "notion", "--yes", code=None)
    return "error" not in answer


def revoke(ground):
    answer = control(ground, "revoke", "--user", "alice")
    return "error" not in answer


def is_settled(ground):
    """Every grant at the provider has its holder here, and every copy at the platform its connection."""
    n = len(connections(ground))
    held = n + flows(ground).count("quarantined")
    return "revoking" not in flows(ground) and grants(ground) == (held, held) and len(copies(ground)) == n


def finish(ground, is_acknowledged):
    wait_for(lambda: is_settled(ground), 20,
             f"left over: {connections(ground)} {flows(ground)}, {grants(ground)} grants, {len(copies(ground))} copies")
    states = connections(ground)
    assert states in ([], ["active"]), states
    assert not is_acknowledged or states == [], "what was given up is in use again"
    if states:
        # Whole: it works as before.
        ground.json("alice", "session", "start", "--yes")
        assert len(copies(ground)) == 1
    ground.check_decoys()
    return states


def finish_revocation(ground, is_acknowledged):
    states = finish(ground, is_acknowledged)
    if is_acknowledged:
        assert flows(ground) == [], "a grant that waits for its claim outlived the revocation"
        assert "error" in ground.claim("alice", ground.parked_code, want=None)
    if not states:
        assert control(ground, "revoke", "--user", "alice")["grants"] == [], "its record was not erased"


def campaign(grounds, operation, finish_it, is_parking):
    outcomes = {}

    def try_point(ground, point):
        prepare(ground, is_parking)
        ground.start(point)
        is_complete = ground.vaultd_process.poll() is None and operation(ground)
        was_killed = ground.was_killed(is_complete)
        place = ground.trail()[-1] if was_killed else None
        ground.stop_vaultd(signal.SIGKILL)
        ground.start()
        finish_it(ground, is_complete)
        outcomes[point] = is_complete
        return place

    run = Campaign(grounds, try_point, LIMIT)
    return run, run.run(), outcomes


def test_disconnect_is_finished_by_the_start_whenever_the_power_fails(grounds, tell):
    run, n, _ = campaign(grounds, disconnect, finish, is_parking=False)
    tell(f"{n} points in disconnect ({run.by_name()})")
    assert LIMIT or n >= 8


def test_revocation_is_finished_by_the_start_whenever_the_power_fails(grounds, tell):
    run, n, _ = campaign(grounds, revoke, finish_revocation, is_parking=True)
    tell(f"{n} points in admin revoke ({run.by_name()})")
    assert LIMIT or n >= 10
