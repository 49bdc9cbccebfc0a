# SPDX-License-Identifier: LGPL-2.1-or-later
"""SIGKILL at random instants under several users at once (T27): nothing acknowledged is lost, nothing else is half there."""

import os

import storm

POINTS = int(os.environ.get("VAULTD_CRASH_RANDOM", "40"))


def test_nothing_acknowledged_is_lost_whenever_vaultd_is_killed(tell):
    figures, seeds = storm.run(POINTS, seed=os.environ.get("VAULTD_CRASH_SEED") or None)
    tell(f"random kills: {figures['points']} points ({figures['idle']} before anybody was heard) over {figures['folders']} folders, "
         f"{figures['acknowledged']} acknowledged changes, all there; of {figures['done'] + figures['undone']} under way {figures['done']} were done and "
         f"{figures['undone']} not, none by half (seeds {', '.join(seeds)})")
    assert figures["points"] == POINTS
    assert figures["acknowledged"] > POINTS
    # The fixtures' own troubles must stay the exception.
    assert figures["refused"] <= figures["acknowledged"] / 20, figures
    # Otherwise nobody was ever interrupted.
    assert POINTS < 40 or (figures["done"] and figures["undone"])
