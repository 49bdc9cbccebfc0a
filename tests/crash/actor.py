#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""One user of the storm (storm.py): does what changes vaultd's state, and knows what it was told.

Runs under the user's own uid, since vaultd asks the kernel who it is. Reads one word a line: `go` (begin to
act), `stop` (vaultd was killed: say how it stands), `check` (vaultd is up again: compare), `reset` (the state folder was
emptied), and answers each but `go` with one JSON line. What was acknowledged is the model; the one call that was under way
when vaultd died may have happened wholly or not at all, and every other finding is a fault.

usage: actor.py SOCKET CONTROL-SOCKET USER BROWSER CA ACCOUNT SEED [NAME=UID…]
With NAME=UID arguments it is root at the control socket, who registers first logins, locks and unlocks these.
"""

import importlib.machinery
import importlib.util
import json
import os
import random
import select
import socket
import sys
import time

SETTLE_SECONDS = 20


class Died(Exception):
    """vaultd went away; nothing is known of the call."""


class Away(Exception):
    """vaultd does not listen; nothing was asked."""


class Refused(Exception):
    """The service failed, as vaultd says; it has been seen what that led to."""


class Fault(Exception):
    """What must not be."""


class Vaultd:
    def __init__(self, path):
        self._path, self._socket = path, None

    def close(self):
        if self._socket:
            self._socket.close()
        self._socket = None

    def connect(self):
        if self._socket is not None:
            return
        fresh = socket.socket(socket.AF_UNIX)
        try:
            fresh.settimeout(30)
            fresh.connect(self._path)
        except OSError:
            fresh.close()
            raise Away from None
        self._socket = fresh

    def call(self, method, **parameters):
        """(parameters of the reply, None) or (None, name and text of the error)."""
        self.connect()
        try:
            self._socket.sendall(json.dumps({"method": method, "parameters": parameters}).encode() + b"\0")
            data = b""
            while not data.endswith(b"\0"):
                piece = self._socket.recv(65536)
                if not piece:
                    raise Died
                data += piece
        except TimeoutError:
            raise Fault(f"{method}: no answer for 30 seconds") from None
        except (OSError, Died):
            self.close()
            raise Died from None
        answer = json.loads(data[:-1])
        if "error" in answer:
            return None, answer["error"] + " " + str(answer["parameters"].get("message"))
        return answer["parameters"], None


def load_browser(path):
    loader = importlib.machinery.SourceFileLoader("browser", path)
    spec = importlib.util.spec_from_loader("browser", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class User:
    """The model is (vault, flow, connected): the vault's id or None, (id, state) of the flow or None, whether notion is connected."""

    def __init__(self, vaultd, rng, browser, ca, account):
        self.vaultd, self.rng, self.browser, self.ca, self.account = vaultd, rng, browser, ca, account
        self.reset()

    def reset(self):
        self.vault, self.flow, self.connected = None, None, False
        self.redirect = self.account_id = None
        self.allowed = []       # other models that the call under way may have led to
        self.under_way = None
        self.n_acknowledged = self.n_refused = 0

    def _acts(self, name, allowed, method, **parameters):
        """A call that changes something; allowed: models that are right as well when vaultd dies meanwhile."""
        self.vaultd.connect()
        self.under_way, self.allowed = name, allowed
        answer, error = self.vaultd.call(method, **parameters)
        self.under_way = None
        if error and error.startswith("io.vaultd.UpstreamFailed"):
            # The fixtures work for all storms at once and run late at times. Nothing was acknowledged; the flow may have been ended.
            self.n_refused += 1
            self.allowed = [*allowed, (self.vault, None, self.connected)]
            self.check()
            raise Refused
        self.allowed = []
        if error:
            raise Fault(f"{name}: {error}")
        self.n_acknowledged += 1
        return answer

    def whoami(self):
        if self.vault is None:
            answer = self._acts("whoami", [("*", self.flow, self.connected)], "io.vaultd.WhoAmI")
        else:
            answer, error = self.vaultd.call("io.vaultd.WhoAmI")    # changes nothing
            if error:
                raise Fault(f"whoami: {error}")
        if self.vault not in (None, "*", answer["vault"]["id"]):
            raise Fault(f"the vault was {self.vault} and is {answer['vault']['id']}")
        self.vault = answer["vault"]["id"]

    def start(self, way):
        allowed = [(self.vault or "*", flow, self.connected) for flow in (None, ("*", "pending"))]
        if self.vault is None:
            allowed.append(("*", self.flow, self.connected))
        answer = self._acts("start", allowed, "io.vaultd.Connect.Start", service="notion", way=way, replaceAccount=True)
        self.vault = self.vault or "*"
        self.flow, self.redirect = (answer["flow"], "pending"), None
        if way == "paste":
            self._consent(answer["authorizationUrl"])

    def _consent(self, url):
        found = self.browser.flow(self.browser.Browser(self.ca, 20, "http://127.0.0.1"), url, self.account, False)
        if not isinstance(found, str):
            raise Fault(f"the provider shows a page instead of a redirect: {found.text[:200]}")
        self.redirect = found

    def paste(self):
        allowed = [(self.vault, flow, self.connected) for flow in (None, (self.flow[0], "quarantined"))]
        redirect, self.redirect = self.redirect, None
        self.account_id = self._acts("paste", allowed, "io.vaultd.Connect.Paste", flow=self.flow[0], redirectUrl=redirect)["account"]["id"]
        self.flow = (self.flow[0], "quarantined")

    def claim(self):
        self._acts("claim", [(self.vault, None, True)], "io.vaultd.Connect.Claim", flow=self.flow[0], account=self.account_id)
        self.flow, self.connected = None, True

    def cancel(self):
        self._acts("cancel", [(self.vault, None, self.connected)], "io.vaultd.Connect.Cancel", flow=self.flow[0])
        self.flow = None

    def disconnect(self):
        self._acts("disconnect", [(self.vault, self.flow, False)], "io.vaultd.Connect.Disconnect", service="notion")
        self.connected = False

    def act(self):
        choices = [self.whoami, lambda: self.start("page"), lambda: self.start("paste")]
        if self.flow and self.flow[1] == "quarantined":
            choices += [self.claim] * 4 + [self.cancel]
        elif self.flow and self.redirect:
            choices += [self.paste] * 4
        elif self.flow:
            choices += [self.cancel] * 2
        if self.connected:
            choices += [self.disconnect] * 2
        self.rng.choice(choices)()

    def _found(self):
        """How it stands by vaultd's own word; None while a start still tidies up."""
        answer, error = self.vaultd.call("io.vaultd.Status")
        if error:
            return (error,)
        flows = [(each["flow"], each["state"]) for each in answer["flows"]]
        states = [each["state"] for each in answer["connections"]]
        self.account_id = next((each["account"]["id"] for each in answer["flows"] if each.get("account")), None)
        if len(flows) > 1 or len(states) > 1:
            raise Fault(f"more than one: {flows} {states}")
        if any(state == "exchanging" for _, state in flows):
            return None
        connected = {(): False, ("active",): True}.get(tuple(states), *states)
        return (answer["vault"] or {}).get("id"), flows[0] if flows else None, connected

    @staticmethod
    def _fits(model, found):
        vault, flow, connected = model
        # Status makes a vault for who has none yet, so whether there was one before cannot be told here (Root can).
        return (vault in (None, "*", found[0]) and connected == found[2]
                and (flow == found[1] or (flow is not None and found[1] is not None and flow[0] in ("*", found[1][0]) and flow[1] == found[1][1])))

    def check(self):
        """Compares and takes over what is there. Returns what became of the call under way: None, "done" or "undone"."""
        before, deadline = (self.vault, self.flow, self.connected), time.monotonic() + SETTLE_SECONDS
        while True:
            found = self._found()
            if found and len(found) == 3:
                if self._fits(before, found):
                    outcome = "undone"
                    break
                if any(self._fits(model, found) for model in self.allowed):
                    outcome = "done"
                    break
            if time.monotonic() > deadline:
                raise Fault(f"found {found} after a restart; acknowledged was {before}, under way {self.under_way}, which allows {self.allowed}")
            time.sleep(0.02)
        under_way, self.under_way, self.allowed = self.under_way, None, []
        self.vault, self.flow, self.connected = found
        if self.flow is None or self.flow[1] != "pending" or before[1] != self.flow:
            self.redirect = None
        return outcome if under_way not in (None, "whoami") else None


