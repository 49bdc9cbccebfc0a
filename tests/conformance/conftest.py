# SPDX-License-Identifier: LGPL-2.1-or-later
"""Borrows the scenario tests' private host, and starts what all scenarios share."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import suite    # noqa: E402 (the folder is not a package)


def pytest_configure(config):
    suite.leave_the_network()


@pytest.fixture(scope="session")
def conformance():
    with suite.Suite() as running:
        yield running
