# SPDX-License-Identifier: LGPL-2.1-or-later
"""Users who change things all at once while vaultd is killed at random instants (T27).

Each user is a process of its own uid (actor.py) and the only one who changes its vault, so what it was told is what
must be there. A storm is a host in small without a platform; vaultd is killed by SIGKILL either some random time after it was
started, be it ready or not, or at a random durable write, request, answer or reply (the hook of test builds). Then it
is started anew and each user compares. Every so often all begins again with an empty folder, so that first vaults are made, too.
"""

import json
import pathlib
import random
import select
import signal
import subprocess
import threading
import time

from world import ACCOUNTS, FIXTURES, UIDS, World, as_user

HERE = pathlib.Path(__file__).resolve().parent
N_USERS, N_NEWCOMERS = 6, 12
# Users of the storm's own; conftest.py puts them into the private /etc/passwd.
STORM_UIDS = {f"storm{i:02}": 3001 + i for i in range(N_USERS)}
NEWCOMER_UIDS = {f"newcomer{i:02}": 3101 + i for i in range(N_NEWCOMERS)}
POINTS_PER_FOLDER = 20
LIFE_SECONDS = 0.9      # of vaultd, at most, when the clock kills it
HOOK_SECONDS = 5.0      # when the hook was never reached
HOOK_POINTS = 100
HEAR_SECONDS = 90


class Actor:
    def __init__(self, world, user, others=()):
        path = [world.sockets["public"], world.sockets["control"], user, FIXTURES / "browser/browser", world.stack.ca,
                ACCOUNTS.get(user, user), world.seed, *others]
        self.user = user
        self._process = subprocess.Popen(["/usr/bin/python3", "-B", HERE / "actor.py", *map(str, path)], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True, bufsize=1, **as_user(user))

    def tell(self, word):
        self._process.stdin.write(word + "\n")

    def hear(self):
        assert select.select([self._process.stdout], [], [], HEAR_SECONDS)[0], f"the actor of {self.user} says nothing"
        line = self._process.stdout.readline()
        assert line, f"the actor of {self.user} ended"
        answer = json.loads(line)
        assert "fault" not in answer, answer["fault"]
        return answer

    def end(self):
        self._process.kill()
        self._process.communicate()


class Storm(World):
    def __init__(self, seed):
        super().__init__(platform=False, settings="[Limits]\nFlowsPerMinute=65536\n")
        self.seed, self._rng = seed, random.Random(seed)
        self.figures = {"points": 0, "acknowledged": 0, "refused": 0, "done": 0, "undone": 0, "idle": 0, "folders": 0}
        self._actors = []

    def _build(self):
        UIDS.update(STORM_UIDS)
        ACCOUNTS.update({name: f"{name}@notion.test" for name in STORM_UIDS})
        super()._build()
        self.stop_vaultd(signal.SIGKILL)
        for name in STORM_UIDS:
            self._add(Actor(self, name))
        self._add(Actor(self, "root", [f"{name}={uid}" for name, uid in NEWCOMER_UIDS.items()]))

    def _add(self, actor):
        self._actors.append(actor)
        self.callback(actor.end)

    def _all(self, word):
        for actor in self._actors:
            actor.tell(word)
        return [actor.hear() for actor in self._actors]

    def _empty(self):
        for folder in (self.root / "state", self.root / "logins"):
            for item in folder.iterdir():
                item.unlink()
        self._all("reset")
        self.figures["folders"] += 1

    def _start_and_kill(self):
        """Starts vaultd, lets everybody act, and kills it at a random point."""
        by_hook = self._rng.random() < 0.5
        environment = {"VAULTD_TEST_CRASH_AT": str(self._rng.randint(1, HOOK_POINTS))} if by_hook else None
        # Nobody waits until it listens: users try until it does.
        process = self.start_vaultd(environment, wait=False)
        for actor in self._actors:
            actor.tell("go")
        deadline = time.monotonic() + (HOOK_SECONDS if by_hook else self._rng.uniform(0, LIFE_SECONDS))
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
        process.wait()
        assert process.returncode == -signal.SIGKILL, (process.returncode, self.log("vaultd")[-3000:])

    def point(self):
        figures = self.figures
        if figures["points"] % POINTS_PER_FOLDER == 0:
            self._empty()
        self._start_and_kill()
        heard = self._all("stop")
        figures["acknowledged"] += sum(each["acknowledged"] for each in heard)
        figures["refused"] += sum(each["refused"] for each in heard)
        figures["idle"] += not any(each["acknowledged"] or each["under_way"] for each in heard)
        process = self.start_vaultd(wait=False)
        outcomes = [each["outcome"] for each in self._all("check")]
        assert process.poll() is None, self.log("vaultd")[-3000:]
        for outcome in filter(None, outcomes):
            figures[outcome] += 1
        self.stop_vaultd(signal.SIGKILL)
        figures["points"] += 1


def run(n, n_storms=2, seed=None):
    """n points over that many hosts; returns the sums of their figures and the seeds."""
    left, lock, failures = [n], threading.Lock(), []
    seeds = [f"{seed or time.time_ns()}-{i}" for i in range(n_storms)]
    figures = []

    def take():
        with lock:
            left[0] -= 1
            return left[0] >= 0 and not failures

    def work(seed_of_one):
        try:
            with Storm(seed_of_one) as storm:
                while take():
                    storm.point()
                figures.append(storm.figures)
        except BaseException as failure:    # handed to the test's own thread
            failures.append((seed_of_one, failure))

    threads = [threading.Thread(target=work, args=(each,)) for each in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise AssertionError(f"seed {failures[0][0]}: {failures[0][1]}") from failures[0][1]
    return {name: sum(each[name] for each in figures) for name in figures[0]}, seeds