class Root:
    """Registers logins of users who have no vault yet; locks and unlocks vaults."""

    def __init__(self, vaultd, rng, users):
        self.vaultd, self.rng, self.users = vaultd, rng, users
        self.reset()

    def reset(self):
        self.known = {}     # name: (vault id, state)
        self.under_way = None
        self.n_acknowledged = self.n_refused = 0

    def act(self):
        name = self.rng.choice(list(self.users))
        self.vaultd.connect()
        if name not in self.known:
            self.under_way = (name, "login")
            answer, error = self.vaultd.call("io.vaultd.Login.Open", uid=self.users[name], user=name, service="storm", leader=os.getpid())
            if error:
                raise Fault(f"login of {name}: {error}")
            self.under_way, self.known[name] = None, ("*", "active")
            self.n_acknowledged += 1
            self.vaultd.call("io.vaultd.Login.Close", session=answer["session"])
            return
        wanted = "active" if self.known[name][1] == "locked" else "locked"
        self.under_way = (name, wanted)
        answer, error = self.vaultd.call("io.vaultd.Admin." + ("Lock" if wanted == "locked" else "Unlock"), uid=self.users[name])
        if error:
            raise Fault(f"{wanted} of {name}: {error}")
        self.under_way, self.known[name] = None, (answer["vault"]["id"], wanted)
        self.n_acknowledged += 1

    def check(self):
        answer, error = self.vaultd.call("io.vaultd.Admin.Users")
        if error:
            raise Fault(error)
        uids, outcome = {uid: name for name, uid in self.users.items()}, None
        found = {uids[each["uid"]]: (each["id"], each["state"]) for each in answer["vaults"] if each["uid"] in uids}
        for name in self.users:
            there, model = found.get(name), self.known.get(name)
            is_model = there is None if model is None else there is not None and model[0] in ("*", there[0]) and model[1] == there[1]
            if self.under_way and self.under_way[0] == name:
                wanted = "active" if self.under_way[1] == "login" else self.under_way[1]
                is_done = there is not None and there[1] == wanted and (model is None or model[0] in ("*", there[0]))
                outcome = "undone" if is_model else "done" if is_done else "wrong"
            if not is_model and outcome in (None, "wrong"):
                raise Fault(f"{name}: found {there}, acknowledged was {model}, under way {self.under_way}")
            if not is_model and self.under_way and self.under_way[0] != name:
                raise Fault(f"{name}: found {there}, acknowledged was {model}")
        self.known, self.under_way = found, None
        return outcome


