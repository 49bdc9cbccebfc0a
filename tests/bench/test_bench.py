# SPDX-License-Identifier: LGPL-2.1-or-later
"""The benches run, and what they print is what their readers rely on. Figures are not judged here: a test machine is busy."""

import json
import os
import pathlib
import re
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
BUILD = os.environ.get("VAULTD_BUILD", HERE.parents[1] / "build/check-gcc")


def run(*arguments):
    return subprocess.run([HERE / "run", "--build", BUILD, "--rounds", "1", "--seconds", "0.1", "--vaults", "2000", *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300, check=False,
                          # The load changes its uid, and the leak check then may not look into it.
                          env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})


@pytest.mark.parametrize("name, figures", [
    ("fresh", {"whoami-fresh", "whoami-fresh-pinned", "whoami-fresh-login", "whoami-fresh-rate-64"}),
    ("pam", {"pam-open-returning", "pam-login-returning", "pam-open-first", "pam-open-first-disk"}),
    # Also holds that vaultd serves a second caller on a passed socket that is not O_NONBLOCK.
    ("activate", {"activation"}),
    ("writes", {"durable-writes-64", "read-p99-beside-64-writers"}),
    ("lookup", {f"lookup-{what}-{n}" for what in ("vault", "credential", "both") for n in (1000, 2000)}),
    ("scale", {"whoami-2000", "token-2000", "memory-2000", "start-2000"}),
    # Also holds that the pages of Admin.Users are all vaults, each once.
    ("users", {"admin-users-1000"}),
])
def test_every_figure_is_one_json_object_with_its_verdict(name, figures):
    done = run(name)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["bench"] for line in lines} == figures
    for line in lines:
        assert set(line) == {"bench", "value", "unit", "against", "ratio", "bar", "want", "ok"}
        assert line["value"] > 0 and line["ratio"] > 0
        if line["bar"] is not None:
            assert line["ok"] == (line["ratio"] >= line["bar"] if line["want"] == "at least" else line["ratio"] <= line["bar"])


def test_unknown_name_is_a_usage_error():
    done = run("no-such-bench")
    assert done.returncode == 2 and "no-such-bench" in done.stderr and done.stdout == ""


def test_list_names_every_bench():
    done = run("--list")
    written = [name for file in HERE.glob("*.py") for name in re.findall(r'^@bench\("([a-z]+)"', file.read_text(), re.MULTILINE)]
    assert len(written) > 9 and sorted(line.split()[0] for line in done.stdout.splitlines()) == sorted(written)
