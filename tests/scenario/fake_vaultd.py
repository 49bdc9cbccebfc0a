# SPDX-License-Identifier: LGPL-2.1-or-later
"""A vaultd of cardboard: answers the calls of vaultctl with what a test wants it to say, true or hostile.

The real daemon is tested elsewhere; here the test decides every byte, which no real daemon would let it do. A method maps
to a dict (the reply's parameters), an Error, bytes (sent raw), a list of these (one per reply), or a function of
(conversation, message) for whatever needs more."""

import contextlib
import json
import os
import pathlib
import pty
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VAULTD_BUILD") or ROOT / "build" / "check-gcc")
VAULTCTL = str(BUILD / "client" / "vaultctl")


class Error(Exception):
    def __init__(self, name, **parameters):
        super().__init__(name)
        self.name, self.parameters = name, parameters


class Conversation:
    """One connection."""

    def __init__(self, connection):
        self.connection = connection

    def send(self, reply, continues=False):
        if isinstance(reply, bytes):
            self.connection.sendall(reply)
            return
        if isinstance(reply, Error):
            message = {"error": reply.name, "parameters": reply.parameters}
        else:
            message = {"parameters": reply}
            if continues:
                message["continues"] = True
        self.connection.sendall(json.dumps(message).encode() + b"\0")


class FakeVaultd:
    def __init__(self, methods):
        self.methods = {"io.vaultd.WhoAmI": WHOAMI, **methods}
        self.calls = []
        self.directory = tempfile.TemporaryDirectory(prefix="fake-vaultd-")
        self.path = self.directory.name + "/io.vaultd"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.is_closing = False
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.is_closing = True
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(2)
        self.directory.cleanup()

    def _accept(self):
        while not self.is_closing:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        data = b""
        with connection, contextlib.suppress(OSError):
            while True:
                chunk = connection.recv(65536)
                if not chunk:
                    return
                data += chunk
                while b"\0" in data:
                    text, data = data.split(b"\0", 1)
                    self._answer(Conversation(connection), json.loads(text))

    def _answer(self, conversation, message):
        self.calls.append(message)
        answer = self.methods.get(message["method"], Error("org.varlink.service.MethodNotFound", method=message["method"]))
        if callable(answer):
            answer(conversation, message)
        elif isinstance(answer, list):
            for i, reply in enumerate(answer):
                conversation.send(reply, continues=i + 1 < len(answer))
        else:
            conversation.send(answer)

    def parameters_of(self, method):
        return [call["parameters"] for call in self.calls if call["method"] == "io.vaultd." + method]


def environment(server=None, **changes):
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8"}
    if server:
        env["VAULTD_SOCKET"] = server if isinstance(server, str) else server.path
    env.update(changes)
    return env


def run(server, *words, stdin="", env=None, timeout=60):
    """Runs vaultctl without a terminal."""
    return subprocess.run([VAULTCTL, *words], input=stdin, env=env or environment(server), capture_output=True, text=True,
                          timeout=timeout, check=False)


def documents(result):
    """Every line of stdout as JSON; anything else there is a fault."""
    return [json.loads(line) for line in result.stdout.splitlines()]


class Terminal:
    """vaultctl on a real pseudo-terminal."""

    def __init__(self, server, *words, env=None, columns=100, rows=60):
        self.text = ""
        self.mark = 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(VAULTCTL, [VAULTCTL, *words], env or environment(server))
        import fcntl, struct, termios
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def _read(self, timeout):
        if not select.select([self.fd], [], [], timeout)[0]:
            return None
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return b""
        self.text += data.decode(errors="replace")
        return data

    def expect(self, wanted, timeout=15):
        deadline = time.monotonic() + timeout
        while wanted not in self.text[self.mark:]:
            left = deadline - time.monotonic()
            if left <= 0 or self._read(left) == b"":
                raise AssertionError(f"{wanted!r} did not come; the screen has:\n{self.text}")
        self.mark = self.text.index(wanted, self.mark) + len(wanted)

    def send(self, line):
        os.write(self.fd, line.encode() + b"\n")

    def interrupt(self):
        """^C."""
        os.write(self.fd, b"\x03")

    def end_input(self):
        os.write(self.fd, b"\x04")

    def finish(self, timeout=15):
        """The exit code."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._read(0.2) == b"":
                _, status = os.waitpid(self.pid, 0)
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"vaultctl did not end; the screen has:\n{self.text}")


WHOAMI = {"uid": 1001, "user": "alice", "origin": "login", "session": "s1", "vault": {"id": "v1", "state": "active"}}
ACCOUNT = {"id": "acc-1", "name": "Alice at Notion"}
LINK = "http://127.0.0.1:631/connect/TICKET123"
VERIFICATION = "https://provider.test/device"
AUTHORIZATION = "https://provider.test/authorize?state=STATE&code_challenge=X"


def flow(state="pending", way="page", **changes):
    reply = {"flow": "f1", "state": state, "service": "notion", "title": "Notion", "host": "builder", "port": 631,
             "expires": int((time.time() + 600) * 1e6)}
    if state == "pending" and way == "page":
        reply["link"] = LINK
    elif state == "pending" and way == "device":
        reply |= {"userCode": "WDJB-MJHT", "verificationUri": VERIFICATION, "verificationUriComplete": VERIFICATION + "?user_code=WDJB-MJHT"}
    elif state == "pending":
        reply["authorizationUrl"] = AUTHORIZATION
    else:
        reply["account"] = ACCOUNT
    return {**reply, **changes}


CLAIMED = {"service": "notion", "title": "Notion", "label": "default", "account": ACCOUNT, "custody": "mirror"}
