# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the system tests share: a staged release build, and machines that have it installed.

$VAULTD_STAGE names a stage that is ready (./check makes one); without it the tree is built here. Machines live
as long as a test file, so a test leaves its machine as it found it, or asks for one of its own.

Everything here runs under the units as they are shipped: at the end of each machine that is looked at, and a drop-in or an edited
unit fails the run.
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


UNITS = ("vaultd.service", "vaultd.socket", "vaultd-control.socket", "vaultd-webapi.socket", "vaultd-web.service", "vaultd-web.socket")


def changes_to_units(scene, stage):
    """What makes a machine's units differ from the shipped ones; None where vaultd is not installed."""
    folder = "usr/lib/systemd/system"
    if not all(scene.path(f"/{folder}/{unit}").exists() for unit in UNITS):
        return None
    changed = [unit for unit in UNITS if scene.path(f"/{folder}/{unit}").read_bytes() != (stage / folder / unit).read_bytes()]
    shown = scene.run(["systemctl", "show", "--property=Id,FragmentPath,DropInPaths,NeedDaemonReload", *UNITS]).stdout
    for block in shown.strip().split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines())
        if not unit["FragmentPath"].endswith(f"/lib/systemd/system/{unit['Id']}") or unit["DropInPaths"] or unit["NeedDaemonReload"] != "no":
            changed.append(block)
    return changed


@pytest.fixture(scope="session", autouse=True)
def shipped_units(stage):
    stop, looks = Scene.stop, []

    def look_and_stop(scene):
        try:
            if scene.leader:
                looks.append(changes_to_units(scene, stage))
        finally:
            stop(scene)

    Scene.stop = look_and_stop
    yield
    Scene.stop = stop
    assert [changed for changed in looks if changed] == []


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
