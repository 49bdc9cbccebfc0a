# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many connections of one user from several processes, and what became of each: for tests of what ends them.

A `Crowd` is a number of processes under the user's uid. Each holds connections of four kinds: *idle*, *readers* (Token.Read in turn, one after
the other, all the time), *waiters* (Connect.Start with `more`, at its first reply, each of a service of its own: see `services()`) and *starters* (Session.Start under way). `end()` stops them
and returns what they saw, with times of CLOCK_MONOTONIC, which all processes share.
"""

import json
import subprocess

from world import as_user

CODE = r"""
import json, select, socket, sys, time
path, number, n = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
now = lambda: time.clock_gettime(time.CLOCK_MONOTONIC)
def connect():
    s = socket.socket(socket.AF_UNIX); s.connect(path); return s
def call(s, method, parameters=None, **more):
    s.sendall(json.dumps({"method": method, "parameters": parameters or {}, **more}).encode() + b"\0")
def answer(s):
    data = b""
    while not data.endswith(b"\0"):
        piece = s.recv(65536)
        if not piece: return None
        data += piece
    return json.loads(data.rstrip(b"\0").split(b"\0")[-1])
idle = [connect() for _ in range(n["idle"])]
readers = [connect() for _ in range(n["readers"])]
waiting = {}
for i in range(n["waiters"]):
    s = connect(); call(s, "io.vaultd.Connect.Start", {"service": "w%d-%d" % (number, i)}, more=True)
    first = answer(s); assert first and first["parameters"]["state"] == "pending", first
    waiting[s] = "waiter"
plan = None
for i in range(n["starters"]):
    s = connect()
    if plan is None:
        call(s, "io.vaultd.Session.Plan", {"servers": ["notion"]}); plan = answer(s)["parameters"]["digest"]
    call(s, "io.vaultd.Session.Start", {"servers": ["notion"], "plan": plan}); waiting[s] = "starter"
seen = {"reads": [], "ended": [], "total": len(idle) + len(readers) + len(waiting)}
print(json.dumps({"connections": seen["total"]}), flush=True)
at = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    if readers:
        s, begin = readers[at % len(readers)], now(); at += 1
        call(s, "io.vaultd.Token.Read", {"service": "notion"})
        got = answer(s)
        seen["reads"].append([begin, now(), got.get("error") if got else "closed"])
    else:
        time.sleep(0.005)
    for s in select.select(list(waiting), [], [], 0)[0] if waiting else ():
        got = answer(s)
        seen["ended"].append([waiting.pop(s), now(), got.get("error") if got else "closed"])
seen["left"] = sorted(waiting.values())
seen["alive"] = 0
for s in idle:
    call(s, "io.vaultd.WhoAmI"); seen["alive"] += bool(answer(s))
print(json.dumps(seen), flush=True)
"""


def services(world, n_processes, n_waiters):
    """What waiters wait for: a user has one link to a service out at a time. For the next start of vaultd."""
    for number in range(n_processes):
        for i in range(n_waiters):
            world.add_service(f"w{number}-{i}", f"[Service]\nName=w{number}-{i}\nTitle=Notion\nUrl={world.stack.url}\nAccountTool=notion-get-self\n")


class Crowd:
    def __init__(self, world, user, n_processes, **connections):
        self.processes = [subprocess.Popen(["/usr/bin/python3", "-c", CODE, str(world.sockets["public"]), str(i), json.dumps(
            {"idle": 0, "readers": 0, "waiters": 0, "starters": 0, **connections})], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            **as_user(user)) for i in range(n_processes)]
        for process in self.processes:
            world.callback(lambda process=process: process.poll() is None and process.kill())

    def ready(self):
        """Waits until all are connected; how many connections that is."""
        return sum(json.loads(process.stdout.readline())["connections"] for process in self.processes)

    def end(self):
        """What each process saw."""
        for process in self.processes:
            process.stdin.write("end\n")
            process.stdin.flush()
        return [json.loads(process.communicate(timeout=60)[0].splitlines()[-1]) for process in self.processes]
