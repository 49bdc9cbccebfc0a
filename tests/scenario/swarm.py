#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hundreds of users of one service, each with an account and a grant of their own.

`users(n)` puts them into the private host's passwd for the time of a `with`; `connect()` connects all of them, by paste-back, from a few
processes; `read()` has any number of callers of each ask for the token at once and says what each uid was told.

As a program it is one of those processes: it starts as root and is another user, real and effective uid, whenever it connects to vaultd
or writes to it, which is all that the kernel tells vaultd about.
"""

import collections
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import select
import socket
import subprocess
import sys
import time

FIRST_UID = 20001
PASSWD = pathlib.Path("/etc/passwd")


@contextlib.contextmanager
def users(n):
    """{name: uid}; account_of() says how each is called at the provider."""
    before = PASSWD.read_text()
    crowd = {f"user{i}": FIRST_UID + i for i in range(n)}
    try:
        PASSWD.write_text(before + "".join(f"{name}:x:{uid}:{uid}::/nonexistent:/bin/sh\n" for name, uid in crowd.items()))
        yield crowd
    finally:
        PASSWD.write_text(before)


def account_of(name):
    return f"{name}@notion.test"


def _run(world, orders, n_processes):
    processes = []
    for i in range(n_processes):
        process = subprocess.Popen(["/usr/bin/python3", "-B", __file__, str(world.sockets["public"]), str(world.root / "bin/browser"), str(world.stack.ca)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        world.callback(lambda process=process: process.poll() is None and process.kill())
        process.stdin.write(json.dumps(orders(i)) + "\n")
        process.stdin.flush()
        processes.append(process)
    answers = [json.loads(process.communicate(timeout=240)[0]) for process in processes]
    return {name: answer for each in answers for name, answer in each.items()}


def connect(world, crowd, n_processes=3):
    everybody = list(crowd.items())
    told = _run(world, lambda i: {"do": "connect", "users": everybody[i::n_processes]}, n_processes)
    assert {name: account_of(name) for name in crowd} == told, told


def read(world, callers, timeout=120):
    """callers: {name: (uid, how many)}. {name: {answer: how many}}, where an answer is a token or the name of an error; all ask before any is answered."""
    return _run(world, lambda _: {"do": "read", "users": [(name, uid, n) for name, (uid, n) in callers.items()], "timeout": timeout}, 1)


# The process.

@contextlib.contextmanager
def being(uid):
    os.setresgid(uid, uid, 0)
    os.setresuid(uid, uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


def ask(path, uid, method, **parameters):
    with being(uid), contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
        s.settimeout(60)
        s.connect(path)
        s.sendall(json.dumps({"method": method, "parameters": parameters}).encode() + b"\0")
        data = b""
        while not data.endswith(b"\0"):
            piece = s.recv(65536)
            if not piece:
                raise OSError("vaultd closed the connection")
            data += piece
    answer = json.loads(data[:-1])
    if "error" in answer:
        raise OSError(f"{method}: {answer}")
    return answer["parameters"]


def load_browser(path):
    loader = importlib.machinery.SourceFileLoader("browser", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("browser", loader))
    loader.exec_module(module)
    return module


def do_connect(path, browser, ca, name, uid):
    begun = ask(path, uid, "io.vaultd.Connect.Start", service="notion", way="paste")
    found = browser.flow(browser.Browser(ca, 30, "http://127.0.0.1"), begun["authorizationUrl"], account_of(name), False)
    account = ask(path, uid, "io.vaultd.Connect.Paste", flow=begun["flow"], redirectUrl=found)["account"]
    return ask(path, uid, "io.vaultd.Connect.Claim", flow=begun["flow"], account=account["id"])["account"]["name"]


def do_read(path, everybody, timeout):
    waiting, told = {}, {name: collections.Counter() for name, _, _ in everybody}
    for name, uid, n in everybody:
        with being(uid):
            for _ in range(n):
                s = socket.socket(socket.AF_UNIX)
                s.connect(path)
                waiting[s.fileno()] = (s, name, uid, bytearray())
    for s, _, uid, _ in waiting.values():
        with being(uid):
            s.sendall(b'{"method":"io.vaultd.Token.Read","parameters":{"service":"notion"}}\0')
    events = select.poll()
    for descriptor in waiting:
        events.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + timeout
    while waiting and time.monotonic() < deadline:
        for descriptor, _ in events.poll(1000):
            s, name, _, data = waiting[descriptor]
            piece = s.recv(65536)
            data += piece
            if not piece or data.endswith(b"\0"):
                answer = json.loads(data[:-1]) if piece else {"error": "closed"}
                told[name][answer.get("error") or answer["parameters"]["token"]] += 1
                events.unregister(descriptor)
                del waiting[descriptor]
                s.close()
    for _, name, _, _ in waiting.values():
        told[name]["no answer"] += 1
    return told


def main():
    path, browser, ca = sys.argv[1:]
    order = json.loads(sys.stdin.readline())
    if order["do"] == "read":
        answer = do_read(path, order["users"], order["timeout"])
    else:
        module = load_browser(browser)
        answer = {name: do_connect(path, module, ca, name, uid) for name, uid in order["users"]}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
