# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host in small on which vaultd is killed at a chosen point, again and again.

The fixtures (provider, MCP server, platform emulator) go on over all points, only vaultd's state is put back: starting
them anew would cost more than everything else. Whatever former points left at the platform is told apart
by a snapshot of the ids that were there before.
"""

import contextlib
import os
import queue
import secrets
import shutil
import signal
import socket
import threading
import time

from world import UIDS, World, wait_for

N_WORKERS = 2
PLATFORM_LISTS = ("vaults", "agents", "environments", "sessions")
# What the process may still be doing when its client has heard everything.
GRACE_SECONDS = 0.3


class Ground(World):
    def __init__(self, **options):
        super().__init__(**{"platform": True, **options})
        self.crash_log = None
        self.before, self.decoys, self.grants_before = {}, [], 0

    def _build(self):
        super()._build()
        self.crash_log = self._secret("crash.log", b"", "vaultd")
        self.stop_vaultd()

    # State

    def reset(self, state=None):
        """Puts vaultd's folders back to nothing, or to a copy that keep() made, plants a decoy and takes the snapshot."""
        self.stop_vaultd(signal.SIGKILL)
        for folder in (self.root / "state", self.root / "logins"):
            for item in folder.iterdir():
                item.unlink()
        for file in state.iterdir() if state else ():
            shutil.copy(file, self.root / "state")
            os.chown(self.root / "state" / file.name, UIDS["vaultd"], UIDS["vaultd"])
        self.ask_platform("/_emulator/faults", method="DELETE")
        self.decoys = []
        self.plant_decoy()
        self.before = {kind: {each["id"] for each in self.platform_all(f"/v1/{kind}")} for kind in PLATFORM_LISTS}
        self.grants_before = self.grants("alice@notion.test")[1]

    def keep(self, name):
        """Stops vaultd in good order and copies its state; the copy is what reset() takes."""
        self.stop_vaultd()
        shutil.copytree(self.root / "state", self.root / name)
        return self.root / name

    def plant_decoy(self):
        """T35: who holds a workspace key can plant a vault with our name and tags. It must stay as it was planted."""
        # The decoy's own create must not use up a fault that waits for ours.
        waiting = self.ask_platform("/_emulator/faults")
        self.ask_platform("/_emulator/faults", method="DELETE")
        name = f"vaultd {socket.gethostname()}/alice"
        decoy = self.ask_platform("/v1/vaults", {"display_name": name, "metadata": {
            "vaultd_nonce": secrets.token_hex(16), "vaultd_uid": str(UIDS["alice"]), "vaultd_host": socket.gethostname()}})
        self.decoys.append(decoy)
        if self.before:
            self.before["vaults"].add(decoy["id"])
        self.fault(*waiting)

    # Processes

    def start(self, point=None, environment=None):
        """Starts vaultd, to be killed at that point. Returns once it answers or is dead."""
        self.crash_log.write_bytes(b"")
        environment = {"VAULTD_TEST_CRASH_LOG": str(self.crash_log), **(environment or {})}
        if point:
            environment["VAULTD_TEST_CRASH_AT"] = str(point)
        process = self.start_vaultd(environment, wait=False)
        deadline = time.monotonic() + 20
        while process.poll() is None and not self._accepts():
            assert time.monotonic() < deadline, self.log("vaultd")[-3000:]
            time.sleep(0.01)
        with contextlib.suppress(FileNotFoundError):
            os.chown(self.sockets["web"], UIDS["vaultd-web"], UIDS["vaultd-web"])
            os.chown(self.sockets["control"], 0, 0)
        assert point or process.poll() is None, self.log("vaultd")[-3000:]

    def was_killed(self, is_complete):
        """Whether the hook struck. What broke off without it is a failure of its own."""
        deadline = time.monotonic() + (GRACE_SECONDS if is_complete else 10)
        while self.vaultd_process.poll() is None:
            if time.monotonic() > deadline:
                assert is_complete, "the operation broke off although vaultd was not killed:\n" + self.log("vaultd")[-3000:]
                return False
            time.sleep(0.02)
        assert self.vaultd_process.returncode == -signal.SIGKILL, self.log("vaultd")[-3000:]
        return True

    def trail(self):
        """Names of the points that this run of vaultd passed, the last one being where it was killed."""
        return [line.split(" ", 1)[1] for line in self.crash_log.read_text().splitlines()]

    # The platform, past vaultd

    def new(self, kind):
        return [each for each in self.platform_all(f"/v1/{kind}") if each["id"] not in self.before[kind]]

    def check_decoys(self):
        there = {each["id"]: each for each in self.platform_all("/v1/vaults")}
        for decoy in self.decoys:
            assert there[decoy["id"]] == decoy, "the decoy was touched"
            assert self.platform_all(f"/v1/vaults/{decoy['id']}/credentials") == [], "a credential went into the decoy"

    def check_one_of_everything(self):
        """Starts a session to the end and holds the platform's side against ours: nothing doubled, nothing orphaned."""
        session = self.json("alice", "session", "start", "--yes")["session"]
        ours = [each["id"] for each in self.new("vaults")]
        assert len(ours) == 1, f"{len(ours)} platform vaults instead of one"
        assert session["vaultIds"] == ours
        active = [each for each in self.platform_all(f"/v1/vaults/{ours[0]}/credentials") if not each["archived_at"]]
        assert [each["auth"]["mcp_server_url"] for each in active] == [self.stack.url]

        def bound():
            return sorted(each["id"] for each in self.new("sessions") if each["vault_ids"] == ours)
        wait_for(lambda: bound() == sorted(each["id"] for each in self.json("alice", "session", "list")["sessions"]), 20,
                 "the platform's sessions of the vault are not those that we list")
        assert len(bound()) == len(self.new("sessions")), "a session that is bound to something else"
        assert len(self.new("agents")) == 1 and len(self.new("environments")) == 1
        self.check_decoys()
        return session["id"]


class Campaign:
    """Tries n = 1, 2, … on all grounds until a run completes. try_point(ground, n) returns where it was killed, or None."""

    def __init__(self, grounds, try_point, limit=0):
        self._grounds, self._try, self._limit = grounds, try_point, limit
        self._lock = threading.Lock()
        self._next = 1
        self._is_over = False
        self.places = {}
        self._failures = queue.Queue()

    def _take(self):
        with self._lock:
            if self._is_over or (self._limit and self._next > self._limit):
                return None
            self._next += 1
            return self._next - 1

    def _work(self, ground):
        while (point := self._take()) is not None:
            try:
                place = self._try(ground, point)
            except BaseException as failure:    # handed to the test's own thread
                trail = ground.trail() if ground.crash_log else []
                self._failures.put((point, trail, failure))
                self._is_over = True
                return
            if place is None:
                self._is_over = True
            else:
                self.places[point] = place

    def run(self):
        threads = [threading.Thread(target=self._work, args=(ground,)) for ground in self._grounds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if not self._failures.empty():
            point, trail, failure = self._failures.get()
            raise AssertionError(f"killed at point {point}, {trail[-1:]}: {failure}") from failure
        assert self._limit or self._is_over
        return len(self.places)

    def by_name(self):
        names = list(self.places.values())
        return ", ".join(f"{names.count(name)} {name}" for name in sorted(set(names)))