class Words:
    """Lines of standard input, with a look at whether there is one: what a file object has read ahead cannot be seen."""

    def __init__(self):
        self._bytes = b""

    def is_there(self):
        return b"\n" in self._bytes or bool(select.select([0], [], [], 0)[0])

    def next(self):
        while b"\n" not in self._bytes:
            piece = os.read(0, 1000)
            if not piece:
                return None
            self._bytes += piece
        word, self._bytes = self._bytes.split(b"\n", 1)
        return word.decode()


def run(actor, words):
    """Acts until there is a next word or vaultd dies."""
    while not words.is_there():
        try:
            actor.act()
        except Refused:
            pass
        except Away:
            time.sleep(0.005)   # not up yet, or gone while nothing was asked
        except Died:
            break


def check(actor, vaultd):
    vaultd.close()
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            return actor.check()
        except (Away, Died):
            if time.monotonic() > deadline:
                raise Fault("vaultd does not answer after its restart") from None
            time.sleep(0.01)


def main():
    public, control, user, browser, ca, account, seed, *others = sys.argv[1:]
    rng = random.Random(seed + user)
    vaultd = Vaultd(control if others else public)
    if others:
        actor = Root(vaultd, rng, {name: int(uid) for name, uid in (each.split("=") for each in others)})
    else:
        actor = User(vaultd, rng, load_browser(browser), ca, account)
    words, fault = Words(), None
    while (word := words.next()) is not None:
        answer = {}
        try:
            if word == "go":
                vaultd.close()
                actor.n_acknowledged, actor.n_refused, fault = 0, 0, None
                run(actor, words)
                continue
            if word == "stop":
                vaultd.close()
                answer = {"fault": fault} if fault else {"acknowledged": actor.n_acknowledged, "refused": actor.n_refused, "under_way": bool(actor.under_way)}
            elif word == "check":
                answer = {"outcome": check(actor, vaultd)}
            elif word == "reset":
                vaultd.close()
                actor.reset()
        except Fault as found:
            fault = f"{user}: {found}"
            if word == "go":
                continue
            answer = {"fault": fault}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
