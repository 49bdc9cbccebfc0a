# SPDX-License-Identifier: LGPL-2.1-or-later
"""vaultd-web under test: the real program on a free loopback port, before a stand-in for vaultd."""

import http.client
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from html.parser import HTMLParser

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from fake_vaultd import FakeVaultd  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
BUILD = ROOT / os.environ.get("VAULTD_BUILD", "build/check-gcc")
PROGRAM = BUILD / "daemon/web/vaultd-web"
TICKET = "Zm9vYmFyLXRpY2tldA"


class Page(HTMLParser):
    """The visible text, the texts of elements with an id, and every tag."""

    VOID = {"meta", "link", "br", "img", "input", "hr"}

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.ids, self.text, self._stack = [], {}, "", []
        self.feed(text)
        self.close()
        assert not self._stack, f"unclosed: {self._stack}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self._stack.append((tag, dict(attributes).get("id")))
            if self._stack[-1][1]:
                self.ids[self._stack[-1][1]] = ""

    def handle_endtag(self, tag):
        assert self._stack.pop()[0] == tag

    def handle_data(self, data):
        if any(tag in ("style", "script") for tag, _ in self._stack):
            return
        self.text += data
        for _, name in self._stack:
            if name:
                self.ids[name] += data


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def page(self):
        return Page(self.body)

    def header(self, name):
        return self.headers.get(name)


class Web:
    def __init__(self, process, port, log):
        self.process, self.port, self.log = process, port, log

    def connect(self, timeout=20):
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def ask(self, method, target, headers=None, body=None, host=None, timeout=20):
        """One request; headers is a dict or a list of pairs. Host is ours unless told."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", host or f"127.0.0.1:{self.port}")
            pairs = headers.items() if isinstance(headers, dict) else headers or []
            for name, value in pairs:
                connection.putheader(name, value)
            if method == "POST" and not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in pairs):
                connection.putheader("Content-Length", str(len(body or b"")))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())
        finally:
            connection.close()

    def get(self, target, **more):
        return self.ask("GET", target, **more)

    def press(self, target, headers=None, **more):
        """What a browser sends for our button."""
        ours = {"Origin": "null", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document",
                "Sec-Fetch-Mode": "navigate", "Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", target, headers=ours if headers is None else headers, **more)

    def raw(self, data, timeout=20):
        with self.connect(timeout) as connection:
            connection.sendall(data)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            return answer

    def log_text(self):
        return pathlib.Path(self.log).read_text()


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(prefix="vaultd-web-")
    yield pathlib.Path(path)
    shutil.rmtree(path)


@pytest.fixture
def vaultd(folder):
    server = FakeVaultd(folder / "io.vaultd.web")
    yield server
    server.close()
    assert server.violations == []


@pytest.fixture
def start(folder):
    """Starts vaultd-web with further options; in the end it must have left without complaint of the sanitizers."""
    started = []

    def go(*options, address="127.0.0.1:0"):
        log = folder / f"log{len(started)}"
        with open(log, "wb") as stderr:
            process = subprocess.Popen(
                [PROGRAM, "--socket", str(folder / "io.vaultd.web"), "--listen", address, *options],
                stdout=subprocess.PIPE, stderr=stderr, stdin=subprocess.DEVNULL)
        line = process.stdout.readline().decode()
        match = re.fullmatch(r"listening on (127\.0\.0\.1|\[::1\]):(\d+)\n", line)
        started.append((process, log))
        assert match, (line, log.read_text())
        return Web(process, int(match.group(2)), log)

    yield go
    for process, log in started:
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            process.stdout.close()
        text = log.read_text()
        assert status == 0, text
        assert "runtime error" not in text and "Sanitizer" not in text


@pytest.fixture
def web(start, vaultd):
    return start()
