# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the system tests share: a staged release build, and machines that have it installed.

$VAULTD_STAGE names a stage that is ready (./check makes one); without it the tree is built here. Machines live
as long as a test file, so a test leaves its machine as it found it, or asks for one of its own.
"""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "machine"))
from scene import Scene, build_stage    # noqa: E402 (the folder is not a package)


@pytest.fixture(scope="session")
def stage(tmp_path_factory):
    ready = os.environ.get("VAULTD_STAGE")
    return pathlib.Path(ready) if ready else build_stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture(scope="module")
def host(stage):
    """A machine with vaultd installed and a user alice; no service is set up."""
    with Scene(stage) as scene:
        scene.install()
        scene.add_person("alice", "alice@notion.test")
        yield scene


@pytest.fixture
def fresh(stage):
    """A machine for one test, nothing installed."""
    with Scene(stage) as scene:
        yield scene
