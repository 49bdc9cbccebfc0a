# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every scenario about authorization that a revision of MCP requires of a client, played by vaultctl, vaultd, its callback and a claim."""

import pytest

import suite

CASES = [(revision, scenario) for revision in suite.REVISIONS for scenario in suite.required(revision)]


@pytest.mark.parametrize(("revision", "scenario"), CASES, ids=["-".join(case) for case in CASES])
def test_required_scenario_passes(conformance, revision, scenario):
    is_passed, text = conformance.play(scenario, revision)
    assert is_passed, text


def test_nothing_required_is_left_out():
    counts = {revision: len(suite.required(revision)) for revision in suite.REVISIONS}
    assert counts == {"2025-11-25": 14, "2026-07-28": 25}


def test_a_client_that_does_nothing_passes_nothing(conformance):
    """The verdict is the suite's: it is heard when it says no."""
    assert not conformance.play("auth/metadata-default", "2025-11-25", client="false")[0]
