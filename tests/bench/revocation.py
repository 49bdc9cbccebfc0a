# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bench of the kill switch (V10): how long it takes until nothing on this host uses a user's credentials any more."""

import concurrent.futures
import json
import statistics
import subprocess
import time

import stage as host
from benches import bench, report
from stores import policy

LIMITS = f"[Limits]\nConnections={host.CONNECTIONS_PER_UID}\nCalls={host.CONNECTIONS_PER_UID}\nCallsPerSecond=1000000\n"
PROCESSES, CONNECTIONS = 8, 125


def revoke(stage, name, uid):
    """Milliseconds of the part on this host, as vaultd measures it; the services of a filled store do not exist, and are not waited for in it."""
    message = json.dumps({"method": "io.vaultd.Admin.Revoke", "parameters": {"uid": uid}})
    answer = json.loads(stage.call(f"{name}-control", message, 0).rstrip(b"\0"))["parameters"]
    if len(answer["grants"]) != 5:
        raise RuntimeError(f"expected five grants of uid {uid}: {answer}")
    return answer["took"] / 1000


def until_refused(stage, name, uid, began):
    """Milliseconds from then to the first read of a token that is refused: what somebody else sees of the same."""
    while True:
        asked = time.monotonic()
        try:
            stage.call(name, host.TOKEN, uid)
        except RuntimeError as refusal:
            if "io.vaultd.NotConnected" not in str(refusal):
                raise
            return (asked - began) * 1000
        if asked - began > 20:
            raise RuntimeError(f"the token of uid {uid} is still read")


@bench("revoke", "taking the five credentials of a user with 1,000 live connections of 8 processes out of use")
def run(stage, rounds, seconds):
    count = 1000
    filled = host.FilledStore(stage.program("fill"), stage.folder / "revoked", count)
    stage.add_vaultd("vaultd-revoke", LIMITS + f"[Vaults]\nUidMin=1000\nUidMax={host.FILLED_UID + count}\n", filled=filled, policy=policy(stage))
    took, seen = [], []
    try:
        for uid in host.filled_callers(count)[:rounds]:
            holders = [subprocess.Popen(stage.load_command("vaultd-revoke", "mode=hold", f"clients={CONNECTIONS}", f"uid={uid}", "uids=1"),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(PROCESSES)]
            held = sum(json.loads(each.stdout.readline())["held"] for each in holders)
            if held != PROCESSES * CONNECTIONS:
                raise RuntimeError(f"only {held} connections are held")
            stage.call("vaultd-revoke", host.TOKEN, uid)
            with concurrent.futures.ThreadPoolExecutor() as pool:
                began = time.monotonic()
                answer = pool.submit(revoke, stage, "vaultd-revoke", uid)
                seen.append(until_refused(stage, "vaultd-revoke", uid, began))
                took.append(answer.result())
            for each in holders:
                each.communicate()
    finally:
        stage.end_vaultd("vaultd-revoke")
    report("revoke-1000-connections", statistics.median(took), "ms", "limit-1000", statistics.median(took) / 1000, bar=1.0)
    report("revoke-seen-by-others", statistics.median(seen), "ms", "limit-1000", statistics.median(seen) / 1000, bar=1.0)
