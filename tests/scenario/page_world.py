# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host in small whose pages are published under https: nginx in front of vaultd-web, and a real browser for its people."""

import contextlib
import http.client
import re
import socket
import ssl
import subprocess
import sys
import time

from world import FIXTURES, UIDS, World, as_user, free_port

sys.path[:0] = [str(FIXTURES / "browser"), str(FIXTURES / "tls")]
from chromium import Chromium    # noqa: E402 (the folders are no packages)
from nginx import Proxy    # noqa: E402

NAME = "localhost"    # certificates of the fixtures are valid for it
COOKIE = "__Host-vaultd"


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.text = response.status, response.headers, response.read().decode()

    @property
    def cookie(self):
        """What Set-Cookie gave; "" when it took it away, None when it said nothing."""
        match = re.fullmatch(COOKIE + r"=([A-Za-z0-9_-]*); Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=(\d+)", self.headers.get("Set-Cookie", ""))
        return match and match[1]

    @property
    def form(self):
        """The word of the page's forms."""
        return re.search(r'name="form" value="([^"]+)"', self.text)[1]


class PageWorld(World):
    def __init__(self, **more):
        self.tls_port = free_port()
        self.origin = f"https://{NAME}:{self.tls_port}"
        super().__init__(**more)

    def configure(self, settings=None, **more):
        super().configure(settings, **more)
        file = self.root / "etc/vaultd.conf"
        file.write_text(file.read_text().replace("[Web]\n", f"[Web]\nExternalUrl={self.origin}\n"))

    def start_web(self):
        log = (self.root / "log/web.log").open("ab")
        self.web_process = subprocess.Popen([self.root / "bin/vaultd-web", "--socket", self.sockets["web"], "--listen", f"127.0.0.1:{self.port}",
                                             "--external-url", self.origin], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_user("vaultd-web"))
        log.close()
        self.callback(self._end, self.web_process)
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                break
            assert self.web_process.poll() is None and time.monotonic() < deadline, self.log("web")
            time.sleep(0.02)
        if not (self.root / "nginx").exists():
            self.enter_context(Proxy(self.root / "nginx", self.root / "fixtures", self.tls_port, self.port))

    def chromium(self):
        return Chromium(self.root / "fixtures/cert.pem", names=[NAME, "evil.test"], user=as_user("alice"), uid=UIDS["alice"])

    # Without a browser: what one sends, byte for byte as the test wants it

    def ask(self, method, path, headers=None, body=None, host=None, port=None):
        """One request through the proxy, or past it to that port."""
        if port:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=70)
        else:
            connection = http.client.HTTPSConnection("127.0.0.1", self.tls_port, timeout=70, context=ssl.create_default_context(cafile=self.stack.ca))
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in [("Host", host or f"{NAME}:{self.tls_port}"), *(headers or {}).items()]:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            return Answer(connection.getresponse())

    def get(self, path, cookie=None, **more):
        return self.ask("GET", path, {"Sec-Fetch-Dest": "document", **({"Cookie": f"{COOKIE}={cookie}"} if cookie else {})}, **more)

    def press(self, path, cookie=None, fields=(), headers=None, **more):
        """What a browser sends for a button of our page; headers replace (None: leave out) those that it would send."""
        ours = {"Origin": "null", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document", "Content-Type": "application/x-www-form-urlencoded",
                **({"Cookie": f"{COOKIE}={cookie}"} if cookie else {}), **(headers or {})}
        body = "&".join(f"{name}={value}" for name, value in dict(fields).items()).encode()
        return self.ask("POST", path, {name: value for name, value in ours.items() if value is not None}, body, **more)

    def link(self, user, *options):
        """The path of a link that the user was given."""
        return self.json(user, "web", "--no-browser", *options)["link"].removeprefix(self.origin)

    def enter(self, user, former=None):
        """The cookie of a new visit."""
        answer = self.press(self.link(user), former)
        assert answer.status == 303 and answer.headers["Location"] == "/", answer.text
        return answer.cookie
