# SPDX-License-Identifier: LGPL-2.1-or-later
"""A copy of the tree with a sanitizer build of its own, in which tests are run and their outcomes told apart.

An outcome is "passed", "failed" (a check of the test did not hold), "broken" (it ended otherwise: a crash, a time limit, an
exception that is no check) or "missing". Only "failed" says that a test holds a guard.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree

PYTHON = "/usr/bin/python3"
OPTIONS = ["--prefix=/usr", "--buildtype=debug", "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dtest_hooks=true"]
# What the Python suites start.
PROGRAMS = ["daemon/vaultd", "daemon/web/vaultd-web", "client/vaultctl", "pam_module/pam_vaultd.so", "tests/pam/pam-driver"]
SANITIZER = re.compile(r"ERROR: AddressSanitizer|runtime error: |Assertion `.*' failed")
# A member that is missing from an answer is as good as a wrong one.
CHECKS = re.compile(r"(AssertionError|KeyError|Failed|assert )")
TIME_LIMIT = 300


class Ground:
    def __init__(self, source, folder, jobs):
        self.folder = pathlib.Path(folder)
        self.tree, self.build, self.jobs = self.folder / "tree", self.folder / "build", jobs
        self._copy(source)
        self._environment = {**os.environ, "VAULTD_BUILD": str(self.build), "PYTHONDONTWRITEBYTECODE": "1"}
        if not (self.build / "build.ninja").exists():
            self._run(["meson", "setup", self.build, self.tree, *OPTIONS], check=True)
        self._describe()

    def _copy(self, source):
        """What git knows and what is new, without what it ignores; only what differs, so that a folder that is kept is not built anew."""
        listed = subprocess.run(["git", "-C", source, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True, text=True, check=True)
        names = {name for name in listed.stdout.split("\0") if name and (source / name).is_file()}
        for name in names:
            old, new = self.tree / name, source / name
            if not old.is_file() or old.read_bytes() != new.read_bytes():
                old.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(new, old)
            shutil.copymode(new, old)
        for old in self.tree.rglob("*"):
            name = old.relative_to(self.tree)
            if old.is_file() and name.parts[0] != ".git" and str(name) not in names:
                old.unlink()

    def _run(self, command, check=False, limit=1800, cwd=None):
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", env=self._environment, cwd=cwd, timeout=limit)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}")
        return done

    def _describe(self):
        """Which test of the build runs which source, and what must be built for it."""
        self._run(["ninja", "-C", self.build, "build.ninja"], check=True)
        targets = json.loads((self.build / "meson-info/intro-targets.json").read_text())
        files = {target["id"]: os.path.relpath(target["filename"][0], self.build.resolve()) for target in targets}
        sources = {target["filename"][0]: [source for group in target["target_sources"] for source in group.get("sources", ())] for target in targets}
        self._by_source = {}
        for test in json.loads((self.build / "meson-info/intro-tests.json").read_text()):
            needs = [files[each] for each in test["depends"] if each in files]
            for source in [test["cmd"][0], *sources.get(test["cmd"][0], ())]:
                path = os.path.relpath(source, self.tree.resolve())
                if path.startswith("tests/"):
                    self._by_source.setdefault(path, (test["name"], needs))

    def _is_built(self, test):
        return test.partition("::")[0] in self._by_source

    def make(self, tests):
        """Builds what the tests need. "" or what the compiler said."""
        needs = set()
        for test in tests:
            needs.update(self._by_source[test.partition("::")[0]][1] if self._is_built(test) else PROGRAMS)
        done = self._run(["ninja", "-C", self.build, "-j", self.jobs, *sorted(needs)])
        return "" if done.returncode == 0 else done.stdout[-3000:]

    def test(self, tests):
        """Runs them; {test: (outcome, what was said)}."""
        outcomes = {}
        built = [test for test in tests if self._is_built(test)]
        if built:
            outcomes.update(self._test_built(built))
        suites = {}
        for test in tests:
            if not self._is_built(test):
                suites.setdefault(test.split("/")[1], []).append(test)
        for suite in suites.values():
            outcomes.update(self._test_python(suite))
        return outcomes

    def _test_built(self, tests):
        said = self._meson_test(sorted({self._program(test) for test in tests if ".py::" not in test}))
        # A program in Python is pytest inside, and runs what it is asked for.
        for program in {self._program(test) for test in tests if ".py::" in test}:
            words = " or ".join(sorted({test.partition("::")[2].partition("[")[0] for test in tests if self._program(test) == program}))
            said.update(self._meson_test([program], ["--test-args", f"-k '{words}'"]))
        return {test: self._judge_tap(said.get(self._program(test)), test.partition("::")[2]) for test in tests}

    def _program(self, test):
        """Its name in meson."""
        return self._by_source[test.partition("::")[0]][0]

    def _meson_test(self, programs, options=()):
        """What each program said."""
        log = self.build / "meson-logs/testlog.json"
        log.unlink(missing_ok=True)
        if programs:
            self._run(["meson", "test", "-C", self.build, "--no-rebuild", "--num-processes", self.jobs, *options, *programs])
        entries = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return {entry["name"].rpartition(" / ")[2]: entry for entry in entries}

    @staticmethod
    def _judge_tap(entry, name):
        """The one line of TAP with this name, of a program that neither crashed nor was stopped."""
        if not entry:
            return "missing", "it was not run"
        out, err = entry.get("stdout") or "", entry.get("stderr") or ""
        lines = re.findall(rf"^(not )?ok \d+ -? ?{re.escape(name)}(?:\[.*\])?\s*(#.*)?$" if name else r"^(not )?ok \d+\b.*?(#.*)?$", out, re.MULTILINE)
        if any(refused for refused, _ in lines) and not SANITIZER.search(out + err) and "Test failed with exception" not in out + err:
            return "failed", ""
        if any(refused for refused, _ in lines) or entry["returncode"] < 0 or entry["result"] in ("TIMEOUT", "ERROR", "INTERRUPT"):
            return "broken", f"{entry['result']}, exit code {entry['returncode']}: {(out + err)[-600:]}"
        if not lines or any("SKIP" in mark for _, mark in lines):
            return "missing", out[-300:]
        return "passed", ""

    def _test_python(self, tests):
        with tempfile.NamedTemporaryFile(suffix=".xml") as report:
            try:
                self._run([PYTHON, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", "--junit-xml", report.name, *tests],
                          limit=TIME_LIMIT + 60 * len(tests), cwd=self.tree)
            except subprocess.TimeoutExpired:
                return {test: ("broken", "it took too long") for test in tests}
            text = pathlib.Path(report.name).read_text()
        cases = list(xml.etree.ElementTree.fromstring(text).iter("testcase")) if text else []
        return {test: self._judge_python([case for case in cases if self._is_case(case, test)]) for test in tests}

    @staticmethod
    def _is_case(case, test):
        file, _, name = test.partition("::")
        if case.get("classname") != file.removesuffix(".py").replace("/", "."):
            return False
        return case.get("name") == name or "[" not in name and case.get("name").partition("[")[0] == name

    @staticmethod
    def _judge_python(cases):
        """Of a test with parameters one failure is enough."""
        if not cases:
            return "missing", "it was not run"
        worst = "passed", ""
        for case in cases:
            failure, error = case.find("failure"), case.find("error")
            if failure is not None:
                text = failure.text or ""
                if CHECKS.match(failure.get("message") or "") and not SANITIZER.search(text):
                    return "failed", text[-600:]
                worst = "broken", text[-1500:]
            elif error is not None:
                worst = "broken", (error.text or "")[-600:]
            elif case.find("skipped") is not None and worst[0] == "passed":
                worst = "missing", "it was skipped"
        return worst
