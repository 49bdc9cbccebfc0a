# SPDX-License-Identifier: LGPL-2.1-or-later
"""A stand-in for vaultd's io.vaultd.Web socket.

It checks every call against daemon/api/io.vaultd.Web.varlink: a method or member that is not there is
noted in `violations`, which every test looks at in the end. Answers are set by the test, per method: a dict of reply
parameters, an Error, bytes to send as they are, or a function of the parameters that returns one of these."""

import json
import pathlib
import re
import socket
import threading
import time

INTERFACE = pathlib.Path(__file__).parents[2] / "daemon/api/io.vaultd.Web.varlink"


class Error(Exception):
    """An error reply: Error("io.vaultd.FlowFailed", message=…, hint=…)."""

    def __init__(self, name, **parameters):
        super().__init__(name)
        self.name = name
        self.parameters = parameters


def declared_methods():
    """{"Page": {"ticket": is_required}} from the interface file."""
    text = re.sub(r"#.*", "", INTERFACE.read_text())
    methods = {}
    for name, inputs in re.findall(r"method (\w+)\(([^)]*)\)", text):
        members = [m.split(":") for m in inputs.split(",") if m.strip()]
        methods[name] = {n.strip(): not t.strip().startswith("?") for n, t in members}
    return methods


def in_ten_minutes():
    return int((time.time() + 600) * 1_000_000)


def card(service, title, **more):
    return {"service": service, "title": title, "label": "default", "kind": "grant", "state": "none", "renews": False, **more}


class FakeVaultd:
    def __init__(self, path):
        self.path = str(path)
        self.calls = []
        self.violations = []
        self.declared = declared_methods()
        assert set(self.declared) == {"Page", "Continue", "Callback", "Invitation", "Enter", "Services", "Begin", "Offer", "Leave"}
        self.answers = {
            "Page": {
                "user": "alice", "host": "build1.example.org", "service": "notion", "title": "Notion",
                "upstream": "https://mcp.notion.com/mcp", "scopes": ["read", "write"], "expires": in_ten_minutes(),
            },
            "Continue": {"location": "https://auth.example.org/authorize?client_id=abc&state=xyz"},
            "Callback": {
                "user": "alice", "host": "build1.example.org", "title": "Notion",
                "account": "Alice Archer (alice@example.org)", "claimCode": "7KQ2-M4XD-9RTB", "expires": in_ten_minutes(),
            },
            "Invitation": {"user": "alice", "host": "build1.example.org", "takesCode": False, "expires": in_ten_minutes()},
            "Enter": {"visit": "dmlzaXQtb2YtYWxpY2UtMDEyMzQ1Njc4OTAxMjM0NTY", "expires": in_ten_minutes()},
            "Services": {
                "user": "alice", "host": "build1.example.org", "form": "Zm9ybS13b3JkLTAxMjM0NQ", "expires": in_ten_minutes(),
                "cards": [
                    card("notion", "Notion", state="active", account="alice@example.org", renews=True),
                    card("slack", "Slack", state="needs-reconnect", account="alice", reason="Slack has ended the connection."),
                    card("github", "GitHub", kind="token"),
                    card("linear", "Linear", begun="quarantined", begunAccount="alice@linear.example", begunExpires=in_ten_minutes()),
                    card("sentry", "Sentry"),
                ],
            },
            "Begin": {"location": "https://vault.example.org/connect/bmV3LXRpY2tldA"},
            "Offer": {"user": "alice", "host": "build1.example.org", "title": "Notion", "label": "default", "account": "alice@example.org",
                      "code": "K7QF-2M9X", "expires": in_ten_minutes()},
            "Leave": {},
        }
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(64)
        self.is_closed = False
        self.connections = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def close(self):
        if self.is_closed:
            return
        self.is_closed = True
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()
        for connection in self.connections:
            connection.close()

    def methods_called(self):
        return [method for method, _ in self.calls]

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        data = b""
        try:
            while not data.endswith(b"\0"):
                piece = connection.recv(65536)
                if not piece:
                    return
                data += piece
            answer = self._answer(json.loads(data[:-1]))
            connection.sendall(answer)
            while connection.recv(65536):
                self.violations.append("spoke again on a finished connection")
        except OSError:
            pass
        finally:
            connection.close()

    def _answer(self, call):
        prefix, _, method = call.get("method", "").rpartition(".")
        parameters = call.get("parameters", {})
        self.calls.append((method, parameters))
        if set(call) - {"method", "parameters"}:
            self.violations.append(f"unexpected members: {sorted(call)}")
        if prefix != "io.vaultd.Web" or method not in self.declared:
            self.violations.append(f"called {call.get('method')}")
            return b'{"error":"org.varlink.service.MethodNotFound","parameters":{"method":"x"}}\0'
        members = self.declared[method]
        for name in parameters:
            if name not in members or not isinstance(parameters[name], str):
                self.violations.append(f"{method} got {name}={parameters[name]!r}")
        for name, is_required in members.items():
            if is_required and name not in parameters:
                self.violations.append(f"{method} lacks {name}")
        answer = self.answers[method]
        try:
            if callable(answer):
                answer = answer(parameters)
            if isinstance(answer, Error):
                raise answer
        except Error as error:
            return json.dumps({"error": error.name, "parameters": error.parameters}).encode() + b"\0"
        if isinstance(answer, bytes):
            return answer
        return json.dumps({"parameters": answer}).encode() + b"\0"
