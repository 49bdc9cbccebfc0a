# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs scenarios of the MCP conformance suite against the vaultd of this tree, without any network but loopback."""

import contextlib
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import shutil

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"
sys.path[:0] = [str(FIXTURES)]
from fixture_stack import Program    # noqa: E402 (the folder is not a package)

REVISIONS = ("2025-11-25", "2026-07-28")


def directory():
    """Where the suite is installed."""
    return pathlib.Path(subprocess.run([FIXTURES / "node/install"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def package():
    return directory() / "node_modules/@modelcontextprotocol/conformance"


def required(revision):
    """The names of the scenarios about authorization that a client of this revision has to pass, by the suite's own list."""
    section, names = None, []
    for line in (package() / f"requirements/{revision}.yaml").read_text().splitlines():
        if re.match(r"\w+:", line):
            section = line.split(":")[0]
        name = re.match(r"\s+-\s+(auth/\S+)", line)
        if section == "client" and name:
            names.append(name[1])
    return names


class Suite(contextlib.ExitStack):
    """The mirror and a place for results; `play` runs one scenario."""

    def __enter__(self):
        super().__enter__()
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="vaultd-conformance-run-"))
        self.callback(shutil.rmtree, self.root, ignore_errors=True)
        self.root.chmod(0o755)
        subprocess.run([FIXTURES / "tls/make-ca", self.root / "tls", "*.suite.test"], check=True)
        mirror = self.enter_context(Program([HERE / "mirror", "--tls-cert", self.root / "tls/cert.pem", "--tls-key", self.root / "tls/key.pem"],
                                            self.root / "mirror.log"))
        self.proxy = mirror.ready["proxy"]
        self.node, self.package = directory() / "node_modules/node/bin/node", package()
        return self

    def play(self, scenario, revision, client=HERE / "client"):
        """(whether it passed, what there is to read about it)"""
        results = self.root / f"{revision}-{scenario.replace('/', '-')}"
        command = f"{client} {self.proxy} {self.root / 'tls/ca.pem'}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("NODE_", "npm_"))}
        done = subprocess.run([self.node, self.package / "dist/index.js", "client", "--command", command, "--scenario", scenario,
                               "--spec-version", revision, "--timeout", "90000", "-o", results],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, env=environment)
        checks = [json.loads(each.read_text()) for each in results.rglob("checks.json")]
        # A scenario that was skipped, or checked nothing, also ends with 0.
        seen = sum(check["status"] == "SUCCESS" for check in checks[0]) if checks else 0
        return done.returncode == 0 and seen > 0, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


def leave_the_network():
    """Moves this process to the private host of the scenario tests: loopback and nothing else, and alice among its users."""
    # Both folders have a conftest.py, so the other one is loaded under a name of its own.
    spec = importlib.util.spec_from_file_location("scenario_host", HERE.parent / "scenario/conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.pytest_configure(None)
