# SPDX-License-Identifier: LGPL-2.1-or-later
"""Borrows the scenario tests' private host and says at the end how many points each operation has."""

import importlib.util
import pathlib
import sys

import pytest

SCENARIO = pathlib.Path(__file__).resolve().parents[1] / "scenario"
sys.path.insert(0, str(SCENARIO))

SUMMARY = pytest.StashKey[list]()


def _scenario_host():
    # Both folders have a conftest.py, so the other one is loaded under a name of its own.
    spec = importlib.util.spec_from_file_location("scenario_host", SCENARIO / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pytest_configure(config):
    host = _scenario_host()
    from storm import NEWCOMER_UIDS, STORM_UIDS
    host.USERS.update(STORM_UIDS | NEWCOMER_UIDS)
    host.pytest_configure(config)
    config.stash[SUMMARY] = []


@pytest.fixture(scope="session")
def grounds():
    """Two independent hosts in small, so that two points can be tried at a time."""
    from contextlib import ExitStack
    from ground import N_WORKERS, Ground
    with ExitStack() as stack:
        yield [stack.enter_context(Ground()) for _ in range(N_WORKERS)]


@pytest.fixture
def tell(request):
    """Adds a line to the summary at the end of the run."""
    return request.config.stash[SUMMARY].append


def pytest_terminal_summary(terminalreporter, config):
    for line in config.stash[SUMMARY]:
        terminalreporter.write_line(line)
